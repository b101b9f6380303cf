"""Several plans of one patient: a later treatment replaces, days are shared out, what says the same goes once.

One plan alone is in the other tables.
"""

from datetime import timedelta
from typing import Any

import pytest

from db.states import Audience, CarePlanStatus, DecisionKind, EventKind, Past, Reason
from scheduler.planning.protocol import Anchor, OnNewTreatment, Protocol
from tests.planning.build import Record, record
from tests.planning.recipes import (
    ADMINISTRATIVE,
    EXERCISE,
    REVIEW,
    SIX_WEEK,
    TWO_WEEK,
    days,
    hours,
    protocol,
    step,
)

TWO = (step("early", days(5)), step("late", days(30)))
COURSE = protocol(*TWO)


def treated_again(second: str, recipe: Protocol = COURSE, **facts: Any) -> Record:
    """Treated on 2 March and on another day, entered on 10 March."""
    case = record("2026-03-02T12:00")
    case.treat(recipe, "2026-03-02T09:00", "old")
    case.wait_until("2026-03-10T12:00")
    case.treat(recipe, second, "new", **facts)
    return case


def test_a_new_treatment_replaces_what_the_running_plan_had_not_sent() -> None:
    case = treated_again("2026-03-10T09:00")
    assert case.table(plan="old") == [
        "early 1.1 sent 2026-03-07T10:00",
        "late 1.1 cancelled:superseded 2026-04-01T10:00",
    ]
    assert case.table(plan="new") == ["early 1.1 scheduled 2026-03-15T10:00", "late 1.1 scheduled 2026-04-09T10:00"]
    assert case.statuses == {"old": CarePlanStatus.REVOKED, "new": CarePlanStatus.ACTIVE}


def test_a_treatment_entered_after_it_was_done_also_replaces_what_was_held_from_before() -> None:
    case = record("2026-03-02T12:00")
    case.treat(protocol(step("early", days(5), expires_after=days(9))), "2026-03-02T09:00", "old")
    case.event(EventKind.COMPLICATION, plan="old")
    case.wait_until("2026-03-10T12:00")
    case.treat(COURSE, "2026-03-10T09:00", "new")
    assert case.table(plan="old") == ["early 1.1 cancelled:superseded 2026-03-07T10:00"]


def test_a_treatment_planned_ahead_takes_over_from_its_day() -> None:
    case = treated_again("2026-03-31T09:00")
    assert case.table(plan="old")[1] == "late 1.1 cancelled:superseded 2026-04-01T10:00"
    case = treated_again("2026-04-02T09:00")
    assert case.table(plan="old")[1] == "late 1.1 scheduled 2026-04-01T10:00"
    assert case.statuses == {"old": CarePlanStatus.ACTIVE, "new": CarePlanStatus.ACTIVE}


def test_when_the_new_treatment_is_cancelled_the_old_plan_lives_again() -> None:
    case = treated_again("2026-03-10T09:00")
    case.change_plan("new", cancelled=Reason.TREATMENT_CANCELLED)
    assert case.table(plan="old") == [
        "early 1.1 sent 2026-03-07T10:00",
        "late 1.1 cancelled:superseded 2026-04-01T10:00",
        "late 1.2 scheduled 2026-04-01T10:00",
    ]
    assert case.table(plan="new") == [
        "early 1.1 cancelled:treatment_cancelled 2026-03-15T10:00",
        "late 1.1 cancelled:treatment_cancelled 2026-04-09T10:00",
    ]
    assert case.statuses == {"old": CarePlanStatus.ACTIVE, "new": CarePlanStatus.REVOKED}


@pytest.mark.parametrize("how", ["protocol keeps", "staff keep", "another protocol"])
def test_plans_that_may_run_side_by_side_do(how: str) -> None:
    recipe = protocol(*TWO, on_new_treatment=OnNewTreatment.KEEP) if how == "protocol keeps" else COURSE
    case = record("2026-03-02T12:00")
    case.treat(recipe, "2026-03-02T09:00", "old")
    other = protocol(*TWO, key="other") if how == "another protocol" else recipe
    case.treat(other, "2026-03-03T09:00", "new", keeps_earlier=how == "staff keep")
    assert case.table(plan="old") == ["early 1.1 scheduled 2026-03-07T10:00", "late 1.1 scheduled 2026-04-01T10:00"]
    assert case.table(plan="new") == ["early 1.1 scheduled 2026-03-08T10:00", "late 1.1 scheduled 2026-04-02T10:00"]


