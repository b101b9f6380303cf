"""Laws that compare two histories: the order of recording, a hold taken back, an event that was never true.

Laws over one history are in `test_laws`.
"""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from db.states import DecisionKind, EventKind, Reason
from scheduler.local_time import to_wall
from tests.planning import facts_strategy as some
from tests.planning.build import LONDON, Record, record
from tests.planning.facts_strategy import Fact
from tests.planning.recipes import COURSE, EXERCISE, days, protocol, step

OTHER = protocol(step("check", days(9)), step("plan", days(10), kind=EXERCISE), step("more", days(24)), key="other")
# Each kind of fact once: two of a kind are about the same thing, and then the later one counts.
ONE_OF_EACH: list[st.SearchStrategy[Fact]] = [
    st.integers(8, 60).map(lambda day: _at(EventKind.REVIEW_BOOKED, some.visit(day, 14), "two-week")),
    st.integers(40, 80).map(lambda day: _at(EventKind.REVIEW_BOOKED, some.visit(day, 14), "six-week")),
    st.just(Fact("solo", lambda case: case.event(EventKind.SOLO_STARTED, "2026-03-02T11:00"))),
    st.sampled_from([EventKind.PARTNER_RELEASED, EventKind.PARTNER_NOT_WANTED]).map(
        lambda kind: _at(kind, "2026-03-02T11:00")
    ),
    st.just(Fact("revoked", lambda case: case.event(EventKind.PARTNER_REVOKED, "2026-03-02T11:30"))),
    st.just(Fact("complication", lambda case: case.event(EventKind.COMPLICATION, "2026-03-02T11:00"))),
    st.just(Fact("resolved", lambda case: case.event(EventKind.COMPLICATION_RESOLVED, "2026-03-02T11:40"))),
    st.just(Fact("hold", lambda case: case.event(EventKind.HOLD, "2026-03-02T11:00"))),
    st.just(Fact("resume", lambda case: case.event(EventKind.RESUME, "2026-03-02T11:40"))),
    some.consents,
    some.addresses,
    some.zones,
    some.approvals,
    st.just(Fact("held by hand", lambda case: case.decide(DecisionKind.HOLD, "look-back"))),
    st.just(Fact("cancelled by hand", lambda case: case.decide(DecisionKind.CANCEL, "check-in"))),
    st.just(Fact("released by hand", lambda case: case.decide(DecisionKind.RESUME, "by-hand"))),
    st.integers(0, 20).map(
        lambda day: Fact(f"other {day}", lambda case: case.treat(OTHER, some.visit(day, 9), "other"))
    ),
    st.integers(3, 30).map(
        lambda day: Fact(f"again {day}", lambda case: case.treat(COURSE, some.visit(day, 9), "again"))
    ),
]


def _at(kind: EventKind, at: str, review: str | None = None) -> Fact:
    return Fact(f"{kind.value} {review} {at}", lambda case: case.event(kind, at, review))


@st.composite
def some_facts(draw: st.DrawFn) -> list[Fact]:
    chosen = draw(st.lists(st.sampled_from(range(len(ONE_OF_EACH))), min_size=2, max_size=7, unique=True))
    return [draw(ONE_OF_EACH[place]) for place in chosen]


def start(zone: str = LONDON) -> Record:
    case = record("2026-03-02T12:00", zone)
    case.treat(COURSE, "2026-03-02T09:00")
    return case


def after(facts: Sequence[Fact]) -> Record:
    case = start()
    for fact in facts:
        fact.apply(case)
    return case


@given(facts=some_facts(), data=st.data())
def test_the_order_of_recording_does_not_matter(facts: list[Fact], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(facts))
    one, other = after(facts), after(shuffled)
    assert one.live() == other.live()
    assert one.statuses == other.statuses


@pytest.mark.long
@given(facts=some_facts())
def test_planning_everything_at_once_gives_what_planning_each_fact_gave(facts: list[Fact]) -> None:
    gradually = after(facts)
    at_once = after(facts)
    assume(not any(plan.decisions for plan in at_once.plans.values()))  # decisions are about rows that exist
    at_once.rows = []
    at_once.replan()
    assert at_once.live() == gradually.live()


@pytest.mark.long
@settings(suppress_health_check=[HealthCheck.filter_too_much])  # most treatments of these facts lie behind
@given(
    before=some_facts(),
    between=st.lists(st.one_of(some.zones, some.addresses, some.corrections, some.bookings), max_size=3),
    held=st.sampled_from(
        [(EventKind.HOLD, EventKind.RESUME), (EventKind.COMPLICATION, EventKind.COMPLICATION_RESOLVED)]
    ),
)
def test_a_hold_given_back_before_anything_was_due_leaves_the_plan_as_if_never_held(
    before: list[Fact], between: list[Fact], held: tuple[EventKind, EventKind]
) -> None:
    plain, paused = after(before), after(before)
    assume(not any(row.due_at <= plain.now + timedelta(hours=2) for row in plain.rows))
    paused.event(held[0])
    for fact in between:
        fact.apply(paused)
    paused.now += timedelta(hours=1)
    paused.event(held[1])
    for fact in between:
        fact.apply(plain)
    plain.now += timedelta(hours=1)
    assume(plain.plans["a"].treated.instant > plain.now)
    plain.event(held[1])
    assert paused.live() == plain.live()


@given(before=some_facts(), wrong=st.one_of(some.plain_events, some.bookings, some.review_events, some.endings))
def test_an_event_taken_back_leaves_what_never_entering_it_leaves(before: list[Fact], wrong: Fact) -> None:
    never, retracted = after(before), after(before)
    known = {event.id for event in retracted.plans["a"].events}
    wrong.apply(retracted)
    (entered,) = [event.id for event in retracted.plans["a"].events if event.id not in known]
    retracted.retract(entered)
    assert retracted.live() == never.live()
    assert retracted.statuses == never.statuses
    assert retracted.open_questions() == never.open_questions()


@given(facts=some_facts(), wait=st.integers(1, 60))
def test_what_a_person_held_is_held_at_any_later_time(facts: list[Fact], wait: int) -> None:
    case = start()
    case.decide(DecisionKind.HOLD, "look-back")
    for fact in facts:
        fact.apply(case)
    row = case.row("look-back")
    case.wait_until(to_wall(case.now + timedelta(days=wait), LONDON).isoformat())
    case.replan()
    sent = [line for line in case.table("look-back") if " sent " in line]
    assert sent == []
    assert row.reason is not None
    assert row.reason is not Reason.PAST_ASK
