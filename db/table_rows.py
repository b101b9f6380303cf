"""The table walker: every row of every table as plain values that mean the same on SQLite and PostgreSQL, and back.

Backups and the move to another database read and write through it; what rows mean is the models' business.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Column,
    Connection,
    Date,
    Engine,
    LargeBinary,
    MetaData,
    String,
    Table,
    Uuid,
    and_,
    bindparam,
    func,
    insert,
    select,
    update,
)

AT_ONCE = 1_000  # rows fetched and inserted together: a few hundred kB
NOT_OURS = "alembic_version"  # the schema's revision is told apart
Row = list[
    Any
]  # text, numbers, booleans, None, lists and objects of JSON; ids in hex, bytes in base64, dates as 2026-11-23


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection that sees one instant of the whole database, while others write."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():  # SQLite in WAL: a transaction that reads sees what was there at its first read
            yield connection


def list_tables(connection: Connection) -> list[Table]:
    """The tables that are in the database, those that others point at first; not the models': they may be newer."""
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != NOT_OURS]


def count_rows(connection: Connection, table: Table) -> int:
    """How many rows it has."""
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def read_rows(connection: Connection, table: Table) -> Iterator[Row]:
    """All rows in the order of their keys, their values in the order of the table's columns."""
    columns = list(table.columns)
    plain = [_plainer(column) for column in columns]
    order = [_ordered(connection, column) for column in table.primary_key.columns]
    query = select(*columns).order_by(*order).execution_options(yield_per=AT_ONCE)
    for row in connection.execute(query):
        yield [value if value is None else made(value) for made, value in zip(plain, row, strict=True)]


def write_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Row]) -> int:
    """Insert rows as `read_rows` gave them, whose values stand in the order of `columns`; how many.

    A column that points at its own table is filled last: the row it means may come later.
    """
    taken = [_taker(table.columns[name]) for name in columns]
    later = _columns_to_self(table) & {*columns}
    keys = [column.name for column in table.primary_key.columns]
    postponed: list[dict[str, Any]] = []
    count = 0
    left = iter(rows)
    while group := list(islice(left, AT_ONCE)):
        values = [
            {
                name: value if value is None else take(value)
                for name, take, value in zip(columns, taken, row, strict=True)
            }
            for row in group
        ]
        for each in values:
            if any(each[name] is not None for name in later):
                postponed.append({f"{name}_": each[name] for name in (*keys, *later)})
                each.update(dict.fromkeys(later))
        connection.execute(insert(table), values)
        count += len(values)
    if postponed:
        same = and_(*(table.columns[name] == bindparam(f"{name}_") for name in keys))
        connection.execute(update(table).where(same).values({name: bindparam(f"{name}_") for name in later}), postponed)
    return count


class RowDigest:
    """A running SHA-256 over rows in order, the same for both databases: two tables with one digest are equal."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()
        self.count = 0

    def add(self, line: bytes) -> None:
        """Take one row in, as `row_line` spells it."""
        self._sum.update(line)
        self._sum.update(b"\n")
        self.count += 1

    @property
    def hex(self) -> str:
        """The digest so far."""
        return self._sum.hexdigest()


def row_line(row: Row) -> bytes:
    """A row spelled as one line of JSON."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()


def digest_table(connection: Connection, table: Table, columns: Sequence[str]) -> RowDigest:
    """The digest of a whole table with its values in the order of `columns`."""
    own = [column.name for column in table.columns]
    order = [own.index(name) for name in columns]
    digest = RowDigest()
    for row in read_rows(connection, table):
        digest.add(row_line([row[place] for place in order]))
    return digest


def _plainer(column: Column[Any]) -> Any:
    if isinstance(column.type, LargeBinary):
        return lambda value: base64.b64encode(value).decode("ascii")
    if isinstance(column.type, Uuid):
        return lambda value: value.hex  # as SQLite stores it
    if isinstance(column.type, Date):
        return date.isoformat
    return lambda value: value


def _taker(column: Column[Any]) -> Any:
    if isinstance(column.type, LargeBinary):
        return base64.b64decode
    if isinstance(column.type, Uuid):
        return UUID
    if isinstance(column.type, Date):
        return date.fromisoformat
    return lambda value: value


def _ordered(connection: Connection, column: Column[Any]) -> Any:
    # PostgreSQL sorts text by the rules of a language, SQLite by its bytes: the digests need one order.
    if connection.dialect.name == "postgresql" and isinstance(column.type, String):
        return column.collate("C")
    return column


def _columns_to_self(table: Table) -> set[str]:
    return {key.parent.name for key in table.foreign_keys if key.column.table is table}
