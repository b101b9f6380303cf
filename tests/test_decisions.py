"""What staff decide about one reminder is a fact: it survives every replanning. On both databases."""

from uuid import UUID, uuid4

import pytest

from db import care_plans as stored
from db.states import AttemptOutcome, DecisionKind, EventKind, ReminderState
from scheduler import decisions, treatments
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.recovery import sweep
from tests.clinic import STAFF, Desk
from tests.people import AMINA

D = DecisionKind


@pytest.fixture
def treatment_id(desk: Desk) -> UUID:
    """Amina's treatment of 23 November, 09:30."""
    return desk.treat(desk.enter(AMINA)).treatment_id


def unknown(desk: Desk, step: str) -> None:
    """Let a due message end as unknown, twice where its rule permits a resend."""
    for _ in range(2):
        if desk.send_due(AttemptOutcome.UNKNOWN) and desk.stands(step) == "held:unknown":
            return
        desk.tick(minutes=10)
    assert desk.stands(step) == "held:unknown"


def test_a_held_reminder_stays_held_whatever_else_changes_until_it_is_resumed(desk: Desk, treatment_id: UUID) -> None:
    desk.decide(desk.row("after-visit"), D.HOLD, "She is travelling.")
    assert desk.stands("after-visit") == "held:hold"
    treatments.move(desk.clinic, STAFF, treatment_id, "2026-11-24T10:00")
    desk.tick()
    desk.event(treatment_id, EventKind.COMPLICATION)
    assert desk.stands("after-visit") == "held:complication"
    desk.event(treatment_id, EventKind.COMPLICATION_RESOLVED)
    assert desk.stands("after-visit") == "held:hold"
    desk.nothing_left()
    desk.decide(desk.row("after-visit"), D.RESUME)
    assert desk.stands("after-visit") == "scheduled"
    assert desk.row("after-visit").due_local == "2026-11-24T17:00:00"
    desk.nothing_left()


def test_a_cancelled_reminder_never_comes_back_by_itself(desk: Desk, treatment_id: UUID) -> None:
    desk.decide(desk.row("after-visit"), D.CANCEL)
    assert desk.stands("after-visit") == "cancelled:by_staff"
    treatments.move(desk.clinic, STAFF, treatment_id, "2026-11-24T10:00")
    desk.tick()
    assert desk.row("after-visit").generation == 1
    desk.nothing_left()
    decided = desk.decide(desk.row("after-visit"), D.SEND_AGAIN)
    assert (decided.state, desk.row("after-visit").generation) == (ReminderState.SCHEDULED, 2)
    assert decided.reminder_id == desk.row("after-visit").id
    desk.nothing_left()


def test_send_now_leaves_at_once_without_grace_or_window(desk: Desk, treatment_id: UUID) -> None:
    desk.tick(hours=9)
    desk.send_due()
    desk.tick(hours=5)  # 23:00
    decided = desk.decide(desk.row("next-session"), D.SEND_NOW)
    assert decided.state is ReminderState.SCHEDULED
    desk.nothing_left()
    assert desk.send_due() == [decided.reminder_id]
    assert desk.stands("next-session") == "sent"
    desk.nothing_left()


def test_send_now_does_not_pass_what_is_forbidden(desk: Desk) -> None:
    patient_id = desk.enter(AMINA, confirmed=None)
    desk.treat(patient_id)
    decided = desk.decide(desk.row("next-session"), D.SEND_NOW)
    assert (decided.state.value, decided.reason) == ("held", "address_unconfirmed")
    assert desk.send_due() == []
    desk.change(patient_id, confirmed="yes")  # now what staff asked for happens
    assert desk.send_due() == [decided.reminder_id]


