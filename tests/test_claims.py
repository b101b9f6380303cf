"""Claims and marks on both databases: conditional on state, fence, gate and address; a stop committed first wins."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text, update

from db import marks as stored_marks
from db import sends
from db import treatments as stored_treatments
from db.copy_packing import pack_copy
from db.follow_up import DeliveryAttempt, Gate, Reminder, SentCopy
from db.records import Treatment
from db.states import AttemptOutcome, DecisionKind, EventKind, Reason, ReminderState, StopReason
from scheduler import gate_keeper, patients, treatments
from tests.clinic import STAFF, Desk
from tests.people import AMINA, BEATRIX, CAST, DANUTA

pytestmark = pytest.mark.both

WAITING_FOR_A_LOCK = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
def patient_id(desk: Desk) -> UUID:
    """Amina, treated this morning; it is 18:00 and one message is due."""
    patient_id = desk.enter(AMINA)
    desk.treat(patient_id)
    desk.tick(hours=9)
    return patient_id


def test_only_what_is_due_is_claimed_the_longest_waiting_first(desk: Desk) -> None:
    for person, at in ((AMINA, "2026-11-23T09:00"), (BEATRIX, "2026-11-23T08:45"), (DANUTA, "2026-11-23T08:30")):
        desk.treat(desk.enter(person), at)
    worker_id = desk.worker()
    assert desk.claim(worker_id) == []
    desk.tick(hours=9)
    with desk.store.write("test", desk.clock.now()) as session:
        rows = [row for row in desk.rows() if row.state is ReminderState.SCHEDULED and row.ready_at <= desk.clock.now()]
        for place, row in enumerate(rows):
            ready_at = desk.clock.now() - timedelta(minutes=place)
            session.execute(update(Reminder).where(Reminder.id == row.id).values(ready_at=ready_at))
    claims = desk.claim(worker_id)
    assert [claim.reminder_id for claim in claims] == [row.id for row in reversed(rows)]
    assert {claim.fence for claim in claims} == {1}
    assert desk.claim(worker_id) == []


def test_no_more_than_asked_for_is_claimed(desk: Desk) -> None:
    for person in CAST[:5]:
        desk.treat(desk.enter(person))
    desk.tick(hours=9)
    assert len(desk.claim(desk.worker(), limit=2)) == 2
    assert len(desk.claim(desk.worker(), limit=2)) == 2
    assert len(desk.claim(desk.worker(), limit=2)) == 1


def test_a_closed_gate_lets_nothing_be_claimed_or_marked(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    letter = desk.letter(claim)
    gate_keeper.close(desk.clinic, STAFF, "A wrong text was approved.")
    assert desk.mark(worker_id, claim, letter) is None
    with desk.store.write("service", desk.clock.now()) as session:
        assert sends.give_back(session, claim)
    assert desk.claim(worker_id) == []
    gate_keeper.release(desk.clinic, STAFF)
    assert len(desk.claim(worker_id)) == 1


def test_a_mark_opens_the_next_attempt_and_keeps_the_exact_bytes_sealed(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    letter = desk.letter(claim)
    assert desk.mark(worker_id, claim, letter) == 1
    with desk.store.read() as session:
        assert stored_marks.read_copy(session, 1) == letter.content
        stored = session.scalars(select(SentCopy.content_sealed)).one()
        assert b"Amina" in letter.content
        assert b"Amina" not in stored
        attempt = sends.find_attempt(session, 1)
        assert (attempt.outcome, attempt.fence, attempt.email_version) == (AttemptOutcome.OPEN, claim.fence, 1)
        row = session.get_one(Reminder, claim.reminder_id)
        assert (row.open_attempt, row.attempts) == (1, 1)
        assert session.scalars(select(Gate.last_attempt)).one() == 1
    assert desk.mark(worker_id, claim, letter) is None  # one attempt at a time


def test_attempts_are_numbered_over_the_whole_record_without_a_gap(desk: Desk) -> None:
    for person in CAST[:3]:
        desk.treat(desk.enter(person))
    desk.tick(hours=9)
    worker_id = desk.worker()
    marks = []
    for claim in desk.claim(worker_id):
        letter = desk.letter(claim)
        marks.append(stored_marks.Mark(claim, worker_id, letter.email_version, pack_copy(letter.content)))
    wrong = stored_marks.Mark(
        sends.Claim(marks[1].claim.reminder_id, marks[1].claim.patient_id, marks[1].claim.care_plan_id, 99),
        worker_id,
        1,
        b"late",
    )
    with desk.store.write("service", desk.clock.now()) as session:
        opened = stored_marks.mark(session, [marks[0], wrong, marks[2]])
    assert opened == {marks[0].claim.reminder_id: 1, marks[2].claim.reminder_id: 2}
    assert desk.mark(worker_id, marks[1].claim) == 3


def voids() -> list[Any]:
    """What may happen between a claim and its mark, each with what it makes of the reminder."""

    def new_address(desk: Desk, patient_id: UUID) -> None:
        desk.change(patient_id, email="new@example.org")

    def new_confirmed_address(desk: Desk, patient_id: UUID) -> None:
        desk.change(patient_id, email="new@example.org", confirmed="yes")

    def lower_level(desk: Desk, patient_id: UUID) -> None:
        desk.change(patient_id, level="general")

    def stop(desk: Desk, patient_id: UUID) -> None:
        desk.stop(patient_id, StopReason.UNSAFE)

    def no_consent(desk: Desk, patient_id: UUID) -> None:
        desk.change(patient_id, consent="none")

    def complication(desk: Desk, patient_id: UUID) -> None:
        desk.event(treatment_of(desk), EventKind.COMPLICATION)

    def cancelled(desk: Desk, patient_id: UUID) -> None:
        treatments.cancel(desk.clinic, STAFF, treatment_of(desk), "Did not take place.")

    def moved(desk: Desk, patient_id: UUID) -> None:
        treatments.move(desk.clinic, STAFF, treatment_of(desk), "2026-11-24T10:00")

    def held(desk: Desk, patient_id: UUID) -> None:
        desk.decide(desk.row("after-visit"), DecisionKind.HOLD)

    return [
        pytest.param(new_address, "held:address_unconfirmed", id="a new address"),
        pytest.param(new_confirmed_address, "scheduled", id="a new address read back"),
        pytest.param(lower_level, "scheduled", id="another level"),
        pytest.param(stop, "cancelled:unsafe", id="a stop"),
        pytest.param(no_consent, "cancelled:consent_withdrawn", id="consent withdrawn"),
        pytest.param(complication, "held:complication", id="a complication"),
        pytest.param(cancelled, "cancelled:treatment_cancelled", id="treatment cancelled"),
        pytest.param(moved, "scheduled", id="treatment moved"),
        pytest.param(held, "held:hold", id="held by staff"),
    ]


def treatment_of(desk: Desk) -> UUID:
    """The one treatment there is."""
    with desk.store.read() as session:
        return session.scalars(select(Treatment.id)).one()


@pytest.mark.parametrize(("happens", "stands"), voids())
def test_what_is_committed_before_the_mark_wins(
    desk: Desk, patient_id: UUID, happens: Callable[[Desk, UUID], None], stands: str
) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    letter = desk.letter(claim)
    happens(desk, patient_id)
    with desk.unchanged():
        assert desk.mark(worker_id, claim, letter) is None
    assert desk.stands("after-visit") == stands
    with desk.store.write("service", desk.clock.now()) as session:
        assert not sends.give_back(session, claim)
        assert not sends.hold_claimed(session, claim, Reason.SEND_FAILED)
        assert not sends.miss_claimed(session, claim)
        assert session.scalar(select(func.count()).select_from(DeliveryAttempt)) == 0
    desk.nothing_left()


@pytest.mark.parametrize(("happens", "stands"), voids())
def test_a_mark_that_waits_for_a_change_sees_it(
    postgres_desk: Desk, happens: Callable[[Desk, UUID], None], stands: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change has written and not committed when the mark arrives: whoever is second has to see the first."""
    desk = postgres_desk
    patient_id = desk.enter(AMINA)
    desk.treat(patient_id)
    desk.tick(hours=9)
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    letter = desk.letter(claim)
    marked: list[int | None] = []
    marking = threading.Thread(target=lambda: marked.append(desk.mark(worker_id, claim, letter)))

    def just_before_commit(_: str) -> None:
        marking.start()
        deadline = time.monotonic() + 10
        with desk.store.read() as session:
            while not session.scalar(WAITING_FOR_A_LOCK) and time.monotonic() < deadline:
                time.sleep(0.01)
                session.rollback()

    monkeypatch.setattr("scheduler.care_plans.reach", just_before_commit)
    happens(desk, patient_id)
    marking.join(10)
    assert marked == [None]
    assert desk.stands("after-visit") == stands


