"""The discreet-wording linter: what a source, a finished message or a setting must not show, and where.

The word lists are read in `scheduler.word_lists`; rules by number are those of the project's privacy page.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from scheduler.dates import calendar_words
from scheduler.message_source import EXPRESSION, Source, parse_source, passages
from scheduler.messages import Rendered
from scheduler.word_lists import WordList

SUBJECT_CHARACTERS: Final = 45  # what a locked phone shows of a subject
FIRST_CHARACTERS: Final = 150  # what it shows of a body

_LINK = re.compile(r"(?:https?://|mailto:)[^\s<>\"]+")
# Both begin with letters of their own, so that the search skips quickly over a page.
_URL = re.compile(r"https?://[^\s<>\"]+")
_TARGET = re.compile(r'href="([^"]*)"')
_WORD = re.compile(r"\w+")
_TAG = re.compile(r"\{%.*?%\}")
_PERCENT = re.compile(r"\d\s*%|%\s*\d")
# A number on its own in a path or query counts something: /p/1001, ?id=12.
_NUMBER = re.compile(r"(?<![A-Za-z0-9])\d+(?![A-Za-z0-9])")
_NOT_OUTSIDE: Final = ("patient.", "link.", "urgent.", "staff.")

_REVEALS: Final = "can reveal what the message is about"
_FORBIDDEN: Final = "a medicine's name, a promise, a comparison or an advertisement"
_TONE: Final = "commands or blames"
_NUMBERED: Final = "a number of its own in a link: it may be counted or guessed"


@dataclass(frozen=True, slots=True)
class WordingFinding:
    """One thing that must not be shown. `line` only for sources. `word` may be a patient's name: not for logs."""

    place: str
    line: int | None
    word: str
    problem: str

    def __str__(self) -> str:
        where = self.place if self.line is None else f"{self.place}, line {self.line}"
        return f'{where}: "{self.word}" {self.problem}' if self.word else f"{where}: {self.problem}"


def lint_source(source: Source, words: WordList) -> list[WordingFinding]:
    """Check a text as written. What only shows when it is filled in is for `lint_rendered`. Raises `SourceInvalid`."""
    parsed = parse_source(source)
    found: list[WordingFinding] = []
    for place, text in (("subject", parsed.front.subject), ("preheader", parsed.front.preheader)):
        line = parsed.front.line(place)
        found += [
            WordingFinding(place, line, name, "is not shown on the outside")
            for name in EXPRESSION.findall(text)
            if name.startswith(_NOT_OUTSIDE)
        ]
        compared = words.compared(EXPRESSION.sub(" ", text))
        found += _hits(place, line, words.outside.find(compared), _REVEALS)
        found += _hits(place, line, words.tone.find(compared), _TONE)
    shown_behind_a_code = source.key.startswith("exercise_")  # on her page, or in a mail of level full
    in_full = source.level == "full" or shown_behind_a_code
    body = words.any_body if in_full else words.general_body
    for passage in passages(parsed.nodes):
        for line, text in enumerate(passage.text.split("\n"), passage.line):
            bare = EXPRESSION.sub(" ", _TAG.sub(" ", text))
            found += _links("body", line, _LINK.findall(bare), words)
            compared = words.compared(_LINK.sub(" ", bare))
            found += _hits("body", line, body.find(compared), _problem(source.level))
            found += _percents("body", line, compared)
            if not source.is_part:
                found += _hits("body", line, words.tone.find(compared), _TONE)
    return found


