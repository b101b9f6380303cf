"""What an attempt's end makes of a reminder and its patient, on both databases; with a server: `test_sender`."""

from itertools import pairwise
from uuid import UUID

import pytest
from sqlalchemy import select

from db import marks, sends
from db import patients as stored
from db.follow_up import DeliveryAttempt
from db.states import AddressState, AttemptOutcome, DecisionKind, EventKind, ReminderState, StopReason
from db.treatments import list_treatments
from scheduler import patients
from tests.clinic import Desk
from tests.people import AMINA, BEATRIX

A = AttemptOutcome


@pytest.fixture
def patient_id(desk: Desk) -> UUID:
    """Amina, treated this morning; it is 18:00 and one message is due."""
    patient_id = desk.enter(AMINA)
    desk.treat(patient_id)
    desk.tick(hours=9)
    return patient_id


def address(desk: Desk, patient_id: UUID) -> AddressState:
    """What is known about her address."""
    with desk.store.read() as session:
        return stored.find_address_state(session, patients.get(session, patient_id))


@pytest.mark.parametrize(
    ("outcome", "stands"),
    [
        (A.ACCEPTED, "sent"),
        (A.NOT_SENT, "awaiting_retry:not_handed_over"),
        (A.PUT_OFF, "awaiting_retry:put_off"),
        (A.REFUSED, "failed:refused"),
        (A.REJECTED, "held:refused_by_server"),
        (A.UNKNOWN, "awaiting_retry:resend_once"),
    ],
)
def test_an_outcome_is_written_with_its_attempt(
    desk: Desk, patient_id: UUID, outcome: AttemptOutcome, stands: str
) -> None:
    said = "550 5.1.1 amina@example.org unknown"
    desk.send_due(outcome, phase="rcpt", code=550, enhanced="5.1.1", reply=said)
    assert desk.stands("after-visit") == stands
    row = desk.row("after-visit")
    assert (row.open_attempt, row.worker_id, row.attempts) == (None, None, 1)
    assert (row.sent_at is not None) is (outcome is A.ACCEPTED)
    with desk.store.read() as session:
        (attempt,) = sends.list_attempts(session, row.id)
        assert (attempt.outcome, attempt.phase, attempt.code, attempt.enhanced) == (outcome, "rcpt", 550, "5.1.1")
        assert (attempt.reply, attempt.recorded_at is not None) == (said, True)
        sealed = session.scalars(select(DeliveryAttempt.reply_sealed)).one()
        assert b"amina" not in (sealed or b"")
    desk.nothing_left()


def test_a_message_written_to_the_folder_says_so(desk: Desk, patient_id: UUID) -> None:
    desk.send_due(A.ACCEPTED, to_folder=True)
    assert desk.stands("after-visit") == "sent:written_to_folder"


