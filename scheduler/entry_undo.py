"""Taking back an entry of the desk within its grace, as if it had not been made; a patient made with it goes with it.

Entering is in `scheduler.treatment_entry`, cancelling what has stood for longer in `scheduler.treatments`.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit, reminders
from db import care_plans as stored_plans
from db import patients as stored_patients
from db import treatments as stored_treatments
from db.engine import instant_of
from db.records import Treatment
from db.states import EventKind, ReminderState, TreatmentStatus
from scheduler import patients, treatments
from scheduler.care_plans import replan
from scheduler.clinic import Clinic
from scheduler.errors import Refused

UNDONE: Final = "Treatment entry undone at the desk"


def can_undo(clinic: Clinic, session: Session, treatment_id: UUID) -> datetime | None:
    """Until when an entry may be taken back as if it had not been made; None when it may not any more.

    The grace has to run still, nothing may have left, and nothing else may have been recorded about it; what was
    given here from another patient's record is no entry.
    """
    treatment = stored_treatments.find_treatment(session, treatment_id)
    if treatment is None or treatment.status is not TreatmentStatus.ACTIVE or treatment.import_batch_id is not None:
        return None
    until = treatment.entered_at + timedelta(minutes=clinic.settings.grace_minutes)
    if clinic.clock.now() >= until:
        return None
    rows = reminders.list_reminders(session, treatment_id=treatment_id)
    left = any(row.attempts or row.state is ReminderState.SENDING for row, _ in rows)
    plan_id = treatments.get_plan(session, treatment_id).id
    events_of_it = stored_plans.list_events(session, [plan_id], with_retracted=True)
    more = (
        any(event.recorded_at != treatment.entered_at for event in events_of_it)
        or stored_plans.list_decisions(session, [plan_id])
        or len(stored_treatments.list_versions(session, treatment_id)) > 1
        or stored_treatments.list_signatures(session, treatment_id)
        or stored_treatments.is_reassigned_copy(session, treatment_id)
    )
    return None if left or more else until


def undo(clinic: Clinic, actor: str, treatment_id: UUID) -> None:
    """Take back an entry within the grace: nothing of it has left. A patient made with it goes with it.

    Raises `Refused` when it is too late: then it is cancelled like any other.
    """
    with clinic.store.write(actor, clinic.clock.now()) as session:
        treatment = treatments.lock(session, treatment_id)
        if can_undo(clinic, session, treatment_id) is None:
            raise Refused("it is too late to undo this entry: cancel the treatment instead, with a reason")
        made_with_it = _was_made_with(session, treatment)
        treatment.status, treatment.unsigned_since = TreatmentStatus.CANCELLED, None
        stored_treatments.add_note(session, treatment.patient_id, UNDONE, treatment.id)
        audit.record(session, "treatment.undone", "treatment", treatment.id, treatment.patient_id, ["status"])
        session.flush()
        replan(session, clinic, treatment.patient_id)
        if made_with_it:
            patient = patients.get(session, treatment.patient_id)
            patient.voided_at, patient.record_number_index = instant_of(session), None
            audit.record(session, "patient.voided", "patient", patient.id, patient.id, ["voided_at"])


def _was_made_with(session: Session, treatment: Treatment) -> bool:
    """Whether the patient came with this entry and nothing else was recorded about her since."""
    patient = patients.get(session, treatment.patient_id)
    if not treatment.entered_at == patient.created_at == patient.changed_at:
        return False
    said_at = {
        *(row.recorded_at for row in stored_patients.list_stops(session, patient.id)),
        *(row.recorded_at for row in stored_treatments.list_notes(session, patient.id)),
        *(row.recorded_at for row in stored_patients.list_consent_rows(session, patient.id)),
        *(row.recorded_at for row in stored_patients.list_address_facts(session, patient.id)),
    }
    return said_at <= {patient.created_at} and len(stored_treatments.list_treatments(session, patient.id)) == 1


def was_undone(session: Session, treatment: Treatment) -> bool:
    """Whether a treatment is an entry that was taken back at the desk, rather than cancelled or given away."""
    notes = stored_treatments.list_notes(session, treatment.patient_id)
    return treatment.status is TreatmentStatus.CANCELLED and any(
        note.treatment_id == treatment.id and note.text == UNDONE for note in notes
    )


def find_booked_visit(session: Session, treatment: Treatment) -> str | None:
    """The wall time of the visit that was booked with an entry (`2026-12-08T14:00:00`), or None."""
    plan = treatments.get_plan(session, treatment.id)
    events = stored_plans.list_events(session, [plan.id])
    return next((event.occurred_local for event in events if event.kind is EventKind.REVIEW_BOOKED), None)
