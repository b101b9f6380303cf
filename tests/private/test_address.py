"""Address first: the question whether an address is hers, and what follows from each answer."""

from db import patients as stored_patients
from db.private_page import RaisedKind
from db.records import Patient
from db.states import AddressState, EventKind
from tests.clinic import Desk
from tests.people import AMINA
from tests.private_parts import TOXIN, Phone, gone, lines, send_all

K = EventKind


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
