"""Use cases about speaking to a patient, and about notes: a contact by hand may replace a message of the plan."""

from uuid import UUID

from sqlalchemy.orm import Session

from db import audit
from db import treatments as stored
from db.reminders import find_reminder
from db.states import DecisionKind
from scheduler import decisions, patients
from scheduler.clinic import Clinic
from scheduler.entries import NOTE_LENGTH, clean_text
from scheduler.errors import InvalidInput, NotFound


def record_contact(clinic: Clinic, actor: str, patient_id: UUID, note: str, replaces: UUID | None = None) -> None:
    """Note that somebody spoke to her; `replaces` names the message that is not needed any more for it.

    Raises `InvalidInput` without a word about it, `Refused` when that message cannot be replaced.
    """
    cleaned, problem = clean_text(note, "note", NOTE_LENGTH)
    if problem or not cleaned:
        raise InvalidInput(problem or "note: write in a few words what was said")
    if replaces is not None:
        with clinic.store.read() as session:
            row = find_reminder(session, replaces)
        if row is None or row.patient_id != patient_id:
            raise NotFound(f"there is no reminder {replaces} of this patient")
        decisions.decide(clinic, actor, replaces, DecisionKind.DONE, cleaned)  # its note stands with the message
        return
    with clinic.store.write(actor, clinic.clock.now()) as session:
        _add_note(session, patient_id, f"Contact: {cleaned}", None)


def add_note(clinic: Clinic, actor: str, patient_id: UUID, text: str, treatment_id: UUID | None = None) -> None:
    """Add a dated clinical note. Raises `InvalidInput` for an empty one."""
    cleaned, problem = clean_text(text, "note", 20_000)
    if problem or not cleaned:
        raise InvalidInput(problem or "note: write the note")
    with clinic.store.write(actor, clinic.clock.now()) as session:
        _add_note(session, patient_id, cleaned, treatment_id)


def _add_note(session: Session, patient_id: UUID, text: str, treatment_id: UUID | None) -> None:
    patients.get(session, patient_id)
    note = stored.add_note(session, patient_id, text, treatment_id)
    audit.record(session, "note.added", "note", note.id, patient_id, ["text"])
