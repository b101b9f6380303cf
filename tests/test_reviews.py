"""The outcome of a review on both databases: what follows from it is recorded with it, all of it or nothing."""

from typing import Any
from uuid import UUID

import pytest

from db import care_plans as stored
from db.states import EventKind, ReviewStatus
from scheduler import events, reviews, treatments
from scheduler.care_plans import facts_of
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.planning.course import Course, follow
from scheduler.reviews import OUTCOMES, ReviewForm, complete, release_partner_phase
from tests.clinic import STAFF, Desk
from tests.one_database import on_one
from tests.people import FENG

K = EventKind
DOCTOR = "staff:okafor"


def treated(desk: Desk) -> UUID:
    """Feng's treatment of 9 November, two weeks ago."""
    return desk.treat(desk.enter(FENG), "2026-11-09T08:30").treatment_id


def form(**changes: Any) -> ReviewForm:
    """The two-week review, held this morning at half past eight."""
    return ReviewForm(**{"review": "two-week", "at": "2026-11-23T08:30", "outcome": "progressing", **changes})


def done(desk: Desk, treatment_id: UUID, **changes: Any) -> None:
    """Write it down as a clinician."""
    complete(desk.clinic, DOCTOR, treatment_id, form(**changes))
    desk.tick()


def recorded(desk: Desk, treatment_id: UUID) -> list[tuple[str, str | None, dict[str, str]]]:
    """The events of the plan."""
    with desk.store.read() as session:
        plan = treatments.get_plan(session, treatment_id)
        return [(e.kind.value, e.review, e.fields) for e in stored.list_events(session, [plan.id])]


def course(desk: Desk, treatment_id: UUID) -> Course:
    """Where the plan stands."""
    with desk.store.read() as session:
        return follow(facts_of(session, desk.clinic, treatments.get_plan(session, treatment_id), "en"))


def test_everything_that_was_said_is_one_record_and_the_plan_follows(desk: Desk) -> None:
    treatment_id = treated(desk)
    done(
        desk,
        treatment_id,
        pains={"pain_at_rest": " 0 ", "pain_on_touch": "07", "pain_with_partner": ""},
        note=" Doing well. ",
        wish="wants",
        releases=True,
        next_review="six-week",
        next_at="2026-12-21T10:00",
        next_place="Room 2",
    )
    said = {"outcome": "progressing", "pain_at_rest": "0", "pain_on_touch": "7", "note": "Doing well.", "wish": "wants"}
    assert recorded(desk, treatment_id) == [
        ("review_completed", "two-week", said),
        ("partner_released", None, {"wish": "said at the review"}),
        ("review_booked", "six-week", {"place": "Room 2"}),
    ]
    assert (desk.stands("next-part"), desk.stands("visit-in-3-days", 2)) == ("scheduled", "scheduled")
    told = [event for event in desk.audit() if event["actor"] == DOCTOR]
    assert [event["action"] for event in told] == [
        "event.review_completed",
        "event.partner_released",
        "event.review_booked",
    ]
    assert "progressing" not in str(told)
    desk.nothing_left()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"outcome": ""}, "outcome: choose one"),
    ({"outcome": "fine"}, "outcome: is none of"),
    ({"pains": {"pain_at_rest": "11"}}, "pain_at_rest: write a whole number from 0 to 10"),
    ({"pains": {"pain_at_rest": "-1"}}, "pain_at_rest: "),
    ({"pains": {"pain_at_rest": "²"}}, "pain_at_rest: "),
    ({"pains": {"pain_at_rest": "3.5"}}, "pain_at_rest: "),
    ({"wish": ""}, "wish: the next part is released only when the patient wants it"),
    ({"wish": "not_wanted"}, "wish: the next part is released only"),
    ({"wish": "maybe", "releases": False}, "wish: is none of the answers"),
    ({"starts_solo": True}, "starts_solo: the part done alone would end at once"),
    ({"next_at": "2026-12-21"}, "next_at: "),
    ({"next_at": "2027-03-28T01:30"}, "next_at: "),
    ({"next_at": "2036-03-28T01:30"}, "at: "),
    ({"at": "2026-11-24T08:30"}, "at: review_completed at 2026-11-24T08:30 lies in the future"),
    ({"review": "ten-week"}, 'review: "ten-week" is none of'),
    ({"note": "a\x00b"}, "field note: contains control characters"),
    ({"next_at": "2026-12-21T10:00", "next_review": "ten-week"}, 'review: "ten-week" is none of'),
]


