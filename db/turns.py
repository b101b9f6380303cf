"""Turns: housekeeping that one of several processes does at a time, and no other does again too soon.

A turn saves work and guards nothing: rows, fences and conditions do. Who loses one in its middle has at most done what
another does again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, Session, mapped_column

from db.advisory import own_connection, try_lock
from db.base import Base
from db.engine import Store
from db.types import UtcDateTime

ACTOR = "service"
LONGEST_TURN = "15min"  # the server ends a turn that is silent for longer: its process stands still


class Turn(Base):
    """When one kind of housekeeping was last done, by whichever process."""

    __tablename__ = "turns"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    done_at: Mapped[datetime] = mapped_column(UtcDateTime)


@contextmanager
def take_turn(store: Store, name: str, now: datetime, unless_since: datetime | None = None) -> Iterator[bool]:
    """Whether this process is to do `name` now: nobody else is at it, and it was not done since `unless_since`.

    What is done inside is noted as done at `now`, unless it raises. On SQLite one process works, and only the second
    half is asked.
    """
    with _alone(store, name) as alone:
        if not alone or (unless_since is not None and _was_done(store, name, unless_since, now)):
            yield False
            return
        yield True
        if unless_since is not None:
            with store.write(ACTOR, now) as session:
                session.merge(Turn(name=name, done_at=now))


def find_turn(session: Session, name: str) -> datetime | None:
    """When it was last done, or None."""
    found = session.get(Turn, name)
    return found.done_at if found else None


def _was_done(store: Store, name: str, since: datetime, now: datetime) -> bool:
    with store.read() as session:
        done_at = find_turn(session, name)
    return done_at is not None and since <= done_at <= now  # what lies ahead was noted by a clock that was wrong


@contextmanager
def _alone(store: Store, name: str) -> Iterator[bool]:
    if store.is_sqlite:
        yield True
        return
    with own_connection(store.engine, LONGEST_TURN) as connection:
        yield try_lock(connection, f"turn {name}")
