"""What takes part in the bench: a name, a preparation for each turn, and the command that is timed."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """What a line of the table is."""

    OURS = "ours"
    BOUND = "bound"
    PEER = "peer"


class CannotPrepare(Exception):
    """A contestant could not be made ready for a turn; the message says why."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A contestant that cannot take part here, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Contestant:
    """`prepare` gets an empty folder and gives the command; `find_fault` looks afterwards what it left undone."""

    name: str
    kind: Kind
    prepare: Callable[[Path], list[str]]
    ends_itself: bool = True
    server: int | None = None  # the process id of the database server or broker beside it
    find_fault: Callable[[], str | None] = lambda: None
