"""Stops of the real program in the middle of its work: in order, at once, and a standstill after which others went on.

Kills are in `tests/test_crash.py`, a single stop among other things in `tests/test_sending.py`.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from db.follow_up import Worker
from db.states import ReminderState
from scheduler import sender
from tests.history import read_stories
from tests.kill_rig import KillRig
from tests.process import environment, fill, open_folder, wait_until
from tests.smtp_script import SILENT, Act
from tests.smtp_server import SmtpServer, running
from tests.starter import Starter


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SmtpServer]:
    """A mail server in a thread of its own, with a ledger, that takes a moment for each message."""
    ledger = tmp_path / "ledger.jsonl"
    ledger.touch()
    with running(SmtpServer(ledger=ledger, delay=0.05)) as server:
        yield server


@pytest.fixture
def make_rig(starter: Starter, server: SmtpServer, tmp_path: Path) -> Iterator[Callable[[str], KillRig]]:
    """A rig on a database of that address, closed at the end."""
    made: list[KillRig] = []

    def make(url: str) -> KillRig:
        made.append(KillRig(tmp_path, url, server, starter, seed=1))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def test_stops_in_the_middle_of_the_work_leave_no_answer_open_and_send_each_message_once(
    make_rig: Callable[[str], KillRig], database_url: str
) -> None:
    rig = make_rig(database_url)
    for _ in range(3):
        assert rig.stop_in_order() == 0
        assert rig.open_attempts() == set()
        assert rig.count(ReminderState.SENDING) == 0
    account = rig.account()
    assert account.faults() == []
    assert rig.count(ReminderState.SENT) == rig.entered
    assert len(rig.server.accepted) == rig.entered  # nothing was unknown, so nothing came twice


def test_a_second_signal_ends_at_once_and_nothing_is_lost(make_rig: Callable[[str], KillRig], sqlite_url: str) -> None:
    rig = make_rig(sqlite_url)
    rig.server.next("content", Act(delay=25))
    rig.enter(1, "second signal")
    rig.start(1)
    assert wait_until(lambda: "DATA" in rig.server.verbs(), 30)
    rig.starter.signal(signal.SIGTERM)
    time.sleep(0.5)
    began = time.monotonic()
    rig.starter.signal(signal.SIGTERM)
    assert rig.starter.wait(20) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 5  # far less than the answer would have taken
    rig.note_open("second signal")
    assert [len(kill.in_flight) for kill in rig.kills] == [1]
    account = rig.account()
    assert account.found == []
    assert account.unknown["second signal"] == 1


async def test_a_stop_waits_for_a_silent_mail_server_only_so_long(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tmp_path: Path
) -> None:
    monkeypatch.setattr(sender, "DRAIN_SECONDS", 0.3)  # half a minute with the real one: tests/long_crash.py
    now = datetime.now(UTC)
    async with SmtpServer() as server:
        env = environment(tmp_path, server.port, AFTERCARE_DATABASE_URL=sqlite_url, AFTERCARE_SMTP_CONNECTIONS="1")
        fill(env, now - timedelta(seconds=60), 1).store.engine.dispose()
        clinic = open_folder(env, now)
        server.next("content", SILENT)
        sending = sender.Sender(clinic)
        await sending.start()
        await server.until(lambda: "DATA" in server.verbs(), 20)
        await asyncio.wait_for(sending.stop(), 10)
        clinic.store.engine.dispose()
        later = open_folder(env, now + timedelta(minutes=6))
        await sender.Sender(later).send_once()  # its answer is unknown now, and it may be sent once more later
        (story,) = read_stories(later.store)
        assert (story.state, story.reason, [attempt.outcome for attempt in story.tries]) == (
            ("awaiting_retry", "resend_once", ["unknown"])
        )
        later.store.engine.dispose()


def test_a_process_that_stood_still_before_its_mark_sends_nothing_that_another_sent(
    starter: Starter, server: SmtpServer, postgres_url: str, tmp_path: Path
) -> None:
    env = environment(tmp_path, server.port, AFTERCARE_DATABASE_URL=postgres_url, AFTERCARE_SMTP_CONNECTIONS="1")
    fill(env, datetime.now(UTC) - timedelta(seconds=60), 1).store.engine.dispose()
    server.next("rcpt", Act(delay=1.0))
    starter.start(env, tmp_path / "first.log", "run", "--no-web")
    assert wait_until(lambda: "RCPT" in server.verbs(), 30)
    starter.signal(signal.SIGSTOP)
    clinic = open_folder(env, datetime.now(UTC))
    with clinic.store.write("test", clinic.clock.now()) as session:  # as if it had stood still for two minutes
        session.execute(update(Worker).values(heartbeat_at=clinic.clock.now() - timedelta(minutes=2)))
    clinic.store.engine.dispose()
    with Starter() as other:
        other.start(env, tmp_path / "second.log", "run", "--no-web")
        assert wait_until(lambda: len(server.accepted) == 1, 40), (tmp_path / "second.log").read_text()
        starter.signal(signal.SIGCONT)
        time.sleep(1.5)  # it reads the answer to RCPT, and would go on
        for one in (starter, other):
            one.signal(signal.SIGTERM)
            assert one.wait(40) == 0
    assert len(server.accepted) == 1
    assert server.verbs(1).count("RCPT") == 1  # the first process was in the middle of this very message
