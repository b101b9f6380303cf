"""Two versions of a text side by side, word by word: what stayed, what came, what went. Pure.

Differences of protocols, in sentences, are in `scheduler.protocol_differences`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from scheduler.text_edits import TextDraft

Kind = Literal["same", "new", "gone"]
_WORD = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of words that share a fate."""

    kind: Kind
    text: str


def word_differences(before: str, after: str) -> list[Piece]:
    """The pieces in reading order; what went stands before what came in its place.

    Lines are compared first and words only within changed lines, so that a long text takes milliseconds.
    """
    pieces: list[Piece] = []
    was, now = before.splitlines(keepends=True), after.splitlines(keepends=True)
    for kind, a, b, c, d in SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        gone, new = "".join(was[a:b]), "".join(now[c:d])
        pieces += [Piece("same", new)] if kind == "equal" else _within(gone, new)
    return _joined(pieces)


def draft_differences(before: TextDraft, after: TextDraft) -> list[tuple[str, list[Piece]]]:
    """The fields that changed, each by its label with its pieces."""
    fields = (("Subject", "subject"), ("First line", "preheader"), ("Text", "body"))
    return [
        (label, word_differences(getattr(before, name), getattr(after, name)))
        for label, name in fields
        if getattr(before, name) != getattr(after, name)
    ]


def _within(gone: str, new: str) -> Iterator[Piece]:
    """Changed lines, word by word; a space between two changed words changes with them, so that they read as one."""
    was, now = _WORD.findall(gone), _WORD.findall(new)
    lost = came = ""
    for kind, a, b, c, d in SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        before, after = "".join(was[a:b]), "".join(now[c:d])
        if kind != "equal" or (lost and came and after == " "):
            lost, came = lost + before, came + after
            continue
        yield from _flushed(lost, came)
        lost = came = ""
        yield Piece("same", after)
    yield from _flushed(lost, came)


def _flushed(lost: str, came: str) -> Iterator[Piece]:
    space = " " if lost.endswith(" ") and came.endswith(" ") else ""
    pieces = (Piece("gone", lost.removesuffix(space)), Piece("new", came.removesuffix(space)), Piece("same", space))
    yield from (piece for piece in pieces if piece.text)


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbours of one kind as one piece."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and joined[-1].kind == piece.kind:
            joined[-1] = Piece(piece.kind, joined[-1].text + piece.text)
        else:
            joined.append(piece)
    return joined
