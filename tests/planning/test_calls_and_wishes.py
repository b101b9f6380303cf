"""A patient who asked for a call, and what she says of the next part: what waits for whom, and since when.

That partner steps exist only after a release is in `test_flags`.
"""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.states import (
    AddressState,
    Audience,
    DecisionKind,
    EventKind,
    Phase,
    Reason,
    ReminderState,
    StepKind,
    StopReason,
    Topic,
)
from scheduler.planning.patient_plan import Waits
from scheduler.planning.protocol import Anchor, StopOn, When
from tests.planning import facts_strategy as some
from tests.planning.build import Record, moment, record
from tests.planning.recipes import ADMINISTRATIVE, COURSE, EXERCISE, REVIEW, TWO_WEEK, days, protocol, step, weekly

MIXED = protocol(
    step("visit", days(3), kind=REVIEW),
    step("care", days(4)),
    step("paper", days(5), kind=ADMINISTRATIVE),
    step("plan", days(6), kind=EXERCISE),
    step("ring", days(7), kind=EXERCISE, audience=Audience.STAFF),
    step("together", days(8), anchor=Anchor.PARTNER_RELEASED, phase=Phase.PARTNER),
    reviews=(TWO_WEEK,),
)
OTHER = protocol(step("other-visit", days(9), kind=REVIEW), step("other-plan", days(10), kind=EXERCISE), key="other")
PARTNER = protocol(
    step("own-pace", days(20), kind=EXERCISE, when=When.PARTNER_NOT_WANTED),
    step("solo", days(21), kind=EXERCISE, stop_on=frozenset({StopOn.PARTNER_RELEASED})),
    step("together", days(7), kind=EXERCISE, anchor=Anchor.PARTNER_RELEASED, phase=Phase.PARTNER),
)
HELD = "held:asked_for_call"


def treated(recipe: object = MIXED) -> Record:
    case = record("2026-03-02T12:00")
    case.treat(recipe, "2026-03-02T09:00")  # type: ignore[arg-type]
    return case


def states(case: Record, plan: str = "a") -> dict[str, str]:
    """Each step's latest generation, in one word."""
    rows = [row for row in case.rows if row.plan_id == case.plans[plan].id]
    rows.sort(key=lambda row: row.generation)
    return {row.step: f"{row.state.value}:{row.reason.value}" if row.reason else row.state.value for row in rows}


def waits(case: Record, plan: str = "a") -> Waits:
    assert case.last is not None
    return case.last.waits[case.plans[plan].id]


# Asked for a call


def test_a_call_asked_for_holds_the_plan_at_home_and_lets_visits_aftercare_and_paper_go_on() -> None:
    case = treated()
    case.event(EventKind.PARTNER_RELEASED)
    case.event(EventKind.CALL_REQUESTED)
    assert states(case) == {
        "visit": "scheduled",
        "care": "scheduled",
        "paper": "scheduled",
        "plan": HELD,
        "ring": "scheduled",
        "together": HELD,  # whatever its kind: it belongs to the part with a partner
    }
    case.event(EventKind.CALL_CLOSED)
    assert set(states(case).values()) == {"scheduled"}


def test_it_holds_the_exercises_of_every_plan_of_hers_also_of_one_that_starts_later() -> None:
    case = treated()
    case.treat(OTHER, "2026-03-02T09:30", "b")
    case.event(EventKind.CALL_REQUESTED)
    assert states(case, "b") == {"other-visit": "scheduled", "other-plan": HELD}
    case.treat(protocol(step("third", days(3), kind=EXERCISE), key="third"), "2026-03-02T10:00", "c")
    assert states(case, "c") == {"third": HELD}
    case.event(EventKind.CALL_CLOSED)
    assert {**states(case, "b"), **states(case, "c")} == dict.fromkeys(
        ("other-visit", "other-plan", "third"), "scheduled"
    )


