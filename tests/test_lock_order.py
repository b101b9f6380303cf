"""Who locks what in which order on PostgreSQL, so that staff and several senders never wait in a ring."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from uuid import UUID

import pytest
from sqlalchemy import select, text

from db import patients, reminders
from db.follow_up import CarePlan, Reminder
from db.states import AttemptOutcome, EventKind, ReminderState
from scheduler.outcomes import Ended
from scheduler.recorder import Recorder
from tests.clinic import STAFF, Desk
from tests.people import AMINA
from tests.process import wait_until

WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
SECONDS = 10.0  # far longer than either takes, and than PostgreSQL needs to find a deadlock


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """One thread beside the test's own."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def due(postgres_desk: Desk) -> tuple[Desk, UUID, UUID]:
    """A desk, a patient with one message due, and her treatment."""
    patient_id = postgres_desk.enter(AMINA)
    treatment_id = postgres_desk.treat(patient_id).treatment_id
    postgres_desk.tick(hours=9)
    return postgres_desk, patient_id, treatment_id


def test_a_mark_does_not_wait_for_who_is_about_to_plan_her(
    due: tuple[Desk, UUID, UUID], threads: ThreadPoolExecutor
) -> None:
    desk, patient_id, _ = due
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    letter = desk.letter(claim)
    with desk.store.write(STAFF, desk.clock.now()) as session:
        patients.lock_patient(session, patient_id)
        marking = threads.submit(desk.mark, worker_id, claim, letter)
        try:
            assert marking.result(SECONDS) == 1
        except Late:
            pytest.fail("the mark waits for the patient's row, and planning would wait for the mark")


def test_outcomes_wait_for_who_plans_her_before_they_touch_her_reminders(
    due: tuple[Desk, UUID, UUID], threads: ThreadPoolExecutor
) -> None:
    desk, patient_id, treatment_id = due
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    number = desk.mark(worker_id, claim)
    desk.tick()
    desk.event(treatment_id, EventKind.SOLO_STARTED)  # a fact while it was on the wire: she is planned anew at its end
    ended = Ended(claim.reminder_id, number, worker_id, claim.fence, 1, AttemptOutcome.ACCEPTED)
    recorder = Recorder(desk.clinic, threads)
    with desk.store.write(STAFF, desk.clock.now()) as session:
        patients.lock_patient(session, patient_id)
        recording = threads.submit(recorder._commit, [ended], False)
        assert wait_until(lambda: _waits(desk) or recording.done(), SECONDS)
        plans = list(session.scalars(select(CarePlan.id).where(CarePlan.patient_id == patient_id)))
        assert reminders.list_rows(session, plans, lock=True)  # a deadlock ends one of the two here
    recording.result(SECONDS)
    with desk.store.read() as session:
        assert session.get_one(Reminder, claim.reminder_id).state is ReminderState.SENT


def _waits(desk: Desk) -> bool:
    with desk.store.engine.connect() as connection:
        return bool(connection.scalar(WAITING))
