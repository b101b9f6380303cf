"""What holds and what cancels: complication, hold, stops, consent, address, age, approval, and the ends of a plan.

Past rules at release are in `test_past`, what staff decide about one reminder in `test_decisions`.
"""

from datetime import date
from typing import Any

import pytest

from db.states import (
    AddressState,
    Audience,
    CarePlanStatus,
    EventKind,
    Phase,
    Reason,
    StopReason,
    Topic,
)
from scheduler.planning.facts import PatientFacts
from scheduler.planning.protocol import Anchor, StopOn, When
from tests.planning.build import Record, record
from tests.planning.recipes import (
    ALWAYS_GOES_ON,
    EXERCISE,
    REVIEW,
    SIX_WEEK,
    TWO_WEEK,
    days,
    protocol,
    step,
)

MIXED = protocol(
    step("review", days(5), kind=REVIEW),
    step("care", days(6)),
    step("moves", days(7), kind=EXERCISE),
    step("goes-on", days(8), kind=REVIEW, stop_on=ALWAYS_GOES_ON),
    step("staff", days(9), audience=Audience.STAFF),
    minimum_age=18,
)
TIMES = {"review": "07", "care": "08", "moves": "09", "goes-on": "10", "staff": "11"}
BORN = date(1990, 5, 4)


def mixed(**patient: Any) -> Record:
    case = record("2026-03-02T12:00", **{"birth_date": BORN, **patient})
    case.treat(MIXED, "2026-03-02T09:00")
    return case


def rows(everything: str | None = None, **states: str) -> list[str]:
    """The five rows in order; scheduled unless told otherwise."""
    return [
        f"{key} 1.1 {states.get(key.replace('-', '_'), everything or 'scheduled')} 2026-03-{day}T10:00"
        for key, day in TIMES.items()
    ]


def test_with_nothing_against_it_everything_is_scheduled() -> None:
    assert mixed().table() == rows()


HELD_BY_FACTS = [
    ({"consent": {}}, {"review": "consent_missing", "care": "consent_missing", "moves": "consent_missing"}),
    ({"consent": {Topic.REVIEWS: True}}, {"moves": "consent_missing"}),
    ({"consent": {Topic.EXERCISES: True}}, {"review": "consent_missing", "goes_on": "consent_missing"}),
    ({"address": AddressState.MISSING}, dict.fromkeys(["review", "care", "moves", "goes_on"], "address_missing")),
    (
        {"address": AddressState.UNCONFIRMED},
        dict.fromkeys(["review", "care", "moves", "goes_on"], "address_unconfirmed"),
    ),
    ({"address": AddressState.REFUSED}, dict.fromkeys(["review", "care", "moves", "goes_on"], "address_refused")),
    ({"birth_date": None}, dict.fromkeys(["review", "care", "moves", "goes_on", "staff"], "birth_date_missing")),
    (
        {"birth_date": date(2008, 3, 3)},
        dict.fromkeys(["review", "care", "moves", "goes_on", "staff"], "under_age"),
    ),
]
HELD_BY_FACTS[0][1]["goes_on"] = "consent_missing"


@pytest.mark.parametrize(("facts", "reasons"), HELD_BY_FACTS)
def test_a_missing_fact_holds_and_recording_it_gives_back(facts: dict[str, Any], reasons: dict[str, str]) -> None:
    case = mixed(**facts)
    held = {key: f"held:{reason}" for key, reason in reasons.items()}
    assert case.table() == rows(**held)
    right = PatientFacts(case.patient.zone, AddressState.CONFIRMED, mixed().patient.consent, None, BORN)
    case.know(address=right.address, consent=right.consent, birth_date=right.birth_date)
    assert case.table() == rows()


def test_on_her_birthday_she_is_old_enough_and_a_clinician_may_override_the_age() -> None:
    assert mixed(birth_date=date(2008, 3, 2)).table() == rows()
    case = mixed(birth_date=date(2010, 1, 1))
    case.change_plan(age_overridden=True)
    assert case.table() == rows()


@pytest.mark.parametrize(
    ("said", "cancelled"),
    [
        ({Topic.REVIEWS: False, Topic.EXERCISES: True}, ["review", "goes_on"]),
        ({Topic.REVIEWS: True, Topic.EXERCISES: False}, ["moves"]),
        ({Topic.REVIEWS: False, Topic.EXERCISES: False}, ["review", "care", "moves", "goes_on"]),
    ],
)
def test_a_no_cancels_her_messages_of_that_kind_and_a_later_yes_brings_them_back(
    said: dict[Topic, bool], cancelled: list[str]
) -> None:
    case = mixed()
    case.know(consent=said)
    gone = dict.fromkeys(cancelled, "cancelled:consent_withdrawn")
    assert case.table() == rows(**gone)
    case.know(consent={Topic.REVIEWS: True, Topic.EXERCISES: True})
    second = [line.replace("1.1", "1.2") for line in rows() if line.split()[0].replace("-", "_") in cancelled]
    assert sorted(case.table()) == sorted([*rows(**gone), *second])


