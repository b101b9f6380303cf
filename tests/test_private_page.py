"""Her private page over HTTP: what opens it, what it shows, and what each of her answers does to the plan."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from db import patients as stored_patients
from db import raised_lines
from db.follow_up import CareEvent, Reminder
from db.private_page import MessageLink, PageCodeKind, RaisedKind, RaisedLine
from db.records import Patient
from db.states import AddressState, EventKind, Level, Reason, ReminderState, StepKind, StopReason, Topic
from scheduler import private_page
from scheduler.errors import InvalidInput, Refused
from scheduler.settings import SHIPPED
from tests.clinic import STAFF, Desk
from tests.people import AMINA, BEATRIX
from tests.private_parts import CODE, PUBLIC, WITH_PAGES, Phone, choose_code, read_sent, send_all

TOXIN = "vaginismus-toxin"
K = EventKind


@pytest.fixture
def desk(desk: Desk) -> Desk:
    """Patients of this clinic have pages."""
    desk = desk.with_settings(**WITH_PAGES)
    desk.write_protocol((SHIPPED / "protocols" / f"{TOXIN}.toml").read_text(encoding="utf-8"), TOXIN)
    desk.approve(TOXIN)
    return desk


@pytest.fixture
def patient_id(desk: Desk) -> UUID:
    """She reads notices, and has chosen a code."""
    found = desk.enter(AMINA, level="notice")
    choose_code(desk.clinic, found)
    return found


@pytest.fixture
def treatment_id(desk: Desk, patient_id: UUID) -> UUID:
    return desk.treat(patient_id, protocol=TOXIN).treatment_id


@pytest.fixture
def token(desk: Desk, treatment_id: UUID) -> str:
    """The first mail has left: the link in it."""
    desk.tick(hours=8)
    (sent,) = send_all(desk)
    return sent.page


def events(desk: Desk) -> list[CareEvent]:
    with desk.store.read() as session:
        rows = list(session.scalars(select(CareEvent).order_by(CareEvent.recorded_at, CareEvent.id)))
        for row in rows:
            assert row.fields is not None
        return rows


def kinds(desk: Desk) -> list[EventKind]:
    return [event.kind for event in events(desk)]


def lines(desk: Desk) -> list[RaisedKind]:
    with desk.store.read() as session:
        return [row.kind for row in session.scalars(select(RaisedLine).where(RaisedLine.closed_at.is_(None)))]


def rows(desk: Desk, kind: StepKind = StepKind.EXERCISE) -> list[Reminder]:
    with desk.store.read() as session:
        return list(session.scalars(select(Reminder).where(Reminder.kind == kind).order_by(Reminder.due_at)))


# what a mail says


def test_a_notice_says_only_that_a_message_waits(desk: Desk, treatment_id: UUID) -> None:
    desk.tick(hours=8)
    (sent,) = send_all(desk)
    text = sent.letter.rendered.text
    assert "A message for you waits" in text
    assert f"{PUBLIC}/l/{sent.page}" in text
    assert "rest" not in text.partition("----")[0].lower()
    assert sent.letter.rendered.subject == "A message for you"


def test_the_database_keeps_hashes_of_the_links_and_no_token(desk: Desk, token: str) -> None:
    with desk.store.read() as session:
        (link,) = session.scalars(select(MessageLink))
        assert token.encode() not in (link.page_hash, link.stop_hash)
        assert len(link.page_hash) == len(link.stop_hash) == 32
        assert link.page_hash != link.stop_hash


def test_without_a_public_address_no_link_is_made(desk: Desk, treatment_id: UUID) -> None:
    plain = desk.with_settings()
    plain.tick(hours=8)
    worker = plain.worker()
    for claim in plain.claim(worker):
        letter = plain.letter(claim)
        assert letter.links is None
        assert "/l/" not in letter.rendered.html
        assert "A message for you waits" not in letter.rendered.text


# what opens it


def test_the_code_opens_the_page_for_ten_minutes(desk: Desk, token: str) -> None:
    phone = Phone(desk.clinic)
    phone.open(token)
    assert "Please give your code" in phone.words
    assert "Rest for a day" not in phone.words
    phone.send(token, "/code", code=CODE.upper())
    assert "Rest for a day" in phone.words
    desk.tick(minutes=9)
    phone.open(token)
    assert "Rest for a day" in phone.words
    desk.tick(minutes=2)
    phone.open(token)
    assert "Please give your code" in phone.words


def test_five_wrong_codes_close_the_page_until_staff_give_another(desk: Desk, patient_id: UUID, token: str) -> None:
    phone = Phone(desk.clinic)
    for left in (4, 3, 2):
        phone.send(token, "/code", code="wrong word")
        assert f"{left} more times" in phone.words
    phone.send(token, "/code", code="wrong word")
    assert "once more" in phone.words
    phone.send(token, "/code", code="wrong word")
    assert "closed after five tries" in phone.words
    phone.send(token, "/code", code=CODE)
    assert "closed after five tries" in phone.words
    assert lines(desk) == [RaisedKind.CODE_LOCKED]
    choose_code(desk.clinic, patient_id, "another word")
    assert lines(desk) == []
    assert "Rest for a day" in phone.enter(token, "another word").text


def test_a_new_code_ends_what_the_old_one_opened(desk: Desk, patient_id: UUID, token: str) -> None:
    phone = Phone(desk.clinic)
    phone.enter(token)
    choose_code(desk.clinic, patient_id, "another word")
    phone.open(token)
    assert "Please give your code" in phone.words


def test_without_a_code_the_general_text_and_the_phone_are_there(desk: Desk) -> None:
    patient = desk.enter(BEATRIX, level="notice")
    desk.treat(patient, protocol=TOXIN)
    desk.tick(hours=8)
    (sent,) = send_all(desk)
    phone = Phone(desk.clinic)
    phone.open(sent.page)
    assert "You have not chosen a code" in phone.words
    assert desk.clinic.settings.clinic_phone in phone.words
    assert "How is it going" not in phone.words
    assert phone.send(sent.page, "/answer", answer="done").status_code == 200
    assert "Please give your code" in phone.words
    assert kinds(desk) == []


@pytest.mark.parametrize("typed", ["7.3.1990", "07/03/1990", "07031990", "1990-03-07"])
def test_her_birth_date_opens_it_only_if_she_chose_that(desk: Desk, typed: str) -> None:
    patient = desk.enter(AMINA, level="notice", birth_date="1990-03-07", call_safe="yes", contact_note="")
    private_page.set_code(desk.clinic, STAFF, patient, PageCodeKind.BIRTH_DATE, "")
    desk.treat(patient, protocol=TOXIN)
    desk.tick(hours=8)
    (sent,) = send_all(desk)
    assert "Rest for a day" in Phone(desk.clinic).enter(sent.page, typed).text


def test_her_birth_date_opens_nothing_where_care_is_asked_for(desk: Desk) -> None:
    patient = desk.enter(AMINA, birth_date="1990-03-07", call_safe="yes", contact_note="Ring after 17:00 only.")
    with pytest.raises(Refused, match="somebody near knows it"):
        private_page.set_code(desk.clinic, STAFF, patient, PageCodeKind.BIRTH_DATE, "")


@pytest.mark.parametrize("code", ["abc", "aaaa", "1111", AMINA.given_name, "   "])
def test_codes_that_are_guessed_first_are_refused(desk: Desk, patient_id: UUID, code: str) -> None:
    with pytest.raises(InvalidInput):
        choose_code(desk.clinic, patient_id, code)


# what opens nothing


def gone(phone: Phone, token: str, kind: str = "l") -> bool:
    answer = phone.open(token, kind=kind)
    return answer.status_code == 404 and "This page has ended" in phone.words


def test_a_link_serves_no_other_purpose_and_ends(desk: Desk, patient_id: UUID, treatment_id: UUID) -> None:
    desk.tick(hours=8)
    (sent,) = send_all(desk)
    phone = Phone(desk.clinic)
    assert not gone(phone, sent.page)
    assert gone(phone, sent.stop)
    assert gone(phone, sent.page, "u")
    assert not gone(phone, read_sent(sent.letter).page)
    private_page.revoke_links(desk.clinic, STAFF, patient_id)
    assert gone(phone, sent.page)


def test_a_link_ends_with_age_the_stop_link_much_later(desk: Desk, treatment_id: UUID) -> None:
    desk.change(UUID(str(patients_of(desk)[0])), level="general")
    desk.tick(hours=8)
    (sent,) = send_all(desk)
    phone = Phone(desk.clinic)
    desk.tick(days=59)
    assert not gone(phone, sent.page)
    desk.tick(days=2)
    assert gone(phone, sent.page)
    assert not gone(phone, sent.stop, "u")
    desk.tick(days=400)
    assert gone(phone, sent.stop, "u")


def patients_of(desk: Desk) -> list[UUID]:
    with desk.store.read() as session:
        return list(session.scalars(select(Patient.id)))


@pytest.mark.parametrize("reason", [StopReason.UNSAFE, StopReason.DECEASED, StopReason.LEFT])
def test_a_stop_closes_her_page(desk: Desk, patient_id: UUID, token: str, reason: StopReason) -> None:
    phone = Phone(desk.clinic)
    phone.enter(token)
    desk.stop(patient_id, reason)
    assert gone(phone, token)


def test_a_changed_address_ends_every_link(desk: Desk, patient_id: UUID, token: str) -> None:
    phone = Phone(desk.clinic)
    phone.enter(token)
    desk.change(patient_id, email="another@example.org")
    assert gone(phone, token)


def test_guesses_find_nothing_and_are_slowed_down(desk: Desk, token: str) -> None:
    phone = Phone(desk.clinic, "203.0.113.9")
    phone.client.headers["X-Forwarded-Proto"] = "https"
    codes = [
        phone.open(token[:-1] + letter).status_code for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabc" if letter != token[-1]
    ]
    assert set(codes) == {404, 429}
    assert codes.count(404) == 20
    assert phone.open(token).status_code == 429  # a hit is not looked for either
    desk.tick(minutes=2)
    assert phone.open(token).status_code == 200


@pytest.mark.parametrize("path", ["/today", "/", "/sign-in", "/patients", "/health", "/metrics", "/u", "/l", "/docs"])
def test_the_public_door_knows_no_page_of_staff(desk: Desk, path: str) -> None:
    phone = Phone(desk.clinic)
    answer = phone.client.get(path)
    assert answer.status_code == 404
    assert "This page has ended" in answer.text


# her answers


def started(desk: Desk, treatment_id: UUID) -> None:
    desk.event(treatment_id, K.SOLO_STARTED)


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
    assert "reads this on 24 November, 09:00" in phone.words
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
        desk.tick()
    assert lines(desk) == []
    phone.send(token, "/answer", answer="not_yet")
    assert lines(desk) == [RaisedKind.NOT_YET]


def test_she_goes_back_and_only_a_clinician_forward(desk: Desk, treatment_id: UUID, token: str) -> None:
    started(desk, treatment_id)
    fields = {"exercise": "own-touch", "times_per_week": "3", "minutes": "10"}
    desk.event(treatment_id, K.EXERCISE_SET, fields=fields)
    phone = Phone(desk.clinic)
    phone.enter(token)
    assert "Your own hand" in phone.words
    assert "3 times a week, 10 minutes each time" in phone.words
    for shown in ("Letting go", "Quiet breathing", "Quiet breathing"):
        phone.send(token, "/back")
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
    # Not the first: it had made room for another message of its day.
    before, visits = [row.due_at for row in rows(desk)[1:]], [row.due_at for row in rows(desk, StepKind.REVIEW)]
    phone = Phone(desk.clinic)
    phone.enter(token)
    phone.send(token, "/break", weeks="2")
    assert "You are taking a break until 7 December" in phone.words
    assert [row.due_at for row in rows(desk)[1:]] == [due + timedelta(days=14) for due in before]
    assert [row.due_at for row in rows(desk, StepKind.REVIEW)] == visits
    desk.tick(days=3)
    phone.enter(token)
    phone.send(token, "/go-on")
    assert [row.due_at for row in rows(desk)[1:]] == [due + timedelta(days=3) for due in before]


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
    fields = {"review": "two-week", "pain.at_rest": "1", "pain.on_touch": "", "noticed": ["leak", "fever"]}
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


# the address


def test_a_new_address_is_asked_first_and_nothing_else_goes_there(desk: Desk) -> None:
    patient = desk.enter(AMINA, confirmed=None, level="notice")
    desk.treat(patient, protocol=TOXIN)
    desk.tick(minutes=20)
    (sent,) = send_all(desk)
    assert sent.letter.rendered.subject == "Is this your address?"
    assert sent.stop == ""
    assert "Call 999" not in sent.letter.rendered.text
    desk.tick(hours=8)
    assert send_all(desk) == []
    phone = Phone(desk.clinic)
    phone.open(sent.page)
    assert "Is this your address?" in phone.words
    phone.send(sent.page, "/yes")
    assert "this address is yours" in phone.words
    desk.tick()
    with desk.store.read() as session:
        row = session.get_one(Patient, patient)
        assert stored_patients.find_address_state(session, row) is AddressState.CONFIRMED
    assert [one.letter.rendered.subject for one in send_all(desk)] == ["A message for you"]


def test_this_is_not_me_removes_the_address_and_tells_staff(desk: Desk) -> None:
    patient = desk.enter(AMINA, confirmed=None)
    desk.treat(patient, protocol=TOXIN)
    desk.tick(minutes=20)
    (sent,) = send_all(desk)
    phone = Phone(desk.clinic)
    phone.send(sent.page, "/no")
    assert "We have removed this address" in phone.words
    with desk.store.read() as session:
        assert session.get_one(Patient, patient).email is None
    assert lines(desk) == [RaisedKind.WRONG_PERSON]
    assert gone(phone, sent.page)
    desk.tick(days=2)
    assert send_all(desk) == []


def test_a_changed_address_is_asked_again(desk: Desk) -> None:
    patient = desk.enter(AMINA)
    desk.treat(patient, protocol=TOXIN)
    desk.change(patient, email="another@example.org")
    desk.tick(minutes=20)
    (sent,) = send_all(desk)
    assert sent.letter.email == "another@example.org"
    assert sent.letter.rendered.subject == "Is this your address?"


# leaving


def test_leaving_asks_for_the_code_again(desk: Desk, token: str) -> None:
    phone = Phone(desk.clinic)
    phone.enter(token)
    answer = phone.send(token, "/leave")
    assert answer.url.path == "/l/"
    assert answer.history[0].headers["clear-site-data"] == '"cache"'
    phone.open(token)
    assert "Please give your code" in phone.words


def test_no_page_gives_anything_away(desk: Desk, token: str) -> None:
    phone = Phone(desk.clinic)
    for answer in (phone.open(token), phone.enter(token), phone.open(token, "/choices"), phone.open(token, "/held")):
        assert "<title>Your page</title>" in answer.text
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "http" not in answer.text.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert len(answer.content) < 40_000
