"""What a mail says and what its links open: the code, its end, and all that opens nothing."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from db.private_page import MessageLink, PageCodeKind, RaisedKind
from db.states import EventKind, StopReason
from scheduler import private_page
from scheduler.errors import InvalidInput, Refused
from scheduler.messages import Rendered
from scheduler.page_links import FIRST_SIGN, LINK_SIGNS, TOKEN_BYTES
from scheduler.settings import SHIPPED
from scheduler.word_lists import load_word_list
from scheduler.wording import lint_rendered
from tests.clinic import STAFF, Desk
from tests.people import AMINA, BEATRIX
from tests.private_parts import (
    CODE,
    PUBLIC,
    TOXIN,
    Phone,
    choose_code,
    gone,
    kinds,
    lines,
    patients_of,
    read_sent,
    send_all,
)

K = EventKind


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


@given(st.text(LINK_SIGNS, min_size=2 * TOKEN_BYTES, max_size=2 * TOKEN_BYTES))
def test_no_link_can_spell_a_word_that_must_not_be_seen(drawn: str) -> None:
    message = Rendered("A message for you", "", "Hello.", f'<a href="{PUBLIC}/l/{FIRST_SIGN}{drawn}">Open</a>', "en")
    for language in ("en", "de"):
        assert lint_rendered(message, [], load_word_list(language, [SHIPPED])) == []


@pytest.mark.parametrize("language", ["en", "de"])
def test_no_listed_word_is_made_of_the_signs_of_links(language: str) -> None:
    text = (SHIPPED / "wording" / f"{language}.txt").read_text(encoding="utf-8")
    words = {line.strip().rstrip("*") for line in text.splitlines() if line and line[0] not in "#["}
    assert len(words) > 50
    assert [word for word in words if set(word) <= set(LINK_SIGNS)] == []
