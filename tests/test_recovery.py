"""What is found after a crash, what runs out, what a start must not send by itself. On both databases."""

from uuid import UUID

import pytest
from sqlalchemy import delete, select, update

from db import gate, sends
from db.follow_up import CarePlan
from db.records import PatientKey
from db.sealed import vault_of
from db.states import AttemptOutcome, CarePlanStatus, DecisionKind
from scheduler import recovery
from scheduler.recovery import Recovered
from tests.clinic import Desk
from tests.people import AMINA, BEATRIX, CAST

pytestmark = pytest.mark.both


@pytest.fixture
def patient_id(desk: Desk) -> UUID:
    """Amina, treated this morning; it is 18:00 and one message is due."""
    patient_id = desk.enter(AMINA)
    desk.treat(patient_id)
    desk.tick(hours=9)
    return patient_id


def test_a_claim_without_a_mark_is_certainly_unsent(desk: Desk, patient_id: UUID) -> None:
    (claim,) = desk.claim(desk.worker("the dead"))
    assert recovery.recover(desk.clinic, desk.worker(), everyone_else=True) == Recovered(given_back=1)
    assert desk.stands("after-visit") == "scheduled"
    assert desk.row("after-visit").fence > claim.fence
    assert desk.send_due() == [claim.reminder_id]


def test_a_mark_without_a_record_is_unknown_and_permitted_one_resend(desk: Desk, patient_id: UUID) -> None:
    dead = desk.worker("the dead")
    (claim,) = desk.claim(dead)
    number = desk.mark(dead, claim)
    assert recovery.recover(desk.clinic, desk.worker(), everyone_else=True) == Recovered(unknown=1)
    assert desk.stands("after-visit") == "awaiting_retry:resend_once"
    with desk.store.read() as session:
        attempt = sends.find_attempt(session, number or 0)
        assert (attempt.outcome, attempt.phase, attempt.worker_id) == (AttemptOutcome.UNKNOWN, "lost", dead)
    assert desk.end(dead, claim, number, AttemptOutcome.ACCEPTED) is None  # the dead one speaks too late
    assert desk.stands("after-visit") == "awaiting_retry:resend_once"
    desk.tick(minutes=10)
    second = desk.worker("dead too")
    (again,) = desk.claim(second)
    desk.mark(second, again)
    recovery.recover(desk.clinic, desk.worker(), everyone_else=True)
    assert desk.stands("after-visit") == "held:unknown"
    desk.nothing_left()


def test_a_stop_between_the_crash_and_the_start_wins(desk: Desk, patient_id: UUID) -> None:
    dead = desk.worker("the dead")
    (claim,) = desk.claim(dead)
    desk.mark(dead, claim)
    desk.stop(patient_id)
    recovery.recover(desk.clinic, desk.worker(), everyone_else=True)
    assert desk.stands("after-visit") == "cancelled:opted_out"


