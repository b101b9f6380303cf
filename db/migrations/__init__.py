"""Alembic migrations, numbered `0001_verb_noun.py`, and the two calls the program needs.

Alembic runs from here, without an ini file; `env.py` only hands it our connection. Nothing but a change of the
schema imports it: that takes a tenth of a second, and every start asks which schema there is.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from db.advisory import list_present, nobody_is_present

_HERE = Path(__file__).parent
_LOCK = 0x41667463  # pg_advisory_lock key "Aftc": two processes never migrate at once


class SchemaTooNew(Exception):
    """The database was written by a newer Aftercare; this one must not touch it."""


class StillAtWork(Exception):
    """Other processes work with the schema as it is; the message names them."""


class ForeignKeysBroken(Exception):
    """A migration left rows that point nowhere; it was rolled back."""


def head() -> str:
    """The newest revision of this program."""
    return max(_revisions())


def _revisions() -> set[str]:
    """By the names of the files, as Alembic finds them too."""
    return {path.name.partition("_")[0] for path in (_HERE / "versions").glob("[0-9]*_*.py")}


def current(engine: Engine) -> str | None:
    """The revision of the database, None when it is empty."""
    with engine.connect() as connection:
        return revision_in(connection)


def revision_in(connection: Connection) -> str | None:
    """The same in the caller's transaction."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def is_known(revision: str) -> bool:
    """Whether this program knows that revision; else a newer one wrote it."""
    return revision in _revisions()


def migrate(engine: Engine, to: str | None = None) -> bool:
    """Bring the schema to head, or from nothing `to` an earlier revision, in one transaction. True when it changed.

    Raises `SchemaTooNew` for a database of a newer program, `StillAtWork` while a service runs on PostgreSQL. On
    SQLite foreign keys are off meanwhile: rebuilding a table with them on silently empties its child tables.
    """
    found, wanted = current(engine), to or head()
    if found == wanted:
        return False
    if found is not None and not is_known(found):
        raise SchemaTooNew(f"the database has schema {found}, newer than this program's {head()}: update Aftercare")
    with engine.connect() as connection:
        connection = connection.execution_options(writes=True)
        if engine.dialect.name == "sqlite":
            connection.connection.driver_connection.execute("PRAGMA foreign_keys=0")  # type: ignore[union-attr]
        try:
            with connection.begin():
                if engine.dialect.name != "sqlite":
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
                    if revision_in(connection) == wanted:
                        return False  # another process did it meanwhile
                    if not nobody_is_present(connection):
                        raise StillAtWork(_who(list_present(connection)))
                upgrade(connection, wanted)
                if engine.dialect.name == "sqlite":
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
                    if broken:
                        raise ForeignKeysBroken(f"{len(broken)} rows point nowhere after the migration")
        finally:
            if engine.dialect.name == "sqlite":
                connection.connection.driver_connection.execute("PRAGMA foreign_keys=1")  # type: ignore[union-attr]
    return True


def _who(names: list[str]) -> str:
    return (
        "the schema has to be brought up to date, and the service still runs on this database: "
        f"{'; '.join(names) or 'a process that is just ending'}. Stop it everywhere, then try again"
    )


def upgrade(connection: Connection, to: str) -> None:
    """Bring the schema to a revision in the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
