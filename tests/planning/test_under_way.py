"""Facts and decisions about a row that the sender has: claimed, on the wire, put off, unknown, refused.

What the sender itself does is in its own tests; here its outcomes are only written down.
"""

import pytest

from db.states import AddressState, DecisionKind, EventKind, Reason, ReminderState, StopReason
from scheduler.planning.protocol import Anchor
from tests.planning.build import Record, record
from tests.planning.recipes import TWO_WEEK, days, protocol, step

ONE = protocol(step("check", days(1), expires_after=days(3)))
SENDING, RETRY, HELD = ReminderState.SENDING, ReminderState.AWAITING_RETRY, ReminderState.HELD


def due() -> Record:
    """Ten o'clock on the day after: the row is due."""
    case = record("2026-03-02T12:00")
    case.treat(ONE, "2026-03-02T09:00")
    case.sleep_until("2026-03-03T10:00")
    return case


def claimed() -> Record:
    case = due()
    case.claim("check")
    return case


def on_the_wire() -> Record:
    case = due()
    case.open_attempt("check")
    return case


def ended(state: ReminderState, reason: Reason | None) -> Record:
    case = on_the_wire()
    case.outcome(state, reason, "check")
    return case


def test_a_claim_without_an_attempt_may_be_moved_held_and_cancelled() -> None:
    case = claimed()
    case.move("2026-03-04T09:00")
    assert case.table() == ["check 1.1 scheduled 2026-03-05T10:00"]
    case = claimed()
    case.event(EventKind.COMPLICATION)
    assert case.table() == ["check 1.1 held:complication 2026-03-03T10:00"]
    case = claimed()
    case.know(stopped=StopReason.UNSAFE)
    assert case.table() == ["check 1.1 cancelled:unsafe 2026-03-03T10:00"]
    case = claimed()
    case.decide(DecisionKind.HOLD, "check")
    assert case.table() == ["check 1.1 held:hold 2026-03-03T10:00"]
    case = claimed()
    case.decide(DecisionKind.CANCEL, "check")
    assert case.table() == ["check 1.1 cancelled:by_staff 2026-03-03T10:00"]


def test_a_claim_that_nothing_concerns_stays_with_the_sender() -> None:
    case = claimed()
    case.event(EventKind.SOLO_STARTED)
    assert case.table() == ["check 1.1 sending 2026-03-03T10:00"]


ENDS = [
    (lambda case: case.know(stopped=StopReason.UNSAFE), "cancelled:unsafe 2026-03-03T10:00"),
    (lambda case: case.event(EventKind.COMPLICATION), "held:complication 2026-03-03T10:00"),
    (lambda case: case.decide(DecisionKind.CANCEL, "check"), "cancelled:by_staff 2026-03-03T10:00"),
    (lambda case: case.decide(DecisionKind.HOLD, "check"), "held:hold 2026-03-03T10:00"),
    (lambda case: case.move("2026-03-04T09:00"), "scheduled 2026-03-05T10:00"),
]


@pytest.mark.parametrize(("fact", "becomes"), ENDS)
def test_on_the_wire_it_is_left_alone_and_put_off_it_follows_what_was_recorded_meanwhile(
    fact: object, becomes: str
) -> None:
    assert callable(fact)
    case = on_the_wire()
    fact(case)
    assert case.table() == ["check 1.1 sending 2026-03-03T10:00"]
    case.outcome(RETRY, Reason.PUT_OFF, "check")
    assert case.table() == [f"check 1.1 {becomes}"]


@pytest.mark.parametrize(("fact", "becomes"), ENDS)
def test_put_off_it_is_moved_held_or_cancelled_at_once(fact: object, becomes: str) -> None:
    assert callable(fact)
    case = ended(RETRY, Reason.PUT_OFF)
    fact(case)
    assert case.table() == [f"check 1.1 {becomes}"]


def test_put_off_it_keeps_its_wait_through_facts_that_do_not_concern_it() -> None:
    case = ended(RETRY, Reason.PUT_OFF)
    ready = case.row("check").ready_at
    case.event(EventKind.SOLO_STARTED)
    case.know(zone="Asia/Tokyo")  # its time there has passed: it is still tried
    case.move("2026-03-02T15:00")
    assert case.table() == ["check 1.1 awaiting_retry:put_off 2026-03-03T10:00"]
    assert case.row("check").ready_at == ready


