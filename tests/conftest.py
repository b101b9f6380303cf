"""Fixtures for all tests: both databases, migrated and empty; keys; a clock that stands still.

The cast is in `tests.people`, the PostgreSQL server in `tests.postgres`.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, sync_playwright
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import Engine, update

from db.audit import FIRST_MAC
from db.base import Base
from db.engine import Store, make_engine
from db.follow_up import Gate
from db.migrations import migrate
from db.staff import AuditHead
from db.states import GateState
from db.vault import KeyRing, Vault
from scheduler.accounts import passwords
from scheduler.clock import FastClock
from tests.clinic import Desk, open_desk
from tests.live import NO_CHROMIUM, find_chromium, launch
from tests.postgres import PostgresServer
from tests.sampling import MARKS, choose
from tests.starter import ROOT, Starter

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
TEMPLATE = "aftercare_template"
MEMORY = Path("/dev/shm")  # noqa: S108 (a folder in memory on every Linux; what is in it is made as in any other)
ROOM = 4 * 2**30  # bytes; a run has used less than a tenth of it
QUICK = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1),))

# A shared machine may stall: no deadline for one example. Function fixtures are safe here: examples do not share rows.
settings.register_profile(
    "aftercare", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("aftercare")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--sample`, which `make test` runs with."""
    parser.addoption(
        "--sample", action="store_true", help="of long sweeps only a part, by the run's seed: see sampling"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this run does not take of the long sweeps."""
    if config.getoption("--sample"):
        left_out = choose(items, config.getoption("randomly_seed", 0))
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]


def pytest_configure(config: pytest.Config) -> None:
    """Let nothing that is no part of a test take its time: compiling our sources at each start, waiting for a disk.

    Where the environment forbids bytecode, the programs that tests start keep theirs beside the packages. Databases
    lie in memory where there is room: all that is proven of a kill is proven of a process, never of a lost disk.
    """
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        os.environ["PYTHONPYCACHEPREFIX"] = str(ROOT / ".venv" / "bytecode")
    if "TMPDIR" not in os.environ and _has_room(MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def _has_room(folder: Path) -> bool:
    """Whether all that the tests write fits there, and programs run from there: PostgreSQL's do."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize > ROOM and not found.f_flag & os.ST_NOEXEC


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2 that works little, as hundreds of tests sign in; `tests/test_passwords.py` has the real work."""
    monkeypatch.setattr(passwords, "_HASHER", QUICK)


@pytest.fixture
def clock() -> FastClock:
    """A clock that stands at 2026-11-23 09:00 UTC until the test moves it."""
    return FastClock(START, speed=0)


@pytest.fixture
def keyring() -> KeyRing:
    """Fresh keys."""
    return KeyRing.make()


@pytest.fixture
def vault(keyring: KeyRing) -> Vault:
    """A vault with fresh keys."""
    return Vault(keyring)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One real PostgreSQL for this test process. If it cannot start, the tests fail, never skip."""
    with PostgresServer() as server:
        with opened(server.create(TEMPLATE)) as engine:
            migrate(engine)
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "aftercare.db"
    with opened(f"sqlite:///{path}") as engine:
        migrate(engine)
        with engine.connect() as connection:
            connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The address of a migrated, empty SQLite file of this test."""
    path = tmp_path / "var" / "aftercare.db"
    path.parent.mkdir(exist_ok=True)
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a migrated, empty PostgreSQL database of this test."""
    name = f"test_{uuid4().hex}"
    yield postgres_server.create(name, TEMPLATE)
    postgres_server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a migrated, empty database: the test runs on both kinds."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture
def store(database_url: str, vault: Vault) -> Iterator[Store]:
    """A store on a migrated, empty database: the test runs on both kinds."""
    with opened(database_url) as engine:
        yield Store(engine, vault)


@pytest.fixture
def sqlite_store(sqlite_url: str, vault: Vault) -> Iterator[Store]:
    """A store on SQLite, for what does not depend on the kind of database."""
    with opened(sqlite_url) as engine:
        yield Store(engine, vault)


@pytest.fixture
def postgres_store(postgres_url: str, vault: Vault) -> Iterator[Store]:
    """A store on PostgreSQL."""
    with opened(postgres_url) as engine:
        yield Store(engine, vault)


@pytest.fixture(scope="session")
def desk_engines(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Engine]]:
    """The engines of the desks, one of each kind for all tests: each compiles its statements once.

    Their databases are emptied before each test (`_desk_store`); making a new one takes half a second on PostgreSQL.
    """
    with ExitStack() as stack:

        @cache
        def engine(kind: str) -> Engine:
            if kind == "sqlite":
                return stack.enter_context(opened(f"sqlite:///{tmp_path_factory.mktemp('desk') / 'aftercare.db'}"))
            server: PostgresServer = request.getfixturevalue("postgres_server")
            return stack.enter_context(opened(server.create("desk", TEMPLATE)))

        yield engine


