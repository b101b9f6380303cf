"""What staff decide about one reminder, and that no replanning undoes it.

Rows that the sender is working on are in `test_under_way`.
"""

import pytest

from db.states import Audience, DecisionKind, EventKind, Past, StopReason
from tests.planning.build import Record, record
from tests.planning.recipes import EXERCISE, days, protocol, step

RECIPE = protocol(
    step("check", days(5), expires_after=days(3)),
    step("hand", days(6), kind=EXERCISE, manual=True, expires_after=days(10)),
    step("call", days(7), audience=Audience.STAFF, expires_after=days(10)),
)


def treated() -> Record:
    case = record("2026-03-02T12:00")
    case.treat(RECIPE, "2026-03-02T09:00")
    return case


def stir(case: Record) -> None:
    """Facts that replan everything and end where they began."""
    case.know(zone="Asia/Tokyo")
    case.know(zone="Europe/London")
    case.event(EventKind.COMPLICATION)
    case.event(EventKind.COMPLICATION_RESOLVED)
    case.move("2026-03-03T09:00")
    case.move("2026-03-02T09:00")


def test_held_by_a_person_stays_held_until_given_back() -> None:
    case = treated()
    case.decide(DecisionKind.HOLD, "check")
    stir(case)
    assert case.table("check") == ["check 1.1 held:hold 2026-03-07T10:00"]
    case.decide(DecisionKind.RESUME, "check")
    assert case.table("check") == ["check 1.1 scheduled 2026-03-07T10:00"]


def test_a_persons_hold_outlives_a_stop_that_was_taken_back() -> None:
    case = treated()
    case.decide(DecisionKind.HOLD, "check")
    case.know(stopped=StopReason.UNSAFE)
    case.know(stopped=None)
    assert case.table("check") == [
        "check 1.1 cancelled:unsafe 2026-03-07T10:00",
        "check 1.2 held:hold 2026-03-07T10:00",
    ]
    case.decide(DecisionKind.RESUME, "check")
    assert case.table("check")[-1] == "check 1.2 scheduled 2026-03-07T10:00"


def test_cancelled_by_a_person_stays_cancelled_until_send_again() -> None:
    case = treated()
    case.decide(DecisionKind.CANCEL, "check")
    stir(case)
    case.know(stopped=StopReason.OTHER)
    case.know(stopped=None)
    case.move("2026-03-04T09:00")
    assert case.table("check") == ["check 1.1 cancelled:by_staff 2026-03-07T10:00"]
    case.decide(DecisionKind.SEND_AGAIN, "check")
    assert case.table("check") == [
        "check 1.2 scheduled 2026-03-02T12:00",
        "check 1.1 cancelled:by_staff 2026-03-07T10:00",
    ]


def test_a_send_again_that_a_stop_overtook_is_still_wanted_when_the_stop_is_taken_back() -> None:
    case = treated()
    case.wait_until("2026-03-07T12:00")
    case.decide(DecisionKind.SEND_AGAIN, "check")
    case.know(stopped=StopReason.UNSAFE)
    case.know(stopped=None)
    assert case.table("check") == [
        "check 1.1 sent 2026-03-07T10:00",
        "check 1.2 cancelled:unsafe 2026-03-07T12:00",
        "check 1.3 scheduled 2026-03-07T12:00",
    ]
    case.wait_until("2026-03-20T12:00")
    case.replan()
    assert case.table("check")[-1] == "check 1.3 sent 2026-03-07T12:00"
    assert len(case.table("check")) == 3


def test_send_now_ignores_grace_and_window_and_sends_once() -> None:
    case = treated()
    case.sleep_until("2026-03-02T22:15")
    case.decide(DecisionKind.SEND_NOW, "check")
    row = case.row("check")
    assert (row.due_local, row.ready_at, row.expires_at.isoformat()) == (
        "2026-03-02T22:15:00",
        case.now,
        "2026-03-10T10:00:00+00:00",
    )
    case.wait_until("2026-03-20T12:00")
    stir(case)
    assert case.table("check") == ["check 1.1 sent 2026-03-02T22:15"]


def test_send_now_does_not_pass_a_complication() -> None:
    case = treated()
    case.event(EventKind.COMPLICATION)
    case.decide(DecisionKind.SEND_NOW, "check")
    assert case.table("check") == ["check 1.1 held:complication 2026-03-02T12:00"]
    case.sleep_until("2026-03-02T13:00")
    case.event(EventKind.COMPLICATION_RESOLVED)
    assert case.table("check") == ["check 1.1 scheduled 2026-03-02T12:00"]


