"""Use cases about erasing a patient for good: when it is allowed, what it does, and that a restored backup keeps to it.

What is deleted row by row is in `db.erasure`.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit, reminders
from db import patients as stored
from db import treatments as stored_treatments
from db.erasure import erase_rows, is_erased
from db.states import StopReason, TreatmentStatus
from scheduler.care_plans import replan
from scheduler.clinic import Clinic
from scheduler.errors import Refused
from scheduler.patients import get, lock
from scheduler.settings import Settings

ADULT_SINCE = 25  # a record of somebody treated under age is kept until her 25th birthday
OF_AGE = 18


@dataclass(frozen=True, slots=True)
class Retention:
    """Until when a record has to be kept, and why; nothing without a treatment."""

    until: date | None

    def forbids(self, today: date) -> bool:
        """Whether it has to be kept today."""
        return self.until is not None and today < self.until


def erased_file(settings: Settings) -> Path:
    """The list of erased patients' ids, beside the key file: applied after every restore, so never in a backup."""
    return settings.keys_file.with_name("erased.jsonl")


def find_retention(session: Session, clinic: Clinic, patient_id: UUID) -> Retention:
    """How long her record has to be kept: RETENTION_YEARS after the last treatment, a minor's until 25."""
    patient = get(session, patient_id)
    days = [
        stored_treatments.get_content(session, treatment.id).treated_at.date()
        for treatment in stored_treatments.list_treatments(session, patient_id)
        if treatment.status is TreatmentStatus.ACTIVE
    ]
    if not days:
        return Retention(None)
    until = _years_later(max(days), clinic.settings.retention_years)
    born = patient.birth_date
    if born is not None and min(days) < _years_later(born, OF_AGE):
        until = max(until, _years_later(born, ADULT_SINCE))
    return Retention(until)


def erase(clinic: Clinic, actor: str, patient_id: UUID) -> None:
    """Erase a patient: messages end, everything sealed about her is deleted, her key destroyed.

    Raises `Refused` while her record has to be kept, or while a message to her is being handed over.
    """
    now = clinic.clock.now()
    with clinic.store.write(actor, now) as session:
        patient = lock(session, patient_id)
        kept = find_retention(session, clinic, patient.id)
        if kept.forbids(now.date()):
            raise Refused(
                f"the record has to be kept until {kept.until}: {clinic.settings.retention_years} years after the last "
                "treatment (RETENTION_YEARS), a minor's until 25. Stop the messages with: patient stop"
            )
        if reminders.count_on_the_wire(session, patient.id):
            raise Refused("a message to this patient is being handed over; try again in a minute")
        _erase(session, clinic, patient.id)
    _remember(erased_file(clinic.settings), patient_id)


def erase_again(clinic: Clinic, actor: str, listed: Path) -> int:
    """Erase whom a restored backup brought back, by the list of erased patients; how many."""
    done = 0
    for patient_id in _list_erased(listed):
        with clinic.store.write(actor, clinic.clock.now()) as session:
            if not is_erased(session, patient_id):
                _erase(session, clinic, patient_id)
                done += 1
    return done


def _erase(session: Session, clinic: Clinic, patient_id: UUID) -> None:
    stored.add_stop(session, patient_id, StopReason.LEFT, None)  # ends lines for staff too
    reminders.void_claims(session, patient_id)
    reminders.settle_all(session, patient_id)
    session.flush()
    replan(session, clinic, patient_id)
    session.flush()
    erase_rows(session, patient_id)
    audit.record(session, "patient.erased", "patient", patient_id, patient_id)


def _years_later(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:  # 29 February
        return day.replace(year=day.year + years, month=3, day=1)


def _remember(path: Path, patient_id: UUID) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, json.dumps({"patient": str(patient_id)}).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _list_erased(path: Path) -> Iterator[UUID]:
    if path.exists():
        for line in path.read_text().splitlines():
            yield UUID(json.loads(line)["patient"])
