"""The walls of the house: who imports whom, and which file alone may touch a thing."""

import ast
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOMS, calls, imports, parsed, python_files, sources

MAY_IMPORT = {
    "db": {"db"},
    "scheduler": {"db", "scheduler"},
    "commands": {"db", "scheduler", "commands"},
    "web": {"db", "scheduler", "web"},
    "service.py": {*ROOMS},
    "bench": {*ROOMS, "bench", "service", "tests"},
}
OURS = {*ROOMS, "service", "tests"}
PURE = (
    "scheduler/planning/",
    "scheduler/local_time.py",
    "scheduler/smtp_outcome.py",
    "scheduler/received_parts.py",
    "scheduler/delivery_report.py",
    "scheduler/small_counts.py",
    "scheduler/follow_up_counts.py",
)
PURE_NAMES = tuple(f"{place.removesuffix('.py').rstrip('/').replace('/', '.')}." for place in PURE)
ALONE = {
    "imaplib": {"scheduler/bounce_mailbox.py"},
    "aiosmtplib": {"scheduler/mailer.py"},
    "apscheduler": {"scheduler/ticker.py"},
    "smtplib": set(),
}
PEERS = ("bench", "peers")  # other senders in an environment of their own: they may use what ours must not
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.putenv"}
WALL_CLOCK = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}
WALL_CLOCK_FILES = {"scheduler/clock.py", "db/types.py"}  # the latter: the time in an id


def _is_pure(path: Path) -> bool:
    return path.as_posix().startswith(PURE)


def test_imports_run_one_way() -> None:
    wrong = [
        f"{path} imports {name}"
        for path in sources()
        for name in imports(path)
        if name.split(".")[0] in OURS - MAY_IMPORT.get(path.parts[0], set())
    ]
    assert wrong == []


def test_the_peers_of_the_bench_are_alone() -> None:
    found = {name for path in sources() if path.parts[:2] == PEERS for name in imports(path)}
    assert "huey.SqliteHuey" in found
    ours = {name for name in found if name.split(".")[0] in {*OURS, "bench"}}
    assert {name for name in ours if not name.startswith("bench.peers.")} == set()


def test_the_pure_files_know_the_standard_library_the_states_and_each_other() -> None:
    pure = [path for path in sources() if _is_pure(path)]
    assert len(pure) > 5
    wrong = []
    for path in pure:
        for name in imports(path):
            first = name.split(".")[0]
            fine = first in sys.stdlib_module_names or name.startswith("db.states.")
            fine = fine or name.startswith(PURE_NAMES)
            if not fine:
                wrong.append(f"{path} imports {name}")
    assert wrong == []


def test_the_pure_files_wait_for_nothing_and_read_no_clock() -> None:
    wrong = []
    for path in sources():
        if _is_pure(path):
            waits = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
            wrong += [f"{path}:{node.lineno} waits" for node in waits]
            wrong += [f"{path} uses {name}" for name in calls(path) if name.endswith((".now", ".today", ".monotonic"))]
    assert wrong == []


@pytest.mark.parametrize("module", ALONE)
def test_one_file_alone_imports(module: str) -> None:
    found = {
        path.as_posix()
        for path in (python_files() if module == "smtplib" else sources())
        if path.parts[:2] != PEERS and any(name.split(".")[0] == module for name in imports(path))
    }
    assert found <= ALONE[module]


def test_settings_alone_read_the_environment() -> None:
    found = {
        path.as_posix()
        for path in sources()
        if ENVIRONMENT & {*calls(path), *imports(path)} or "dotenv" in {name.split(".")[0] for name in imports(path)}
    }
    assert found == {"scheduler/settings.py"}


def test_the_clock_alone_reads_the_wall_clock() -> None:
    wrong = [
        f"{path} uses {name}"
        for path in sources()
        if path.as_posix() not in WALL_CLOCK_FILES
        for name in {*calls(path), *imports(path)}
        if any(name == clock or name.endswith(f".{clock}") for clock in WALL_CLOCK)
    ]
    assert wrong == []


def test_the_database_knows_no_mail_no_pages_and_no_loop() -> None:
    foreign = {"asyncio", "email", "fastapi", "jinja2", "starlette", "typer", "uvicorn", "pydantic"}
    wrong = [
        f"{path} imports {name}"
        for path in sources()
        if path.parts[0] == "db"
        for name in imports(path)
        if name.split(".")[0] in foreign
    ]
    assert wrong == []


def test_nothing_prints_but_the_commands() -> None:
    wrong = [
        f"{path}:{node.lineno}"
        for path in sources()
        if path.parts[0] in ("db", "scheduler", "web")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert wrong == []