@contextmanager
def _desk_store(engine: Engine, vault: Vault, sqlite_template: Path) -> Iterator[Store]:
    """A store on a desk's engine, empty; its connections are closed at the end, whatever a test has left open."""
    if engine.dialect.name == "sqlite":
        path = Path(engine.url.database or "")
        for left in path.parent.glob(f"{path.name}-*"):
            left.unlink()
        shutil.copyfile(sqlite_template, path)
    else:
        _empty(engine)
    try:
        yield Store(engine, vault)
    finally:
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def draft_desk(
    request: pytest.FixtureRequest,
    desk_engines: Callable[[str], Engine],
    sqlite_template: Path,
    clock: FastClock,
    vault: Vault,
    tmp_path: Path,
) -> Iterator[Desk]:
    """A clinic at work whose protocol nobody has approved yet: the test runs on both kinds of database."""
    with _desk_store(desk_engines(request.param), vault, sqlite_template) as store:
        yield open_desk(store, clock, tmp_path / "clinic")


@pytest.fixture
def desk(draft_desk: Desk) -> Desk:
    """A clinic at work with everything approved: the test runs on both kinds of database."""
    draft_desk.open_approved()
    return draft_desk


@pytest.fixture
def sqlite_desk(
    desk_engines: Callable[[str], Engine], sqlite_template: Path, vault: Vault, clock: FastClock, tmp_path: Path
) -> Iterator[Desk]:
    """A clinic at work with everything approved, for what does not depend on the kind of database."""
    with _desk_store(desk_engines("sqlite"), vault, sqlite_template) as store:
        desk = open_desk(store, clock, tmp_path / "clinic")
        desk.open_approved()
        yield desk


@pytest.fixture
def postgres_desk(
    desk_engines: Callable[[str], Engine], sqlite_template: Path, vault: Vault, clock: FastClock, tmp_path: Path
) -> Iterator[Desk]:
    """A clinic at work with everything approved, for races that only PostgreSQL has."""
    with _desk_store(desk_engines("postgresql"), vault, sqlite_template) as store:
        desk = open_desk(store, clock, tmp_path / "clinic")
        desk.open_approved()
        yield desk


def _empty(engine: Engine) -> None:
    """Bring every table to what the migration left."""
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            if table.name not in ("gate", "audit_head"):
                connection.execute(table.delete())
        connection.execute(update(AuditHead).values(number=0, mac=FIRST_MAC))
        opened: dict[str, Any] = {"state": GateState.OPEN, "used_relay": False, "last_attempt": 0}
        emptied = dict.fromkeys(("reason", "cause", "installation_id", "restored_from", "restored_at"))
        connection.execute(update(Gate).values(**opened, **emptied))


@pytest.fixture(scope="module")
def starter() -> Iterator[Starter]:
    """The program, imported once for a module's processes, which are forked from it."""
    with Starter() as starter:
        yield starter


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One real browser for a module's pages; without one they are left out, and the last line says so.

    Not for longer: what drives it keeps a loop running in this thread, and tests that wait for one of their own fail.
    """
    if find_chromium() is None:
        pytest.skip(NO_CHROMIUM)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was left out because a program is not on this machine."""
    left_out = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    for reason, count in left_out.items():
        terminalreporter.write_line(f"{count} left out: {reason}", yellow=True, bold=True)


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """An engine for an address, disposed of at the end."""
    engine = make_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()