def lint_rendered(rendered: Rendered, names: Collection[str], words: WordList) -> list[WordingFinding]:
    """Check a finished message: run before every mark, so it takes far less than 100 µs.

    `names` are the patient's names, each as entered. A name that the text itself uses as a word outside, or that is a
    month or a weekday, is not counted (she may be called May). The HTML part has the words of the text part.
    """
    found: list[WordingFinding] = []
    outside, text = words.outside, rendered.text
    if len(rendered.subject) > SUBJECT_CHARACTERS:
        found.append(WordingFinding("subject", None, "", f"longer than {SUBJECT_CHARACTERS} characters"))
    hers = _name_words(names, rendered)
    for place, shown in (("subject", rendered.subject), ("preheader", rendered.preheader)):
        compared = words.compared(shown)
        if not outside.is_silent(shown, words.compared):
            found += _hits(place, None, outside.find(compared), _REVEALS)
            found += _percents(place, None, compared)
        found += _hits(place, None, sorted(hers.intersection(_WORD.findall(compared))), "is the patient's name")
    beginning = _beginning(text)
    if not outside.is_silent(beginning, words.compared):
        place = f"first {FIRST_CHARACTERS} characters"
        found += _hits(place, None, outside.find(words.compared(beginning)), _REVEALS)
    # The text part shows an address without its scheme, so links are taken from the HTML part.
    found += _links("link", None, _TARGET.findall(rendered.html), words, hers)
    text = _URL.sub(" ", text)
    body = words.any_body if rendered.level == "full" else words.general_body
    if not body.is_silent(text, words.compared):
        compared = words.compared(text)
        found += _hits("body", None, body.find(compared), _problem(rendered.level))
        found += _percents("body", None, compared)
    return found


def lint_values(values: Mapping[str, str], words: WordList, names: Iterable[str] = ()) -> list[WordingFinding]:
    """Check what stands around every message, by a name for each: sender name and address, Reply-To, HELO name,
    public host, file names, Message-ID, List-Unsubscribe. Long listed words are found inside other words too."""
    hers = {word for name in names for word in _WORD.findall(words.compared(name)) if len(word) > 1}
    found: list[WordingFinding] = []
    for place, value in values.items():
        compared = words.compared(unquote(value))
        found += _hits(place, None, words.outside.find_inside(compared), _REVEALS)
        found += _hits(place, None, sorted(hers.intersection(_apart(compared))), "is the patient's name")
        if value.startswith(("http://", "https://")):
            found += _numbers(place, None, value)
    return found


def _problem(level: str) -> str:
    return f"is {_FORBIDDEN}" if level == "full" else _REVEALS


def _hits(place: str, line: int | None, words: Iterable[str], problem: str) -> list[WordingFinding]:
    return [WordingFinding(place, line, word, problem) for word in words]


def _percents(place: str, line: int | None, compared: str) -> Iterator[WordingFinding]:
    for match in _PERCENT.finditer(compared):
        yield WordingFinding(place, line, match[0], "is a percentage: no promise and no comparison")


def _beginning(text: str) -> str:
    """The first 150 characters, to the end of the last word."""
    end = text.find(" ", FIRST_CHARACTERS)
    return text if end < 0 else text[:end]


def _name_words(names: Iterable[str], rendered: Rendered) -> set[str]:
    hers = {word for name in names for word in _WORD.findall(name.casefold()) if len(word) > 1}
    return hers - rendered.own_words - calendar_words(rendered.language)


def _apart(compared: str) -> list[str]:
    return re.sub(r"[\W_\d]+", " ", compared).split()


def _links(
    place: str, line: int | None, links: Iterable[str], words: WordList, hers: Collection[str] = ()
) -> Iterator[WordingFinding]:
    for link in dict.fromkeys(links):
        if link.startswith("tel:"):
            continue
        compared = words.compared(unquote(link))
        yield from _hits(place, line, words.outside.find_inside(compared), _REVEALS)
        if hers:
            yield from _hits(place, line, sorted(set(hers).intersection(_apart(compared))), "is the patient's name")
        if not link.startswith("mailto:"):
            yield from _numbers(place, line, link)


def _numbers(place: str, line: int | None, link: str) -> Iterator[WordingFinding]:
    path = link.partition("://")[2].partition("/")[2]
    for match in _NUMBER.finditer(path):
        yield WordingFinding(place, line, match[0], _NUMBERED)