def test_an_attempt_that_ends_before_its_mark_is_numbered_too(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    assert desk.end(worker_id, claim, None, A.PUT_OFF, code=450) is ReminderState.AWAITING_RETRY
    with desk.store.read() as session:
        (attempt,) = sends.list_attempts(session, claim.reminder_id)
        assert (attempt.number, attempt.outcome, marks.read_copy(session, 1)) == (1, A.PUT_OFF, None)
    assert desk.row("after-visit").attempts == 1


def test_an_outcome_is_written_once(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    number = desk.mark(worker_id, claim)
    assert desk.end(worker_id, claim, number, A.ACCEPTED) is ReminderState.SENT
    assert desk.end(worker_id, claim, number, A.UNKNOWN) is None
    assert desk.stands("after-visit") == "sent"
    with desk.store.read() as session:
        assert sends.find_attempt(session, 1).outcome is A.ACCEPTED


# the address


def test_a_refused_address_fails_this_one_and_holds_what_comes(desk: Desk, patient_id: UUID) -> None:
    other = desk.enter(BEATRIX, email="amina@example.org")  # shares it: the address of a patient is hers
    desk.treat(other, "2026-11-23T17:00")
    desk.send_due(A.REFUSED, blames_address=True)
    assert desk.stands("after-visit", treatment_id=treatment_of(desk, patient_id)) == "failed:refused"
    assert desk.stands("next-session", treatment_id=treatment_of(desk, patient_id)) == "held:address_refused"
    assert desk.stands("no-review-yet", treatment_id=treatment_of(desk, patient_id)) == "scheduled"
    assert desk.stands("next-session", treatment_id=treatment_of(desk, other)) == "scheduled"
    assert address(desk, patient_id) is AddressState.REFUSED
    assert [event["patient_id"] for event in desk.audit("address.refused")] == [patient_id]
    desk.nothing_left()


def treatment_of(desk: Desk, patient_id: UUID) -> UUID:
    """Her one treatment."""
    with desk.store.read() as session:
        return list_treatments(session, patient_id)[0].id


def test_a_corrected_and_confirmed_address_gives_back_what_was_held(desk: Desk, patient_id: UUID) -> None:
    desk.send_due(A.REFUSED, blames_address=True)
    desk.change(patient_id, email="amina.f@example.org")
    assert desk.stands("next-session") == "held:address_unconfirmed"
    desk.change(patient_id, confirmed="yes")
    assert desk.stands("next-session") == "scheduled"
    assert desk.stands("after-visit") == "failed:refused"  # a person decides about it
    desk.nothing_left()


def test_the_same_address_confirmed_again_may_be_used_again(desk: Desk, patient_id: UUID) -> None:
    desk.send_due(A.REFUSED, blames_address=True)
    desk.change(patient_id, confirmed="yes")
    assert desk.stands("next-session") == "scheduled"


def test_a_refusal_of_an_old_address_does_not_blame_the_new_one(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    number = desk.mark(worker_id, claim)
    desk.change(patient_id, email="new@example.org", confirmed="yes")
    desk.end(worker_id, claim, number, A.REFUSED, email_version=1, blames_address=True)
    assert address(desk, patient_id) is AddressState.CONFIRMED
    assert desk.stands("next-session") == "scheduled"


def test_an_unknown_for_an_old_address_goes_to_a_person(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    number = desk.mark(worker_id, claim)
    desk.change(patient_id, email="new@example.org", confirmed="yes")
    desk.end(worker_id, claim, number, A.UNKNOWN, email_version=1)
    assert desk.stands("after-visit") == "held:unknown"
    desk.nothing_left()


def test_a_message_put_off_waits_when_the_address_changed_meanwhile(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    number = desk.mark(worker_id, claim)
    desk.change(patient_id, email="new@example.org")
    assert desk.stands("after-visit") == "sending"
    desk.end(worker_id, claim, number, A.PUT_OFF, email_version=1)
    assert desk.stands("after-visit") == "held:address_unconfirmed"
    desk.change(patient_id, confirmed="yes")
    assert desk.stands("after-visit") == "scheduled"
    desk.nothing_left()


# a stop that comes after the mark


@pytest.mark.parametrize("outcome", [A.UNKNOWN, A.PUT_OFF, A.NOT_SENT, A.REJECTED])
@pytest.mark.parametrize("reason", [StopReason.DECEASED, StopReason.UNSAFE])
def test_nothing_is_tried_again_after_a_stop(
    desk: Desk, patient_id: UUID, outcome: AttemptOutcome, reason: StopReason
) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    number = desk.mark(worker_id, claim)
    desk.stop(patient_id, reason)
    assert desk.stands("after-visit") == "sending"  # its content may be on the wire: the sender's
    assert desk.stands("next-session") == f"cancelled:{reason.value}"
    desk.end(worker_id, claim, number, outcome)
    assert desk.stands("after-visit") == f"cancelled:{reason.value}"
    desk.tick(days=1)
    assert desk.claim(desk.worker()) == []
    desk.nothing_left()


def test_what_was_accepted_in_spite_of_a_stop_is_told_as_it_was(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    number = desk.mark(worker_id, claim)
    desk.stop(patient_id)
    desk.end(worker_id, claim, number, A.ACCEPTED)
    assert desk.stands("after-visit") == "sent"
    desk.nothing_left()


def test_what_ended_before_its_mark_after_a_stop_costs_no_attempt(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    desk.stop(patient_id)
    assert desk.end(worker_id, claim, None, A.PUT_OFF) is None
    assert (desk.stands("after-visit"), desk.row("after-visit").attempts) == ("cancelled:opted_out", 0)
    with desk.store.read() as session:
        assert sends.list_attempts(session, claim.reminder_id) == []


def test_a_complication_after_the_mark_holds_what_was_put_off(desk: Desk, patient_id: UUID) -> None:
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    number = desk.mark(worker_id, claim)
    desk.event(treatment_of(desk, patient_id), EventKind.COMPLICATION)
    desk.end(worker_id, claim, number, A.PUT_OFF)
    assert desk.stands("after-visit") == "held:complication"
    desk.nothing_left()


# unknown


def test_a_second_unknown_goes_to_a_person(desk: Desk, patient_id: UUID) -> None:
    desk.send_due(A.UNKNOWN)
    row = desk.row("after-visit")
    assert (row.state, row.unknowns, row.ready_at > desk.clock.now()) == (ReminderState.AWAITING_RETRY, 1, True)
    desk.tick(minutes=10)
    assert desk.send_due(A.UNKNOWN) == [row.id]
    assert desk.stands("after-visit") == "held:unknown"
    assert desk.row("after-visit").message_id == row.message_id
    desk.decide(desk.row("after-visit"), DecisionKind.RESOLVE_RESEND)
    desk.send_due(A.UNKNOWN)
    assert desk.stands("after-visit") == "held:unknown"  # and a third
    desk.nothing_left()


def test_a_step_that_asks_is_never_repeated_by_itself(desk: Desk, patient_id: UUID) -> None:
    desk.event(treatment_of(desk, patient_id), EventKind.REVIEW_BOOKED, "2026-12-08T14:00")
    desk.tick(days=11, hours=17)  # 5 December, 11:00
    with desk.store.read() as session:
        before = sends.count_spent(session, desk.clock.now(), 10)
    assert before == 0
    desk.send_due(A.UNKNOWN)
    assert desk.stands("visit-in-3-days") == "held:unknown"
    desk.nothing_left()


def test_tries_are_spaced_ever_wider_until_they_are_used_up(desk: Desk, patient_id: UUID) -> None:
    waits = []
    first = desk.decide(desk.row("next-session"), DecisionKind.SEND_NOW).reminder_id  # of use for a month
    for _ in range(30):
        desk.send_due(A.PUT_OFF)
        row = next(row for row in desk.rows() if row.id == first)
        if row.state is not ReminderState.AWAITING_RETRY:
            break
        waits.append((row.ready_at - desk.clock.now()).total_seconds() / 60)
        desk.clock.set(row.ready_at)
    assert (row.state.value, row.reason) == ("failed", "attempts_used_up")
    assert 14 <= waits[0] <= 23
    assert all(later > earlier for earlier, later in pairwise(waits[:5]))
    assert sum(waits) <= 4 * 24 * 60  # four days, as RFC 5321 asks for
    assert desk.stands("next-session") == "scheduled"  # its own time is still ahead: that day it is tried anew
    desk.nothing_left()