def test_a_wrong_answer_records_nothing_at_all(sqlite_desk: Desk) -> None:
    treatment_id = treated(sqlite_desk)
    everything: dict[str, Any] = {"wish": "wants", "releases": True, "next_at": "2026-12-21T10:00"}
    for changes, problem in WRONG:
        with sqlite_desk.unchanged(), pytest.raises(InvalidInput) as wrong:
            done(sqlite_desk, treatment_id, **(everything | changes))
        assert wrong.value.problems[0].startswith(problem), changes


def test_nothing_is_released_while_a_complication_is_open(sqlite_desk: Desk) -> None:
    desk, treatment_id = sqlite_desk, treated(sqlite_desk)
    desk.event(treatment_id, EventKind.COMPLICATION)
    with desk.unchanged(), pytest.raises(Refused, match="a complication is open"):
        done(desk, treatment_id, wish="wants", releases=True)
    with desk.unchanged(), pytest.raises(Refused, match="a complication is open"):
        release_partner_phase(desk.clinic, DOCTOR, treatment_id, "Yes, please.")
    desk.event(treatment_id, EventKind.COMPLICATION_RESOLVED)
    done(desk, treatment_id, wish="wants", releases=True)


def test_what_was_not_asked_is_not_in_the_record_and_every_outcome_can_be_written(sqlite_desk: Desk) -> None:
    treatment_id = treated(sqlite_desk)
    for outcome in OUTCOMES:
        done(sqlite_desk, treatment_id, outcome=outcome, pains={"pain_at_rest": ""})
    assert [fields for _, _, fields in recorded(sqlite_desk, treatment_id)] == [{"outcome": one} for one in OUTCOMES]


def test_the_same_form_sent_twice_is_written_down_once_and_a_correction_is_another(desk: Desk) -> None:
    treatment_id = treated(desk)
    done(desk, treatment_id, starts_solo=True)
    with desk.unchanged():
        complete(desk.clinic, DOCTOR, treatment_id, form(starts_solo=True))
    done(desk, treatment_id, pains={"pain_at_rest": "3"})
    assert [kind for kind, _, _ in recorded(desk, treatment_id)] == [
        "review_completed",
        "solo_started",
        "review_completed",
    ]


@on_one
def test_a_wish_without_a_release_waits_and_no_wish_ends_the_asking(desk: Desk) -> None:
    treatment_id = treated(desk)
    done(desk, treatment_id, wish="wants")
    assert course(desk, treatment_id).partner_wanted is not None
    assert [row for row in desk.rows() if row.step == "next-part"] == []
    done(desk, treatment_id, wish="not_wanted", pains={"pain_at_rest": "1"})
    assert course(desk, treatment_id).partner_not_wanted
    assert course(desk, treatment_id).partner_wanted is None


@on_one
def test_the_part_with_a_partner_is_never_released_without_the_patients_wish(desk: Desk) -> None:
    treatment_id = treated(desk)
    for wish in ("", "  \n "):
        with desk.unchanged(), pytest.raises(InvalidInput, match="without the patient's wish nothing is released"):
            release_partner_phase(desk.clinic, DOCTOR, treatment_id, wish)
    release_partner_phase(desk.clinic, DOCTOR, treatment_id, " She would like to. ")
    assert recorded(desk, treatment_id) == [("partner_released", None, {"wish": "She would like to."})]
    assert desk.stands("next-part") == "scheduled"


@on_one
def test_a_review_of_a_cancelled_treatment_is_refused_and_of_none_not_found(desk: Desk) -> None:
    treatment_id = treated(desk)
    with pytest.raises(NotFound):
        done(desk, UUID(int=1))
    treatments.cancel(desk.clinic, STAFF, treatment_id, "She did not come.")
    with desk.unchanged(), pytest.raises(Refused, match="was cancelled"):
        done(desk, treatment_id)


@on_one
def test_a_review_written_down_wrongly_can_be_taken_back_and_is_to_be_held_again(desk: Desk) -> None:
    treatment_id = treated(desk)
    done(desk, treatment_id)
    assert course(desk, treatment_id).reviews["two-week"].status is ReviewStatus.COMPLETED
    with desk.store.read() as session:
        (event,) = stored.list_events(session, [treatments.get_plan(session, treatment_id).id])
    events.retract(desk.clinic, DOCTOR, event.id, "Another patient.")
    assert course(desk, treatment_id).reviews["two-week"].status is ReviewStatus.DUE
    desk.tick()
    complete(desk.clinic, DOCTOR, treatment_id, form())  # the same again: the first no longer counts
    assert course(desk, treatment_id).reviews["two-week"].status is ReviewStatus.COMPLETED
    assert reviews.WORST_PAIN == 10
