"""Our whole chain as contestants: due rows in the database → rendered, marked, sent, recorded, the copy encrypted.

The clinic is made once and copied for each turn, because sending uses it up; copying and releasing is not timed.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.contestant import CannotPrepare, Contestant, Kind
from bench.due_clinic import bring_due, count_sent, make_clinic, settings
from bench.postgres import PostgresServer
from bench.sink import ROOT
from scheduler.clinic import Clinic
from scheduler.settings import load_settings
from service import open_clinic

CONNECTIONS = 10  # as many as the peers and the bound have; the setting says 4 by default
SERVICE = str(ROOT / "service.py")


def command(environ: dict[str, str], *words: str) -> list[str]:
    """The words that run one of our commands with those settings, its bytecode kept as an installed program's is."""
    kept = ["-u", "PYTHONDONTWRITEBYTECODE", f"PYTHONPYCACHEPREFIX={ROOT / '.venv' / 'bytecode'}"]
    return ["env", *kept, *(f"{name}={value}" for name, value in environ.items()), sys.executable, SERVICE, *words]


def on_sqlite(folder: Path, messages: int, port: int) -> Contestant:
    """The real sender over a file, sent to that port."""
    template = folder / "ours-sqlite"
    make_clinic(template, messages).store.engine.dispose()

    def put(turn: Path) -> dict[str, str]:
        shutil.copytree(template, turn / "clinic")
        return settings(turn / "clinic", port, CONNECTIONS)

    return _contestant("Aftercare, SQLite", messages, put)


def on_postgres(folder: Path, messages: int, port: int, server: PostgresServer) -> Contestant:
    """The real sender over PostgreSQL, sent to that port."""
    template = folder / "ours-postgres"
    make_clinic(template, messages, server.create("ours_template")).store.engine.dispose()

    def put(turn: Path) -> dict[str, str]:
        shutil.copytree(template, turn / "clinic")
        server.drop("ours")
        return settings(turn / "clinic", port, CONNECTIONS, server.create("ours", "ours_template"))

    return _contestant("Aftercare, PostgreSQL", messages, put, server.pid)


def ready_to_send(environ: dict[str, str], messages: int) -> None:
    """Make so many due over the clinic of those settings, and let it send: it lay still since its rows were written."""
    clinic = _open(environ)
    found = bring_due(clinic, messages)
    clinic.store.engine.dispose()
    if found != messages:
        raise CannotPrepare(f"{found} messages could be made due, not {messages}")
    done = subprocess.run(  # noqa: S603 (our own words)
        command(environ, "release", "--was-off", "--yes"), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CannotPrepare(f"the clinic could not be released: {done.stderr}")


def _contestant(
    name: str, messages: int, put: Callable[[Path], dict[str, str]], server: int | None = None
) -> Contestant:
    used: list[dict[str, str]] = []

    def prepare(turn: Path) -> list[str]:
        environ = put(turn)
        ready_to_send(environ, messages)
        used.append(environ)
        return command(environ, "send-due")

    def find_fault() -> str | None:
        clinic = _open(used[-1])
        sent = count_sent(clinic)
        clinic.store.engine.dispose()
        return None if sent == messages else f"the record says {sent} of {messages} sent"

    return Contestant(name, Kind.OURS, prepare, server=server, find_fault=find_fault)


def _open(environ: dict[str, str]) -> Clinic:
    return open_clinic(load_settings(environ))