def test_sent_while_a_stop_was_recorded_it_stays_sent() -> None:
    case = on_the_wire()
    case.know(stopped=StopReason.UNSAFE)
    case.outcome(ReminderState.SENT, None, "check")
    case.replan()
    assert case.table() == ["check 1.1 sent 2026-03-03T10:00"]


def test_sent_while_its_date_was_corrected_it_asks_staff_at_the_next_planning() -> None:
    case = on_the_wire()
    case.move("2026-03-04T09:00")
    case.outcome(ReminderState.SENT, None, "check")
    case.replan()
    assert case.table() == ["check 1.1 sent 2026-03-03T10:00"]
    assert case.open_questions() == [("date_moved", "check", 1, "2026-03-02", "2026-03-04")]


@pytest.mark.parametrize(
    ("kind", "becomes"),
    [
        (DecisionKind.RESOLVE_RECEIVED, "sent:resolved_received 2026-03-03T10:00"),
        (DecisionKind.RESOLVE_RESEND, "scheduled 2026-03-03T11:00"),
        (DecisionKind.DONE, "done:done_by_staff 2026-03-03T10:00"),
        (DecisionKind.CANCEL, "cancelled:by_staff 2026-03-03T10:00"),
        (DecisionKind.HOLD, "held:unknown 2026-03-03T10:00"),
        (DecisionKind.RESUME, "held:unknown 2026-03-03T10:00"),
        (DecisionKind.SEND_NOW, "held:unknown 2026-03-03T10:00"),
    ],
)
def test_an_unknown_one_waits_until_a_person_says_what_became_of_it(kind: DecisionKind, becomes: str) -> None:
    case = ended(HELD, Reason.UNKNOWN)
    case.know(zone="Asia/Tokyo")
    case.know(zone="Europe/London")
    case.move("2026-03-04T09:00")
    case.event(EventKind.COMPLICATION)
    case.event(EventKind.COMPLICATION_RESOLVED)
    case.move("2026-03-02T09:00")
    assert case.table() == ["check 1.1 held:unknown 2026-03-03T10:00"]
    case.sleep_until("2026-03-03T11:00")
    case.decide(kind, "check")
    assert case.table() == [f"check 1.1 {becomes}"]


def test_a_second_unknown_after_a_resend_asks_again() -> None:
    case = ended(HELD, Reason.UNKNOWN)
    case.sleep_until("2026-03-03T11:00")
    case.decide(DecisionKind.RESOLVE_RESEND, "check")
    case.sleep_until("2026-03-03T11:01")
    case.open_attempt("check")
    case.outcome(HELD, Reason.UNKNOWN, "check")
    case.replan()
    assert case.table() == ["check 1.1 held:unknown 2026-03-03T11:00"]


def test_an_unknown_one_that_had_arrived_for_an_old_date_asks_in_the_same_planning() -> None:
    case = ended(HELD, Reason.UNKNOWN)
    case.move("2026-03-04T09:00")
    case.decide(DecisionKind.RESOLVE_RECEIVED, "check")
    assert case.table() == ["check 1.1 sent:resolved_received 2026-03-03T10:00"]
    assert case.open_questions() == [("date_moved", "check", 1, "2026-03-02", "2026-03-04")]


@pytest.mark.parametrize(
    "reason", [Reason.REFUSED_BY_SERVER, Reason.RENDER_FAILED, Reason.REVEALING_TEXT, Reason.SEND_FAILED]
)
def test_what_sending_holds_no_fact_gives_back_and_a_person_does(reason: Reason) -> None:
    case = ended(HELD, reason)
    case.event(EventKind.COMPLICATION)
    case.event(EventKind.COMPLICATION_RESOLVED)
    case.know(zone="Asia/Tokyo")
    case.know(zone="Europe/London")
    case.move("2026-03-01T09:00")  # its new time has passed: still a person's to decide
    case.move("2026-03-02T09:00")
    assert case.table() == [f"check 1.1 held:{reason.value} 2026-03-03T10:00"]
    case.sleep_until("2026-03-03T11:00")
    case.decide(DecisionKind.RETRY, "check")
    assert case.table() == ["check 1.1 scheduled 2026-03-03T11:00"]
    case.sleep_until("2026-03-03T11:01")
    case.open_attempt("check")
    case.outcome(HELD, reason, "check")
    assert case.table() == [f"check 1.1 held:{reason.value} 2026-03-03T11:00"]


