"""Moving a record from SQLite to an empty PostgreSQL, every row checked: all of it arrives or nothing does.

Until the last moment the old place is the true one. Reading and writing rows is `db.table_rows`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from db import gate
from db.advisory import list_present, nobody_is_present
from db.engine import Store, check_engine, make_engine
from db.migrations import current, head, migrate
from db.states import GateCause
from db.table_rows import Row, RowDigest, count_rows, digest_table, list_tables, read_rows, row_line, write_rows
from scheduler.clinic import Clinic
from scheduler.errors import InvalidInput, Refused
from scheduler.kill_points import reach

Progress = Callable[[int, int], None]  # rows, of how many
MADE_WITH_THE_SCHEMA = ("gate", "audit_head")  # one row each; a record that was used has events in its trail
TELL_EVERY = 500


@dataclass(frozen=True, slots=True)
class MovedTable:
    """One table as it arrived: equal to the old one by count and by digest."""

    name: str
    rows: int
    digest: str


def move_record(clinic: Clinic, actor: str, address: str, progress: Progress | None = None) -> list[MovedTable]:
    """Copy every row into the database at `address`, read it back and compare; nothing is sent from either afterwards.

    1 close the old gate · 2 keep every writer out of the old record · 3 copy and compare in one transaction of the new
    one · 4 commit it · 5 say in the old gate where the record is now. A kill before 4 leaves an empty new database;
    between 4 and 5 both are whole and both gates are closed. The caller holds the sending lock.

    Raises `InvalidInput` for an address that is none, `Refused` for a place that is not empty or rows that differ.
    """
    source, target = clinic.store, _open(clinic.store, address)
    try:
        _prepare(target)
        _close(clinic, actor, "the record is being moved to PostgreSQL; until that is done, this place is the true one")
        with (
            source.engine.connect().execution_options(writes=True) as old,
            old.begin(),
            target.connect() as new,
            new.begin(),
        ):
            _check_empty(new)
            moved = _copy(old, new, progress)
        Store(target, source.vault).renew_statistics()
        _close(clinic, actor, f"this record was moved to {_shown(target)}: set DATABASE_URL to it", GateCause.OLDER)
    finally:
        target.dispose()
    return moved


def _open(source: Store, address: str) -> Engine:
    if not source.is_sqlite:
        raise InvalidInput("DATABASE_URL is not SQLite: PostgreSQL's own tools move a record from there (pg_dump)")
    try:
        kind = make_url(address).get_backend_name()
        if kind == "postgresql":
            return make_engine(address)
    except (ArgumentError, NoSuchModuleError, ValueError):
        pass
    raise InvalidInput("--to: expected postgresql+psycopg://user:password@host/name")  # the address may hold a password


def _prepare(target: Engine) -> None:
    """Bring an empty database to our schema. Raises `Refused` for one that is not empty or has another schema."""
    found = current(target)
    if found is None:
        with target.connect() as connection:
            if list_tables(connection):
                raise Refused(f"{_shown(target)} holds tables of something else: make an empty database for the record")
        migrate(target)
    elif found != head():
        raise Refused(f"{_shown(target)} has schema {found}, this program works with {head()}: make an empty database")
    check_engine(target)


def _check_empty(new: Connection) -> None:
    if not nobody_is_present(new):
        raise Refused(f"a service runs on {_shown(new.engine)}: {'; '.join(list_present(new))}. Stop it first")
    counts = {table.name: count_rows(new, table) for table in list_tables(new)}
    full = [name for name, count in counts.items() if count and name not in MADE_WITH_THE_SCHEMA]
    if full:
        raise Refused(f"{_shown(new.engine)} is not empty (rows in {', '.join(sorted(full))}); nothing was moved")


def _copy(old: Connection, new: Connection, progress: Progress | None) -> list[MovedTable]:
    tables = list_tables(old)
    targets = {table.name: table for table in list_tables(new)}
    if {table.name for table in tables} != set(targets):
        raise Refused("the two databases have other tables: run migrate on both")
    counter = _Counter(sum(count_rows(old, table) for table in tables), progress)
    for name in MADE_WITH_THE_SCHEMA:
        new.execute(targets[name].delete())
    moved = []
    for table in tables:
        columns = [column.name for column in table.columns]
        sent = RowDigest()
        write_rows(new, targets[table.name], columns, _told(read_rows(old, table), sent, counter))
        arrived = digest_table(new, targets[table.name], columns)
        if (arrived.count, arrived.hex) != (sent.count, sent.hex):
            raise Refused(f"{table.name} did not arrive as it was ({sent.count} rows, {arrived.count} arrived)")
        moved.append(MovedTable(table.name, sent.count, sent.hex))
        reach("in_move")
    return moved


class _Counter:
    def __init__(self, total: int, tell: Progress | None) -> None:
        self._done, self._total, self._tell = 0, total, tell

    def step(self) -> None:
        self._done += 1
        if self._tell and (self._done % TELL_EVERY == 0 or self._done == self._total):
            self._tell(self._done, self._total)


def _told(rows: Iterable[Row], digest: RowDigest, counter: _Counter) -> Iterator[Row]:
    for row in rows:
        digest.add(row_line(row))
        counter.step()
        yield row


def _close(clinic: Clinic, actor: str, reason: str, cause: GateCause = GateCause.HOLD) -> None:
    with clinic.store.write(actor, clinic.clock.now()) as session:
        gate.close_gate(session, reason, cause)


def _shown(target: Engine) -> str:
    return (
        f"the database {target.url.database or ''} on {target.url.host or target.url.query.get('host', 'this machine')}"
    )
