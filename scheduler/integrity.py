"""Checks on a schedule that the record is whole: the database's own, the audit chain, samples of what is sealed.

Each leaves an event in the trail, so every process and page knows the last. When they run is `scheduler.housekeeping`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from db import audit
from db.follow_up import DeliveryAttempt, Gate
from db.vault import VaultError
from scheduler.backup_file import open_samples
from scheduler.clinic import Clinic

ACTOR: Final = "service"
DAILY_SAMPLE, WEEKLY_SAMPLE = 50, 500  # patients whose sealed names are opened
DAILY_EVENTS = 100_000  # a longer chain (about six seconds of work) is verified once a week only

# What can be found, and what to do about it. The ids stand in the trail.
PROBLEMS: Final = {
    "database_damaged": "the database file is damaged: stop the service, keep a copy of it, restore the last backup",
    "rows_point_nowhere": "rows point at rows that are not there: keep a copy of the database, restore the last backup",
    "constraints_not_valid": "constraints or indexes are not valid: somebody changed the schema by hand",
    "attempt_numbers": "an attempt has a number that was never given out: this database was put together from two",
    "trail_broken": "the audit chain is broken: run audit verify, and keep a copy of the database as it is",
    "sealed_unreadable": "sealed values cannot be opened: is this the key file that belongs to this database?",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """The last scheduled check: when, and the ids of what it found."""

    at: datetime
    problems: tuple[str, ...]


class CutOff(Exception):
    """The service stops: a check that takes a minute does not keep it waiting, and the next start begins it anew."""


def check_record(clinic: Clinic, thorough: bool, go_on: Callable[[], bool] = lambda: True) -> tuple[str, ...]:
    """Check the record and note the outcome in the trail; the ids of what was found, as in `PROBLEMS`.

    Raises `CutOff` when `go_on` says no meanwhile; then nothing is noted.
    """
    found = tuple(sorted(_find(clinic, thorough, go_on)))
    with clinic.store.write(ACTOR, clinic.clock.now()) as session:
        if found:
            audit.record(session, "integrity.failed", "record", fields=found)
        else:
            audit.record(session, "integrity.passed", "record")
    return found


def find_last_check(session: Session) -> Checked | None:
    """The outcome of the last scheduled check, or None."""
    events = [audit.find_latest(session, action) for action in ("integrity.passed", "integrity.failed")]
    latest = max((event for event in events if event), key=lambda event: event.number, default=None)
    return Checked(latest.at, tuple(latest.fields)) if latest else None


def _find(clinic: Clinic, thorough: bool, go_on: Callable[[], bool]) -> set[str]:
    def progress(done: int, total: int) -> None:
        if not go_on():
            raise CutOff

    own: Callable[[Session, bool], Iterator[str]] = _sqlite if clinic.store.is_sqlite else _postgresql
    found: set[str] = set()
    with clinic.store.read() as session:
        try:
            found.update(own(session, thorough))
            highest = session.scalar(select(func.max(DeliveryAttempt.number))) or 0
            if highest > session.execute(select(Gate.last_attempt)).scalar_one():
                found.add("attempt_numbers")
            if thorough or audit.count_events(session) <= DAILY_EVENTS:
                _, broken = audit.verify(session, clinic.settings.anchors_file, progress)
                found.update(["trail_broken"] if broken else [])
            open_samples(session, WEEKLY_SAMPLE if thorough else DAILY_SAMPLE)
        except VaultError:
            found.add("sealed_unreadable")
        except DatabaseError:
            found.add("database_damaged")
    return found


def _sqlite(session: Session, thorough: bool) -> Iterator[str]:
    if session.scalar(text(f"PRAGMA {'integrity_check' if thorough else 'quick_check'}(1)")) != "ok":
        yield "database_damaged"
    if session.execute(text("PRAGMA foreign_key_check")).first():
        yield "rows_point_nowhere"


def _postgresql(session: Session, thorough: bool) -> Iterator[str]:
    query = (
        "SELECT EXISTS (SELECT FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid"
        " WHERE NOT c.convalidated AND t.relnamespace = current_schema()::regnamespace)"
        " OR EXISTS (SELECT FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid"
        " WHERE NOT i.indisvalid AND t.relnamespace = current_schema()::regnamespace)"
    )
    if session.scalar(text(query)):
        yield "constraints_not_valid"