def test_a_refused_address_ends_the_message_and_holds_the_later_ones_until_it_is_corrected() -> None:
    two = protocol(step("check", days(1), expires_after=days(3)), step("later", days(9)))
    case = record("2026-03-02T12:00")
    case.treat(two, "2026-03-02T09:00")
    case.sleep_until("2026-03-03T10:00")
    case.open_attempt("check")
    case.outcome(ReminderState.FAILED, Reason.REFUSED, "check")
    case.know(address=AddressState.REFUSED)
    assert case.table() == [
        "check 1.1 failed:refused 2026-03-03T10:00",
        "later 1.1 held:address_refused 2026-03-11T10:00",
    ]
    case.sleep_until("2026-03-03T15:00")
    case.decide(DecisionKind.RETRY, "check")
    assert case.table("check")[-1] == "check 1.2 held:address_refused 2026-03-03T15:00"
    case.know(address=AddressState.CONFIRMED)
    assert case.table() == [
        "check 1.1 failed:refused 2026-03-03T10:00",
        "check 1.2 scheduled 2026-03-03T15:00",
        "later 1.1 scheduled 2026-03-11T10:00",
    ]


def test_a_retry_that_succeeded_is_not_repeated_by_the_next_planning() -> None:
    case = ended(HELD, Reason.REFUSED_BY_SERVER)
    case.sleep_until("2026-03-03T11:00")
    case.decide(DecisionKind.RETRY, "check")
    case.sleep_until("2026-03-03T11:01")
    case.send("check")
    case.replan()
    assert case.table() == ["check 1.1 sent 2026-03-03T11:00"]


def test_cancelled_on_the_wire_and_then_failed_it_does_not_come_back_with_a_new_date() -> None:
    case = on_the_wire()
    case.decide(DecisionKind.CANCEL, "check")
    case.outcome(ReminderState.FAILED, Reason.ATTEMPTS_USED_UP, "check")
    case.move("2026-03-09T09:00")
    assert case.table() == ["check 1.1 failed:attempts_used_up 2026-03-03T10:00"]


def test_what_ran_out_while_the_service_was_off_is_missed_and_stays_so() -> None:
    case = due()
    case.sleep_until("2026-03-06T10:00")
    case.sweep()
    case.event(EventKind.SOLO_STARTED)
    assert case.table() == ["check 1.1 missed:expired 2026-03-03T10:00"]


def test_a_retry_that_failed_for_good_is_not_repeated_by_the_next_planning() -> None:
    case = ended(HELD, Reason.REFUSED_BY_SERVER)
    case.sleep_until("2026-03-03T11:00")
    case.decide(DecisionKind.RETRY, "check")
    case.sleep_until("2026-03-03T11:01")
    case.open_attempt("check")
    case.outcome(ReminderState.FAILED, Reason.ATTEMPTS_USED_UP, "check")
    assert case.table() == ["check 1.1 failed:attempts_used_up 2026-03-03T11:00"]


def test_on_the_wire_even_a_message_that_is_no_longer_wanted_is_left_to_the_sender() -> None:
    case = record("2026-03-02T12:00")
    case.treat(protocol(step("tell", days(-3), anchor=Anchor.REVIEW_BOOKED), reviews=(TWO_WEEK,)), "2026-03-02T09:00")
    case.event(EventKind.REVIEW_BOOKED, "2026-03-16T14:00")
    case.sleep_until("2026-03-13T10:00")
    case.open_attempt("tell")
    case.event(EventKind.REVIEW_CANCELLED)
    assert case.table() == ["tell 1.1 sending 2026-03-13T10:00"]
    case.outcome(RETRY, Reason.NOT_HANDED_OVER, "tell")
    assert case.table() == ["tell 1.1 cancelled:no_longer_applies 2026-03-13T10:00"]


def test_put_off_and_then_held_it_takes_on_the_zone_it_had_not_moved_to() -> None:
    case = ended(RETRY, Reason.PUT_OFF)
    case.know(zone="Asia/Tokyo")
    case.know(address=AddressState.UNCONFIRMED)
    row = case.row("check")
    assert case.table() == ["check 1.1 held:address_unconfirmed 2026-03-03T10:00"]
    assert (row.zone, row.due_at.isoformat()) == ("Asia/Tokyo", "2026-03-03T01:00:00+00:00")
