"""The question whether an address is hers: when it goes, what holds or stops it, and which plan asks it."""

from datetime import date
from typing import Any

import pytest

from db.states import AddressState, DecisionKind, EventKind, Reason, StopReason, Topic
from scheduler.planning.facts import Rules
from scheduler.planning.protocol import CONFIRM
from tests.planning.build import Record, record
from tests.planning.recipes import EXERCISE, days, protocol, step, weekly

MIXED = protocol(step("plan", days(6), kind=EXERCISE), step("often", days(7), kind=EXERCISE, repeat=weekly(2)))
ASK = CONFIRM.key


def asked(pages: bool = True, now: str = "2026-03-02T12:00", **facts: Any) -> Record:
    """A patient with an address nobody has confirmed, and nothing else yet."""
    her: dict[str, Any] = {"address": AddressState.UNCONFIRMED, "email_version": 1}
    return record(now, rules=Rules(has_pages=pages), **her | facts)


def treated(**plan: Any) -> Record:
    case = asked()
    case.treat(MIXED, "2026-03-02T09:00", **plan)
    return case


def said(case: Record, plan: str = "a") -> str:
    """How the question of her present address stands."""
    row = case.row(ASK, case.patient.email_version, plan)
    return f"{row.state.value}:{row.reason.value}" if row.reason else row.state.value


def test_it_goes_at_once_and_every_other_message_waits_for_the_answer() -> None:
    case = treated()
    assert case.table(ASK) == [f"{ASK} 1.1 scheduled 2026-03-02T12:00"]
    assert {line.split()[2] for line in case.table("plan", "often")} == {"held:address_unconfirmed"}
    case.send(ASK)
    case.know(address=AddressState.CONFIRMED)
    assert {line.split()[2] for line in case.table("plan", "often")} == {"scheduled"}
    assert said(case) == "sent"


def test_each_address_is_asked_once_and_a_person_may_ask_again() -> None:
    case = treated()
    case.send(ASK)
    case.replan()
    assert case.table(ASK) == [f"{ASK} 1.1 sent 2026-03-02T12:00"]
    case.decide(DecisionKind.SEND_AGAIN, ASK)
    assert [line.split()[1:3] for line in case.table(ASK)] == [["1.1", "sent"], ["1.2", "scheduled"]]
    case.know(email_version=2, email_given_at=case.now)
    assert said(case) == "scheduled"
    assert case.row(ASK, 1).state.value == "cancelled"


def test_without_a_page_to_answer_on_nothing_asks() -> None:
    case = asked(pages=False)
    case.treat(MIXED, "2026-03-02T09:00")
    assert case.table(ASK) == []


@pytest.mark.parametrize(
    ("facts", "stands"),
    [
        ({"stopped": StopReason.LOST}, "held:stop_lost"),
        ({"stopped": StopReason.UNSAFE}, "cancelled:unsafe"),
        ({"stopped": StopReason.OPTED_OUT}, "cancelled:opted_out"),
        ({"consent": {}}, "held:consent_missing"),
        ({"consent": {Topic.REVIEWS: False}}, "held:consent_missing"),
        ({"consent": {Topic.REVIEWS: False, Topic.EXERCISES: True}}, "scheduled"),
        ({"consent": {Topic.REVIEWS: False, Topic.EXERCISES: False}}, "cancelled:consent_withdrawn"),
        ({"by_notice": True}, "scheduled"),
    ],
)
def test_what_is_known_about_her_rules_the_question_too(facts: dict[str, Any], stands: str) -> None:
    case = treated()
    case.know(**facts)
    assert said(case) == stands


@pytest.mark.parametrize(
    ("facts", "stands"),
    [
        ({"starts_held": True}, "held:hold"),  # an import that nobody has released yet
        ({"approved": False}, "held:not_approved"),
        ({"approved_templates": frozenset({"plan"})}, "held:not_approved"),
        ({"approved_templates": frozenset({CONFIRM.template})}, "scheduled"),
        ({"cancelled": Reason.BY_STAFF}, "cancelled:by_staff"),
    ],
)
def test_what_is_known_about_its_plan_rules_it(facts: dict[str, Any], stands: str) -> None:
    case = treated()
    case.change_plan(**facts)
    assert said(case) == stands


@pytest.mark.parametrize(
    ("kind", "stands"),
    [
        (EventKind.HOLD, "held:hold"),
        (EventKind.COMPLICATION, "scheduled"),  # it is about the address, not about what she does at home
        (EventKind.STOP, "cancelled:plan_stopped"),
        (EventKind.COMPLETE, "cancelled:plan_completed"),
    ],
)
def test_what_happens_in_its_plan_rules_it(kind: EventKind, stands: str) -> None:
    case = treated()
    case.event(kind)
    assert said(case) == stands


def test_nobody_under_the_age_of_the_protocol_is_asked() -> None:
    case = asked(birth_date=date(2012, 5, 1))
    case.treat(protocol(step("plan", days(6)), minimum_age=18), "2026-03-02T09:00")
    assert said(case) == "held:under_age"


def test_of_two_plans_the_one_that_runs_asks() -> None:
    case = asked()
    case.treat(MIXED, "2026-03-02T09:00", starts_held=True)
    other = protocol(step("plan", days(6)), key="other")
    case.treat(other, "2026-03-02T10:00", "b")
    assert case.table(ASK, plan="b") == []  # the first has the question already, held: it goes when that is released
    case.event(EventKind.STOP)
    assert (said(case), said(case, "b")) == ("cancelled:no_longer_applies", "scheduled")
    case.event(EventKind.HOLD, plan="b")
    assert said(case, "b") == "held:hold"
    case.event(EventKind.STOP, plan="b")
    assert said(case, "b") == "cancelled:plan_stopped"


def test_what_a_person_ended_is_asked_by_no_other_plan() -> None:
    case = treated()
    case.treat(protocol(step("plan", days(6)), key="other"), "2026-03-02T10:00", "b")
    case.decide(DecisionKind.CANCEL, ASK)
    case.event(EventKind.STOP)
    assert (said(case), case.table(ASK, plan="b")) == ("cancelled:by_staff", [])
