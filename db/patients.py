"""Queries and writes about patients: who she is, what she agreed to, her address, what stops messages.

What follows from a change is decided in `scheduler.patients`; this file stores and finds.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from db.engine import actor_of, instant_of
from db.follow_up import Reminder
from db.records import AddressFact, Consent, NamePrefix, Patient, PatientKey, PatientStop
from db.sealed import learn_keys, vault_of
from db.states import AddressFactKind, AddressState, CallSafe, Level, StopReason, Topic
from db.types import new_id
from db.vault import normal

SEALED_FIELDS = (
    "given_name",
    "family_name",
    "preferred_name",
    "email",
    "phone",
    "birth_date",
    "contact_note",
    "record_number",
)
PLAIN_FIELDS = ("time_zone", "language", "level", "call_safe")
SEARCH_LIMIT = 50  # hits that are opened and sorted; more would show more names than anyone reads


@dataclass(frozen=True, slots=True)
class PatientEntry:
    """What staff enter about a patient; absent values are None."""

    given_name: str
    family_name: str
    time_zone: str
    language: str
    level: Level
    call_safe: CallSafe = CallSafe.ASK
    preferred_name: str | None = None
    email: str | None = None
    phone: str | None = None
    birth_date: date | None = None
    contact_note: str | None = None
    record_number: str | None = None


def add_patient(session: Session, entry: PatientEntry, import_batch_id: UUID | None = None) -> Patient:
    """Store a new patient with her own data key and her search keys."""
    vault = vault_of(session)
    at = instant_of(session)
    patient = Patient(
        id=new_id(),
        created_at=at,
        changed_at=at,
        time_zone=entry.time_zone,
        language=entry.language,
        level=entry.level,
        call_safe=entry.call_safe,
        import_batch_id=import_batch_id,
        email_version=1 if entry.email else 0,
        email_given_at=at if entry.email else None,
    )
    wrapped = vault.make_data_key(patient.id)
    session.add(patient)
    _set_sealed(
        session,
        patient,
        {
            "given_name": entry.given_name,
            "family_name": entry.family_name,
            "preferred_name": entry.preferred_name,
            "email": entry.email,
            "phone": entry.phone,
            "birth_date": entry.birth_date.isoformat() if entry.birth_date else None,
            "contact_note": entry.contact_note,
            "record_number": entry.record_number,
        },
    )
    session.flush()
    session.add(PatientKey(patient_id=patient.id, wrapped=wrapped))
    _write_prefixes(session, patient)
    return patient


def change_patient(session: Session, patient: Patient, values: dict[str, str | None]) -> None:
    """Change sealed or plain fields; search keys and the address version follow."""
    sealed = {name: value for name, value in values.items() if name in SEALED_FIELDS}
    if "email" in sealed and sealed["email"] != patient.email:
        patient.email_version += 1
        patient.email_given_at = instant_of(session) if sealed["email"] else None
    _set_sealed(session, patient, sealed)
    for name in PLAIN_FIELDS:
        if name in values:
            setattr(patient, name, values[name])
    patient.changed_at = instant_of(session)
    session.flush()
    if {"given_name", "family_name", "preferred_name"} & sealed.keys():
        session.execute(delete(NamePrefix).where(NamePrefix.patient_id == patient.id))
        _write_prefixes(session, patient)


def _set_sealed(session: Session, patient: Patient, values: dict[str, str | None]) -> None:
    vault = vault_of(session)
    for name, value in values.items():
        setattr(patient, "birth_date_text" if name == "birth_date" else name, value)
    for name in ("email", "record_number"):
        if name in values:
            value = values[name]
            setattr(patient, f"{name}_index", vault.blind(name, value) if value else None)


def _write_prefixes(session: Session, patient: Patient) -> None:
    names = [name for name in (patient.given_name, patient.family_name, patient.preferred_name) if name]
    prefixes = vault_of(session).name_prefixes(names)
    if prefixes:
        session.execute(insert(NamePrefix), [{"prefix": prefix, "patient_id": patient.id} for prefix in prefixes])


def find_patient(session: Session, patient_id: UUID) -> Patient | None:
    """The patient with that id, or None. An undone import's patient is not found."""
    patient = session.get(Patient, patient_id)
    return None if patient is None or patient.voided_at else patient


