"""Use cases about a patient: enter her, change her, stop and resume messages. One transaction each.

What staff may type is checked in `scheduler.entries`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit
from db import patients as stored
from db.patients import PatientEntry
from db.records import Patient
from db.reminders import settle_all, void_claims
from db.returned_mail import settle_reports
from db.states import AddressFactKind, AddressState, Level, Reason, StopReason, Topic
from scheduler.care_plans import replan
from scheduler.clinic import Clinic
from scheduler.entries import (
    CONSENT,
    NOTE_LENGTH,
    PatientForm,
    Said,
    check_change,
    check_patient,
    clean_text,
    read_reason,
)
from scheduler.errors import InvalidInput, NotFound, Refused

SHARED_ADDRESS = "another patient has the same e-mail address; mails to both will reach it"
CONSENT_WORDING = "1"  # the wording of docs/consent-wording.md that staff read out


@dataclass(frozen=True, slots=True)
class Entered:
    """A patient that was entered, and what staff should look at."""

    patient_id: UUID
    warnings: Sequence[str]


def add(clinic: Clinic, actor: str, form: PatientForm) -> Entered:
    """Enter a patient. Raises `InvalidInput` naming every wrong field; a shared address is only a warning."""
    now = clinic.clock.now()
    entry, said = check_patient(form, clinic.settings, now.date())
    with clinic.store.write(actor, now) as session:
        warnings = [SHARED_ADDRESS] if entry.email and stored.list_by_email(session, entry.email) else []
        return Entered(store_new(session, entry, said, form).id, warnings)


def store_new(session: Session, entry: PatientEntry, said: Said, form: PatientForm) -> Patient:
    """Store a checked patient with what she said, in the caller's transaction. Raises `InvalidInput`."""
    if entry.record_number and stored.find_by_record_number(session, entry.record_number):
        raise InvalidInput(f'record_number: "{entry.record_number}" belongs to another patient already')
    patient = stored.add_patient(session, entry)
    audit.record(session, "patient.added", "patient", patient.id, patient.id, _filled(form))
    _record_consent(session, patient, said.consent)
    if entry.level is Level.FULL:
        stored.add_consent(session, patient.id, Topic.FULL_TEXT, True, CONSENT_WORDING)
    if said.confirmed:
        stored.add_address_fact(session, patient, AddressFactKind.CONFIRMED)
    return patient


def change(clinic: Clinic, actor: str, patient_id: UUID, values: Mapping[str, str | None]) -> Sequence[str]:
    """Change what is known about a patient and replan her; returns warnings.

    `values` are the options of `patient set` by field name; an empty text removes an optional value. A new address
    is unconfirmed until `confirmed` says otherwise.
    """
    now = clinic.clock.now()
    fields, said = check_change(values, clinic.settings, now.date())
    with clinic.store.write(actor, now) as session:
        patient = lock(session, patient_id)
        number = fields.get("record_number")
        other = stored.find_by_record_number(session, number) if number else None
        if other is not None and other.id != patient.id:
            raise InvalidInput(f'record_number: "{number}" belongs to another patient already')
        email = fields.get("email")
        warnings = []
        if email and any(row.id != patient.id for row in stored.list_by_email(session, email)):
            warnings.append(SHARED_ADDRESS)
        if email and email != patient.email:
            settle_all(session, patient.id, Reason.REFUSED)
            settle_reports(session, patient.id)
        stored.change_patient(session, patient, fields)
        void_claims(session, patient.id)
        audit.record(session, "patient.changed", "patient", patient.id, patient.id, values.keys())
        _record_consent(session, patient, said.consent)
        if fields.get("level") == Level.FULL:
            stored.add_consent(session, patient.id, Topic.FULL_TEXT, True, CONSENT_WORDING)
        if said.confirmed:
            if patient.email_sealed is None:
                raise InvalidInput("there is no e-mail address to confirm")
            stored.add_address_fact(session, patient, AddressFactKind.CONFIRMED)
        session.flush()
        replan(session, clinic, patient.id)
        return warnings


