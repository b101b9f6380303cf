"""Use cases about what the patient's side raised for staff: a person has dealt with it, or not after all."""

from uuid import UUID

from sqlalchemy.orm import Session

from db import audit
from db import patients as stored_patients
from db import raised_lines as stored
from db import treatments as stored_treatments
from db.follow_up import CarePlan
from db.private_page import RaisedLine
from scheduler.clinic import Clinic
from scheduler.entries import NOTE_LENGTH, clean_text
from scheduler.errors import InvalidInput, NotFound, Refused


def close(clinic: Clinic, actor: str, line_id: UUID, note: str = "") -> None:
    """Close a line; what came of it becomes a note of the record. Raises `Refused` when it is closed already."""
    cleaned, problem = clean_text(note, "note", NOTE_LENGTH)
    if problem:
        raise InvalidInput(problem)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        line = _lock(session, line_id)
        if line.closed_at is not None:
            raise Refused("somebody has dealt with this meanwhile")
        stored.close(session, line)
        audit.record(session, "line.closed", "line", line.id, line.patient_id, [line.kind.value])
        if cleaned:
            treatment_id = session.get_one(CarePlan, line.care_plan_id).treatment_id
            added = stored_treatments.add_note(session, line.patient_id, cleaned, treatment_id)
            audit.record(session, "note.added", "note", added.id, line.patient_id, ["text"])


def reopen(clinic: Clinic, actor: str, line_id: UUID) -> None:
    """Open a closed line again. Raises `Refused` when it is open, or a newer one of its kind is."""
    with clinic.store.write(actor, clinic.clock.now()) as session:
        line = _lock(session, line_id)
        if line.closed_at is None or stored.find_open(session, line.care_plan_id, line.kind) is not None:
            raise Refused("a line like this is open already")
        stored.reopen(session, line)
        audit.record(session, "line.reopened", "line", line.id, line.patient_id, [line.kind.value])


def _lock(session: Session, line_id: UUID) -> RaisedLine:
    line = stored.find(session, line_id)
    if line is None:
        raise NotFound(f"there is no line {line_id}")
    stored_patients.lock_patient(session, line.patient_id)
    session.refresh(line)
    return line
