"""What the patient's side raised, on the day's list: in the order of harm, in words, closed by a person, and back."""

from uuid import UUID

import pytest

from db import raised_lines as stored
from db.follow_up import CarePlan
from db.private_page import RaisedKind
from db.states import EventKind
from scheduler import answers, raised_lines, treatments
from scheduler.answers import CheckIn
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.worklist import LineKind, read_worklist
from tests.clinic import STAFF, Desk
from tests.counted import MOST, counting
from tests.her_page import AT_HOME, opening
from tests.one_database import on_one
from tests.page_parts import AtWork, place, seen
from tests.people import AMINA, BEATRIX
from tests.worklist_parts import kinds, worklist
from web.raised_words import closed_words

K = EventKind


@pytest.fixture
def work(sqlite_desk: Desk) -> AtWork:
    sqlite_desk.write_protocol(AT_HOME)
    sqlite_desk.approve_unseen()
    return AtWork(sqlite_desk)


def treated(desk: Desk) -> tuple[UUID, UUID]:
    """Amina, who may be rung, and her treatment."""
    amina = desk.enter(AMINA, phone="+44 20 7946 0101", call_safe="yes", contact_note="after 17:00")
    return amina, desk.treat(amina).treatment_id


def raised(
    desk: Desk, treatment_id: UUID, kind: RaisedKind, said: str | None = None, review: str | None = None
) -> UUID:
    """A line, as the patient's side raises it."""
    with desk.store.write("patient", desk.clock.now()) as session:
        plan: CarePlan = treatments.get_plan(session, treatment_id)
        line = stored.raise_line(session, plan, kind, said, review).id
    desk.tick()
    return line


@on_one
def test_all_that_is_raised_comes_in_the_order_of_harm(desk: Desk) -> None:
    _, treatment_id = treated(desk)
    for kind in reversed(RaisedKind):
        raised(desk, treatment_id, kind)
    assert kinds(desk) == [kind.value for kind in RaisedKind]
    assert {line.level for line in worklist(desk).lines} == {"amber"}


def test_its_questions_do_not_grow_with_the_lines(desk: Desk) -> None:
    def asked() -> int:
        with counting(desk.store) as found, desk.store.read() as session:
            read_worklist(session, desk.clinic)
        return len(found)

    counts = []
    for person in (AMINA, BEATRIX):
        treatment_id = desk.treat(desk.enter(person)).treatment_id
        desk.event(treatment_id, K.CALL_REQUESTED, fields={"because": "pain", "pain": "8"})
        for kind in RaisedKind:
            raised(desk, treatment_id, kind, "words", "two-week")
        counts.append(asked())
    assert counts[0] == counts[1] <= MOST


@on_one
def test_a_line_is_closed_once_with_a_note_and_opened_again_unless_another_is_open(desk: Desk) -> None:
    amina, treatment_id = treated(desk)
    line = raised(desk, treatment_id, RaisedKind.SILENT)
    with desk.unchanged(), pytest.raises(InvalidInput, match="note: "):
        raised_lines.close(desk.clinic, STAFF, line, "x" * 2_001)
    raised_lines.close(desk.clinic, STAFF, line, "She was away.")
    assert kinds(desk) == []
    assert [event["fields"] for event in desk.audit("line.closed")] == [["silent"]]
    assert len(desk.audit("note.added")) == 1
    with desk.unchanged(), pytest.raises(Refused):
        raised_lines.close(desk.clinic, STAFF, line)
    desk.tick()
    raised_lines.reopen(desk.clinic, STAFF, line)
    assert kinds(desk) == ["silent"]
    with desk.unchanged(), pytest.raises(Refused):
        raised_lines.reopen(desk.clinic, STAFF, line)
    raised_lines.close(desk.clinic, STAFF, line)
    raised(desk, treatment_id, RaisedKind.SILENT)
    with desk.unchanged(), pytest.raises(Refused):
        raised_lines.reopen(desk.clinic, STAFF, line)
    with desk.unchanged(), pytest.raises(NotFound):
        raised_lines.close(desk.clinic, STAFF, UUID(int=1))
    assert {event["patient_id"] for event in desk.audit("line.closed")} == {amina}


