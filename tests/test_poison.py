"""A message that ends the process that writes it is found, counted, and after three deaths held; no other is blamed."""

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import update

from db import reminders
from db.follow_up import Reminder
from db.states import ReminderState
from scheduler import recovery
from scheduler.at_work import AtWork, list_deaths
from scheduler.clinic import Clinic
from tests.clinic import Desk
from tests.people import CAST
from tests.process import environment, fill, open_folder, quick_command
from tests.smtp_process import smtp_process

COUNT = 4


def standing(clinic: Clinic) -> dict[str, tuple[str, int]]:
    """How each message stands, and how many errors it has."""
    with clinic.store.read() as session:
        return {
            row.message_id: (f"{row.state.value}:{row.reason.value}" if row.reason else row.state.value, row.errors)
            for row, _ in reminders.list_reminders(session)
        }


def test_a_message_that_kills_its_process_three_times_is_held_and_the_others_leave(tmp_path: Path) -> None:
    env = environment(tmp_path)
    began = datetime.now(UTC) - timedelta(seconds=60)
    clinic = fill(env, began, COUNT)
    with clinic.store.read() as session:
        poison = reminders.list_reminders(session)[-1][0]
    marker = tmp_path / "marker"
    for deaths in (1, 2, 3):
        with clinic.store.write("test", datetime.now(UTC)) as session:  # it is written first, each time
            before = began - timedelta(minutes=2)
            session.execute(update(Reminder).where(Reminder.id == poison.id).values(ready_at=before))
        crashed = quick_command({**env, "AFTERCARE_KILL_POINT": f"in_render:{marker}"}, "send-due")
        assert crashed.returncode == -signal.SIGKILL, crashed.stderr
        assert marker.read_text().split() == ["in_render"] * deaths
        recovery.blame_dead(clinic)
    stands = standing(clinic)
    assert stands.pop(poison.message_id) == ("held:send_failed", 2)
    assert set(stands.values()) == {("sending", 0)}  # claimed beside it, and never blamed
    with smtp_process(tmp_path) as (port, _):
        assert quick_command(environment(tmp_path, port), "send-due").returncode == 0
    stands = standing(open_folder(env, datetime.now(UTC)))
    assert stands.pop(poison.message_id) == ("held:send_failed", 2)
    assert set(stands.values()) == {("sent", 0)}
    clinic.store.engine.dispose()


@pytest.fixture
def folder(desk: Desk) -> Path:
    """Where the files of the desk's processes are."""
    return desk.clinic.settings.data_dir


def test_a_death_counts_once_and_waits_a_little(desk: Desk, folder: Path) -> None:
    for person in CAST[:2]:
        desk.treat(desk.enter(person, time_zone="Europe/London"))
    desk.tick(hours=9)
    worker = desk.worker()
    first, second = desk.claim(worker)
    dead = AtWork(folder, worker)
    with dead.on(first.reminder_id):
        assert list(list_deaths(folder)) == []  # alive: its file is locked
        _die(dead)
        assert recovery.blame_dead(desk.clinic) == 1
    assert recovery.blame_dead(desk.clinic) == 0
    rows = {row.id: row for row in desk.rows()}
    blamed, beside = rows[first.reminder_id], rows[second.reminder_id]
    assert (blamed.state, blamed.errors) == (ReminderState.SCHEDULED, 1)
    assert blamed.ready_at == desk.clock.now() + timedelta(minutes=5)
    assert (beside.state, beside.errors) == (ReminderState.SENDING, 0)
    recovery.recover(desk.clinic, desk.worker(), everyone_else=True)
    assert {row.errors for row in desk.rows()} == {0, 1}


def test_who_died_between_two_messages_or_long_after_blames_none(desk: Desk, folder: Path) -> None:
    desk.treat(desk.enter(CAST[0], time_zone="Europe/London"))
    desk.tick(hours=9)
    worker = desk.worker()
    (claim,) = desk.claim(worker)
    idle = AtWork(folder, worker)
    with idle.on(claim.reminder_id):
        pass
    _die(idle)
    late = AtWork(folder, uuid4())  # another worker had it meanwhile
    with late.on(claim.reminder_id):
        _die(late)
        assert recovery.blame_dead(desk.clinic) == 0
    assert list(folder.glob("at-work-*")) == []
    assert desk.row("after-visit").errors == 0


def test_an_orderly_end_leaves_no_file(tmp_path: Path) -> None:
    AtWork(tmp_path, uuid4()).close()
    assert list(tmp_path.iterdir()) == []


def _die(process: AtWork) -> None:
    """What the kernel does at a process's end: its lock is gone. The number stays valid: it is another open file."""
    os.close(process._file)
    process._file = os.open(os.devnull, os.O_RDWR)