def test_two_plans_asked_from_wait_until_both_calls_are_closed() -> None:
    case = treated()
    case.treat(OTHER, "2026-03-02T09:30", "b")
    case.event(EventKind.CALL_REQUESTED)
    case.event(EventKind.CALL_REQUESTED, plan="b")
    case.event(EventKind.CALL_CLOSED)
    assert (states(case)["plan"], waits(case), waits(case, "b").call_asked_at) == (HELD, Waits(), case.now)
    case.event(EventKind.CALL_CLOSED, plan="b")
    assert states(case)["plan"] == "scheduled"


def test_asked_again_after_it_was_closed_holds_again_and_what_is_entered_late_counts_when_it_happened() -> None:
    case = treated()
    case.event(EventKind.CALL_REQUESTED, "2026-03-02T09:10")
    case.event(EventKind.CALL_CLOSED, "2026-03-02T10:00")
    assert states(case)["plan"] == "scheduled"
    again = case.event(EventKind.CALL_REQUESTED, "2026-03-02T11:00")
    assert (states(case)["plan"], waits(case).call_asked_at) == (HELD, moment("2026-03-02T11:00").instant)
    case.event(EventKind.CALL_CLOSED, "2026-03-02T09:30")  # about an earlier call
    assert states(case)["plan"] == HELD
    case.retract(again)
    assert (states(case)["plan"], waits(case)) == ("scheduled", Waits())


def test_an_exercise_whose_day_passes_while_she_waits_for_the_call_is_not_sent_late() -> None:
    case = treated()
    case.event(EventKind.CALL_REQUESTED)
    case.wait_until("2026-03-11T12:00")
    assert states(case)["plan"] == "missed:expired"
    case.event(EventKind.CALL_CLOSED, "2026-03-11T11:00")
    assert states(case)["plan"] == "missed:expired"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"address": AddressState.REFUSED}, HELD),
        ({"consent": {Topic.REVIEWS: True, Topic.EXERCISES: False}}, "cancelled:consent_withdrawn"),
        ({"stopped": StopReason.OPTED_OUT}, "cancelled:opted_out"),
    ],
)
def test_what_weighs_more_than_a_call_asked_for(change: dict[str, object], expected: str) -> None:
    case = treated()
    case.event(EventKind.CALL_REQUESTED)
    case.know(**change)
    assert states(case)["plan"] == expected


def test_a_complication_weighs_more_and_afterwards_the_call_still_holds() -> None:
    case = treated()
    case.event(EventKind.CALL_REQUESTED)
    case.event(EventKind.COMPLICATION)
    assert states(case)["plan"] == "held:complication"
    case.event(EventKind.COMPLICATION_RESOLVED)
    assert states(case)["plan"] == HELD


def test_a_person_may_not_pass_a_call_asked_for() -> None:
    case = treated()
    case.event(EventKind.CALL_REQUESTED)
    case.decide(DecisionKind.SEND_NOW, "plan")
    assert states(case)["plan"] == HELD
    case.event(EventKind.CALL_CLOSED)
    assert states(case)["plan"] == "scheduled"
    assert case.row("plan").ready_at < case.now  # what staff asked for happens now


def test_the_line_for_a_call_stays_after_the_plan_has_ended_and_goes_when_nobody_can_ring() -> None:
    case = treated()
    asked = case.now
    case.event(EventKind.CALL_REQUESTED)
    case.event(EventKind.STOP)
    assert waits(case).call_asked_at == asked
    case.know(stopped=StopReason.UNSAFE)  # no e-mail: all the more somebody rings
    assert waits(case).call_asked_at == asked
    for reason in (StopReason.DECEASED, StopReason.LEFT):
        case.know(stopped=reason)
        assert waits(case) == Waits()


# The wish for the next part


def test_a_wish_waits_for_a_release_and_nothing_of_the_next_part_is_planned_before() -> None:
    case = treated(PARTNER)
    wished = case.now
    case.event(EventKind.PARTNER_WANTED)
    assert states(case) == {"solo": "scheduled"}
    assert waits(case) == Waits(release_asked_at=wished)
    case.event(EventKind.PARTNER_RELEASED)
    assert states(case) == {"solo": "cancelled:partner_released", "together": "scheduled"}
    assert waits(case) == Waits()


