"""What every command shares: opening the clinic, who acts, exit codes, JSON and questions. No command lives here."""

import getpass
import json
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import typer

from scheduler.clinic import Clinic
from scheduler.clock import Clock
from scheduler.entries import check_moment
from scheduler.errors import InvalidInput, NeedsConfirmation
from scheduler.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

E = TypeVar("E", bound=StrEnum)

By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="who does it; default: the system user")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON with stable keys instead of text")]
Yes = Annotated[bool, typer.Option("--yes", help="do it without asking")]
Reason = Annotated[str, typer.Option("--reason", help="why; kept with the record")]


@dataclass(frozen=True, slots=True)
class Door:
    """What `service.py` hands to the commands: how to open the clinic, and how to run it."""

    open: Callable[[], Clinic]
    open_with: Callable[[Settings, Clock], Clinic]
    settings: Callable[[], Settings]
    clock: Callable[[], Clock]
    serve: Callable[[Clinic, bool, bool, bool], Coroutine[None, None, None]]  # web, sending, asks a second factor


def clinic_of(context: typer.Context) -> Clinic:
    """Open the clinic; its connections are closed when the command ends."""
    door: Door = context.obj
    clinic = door.open()
    context.call_on_close(clinic.store.engine.dispose)
    return clinic


def actor(by: str | None) -> str:
    """Who acts: the given name, else `cli:<system user>`."""
    if by is not None:
        if not by.strip() or not by.isprintable():
            raise InvalidInput("--by: write a name")
        return by.strip()
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli:unknown"


def read_id(text: str, what: str) -> UUID:
    """An id as typed. Raises `InvalidInput`."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput(f'"{text}" is not an id of a {what}; ids look like 0193a5f0-…') from None


def read_word(text: str, words: type[E], what: str) -> E:
    """A word of an enum as typed. Raises `InvalidInput` naming the words there are."""
    for word in words:
        if word.value == text:
            return word
    raise InvalidInput(f'{what}: "{text}" is none of {", ".join(word.value for word in words)}')


def read_pairs(texts: Sequence[str]) -> dict[str, str]:
    """`key=value` options as a mapping. Raises `InvalidInput`."""
    pairs = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise InvalidInput(f'--field: "{text}" is not key=value')
        if key.strip() in pairs:
            raise InvalidInput(f'--field: "{key.strip()}" is given twice')
        pairs[key.strip()] = value.strip()
    return pairs


def read_instant(text: str, zone_name: str) -> datetime:
    """An instant as typed: RFC 3339 with an offset, or a local date or time of the clinic."""
    with suppress(ValueError):
        text = f"{date.fromisoformat(text.strip())}T00:00"  # a date alone
    return check_moment(text, zone_name, "time").instant


def confirm(question: str, yes: bool) -> None:
    """Ask on a terminal; elsewhere without --yes raise `NeedsConfirmation`. A no ends with exit 1, nothing changed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise NeedsConfirmation(f"{question}\nNothing was changed. Say --yes to do it.")
    if not typer.confirm(question):
        print_line("Nothing was changed.")
        raise typer.Exit(1)


@cache
def _out() -> "Console":
    """Standard output; imported when something is printed: of what starts, many print nothing or only JSON.

    Where nobody looks at a terminal, a line is a line: programs read it.
    """
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, markup=False, width=None if sys.stdout.isatty() else 1_000)


def print_line(text: str = "") -> None:
    """One line on standard output."""
    _out().print(text)


def print_error(text: str) -> None:
    """One line on standard error."""
    typer.echo(text, err=True)


def print_json(value: Any) -> None:
    """A value as one JSON document; instants as RFC 3339 in UTC."""
    typer.echo(json.dumps(value, default=_jsonable, ensure_ascii=False, indent=2))


def print_table(heads: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """Rows under their heads, or a sentence when there are none."""
    if not rows:
        print_line(empty)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold", no_wrap=head in _WHOLE)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    _out().print(table)


_WHOLE = frozenset({"id", "reminder", "batch", "due", "key"})  # what people copy is never broken in two


def print_fields(values: Mapping[str, object]) -> None:
    """Names and values, one a line; absent ones are left out."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        if value not in (None, "", [], {}):
            print_line(f"{name:<{width}}  {value}")


def utc(instant: datetime | None) -> str | None:
    """RFC 3339 in UTC with Z, to the second or, where there are any, the microsecond."""
    if instant is None:
        return None
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; silent elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield tell


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