def confirm(clinic: Clinic, actor: str, patient_id: UUID, seen: int | None = None) -> None:
    """Record that her address was read back and is right, and replan. Raises like `confirm_address`."""
    with clinic.store.write(actor, clinic.clock.now()) as session:
        patient = lock(session, patient_id)
        confirm_address(session, patient, seen)
        session.flush()
        replan(session, clinic, patient.id)


def confirm_address(session: Session, patient: Patient, seen: int | None = None) -> None:
    """Record that the present address was read back and is right, in the caller's transaction; planning follows it.

    `seen` is the version that was read. Raises `InvalidInput` when there is none, `Refused` when it is another by now.
    """
    if patient.email_sealed is None:
        raise InvalidInput("confirmed: there is no e-mail address to confirm")
    if seen is not None and seen != patient.email_version:
        raise Refused("the address was changed meanwhile: look at it and read it back again")
    if stored.find_address_state(session, patient) is not AddressState.CONFIRMED:
        stored.add_address_fact(session, patient, AddressFactKind.CONFIRMED)
        void_claims(session, patient.id)
        audit.record(session, "patient.changed", "patient", patient.id, patient.id, ["confirmed"])


def consent_of(word: str) -> Mapping[Topic, bool]:
    """What `all`, `reviews`, `exercises` or `none` says of each topic; empty for another word."""
    return CONSENT.get(word, {})


def stop(clinic: Clinic, actor: str, patient_id: UUID, reason: StopReason, note: str | None = None) -> None:
    """Stop all messages to a patient at once. Raises `InvalidInput` for a note that cannot be stored."""
    cleaned, problem = clean_text(note or "", "note", NOTE_LENGTH)
    if reason is StopReason.LOST:
        problem = 'reason: "lost" is noted by the program alone; say deceased, opted-out, unsafe, left or other'
    if problem:
        raise InvalidInput(problem)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        patient = lock(session, patient_id)
        stored.add_stop(session, patient.id, reason, cleaned or None)
        if reason in (StopReason.DECEASED, StopReason.LEFT):
            settle_all(session, patient.id)
            settle_reports(session, patient.id)
        audit.record(session, "patient.stopped", "patient", patient.id, patient.id, ["stop"])
        session.flush()
        replan(session, clinic, patient.id)


def resume(clinic: Clinic, actor: str, patient_id: UUID, reason: str) -> None:
    """Permit messages again; what is still ahead is planned anew. Raises `Refused` when nothing was stopped."""
    cleaned = read_reason(reason)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        patient = lock(session, patient_id)
        if stored.find_stop(session, patient.id) is None:
            raise Refused("messages to this patient are not stopped")
        stored.add_stop(session, patient.id, None, cleaned)
        audit.record(session, "patient.resumed", "patient", patient.id, patient.id, ["stop"])
        session.flush()
        replan(session, clinic, patient.id)


def get(session: Session, patient_id: UUID) -> Patient:
    """The patient with that id. Raises `NotFound`."""
    patient = stored.find_patient(session, patient_id)
    if patient is None:
        raise NotFound(f"there is no patient {patient_id}")
    return patient


def lock(session: Session, patient_id: UUID) -> Patient:
    """The patient, her row locked: whoever changes or plans her meanwhile waits. Raises `NotFound`."""
    get(session, patient_id)
    stored.lock_patient(session, patient_id)
    return get(session, patient_id)


def _record_consent(session: Session, patient: Patient, consent: Mapping[Topic, bool]) -> None:
    for topic, granted in consent.items():
        stored.add_consent(session, patient.id, topic, granted, CONSENT_WORDING)
    if consent:
        audit.record(session, "consent.recorded", "patient", patient.id, patient.id, consent.keys())


def _filled(form: PatientForm) -> list[str]:
    return [name for name in form.__dataclass_fields__ if getattr(form, name) is not None]
