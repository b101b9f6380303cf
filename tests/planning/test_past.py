"""Past rules at birth, at a move and at release; ends, the sending window and working days.

Which facts hold a message is in `test_flags`.
"""

from datetime import date

import pytest

from db.states import Audience, DecisionKind, EventKind, Past
from scheduler.local_time import Window
from scheduler.planning.facts import Rules
from scheduler.planning.protocol import Protocol
from tests.planning.build import record
from tests.planning.recipes import ADMINISTRATIVE, COURSE, days, hours, protocol, step


def rule(past: Past) -> Protocol:
    return protocol(step("check", days(1), past=past, expires_after=days(3)))


@pytest.mark.parametrize(
    ("past", "row"),
    [
        (Past.SKIP, "check 1.1 missed:past_when_planned 2026-03-03T10:00"),
        (Past.SEND, "check 1.1 scheduled 2026-03-03T10:00"),
        (Past.ASK, "check 1.1 held:past_ask 2026-03-03T10:00"),
    ],
)
def test_a_step_whose_time_has_passed_follows_its_past_rule(past: Past, row: str) -> None:
    born = record("2026-03-04T12:00")
    born.treat(rule(past), "2026-03-02T09:00")
    assert born.table() == [row]
    moved = record("2026-03-04T12:00")
    moved.treat(rule(past), "2026-03-10T09:00")
    moved.move("2026-03-02T09:00")
    assert moved.table() == [row]
    released = record("2026-03-02T12:00")
    released.treat(rule(past), "2026-03-02T09:00")
    released.event(EventKind.HOLD)
    released.sleep_until("2026-03-04T12:00")
    assert released.table() == ["check 1.1 held:hold 2026-03-03T10:00"]
    released.event(EventKind.RESUME)
    assert released.table() == [row]


@pytest.mark.parametrize("past", list(Past))
def test_past_its_own_end_a_step_is_missed_whatever_its_rule(past: Past) -> None:
    case = record("2026-03-06T12:00")
    case.treat(rule(past), "2026-03-02T09:00")
    assert case.table() == ["check 1.1 missed:past_when_planned 2026-03-03T10:00"]


@pytest.mark.parametrize(
    ("override", "row"),
    [
        (Past.SKIP, "check 1.1 missed:past_when_planned 2026-03-03T10:00"),
        (Past.SEND, "check 1.1 scheduled 2026-03-03T10:00"),
        (Past.ASK, "check 1.1 held:past_ask 2026-03-03T10:00"),
    ],
)
@pytest.mark.parametrize("past", list(Past))
def test_the_rule_given_with_the_treatment_overrides_every_steps_own(past: Past, override: Past, row: str) -> None:
    case = record("2026-03-04T12:00")
    case.treat(rule(past), "2026-03-02T09:00", past_override=override)
    assert case.table() == [row]


def test_what_staff_were_asked_about_is_sent_when_they_resume_it_and_not_before() -> None:
    case = record("2026-03-04T12:00")
    case.treat(rule(Past.ASK), "2026-03-02T09:00")
    case.event(EventKind.COMPLICATION)
    assert case.table() == ["check 1.1 held:complication 2026-03-03T10:00"]
    case.event(EventKind.COMPLICATION_RESOLVED, "2026-03-04T12:01")
    assert case.table() == ["check 1.1 held:past_ask 2026-03-03T10:00"]
    case.sleep_until("2026-03-04T13:00")
    case.decide(DecisionKind.RESUME, "check")
    assert case.table() == ["check 1.1 scheduled 2026-03-03T10:00"]
    assert case.row("check").ready_at == case.now


def test_aftercare_entered_late_on_the_same_day_leaves_after_the_grace() -> None:
    case = record("2026-03-02T18:30")
    case.treat(COURSE, "2026-03-02T09:00")
    assert case.table("after-visit") == ["after-visit 1.1 scheduled 2026-03-02T17:00"]
    assert case.row("after-visit").ready_at.isoformat() == "2026-03-02T18:40:00+00:00"


def test_entered_after_the_window_closed_it_leaves_the_next_morning() -> None:
    case = record("2026-03-02T18:55")
    case.treat(COURSE, "2026-03-02T09:00")
    assert case.row("after-visit").ready_at.isoformat() == "2026-03-03T08:00:00+00:00"


