"""Where each key, value and table of a TOML text stands; `tomllib` tells values only.

Reading the values and judging them is in `scheduler.table_reader`, changing them in `scheduler.toml_edits`.
"""

import re
from collections.abc import Mapping

Path = tuple[str | int, ...]  # keys, and places in arrays from 0: ("step", 2, "repeat", "every")

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)


def find_lines(text: str) -> Mapping[Path, int]:
    """Path -> line from 1 of a text that `tomllib` accepts; undefined for any other text."""
    scan = _Scan(text.replace("\r\n", "\n"))
    scan.document()
    return scan.lines


def find_places(text: str) -> tuple[Mapping[Path, tuple[int, int]], Mapping[Path, int]]:
    """From where to where each value stands, and where the line of each table's header begins, as offsets.

    The text has line ends of one character and is one that `tomllib` accepts.
    """
    scan = _Scan(text)
    scan.document()
    return scan.values, scan.heads


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of a path, or of the nearest table around it that has one."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self.values: dict[Path, tuple[int, int]] = {}
        self.heads: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}  # how many [[tables]] an array has so far
        self._counted_to = 0
        self._line = 1

    def document(self) -> None:
        table: Path = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            if self._take("[["):
                table = self._header("]]")
            elif self._take("["):
                table = self._header("]")
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self, closing: str) -> Path:
        line, head = self._here(), self.text.rfind("\n", 0, self.at) + 1
        keys = self._keys()
        self._take(closing)
        path = (*self._inside((), keys[:-1]), keys[-1])
        if closing == "]]":
            place = self._counts.get(path, 0)
            self._counts[path] = place + 1
            self.lines.setdefault(path, line)
            path += (place,)
        self.lines[path] = line
        self.heads[path] = head
        return path

    def _inside(self, path: Path, keys: list[str]) -> Path:
        """Walk down the keys; a key that names an array of tables means its last table."""
        for key in keys:
            path += (key,)
            if path in self._counts:
                path += (self._counts[path] - 1,)
        return path

    def _pair(self, table: Path) -> None:
        line = self._here()
        path = table
        for key in self._keys():
            path += (key,)
            self.lines.setdefault(path, line)
        self._take("=")
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        begins = self.at
        if self._take("["):
            self._array(path)
        elif self._take("{"):
            self._skip(_BLANK)
            while not self._take("}"):
                self._pair(path)
                self._skip(_BLANK)
                self._take(",")
                self._skip(_BLANK)
        elif string := _STRING.match(self.text, self.at):
            self.at = string.end()
        else:
            self._skip(_SCALAR)
        self.values[path] = (begins, begins + len(self.text[begins : self.at].rstrip()))

    def _array(self, path: Path) -> None:
        place = 0
        self._skip(_BLANK)
        while not self._take("]"):
            self.lines[(*path, place)] = self._here()
            self._value((*path, place))
            place += 1
            self._skip(_BLANK)
            self._take(",")
            self._skip(_BLANK)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            if quoted := _STRING.match(self.text, self.at):
                keys.append(quoted[0][1:-1])
                self.at = quoted.end()
            elif bare := _BARE.match(self.text, self.at):
                keys.append(bare[0])
                self.at = bare.end()
            self._skip(_SPACE)
            if not self._take("."):
                return keys

    def _take(self, token: str) -> bool:
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        return True

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()

    def _here(self) -> int:
        self._line += self.text.count("\n", self._counted_to, self.at)
        self._counted_to = self.at
        return self._line
