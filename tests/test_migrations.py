"""Migrations give exactly the models, once, and refuse what a newer program wrote."""

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

import db.follow_up
import db.migrations
import db.records
import db.returned_mail
import db.staff
import db.turns
from db.base import Base
from db.engine import Store, make_engine
from db.migrations import SchemaTooNew, current, head, is_known, migrate
from tests.postgres import PostgresServer


@pytest.fixture
def empty_engine(database_url: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An engine on a database without any table, of the kind the test runs on."""
    name = f"test_{uuid4().hex}"
    server: PostgresServer | None = None
    if database_url.startswith("postgresql"):
        server = request.getfixturevalue("postgres_server")
        engine = make_engine(server.create(name))
    else:
        engine = make_engine(f"sqlite:///{tmp_path}/empty.db")
    yield engine
    engine.dispose()
    if server is not None:
        server.drop(name)


def test_migrations_give_exactly_the_models(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def _partial_indexes_and_checks(engine: Engine) -> set[str]:
    """What Alembic does not compare: conditions of indexes and check constraints, without spelling differences."""
    if engine.dialect.name == "sqlite":
        query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'"
    else:
        query = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE 'alembic%'"
        query += " UNION ALL SELECT conrelid::regclass || conname || pg_get_constraintdef(oid) FROM pg_constraint"
        query += (
            " WHERE conrelid::regclass::text NOT LIKE 'alembic%' AND conrelid <> 0 AND contype IN ('c', 'f', 'u', 'p')"
        )
    with engine.connect() as connection:
        found = [re.sub(r"\s+", " ", row[0]) for row in connection.execute(text(query))]
    if engine.dialect.name == "sqlite":
        # A table's columns and constraints may be written in another order.
        return {part.strip(" ()") for sql in found for part in re.split(r", (?=[A-Za-z\"]+ )", sql)}
    return set(found)


def test_conditions_of_indexes_and_checks_are_those_of_the_models(store: Store, empty_engine: Engine) -> None:
    with empty_engine.execution_options(writes=True).begin() as connection:
        Base.metadata.create_all(connection)
    assert _partial_indexes_and_checks(store.engine) == _partial_indexes_and_checks(empty_engine)


def test_the_names_of_the_files_tell_what_alembic_reads_in_them() -> None:
    scripts = ScriptDirectory(str(Path(db.migrations.__file__).parent))
    revisions = {script.revision for script in scripts.walk_revisions()}
    assert head() == scripts.get_current_head()
    assert {f"{number:04}" for number in range(100) if is_known(f"{number:04}")} == revisions


def test_migrating_twice_changes_nothing(empty_engine: Engine) -> None:
    assert current(empty_engine) is None
    assert migrate(empty_engine) is True
    assert current(empty_engine) == head()
    assert migrate(empty_engine) is False


def test_a_database_of_a_newer_program_is_left_alone(store: Store) -> None:
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaTooNew, match="update Aftercare"):
        migrate(store.engine)


def test_foreign_keys_hold_again_after_a_migration(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/aftercare.db")
    migrate(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    engine.dispose()


def test_migrations_are_numbered_and_named_by_what_they_do() -> None:
    folder = Path(db.migrations.__file__).parent / "versions"
    names = sorted(path.name for path in folder.glob("*.py"))
    assert [name[:4] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
    assert [name for name in names if not re.fullmatch(r"\d{4}_[a-z]+_[a-z_]+\.py", name)] == []
