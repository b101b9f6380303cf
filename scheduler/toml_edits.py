"""Changing single values of a TOML text and leaving every other character, comments above all, as it was written.

Each change is read back: what would alter anything else is refused. What may be changed is in `scheduler.step_edits`.
"""

import json
import tomllib
from typing import Any, Final

from scheduler.errors import Refused
from scheduler.toml_lines import Path, find_places

Value = str | int | bool

NEWLINE: Final = "\n"
_OTHERWISE: Final = "it is written in a way that this form cannot change: change it in the whole text"


def set_value(text: str, table: Path, key: str, value: Value) -> str:
    """Give a key of a table a value: in place where it has one, else on a line of its own after the table's others."""
    values, _ = find_places(text)
    path = (*table, key)
    if path in values:
        begins, ends = values[path]
        changed = f"{text[:begins]}{_written(value)}{text[ends:]}"
    else:
        before = text[: _end_of_table(text, table)]
        line = f"{key} = {_written(value)}\n"
        changed = f"{before}{line if before.endswith(NEWLINE) else NEWLINE + line}{text[len(before) :]}"
    expected = tomllib.loads(text)
    _inside(expected, table)[key] = value
    return _checked(changed, expected)


def remove_key(text: str, table: Path, key: str) -> str:
    """Take a key and its value out of a table, with its line; as it was where there is none."""
    values, _ = find_places(text)
    if (*table, key) not in values:
        return text
    begins, ends = values[(*table, key)]
    expected = tomllib.loads(text)
    del _inside(expected, table)[key]
    return _checked(text[: _line_start(text, begins)] + text[_line_end(text, ends) :], expected)


def remove_table(text: str, array: str, place: int) -> str:
    """Take one table out of an array of tables, with its own tables and the comment that stands right above it."""
    _, heads = find_places(text)
    if (array, place) not in heads:
        raise Refused(_OTHERWISE)
    begins = _with_comment(text, heads[(array, place)])
    later = [at for path, at in heads.items() if at > heads[(array, place)] and path[:2] != (array, place)]
    ends = _with_comment(text, min(later)) if later else len(text)
    expected = tomllib.loads(text)
    del expected[array][place]
    if not expected[array]:
        del expected[array]
    return _checked((text[:begins] + text[ends:]).rstrip("\n") + "\n", expected)


def comment_above(text: str, path: Path) -> str:
    """The comment that stands right above a table, as one paragraph; empty when there is none."""
    _, heads = find_places(text)
    if path not in heads:
        return ""
    lines = text[_with_comment(text, heads[path]) : heads[path]].splitlines()
    return " ".join(line.lstrip("# ").rstrip() for line in lines)


def _written(value: Value) -> str:
    """A value as TOML writes it: what JSON escapes in a text, TOML escapes in the same way."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _end_of_table(text: str, table: Path) -> int:
    """Where a further line of a table may stand: after the last line of its own, before its inner tables."""
    values, heads = find_places(text)
    own = [ends for path, (_, ends) in values.items() if path[:-1] == table]
    if table not in heads or not own:
        raise Refused(_OTHERWISE)
    return _line_end(text, max(own))


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _with_comment(text: str, head: int) -> int:
    """Where the comment right above a header begins; the header itself when none is there."""
    while head:
        above = _line_start(text, head - 1)
        if not text[above:head].lstrip().startswith("#"):
            break
        head = above
    return head


def _inside(document: dict[str, Any], table: Path) -> dict[str, Any]:
    found: Any = document
    for part in table:
        found = found[part]
    if not isinstance(found, dict):
        raise Refused(_OTHERWISE)
    return found


def _checked(changed: str, expected: dict[str, Any]) -> str:
    """The changed text, if it says exactly what was meant. Raises `Refused`."""
    try:
        found = tomllib.loads(changed)
    except tomllib.TOMLDecodeError:
        raise Refused(_OTHERWISE) from None
    if found != expected:
        raise Refused(_OTHERWISE)
    return changed
