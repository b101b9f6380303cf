"""Visits booked, moved, missed, held and withdrawn, before and after she was told of them.

The treatment's own date is in `test_dates_moved`.
"""

import pytest

from db.states import DecisionKind, EventKind, Past, Reason, ReminderState, ReviewStatus, StopReason
from scheduler.planning.protocol import Anchor
from tests.planning.build import Record, record
from tests.planning.recipes import COURSE, REVIEW, TWO_WEEK, VISIT_STEPS, days, protocol, step

VISITS = protocol(*VISIT_STEPS, reviews=(TWO_WEEK,))
BOOKED, CANCELLED = EventKind.REVIEW_BOOKED, EventKind.REVIEW_CANCELLED
MISSED, COMPLETED = EventKind.REVIEW_MISSED, EventKind.REVIEW_COMPLETED


def visits(now: str = "2026-03-02T12:00") -> Record:
    case = record(now)
    case.treat(VISITS, "2026-03-02T09:00")
    return case


def told_of_the_sixteenth() -> Record:
    """Her visit is on the 16th; the three-day mail left on the 13th."""
    case = visits()
    case.event(BOOKED, "2026-03-16T14:00")
    case.wait_until("2026-03-13T12:00")
    return case


UNBOOKED = "book 1.1 cancelled:no_longer_applies 2026-03-11T10:00"


def test_until_a_visit_is_booked_she_is_asked_to_book() -> None:
    assert visits().table() == ["book 1.1 scheduled 2026-03-11T10:00"]


def test_a_booked_visit_is_announced_twice_and_no_longer_asked_for() -> None:
    case = visits()
    case.event(BOOKED, "2026-03-16T14:00")
    assert case.table() == [
        UNBOOKED,
        "in-3-days 1.1 scheduled 2026-03-13T10:00",
        "in-1-day 1.1 scheduled 2026-03-15T10:00",
    ]


def test_a_visit_moved_before_anything_was_sent_moves_its_messages_in_place() -> None:
    case = visits()
    case.event(BOOKED, "2026-03-16T14:00")
    case.event(BOOKED, "2026-03-18T09:00")
    assert case.table() == [
        UNBOOKED,
        "in-3-days 1.1 scheduled 2026-03-15T10:00",
        "in-1-day 1.1 scheduled 2026-03-17T10:00",
    ]


def test_a_visit_moved_after_it_was_mailed_is_told_at_once_and_exactly_once() -> None:
    case = told_of_the_sixteenth()
    case.event(BOOKED, "2026-03-20T15:00")
    assert case.table("in-3-days", "in-1-day") == [
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-3-days 1.2 scheduled 2026-03-13T12:00",
        "in-1-day 1.1 scheduled 2026-03-19T10:00",
    ]
    assert case.row("in-3-days").basis == "2026-03-20T15:00:00 Europe/London"
    case.wait_until("2026-04-30T12:00")
    assert case.table("in-3-days", "in-1-day") == [
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-3-days 1.2 sent 2026-03-13T12:00",
        "in-1-day 1.1 sent 2026-03-19T10:00",
    ]
    assert case.open_questions() == []


def test_a_visit_moved_twice_before_she_was_told_sends_only_the_last_date() -> None:
    case = told_of_the_sixteenth()
    case.event(BOOKED, "2026-03-20T15:00")
    case.now = case.now.replace(minute=5)
    case.event(BOOKED, "2026-03-24T15:00")
    assert case.table("in-3-days", "in-1-day") == [
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-3-days 1.2 scheduled 2026-03-13T12:05",
        "in-1-day 1.1 scheduled 2026-03-23T10:00",
    ]


def test_a_visit_moved_twice_with_both_told_has_three_generations() -> None:
    case = told_of_the_sixteenth()
    case.event(BOOKED, "2026-03-20T15:00")
    case.wait_until("2026-03-14T12:00")
    case.event(BOOKED, "2026-03-24T15:00")
    case.wait_until("2026-04-10T12:00")
    assert case.table("in-3-days", "in-1-day") == [
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-3-days 1.2 sent 2026-03-13T12:00",
        "in-3-days 1.3 sent 2026-03-14T12:00",
        "in-1-day 1.1 sent 2026-03-23T10:00",
    ]


