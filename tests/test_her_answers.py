"""What a patient said on her page, as staff read it: on the time line, in the trail, and what they may do about it."""

import pytest

from db.states import AddressFactKind, EventKind, Role
from scheduler import answers
from scheduler.answers import CheckIn, Questions
from tests.clinic import Desk
from tests.her_page import AT_HOME, opening
from tests.page_parts import AtWork, seen
from tests.people import AMINA
from web.event_rights import SAID
from web.timeline_words import _ADDRESS_FACTS

K = EventKind


@pytest.fixture
def work(sqlite_desk: Desk) -> AtWork:
    sqlite_desk.write_protocol(AT_HOME)
    sqlite_desk.approve_unseen()
    return AtWork(sqlite_desk)


async def test_what_the_patient_said_stands_on_the_time_line_and_its_text_only_for_clinicians(work: AtWork) -> None:
    desk = work.desk
    amina = desk.enter(AMINA)
    treatment_id = desk.treat(amina).treatment_id
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-08T14:00")
    hers = opening(desk, treatment_id)
    answers.check_in(desk.clinic, hers, CheckIn("not_yet", "4", "It was <sore>"))
    desk.tick()
    answers.pause(desk.clinic, hers, "2")
    desk.tick()
    answers.go_on(desk.clinic, hers)
    desk.tick()
    answers.confirm_visit(desk.clinic, hers, "two-week")
    desk.tick()
    questions = Questions({"pain_at_rest": "2", "pain_on_touch": ""}, ("leak", "dry"), "May I swim?")
    answers.answer_questions(desk.clinic, hers, "two-week", questions)
    desk.tick()
    answers.check_in(desk.clinic, hers, CheckIn("done", "8"))
    told = await seen(work.dana, f"/patients/{amina}")
    for part in (
        "Told how it is going · the patient, on the private page Pain 4 of 10 Answer not yet",
        "In the patient’s words It was <sore>",
        "Messages about the plan paused until Monday 7 December",
        "Pause ended early",
        "Confirmed the visit for the two-week review",
        "Answered the questions before the two-week review · the patient, on the private page Pain at rest 2 of 10",
        "Noticed leak, dry In the patient’s words May I swim?",
        "Asked for a call · the patient, on the private page Pain 8 of 10 Why pain was reported",
    ):
        assert part in told, part
    at_the_desk = await seen(work.rosa, f"/patients/{amina}")
    assert "Told how it is going" in at_the_desk
    for part in ("sore", "4 of 10", "not yet", "leak", "swim", "pain was reported"):
        assert part not in at_the_desk, part
    assert "Messages about the plan paused" not in (await seen(work.rosa, "/today")).partition("Done today")[2]


async def test_nobody_at_the_desk_says_it_in_the_patients_place(work: AtWork) -> None:
    desk = work.desk
    page = f"/treatments/{desk.treat(desk.enter(AMINA)).treatment_id}"
    for kind in (*SAID, K.EXERCISE_SET):
        refused = await work.dana.post(f"{page}/events", {"kind": kind.value, "at": "2026-11-30T12:00"})
        assert refused.status_code == 409, kind
    assert (await work.rosa.post(f"{page}/events", {"kind": K.EXERCISE_SET.value})).status_code == 403
    assert desk.audit("event.paused") == []


async def test_the_desk_ends_a_pause_and_a_clinician_takes_back_an_answer(work: AtWork) -> None:
    desk = work.desk
    hers = opening(desk, desk.treat(desk.enter(AMINA)).treatment_id)
    answers.check_in(desk.clinic, hers, CheckIn("done"))
    answers.pause(desk.clinic, hers, "1")
    ids = {event["action"]: event["subject_id"] for event in desk.audit() if event["action"].startswith("event.")}
    assert (await work.rosa.post(f"/events/{ids['event.checked_in']}/undo", {})).status_code == 403
    assert (await work.dana.post(f"/events/{ids['event.checked_in']}/undo", {})).status_code == 303
    assert (await work.rosa.post(f"/events/{ids['event.paused']}/undo", {})).status_code == 303


async def test_the_trail_names_the_patient_as_who_did_it(work: AtWork) -> None:
    desk = work.desk
    answers.check_in(desk.clinic, opening(desk, desk.treat(desk.enter(AMINA)).treatment_id), CheckIn("done"))
    told = await seen(work.come("otto", Role.AUDITOR), "/audit")
    assert "the patient, on the private page told how it is going" in told


def test_every_fact_about_an_address_has_words() -> None:
    assert set(_ADDRESS_FACTS) == set(AddressFactKind)
