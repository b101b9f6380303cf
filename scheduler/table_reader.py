"""Reading one table of a protocol file key by key: every wrong value becomes a finding with its line, none stops.

What the keys of a protocol mean together is in `scheduler.protocols` and `scheduler.protocol_steps`.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import time
from enum import StrEnum
from typing import Final, TypeVar

from scheduler.durations import parse_span
from scheduler.planning.protocol import Span
from scheduler.toml_lines import Path, find_lines, line_of

Word = TypeVar("Word", bound=StrEnum)

DASHED_KEY: Final = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*", re.ASCII)
PLAIN_KEY: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)  # as templates and CSV headers can name it
MAX_KEY: Final = 60

_CLOCK_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d", re.ASCII)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MAX_TEXT = 500
_TOML_NAMES = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a table",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a protocol file; `problem` says what is expected."""

    file: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.problem}"


@dataclass(slots=True)
class Findings:
    """What was found in one file so far, with the lines to name."""

    file: str
    text: str
    found: list[Finding] = field(default_factory=list)
    _lines: Mapping[Path, int] | None = field(default=None, init=False)

    def add(self, path: Path, problem: str) -> None:
        """Note a problem at the line of a path."""
        self.found.append(Finding(self.file, self.line(path), problem))

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest table around it."""
        if self._lines is None:
            self._lines = find_lines(self.text)  # only where something is wrong
        return line_of(self._lines, path)

    def sorted(self) -> tuple[Finding, ...]:
        """All of them in the order of the file, each once."""
        return tuple(sorted(dict.fromkeys(self.found), key=lambda finding: finding.line))


class TableReader:
    """One table. The reading methods return None for a key that is absent or wrong; wrong ones are noted."""

    def __init__(self, findings: Findings, path: Path, table: Mapping[str, object], what: str) -> None:
        """`what` names the table in findings: `step "after-visit"`; empty for the whole file."""
        self.path = path
        self.table = table
        self.what = what
        self._findings = findings

    def add(self, problem: str, key: str | int | None = None) -> None:
        """Note a problem of this table, at the line of one of its keys when that is named."""
        where = self.path if key is None else (*self.path, key)
        self._findings.add(where, f"{self.what}: {problem}" if self.what else problem)

    def wrong(self, key: str, problem: str) -> None:
        """Note that a key's value is wrong, quoting it."""
        value = self.table.get(key)
        quoted = f'{key} "{value}"' if isinstance(value, str) else key
        self.add(f"{quoted}: {problem}", key)

    def has(self, key: str) -> bool:
        """Whether the key is there, right or wrong."""
        return key in self.table

    def only(self, allowed: Collection[str], required: Iterable[str] = ()) -> None:
        """Refuse keys that mean nothing here, and note the missing ones."""
        for key in self.table:
            if key not in allowed:
                self.add(f'unknown key "{key}"; {nearest(key, allowed)}', key)
        for key in required:
            if key not in self.table:
                self.add(f"{key} is missing")

    def knows(self, key: str, words: type[StrEnum]) -> bool:
        """Whether the key is absent or one of the words, so that rules about it make sense."""
        return key not in self.table or self.table[key] in frozenset(map(str, words))

    def text(self, key: str) -> str | None:
        """A text on one line, not empty."""
        value = self._typed(key, str)
        if not isinstance(value, str):
            return None
        if not value.strip() or _CONTROL.search(value) or len(value) > _MAX_TEXT:
            self.wrong(key, f"expected a text on one line, 1 to {_MAX_TEXT} characters")
            return None
        return value

    def name(self, key: str, pattern: re.Pattern[str]) -> str | None:
        """A key in small letters."""
        value = self.text(key)
        if value is not None and (not pattern.fullmatch(value) or len(value) > MAX_KEY):
            dash = ", digits and dashes, like after-visit" if pattern is DASHED_KEY else " and _, like after_visit"
            self.wrong(key, f"expected small letters{dash}, at most {MAX_KEY}")
            return None
        return value

    def word(self, key: str, words: type[Word], default: Word) -> Word:
        """One of the words of an enum; the default when absent or wrong."""
        value = self._typed(key, str)
        return self._word(key, value, words, key) or default if value is not None else default

    def words(self, key: str, words: type[Word], default: Iterable[Word]) -> frozenset[Word]:
        """A list of words of an enum, perhaps empty."""
        value = self._typed(key, list)
        if not isinstance(value, list):
            return frozenset(default)
        found = [self._word(key, word, words, key, place) for place, word in enumerate(value)]
        return frozenset(word for word in found if word is not None)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of different texts."""
        value = self._typed(key, list)
        if not isinstance(value, list):
            return ()
        found = [text for text in value if isinstance(text, str) and text.strip() and not _CONTROL.search(text)]
        if len(found) != len(value) or len({text.casefold() for text in found}) != len(found):
            self.add(f"{key}: expected a list of different texts", key)
            return ()
        return tuple(found)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._typed(key, bool)
        return value if isinstance(value, bool) else default

    def number(self, key: str, low: int, high: int) -> int | None:
        """A whole number within limits, both included."""
        value = self._typed(key, int)
        if isinstance(value, int) and not low <= value <= high:
            self.add(f"{key} {value}: expected a whole number from {low} to {high}", key)
            return None
        return value if isinstance(value, int) else None

    def span(self, key: str, sign: str = "any") -> Span | None:
        """A duration; `sign` "positive" refuses zero and less, "not negative" less than zero."""
        value = self._typed(key, str)
        if not isinstance(value, str):
            return None
        try:
            span = parse_span(value)
        except ValueError as problem:
            self.wrong(key, str(problem))
            return None
        size = span.elapsed.total_seconds() or span.days
        if (sign == "positive" and size <= 0) or (sign == "not negative" and size < 0):
            self.wrong(key, "expected a positive duration" if sign == "positive" else "expected no leading minus")
            return None
        return span

    def clock_time(self, key: str) -> time | None:
        """A local time of day, HH:MM."""
        value = self._typed(key, str)
        if not isinstance(value, str):
            return None
        if not _CLOCK_TIME.fullmatch(value):
            self.wrong(key, "expected a time of day from 00:00 to 23:59, like 17:00")
            return None
        return time.fromisoformat(value)

    def tables(self, key: str) -> list[Mapping[str, object]]:
        """The tables of an array `[[key]]`, in their order."""
        value = self.table.get(key, [])
        if isinstance(value, list) and all(isinstance(table, dict) for table in value):
            return value
        self.add(f"{key}: expected tables, each under [[{key}]]", key)
        return []

    def _typed(self, key: str, kind: type) -> object:
        value = self.table.get(key)
        if value is None or type(value) is kind:
            return value
        self.add(f"{key}: expected {_TOML_NAMES[kind]}, found {_TOML_NAMES.get(type(value), 'a date or time')}", key)
        return None

    def _word(self, key: str, value: object, words: type[Word], shown: str, place: int | None = None) -> Word | None:
        if isinstance(value, str) and value in frozenset(words):
            return words(value)
        problem = f'{shown} "{value}": {nearest(str(value), [word.value for word in words])}'
        where = self.path + ((key,) if place is None else (key, place))
        self._findings.add(where, f"{self.what}: {problem}" if self.what else problem)
        return None


def nearest(word: str, allowed: Iterable[str]) -> str:
    """What could have been meant, and all that is allowed: for the end of a finding."""
    words = list(allowed)
    meant = difflib.get_close_matches(word, words, 1)
    guess = f"did you mean {meant[0]}? " if meant else ""
    return f"{guess}expected one of: {', '.join(words)}" if words else f"{guess}there is none"
