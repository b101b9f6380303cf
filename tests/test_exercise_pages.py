"""The course of exercises on the screen: where she stands, what she answered, and setting the present exercise."""

from uuid import UUID

import pytest

from db.follow_up import CareEvent
from db.states import EventKind
from scheduler import answers, exercises, treatments
from scheduler.answers import CheckIn
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.exercises import Prescription
from tests.clinic import STAFF, Desk
from tests.her_page import AT_HOME, opening
from tests.one_database import on_one
from tests.page_parts import AtWork, place, seen, words
from tests.people import AMINA, BEATRIX

K = EventKind
TRAINER = Prescription("letting-go", "5", "10", "Amielle", "M2")


@pytest.fixture
def work(sqlite_desk: Desk) -> AtWork:
    sqlite_desk.write_protocol(AT_HOME)
    sqlite_desk.approve_unseen()
    return AtWork(sqlite_desk)


def at_home(desk: Desk) -> UUID:
    """Amina's treatment, on a protocol with exercises."""
    desk.write_protocol(AT_HOME)
    desk.approve_unseen()
    return desk.treat(desk.enter(AMINA)).treatment_id


def was_set(desk: Desk) -> list[dict[str, str]]:
    """What was set, in the order of setting."""
    ids = [UUID(event["subject_id"]) for event in desk.audit("event.exercise_set")]
    with desk.store.read() as session:
        return [session.get_one(CareEvent, each).fields for each in ids]


@on_one
def test_a_clinician_sets_the_present_exercise_with_its_dose_and_a_size_that_names_its_set(desk: Desk) -> None:
    treatment_id = at_home(desk)
    exercises.prescribe(desk.clinic, STAFF, treatment_id, TRAINER)
    assert was_set(desk) == [
        {"exercise": "letting-go", "times_per_week": "5", "minutes": "10", "size_label": "Amielle, M2"}
    ]
    with desk.store.read() as session:
        stands = exercises.read_course(session, desk.clinic, treatments.get_plan(session, treatment_id)).stands
    assert stands is not None
    assert (stands.place, stands.total, stands.size) == (2, 2, "Amielle, M2")
    for wrong, about in (
        (Prescription("none"), "exercise: "),
        (Prescription(""), "exercise: "),
        (Prescription("breathing", "0"), "times_per_week: "),
        (Prescription("breathing", "x"), "times_per_week: "),
        (Prescription("breathing", "3", "1000"), "minutes: "),
        (Prescription("breathing", size="3"), "size_set: "),
        (Prescription("breathing", size_set="4", size="3"), "size_set: "),
        (Prescription("breathing", size_set="Amielle"), "size: "),
        (Prescription("breathing", size_set="A\x00", size="3"), "size_set: "),
    ):
        with desk.unchanged(), pytest.raises(InvalidInput, match=about):
            exercises.prescribe(desk.clinic, STAFF, treatment_id, wrong)
    with desk.unchanged(), pytest.raises(NotFound):
        exercises.prescribe(desk.clinic, STAFF, UUID(int=1), TRAINER)


@on_one
def test_an_exercise_with_a_partner_is_set_only_while_that_part_is_released(desk: Desk) -> None:
    treatment_id = at_home(desk)
    together = Prescription("together-touch")
    with desk.unchanged(), pytest.raises(Refused, match="not released"):
        exercises.prescribe(desk.clinic, STAFF, treatment_id, together)
    desk.event(treatment_id, K.PARTNER_RELEASED)
    exercises.prescribe(desk.clinic, STAFF, treatment_id, together)
    assert was_set(desk) == [{"exercise": "together-touch"}]


async def test_the_page_says_where_she_stands_what_she_answered_and_that_she_paused(work: AtWork) -> None:
    desk = work.desk
    treatment_id = desk.treat(desk.enter(AMINA)).treatment_id
    page = f"/treatments/{treatment_id}"
    told = await seen(work.dana, page)
    assert "At home Exercise · not started Answers · no answer yet Set the first exercise" in told
    assert "At home" not in await seen(work.rosa, page)
    desk.event(treatment_id, K.SOLO_STARTED)
    exercises.prescribe(desk.clinic, STAFF, treatment_id, TRAINER)
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-07T14:00")
    hers = opening(desk, treatment_id)
    for form in (CheckIn("done", "3"), CheckIn("not_yet", "", "Too <tired>"), CheckIn("done")):
        desk.tick()
        answers.check_in(desk.clinic, hers, form)
    desk.tick()
    answers.confirm_visit(desk.clinic, hers, "two-week")
    answers.pause(desk.clinic, hers, "2")
    told = await seen(work.dana, page)
    for part in (
        "Amina has paused the messages about the plan until Monday 7 December. End the pause",
        "Exercise · letting go (2 of 2), 5 times a week, 10 minutes each, size: Amielle, M2",
        "Answers · in the last 28 days: 2 × done, 1 × not yet; paused once",
        "not yet, letting go, “Too <tired>”",
        "done, letting go, pain 3 of 10",
        "booked for Monday 7 December 14:00 Amina confirmed it today.",
        "Change the exercise",
    ):
        assert part in told, part
    at_the_desk = await seen(work.rosa, page)
    assert "Amina has paused the messages about the plan" in at_the_desk
    assert "Amina confirmed it today." in at_the_desk
    for part in ("tired", "Amielle", "pain 3", "letting go", "Change the exercise"):
        assert part not in at_the_desk, part
    desk.tick()
    answers.step_back(desk.clinic, hers)
    desk.tick()
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-08T14:00")
    desk.tick(days=40)
    told = await seen(work.dana, page)
    assert "breathing (1 of 2), 5 times a week, 10 minutes each Answers · no answer in the last 28 days" in told
    assert "went back once" in told
    assert "confirmed it" not in told
    assert "has paused" not in told


async def test_setting_it_on_the_screen_shows_what_is_wrong_and_keeps_what_was_typed(work: AtWork) -> None:
    desk = work.desk
    treatment_id = desk.treat(desk.enter(AMINA)).treatment_id
    form = f"/treatments/{treatment_id}/exercise"
    assert "Those of the part with a partner can be set once it is released" in await seen(work.dana, form)
    wrong = await work.dana.post(form, {"exercise": "breathing", "size": "<3>"})
    assert wrong.status_code == 422
    assert "Trainer set: name the set too" in words(wrong)
    assert "&lt;3&gt;" in wrong.text
    typed = {"exercise": "letting-go", "times_per_week": "3", "size_set": "Amielle", "size": "M2"}
    assert place(await work.dana.post(form, typed)) == f"/treatments/{treatment_id}?done=event-exercise-set"
    filled_in = (await work.dana.get(form)).text
    for part in ('value="letting-go" selected', 'value="Amielle"', 'value="M2"', 'value="3"'):
        assert part in filled_in, part
    assert (await work.rosa.get(form)).status_code == 403
    assert (await work.rosa.post(form, typed)).status_code == 403


async def test_a_treatment_without_a_course_has_no_such_form(sqlite_desk: Desk) -> None:
    work = AtWork(sqlite_desk)
    page = f"/treatments/{sqlite_desk.treat(sqlite_desk.enter(BEATRIX)).treatment_id}"
    assert "At home" not in await seen(work.dana, page)
    assert "has no course of exercises" in await seen(work.dana, f"{page}/exercise")