def test_send_again_makes_a_new_message_with_an_id_of_its_own(desk: Desk, treatment_id: UUID) -> None:
    desk.tick(hours=9)
    desk.send_due()
    first = desk.row("after-visit")
    decided = desk.decide(first, D.SEND_AGAIN)
    second = desk.row("after-visit")
    assert (second.id, second.generation, second.state) == (decided.reminder_id, 2, ReminderState.SCHEDULED)
    assert second.message_id != first.message_id
    assert desk.send_due() == [second.id]
    desk.nothing_left()


def test_a_refused_message_is_tried_again_when_staff_say_so(desk: Desk, treatment_id: UUID) -> None:
    desk.tick(hours=9)
    desk.send_due(AttemptOutcome.REFUSED)
    assert desk.stands("after-visit") == "failed:refused"
    desk.decide(desk.row("after-visit"), D.RETRY)
    assert (desk.stands("after-visit"), desk.row("after-visit").generation) == ("scheduled", 2)
    desk.send_due()
    assert desk.stands("after-visit") == "sent"


def test_a_missed_message_is_sent_late_when_staff_say_so(desk: Desk, treatment_id: UUID) -> None:
    desk.tick(days=3)
    sweep(desk.clinic)
    assert desk.stands("after-visit") == "missed:expired"
    desk.nothing_left()
    desk.decide(desk.row("after-visit"), D.RETRY)
    assert desk.stands("after-visit") == "scheduled"
    assert desk.send_due() == [desk.row("after-visit").id]


def test_a_message_that_was_put_off_is_tried_now(desk: Desk, treatment_id: UUID) -> None:
    desk.tick(hours=9)
    desk.send_due(AttemptOutcome.PUT_OFF)
    assert desk.stands("after-visit") == "awaiting_retry:put_off"
    assert desk.send_due() == []
    desk.decide(desk.row("after-visit"), D.SEND_NOW)
    assert desk.send_due() == [desk.row("after-visit").id]


def test_what_was_done_by_hand_is_done(desk: Desk, treatment_id: UUID) -> None:
    desk.decide(desk.row("after-visit"), D.DONE, "Told her at the desk.")
    assert desk.stands("after-visit") == "done:done_by_staff"
    desk.nothing_left()
    with desk.unchanged(), pytest.raises(Refused, match="it is done"):
        desk.decide(desk.row("after-visit"), D.DONE)


def test_a_line_for_staff_is_raised_and_finished(desk: Desk, treatment_id: UUID) -> None:
    desk.tick(days=21, hours=1)
    sweep(desk.clinic)
    assert desk.stands("no-review-yet") == "held:for_staff"
    desk.nothing_left()
    for kind in (D.SEND_NOW, D.RETRY):
        with desk.unchanged(), pytest.raises(Refused, match="a line for staff"):
            desk.decide(desk.row("no-review-yet"), kind)
    desk.decide(desk.row("no-review-yet"), D.DONE)
    assert desk.stands("no-review-yet") == "done:done_by_staff"
    desk.nothing_left()


def test_an_unknown_message_is_resolved_and_nothing_else(desk: Desk, treatment_id: UUID) -> None:
    desk.tick(hours=9)
    unknown(desk, "after-visit")
    for kind in (D.HOLD, D.RESUME, D.RETRY, D.SEND_NOW, D.SEND_AGAIN, D.KEEP):
        with desk.unchanged(), pytest.raises(Refused, match="resolve it first"):
            desk.decide(desk.row("after-visit"), kind)
    desk.nothing_left()


def test_an_unknown_message_that_arrived_counts_as_sent(desk: Desk, treatment_id: UUID) -> None:
    desk.tick(hours=9)
    unknown(desk, "after-visit")
    desk.decide(desk.row("after-visit"), D.RESOLVE_RECEIVED)
    row = desk.row("after-visit")
    assert (desk.stands("after-visit"), row.sent_at is not None) == ("sent:resolved_received", True)
    desk.nothing_left()