def test_no_allowed_moment_before_the_end_is_missed_outside_the_window_and_adds_no_rows_later() -> None:
    case = record("2026-03-02T12:00")
    case.treat(protocol(step("late", at="20:00", expires_after=hours(5))), "2026-03-02T09:00")
    rows = ["late 1.1 missed:outside_window 2026-03-03T08:00"]
    assert case.table() == rows
    case.know(zone="Europe/Madrid")
    case.replan()
    assert case.table() == rows
    case.move("2026-03-09T09:00")
    assert case.table() == rows


def test_the_grace_may_use_up_what_was_left_and_is_not_tried_again() -> None:
    case = record("2026-03-02T18:52")
    case.treat(protocol(step("soon", hours(10), expires_after=hours(1))), "2026-03-02T08:55")
    rows = ["soon 1.1 missed:outside_window 2026-03-02T18:55"]
    assert case.table() == rows
    case.event(EventKind.SOLO_STARTED)
    assert case.table() == rows


def test_working_days_skip_weekends_and_holidays_without_moving_the_end() -> None:
    quiet = step("letter", days(4), kind=ADMINISTRATIVE, working_days_only=True, expires_after=days(6))
    staff = step("call", days(4), audience=Audience.STAFF, working_days_only=True, expires_after=days(6))
    case = record("2026-03-02T12:00", rules=Rules(holidays=frozenset({date(2026, 3, 9)})))
    case.treat(protocol(quiet, staff), "2026-03-03T09:00")  # four days later is Saturday
    assert case.table() == ["letter 1.1 scheduled 2026-03-10T08:00", "call 1.1 scheduled 2026-03-10T10:00"]
    assert {row.expires_at.isoformat() for row in case.rows} == {"2026-03-13T10:00:00+00:00"}


def test_a_new_holiday_moves_what_waits_and_nothing_that_was_sent() -> None:
    both = protocol(
        step("one", days(1), kind=ADMINISTRATIVE, working_days_only=True),
        step("two", days(8), kind=ADMINISTRATIVE, working_days_only=True, expires_after=days(4)),
    )
    case = record("2026-03-02T12:00")
    case.treat(both, "2026-03-02T09:00")
    case.wait_until("2026-03-04T12:00")
    case.set_rules(holidays=frozenset({date(2026, 3, 3), date(2026, 3, 10)}))
    assert case.table() == ["one 1.1 sent 2026-03-03T10:00", "two 1.1 scheduled 2026-03-11T08:00"]


def test_a_window_that_becomes_wider_sends_what_waited_for_the_old_one() -> None:
    case = record("2026-03-02T12:00", rules=Rules(window=Window(8 * 60, 11 * 60)))
    case.treat(protocol(step("noon", at="13:00")), "2026-03-02T09:00")
    assert case.table() == ["noon 1.1 scheduled 2026-03-03T08:00"]
    case.sleep_until("2026-03-02T14:00")
    case.set_rules(window=Window())
    assert case.table() == ["noon 1.1 scheduled 2026-03-02T13:00"]
    assert case.row("noon").ready_at.isoformat() == "2026-03-02T14:10:00+00:00"


def test_a_treatment_in_the_far_future_is_planned_and_one_in_the_far_past_sends_nothing() -> None:
    case = record("2026-03-02T12:00")
    case.treat(protocol(step("check", days(1), past=Past.SEND), key="ahead"), "2037-02-27T09:00", "ahead")
    case.treat(protocol(step("check", days(1), past=Past.SEND), key="behind"), "1999-12-30T09:00", "behind")
    assert case.table(plan="ahead") == ["check 1.1 scheduled 2037-02-28T10:00"]
    assert case.table(plan="behind") == ["check 1.1 missed:past_when_planned 1999-12-31T10:00"]


@pytest.mark.parametrize(
    ("treated", "offset", "due"),
    [
        ("2028-02-28T09:00", 1, "2028-02-29T10:00"),
        ("2027-02-28T09:00", 1, "2027-03-01T10:00"),
        ("2028-02-29T09:00", 365, "2029-02-28T10:00"),
        ("2026-12-30T09:00", 2, "2027-01-01T10:00"),
        ("2026-12-31T23:30", 1, "2027-01-01T10:00"),
    ],
)
def test_calendar_days_cross_leap_days_and_year_ends(treated: str, offset: int, due: str) -> None:
    case = record("2026-03-02T12:00")
    case.treat(protocol(step("check", days(offset))), treated)
    assert case.table() == [f"check 1.1 scheduled {due}"]