def find_known(session: Session, patient_ids: Collection[UUID]) -> set[UUID]:
    """Of these ids those of patients in this database, whatever became of their entry."""
    return set(session.scalars(select(Patient.id).where(Patient.id.in_(patient_ids))))


def lock_patients_of(session: Session, reminder_ids: Sequence[UUID]) -> None:
    """Lock whom these reminders are for, always in the same order: before the reminders, as planning does."""
    if reminder_ids and session.get_bind().dialect.name != "sqlite":  # where the one writer is alone anyway
        theirs = select(Patient.id).join(Reminder, Reminder.patient_id == Patient.id).order_by(Patient.id)
        query = theirs.where(Reminder.id.in_(reminder_ids)).with_for_update(of=Patient, key_share=True)
        session.execute(query).all()


def lock_patient(session: Session, patient_id: UUID) -> Patient | None:
    """The patient, her row locked for the rest of the transaction: all planning of her is in line behind it.

    Not against rows that point at her (NO KEY UPDATE): a mark holds her reminder and inserts an attempt of hers, and
    would wait for us while we wait for that reminder.
    """
    query = select(Patient).where(Patient.id == patient_id).with_for_update(key_share=True)
    # What was read before the wait for the lock may be older than what its holder has committed.
    return session.scalar(query.execution_options(populate_existing=True))


def find_by_record_number(session: Session, record_number: str) -> Patient | None:
    """The patient with that record number, or None."""
    index = vault_of(session).blind("record_number", record_number)
    return session.scalar(select(Patient).where(Patient.record_number_index == index, Patient.voided_at.is_(None)))


def list_by_email(session: Session, email: str) -> list[Patient]:
    """Patients who share an address."""
    index = vault_of(session).blind("email", email)
    query = select(Patient).where(Patient.email_index == index, Patient.voided_at.is_(None))
    return list(session.scalars(query.order_by(Patient.id)))


def list_patients(session: Session, limit: int | None = None) -> list[Patient]:
    """Patients, the last changed first."""
    query = select(Patient).where(Patient.voided_at.is_(None)).order_by(Patient.changed_at.desc(), Patient.id)
    patients = list(session.scalars(query.limit(limit)))
    learn_keys(session, [patient.id for patient in patients])
    return patients


def list_languages(session: Session) -> list[str]:
    """The languages that patients are written to in."""
    return list(session.scalars(select(Patient.language).where(Patient.voided_at.is_(None)).distinct()))


def search_patients(session: Session, typed: str) -> list[Patient]:
    """Patients whose name parts begin with each of the typed words, or whose record number it is; at most 50."""
    vault = vault_of(session)
    words = [word for word in normal(typed).replace("-", " ").split() if len(word) >= 2]
    hits: list[Patient] = []
    exact = find_by_record_number(session, typed) if typed.strip() else None
    if exact:
        hits.append(exact)
    if words:
        query = select(Patient).where(Patient.voided_at.is_(None)).order_by(Patient.changed_at.desc())
        for word in words:
            having = select(NamePrefix.patient_id).where(NamePrefix.prefix == vault.prefix(word))
            query = query.where(Patient.id.in_(having))
        found = list(session.scalars(query.limit(SEARCH_LIMIT)))
        learn_keys(session, [patient.id for patient in found])
        # The index keeps 10 letters and 8 bytes: what it let through by chance is dropped here.
        hits += [patient for patient in found if patient is not exact and _matches(patient, words)]
    return hits[:SEARCH_LIMIT]


def list_alike(
    session: Session, given_name: str, family_name: str, birth_date: date | None, email: str | None
) -> list[Patient]:
    """Patients who may be the same person: the same address, or the same names and no other birth date."""
    found = {patient.id: patient for patient in (list_by_email(session, email) if email else ())}
    words = normal(f"{given_name} {family_name}").replace("-", " ").split()
    if normal(given_name) and normal(family_name):
        for patient in search_patients(session, " ".join(word for word in words if len(word) >= 2)):
            known = patient.birth_date
            if known is None or birth_date is None or known == birth_date:
                found.setdefault(patient.id, patient)
    learn_keys(session, found)
    return list(found.values())


def _matches(patient: Patient, words: Sequence[str]) -> bool:
    names = (patient.given_name, patient.family_name, patient.preferred_name)
    parts = [part for name in names if name for part in normal(name).replace("-", " ").split()]
    return all(any(part.startswith(word) for part in parts) for word in words)


