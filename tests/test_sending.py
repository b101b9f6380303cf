"""The whole line with the real program, a real SMTP server and real files: on time, once, and stopping in order."""

import email
import email.policy
import json
import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from db import reminders
from db.states import ReminderState
from tests.process import environment, fill, ledger_lines, open_folder, quick_command, running, wait_until
from tests.smtp_process import smtp_process

LATE_SECONDS = 5.0  # far above what a loaded test machine needs, far below what a lost wake-up would cost


def test_every_message_arrives_once_and_none_before_its_time(tmp_path: Path) -> None:
    with smtp_process(tmp_path) as (port, ledger):
        env = environment(tmp_path, port)
        due_at = datetime.now(UTC) + timedelta(seconds=12)
        fill(env, due_at - timedelta(seconds=20), 30, first=20).store.engine.dispose()
        with running(env, "--no-web") as process:
            assert wait_until(lambda: len(ledger_lines(ledger)) >= 30, 30)
            process.send_signal(signal.SIGTERM)
            assert process.wait(40) == 0
        clinic = open_folder(env, datetime.now(UTC))
        with clinic.store.read() as session:
            rows = {row.message_id: row for row, _ in reminders.list_reminders(session)}
        arrived = ledger_lines(ledger)
        assert Counter(str(line["message_id"]) for line in arrived) == Counter(rows.keys())
        for line in arrived:
            row = rows[str(line["message_id"])]
            assert row.state is ReminderState.SENT
            late = float(str(line["wall"])) - row.due_at.timestamp()
            assert 0 <= late < LATE_SECONDS


def test_without_a_mail_server_complete_mails_land_in_the_folder(tmp_path: Path) -> None:
    env = environment(tmp_path)
    fill(env, datetime.now(UTC) - timedelta(seconds=30), 3).store.engine.dispose()
    assert quick_command(env, "send-due").returncode == 0
    mails = sorted((tmp_path / "var" / "outbox").iterdir())
    assert [path.suffix for path in mails] == [".eml"] * 3
    found = [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in mails]
    assert {mail["To"] for mail in found} == {f"tara{number}@example.org" for number in range(3)}
    assert {mail["From"] for mail in found} == {"Orchard Lane <post@example.org>"}
    assert all(mail["Auto-Submitted"] == "auto-generated" for mail in found)
    shown = json.loads(quick_command(env, "reminders", "--json").stdout)
    assert {(row["state"], row["reason"]) for row in shown} == {("sent", "written_to_folder")}
    assert {row["message_id"] for row in shown} == {mail["Message-ID"] for mail in found}


def test_switching_a_relay_on_never_mails_what_was_written_and_off_again_closes_the_gate(tmp_path: Path) -> None:
    env = environment(tmp_path)
    fill(env, datetime.now(UTC) - timedelta(seconds=30), 2).store.engine.dispose()
    assert quick_command(env, "send-due").returncode == 0
    with smtp_process(tmp_path) as (port, ledger):
        assert quick_command(environment(tmp_path, port), "send-due").returncode == 0
        assert ledger_lines(ledger) == []
    assert quick_command(env, "send-due").returncode == 0
    status = json.loads(quick_command(env, "status", "--json").stdout)
    assert status["gate"] == "closed"
    assert "no mail server is set" in status["gate_reason"]


def test_a_second_sender_is_refused_and_told_who_sends(tmp_path: Path) -> None:
    env = environment(tmp_path)
    fill(env, datetime.now(UTC), 1).store.engine.dispose()
    with running(env, "--no-web") as process:
        second = quick_command(env, "send-due")
        assert second.returncode == 1
        assert f"run, process {process.pid}" in second.stderr
    assert quick_command(env, "send-due").returncode == 0  # the lock went with its holder


def test_sigterm_finishes_what_is_on_the_wire_and_leaves_nothing_claimed(tmp_path: Path) -> None:
    with smtp_process(tmp_path, "--delay", "0.3") as (port, ledger):
        env = environment(tmp_path, port)
        fill(env, datetime.now(UTC) - timedelta(seconds=30), 30).store.engine.dispose()
        with running(env, "--no-web") as process:
            assert wait_until(lambda: len(ledger_lines(ledger)) >= 3, 20)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(40) == 0
            assert time.monotonic() - began < 10
        clinic = open_folder(env, datetime.now(UTC))
        with clinic.store.read() as session:
            counts = reminders.count_by_state(session)
        sent = len(ledger_lines(ledger))
        assert 3 <= sent < 30
        assert (counts[ReminderState.SENT], counts[ReminderState.SCHEDULED]) == (sent, 30 - sent)


def test_a_stop_that_is_committed_first_wins(tmp_path: Path) -> None:
    with smtp_process(tmp_path, "--delay", "0.2") as (port, ledger):
        env = environment(tmp_path, port, AFTERCARE_SMTP_CONNECTIONS="1")
        fill(env, datetime.now(UTC) - timedelta(seconds=30), 20).store.engine.dispose()
        with running(env, "--no-web"):
            assert wait_until(lambda: len(ledger_lines(ledger)) >= 2, 20)
            assert quick_command(env, "hold", "--reason", "wrong text").returncode == 0
            stopped_with = len(ledger_lines(ledger))
            time.sleep(1.5)
            assert len(ledger_lines(ledger)) <= stopped_with + 1  # what was marked before the stop
            assert quick_command(env, "release", "--yes").returncode == 0
            assert wait_until(lambda: len(ledger_lines(ledger)) == 20, 20)
        assert len({line["message_id"] for line in ledger_lines(ledger)}) == 20


def test_a_folder_that_cannot_be_written_blames_no_message(tmp_path: Path) -> None:
    env = environment(tmp_path)
    fill(env, datetime.now(UTC) - timedelta(seconds=30), 3).store.engine.dispose()
    outbox = tmp_path / "var" / "outbox"
    outbox.write_text("a file where the folder should be")
    assert quick_command(env, "send-due").returncode == 0
    shown = json.loads(quick_command(env, "reminders", "--json").stdout)
    assert {(row["state"], row["reason"]) for row in shown} == {("scheduled", None)}
    outbox.unlink()
    assert quick_command(env, "send-due").returncode == 0
    assert len(list(outbox.glob("*.eml"))) == 3