def test_a_visit_moved_back_to_the_date_she_knows_needs_no_second_mail() -> None:
    case = told_of_the_sixteenth()
    case.event(BOOKED, "2026-03-20T15:00")
    case.event(BOOKED, "2026-03-16T14:00")
    rows = [
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-3-days 1.2 cancelled:no_longer_applies 2026-03-13T12:00",
        "in-1-day 1.1 scheduled 2026-03-15T10:00",
    ]
    assert case.table("in-3-days", "in-1-day") == rows
    case.event(BOOKED, "2026-03-20T15:00")
    assert case.table("in-3-days", "in-1-day") == [
        *rows[:2],
        "in-3-days 1.3 scheduled 2026-03-13T12:00",
        "in-1-day 1.1 scheduled 2026-03-19T10:00",
    ]


def test_a_visit_brought_forward_to_tomorrow_is_still_told_at_once() -> None:
    case = told_of_the_sixteenth()
    case.event(BOOKED, "2026-03-14T09:00")
    assert case.table("in-3-days", "in-1-day") == [
        "in-1-day 1.1 missed:past_when_planned 2026-03-13T10:00",
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-3-days 1.2 scheduled 2026-03-13T12:00",
    ]
    new = case.row("in-3-days")
    assert (new.ready_at.isoformat(), new.expires_at.isoformat()) == (
        "2026-03-13T12:10:00+00:00",
        "2026-03-14T09:00:00+00:00",  # useful until the visit itself
    )


def test_a_visit_moved_at_night_is_told_when_the_window_opens() -> None:
    case = told_of_the_sixteenth()
    case.wait_until("2026-03-13T23:30")
    case.event(BOOKED, "2026-03-20T15:00")
    assert case.row("in-3-days").ready_at.isoformat() == "2026-03-14T08:00:00+00:00"


def test_a_booking_retracted_after_it_was_told_announces_the_older_one_within_the_window() -> None:
    case = told_of_the_sixteenth()
    moved = case.event(BOOKED, "2026-03-20T15:00")
    case.wait_until("2026-03-13T23:30")
    case.retract(moved)
    assert case.table("in-3-days") == [
        "in-3-days 1.3 scheduled 2026-03-02T12:00",
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-3-days 1.2 sent 2026-03-13T12:00",
    ]
    assert case.row("in-3-days").ready_at.isoformat() == "2026-03-14T08:00:00+00:00"


def test_a_visit_moved_after_the_one_day_mail_tells_it_once_and_both_reminders_follow_no_second_time() -> None:
    case = told_of_the_sixteenth()
    case.wait_until("2026-03-15T12:00")
    case.event(BOOKED, "2026-03-25T15:00")
    case.wait_until("2026-03-16T12:00")
    assert case.table("in-3-days", "in-1-day")[2:] == [
        "in-3-days 1.2 sent 2026-03-15T12:00",
        "in-1-day 1.2 scheduled 2026-03-24T10:00",
    ]
    case.wait_until("2026-04-10T12:00")
    assert case.table("in-3-days", "in-1-day") == [
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-1-day 1.1 sent 2026-03-15T10:00",
        "in-3-days 1.2 sent 2026-03-15T12:00",
        "in-1-day 1.2 sent 2026-03-24T10:00",
    ]


def test_an_announcement_that_failed_leaves_the_next_reminder_in_place() -> None:
    case = told_of_the_sixteenth()
    case.event(BOOKED, "2026-03-20T15:00")
    case.now = case.row("in-3-days").ready_at
    case.open_attempt("in-3-days")
    case.outcome(ReminderState.FAILED, Reason.ATTEMPTS_USED_UP, "in-3-days")
    assert case.table("in-3-days", "in-1-day") == [
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-3-days 1.2 failed:attempts_used_up 2026-03-13T12:00",
        "in-3-days 1.3 scheduled 2026-03-17T10:00",
        "in-1-day 1.1 scheduled 2026-03-19T10:00",
    ]


def test_a_missed_visit_asks_kindly_and_puts_a_line_on_the_staff_list() -> None:
    case = told_of_the_sixteenth()
    case.wait_until("2026-03-16T16:00")
    case.event(MISSED)
    rows = [
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-1-day 1.1 sent 2026-03-15T10:00",
        "missed-you 1.1 scheduled 2026-03-17T10:00",
        "ring-her 1.1 scheduled 2026-03-19T09:00",
    ]
    assert case.table()[-4:] == rows
    assert case.last is not None
    assert [review.status for review in case.last.reviews] == [ReviewStatus.MISSED]
    case.wait_until("2026-03-19T09:00")
    assert case.table("ring-her") == ["ring-her 1.1 held:for_staff 2026-03-19T09:00"]
    case.decide(DecisionKind.DONE, "ring-her")
    assert case.table("ring-her") == ["ring-her 1.1 done:done_by_staff 2026-03-19T09:00"]