def test_what_ran_out_meanwhile_is_not_marked(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    letter = desk.letter(claim)
    desk.tick(days=2)
    assert desk.mark(worker_id, claim, letter) is None
    with desk.store.write("service", desk.clock.now()) as session:
        assert sends.miss_claimed(session, claim)
    assert desk.stands("after-visit") == "missed:expired"


def test_what_ran_out_is_not_claimed(desk: Desk, patient_id: UUID) -> None:
    desk.tick(days=2)
    assert desk.claim(desk.worker()) == []


def test_another_worker_cannot_mark_a_claim(desk: Desk, patient_id: UUID) -> None:
    first, second = desk.worker(), desk.worker()
    (claim,) = desk.claim(first)
    assert desk.mark(second, claim) is None
    assert desk.mark(first, claim) == 1


def test_a_claim_given_back_is_taken_again_under_a_new_fence(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    letter = desk.letter(claim)
    with desk.store.write("service", desk.clock.now()) as session:
        assert sends.give_back(session, claim)
        assert not sends.give_back(session, claim)
    (again,) = desk.claim(worker_id)
    assert again.fence > claim.fence
    assert desk.mark(worker_id, claim, letter) is None
    assert desk.mark(worker_id, again, letter) == 1


def test_an_error_is_counted_and_the_claim_waits(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    with desk.store.write("service", desk.clock.now()) as session:
        assert sends.give_back(session, claim, ready_at=desk.clock.now() + timedelta(minutes=5), error=True)
    assert desk.row("after-visit").errors == 1
    assert desk.claim(worker_id) == []
    desk.tick(minutes=5)
    assert len(desk.claim(worker_id)) == 1


def test_claimers_at_the_same_time_never_share(desk: Desk) -> None:
    for person in CAST:
        patient_id = desk.enter(person, time_zone="Europe/London")
        for hour in range(6, 9):
            desk.treat(patient_id, f"2026-11-23T{hour:02}:00", replaces=False)
    desk.tick(hours=9)
    due = sum(row.state is ReminderState.SCHEDULED and row.ready_at <= desk.clock.now() for row in desk.rows())
    assert due >= len(CAST)
    workers = [desk.worker(str(number)) for number in range(4)]
    ready = threading.Barrier(len(workers))

    def take_all(worker_id: UUID) -> list[UUID]:
        ready.wait()
        taken: list[UUID] = []
        while claims := desk.claim(worker_id, limit=2):
            assert len(claims) <= 2
            taken += [claim.reminder_id for claim in claims]
        return taken

    with ThreadPoolExecutor(len(workers)) as pool:
        taken = [reminder_id for found in pool.map(take_all, workers) for reminder_id in found]
    # On PostgreSQL one may find everything locked by others and stop: what is left is simply claimed next.
    taken += [claim.reminder_id for claim in desk.claim(workers[0])]
    assert len(taken) == len(set(taken)) == due


def test_changes_of_one_patient_at_the_same_time_all_count(desk: Desk, patient_id: UUID) -> None:
    ready = threading.Barrier(4)

    def move_house(number: int) -> None:
        ready.wait()
        patients.change(desk.clinic, STAFF, patient_id, {"email": f"new{number}@example.org"})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(move_house, range(4)))
    with desk.store.read() as session:
        assert patients.get(session, patient_id).email_version == 5
    desk.nothing_left()


def test_corrections_of_one_treatment_at_the_same_time_all_count(desk: Desk, patient_id: UUID) -> None:
    treatment_id = treatment_of(desk)
    ready = threading.Barrier(4)

    def correct(day: int) -> None:
        ready.wait()
        treatments.move(desk.clinic, STAFF, treatment_id, f"2026-11-2{day}T10:00")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(correct, range(4, 8)))
    with desk.store.read() as session:
        versions = stored_treatments.list_versions(session, treatment_id)
    assert [version.number for version in versions] == [1, 2, 3, 4, 5]
    desk.nothing_left()


def test_a_mark_whose_answer_was_lost_is_the_same_mark_when_it_is_tried_again(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    letter = desk.letter(claim)
    number = desk.mark(worker_id, claim, letter)

    def again(worker: UUID) -> int | None:
        with desk.store.write("service", desk.clock.now()) as session:
            mark = stored_marks.Mark(claim, worker, letter.email_version, pack_copy(letter.content))
            return stored_marks.mark(session, [mark], again=True).get(claim.reminder_id)

    assert again(worker_id) == number
    assert again(desk.worker("another")) is None
    desk.end(worker_id, claim, number, AttemptOutcome.ACCEPTED)
    assert again(worker_id) is None
    with desk.store.read() as session:
        assert [attempt.number for attempt in sends.list_attempts(session, claim.reminder_id)] == [number]