@pytest.mark.parametrize(("keeps", "runs"), [(True, True), (False, False)])
def test_an_earlier_treatment_entered_afterwards_runs_beside_a_later_one_where_staff_say_so(
    keeps: bool, runs: bool
) -> None:
    case = record("2026-03-04T12:00")
    case.treat(protocol(*TWO), "2026-03-03T09:00", "later")
    case.now += timedelta(hours=1)
    case.treat(protocol(*TWO), "2026-03-02T09:00", "earlier", keeps_earlier=keeps)
    state = "scheduled" if runs else "cancelled:superseded"
    assert case.table("early", plan="earlier") == [f"early 1.1 {state} 2026-03-07T10:00"]
    assert case.table("early", plan="later") == ["early 1.1 scheduled 2026-03-08T10:00"]


def test_the_release_of_the_partner_part_does_not_carry_over() -> None:
    week = step("week", days(7), kind=EXERCISE, anchor=Anchor.PARTNER_RELEASED)
    case = record("2026-03-02T12:00")
    case.treat(protocol(week), "2026-03-02T09:00", "old")
    case.event(EventKind.PARTNER_RELEASED, plan="old")
    case.treat(protocol(week), "2026-03-02T11:00", "new")
    assert case.table(plan="old") == ["week 1.1 cancelled:superseded 2026-03-09T10:00"]
    assert case.table(plan="new") == []


SHARED = protocol(
    step("plan", days(3), kind=EXERCISE, expires_after=days(3)),
    step("paper", days(3), kind=ADMINISTRATIVE, expires_after=days(3)),
    step("care", days(3)),
    step("review", days(3), kind=REVIEW),
)


def test_on_one_day_reviews_come_first_then_aftercare_and_the_others_wait_their_turn() -> None:
    case = record("2026-03-02T12:00")
    case.treat(SHARED, "2026-03-02T09:00")
    assert sorted(case.table()) == [
        "care 1.1 scheduled 2026-03-05T10:00",  # aftercare may not wait
        "paper 1.1 scheduled 2026-03-06T10:00",
        "plan 1.1 scheduled 2026-03-07T10:00",
        "review 1.1 scheduled 2026-03-05T10:00",
    ]
    assert {row.step: row.expires_at.isoformat() for row in case.rows}["plan"] == "2026-03-08T10:00:00+00:00"


def test_what_would_wait_past_its_end_stays() -> None:
    short = protocol(step("plan", days(3), kind=EXERCISE, expires_after=days(1)), step("care", days(3)))
    case = record("2026-03-02T12:00")
    case.treat(short, "2026-03-02T09:00")
    assert case.table() == ["care 1.1 scheduled 2026-03-05T10:00", "plan 1.1 scheduled 2026-03-05T10:00"]


def test_elapsed_steps_and_staff_lines_take_no_part_in_waiting() -> None:
    case = record("2026-03-02T12:00")
    mixed = protocol(
        step("care", days(1)),
        step("soon", hours(27), kind=EXERCISE, may_wait=True),
        step("line", days(1), audience=Audience.STAFF),
    )
    case.treat(mixed, "2026-03-02T09:00")
    assert case.table() == [
        "care 1.1 scheduled 2026-03-03T10:00",
        "line 1.1 scheduled 2026-03-03T10:00",
        "soon 1.1 scheduled 2026-03-03T12:00",
    ]


def test_days_are_shared_out_among_all_of_her_plans() -> None:
    case = record("2026-03-02T12:00")
    case.treat(protocol(step("plan", days(3), kind=EXERCISE), key="one"), "2026-03-02T09:00", "one")
    assert case.table(plan="one") == ["plan 1.1 scheduled 2026-03-05T10:00"]
    case.treat(protocol(step("care", days(2)), key="two"), "2026-03-03T09:00", "two")
    assert case.table(plan="one") == ["plan 1.1 scheduled 2026-03-06T10:00"]
    assert case.table(plan="two") == ["care 1.1 scheduled 2026-03-05T10:00"]


def test_a_message_that_waited_is_not_lost_when_its_own_day_becomes_free_too_late() -> None:
    case = record("2026-03-02T12:00")
    case.treat(protocol(step("plan", days(3), kind=EXERCISE), key="one"), "2026-03-02T09:00", "one")
    case.treat(protocol(step("care", days(2), at="16:00"), key="two"), "2026-03-03T09:00", "two")
    case.wait_until("2026-03-05T15:00")
    assert case.table(plan="one") == ["plan 1.1 scheduled 2026-03-06T10:00"]
    case.change_plan("two", cancelled=Reason.TREATMENT_CANCELLED)
    assert case.table(plan="one") == ["plan 1.1 scheduled 2026-03-05T10:00"]
    assert case.row("plan", plan="one").ready_at.isoformat() == "2026-03-05T15:10:00+00:00"


