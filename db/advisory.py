"""PostgreSQL's advisory locks, each on a connection of its own, and `Presence`, the one that says that a process works.

A lock goes with its connection, however the process ends. What is done under a turn's lock is in `db.turns`.
"""

import os
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

_CLASS: Final = 0x41667463  # "Aftc": the first half of the keys of our locks
_PRESENCE: Final = "at work"
SILENCE = "60s"  # the server ends a presence that was not kept for so long: the process or its machine stands still


@contextmanager
def own_connection(engine: Engine, longest_silence: str) -> Iterator[Connection]:
    """A connection outside the pool that no transaction holds open; the server ends it after that silence."""
    connection = _open(engine, longest_silence)
    try:
        yield connection
    finally:
        connection.close()


def _open(engine: Engine, longest_silence: str) -> Connection:
    alone = create_engine(engine.url, hide_parameters=True, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    connection = alone.connect()
    set_config = text("SELECT set_config('idle_session_timeout', :silence, false)")
    connection.execute(set_config, {"silence": longest_silence})
    return connection


def try_lock(connection: Connection, name: str) -> bool:
    """Whether the lock of that name is ours now."""
    return bool(connection.execute(text("SELECT pg_try_advisory_lock(:class, :key)"), _key(name)).scalar())


def await_lock(session: Session, name: str) -> None:
    """Wait for the lock of that name and hold it until this transaction ends. On SQLite writers take turns anyway."""
    if session.get_bind().dialect.name != "sqlite":
        session.execute(text("SELECT pg_advisory_xact_lock(:class, :key)"), _key(name))


def nobody_is_present(connection: Connection) -> bool:
    """Whether no process works on this database, held true until this transaction ends."""
    return bool(connection.execute(text("SELECT pg_try_advisory_xact_lock(:class, :key)"), _key(_PRESENCE)).scalar())


def list_present(connection: Connection) -> list[str]:
    """The names of the processes that work on this database."""
    query = text(
        "SELECT DISTINCT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid::bigint = :class"
        " AND l.objid::bigint = :key AND a.datname = current_database() AND a.pid <> pg_backend_pid() ORDER BY 1"
    )
    key = _key(_PRESENCE)
    return list(connection.scalars(query, {"class": key["class"], "key": key["key"] & 0xFFFFFFFF}))


def wait_alone(session: Session, name: str) -> None:
    """Wait until no other transaction holds that name, and hold it to the end of this one."""
    session.execute(text("SELECT pg_advisory_xact_lock(:class, :key)"), _key(name))


class Presence:
    """Says on PostgreSQL that this process works with the schema it found; while anybody says so, nobody migrates.

    To be kept every few seconds, by one thread at a time. On SQLite a lock file says it (`scheduler.sending_lock`).
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def keep(self) -> bool:
        """Hold it. True when it is new: the schema has to be looked at. Raises `OperationalError` while it cannot."""
        if self._engine.dialect.name == "sqlite":
            return False
        if self._connection is not None:
            try:
                self._connection.execute(text("SELECT 1"))
                return False
            except Exception:
                self.release()
                raise
        connection = _open(self._engine, SILENCE)
        try:
            name = f"aftercare, process {os.getpid()} on {socket.gethostname()}"
            connection.execute(text("SELECT set_config('application_name', :name, false)"), {"name": name[:63]})
            connection.execute(text("SELECT pg_advisory_lock_shared(:class, :key)"), _key(_PRESENCE))
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return True

    def release(self) -> None:
        """Let it go."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def _key(name: str) -> dict[str, int]:
    key = zlib.crc32(name.encode())
    return {"class": _CLASS, "key": key - 2**32 if key >= 2**31 else key}
