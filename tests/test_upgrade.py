"""Upgrade and rollback from the first released schema, with a clinic's data in it, on both databases."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from db import audit, patients
from db.engine import Store, make_engine
from db.migrations import current, head, migrate
from db.sealed_file import SealedFileWriter
from db.table_rows import digest_table, list_tables, read_rows, snapshot, write_rows
from db.vault import KeyRing, Vault, write_key_file
from scheduler import restore, treatments
from scheduler.backup_file import pack, unpack
from service import open_clinic
from tests.clinic import STAFF, Desk
from tests.people import AMINA, BEATRIX
from tests.postgres import PostgresServer

FIRST = "0001"
OF_TODAY = {"audit_events", "audit_head", "gate"}  # what goes on after a restore


def silent(label: str) -> "Silent":
    """Nobody looks at the progress."""
    return Silent()


class Silent:
    """What progress is told to."""

    def __call__(self, done: int, total: int) -> None:
        """Say nothing."""


@pytest.fixture
def worked(desk: Desk) -> Desk:
    """A clinic with plans, a message that was sent, one that was corrected."""
    first = desk.treat(desk.enter(AMINA)).treatment_id
    desk.tick(hours=9)
    desk.send_due()
    treatments.reassign(desk.clinic, STAFF, first, desk.enter(BEATRIX), "Entered under the wrong patient")
    return desk


@pytest.fixture
def old(worked: Desk, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Its rows in a database of the first schema, of the same kind."""
    with ExitStack() as stack:
        if worked.store.is_sqlite:
            url = f"sqlite:///{tmp_path}/old.db"
        else:
            server: PostgresServer = request.getfixturevalue("postgres_server")
            name = f"test_{uuid4().hex}"
            url = server.create(name)
            stack.callback(server.drop, name)
        engine = make_engine(url)
        stack.callback(engine.dispose)
        migrate(engine, to=FIRST)
        with (
            snapshot(worked.store.engine) as reading,
            engine.execution_options(writes=True).begin() as writing,
        ):
            there = {table.name: table for table in list_tables(writing)}
            for table in reversed(there.values()):
                writing.execute(table.delete())
            for table in list_tables(reading):
                if table.name in there:
                    own = [column.name for column in table.columns]
                    kept = [name for name in own if name in there[table.name].columns]
                    rows = ([row[own.index(name)] for name in kept] for row in read_rows(reading, table))
                    write_rows(writing, there[table.name], kept, rows)
        yield engine


def columns_of(engine: Engine) -> dict[str, list[str]]:
    """The columns of each table."""
    with engine.connect() as connection:
        return {table.name: [column.name for column in table.columns] for table in list_tables(connection)}


def digests(engine: Engine, columns: dict[str, list[str]]) -> dict[str, tuple[int, str]]:
    """Rows and digests of those columns."""
    with snapshot(engine) as connection:
        tables = [table for table in list_tables(connection) if table.name in columns]
        found = {table.name: digest_table(connection, table, columns[table.name]) for table in tables}
    return {name: (digest.count, digest.hex) for name, digest in found.items()}


def back_up(engine: Engine, desk: Desk, ring: KeyRing) -> Path:
    """A backup of a database of any schema."""
    path = desk.folder / "before-the-upgrade.backup"
    with path.open("wb") as file, snapshot(engine) as connection:
        writer = SealedFileWriter(file, ring)
        pack(connection, writer, desk.clinic.settings, desk.clock.now(), Silent())
        writer.finish()
    return path


def test_an_upgrade_from_the_first_schema_keeps_every_value(worked: Desk, old: Engine, keyring: KeyRing) -> None:
    columns = columns_of(old)
    before = digests(old, columns)
    assert (current(old), sum(count for count, _ in before.values()) > 50) == (FIRST, True)
    assert migrate(old) is True
    assert current(old) == head()
    assert digests(old, columns) == before
    with Store(old, Vault(keyring)).read() as session:
        assert sorted(str(row.given_name) for row in patients.list_patients(session)) == ["Amina", "Beatrix"]
        assert audit.verify(session)[1] == []


@pytest.mark.long
def test_a_backup_of_the_first_schema_is_a_way_forward_and_a_way_back(
    worked: Desk, old: Engine, keyring: KeyRing, tmp_path: Path
) -> None:
    columns = columns_of(old)
    before = digests(old, columns)
    path = back_up(old, worked, keyring)
    (tmp_path / "tried").mkdir()
    assert unpack(path, keyring, tmp_path / "tried", Silent()).manifest.schema == FIRST
    migrate(old)
    with old.execution_options(writes=True).begin() as connection:
        connection.execute(text("UPDATE treatments SET entered_by = 'the new program'"))
    old.dispose()
    write_key_file(worked.clinic.settings.keys_file, keyring)
    settings = worked.clinic.settings.model_copy(update={"database_url": old.url.render_as_string(hide_password=False)})
    restore.restore(settings, worked.clock, open_clinic, path, keyring, STAFF, silent)
    assert current(old) == head()
    after = digests(old, columns)
    assert {name: found for name, found in after.items() if name not in OF_TODAY} == {
        name: found for name, found in before.items() if name not in OF_TODAY
    }
