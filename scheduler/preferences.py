"""Use case of the desk: at which hour and on which day a patient likes to be written to, as she can say on her page."""

from typing import Final
from uuid import UUID

from db import audit
from db.reminders import void_claims
from scheduler import patients
from scheduler.answers import times_to_choose
from scheduler.care_plans import replan
from scheduler.clinic import Clinic
from scheduler.errors import InvalidInput

WEEKDAYS: Final = {str(day) for day in range(7)}  # 0 is Monday


def prefer(clinic: Clinic, actor: str, patient_id: UUID, at: str, weekday: str) -> None:
    """Change both; empty means as the clinic does. The plan follows. Raises `InvalidInput`."""
    problems = []
    if at and at not in times_to_choose(clinic.settings.send_window):
        problems.append("at: choose a time from the list")
    if weekday and weekday not in WEEKDAYS:
        problems.append("weekday: choose a day from the list")
    if problems:
        raise InvalidInput(*problems)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        patient = patients.lock(session, patient_id)
        patient.preferred_time = at or None
        patient.preferred_weekday = int(weekday) if weekday else None
        void_claims(session, patient.id)
        audit.record(
            session, "patient.changed", "patient", patient.id, patient.id, ["preferred_time", "preferred_weekday"]
        )
        session.flush()
        replan(session, clinic, patient.id)