async def test_each_says_what_happened_and_how_to_reach_the_patient(work: AtWork) -> None:
    desk = work.desk
    amina, treatment_id = treated(desk)
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-07T14:00")
    answers.ask_other_time(desk.clinic, opening(desk, treatment_id), "two-week", "Mornings <are> better")
    raised(desk, treatment_id, RaisedKind.STOPPED_BY_LINK, "reviews, exercises")
    for kind in (RaisedKind.WRONG_PERSON, RaisedKind.CODE_LOCKED, RaisedKind.NOT_YET, RaisedKind.SILENT):
        raised(desk, treatment_id, kind)
    told = await seen(work.dana, "/today")
    for part in (
        "whoever reads the address said, today 09:00, that it is another person’s: it was removed, and messages wait",
        "messages about visits and the plan were stopped by a link in a mail, today 09:00; it may have",
        "the code of the private page was given wrongly too often, today 09:00: the page stays closed until a new one",
        "asks for another time for the two-week visit of Monday 7 December 14:00, today 09:00: “Mornings <are> better”",
        "answered “not yet” several times in a row, today 09:00",
        "has not answered for a while, noticed today 09:00",
    ):
        assert part in told, part
    assert told.count("+44 20 7946 0101 · after 17:00") == 6
    html = (await work.dana.get("/today")).text
    for path in (f"/treatments/{treatment_id}/book?review=two-week", f"/patients/{amina}/private-page"):
        assert f'href="{path}"' in html, path
    assert "not yet" not in await seen(work.rosa, "/today")


async def test_a_call_says_why_and_its_words_are_for_clinicians(work: AtWork) -> None:
    desk = work.desk
    hers = opening(desk, treated(desk)[1])
    answers.check_in(desk.clinic, hers, CheckIn("done", "8", "It burns"))
    told = await seen(work.dana, "/today")
    assert "reported pain 8 of 10: “It burns”, today 09:00; what belongs to the exercises waits" in told
    at_the_desk = await seen(work.rosa, "/today")
    assert "asked for a call, soon: a clinician sees why, today 09:00; what belongs to" in at_the_desk
    assert "+44 20 7946 0101" in at_the_desk
    for part in ("burns", "8 of 10", "pain"):
        assert part not in at_the_desk, part
    desk.tick()
    answers.ask_for_call(desk.clinic, hers, "red_flag", "Fever")
    desk.tick()
    answers.check_in(desk.clinic, hers, CheckIn("call"))
    told = await seen(work.dana, "/today")
    assert "reported pain 8 of 10: “It burns”; reported a warning sign: “Fever”; asked for a call, today 09:00" in told
    desk.tick()
    desk.event(hers.treatment_id, K.CALL_CLOSED)
    desk.tick()
    answers.check_in(desk.clinic, hers, CheckIn("call"))
    assert "burns" not in await seen(work.dana, "/today")


async def test_the_desk_closes_a_line_and_opens_it_again_from_what_was_done_today(work: AtWork) -> None:
    desk = work.desk
    line = raised(desk, treated(desk)[1], RaisedKind.OTHER_TIME, "Mornings", "two-week")
    done = await work.rosa.post(f"/lines/{line}/close", {"note": "Moved by telephone.", "back": "/today"})
    assert place(done) == "/today?done=line-closed"
    told = await seen(work.rosa, "/today")
    assert "Mornings" not in told
    assert f"{closed_words(RaisedKind.OTHER_TIME)} · Rosa Undo" in told
    assert (await work.rosa.post(f"/lines/{line}/close", {"back": "/today"})).status_code == 409
    assert place(await work.rosa.post(f"/lines/{line}/reopen", {"back": "/today"})) == "/today?done=line-reopened"
    told = await seen(work.rosa, "/today")
    assert "Mornings" in told
    assert "dealt with" not in told
    desk.tick()
    await work.rosa.post(f"/lines/{line}/close", {"back": "/today"})
    assert (await seen(work.rosa, "/today")).count("dealt with") == 1
    assert (await work.rosa.post(f"/lines/{UUID(int=1)}/close", {})).status_code == 404


def test_every_kind_has_a_line_of_its_own_and_words_for_when_it_is_done() -> None:
    assert all(LineKind(kind.value) and closed_words(kind) for kind in RaisedKind)