def test_an_unknown_message_that_did_not_arrive_is_sent_again_with_the_same_id(desk: Desk, treatment_id: UUID) -> None:
    desk.tick(hours=9)
    unknown(desk, "after-visit")
    before = desk.row("after-visit")
    desk.decide(before, D.RESOLVE_RESEND)
    assert desk.stands("after-visit") == "scheduled"
    assert desk.send_due() == [before.id]
    assert desk.row("after-visit").message_id == before.message_id
    assert desk.row("after-visit").attempts == before.attempts + 1
    desk.nothing_left()


def test_an_unknown_message_may_be_settled_by_hand(desk: Desk, treatment_id: UUID) -> None:
    desk.tick(hours=9)
    unknown(desk, "after-visit")
    desk.decide(desk.row("after-visit"), D.DONE)
    assert desk.stands("after-visit") == "done:done_by_staff"


def test_a_question_about_a_sent_message_is_closed_by_either_answer(desk: Desk, treatment_id: UUID) -> None:
    def open_questions() -> int:
        with desk.store.read() as session:
            return len(stored.list_open_questions(session))

    desk.tick(hours=9)
    desk.send_due()
    treatments.move(desk.clinic, STAFF, treatment_id, "2026-11-24T10:00")
    desk.tick()
    assert open_questions() == 1
    desk.decide(desk.row("after-visit"), D.DONE)  # what she has is enough
    assert open_questions() == 0
    desk.nothing_left()
    treatments.move(desk.clinic, STAFF, treatment_id, "2026-11-25T10:00")
    desk.tick()
    assert open_questions() == 1
    desk.decide(desk.row("after-visit"), D.SEND_AGAIN)
    assert open_questions() == 0
    assert desk.row("after-visit").generation == 2
    desk.nothing_left()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (D.RESUME, "it is scheduled"),
        (D.RETRY, "it is scheduled"),
        (D.SEND_AGAIN, "it is scheduled"),
        (D.KEEP, "it is scheduled"),
        (D.RESOLVE_RECEIVED, "nothing to resolve"),
        (D.RESOLVE_RESEND, "nothing to resolve"),
    ],
)
def test_what_cannot_be_decided_now_changes_nothing(
    desk: Desk, treatment_id: UUID, kind: DecisionKind, told: str
) -> None:
    with desk.unchanged(), pytest.raises(Refused, match=told):
        desk.decide(desk.row("after-visit"), kind)


def test_nothing_is_decided_while_it_is_being_handed_over(desk: Desk, treatment_id: UUID) -> None:
    desk.tick(hours=9)
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    assert desk.mark(worker_id, claim) == 1
    for kind in DecisionKind:
        with desk.unchanged(), pytest.raises(Refused, match="right now"):
            desk.decide(desk.row("after-visit"), kind)


def test_a_claimed_message_is_held_and_the_worker_finds_its_claim_void(desk: Desk, treatment_id: UUID) -> None:
    desk.tick(hours=9)
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    letter = desk.letter(claim)
    desk.decide(desk.row("after-visit"), D.HOLD)
    assert desk.stands("after-visit") == "held:hold"
    assert desk.mark(worker_id, claim, letter) is None


def test_a_note_is_kept_sealed_and_the_audit_names_no_value(desk: Desk, treatment_id: UUID) -> None:
    row = desk.row("after-visit")
    desk.decide(row, D.HOLD, "She is travelling with her sister.")
    with desk.store.read() as session:
        (found,) = stored.list_decisions(session, [row.care_plan_id])
        assert (found.note, found.recorded_by) == ("She is travelling with her sister.", STAFF)
    (event,) = desk.audit("reminder.hold")
    assert (event["subject_id"], event["fields"]) == (str(row.id), ["decision"])
    with desk.unchanged(), pytest.raises(InvalidInput, match="control characters"):
        desk.decide(row, D.RESUME, "a\x07b")


def test_an_unknown_id_is_not_found(desk: Desk) -> None:
    with desk.unchanged(), pytest.raises(NotFound):
        decisions.decide(desk.clinic, STAFF, uuid4(), D.HOLD)