def add_consent(session: Session, patient_id: UUID, topic: Topic, granted: bool, wording_version: str) -> None:
    """Record what she said about one topic."""
    session.add(
        Consent(
            patient_id=patient_id,
            topic=topic,
            granted=granted,
            recorded_at=instant_of(session),
            recorded_by=actor_of(session),
            wording_version=wording_version,
        )
    )


def list_consent(session: Session, patient_ids: Sequence[UUID]) -> dict[UUID, dict[Topic, bool]]:
    """The latest word on each topic for each patient; a topic never recorded is absent."""
    query = select(Consent).where(Consent.patient_id.in_(patient_ids)).order_by(Consent.recorded_at, Consent.id)
    latest: dict[UUID, dict[Topic, bool]] = {patient_id: {} for patient_id in patient_ids}
    for row in session.scalars(query):
        latest[row.patient_id][row.topic] = row.granted
    return latest


def add_address_fact(session: Session, patient: Patient, kind: AddressFactKind) -> None:
    """Record that the present address was confirmed or refused mail."""
    session.add(
        AddressFact(
            patient_id=patient.id,
            email_version=patient.email_version,
            kind=kind,
            recorded_at=instant_of(session),
            recorded_by=actor_of(session),
        )
    )


def find_address_state(session: Session, patient: Patient) -> AddressState:
    """What the facts say about the present address."""
    if patient.email_sealed is None:
        return AddressState.MISSING
    latest = session.scalar(
        select(AddressFact.kind)
        .where(AddressFact.patient_id == patient.id, AddressFact.email_version == patient.email_version)
        .order_by(AddressFact.recorded_at.desc(), AddressFact.id.desc())
        .limit(1)
    )
    return {
        None: AddressState.UNCONFIRMED,
        AddressFactKind.CONFIRMED: AddressState.CONFIRMED,
        AddressFactKind.REFUSED: AddressState.REFUSED,
        AddressFactKind.DISOWNED: AddressState.UNCONFIRMED,  # not met: its address is removed with the fact
    }[latest]


def add_stop(session: Session, patient_id: UUID, reason: StopReason | None, note: str | None) -> None:
    """Record a stop of all messages, or with no reason that they are permitted again."""
    row = PatientStop(
        id=new_id(),
        patient_id=patient_id,
        reason=reason,
        recorded_at=instant_of(session),
        recorded_by=actor_of(session),
    )
    session.add(row)
    row.note = note


def find_stop(session: Session, patient_id: UUID) -> PatientStop | None:
    """The stop in force, or None."""
    latest = session.scalar(
        select(PatientStop)
        .where(PatientStop.patient_id == patient_id)
        .order_by(PatientStop.recorded_at.desc(), PatientStop.id.desc())
        .limit(1)
    )
    return latest if latest is not None and latest.reason is not None else None


def list_stopped(session: Session, patient_ids: Sequence[UUID]) -> dict[UUID, StopReason]:
    """Of these patients those whose messages are stopped, and why."""
    query = select(PatientStop.patient_id, PatientStop.reason).where(PatientStop.patient_id.in_(patient_ids))
    rows = session.execute(query.order_by(PatientStop.recorded_at, PatientStop.id))
    latest = {row[0]: row[1] for row in rows}
    return {patient_id: reason for patient_id, reason in latest.items() if reason is not None}


def list_consent_rows(session: Session, patient_id: UUID) -> list[Consent]:
    """All a patient ever said about her messages, the first first."""
    query = select(Consent).where(Consent.patient_id == patient_id).order_by(Consent.recorded_at, Consent.id)
    return list(session.scalars(query))


def list_address_facts(session: Session, patient_id: UUID) -> list[AddressFact]:
    """All that became known about a patient's addresses, the first first."""
    query = select(AddressFact).where(AddressFact.patient_id == patient_id)
    return list(session.scalars(query.order_by(AddressFact.recorded_at, AddressFact.id)))


def list_stops(session: Session, patient_id: UUID) -> list[PatientStop]:
    """All stops of a patient's messages and their ends, the first first."""
    query = select(PatientStop).where(PatientStop.patient_id == patient_id)
    return list(session.scalars(query.order_by(PatientStop.recorded_at, PatientStop.id)))


def count_patients(session: Session) -> int:
    """How many patients there are."""
    return session.scalar(select(func.count()).select_from(Patient).where(Patient.voided_at.is_(None))) or 0