@pytest.mark.parametrize("reason", [reason for reason in StopReason if reason is not StopReason.LOST])
def test_a_stop_cancels_what_would_reach_her_and_only_death_and_leaving_stop_staff_too(reason: StopReason) -> None:
    case = mixed()
    case.know(stopped=reason)
    word = f"cancelled:{reason.value.replace('-', '_')}"
    staff = word if reason in (StopReason.DECEASED, StopReason.LEFT) else "scheduled"
    assert case.table() == rows(word, staff=staff)


def test_a_stop_that_is_not_in_the_database_holds_her_messages_and_cancels_nothing() -> None:
    case = mixed()
    case.know(stopped=StopReason.LOST)
    assert case.table() == rows("held:stop_lost", staff="scheduled")
    case.know(stopped=None)
    assert case.table() == rows()


def test_a_patient_who_comes_back_gets_what_is_still_ahead_and_nothing_of_the_time_between() -> None:
    case = mixed()
    case.know(stopped=StopReason.OPTED_OUT)
    case.sleep_until("2026-03-08T12:00")
    case.know(stopped=None)
    gone = rows("cancelled:opted_out", staff="scheduled")
    assert sorted(case.table()) == sorted(
        [*gone, "moves 1.2 scheduled 2026-03-09T10:00", "goes-on 1.2 scheduled 2026-03-10T10:00"]
    )


def test_a_complication_holds_all_but_the_steps_that_go_on() -> None:
    case = mixed()
    event = case.event(EventKind.COMPLICATION)
    assert case.table() == rows("held:complication", goes_on="scheduled")
    case.retract(event)
    assert case.table() == rows()


def test_facts_that_undo_each_other_count_by_when_they_happened() -> None:
    case = mixed()
    case.event(EventKind.COMPLICATION_RESOLVED, "2026-03-02T11:00")
    case.event(EventKind.COMPLICATION, "2026-03-02T10:00")
    assert case.table() == rows()


def test_a_hold_of_the_plan_holds_every_row_and_resume_gives_all_back() -> None:
    case = mixed()
    case.event(EventKind.HOLD)
    assert case.table() == rows("held:hold")
    assert case.statuses == {"a": CarePlanStatus.ON_HOLD}
    case.event(EventKind.RESUME, "2026-03-02T12:01")
    assert case.table() == rows()
    assert case.statuses == {"a": CarePlanStatus.ACTIVE}


def test_a_plan_imported_on_hold_waits_for_resume() -> None:
    case = record("2026-03-02T12:00", birth_date=BORN)
    case.treat(MIXED, "2026-03-02T09:00", starts_held=True)
    assert case.table() == rows("held:hold")
    case.event(EventKind.RESUME)
    assert case.table() == rows()


def test_both_a_complication_and_a_hold_have_to_end() -> None:
    case = mixed()
    case.event(EventKind.HOLD)
    case.event(EventKind.COMPLICATION)
    assert case.table() == rows("held:complication", goes_on="held:hold")
    case.event(EventKind.COMPLICATION_RESOLVED, "2026-03-02T12:01")
    assert case.table() == rows("held:hold")


@pytest.mark.parametrize(
    ("kind", "reason", "status"),
    [
        (EventKind.STOP, Reason.PLAN_STOPPED, CarePlanStatus.REVOKED),
        (EventKind.COMPLETE, Reason.PLAN_COMPLETED, CarePlanStatus.COMPLETED),
    ],
)
def test_the_end_of_a_plan_cancels_all_and_its_retraction_brings_all_back(
    kind: EventKind, reason: Reason, status: CarePlanStatus
) -> None:
    case = mixed()
    event = case.event(kind)
    assert case.table() == rows(f"cancelled:{reason.value}")
    assert case.statuses == {"a": status}
    case.retract(event)
    second = [line.replace("1.1", "1.2") for line in rows()]
    assert sorted(case.table()) == sorted([*rows(f"cancelled:{reason.value}"), *second])
    assert case.statuses == {"a": CarePlanStatus.ACTIVE}


@pytest.mark.parametrize("reason", [Reason.TREATMENT_CANCELLED, Reason.REASSIGNED])
def test_a_cancelled_treatment_cancels_all(reason: Reason) -> None:
    case = mixed()
    case.change_plan(cancelled=reason)
    assert case.table() == rows(f"cancelled:{reason.value}")
    assert case.statuses == {"a": CarePlanStatus.REVOKED}


def test_a_plan_with_nothing_left_is_completed_by_itself() -> None:
    case = record("2026-03-02T12:00")
    case.treat(protocol(step("only", days(1))), "2026-03-02T09:00")
    case.wait_until("2026-03-05T12:00")
    case.replan()
    assert case.statuses == {"a": CarePlanStatus.COMPLETED}


def test_a_draft_holds_all_and_a_draft_text_its_own_messages_only() -> None:
    case = record("2026-03-02T12:00", birth_date=BORN)
    case.treat(MIXED, "2026-03-02T09:00", approved=False)
    assert case.table() == rows("held:not_approved")
    case.change_plan(approved=True, approved_templates=frozenset({"review", "care", "goes_on"}))
    assert case.table() == rows(moves="held:not_approved")
    case.change_plan(approved_templates=None)
    assert case.table() == rows()


