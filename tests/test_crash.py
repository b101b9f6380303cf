"""Real SIGKILL at every named point of the sending chain, then a new start: nothing lost, nothing doubled by us.

The rig with a thousand kills and both databases comes with the issue about trust; this is its short form.
"""

import asyncio
import json
import shutil
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db import reminders, sends
from db.states import AttemptOutcome, ReminderState
from scheduler.clinic import Clinic
from scheduler.sender import Sender
from tests.process import command, environment, fill, ledger_lines, open_folder
from tests.smtp_process import smtp_process

COUNT = 8
# Points that are reached once, or looked at only while armed.
FIRST_TIME = {"after_claim", "after_render", "connected", "after_auth", "half_content", "in_quit"}

# Before the mark and after the record nothing is unknown; in between exactly what was on the wire.
CERTAIN = ["after_claim", "after_render", "connected", "after_auth", "after_rcpt", "recorded", "in_quit"]
IN_FLIGHT = ["after_mark", "after_354", "half_content", "dot_written", "reply_read"]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, datetime]:
    """A clinic's folder with due mails, to copy for each crash."""
    folder = tmp_path_factory.mktemp("clinic")
    at = datetime.now(UTC) - timedelta(seconds=60)
    clinic = fill(environment(folder), at, COUNT)
    clinic.store.engine.dispose()
    return folder, at


@pytest.mark.parametrize("point", CERTAIN + IN_FLIGHT)
def test_a_kill_at_this_point_loses_nothing_and_doubles_nothing(
    point: str, filled: tuple[Path, datetime], tmp_path: Path
) -> None:
    folder, _ = filled
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    marker = tmp_path / "marker"
    with smtp_process(tmp_path) as (port, ledger):
        connections = 2 if point in IN_FLIGHT else 1
        env = environment(tmp_path, port, AFTERCARE_SMTP_CONNECTIONS=str(connections))
        nth = 1 if point in FIRST_TIME else 3
        crashed = command({**env, "AFTERCARE_KILL_POINT": f"{point}@{nth}:{marker}"}, "send-due")
        assert crashed.returncode == -signal.SIGKILL, crashed.stderr
        assert marker.read_text().strip().endswith(point)  # the kill was this one, or the test proves nothing

        soon = datetime.now(UTC) + timedelta(minutes=6)  # after the wait of the one permitted resend
        clinic = open_folder(env, soon)
        in_flight = _open_attempts(clinic)
        assert (1 if point in IN_FLIGHT else 0) <= len(in_flight) <= (connections if point in IN_FLIGHT else 0)
        asyncio.run(Sender(clinic).send_once())
        assert _unknown_attempts(clinic) == len(in_flight)

        clinic = open_folder(env, soon + timedelta(minutes=6))
        asyncio.run(Sender(clinic).send_once())
        with clinic.store.read() as session:
            assert reminders.count_by_state(session)[ReminderState.SENT] == COUNT
            ids = {row.message_id for row, _ in reminders.list_reminders(session)}
        arrived = Counter(str(line["message_id"]) for line in ledger_lines(ledger))
        assert set(arrived) == ids  # nothing lost
        doubled = {message_id for message_id, count in arrived.items() if count > 1}
        assert doubled <= in_flight  # a second copy only of what was unknown and resent by its rule
        assert max(arrived.values()) <= 2
        clinic.store.engine.dispose()


def test_a_row_whose_step_says_ask_is_never_resent_by_itself(tmp_path: Path) -> None:
    at = datetime.now(UTC) - timedelta(seconds=60)
    fill(environment(tmp_path), at, 1, on_unknown="ask").store.engine.dispose()
    with smtp_process(tmp_path) as (port, ledger):
        env = environment(tmp_path, port)
        crashed = command({**env, "AFTERCARE_KILL_POINT": f"dot_written:{tmp_path / 'marker'}"}, "send-due")
        assert crashed.returncode == -signal.SIGKILL, crashed.stderr
        for minutes in (6, 60):
            clinic = open_folder(env, datetime.now(UTC) + timedelta(minutes=minutes - 1))
            asyncio.run(Sender(clinic).send_once())
        with clinic.store.read() as session:
            row, _ = reminders.list_reminders(session)[0]
            assert (row.state, str(row.reason)) == (ReminderState.HELD, "unknown")
            assert [attempt.outcome for attempt in sends.list_attempts(session, row.id)] == [AttemptOutcome.UNKNOWN]
        assert len(ledger_lines(ledger)) <= 1


@pytest.mark.parametrize("point", ["plan_before_commit", "plan_after_commit"])
def test_a_treatment_and_its_plan_are_stored_together_or_not_at_all(
    point: str, filled: tuple[Path, datetime], tmp_path: Path
) -> None:
    folder, _ = filled
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    env = environment(tmp_path)
    added = command(env, "patient", "add", "--given-name", "Ines", "--family-name", "Brook")
    patient_id = added.stdout.strip()
    entering = ("treatment", "add", "--patient", patient_id, "--protocol", "seconds", "--at", "2026-11-20T10:00")
    marker = tmp_path / "marker"
    crashed = command({**env, "AFTERCARE_KILL_POINT": f"{point}:{marker}"}, *entering)
    assert crashed.returncode == -signal.SIGKILL, crashed.stderr
    assert marker.exists()
    listed = json.loads(command(env, "treatment", "list", "--patient", patient_id, "--json").stdout)
    planned = json.loads(command(env, "reminders", "--patient", patient_id, "--json").stdout)
    assert (len(listed), len(planned)) == ((0, 0) if point == "plan_before_commit" else (1, 1))
    assert command(env, "audit", "verify").returncode == 0


def _open_attempts(clinic: Clinic) -> set[str]:
    with clinic.store.read() as session:
        return {row.message_id for row, _ in reminders.list_reminders(session) if row.open_attempt is not None}


def _unknown_attempts(clinic: Clinic) -> int:
    with clinic.store.read() as session:
        return sum(
            attempt.outcome is AttemptOutcome.UNKNOWN
            for row, _ in reminders.list_reminders(session)
            for attempt in sends.list_attempts(session, row.id)
        )
