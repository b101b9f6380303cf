"""The table walker: what is in one database is the same in the other, row by row, and one instant is seen."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text

from db.engine import Store
from db.table_rows import (
    count_rows,
    digest_table,
    list_tables,
    read_rows,
    snapshot,
    write_rows,
)
from scheduler import treatments
from tests.clinic import STAFF, Desk
from tests.people import AMINA, BEATRIX, CARMEN


@pytest.fixture
def worked(desk: Desk) -> Desk:
    """A clinic with every kind of value in its tables, and a treatment that points at a later one."""
    amina, beatrix = desk.enter(AMINA), desk.enter(BEATRIX)
    wrong = desk.treat(amina).treatment_id
    treatments.reassign(desk.clinic, STAFF, wrong, beatrix, "Entered under the wrong patient")
    desk.worker()
    return desk


@pytest.fixture(params=["sqlite", "postgresql"])
def other(request: pytest.FixtureRequest) -> Store:
    """Another migrated, empty database of either kind."""
    return request.getfixturevalue("sqlite_store" if request.param == "sqlite" else "postgres_store")  # type: ignore[no-any-return]


def _copy(source: Connection, target: Connection) -> None:
    tables = {table.name: table for table in list_tables(target)}
    for table in reversed(tables.values()):
        target.execute(table.delete())
    for table in list_tables(source):
        columns = [column.name for column in table.columns]
        write_rows(target, tables[table.name], columns, read_rows(source, table))


def _digests(engine: Engine, columns: dict[str, list[str]]) -> Iterator[tuple[str, int, str]]:
    with snapshot(engine) as connection:
        for table in list_tables(connection):
            digest = digest_table(connection, table, columns[table.name])
            yield table.name, digest.count, digest.hex


def test_every_row_is_the_same_in_another_database(worked: Desk, other: Store) -> None:
    with snapshot(worked.store.engine) as source:
        columns = {table.name: [column.name for column in table.columns] for table in list_tables(source)}
        with other.engine.execution_options(writes=True).begin() as target:
            _copy(source, target)
    there = sorted(_digests(other.engine, columns))
    assert there == sorted(_digests(worked.store.engine, columns))
    assert sum(count for _, count, _ in there) > 50
    with other.engine.execution_options(writes=True).begin() as target:
        target.execute(text("UPDATE treatments SET entered_by = 'nobody'"))
    assert sorted(_digests(other.engine, columns)) != there


def test_a_snapshot_does_not_see_what_is_written_meanwhile(worked: Desk) -> None:
    with snapshot(worked.store.engine) as connection:
        patients = next(table for table in list_tables(connection) if table.name == "patients")
        before = count_rows(connection, patients)
        worked.enter(CARMEN)
        assert count_rows(connection, patients) == before == len(list(read_rows(connection, patients)))
    with snapshot(worked.store.engine) as connection:
        assert count_rows(connection, patients) == before + 1
