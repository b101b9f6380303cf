"""The engine for SQLite and PostgreSQL and `Store`, the one door to the database.

A store opens sessions that carry the vault and the actor, and writes the audit chain before each commit.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session

from db import audit
from db.vault import Vault

SQLITE_BUSY_SECONDS = 30  # how long a writer waits for another; a clinic's longest import is far shorter
POSTGRES_POOL = 10  # connections kept: three threads that send and the pages' threads; as many again for a rush
CONNECT_SECONDS = 10  # how long a server that does not answer is waited for
IDLE_TRANSACTION = "30s"  # PostgreSQL ends a transaction whose process has said nothing for so long
SQLITE_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: under NORMAL the last commits may vanish at power loss, and a lost mark is a second mail
    "foreign_keys": 1,
}
ANALYZED_ROWS = 1000  # of each index; SQLite advises 100 to 1,000: enough to tell the indexes apart


# Told the audit events of each transaction before it commits; what it raises keeps the transaction from committing.
BeforeCommit = Callable[[Sequence[audit.Noted], datetime], None]
T = TypeVar("T")


class UnsafeDatabase(Exception):
    """The database does not have a property that our promises rest on."""


def make_engine(url: str) -> Engine:
    """An engine with our settings; opens nothing yet. SQL parameters never show in errors or logs."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            parsed,
            hide_parameters=True,
            connect_args={"timeout": SQLITE_BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
        )
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    engine = create_engine(
        parsed,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=POSTGRES_POOL,
        max_overflow=POSTGRES_POOL,
        connect_args={} if "connect_timeout" in parsed.query else {"connect_timeout": CONNECT_SECONDS},
    )
    event.listen(engine, "connect", _limit_idle_transactions)
    return engine


def _limit_idle_transactions(connection: Any, record: Any) -> None:
    # A process that was stopped in the middle of a mark holds the gate's row: the others must not wait for it for ever.
    before, connection.autocommit = connection.autocommit, True
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TRANSACTION}'")
    connection.autocommit = before


def _set_pragmas(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    for name, value in SQLITE_PRAGMAS.items():
        cursor.execute(f"PRAGMA {name}={value}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads and then writes fails at once with "database is locked" whatever the
    # busy timeout: writers take the lock when they begin.
    writes = connection.get_execution_options().get("writes")
    if connection.info.get("query_only") != (not writes):  # of this very connection, as long as it lives
        connection.exec_driver_sql(f"PRAGMA query_only={0 if writes else 1}")
        connection.info["query_only"] = not writes
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def padded(values: Iterable[T]) -> list[T]:
    """Values for an IN list, the last repeated until there are 1, 2, 4, 8 … of them.

    With few lengths there are few statements, which a database then keeps prepared.
    """
    found = list(values)
    return found + found[-1:] * ((1 << (len(found) - 1).bit_length()) - len(found)) if found else found


def check_engine(engine: Engine) -> None:
    """Read back what durability rests on. Raises `UnsafeDatabase` naming what is wrong."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            for name, expected in SQLITE_PRAGMAS.items():
                found = connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                if found != expected:
                    raise UnsafeDatabase(f"SQLite {name} is {found!r}, it has to be {expected!r}")
            return
        for name, refused in (("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")):
            found = connection.exec_driver_sql(f"SHOW {name}").scalar()
            if found == refused:
                raise UnsafeDatabase(f"PostgreSQL {name} is {found}: committed rows could be lost; switch it on")


class Store:
    """Opens sessions. `read` never changes anything; `write` is one transaction with its audit events."""

    def __init__(self, engine: Engine, vault: Vault, before_commit: BeforeCommit | None = None) -> None:
        self.engine = engine
        self.vault = vault
        self.before_commit = before_commit
        self.on_damage: Callable[[list[str]], None] | None = None
        self._reading = engine.execution_options(postgresql_readonly=True)  # on SQLite: see _begin_sqlite
        self._writing = engine.execution_options(writes=True)
        self._turn = threading.Lock()  # of the writers of this process, on SQLite

    @property
    def is_sqlite(self) -> bool:
        """Whether one process sends and readers see a snapshot (SQLite)."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading: the database itself refuses a write. Rolled back at the end."""
        with Session(self._reading, info={"vault": self.vault}, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def show(self) -> Iterator[Session]:
        """A session to read for a person: a sealed value that does not open reads `db.sealed.UNREADABLE`.

        What did not is told to `on_damage` by its place. Nothing that is computed, sent or stored may rest on it.
        """
        damaged: set[str] = set()
        info = {"vault": self.vault, "damaged": damaged}
        with Session(self._reading, info=info, expire_on_commit=False) as session:
            yield session
        if damaged and self.on_damage is not None:
            self.on_damage(sorted(damaged))

    @contextmanager
    def write(self, actor: str, at: datetime) -> Iterator[Session]:
        """One writing transaction by `actor` at the instant `at`: commits whole, or not at all.

        The audit events recorded meanwhile are chained last, so the chain's head is locked for the shortest time.
        """
        info = {"vault": self.vault, "actor": actor, "at": at}
        with self._one_writer(), Session(self._writing, info=info, expire_on_commit=False) as session:
            session.begin()
            yield session
            session.flush()
            if self.before_commit is not None:
                self.before_commit(audit.list_pending(session), at)
            audit.append_pending(session)
            session.commit()

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """On SQLite the writers of this process take turns: it would let each sleep for longer and longer, and
        whoever writes without a pause would keep the others out."""
        ours = self.is_sqlite and self._turn.acquire(timeout=SQLITE_BUSY_SECONDS)
        try:
            yield
        finally:
            if ours:
                self._turn.release()

    def database_now(self) -> datetime:
        """PostgreSQL's own clock, which all processes share."""
        with self._reading.connect() as connection:
            told: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        return told.astimezone(UTC)

    def renew_statistics(self) -> None:
        """Let the database count what is in its tables and indexes: after many rows came at once.

        SQLite never does it by itself, and without it reads whole indexes where the end of another one would do. It
        looks at a sample: writers wait for it.
        """
        with self._writing.begin() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql(f"PRAGMA analysis_limit = {ANALYZED_ROWS}")
            connection.exec_driver_sql("ANALYZE")


def actor_of(session: Session) -> str:
    """Who writes in this session."""
    return str(session.info["actor"])


def instant_of(session: Session) -> datetime:
    """When this session writes."""
    at: datetime = session.info["at"]
    return at
