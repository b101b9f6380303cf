"""Guessing what opens her page: at most five codes are looked at, however they come, and staff are told."""

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from uuid import UUID

import pytest

from db import raised_lines
from db.page_links import find_code
from db.private_page import PageCodeKind, RaisedKind
from scheduler import private_page
from scheduler.accounts import passwords
from scheduler.private_page import Code
from tests.clinic import STAFF, Desk
from tests.people import AMINA
from tests.private_parts import CODE, TOXIN, Phone, choose_code, lines, send_all


def test_of_twenty_tries_at_once_five_are_looked_at(desk: Desk, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked, lock, really = [], Lock(), passwords.matches

    def matches(secret: str, stored: str | None, key: bytes) -> bool:
        with lock:
            looked.append(secret)
        return really(secret, stored, key)

    monkeypatch.setattr(passwords, "matches", matches)
    opening = private_page.open_link(desk.clinic, token)
    assert opening is not None
    with ThreadPoolExecutor(20) as pool:
        got = list(pool.map(lambda n: private_page.try_code(desk.clinic, opening, f"guess {n}")[0], range(20)))
    assert len(looked) == 5
    assert got.count(Code.WRONG) == 4
    assert got.count(Code.LOCKED) == 16
    assert lines(desk) == [RaisedKind.CODE_LOCKED]
    assert private_page.try_code(desk.clinic, opening, CODE) == (Code.LOCKED, 0)


def test_a_page_stays_locked_through_other_mails_and_another_day(desk: Desk, patient_id: UUID, token: str) -> None:
    phone = Phone(desk.clinic)
    for _ in range(5):
        phone.send(token, "/code", code="a wrong word")
    desk.treat(patient_id)
    desk.tick(days=1)
    (sent,) = send_all(desk)
    phone.send(sent.page, "/code", code=CODE)
    assert "closed after five tries" in phone.words


def test_a_locked_page_is_told_again_when_its_line_was_closed_without_a_new_code(desk: Desk, token: str) -> None:
    phone = Phone(desk.clinic)
    for _ in range(5):
        phone.send(token, "/code", code="a wrong word")
    with desk.store.write(STAFF, desk.clock.now()) as session:
        (line,) = raised_lines.list_open(session, RaisedKind.CODE_LOCKED, 2)
        raised_lines.close(session, line)
    assert lines(desk) == []
    desk.tick(minutes=2)
    phone.send(token, "/code", code=CODE)
    assert lines(desk) == [RaisedKind.CODE_LOCKED]


def test_locked_she_still_reads_the_advice_and_can_ask_for_a_call(desk: Desk, token: str) -> None:
    phone = Phone(desk.clinic)
    for _ in range(5):
        phone.send(token, "/code", code="a wrong word")
    assert phone.open(token, "/help-first").status_code == 200
    assert "999" in phone.words
    assert phone.send(token, "/call").status_code == 200


def test_whoever_has_the_mail_alone_does_not_learn_that_she_wants_a_call(desk: Desk, token: str) -> None:
    her, somebody = Phone(desk.clinic), Phone(desk.clinic)
    her.enter(token)
    her.send(token, "/answer", answer="call")
    assert "You have asked for a call" in her.words
    for path in ("", "/help-first", "/help-first?asked=yes"):
        somebody.open(token, path)
        assert "You have asked for a call" not in somebody.words
    somebody.send(token, "/call")
    assert "You have asked for a call" in somebody.words


def test_whoever_has_the_code_is_not_shut_out_of_a_page_that_is_open(desk: Desk, token: str) -> None:
    her, somebody = Phone(desk.clinic), Phone(desk.clinic)
    her.enter(token)
    for _ in range(5):
        somebody.send(token, "/code", code="a wrong word")
    her.open(token)
    assert "Rest for a day" in her.words


@pytest.mark.sweep(0.3)
@pytest.mark.parametrize(
    "typed",
    [
        "1.1.99999999999999999999",
        "9" * 5_000 + ".1.1",
        "1." * 4_000,
        "31.2.1990",
        "0.0.0",
        "-1.-1.-1",
        "\u0661.\u0661.\u0661\u0669\u0669\u0660",
        "\ud800",
        "\x00",
        "",
        " ",
        "%00",
        "\ufdfa" * 60,
    ],
    ids=range(13),
)
def test_whatever_is_typed_for_a_birth_date_is_a_wrong_one(desk: Desk, typed: str) -> None:
    patient = desk.enter(AMINA, level="notice", birth_date="1990-03-07", call_safe="yes", contact_note="")
    private_page.set_code(desk.clinic, STAFF, patient, PageCodeKind.BIRTH_DATE, "")
    desk.treat(patient, protocol=TOXIN)
    desk.tick(hours=8)
    (sent,) = send_all(desk)
    opening = private_page.open_link(desk.clinic, sent.page)
    assert opening is not None
    assert private_page.try_code(desk.clinic, opening, typed) == (Code.WRONG, 4)


def test_a_code_longer_than_any_is_wrong(desk: Desk, patient_id: UUID, token: str) -> None:
    choose_code(desk.clinic, patient_id, "a" * 20 + "bcd")
    opening = private_page.open_link(desk.clinic, token)
    assert opening is not None
    assert private_page.try_code(desk.clinic, opening, "a" * 20 + "bcd" + " " * 40) == (Code.WRONG, 4)
    with desk.store.read() as session:
        code = find_code(session, patient_id)
        assert code is not None
        assert code.tries == 1


def test_what_is_stored_of_a_code_is_a_slow_hash_under_the_key_file(desk: Desk, patient_id: UUID) -> None:
    with desk.store.read() as session:
        code = find_code(session, patient_id)
    assert code is not None
    assert code.code_hash.startswith("$argon2id$")
    assert not passwords.matches("plumtree7", code.code_hash, b"another key file" * 2)
