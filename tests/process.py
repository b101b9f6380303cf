"""The real program as a process, and a small clinic in a folder for it: settings, an approved protocol, due mails.

The SMTP server beside it is `tests/smtp_process.py`.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

from scheduler import approvals, imports
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from scheduler.settings import load_settings
from service import open_clinic
from tests.starter import Starter

ROOT = Path(__file__).resolve().parent.parent
LONDON = ZoneInfo("Europe/London")

# Three mails within seconds of the treatment, so that a test sees a whole plan leave.
SECONDS_PROTOCOL = """
key = "seconds"
version = 1
title = "A plan of seconds"

[[step]]
key = "first"
kind = "aftercare"
template = "how_are_you"
anchor = "treatment"
offset = "PT{first}S"
expires_after = "PT1H"
past = "send"
on_unknown = "{on_unknown}"
"""


def environment(folder: Path, port: int | None = None, **more: str) -> dict[str, str]:
    """The environment of a clinic whose data lie in `folder`; with a port, it sends to a server on this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AFTERCARE_")}
    settings = {
        "AFTERCARE_DATA_DIR": str(folder / "var"),
        "AFTERCARE_PROTOCOLS_DIR": str(folder / "protocols"),
        "AFTERCARE_SEND_WINDOW": "00:00-24:00",
        "AFTERCARE_GRACE_MINUTES": "0",
        "AFTERCARE_BACKLOG_LIMIT": "100000",
        "AFTERCARE_LISTEN": "127.0.0.1:0",
        "AFTERCARE_SENDER_ADDRESS": "post@example.org",
        "AFTERCARE_SENDER_NAME": "Orchard Lane",
        "AFTERCARE_REPLY_TO": "desk@example.org",
        "AFTERCARE_CLINIC_NAME": "Orchard Lane",
        "AFTERCARE_CLINIC_PHONE": "020 7946 0000",
        "AFTERCARE_CLINIC_HOURS": "Monday to Friday, 9:00 to 17:00",
    }
    if port is not None:
        settings |= {
            "AFTERCARE_SMTP_HOST": "127.0.0.1",
            "AFTERCARE_SMTP_PORT": str(port),
            "AFTERCARE_SMTP_SECURITY": "none",
        }
    return {**kept, **settings, **more}


def open_folder(env: Mapping[str, str], at: datetime) -> Clinic:
    """The clinic of an environment, in this process, with a clock that stands still."""
    return open_clinic(load_settings(env), FastClock(at, speed=0))


def fill(env: Mapping[str, str], at: datetime, count: int, first: int = 20, on_unknown: str = "resend_once") -> Clinic:
    """Approve the protocol of seconds and enter `count` patients, each treated at `at` with one mail due soon."""
    folder = Path(env["AFTERCARE_PROTOCOLS_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "seconds.toml").write_text(SECONDS_PROTOCOL.format(first=first, on_unknown=on_unknown))
    clinic = open_folder(env, at)
    approvals.read_files(clinic, "test")
    approvals.approve_protocol(clinic, "test", approvals.scope_of(clinic, "seconds"), "Dr Novak")
    enter(clinic, [at] * count)
    return clinic


def enter(clinic: Clinic, moments: Sequence[datetime], first: int = 0) -> None:
    """Enter one patient for each moment, treated then by the protocol of seconds; `first` is the number of the first.

    By an import: one transaction for all, where entering each by itself reads every protocol file again.
    """
    if not moments:
        return
    lines = ["given_name,family_name,email,consent,confirmed,protocol,treated_at"]
    for number, moment in enumerate(moments, start=first):
        wall = moment.astimezone(LONDON).strftime("%Y-%m-%dT%H:%M:%S")
        lines.append(f"Tara,Quill{number},{address(number)},all,yes,seconds,{wall}")
    file = clinic.settings.data_dir / f"people-{first}.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    imports.run_import(clinic, "test", file)


def address(number: int) -> str:
    """Where the mails of the patient with that number go."""
    return f"tara{number}@example.org"


def command(env: Mapping[str, str], *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "service.py", *words],
        cwd=ROOT,
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def quick_command(env: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """The same where not the start is what is tested: in a fork of the program, which is imported once for all."""
    with TemporaryDirectory() as folder:
        out, errors = Path(folder, "out"), Path(folder, "errors")
        starter = _starter()
        starter.start(env, out, *words, errors=errors)
        try:
            code = starter.wait(60)
        except TimeoutError:
            starter.signal(signal.SIGKILL)
            starter.wait(20)
            raise
        return subprocess.CompletedProcess(words, code, out.read_text(), errors.read_text())


@cache
def _starter() -> Starter:
    starter = Starter()
    atexit.register(starter.__exit__, None, None, None)
    return starter


@contextmanager
def running(env: Mapping[str, str], *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The service as a process, given once it has said `ready`; stopped by SIGTERM at the end if it still runs.

    Its log goes to a file: a pipe that nobody empties would stop it.
    """
    log = Path(env["AFTERCARE_DATA_DIR"]).with_name("service.log")
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "service.py", "run", *words], cwd=ROOT, env=dict(env), stderr=file
        ) as process,
    ):
        try:
            if not wait_until(lambda: '"event": "ready"' in log.read_text() or process.poll() is not None, 30):
                raise RuntimeError("the service did not say that it is ready")
            if process.poll() is not None:
                raise RuntimeError(f"the service did not start: {log.read_text()}")
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(40)


def ledger_lines(ledger: Path) -> list[dict[str, object]]:
    """What the SMTP server accepted, in order; a line cut off by its end is left out."""
    return [json.loads(line) for line in ledger.read_text().splitlines() if line.endswith("}")]


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time."""
    patience = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > patience:
            return False
        time.sleep(0.05)
    return True