def test_a_session_booked_ends_the_asking_for_one() -> None:
    case = record("2026-03-02T12:00")
    case.treat(protocol(step("next", days(14), when=When.SESSION_UNBOOKED)), "2026-03-02T09:00")
    assert case.table() == ["next 1.1 scheduled 2026-03-16T10:00"]
    event = case.event(EventKind.SESSION_BOOKED)
    assert case.table() == ["next 1.1 cancelled:no_longer_applies 2026-03-16T10:00"]
    case.retract(event)
    assert case.table() == [
        "next 1.1 cancelled:no_longer_applies 2026-03-16T10:00",
        "next 1.2 scheduled 2026-03-16T10:00",
    ]


def test_healing_cleared_starts_its_steps_and_ends_those_that_stop_on_it() -> None:
    case = record("2026-03-02T12:00")
    case.treat(
        protocol(
            step("wait", days(20), stop_on=frozenset({StopOn.HEALING_CLEARED})),
            step("cleared", days(1), anchor=Anchor.HEALING_CLEARED),
            step("later", days(40), when=When.HEALING_CLEARED),
        ),
        "2026-03-02T09:00",
    )
    assert case.table() == ["wait 1.1 scheduled 2026-03-22T10:00"]
    case.event(EventKind.HEALING_CLEARED, "2026-03-02T11:00")
    assert case.table() == [
        "cleared 1.1 scheduled 2026-03-03T10:00",
        "wait 1.1 cancelled:healing_cleared 2026-03-22T10:00",
        "later 1.1 scheduled 2026-04-11T10:00",
    ]


def test_the_staff_call_at_three_weeks_is_for_the_review_that_was_not_held() -> None:
    call = step("call", days(21), audience=Audience.STAFF, when=When.UNTIL_REVIEW_DONE, review="two-week")
    case = record("2026-03-02T12:00")
    case.treat(protocol(call, reviews=(TWO_WEEK, SIX_WEEK)), "2026-03-02T09:00")
    case.event(EventKind.REVIEW_COMPLETED, review="six-week")
    assert case.table() == ["call 1.1 scheduled 2026-03-23T10:00"]
    case.event(EventKind.REVIEW_COMPLETED, review="two-week")
    assert case.table() == ["call 1.1 cancelled:review_completed 2026-03-23T10:00"]


PARTNER = protocol(
    step("ready", kind=EXERCISE, anchor=Anchor.PARTNER_RELEASED, phase=Phase.PARTNER, at="17:00"),
    step("week", days(7), kind=EXERCISE, anchor=Anchor.PARTNER_RELEASED, phase=Phase.PARTNER),
    step("alone", days(20), kind=EXERCISE, when=When.PARTNER_NOT_WANTED),
    step("solo", days(21), kind=EXERCISE, stop_on=frozenset({StopOn.PARTNER_RELEASED})),
)


def test_partner_steps_exist_only_after_release_and_end_with_its_revocation() -> None:
    case = record("2026-03-02T12:00")
    case.treat(PARTNER, "2026-03-02T09:00")
    assert case.table() == ["solo 1.1 scheduled 2026-03-23T10:00"]
    case.event(EventKind.PARTNER_RELEASED)
    released = [
        "ready 1.1 scheduled 2026-03-02T17:00",
        "week 1.1 scheduled 2026-03-09T10:00",
        "solo 1.1 cancelled:partner_released 2026-03-23T10:00",
    ]
    assert case.table() == released
    case.wait_until("2026-03-03T12:00")
    case.event(EventKind.PARTNER_REVOKED)
    revoked = [
        "ready 1.1 sent 2026-03-02T17:00",
        "week 1.1 cancelled:partner_revoked 2026-03-09T10:00",
        "solo 1.1 cancelled:partner_released 2026-03-23T10:00",
        "solo 1.2 scheduled 2026-03-23T10:00",
    ]
    assert case.table() == revoked
    case.wait_until("2026-03-10T12:00")
    case.event(EventKind.PARTNER_RELEASED)
    assert case.table("ready", "week") == [
        "ready 1.1 sent 2026-03-02T17:00",
        "week 1.1 cancelled:partner_revoked 2026-03-09T10:00",
        "week 1.2 scheduled 2026-03-17T10:00",
    ]
    assert case.open_questions() == [("date_moved", "ready", 1, "2026-03-02", "2026-03-10")]


def test_a_patient_who_does_not_want_the_partner_part_gets_the_other_way_and_none_of_it() -> None:
    case = record("2026-03-02T12:00")
    case.treat(PARTNER, "2026-03-02T09:00")
    case.event(EventKind.PARTNER_RELEASED, "2026-03-02T11:00")
    case.event(EventKind.PARTNER_NOT_WANTED)
    assert case.table() == [
        "ready 1.1 cancelled:partner_revoked 2026-03-02T17:00",
        "week 1.1 cancelled:partner_revoked 2026-03-09T10:00",
        "alone 1.1 scheduled 2026-03-22T10:00",
        "solo 1.1 cancelled:partner_released 2026-03-23T10:00",
        "solo 1.2 scheduled 2026-03-23T10:00",
    ]