def test_a_wish_after_not_wanted_ends_the_other_way_and_waits_again() -> None:
    case = treated(PARTNER)
    case.event(EventKind.PARTNER_NOT_WANTED, "2026-03-02T10:00")
    assert states(case)["own-pace"] == "scheduled"
    assert waits(case) == Waits()
    case.event(EventKind.PARTNER_WANTED, "2026-03-02T11:00")
    assert states(case)["own-pace"] == "cancelled:no_longer_applies"
    assert waits(case).release_asked_at == moment("2026-03-02T11:00").instant
    case.event(EventKind.PARTNER_NOT_WANTED, "2026-03-02T11:30")
    assert states(case)["own-pace"] == "scheduled"
    assert waits(case) == Waits()


@pytest.mark.parametrize("kind", [EventKind.PARTNER_REVOKED, EventKind.PARTNER_NOT_WANTED])
def test_a_release_taken_back_does_not_wait_for_another_until_she_wishes_it_again(kind: EventKind) -> None:
    case = treated(PARTNER)
    case.event(EventKind.PARTNER_WANTED, "2026-03-02T09:10")
    case.event(EventKind.PARTNER_RELEASED, "2026-03-02T10:00")
    case.event(kind, "2026-03-02T10:30")
    assert "scheduled" not in {states(case).get("together")}
    assert waits(case) == Waits()
    case.event(EventKind.PARTNER_WANTED, "2026-03-02T11:00")
    assert waits(case).release_asked_at == moment("2026-03-02T11:00").instant


def test_nobody_is_asked_to_release_a_part_of_a_plan_that_has_ended() -> None:
    case = treated(PARTNER)
    case.event(EventKind.PARTNER_WANTED)
    stopped = case.event(EventKind.STOP)
    assert waits(case) == Waits()
    case.retract(stopped)
    assert waits(case).release_asked_at is not None
    case.know(stopped=StopReason.DECEASED)
    assert waits(case) == Waits()


# Over any history


@given(
    facts=st.lists(
        st.one_of(some.plain_events, some.stops, some.bookings, some.addresses, some.corrections), max_size=8
    ),
    hours=st.lists(st.integers(0, 60), min_size=8, max_size=8),
)
def test_what_waits_for_a_person_is_what_the_events_say_and_what_she_waits_with_never_leaves(
    facts: list[some.Fact], hours: list[int]
) -> None:
    case = record("2026-03-02T12:00")
    case.treat(COURSE, "2026-03-02T09:00")
    case.treat(protocol(step("p", days(4), kind=EXERCISE, repeat=weekly(4)), key="other"), "2026-03-02T09:00", "b")
    for fact, later in zip(facts, hours, strict=False):
        case.now += timedelta(hours=later, minutes=1)
        fact.apply(case)
        asked = _open_call(case)
        gone = case.patient.stopped in (StopReason.DECEASED, StopReason.LEFT)
        assert (waits(case).call_asked_at is not None) is (asked and not gone)
        for row in case.rows:
            if asked and _of_the_course(case, row.step):
                assert row.state is not ReminderState.SCHEDULED
            if not asked:
                assert row.reason is not Reason.ASKED_FOR_CALL


def _open_call(case: Record) -> bool:
    said = [event for event in case.plans["a"].events if event.kind.name.startswith("CALL_")]
    said.sort(key=lambda event: (event.at.instant, event.recorded_at, event.id))
    return bool(said) and said[-1].kind is EventKind.CALL_REQUESTED


def _of_the_course(case: Record, key: str) -> bool:
    steps = [one for plan in case.plans.values() for one in plan.protocol.steps if one.key == key]
    return any(one.audience is Audience.PATIENT and one.kind is StepKind.EXERCISE for one in steps)
