"""What each of her answers does to the plan and to the staff's list."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from db import patients as stored_patients
from db import raised_lines
from db.follow_up import CareEvent
from db.private_page import RaisedKind
from db.records import Patient
from db.states import EventKind, Level, Reason, ReminderState, StepKind, Topic
from tests.clinic import STAFF, Desk
from tests.private_parts import (
    CODE,
    TOXIN,
    Phone,
    events,
    kinds,
    lines,
    rows,
    send_all,
    started,
)

K = EventKind


def test_an_answer_is_kept_and_moves_nothing(desk: Desk, treatment_id: UUID, token: str) -> None:
    started(desk, treatment_id)
    before = [(row.due_at, row.state) for row in rows(desk)]
    phone = Phone(desk.clinic)
    phone.enter(token)
    assert "Quiet breathing" in phone.words
    assert "Step 1 of 4" in phone.words
    phone.send(token, "/answer", answer="done", pain="3", words="It was all right.")
    assert "We have your answer" in phone.words
    assert "Step 1 of 4" in phone.words
    told = events(desk)[-1]
    assert (told.kind, told.recorded_by) == (K.CHECKED_IN, "patient")
    with desk.store.read() as session:
        fields = session.get_one(CareEvent, told.id).fields
    assert fields == {"answer": "done", "pain": "3", "words": "It was all right.", "exercise": "breathing"}
    assert [(row.due_at, row.state) for row in rows(desk)] == before


def test_a_form_without_an_answer_keeps_what_was_typed(desk: Desk, token: str) -> None:
    phone = Phone(desk.clinic)
    phone.enter(token)
    answer = phone.send(token, "/answer", pain="4", words="Some words")
    assert answer.status_code == 422
    assert "Some words" in answer.text
    assert 'value="4" checked' in answer.text
    assert K.CHECKED_IN not in kinds(desk)


def test_an_answer_written_too_long_is_sent_on_with_the_code(desk: Desk, token: str) -> None:
    phone = Phone(desk.clinic)
    phone.enter(token)
    desk.tick(minutes=11)
    phone.send(token, "/answer", answer="not_yet", words="A <b>long</b> story")
    assert "Please give your code" in phone.words
    assert "A &lt;b&gt;long&lt;/b&gt; story" in (phone.shown.text if phone.shown else "")
    phone.send(token, "/code", code=CODE, **{"kept.answer": "not_yet", "kept.words": "A <b>long</b> story"})
    assert "We have your answer" in phone.words
    assert kinds(desk)[-1] is K.CHECKED_IN


def test_asking_for_a_call_leads_to_the_urgent_advice_and_holds_the_plan(
    desk: Desk, treatment_id: UUID, token: str
) -> None:
    started(desk, treatment_id)
    phone = Phone(desk.clinic)
    phone.enter(token)
    phone.send(token, "/answer", answer="call", words="Please ring.")
    assert phone.shown is not None
    assert phone.shown.text.index("do not wait for us") < phone.shown.text.index("You have asked for a call")
    assert "Call 999" in phone.words or "call 999" in phone.words
    assert kinds(desk)[-2:] == [K.CHECKED_IN, K.CALL_REQUESTED]
    assert {row.reason for row in rows(desk) if row.state is ReminderState.HELD} == {Reason.ASKED_FOR_CALL}
    desk.event(treatment_id, K.CALL_CLOSED)
    assert Reason.ASKED_FOR_CALL not in {row.reason for row in rows(desk)}


def test_the_page_says_when_somebody_reads_it(desk: Desk, token: str) -> None:
    phone = Phone(desk.clinic)
    phone.open(token, "/help-first")  # Monday 17:00
    assert "reads this on Tuesday 24 November, 09:00" in phone.words
    desk.tick(hours=17)
    phone.open(token, "/help-first")
    assert "reads this now" in phone.words


def test_pain_above_the_clinics_threshold_asks_for_a_call(desk: Desk, treatment_id: UUID, token: str) -> None:
    started(desk, treatment_id)
    phone = Phone(desk.clinic)
    phone.enter(token)
    phone.send(token, "/answer", answer="done", pain="6")
    assert K.CALL_REQUESTED not in kinds(desk)
    phone.send(token, "/answer", answer="done", pain="7")
    assert kinds(desk)[-1] is K.CALL_REQUESTED
    assert {row.state for row in rows(desk)} == {ReminderState.HELD}


def test_two_not_yet_in_a_row_raise_a_line(desk: Desk, token: str) -> None:
    phone = Phone(desk.clinic)
    phone.enter(token)
    for answer in ("not_yet", "done", "not_yet"):
        phone.send(token, "/answer", answer=answer)
        desk.tick(minutes=2)
    assert lines(desk) == []
    phone.send(token, "/answer", answer="not_yet")
    assert lines(desk) == [RaisedKind.NOT_YET]
    with desk.store.write(STAFF, desk.clock.now()) as session:
        (line,) = raised_lines.list_open(session, RaisedKind.NOT_YET, 5)
        raised_lines.close(session, line)
    desk.tick(minutes=3)
    phone.enter(token)
    phone.send(token, "/answer", answer="not_yet")  # a person has dealt with those before
    assert lines(desk) == []
    desk.tick(minutes=3)
    phone.send(token, "/answer", answer="not_yet", words="again")
    assert lines(desk) == [RaisedKind.NOT_YET]


def test_she_goes_back_and_only_a_clinician_forward(desk: Desk, treatment_id: UUID, token: str) -> None:
    started(desk, treatment_id)
    fields = {"exercise": "own-touch", "times_per_week": "3", "minutes": "10"}
    desk.event(treatment_id, K.EXERCISE_SET, fields=fields)
    phone = Phone(desk.clinic)
    phone.enter(token)
    assert "Your own hand" in phone.words
    assert "3 times a week, 10 minutes each time" in phone.words
    for exercise, shown in (
        ("own-touch", "Letting go"),
        ("own-touch", "Letting go"),
        ("letting-go", "Quiet breathing"),
    ):
        assert exercise == "own-touch" or f'name="exercise" value="{exercise}"' in (
            phone.shown.text if phone.shown else ""
        )
        phone.send(token, "/back", exercise=exercise)  # a button tapped twice goes back once
        desk.tick()
        assert shown in phone.words
    assert kinds(desk).count(K.STEPPED_BACK) == 2


def test_an_exercise_with_a_partner_shows_only_while_released(desk: Desk, treatment_id: UUID, token: str) -> None:
    started(desk, treatment_id)
    desk.event(treatment_id, K.EXERCISE_SET, fields={"exercise": "together-touch"})
    phone = Phone(desk.clinic)
    phone.enter(token)
    assert "Time together" not in phone.words
    assert "With your trainer" in phone.words
    desk.event(treatment_id, K.PARTNER_RELEASED, fields={"wish": "said so"})
    phone.open(token)
    assert "Time together" in phone.words
    desk.event(treatment_id, K.PARTNER_REVOKED)
    phone.open(token)
    assert "Time together" not in phone.words


def test_a_break_moves_what_is_to_come_and_visits_stay(desk: Desk, treatment_id: UUID, token: str) -> None:
    started(desk, treatment_id)
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-08T14:00")
    # Not the first two: they had made room for other messages of their days.
    before, visits = [row.due_at for row in rows(desk)[2:]], [row.due_at for row in rows(desk, StepKind.REVIEW)]
    phone = Phone(desk.clinic)
    phone.enter(token)
    phone.send(token, "/break", weeks="2")
    assert "You are taking a break until 7 December" in phone.words
    assert [row.due_at for row in rows(desk)[2:]] == [due + timedelta(days=14) for due in before]
    assert [row.due_at for row in rows(desk, StepKind.REVIEW)] == visits
    desk.tick(days=3)
    phone.enter(token)
    phone.send(token, "/go-on")
    assert [row.due_at for row in rows(desk)[2:]] == [due + timedelta(days=3) for due in before]


def test_she_confirms_her_visit_or_asks_for_another_time(desk: Desk, treatment_id: UUID, token: str) -> None:
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-08T14:00", fields={"place": "Room 2"})
    phone = Phone(desk.clinic)
    phone.enter(token)
    assert "8 December, 14:00" in phone.words
    phone.send(token, "/time", review="two-week", answer="yes")
    assert "You said that you will come" in phone.words
    phone.send(token, "/time", review="two-week", answer="other", words="Thursdays")
    assert "We have it" in phone.words
    with desk.store.read() as session:
        (line,) = raised_lines.list_open(session, RaisedKind.OTHER_TIME, 5)
        assert (line.said, line.review) == ("Thursdays", "two-week")
    desk.tick()
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-10T14:00")
    assert lines(desk) == []
    phone.open(token)
    assert "You said that you will come" not in phone.words


def test_the_calendar_file_is_neutral_and_rises_with_every_change(desk: Desk, treatment_id: UUID, token: str) -> None:
    phone = Phone(desk.clinic)
    phone.enter(token)
    assert phone.open(token, "/appointment.ics").status_code == 404
    found = []
    for at, place in (("2026-12-08T14:00", "Room 2; left, first door"), ("2026-12-10T15:00", "Gynaecology ward")):
        desk.event(treatment_id, K.REVIEW_BOOKED, at, fields={"place": place})
        found.append(phone.open(token, "/appointment.ics").text)
    desk.event(treatment_id, K.REVIEW_CANCELLED)
    found.append(phone.open(token, "/appointment.ics").text)
    assert ["SEQUENCE:0" in found[0], "SEQUENCE:1" in found[1], "SEQUENCE:2" in found[2]] == [True] * 3
    assert "METHOD:PUBLISH" in found[0]
    assert "METHOD:CANCEL" in found[2]
    assert "STATUS:CANCELLED" in found[2]
    assert len({line for text in found for line in text.split("\r\n") if line.startswith("UID:")}) == 1
    assert r"LOCATION:Room 2\; left\, first door" in found[0]
    assert "LOCATION" not in found[1]
    assert all("SUMMARY:Appointment\r\n" in text for text in found)


def test_the_questions_before_a_visit(desk: Desk, treatment_id: UUID, token: str) -> None:
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-11-28T14:00")
    phone = Phone(desk.clinic)
    phone.enter(token)
    phone.open(token, "/questions")
    assert "Pain with a partner" not in phone.words
    fields: dict[str, Any] = {
        "review": "two-week",
        "pain.at_rest": "1",
        "pain.on_touch": "",
        "noticed": ["leak", "fever"],
    }
    phone.send(token, "/questions", words="Is that usual?", **fields)
    assert "The clinician will read it" in phone.words
    with desk.store.read() as session:
        told = session.scalars(select(CareEvent).where(CareEvent.kind == K.QUESTIONS_ANSWERED)).one()
        assert told.fields == {"pain_at_rest": "1", "noticed": "leak, fever", "words": "Is that usual?"}


def test_her_hour_and_day_move_what_is_to_come(desk: Desk, treatment_id: UUID, token: str) -> None:
    started(desk, treatment_id)
    phone = Phone(desk.clinic)
    phone.enter(token)
    phone.send(token, "/choices", at="18:00", weekday="5", language="en", level="general")
    assert "Saved." in phone.words
    weekly = [row for row in rows(desk) if row.step == "solo-week"]
    assert {(row.due_local[11:16], row.due_at.weekday()) for row in weekly} == {("18:00", 5)}
    with desk.store.read() as session:
        assert session.scalars(select(Patient)).one().level is Level.GENERAL


def test_choosing_another_language_changes_the_page(desk: Desk, token: str) -> None:
    phone = Phone(desk.clinic)
    phone.enter(token)
    phone.send(token, "/choices", language="de")
    assert "Gespeichert." in phone.words


@pytest.mark.parametrize(
    ("topic", "gone_topics"),
    [("plan", {Topic.EXERCISES}), ("visits", {Topic.REVIEWS}), ("all", {Topic.EXERCISES, Topic.REVIEWS})],
)
def test_she_stops_a_topic_at_once_and_staff_see_it(
    desk: Desk, patient_id: UUID, treatment_id: UUID, token: str, topic: str, gone_topics: set[Topic]
) -> None:
    started(desk, treatment_id)
    phone = Phone(desk.clinic)
    phone.enter(token)
    phone.send(token, "/stop", topic=topic)
    assert "It works at once" in phone.words
    with desk.store.read() as session:
        agreed = stored_patients.list_consent(session, [patient_id])[patient_id]
    assert {each for each, granted in agreed.items() if not granted} == gone_topics
    assert lines(desk) == [RaisedKind.STOPPED_BY_LINK]
    stopped = {row.reason for row in rows(desk) if row.state is ReminderState.CANCELLED}
    assert (stopped == {Reason.CONSENT_WITHDRAWN}) is (Topic.EXERCISES in gone_topics)


def test_one_click_stops_only_its_topic_and_a_look_at_it_nothing(desk: Desk, patient_id: UUID) -> None:
    desk.change(patient_id, level="general")
    desk.treat(patient_id, protocol=TOXIN)
    desk.tick(days=7, hours=2)
    sent = next(one for one in send_all(desk) if one.letter.rendered.subject != "A message for you")
    phone = Phone(desk.clinic)
    phone.open(sent.stop, kind="u")
    phone.client.head(f"/u/{sent.stop}")
    with desk.store.read() as session:
        before = stored_patients.list_consent(session, [patient_id])[patient_id]
    assert all(before.values())
    answer = phone.client.post(
        f"/u/{sent.stop}",
        content=b"List-Unsubscribe=One-Click",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        follow=False,
    )
    assert answer.status_code == 200
    with desk.store.read() as session:
        after = stored_patients.list_consent(session, [patient_id])[patient_id]
    assert after[Topic.REVIEWS] is False
    assert after[Topic.EXERCISES] is True
