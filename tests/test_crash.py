"""Real SIGKILL at every named point of the sending chain and at random, then a new start: nothing lost, none doubled.

This is the short form: each point once, in turns on SQLite and PostgreSQL. `make crash` runs the long one
(`tests/long_crash.py`); kills of commands are in `tests/test_crashed_commands.py`.
"""

import asyncio
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db import reminders, sends
from db.states import AttemptOutcome, ReminderState
from scheduler import kill_points
from scheduler.sender import Sender
from tests.kill_rig import AT_RANDOM, CERTAIN, IN_FLIGHT, KillRig
from tests.process import environment, fill, ledger_lines, open_folder
from tests.smtp_server import SmtpServer, running
from tests.starter import Starter

TURNS = {"sqlite": [*CERTAIN[::2], *IN_FLIGHT[::2]], "postgresql": [*CERTAIN[1::2], *IN_FLIGHT[1::2]]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SmtpServer]:
    """A mail server in a thread of its own, with a ledger."""
    ledger = tmp_path / "ledger.jsonl"
    ledger.touch()
    with running(SmtpServer(ledger=ledger)) as server:
        yield server


@pytest.mark.parametrize("kind", TURNS)
def test_kills_at_every_point_lose_nothing_and_double_nothing(
    kind: str, request: pytest.FixtureRequest, starter: Starter, server: SmtpServer, tmp_path: Path
) -> None:
    url = request.getfixturevalue("sqlite_url" if kind == "sqlite" else "postgres_url")
    rig = KillRig(tmp_path, url, server, starter, seed=1)
    try:
        for point in TURNS[kind]:
            rig.kill(point)
        rig.kill_at_random()
        assert rig.stop_in_order() == 0
        account = rig.account()
        assert account.faults() == []
        assert sum(account.unknown.values()) >= len(IN_FLIGHT[::2]) - 1  # the kills between mark and record did hit
        assert rig.count(ReminderState.SENT) == rig.entered
    finally:
        rig.close()


def test_every_point_of_sending_has_its_kill() -> None:
    of_commands = {"plan_before_commit", "plan_after_commit"}
    of_sending = {name for name in kill_points.NAMES if not name.startswith("in_")} | {"in_quit"}
    assert of_sending - of_commands == {*CERTAIN, *IN_FLIGHT}
    assert {point for points in TURNS.values() for point in points} == {*CERTAIN, *IN_FLIGHT}
    assert AT_RANDOM not in kill_points.NAMES


def test_a_row_whose_step_says_ask_is_never_resent_by_itself(
    starter: Starter, server: SmtpServer, tmp_path: Path
) -> None:
    at = datetime.now(UTC) - timedelta(seconds=60)
    env = environment(tmp_path, server.port)
    fill(env, at, 1, on_unknown="ask").store.engine.dispose()
    starter.start({**env, "AFTERCARE_KILL_POINT": f"dot_written:{tmp_path / 'marker'}"}, tmp_path / "log", "send-due")
    assert starter.wait(40) == -signal.SIGKILL, (tmp_path / "log").read_text()
    for minutes in (6, 59):
        clinic = open_folder(env, datetime.now(UTC) + timedelta(minutes=minutes - 1))
        asyncio.run(Sender(clinic).send_once())
    with clinic.store.read() as session:
        row, _ = reminders.list_reminders(session)[0]
        assert (row.state, str(row.reason)) == (ReminderState.HELD, "unknown")
        assert [attempt.outcome for attempt in sends.list_attempts(session, row.id)] == [AttemptOutcome.UNKNOWN]
    clinic.store.engine.dispose()
    assert server.ledger is not None
    assert len(ledger_lines(server.ledger)) <= 1