def test_ones_own_claims_are_left_alone(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    assert recovery.recover(desk.clinic, worker_id, everyone_else=True) == Recovered()
    assert desk.mark(worker_id, claim) == 1


def test_beside_others_only_a_worker_silent_for_a_minute_is_dead(desk: Desk, patient_id: UUID) -> None:
    other = desk.worker("another")
    desk.claim(other)
    mine = desk.worker()
    desk.tick(seconds=50)
    assert recovery.recover(desk.clinic, mine, everyone_else=False) == Recovered()
    with desk.store.write("service", desk.clock.now()) as session:
        gate.beat(session, other, swept=False)
    desk.tick(seconds=55)
    assert recovery.recover(desk.clinic, mine, everyone_else=False) == Recovered()
    desk.tick(seconds=10)
    assert recovery.recover(desk.clinic, mine, everyone_else=False) == Recovered(given_back=1)


def test_what_a_worker_that_ended_could_not_return_is_given_back_at_once(desk: Desk, patient_id: UUID) -> None:
    other, mine = desk.worker("another"), desk.worker()
    desk.claim(other)
    with desk.store.write("service", desk.clock.now()) as session:
        gate.stop_worker(session, other)
    assert recovery.recover(desk.clinic, mine, everyone_else=False) == Recovered(given_back=1)


def test_a_claim_this_process_forgot_is_given_back_after_minutes(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    assert recovery.give_back_forgotten(desk.clinic, worker_id) == 0
    desk.tick(minutes=6)
    assert recovery.give_back_forgotten(desk.clinic, worker_id) == 1
    assert desk.mark(worker_id, claim) is None  # remembered after all: too late
    (again,) = desk.claim(worker_id)
    desk.mark(worker_id, again)
    desk.tick(minutes=6)
    assert recovery.give_back_forgotten(desk.clinic, worker_id) == 0  # its content may be on the wire


def erase_key(desk: Desk, patient_id: UUID) -> None:
    """Make one patient's record unreadable, as a fault would."""
    with desk.store.write("test", desk.clock.now()) as session:
        session.execute(delete(PatientKey).where(PatientKey.patient_id == patient_id))
        vault_of(session).forget(patient_id)


def test_a_claim_that_cannot_be_settled_does_not_stop_the_others(desk: Desk, patient_id: UUID) -> None:
    other = desk.enter(BEATRIX)
    treatment_id = desk.treat(other, "2026-11-23T17:00").treatment_id
    desk.tick(minutes=30)
    dead = desk.worker("the dead")
    for claim in desk.claim(dead):
        desk.mark(dead, claim)
    erase_key(desk, patient_id)
    assert recovery.recover(desk.clinic, desk.worker(), everyone_else=True) == Recovered(unknown=1)
    assert desk.stands("after-visit", treatment_id=treatment_id) == "awaiting_retry:resend_once"


# what runs out


def test_a_sweep_ends_what_is_of_no_use_and_raises_lines_for_staff(desk: Desk, patient_id: UUID) -> None:
    desk.tick(days=21)
    recovery.sweep(desk.clinic)
    assert desk.stands("after-visit") == "missed:expired"
    assert desk.stands("no-review-yet") == "held:for_staff"
    assert desk.stands("next-session") == "scheduled"
    desk.nothing_left()
    desk.tick(days=90)
    recovery.sweep(desk.clinic)
    assert desk.stands("no-review-yet") == "held:for_staff"  # until someone finishes it
    assert desk.stands("next-session") == "missed:expired"
    desk.decide(desk.row("no-review-yet"), DecisionKind.DONE)
    with desk.store.read() as session:
        assert session.scalars(select(CarePlan.status)).one() is CarePlanStatus.COMPLETED
    desk.nothing_left()


def test_an_unknown_one_stays_until_a_person_has_decided(desk: Desk, patient_id: UUID) -> None:
    for _ in range(2):
        desk.send_due(AttemptOutcome.UNKNOWN)
        desk.tick(minutes=10)
    desk.tick(days=90)
    recovery.sweep(desk.clinic)
    assert desk.stands("after-visit") == "held:unknown"


def test_what_is_on_the_wire_is_not_swept(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    desk.mark(worker_id, claim)
    desk.tick(days=3)
    recovery.sweep(desk.clinic)
    assert desk.stands("after-visit") == "sending"


# a new fingerprint


def test_plans_made_under_other_settings_are_made_anew(desk: Desk, patient_id: UUID) -> None:
    assert recovery.replan_outdated(desk.clinic) == 0
    other = desk.with_settings(SEND_WINDOW="12:00-13:00")
    assert recovery.replan_outdated(other.clinic) == 1
    other.nothing_left()
    assert recovery.replan_outdated(other.clinic) == 0


def test_a_plan_that_cannot_be_made_does_not_stop_the_others(desk: Desk) -> None:
    ids = [desk.enter(person) for person in CAST[:4]]
    for patient_id in ids:
        desk.treat(patient_id)
    with desk.store.write("test", desk.clock.now()) as session:
        session.execute(update(CarePlan).values(planned_with="something else"))
    erase_key(desk, ids[0])
    assert recovery.replan_outdated(desk.clinic) == 3


def test_replanning_ends_when_asked_to(desk: Desk, patient_id: UUID) -> None:
    other = desk.with_settings(SEND_WINDOW="12:00-13:00")
    assert recovery.replan_outdated(other.clinic, go_on=lambda: False) == 0