def test_what_staff_were_asked_about_is_not_sent_because_days_are_shared_out_anew() -> None:
    ask = protocol(step("plan", days(3), kind=EXERCISE, past=Past.ASK, expires_after=days(9)), key="one")
    case = record("2026-03-05T12:00")
    case.treat(ask, "2026-03-02T09:00", "one")
    case.treat(protocol(step("care", at="16:00"), key="two"), "2026-03-05T09:00", "two")
    case.treat(protocol(step("more", at="17:00"), key="three"), "2026-03-06T09:00", "three")
    assert case.table(plan="one") == ["plan 1.1 held:past_ask 2026-03-07T10:00"]


MERGING = protocol(step("check", days(3)), key="one")


def two_checks(second: str = "2026-03-02T10:00", **other: Any) -> Record:
    case = record("2026-03-02T12:00")
    case.treat(MERGING, "2026-03-02T09:00", "one")
    case.treat(protocol(step("check", days(3)), key="two", **other), second, "two")
    return case


def test_two_messages_that_say_the_same_on_one_day_become_one() -> None:
    case = two_checks()
    assert case.table(plan="one") == ["check 1.1 scheduled 2026-03-05T10:00"]
    assert case.table(plan="two") == ["check 1.1 cancelled:merged 2026-03-05T10:00"]
    case.change_plan("one", cancelled=Reason.TREATMENT_CANCELLED)
    assert case.table(plan="two") == [
        "check 1.1 cancelled:merged 2026-03-05T10:00",
        "check 1.2 scheduled 2026-03-05T10:00",
    ]


def test_different_urgent_blocks_or_days_are_two_messages() -> None:
    assert two_checks(urgent="urgent_toxin").table(plan="two") == ["check 1.1 scheduled 2026-03-05T10:00"]
    assert two_checks("2026-03-03T10:00").table(plan="two") == ["check 1.1 scheduled 2026-03-06T10:00"]


def test_a_message_never_disappears_into_one_that_is_held() -> None:
    case = two_checks()
    case.event(EventKind.COMPLICATION, plan="one")
    assert case.table(plan="one") == ["check 1.1 held:complication 2026-03-05T10:00"]
    assert case.table(plan="two") == [
        "check 1.1 cancelled:merged 2026-03-05T10:00",
        "check 1.2 scheduled 2026-03-05T10:00",
    ]
    case.event(EventKind.COMPLICATION_RESOLVED, "2026-03-02T12:01", plan="one")
    assert case.table(plan="one") == ["check 1.1 scheduled 2026-03-05T10:00"]
    assert case.table(plan="two")[-1] == "check 1.2 cancelled:merged 2026-03-05T10:00"


def test_two_visits_on_different_days_are_never_merged_and_two_reviews_on_one_are() -> None:
    tell = step("tell", days(-2), kind=REVIEW, anchor=Anchor.REVIEW_BOOKED)
    case = record("2026-03-02T12:00")
    case.treat(protocol(tell, reviews=(TWO_WEEK, SIX_WEEK)), "2026-03-02T09:00")
    case.event(EventKind.REVIEW_BOOKED, "2026-03-16T14:00", "two-week")
    case.event(EventKind.REVIEW_BOOKED, "2026-03-16T15:00", "six-week")
    assert case.table() == ["tell 1.1 scheduled 2026-03-14T10:00", "tell 2.1 scheduled 2026-03-14T10:00"]
    case.event(EventKind.REVIEW_BOOKED, "2026-03-16T14:00", "six-week")
    assert case.table() == ["tell 1.1 scheduled 2026-03-14T10:00", "tell 2.1 cancelled:merged 2026-03-14T10:00"]


def test_a_plan_moved_to_another_version_is_matched_by_step() -> None:
    case = record("2026-03-02T12:00")
    case.treat(COURSE, "2026-03-02T09:00")
    case.wait_until("2026-03-08T12:00")
    newer = protocol(step("early", days(6)), step("extra", days(20)))
    case.change_plan(protocol=newer)
    assert case.table() == [
        "early 1.1 sent 2026-03-07T10:00",
        "extra 1.1 scheduled 2026-03-22T10:00",
        "late 1.1 cancelled:no_longer_applies 2026-04-01T10:00",
    ]


def test_a_person_who_cancels_the_message_that_stood_for_two_cancels_it_for_both() -> None:
    case = two_checks()
    case.decide(DecisionKind.CANCEL, "check", plan="one")
    assert case.table(plan="one") == ["check 1.1 cancelled:by_staff 2026-03-05T10:00"]
    assert case.table(plan="two") == ["check 1.1 cancelled:merged 2026-03-05T10:00"]