def test_send_again_after_sent_makes_one_more_and_only_one() -> None:
    case = treated()
    case.wait_until("2026-03-12T12:00")
    case.decide(DecisionKind.SEND_AGAIN, "check")
    case.wait_until("2026-03-13T12:00")
    case.replan()
    rows = ["check 1.1 sent 2026-03-07T10:00", "check 1.2 sent 2026-03-12T12:00"]
    assert case.table("check") == rows
    case.decide(DecisionKind.SEND_AGAIN, "check")
    assert case.table("check") == [*rows, "check 1.3 scheduled 2026-03-13T12:00"]


def test_what_was_missed_can_be_sent_by_a_person_with_as_long_as_it_would_have_had() -> None:
    case = record("2026-03-20T12:00")
    case.treat(RECIPE, "2026-03-02T09:00")
    case.sleep_until("2026-03-20T12:30")
    case.decide(DecisionKind.SEND_NOW, "check")
    assert case.table("check") == [
        "check 1.1 missed:past_when_planned 2026-03-07T10:00",
        "check 1.2 scheduled 2026-03-20T12:30",
    ]
    assert case.row("check").expires_at.isoformat() == "2026-03-23T12:30:00+00:00"


@pytest.mark.parametrize("kind", [DecisionKind.RESUME, DecisionKind.SEND_NOW])
def test_a_step_released_by_hand_waits_for_that_and_stays_released(kind: DecisionKind) -> None:
    case = treated()
    assert case.table("hand") == ["hand 1.1 held:awaiting_release 2026-03-08T10:00"]
    stir(case)
    assert case.table("hand") == ["hand 1.1 held:awaiting_release 2026-03-08T10:00"]
    case.decide(kind, "hand")
    due = {DecisionKind.RESUME: "2026-03-08T10:00", DecisionKind.SEND_NOW: "2026-03-02T12:00"}[kind]
    case.event(EventKind.HOLD)
    case.event(EventKind.RESUME)
    assert case.table("hand") == [f"hand 1.1 scheduled {due}"]


def test_a_step_released_after_its_time_goes_at_once() -> None:
    case = treated()
    case.sleep_until("2026-03-10T20:00")
    case.decide(DecisionKind.RESUME, "hand")
    assert case.table("hand") == ["hand 1.1 scheduled 2026-03-08T10:00"]
    assert case.row("hand").ready_at.isoformat() == "2026-03-11T08:00:00+00:00"


def test_done_by_hand_is_final() -> None:
    case = treated()
    case.decide(DecisionKind.DONE, "check")
    stir(case)
    assert case.table("check") == ["check 1.1 done:done_by_staff 2026-03-07T10:00"]


def test_a_staff_line_that_is_due_stays_on_the_list_under_holds_and_small_corrections() -> None:
    case = treated()
    case.wait_until("2026-03-09T10:00")
    due = ["call 1.1 held:for_staff 2026-03-09T10:00"]
    assert case.table("call") == due
    case.event(EventKind.HOLD)
    assert case.table("call") == due
    case.event(EventKind.RESUME)
    case.move("2026-03-01T09:00")
    assert case.table("call") == ["call 1.1 held:for_staff 2026-03-08T10:00"]
    case.move("2026-03-05T09:00")
    assert case.table("call") == ["call 1.1 scheduled 2026-03-12T10:00"]


def test_keep_alone_changes_no_row() -> None:
    case = treated()
    case.wait_until("2026-03-07T12:00")
    before = case.table()
    case.decide(DecisionKind.KEEP, "check")
    assert case.table() == before


def test_a_hold_taken_back_after_the_time_sends_what_a_person_gave_back_though_its_rule_is_skip() -> None:
    case = treated()
    case.decide(DecisionKind.HOLD, "check")
    case.sleep_until("2026-03-08T12:00")
    case.decide(DecisionKind.RESUME, "check")
    assert case.table("check") == ["check 1.1 scheduled 2026-03-07T10:00"]
    assert case.row("check").ready_at == case.now


def test_an_old_resume_does_not_lift_the_past_rule_of_a_later_hold() -> None:
    case = treated()
    case.decide(DecisionKind.HOLD, "check")
    case.decide(DecisionKind.RESUME, "check")
    case.sleep_until("2026-03-03T12:00")
    case.event(EventKind.COMPLICATION)
    case.sleep_until("2026-03-08T12:00")
    case.event(EventKind.COMPLICATION_RESOLVED)
    assert case.plans["a"].protocol.steps[0].past is Past.SKIP
    assert case.table("check") == ["check 1.1 missed:past_when_planned 2026-03-07T10:00"]


@pytest.mark.parametrize("kind", [DecisionKind.SEND_NOW, DecisionKind.RETRY, DecisionKind.RESUME])
def test_after_sent_only_send_again_asks_for_another(kind: DecisionKind) -> None:
    case = treated()
    case.wait_until("2026-03-07T12:00")
    case.decide(kind, "check")
    assert case.table("check") == ["check 1.1 sent 2026-03-07T10:00"]
