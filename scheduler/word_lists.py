"""The word lists of the linter: one editable file a language, read into sets that are fast to look in.

What is looked at, and what a hit means, is in `scheduler.wording`.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from scheduler.errors import InvalidInput

SECTIONS: Final = ("reveals", "outside", "never", "tone", "allow")
_HEAD: Final = 3  # letters by which stems are looked up; a shorter stem would forbid half the language
_REMEMBERED: Final = 20_000  # harmless words, lines and links that need no second look, of each
_INSIDE: Final = 5  # letters a stem or word needs before it is looked for inside other words

_WORD = re.compile(r"\w+")
_NO_WORD: Final = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")}
_HIDDEN = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")


def plain(text: str) -> str:
    """Text as it is compared: HTML decoded, NFKC, case-folded, without invisible characters."""
    if text.isascii() and "&" not in text:
        return text.lower()
    return _HIDDEN.sub("", unicodedata.normalize("NFKC", html.unescape(text)).casefold())


def words_of(compared: str) -> set[str]:
    """The words of a text that went through `plain`."""
    return set().union(*map(_words_of_line, compared.split("\n")))


# Most lines of a text are the same in every mail.
@lru_cache(maxsize=4_096)
def _words_of_line(line: str) -> frozenset[str]:
    if line.isascii():
        return frozenset(line.translate(_NO_WORD).split())  # three times as fast as the expression
    return frozenset(_WORD.findall(line))


@dataclass(frozen=True, slots=True)
class Words:
    """Whole words, stems by their first three letters, and phrases; all in the form `plain` gives."""

    whole: frozenset[str]
    stems: dict[str, tuple[str, ...]]
    phrases: "re.Pattern[str] | None"
    telling: dict[str, tuple[frozenset[str], ...]]  # the longest word of each phrase, and all words of those phrases
    long: tuple[str, ...]  # what is also looked for inside the run-together words of hosts, paths and addresses
    _harmless: set[str] = field(default_factory=set, compare=False, repr=False)  # words looked up before
    # Lines looked at before, each with the words that tell of a phrase; links.
    _silent: dict[str, set[str]] = field(default_factory=dict, compare=False, repr=False)
    _silent_inside: set[str] = field(default_factory=set, compare=False, repr=False)

    @classmethod
    def of(cls, entries: Iterable[str]) -> "Words":
        """Words from the lines of a list: `word`, `stem*`, `two words`."""
        whole, stems, phrases = set(), set(), set()
        for entry in entries:
            if entry.endswith("*"):
                stems.add(entry[:-1])
            elif _WORD.fullmatch(entry):
                whole.add(entry)
            else:
                phrases.add(entry)
        telling: dict[str, tuple[frozenset[str], ...]] = {}
        for phrase in sorted(phrases):
            parts = _WORD.findall(phrase)
            longest = max(parts, key=len)
            telling[longest] = (*telling.get(longest, ()), frozenset(parts))
        heads: dict[str, list[str]] = {}
        for stem in sorted(stems):
            heads.setdefault(stem[:_HEAD], []).append(stem)
        return cls(
            whole=frozenset(whole),
            stems={head: tuple(found) for head, found in heads.items()},
            phrases=_any_of(phrases),
            telling=telling,
            long=tuple(sorted(word for word in stems | whole if len(word) >= _INSIDE)),
        )

    def find(self, compared: str) -> list[str]:
        """The listed words in a text that went through `plain`."""
        words = words_of(compared)
        found = set()
        for word in words - self._harmless:
            if word in self.whole or word.startswith(self.stems.get(word[:_HEAD], ())):
                found.add(word)
            elif len(self._harmless) < _REMEMBERED:
                self._harmless.add(word)
        told = words & self.telling.keys()
        if self.phrases is not None and any(phrase <= words for word in told for phrase in self.telling[word]):
            found.update(match[0] for match in self.phrases.finditer(compared))
        return sorted(found)

    def find_inside(self, compared: str) -> list[str]:
        """The same for a host, path or address: listed words of five letters and more also inside other words."""
        if compared in self._silent_inside:
            return []
        apart = re.sub(r"[\W_\d]+", " ", compared)
        found = sorted({*self.find(apart), *(word for word in self.long if word in compared)})
        if not found:
            _make_room(self._silent_inside)
            self._silent_inside.add(compared)
        return found

    def is_silent(self, text: str, compared: Callable[[str], str]) -> bool:
        """Whether a text certainly has no listed word and no percent sign; where it has to be looked for, False.

        Nearly all lines of a message are those of its text: a line that passed once passes again. `compared` makes of
        a text what `find` takes.
        """
        told: set[str] = set()
        for line in text.split("\n"):
            tells = self._silent.get(line)
            if tells is None:
                seen = compared(line)
                if "%" in seen or self.find(seen):
                    return False
                tells = self.telling.keys() & words_of(seen)
                _make_room(self._silent)
                self._silent[line] = tells
            if tells:
                told |= tells
        if told:  # a phrase may go over the end of a line
            seen = compared(text)
            return not any(all(part in seen for part in phrase) for word in told for phrase in self.telling[word])
        return True


def _make_room(kept: "set[str] | dict[str, set[str]]") -> None:
    if len(kept) >= _REMEMBERED:
        kept.clear()


@dataclass(frozen=True, slots=True, eq=False)
class WordList:
    """The lists of one language, by the place they are for."""

    language: str
    outside: Words
    general_body: Words
    any_body: Words
    tone: Words
    allow: "re.Pattern[str] | None" = field(default=None)

    def compared(self, text: str) -> str:
        """A text as it is compared, without what is allowed."""
        compared = plain(text)
        return self.allow.sub(" ", compared) if self.allow else compared


def load_word_list(language: str, folders: Sequence[Path], allow: Iterable[str] = ()) -> WordList:
    """Read `wording/<language>.txt` of every folder that has one and put them together.

    `de-AT` is checked with its own list and with that of `de`; a language without any with the English one.
    `allow` is the clinic's own allow list. Raises `InvalidInput` with file and line.
    """
    files = _files((language, language.partition("-")[0]), folders) or _files(("en",), folders)
    if not files:
        raise InvalidInput(f"there is no word list for {language}: expected wording/{language}.txt in the templates")
    sections: dict[str, set[str]] = {section: set() for section in SECTIONS}
    problems: list[str] = []
    for file in files:
        _read(file, sections, problems)
    if problems:
        raise InvalidInput(*problems)
    sections["allow"].update(map(plain, allow))
    return _put_together(language, *(frozenset(sections[section]) for section in SECTIONS))


@lru_cache(maxsize=16)
def _put_together(language: str, *words: frozenset[str]) -> WordList:
    """The same list for the same words: what it looked up, and what was checked by it, holds for the next asker."""
    sections = dict(zip(SECTIONS, words, strict=True))
    never, reveals = sections["never"], sections["reveals"]
    return WordList(
        language=language,
        outside=Words.of(never | reveals | sections["outside"]),
        general_body=Words.of(never | reveals),
        any_body=Words.of(never),
        tone=Words.of(sections["tone"]),
        allow=_any_of(sections["allow"]),
    )


def _files(languages: Sequence[str], folders: Sequence[Path]) -> list[Path]:
    paths = [folder / "wording" / f"{language}.txt" for folder in folders for language in dict.fromkeys(languages)]
    return [path for path in paths if path.is_file()]


def _read(file: Path, sections: dict[str, set[str]], problems: list[str]) -> None:
    section: str | None = None
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1):
        entry = " ".join(plain(line.partition("#")[0]).split())
        if not entry:
            continue
        if entry.startswith("["):
            section = entry.strip("[]")
            if section not in sections:
                problems.append(f"{file.name}:{number}: unknown section {entry}: expected {', '.join(SECTIONS)}")
                section = None
        elif section is None:
            problems.append(f"{file.name}:{number}: a word before the first section")
        elif "*" in entry[:-1] or (entry.endswith("*") and (len(entry) <= _HEAD or not _WORD.fullmatch(entry[:-1]))):
            problems.append(f"{file.name}:{number}: {entry}: a star ends a stem of at least three letters")
        else:
            sections[section].add(entry)


def _any_of(phrases: Iterable[str]) -> "re.Pattern[str] | None":
    found = sorted((phrase for phrase in phrases if phrase), key=len, reverse=True)
    if not found:
        return None
    either = "|".join(r"\s+".join(re.escape(word) for word in phrase.split()) for phrase in found)
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)")
