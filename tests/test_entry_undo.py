"""Taking an entry back within its grace, on both databases: as if it had not been made, or not at all."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from db import patients as stored_patients
from db import treatments as stored_treatments
from db.states import DecisionKind, EventKind, StopReason, TreatmentStatus
from db.types import new_id
from scheduler import contacts, signing, treatments
from scheduler.entries import PatientForm
from scheduler.entry_undo import can_undo, undo
from scheduler.errors import NotFound, Refused
from scheduler.treatment_entry import Entered, Entry, enter
from scheduler.treatments import TreatmentForm
from tests.clinic import STAFF, Desk
from tests.one_database import on_one
from tests.people import AMINA, BEATRIX

NEW = PatientForm("Ines", "Moreau", email="ines@example.org", record_number="I-1", consent="all")


def entered(
    desk: Desk, patient_id: UUID | None = None, at: str = "2026-11-23T09:00", number: str = "I-1", **more: Any
) -> Entered:
    """A treatment entered just now, of a new patient unless one is named."""
    entry = Entry(
        new_id(),
        TreatmentForm("course", at, clinician="Dr Novak"),
        patient_id,
        None if patient_id else replace(NEW, record_number=number),
        sure=True,
        **more,
    )
    found = enter(desk.clinic, STAFF, entry)
    desk.tick()
    return found


def until(desk: Desk, treatment_id: UUID) -> datetime | None:
    """Until when it can be undone."""
    with desk.store.read() as session:
        return can_undo(desk.clinic, session, treatment_id)


def live(desk: Desk) -> list[tuple[object, ...]]:
    """What is still to come of all plans."""
    waiting = [row for row in desk.rows() if row.state in ("scheduled", "held")]
    return sorted((row.care_plan_id, row.step, row.occurrence, row.due_at, row.state, row.basis) for row in waiting)


def test_undone_with_a_new_patient_she_is_gone_and_can_be_entered_anew(desk: Desk) -> None:
    found = entered(desk, address_confirmed=True, booked_at="2026-12-08T14:00")
    assert until(desk, found.treatment_id) is not None
    undo(desk.clinic, "cli:another", found.treatment_id)
    desk.tick()
    with desk.store.read() as session:
        assert stored_patients.find_patient(session, found.patient_id) is None
        assert stored_patients.search_patients(session, "ines moreau") == []
        assert stored_patients.search_patients(session, "I-1") == []
        assert stored_patients.list_by_email(session, "ines@example.org") == []
        treatment = treatments.get(session, found.treatment_id)
        assert (treatment.status, treatment.unsigned_since) == (TreatmentStatus.CANCELLED, None)
    assert live(desk) == []
    assert {row.reason for row in desk.rows()} == {"treatment_cancelled"}
    told = [(event["actor"], event["action"]) for event in desk.audit()][-2:]
    assert told == [("cli:another", "treatment.undone"), ("cli:another", "patient.voided")]
    again = entered(desk, address_confirmed=True)
    assert again.patient_id != found.patient_id
    desk.nothing_left()


def test_undone_for_a_known_patient_the_plan_it_had_replaced_is_back(desk: Desk) -> None:
    known = desk.enter(AMINA)
    treatment_id = desk.treat(known).treatment_id
    desk.event(treatment_id, EventKind.REVIEW_BOOKED, "2026-12-08T14:00")
    desk.decide(desk.row("next-session"), DecisionKind.HOLD)
    before = live(desk)
    found = entered(desk, known, "2026-11-23T09:45")
    assert live(desk) != before
    undo(desk.clinic, STAFF, found.treatment_id)
    assert live(desk) == before
    with desk.store.read() as session:
        assert stored_patients.find_patient(session, known) is not None
        assert [note.text for note in stored_treatments.list_notes(session, known)] == [
            "Treatment entry undone at the desk"
        ]
    desk.nothing_left()


@on_one
def test_it_can_be_undone_until_the_grace_is_over_and_once(desk: Desk) -> None:
    began = desk.clock.now()
    first, second = entered(desk), entered(desk, desk.enter(AMINA))
    assert until(desk, first.treatment_id) == began + timedelta(minutes=10)
    undo(desk.clinic, STAFF, first.treatment_id)
    with desk.unchanged(), pytest.raises(Refused, match="too late"):
        undo(desk.clinic, STAFF, first.treatment_id)
    desk.tick(minutes=10)
    with desk.unchanged(), pytest.raises(Refused, match="too late"):
        undo(desk.clinic, STAFF, second.treatment_id)
    with pytest.raises(NotFound):
        undo(desk.clinic, STAFF, new_id())


@on_one
def test_a_form_that_was_saved_and_undone_says_so_when_it_is_sent_again(desk: Desk) -> None:
    entry = Entry(new_id(), TreatmentForm("course", "2026-11-23T09:00"), None, NEW)
    enter(desk.clinic, STAFF, entry)
    undo(desk.clinic, STAFF, entry.treatment_id)
    with desk.unchanged(), pytest.raises(Refused, match="was saved before, and that entry was undone"):
        enter(desk.clinic, STAFF, entry)


Touch = Callable[[Desk, UUID], object]
TOUCHES: dict[str, Touch] = {
    "something left": lambda desk, treatment_id: (
        desk.decide(desk.row("after-visit", treatment_id=treatment_id), DecisionKind.SEND_NOW),
        desk.send_due(),
    ),
    "an event": lambda desk, treatment_id: desk.event(treatment_id, EventKind.COMPLICATION),
    "a decision": lambda desk, treatment_id: desk.decide(
        desk.row("after-visit", treatment_id=treatment_id), DecisionKind.HOLD
    ),
    "a version": lambda desk, treatment_id: signing.fill_in(desk.clinic, STAFF, treatment_id, {"lot": "C1"}, ""),
    "a signature": lambda desk, treatment_id: signing.sign(desk.clinic, STAFF, treatment_id),
    "a date": lambda desk, treatment_id: treatments.move(desk.clinic, STAFF, treatment_id, "2026-11-23T08:00"),
}


@on_one
def test_what_something_else_rests_on_is_not_undone(desk: Desk) -> None:
    for name, touch in TOUCHES.items():
        found = entered(desk, address_confirmed=True, number=name)
        touch(desk, found.treatment_id)
        desk.tick()
        assert until(desk, found.treatment_id) is None, name
        with desk.unchanged(), pytest.raises(Refused, match="too late"):
            undo(desk.clinic, STAFF, found.treatment_id)


def test_what_was_given_here_from_another_record_is_no_entry_and_the_first_one_neither(desk: Desk) -> None:
    wrong, right = desk.enter(AMINA), desk.enter(BEATRIX)
    found = entered(desk, wrong)
    moved = treatments.reassign(desk.clinic, STAFF, found.treatment_id, right, "The wrong record was open.")
    desk.tick()
    assert (until(desk, found.treatment_id), until(desk, moved.treatment_id)) == (None, None)


Say = Callable[[Desk, UUID], object]
SAID: dict[str, Say] = {
    "not safe": lambda desk, patient_id: desk.stop(patient_id, StopReason.UNSAFE),
    "a note": lambda desk, patient_id: contacts.add_note(desk.clinic, STAFF, patient_id, "Allergic to latex."),
    "consent": lambda desk, patient_id: desk.change(patient_id, consent="none"),
    "a number": lambda desk, patient_id: desk.change(patient_id, phone="+44 20 7946 0101"),
    "another treatment": lambda desk, patient_id: desk.treat(patient_id, at="2026-11-20T09:00"),
}


@on_one
def test_a_patient_of_whom_more_is_known_stays(desk: Desk) -> None:
    for name, say in SAID.items():
        found = entered(desk, number=name)
        say(desk, found.patient_id)
        undo(desk.clinic, STAFF, found.treatment_id)
        desk.tick()
        with desk.store.read() as session:
            assert stored_patients.find_patient(session, found.patient_id) is not None, name