def test_a_visit_missed_and_booked_again_is_reminded_of_at_its_own_times() -> None:
    case = told_of_the_sixteenth()
    case.wait_until("2026-03-16T16:00")
    case.event(MISSED)
    case.event(BOOKED, "2026-03-25T11:00")
    assert case.table() == [
        "book 1.1 cancelled:no_longer_applies 2026-03-11T10:00",
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-1-day 1.1 sent 2026-03-15T10:00",
        "missed-you 1.1 cancelled:no_longer_applies 2026-03-17T10:00",
        "ring-her 1.1 cancelled:no_longer_applies 2026-03-19T09:00",
        "in-3-days 1.2 scheduled 2026-03-22T10:00",
        "in-1-day 1.2 scheduled 2026-03-24T10:00",
    ]


def test_a_visit_missed_and_booked_again_for_tomorrow_gets_no_late_three_day_mail() -> None:
    case = told_of_the_sixteenth()
    case.wait_until("2026-03-16T16:00")
    case.event(MISSED)
    case.event(BOOKED, "2026-03-18T11:00")
    assert case.table("in-3-days", "in-1-day") == [
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-1-day 1.1 sent 2026-03-15T10:00",
        "in-1-day 1.2 scheduled 2026-03-17T10:00",
    ]


@pytest.mark.parametrize("past", list(Past))
def test_a_new_visit_so_near_that_its_reminders_time_has_passed_repeats_none_that_was_sent(past: Past) -> None:
    tell = step("tell", days(-3), kind=REVIEW, anchor=Anchor.REVIEW_BOOKED, past=past, expires_after=days(3))
    case = record("2026-03-02T12:00")
    case.treat(protocol(tell, reviews=(TWO_WEEK,)), "2026-03-02T09:00")
    case.event(BOOKED, "2026-03-16T14:00")
    case.wait_until("2026-03-16T16:00")
    case.event(MISSED)
    case.event(BOOKED, "2026-03-18T11:00")
    assert case.table() == ["tell 1.1 sent 2026-03-13T10:00"]


def test_a_miss_entered_after_the_next_visit_was_booked_does_not_undo_that_booking() -> None:
    case = told_of_the_sixteenth()
    case.wait_until("2026-03-16T16:00")
    case.event(BOOKED, "2026-03-25T11:00")
    case.wait_until("2026-03-17T09:00")
    case.event(MISSED, "2026-03-16T14:00")
    assert case.table("in-3-days", "in-1-day", "missed-you") == [
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-1-day 1.1 sent 2026-03-15T10:00",
        "in-3-days 1.2 scheduled 2026-03-22T10:00",
        "in-1-day 1.2 scheduled 2026-03-24T10:00",
    ]


def test_a_visit_withdrawn_after_it_was_mailed_asks_staff_whether_she_knows() -> None:
    case = told_of_the_sixteenth()
    case.event(CANCELLED)
    asked = [("visit_withdrawn", "in-3-days", 1, "2026-03-16T14:00:00 Europe/London", "")]
    assert case.open_questions() == asked
    assert case.table("in-3-days", "in-1-day") == [
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-1-day 1.1 cancelled:no_longer_applies 2026-03-15T10:00",
    ]
    case.decide(DecisionKind.KEEP, "in-3-days")
    assert case.open_questions() == []


@pytest.mark.parametrize(("reason", "asked"), [("deceased", 0), ("left", 0), ("opted-out", 1), ("unsafe", 1)])
def test_nobody_is_asked_whether_a_patient_knows_who_has_died_or_left(reason: str, asked: int) -> None:
    case = told_of_the_sixteenth()
    case.event(CANCELLED)
    case.know(stopped=StopReason(reason))
    assert len(case.open_questions()) == asked


