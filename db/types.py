"""Column types and ids: aware UTC instants, ids that sort by time, enums as their words.

Sealed values are in `db.sealed`: a column type cannot know its row.
"""

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID, SafeUUID

from sqlalchemy import BigInteger, Dialect, String, TypeDecorator, Uuid

E = TypeVar("E", bound=StrEnum)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant, stored as whole microseconds since 1970 in UTC; refuses naive values.

    An integer sorts and compares the same on SQLite and PostgreSQL and never loses its zone.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored instant must have a time zone")
        delta = value - _EPOCH
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        seconds, micros = divmod(int(value), 1_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)


class Id(Uuid[UUID]):
    """SQLAlchemy's `Uuid`, read from SQLite without the general parser of `UUID`: there are many in every row."""

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[Any], UUID | None] | None:
        """Read 32 hex digits, which is how they are stored there."""
        if dialect.name == "sqlite":
            return _read_id
        general: Callable[[Any], UUID | None] | None = super().result_processor(dialect, coltype)  # type: ignore[no-untyped-call]
        return general


def _read_id(stored: str | None) -> UUID | None:
    if stored is None:
        return None
    found = object.__new__(UUID)
    object.__setattr__(found, "int", int(stored, 16))
    object.__setattr__(found, "is_safe", SafeUUID.unknown)
    return found


class Word(TypeDecorator[E], Generic[E]):
    """A `StrEnum` member stored as its value; an unknown word in the database is an error."""

    impl = String
    cache_ok = True

    def __init__(self, enum: type[E]) -> None:
        super().__init__(length=40)
        self.enum = enum

    def process_bind_param(self, value: E | str | None, dialect: Dialect) -> str | None:
        return None if value is None else self.enum(value).value

    def process_result_value(self, value: Any, dialect: Dialect) -> E | None:
        return None if value is None else self.enum(value)


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, then random, so that index pages stay together.

    Ids of one process rise (§6.2, method 2): rows of one instant stay in the order in which they were made.
    It tells when a row was made, so it never leaves the house; tokens and Message-IDs are random.
    """
    value = _rising((time.time_ns() // 1_000_000 & (2**48 - 1)) << 74 | int.from_bytes(os.urandom(10)) >> 6)
    millis, high, low = value >> 74, value >> 62 & 0xFFF, value & (2**62 - 1)
    return UUID(int=millis << 80 | 0x7 << 76 | high << 64 | 0x2 << 62 | low)


_last = 0
_one_at_a_time = threading.Lock()


def _rising(drawn: int) -> int:
    global _last  # the order holds for the whole process
    with _one_at_a_time:
        _last = drawn if drawn > _last else _last + 1 + int.from_bytes(os.urandom(4))
        return _last
