"""What only the real program shows: exit codes of the process, a terminal that asks, mails as bytes, two senders."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scheduler.sending_lock import SendingLock
from tests.process import ROOT, command, environment, fill


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A clinic with one message that is due."""
    env = environment(tmp_path)
    fill(env, datetime.now(UTC) - timedelta(minutes=5), count=1)
    return env


def reminder(env: Mapping[str, str]) -> dict[str, Any]:
    """The one reminder."""
    (found,) = json.loads(command(env, "reminders", "--json").stdout)
    return dict(found)


def on_a_terminal(env: Mapping[str, str], answer: bytes, *words: str) -> tuple[int, str]:
    """Run one command on a terminal, type an answer; its exit code and what the terminal showed."""
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "service.py", *words], cwd=ROOT, env=dict(env), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, answer)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # Linux's word for: the other end is closed
            break
    os.close(ours)
    return running.wait(30), re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())


def test_a_preview_is_byte_for_byte_what_is_sent_but_for_its_date(env: dict[str, str], tmp_path: Path) -> None:
    row = reminder(env)
    words = ("preview", row["treatment_id"], "--step", "first", "--format", "eml")
    shown = subprocess.run(
        [sys.executable, "service.py", *words], cwd=ROOT, env=env, capture_output=True, check=True
    ).stdout
    dry = command(env, "send-due", "--dry-run")
    assert (dry.returncode, row["id"] in dry.stdout, "1 message(s) would leave." in dry.stdout) == (0, True, True)
    assert reminder(env) == row
    assert not (tmp_path / "var" / "outbox").exists()
    sent = command(env, "send-due")
    assert (sent.returncode, sent.stdout.splitlines()[0]) == (0, "1 message(s) left.")
    (mail,) = (tmp_path / "var" / "outbox").glob("*.eml")
    assert without_date(mail.read_bytes()) == without_date(shown)
    after = reminder(env)
    assert (after["state"], after["reason"], after["attempts"]) == ("sent", "written_to_folder", 1)
    assert command(env, "send-due", "--dry-run").stdout.splitlines() == ["Nothing is due."]


def without_date(content: bytes) -> list[bytes]:
    """The lines of a mail but its date; line ends as they are."""
    lines = content.splitlines(keepends=True)
    assert len([line for line in lines if line.startswith(b"Date: ")]) == 1
    return [line for line in lines if not line.startswith(b"Date: ")]


@pytest.mark.long
def test_what_the_program_writes_is_for_its_user_alone(tmp_path: Path) -> None:
    env = environment(tmp_path)
    (tmp_path / "protocols").mkdir()
    (tmp_path / "one.csv").write_text("given_name,family_name\nTara,Quill\n", encoding="utf-8")
    for words in (("migrate",), ("import", str(tmp_path / "one.csv")), ("send-due",), ("backup", str(tmp_path / "b"))):
        done = subprocess.run(
            [sys.executable, "service.py", *words], cwd=ROOT, env=env, umask=0o022, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
    written = [tmp_path / "b", *(tmp_path / "var", *(tmp_path / "var").rglob("*"))]
    assert {"aftercare.db", "audit-anchors.jsonl"} <= {path.name for path in written}
    assert [path.name for path in written if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize(
    ("words", "without"),
    [
        (
            ("status", "--json"),
            {"aiosmtplib", "alembic", "apscheduler", "fastapi", "holidays.countries", "rich.progress"},
        ),
        (("send-due",), {"alembic", "fastapi", "commands.demo", "commands.backup"}),
    ],
)
def test_a_start_imports_what_it_needs(tmp_path: Path, words: Sequence[str], without: set[str]) -> None:
    env = environment(tmp_path)
    (tmp_path / "protocols").mkdir()
    assert command(env, "migrate").returncode == 0
    code = "import atexit, runpy, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
    code += f"sys.argv = {['service.py', *words]}; runpy.run_path('service.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    imported = {*done.stderr.splitlines()[-1].split()}
    assert (done.returncode, imported & without) == (0, set())
    assert "scheduler.clinic" in imported


@pytest.mark.long
def test_a_terminal_is_asked_and_a_no_changes_nothing(env: dict[str, str]) -> None:
    row = reminder(env)
    move = ("treatment", "move", row["treatment_id"], "--at", "2026-01-05T10:00")
    code, shown = on_a_terminal(env, b"n\n", *move)
    assert (code, "Move the treatment? [y/N]" in shown, "Nothing was changed." in shown) == (1, True, True)
    assert reminder(env) == row
    assert command(env, "hold", "--reason", "A test.").returncode == 0
    code, shown = on_a_terminal(env, b"y\n", "release")
    assert (code, "Sending is open." in shown) == (0, True)


def test_a_second_sender_ends_with_1_and_names_the_holder(env: dict[str, str], tmp_path: Path) -> None:
    lock = SendingLock(tmp_path / "var" / "sending.lock")
    lock.take("run, process 12 on the clinic's machine")
    try:
        for words in (["send-due"], ["run", "--no-web"]):
            said = command(env, *words)
            assert (said.returncode, "run, process 12 on the clinic's machine" in said.stderr) == (1, True)
            assert "Traceback" not in said.stderr
    finally:
        lock.release()
    assert reminder(env)["state"] == "scheduled"