def test_a_withdrawn_visit_booked_again_closes_the_question_and_is_told_at_once() -> None:
    case = told_of_the_sixteenth()
    case.event(CANCELLED)
    case.event(BOOKED, "2026-03-20T15:00")
    assert case.open_questions() == []
    assert case.table("in-3-days") == [
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-3-days 1.2 scheduled 2026-03-13T12:00",
    ]
    case.event(CANCELLED)  # before the new date went out: she still holds the first
    assert case.open_questions() == [("visit_withdrawn", "in-3-days", 1, "2026-03-16T14:00:00 Europe/London", "")]
    assert case.table("in-3-days") == [
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-3-days 1.2 cancelled:no_longer_applies 2026-03-13T12:00",
    ]


def test_a_visit_withdrawn_before_she_was_told_asks_nothing_and_she_is_asked_to_book() -> None:
    case = visits()
    case.event(BOOKED, "2026-03-16T14:00")
    case.event(CANCELLED)
    assert case.open_questions() == []
    assert case.table() == [
        UNBOOKED,
        "book 1.2 scheduled 2026-03-11T10:00",
        "in-3-days 1.1 cancelled:no_longer_applies 2026-03-13T10:00",
        "in-1-day 1.1 cancelled:no_longer_applies 2026-03-15T10:00",
    ]


def test_a_review_held_ends_its_messages_and_starts_the_next_step() -> None:
    case = record("2026-03-02T12:00")
    case.treat(COURSE, "2026-03-02T09:00")
    case.event(BOOKED, "2026-03-16T14:00")
    case.wait_until("2026-03-14T12:00")
    case.event(COMPLETED)
    assert case.table("in-3-days", "in-1-day", "no-review-yet", "next-step") == [
        "in-3-days 1.1 sent 2026-03-13T10:00",
        "in-1-day 1.1 cancelled:review_completed 2026-03-15T10:00",
        "next-step 1.1 scheduled 2026-03-15T10:00",
        "no-review-yet 1.1 cancelled:review_completed 2026-03-23T09:00",
    ]


def test_a_visit_in_the_past_when_booked_is_only_recorded() -> None:
    case = visits("2026-03-20T12:00")
    case.event(BOOKED, "2026-03-16T14:00")
    assert case.table() == [
        "book 1.1 missed:past_when_planned 2026-03-11T10:00",
        "in-3-days 1.1 missed:past_when_planned 2026-03-13T10:00",
        "in-1-day 1.1 missed:past_when_planned 2026-03-15T10:00",
    ]


def test_the_day_before_counts_from_the_visits_day_at_the_clinic_and_leaves_at_her_ten_o_clock() -> None:
    case = record("2026-03-02T12:00", "Pacific/Auckland")
    case.treat(VISITS, "2026-03-02T09:00")
    case.event(BOOKED, "2026-03-16T14:00")
    assert case.table("in-1-day") == ["in-1-day 1.1 scheduled 2026-03-15T10:00"]
    assert case.row("in-1-day").due_at.isoformat() == "2026-03-14T21:00:00+00:00"


@pytest.mark.parametrize("key", ["two-week", "six-week"])
def test_a_booking_concerns_only_its_own_review(key: str) -> None:
    place = {"two-week": 1, "six-week": 2}[key]
    case = record("2026-03-02T12:00")
    case.treat(COURSE, "2026-03-02T09:00")
    case.event(BOOKED, "2026-04-10T14:00", key)
    assert case.table("in-3-days", "in-1-day") == [
        f"in-3-days {place}.1 scheduled 2026-04-07T10:00",
        f"in-1-day {place}.1 scheduled 2026-04-09T10:00",
    ]


def test_the_mail_of_a_visit_sent_again_by_a_person_lasts_until_the_visit() -> None:
    case = told_of_the_sixteenth()
    case.wait_until("2026-03-16T09:00")
    case.decide(DecisionKind.SEND_AGAIN, "in-3-days")
    assert case.row("in-3-days").expires_at.isoformat() == "2026-03-16T14:00:00+00:00"
    assert case.table("in-3-days")[-1] == "in-3-days 1.2 scheduled 2026-03-16T09:00"


def test_a_step_after_the_visit_moves_with_it() -> None:
    after = step("after", days(2), kind=REVIEW, anchor=Anchor.REVIEW_BOOKED, review="two-week")
    case = record("2026-03-02T12:00")
    case.treat(protocol(after, reviews=(TWO_WEEK,)), "2026-03-02T09:00")
    case.event(BOOKED, "2026-03-16T14:00")
    case.event(BOOKED, "2026-03-18T14:00")
    assert case.table() == ["after 1.1 scheduled 2026-03-20T10:00"]
