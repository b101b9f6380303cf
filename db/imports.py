"""Queries of an import: what of the record a file's rows may meet, its batches, and undoing one.

What a file means is decided in `scheduler.imports`; its rows are made and written in `db.bulk`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, select, text, true, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from db import reminders
from db.engine import actor_of, instant_of
from db.follow_up import (
    CareEvent,
    CareEventRetraction,
    CarePlan,
    DeliveryAttempt,
    Reminder,
    ReminderDecision,
    Review,
)
from db.patients import list_consent
from db.records import (
    AddressFact,
    ClinicalNote,
    Consent,
    ImportBatch,
    NamePrefix,
    Patient,
    PatientStop,
    Treatment,
    TreatmentVersion,
)
from db.sealed import learn_keys
from db.states import (
    AddressFactKind,
    CallSafe,
    CarePlanStatus,
    EventKind,
    Level,
    Reason,
    ReminderState,
    Topic,
    TreatmentStatus,
)

CHUNK = 500  # values in one IN list: well under the limits of both databases
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keyed hashes by which a file's rows look for patients: record numbers, addresses, starts of name parts."""

    numbers: frozenset[bytes] = frozenset()
    emails: frozenset[bytes] = frozenset()
    prefixes: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Hits:
    """Which patients the keys find."""

    numbers: Mapping[bytes, UUID]
    emails: Mapping[bytes, frozenset[UUID]]
    prefixes: Mapping[bytes, frozenset[UUID]]


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a known patient a check rests on besides who she is; compared again when the rows are written.

    `treatments` holds every time a treatment was ever entered for, by protocol: False for one that was cancelled.
    """

    changed_at: datetime
    treatments: Mapping[tuple[str, datetime], bool]
    running: frozenset[str]  # protocols of her running care plans


@dataclass(frozen=True, slots=True)
class KnownPatient:
    """A patient of the record, opened."""

    id: UUID
    given_name: str
    family_name: str
    preferred_name: str | None
    email: str | None
    phone: str | None
    birth_date: date | None
    contact_note: str | None
    record_number: str | None
    time_zone: str
    language: str
    level: Level
    call_safe: CallSafe
    consent: Mapping[Topic, bool]
    confirmed: bool
    standing: Standing


def find_hits(session: Session, keys: Keys) -> Hits:
    """The patients that these keys find; an undone import's are not found."""
    numbers: dict[bytes, UUID] = {}
    emails: dict[bytes, set[UUID]] = {}
    prefixes: dict[bytes, set[UUID]] = {}
    there = Patient.voided_at.is_(None)
    for part in _chunks(sorted(keys.numbers)):
        by_number = select(Patient.record_number_index, Patient.id).where(Patient.record_number_index.in_(part), there)
        numbers.update((key, patient_id) for key, patient_id in session.execute(by_number) if key)
    for part in _chunks(sorted(keys.emails)):
        by_email = select(Patient.email_index, Patient.id).where(Patient.email_index.in_(part), there)
        for key, patient_id in session.execute(by_email):
            if key:
                emails.setdefault(key, set()).add(patient_id)
    for part in _chunks(sorted(keys.prefixes)):
        by_prefix = (
            select(NamePrefix.prefix, NamePrefix.patient_id)
            .join(Patient, Patient.id == NamePrefix.patient_id)
            .where(NamePrefix.prefix.in_(part), there)
        )
        for prefix, patient_id in session.execute(by_prefix):
            prefixes.setdefault(prefix, set()).add(patient_id)
    return Hits(
        numbers,
        {key: frozenset(ids) for key, ids in emails.items()},
        {key: frozenset(ids) for key, ids in prefixes.items()},
    )


def find_standings(session: Session, patient_ids: Iterable[UUID]) -> dict[UUID, Standing]:
    """What the check rests on for these patients; one that is not there any more is absent."""
    found: dict[UUID, Standing] = {}
    for part in _chunks(sorted(patient_ids)):
        changed = dict(
            session.execute(
                select(Patient.id, Patient.changed_at).where(Patient.id.in_(part), Patient.voided_at.is_(None))
            ).all()
        )
        treatments: dict[UUID, dict[tuple[str, datetime], bool]] = {patient_id: {} for patient_id in changed}
        undone = select(ImportBatch.id).where(ImportBatch.undone_at.is_not(None))
        entered = (
            select(Treatment.patient_id, Treatment.protocol_key, TreatmentVersion.treated_at, Treatment.status)
            .join(TreatmentVersion, TreatmentVersion.treatment_id == Treatment.id)
            .where(
                Treatment.patient_id.in_(list(changed)),
                # What an undone import brought may be brought again.
                (Treatment.status == TreatmentStatus.ACTIVE)
                | Treatment.import_batch_id.is_(None)
                | Treatment.import_batch_id.not_in(undone),
            )
        )
        for patient_id, protocol, treated_at, status in session.execute(entered):
            hers = treatments[patient_id]
            hers[(protocol, treated_at)] = hers.get((protocol, treated_at), False) or status is TreatmentStatus.ACTIVE
        running: dict[UUID, set[str]] = {patient_id: set() for patient_id in changed}
        plans = (
            select(CarePlan.patient_id, Treatment.protocol_key)
            .join(Treatment, Treatment.id == CarePlan.treatment_id)
            .where(
                CarePlan.patient_id.in_(list(changed)),
                CarePlan.status.in_((CarePlanStatus.ACTIVE, CarePlanStatus.ON_HOLD)),
            )
        )
        for patient_id, protocol in session.execute(plans):
            running[patient_id].add(protocol)
        for patient_id, changed_at in changed.items():
            found[patient_id] = Standing(changed_at, treatments[patient_id], frozenset(running[patient_id]))
    return found


def open_patients(session: Session, patient_ids: Iterable[UUID]) -> dict[UUID, KnownPatient]:
    """These patients with what is sealed opened, loaded in parts."""
    found: dict[UUID, KnownPatient] = {}
    for part in _chunks(sorted(patient_ids)):
        learn_keys(session, part)
        standings = find_standings(session, part)
        consent = list_consent(session, part)
        facts: dict[tuple[UUID, int], AddressFactKind] = {}
        recorded = select(AddressFact).where(AddressFact.patient_id.in_(part))
        for fact in session.scalars(recorded.order_by(AddressFact.recorded_at, AddressFact.id)):
            facts[(fact.patient_id, fact.email_version)] = fact.kind
        for patient in session.scalars(select(Patient).where(Patient.id.in_(list(standings)))):
            found[patient.id] = KnownPatient(
                id=patient.id,
                given_name=patient.given_name or "",
                family_name=patient.family_name or "",
                preferred_name=patient.preferred_name,
                email=patient.email,
                phone=patient.phone,
                birth_date=patient.birth_date,
                contact_note=patient.contact_note,
                record_number=patient.record_number,
                time_zone=patient.time_zone,
                language=patient.language,
                level=patient.level,
                call_safe=patient.call_safe,
                consent=consent[patient.id],
                confirmed=facts.get((patient.id, patient.email_version)) is AddressFactKind.CONFIRMED,
                standing=standings[patient.id],
            )
        session.expunge_all()
    return found


def lock_for_import(session: Session, patient_ids: Iterable[UUID]) -> None:
    """One import at a time, and the rows of these patients locked, always in the same order."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("LOCK TABLE import_batches IN EXCLUSIVE MODE"))
    for part in _chunks(sorted(patient_ids)):
        session.execute(
            select(Patient.id).where(Patient.id.in_(part)).order_by(Patient.id).with_for_update(key_share=True)
        ).all()


def add_batch(session: Session, batch_id: UUID, digest: str, patients: int, treatments: int) -> None:
    """Store a batch: the file's hash and what it brought."""
    session.add(
        ImportBatch(
            id=batch_id,
            imported_at=instant_of(session),
            imported_by=actor_of(session),
            file_hash=digest,
            patients=patients,
            treatments=treatments,
        )
    )
    session.flush()


def list_batches(session: Session) -> list[ImportBatch]:
    """All batches, the last imported first."""
    return list(session.scalars(select(ImportBatch).order_by(ImportBatch.imported_at.desc(), ImportBatch.id.desc())))


def lock_batch(session: Session, batch_id: UUID) -> ImportBatch | None:
    """The batch with that id, locked, or None."""
    return session.scalar(select(ImportBatch).where(ImportBatch.id == batch_id).with_for_update())


def list_left(session: Session, batch_id: UUID) -> list[UUID]:
    """Reminders of a batch that left, or whose content may have: they cannot be called back."""
    query = (
        select(Reminder.id)
        .join(CarePlan, CarePlan.id == Reminder.care_plan_id)
        .join(Treatment, Treatment.id == CarePlan.treatment_id)
        .where(
            Treatment.import_batch_id == batch_id,
            (Reminder.state == ReminderState.SENT)
            | Reminder.open_attempt.is_not(None)
            | (Reminder.reason == Reason.UNKNOWN),
        )
    )
    return list(session.scalars(query.order_by(Reminder.sent_at, Reminder.id)))


def list_patients_of(session: Session, batch_id: UUID) -> tuple[set[UUID], set[UUID]]:
    """The patients a batch entered, and those for whom it entered treatments."""
    entered = session.scalars(
        select(Patient.id).where(Patient.import_batch_id == batch_id, Patient.voided_at.is_(None))
    )
    treated = session.scalars(select(Treatment.patient_id).where(Treatment.import_batch_id == batch_id).distinct())
    return set(entered), set(treated)


def find_untouched(session: Session, batch: ImportBatch, patient_ids: Iterable[UUID], lock: bool = True) -> set[UUID]:
    """Which of the patients a batch entered have nothing but what it brought. `lock` their reminders to undo it.

    The release of the batch is no touch, nor is a claim of the sender; an attempt is one: something of hers may have
    left.
    """

    def later(recorded_at: InstrumentedAttribute[datetime]) -> ColumnElement[bool]:
        return recorded_at != batch.imported_at

    entered = sorted(patient_ids)
    for part in _chunks(entered) if lock else ():
        session.execute(select(Reminder.id).where(Reminder.patient_id.in_(part)).with_for_update()).all()
    by_import = CareEvent.kind.in_((EventKind.REVIEW_BOOKED, EventKind.RESUME))
    facts: Sequence[tuple[InstrumentedAttribute[UUID], ColumnElement[bool]]] = (
        (Patient.id, later(Patient.changed_at)),
        (Treatment.patient_id, Treatment.import_batch_id.is_distinct_from(batch.id)),
        (Treatment.patient_id, Treatment.status != TreatmentStatus.ACTIVE),
        (TreatmentVersion.patient_id, TreatmentVersion.number > 1),
        (Consent.patient_id, later(Consent.recorded_at)),
        (AddressFact.patient_id, later(AddressFact.recorded_at)),
        (CareEvent.patient_id, later(CareEvent.recorded_at) & (CareEvent.kind != EventKind.RESUME)),
        (CareEvent.patient_id, ~by_import),
        (PatientStop.patient_id, true()),
        (ClinicalNote.patient_id, true()),
        (CareEventRetraction.patient_id, true()),
        (ReminderDecision.patient_id, true()),
        (DeliveryAttempt.patient_id, true()),
    )
    untouched = set(entered)
    for patient_id, is_later in facts:
        # One pass over each table: most have no index by patient.
        mine = select(Patient.id).where(Patient.import_batch_id == batch.id)
        untouched -= set(session.scalars(select(patient_id).where(patient_id.in_(mine), is_later)))
    return untouched


def void(session: Session, patient_ids: Iterable[UUID]) -> int:
    """Take patients out of the record, as planning would leave them once their treatments are cancelled.

    Their record numbers are free again. Returns how many reminders were cancelled.
    """
    cancelled = 0
    for part in _chunks(sorted(patient_ids)):
        cancelled += reminders.cancel_live(session, part, Reason.TREATMENT_CANCELLED)
        for change in (
            update(Treatment)
            .where(Treatment.patient_id.in_(part))
            .values(status=TreatmentStatus.CANCELLED, unsigned_since=None),
            update(CarePlan).where(CarePlan.patient_id.in_(part)).values(status=CarePlanStatus.REVOKED),
            update(Review).where(Review.patient_id.in_(part)).values(open=False),
            update(Patient).where(Patient.id.in_(part)).values(voided_at=instant_of(session), record_number_index=None),
        ):
            session.execute(change.execution_options(synchronize_session=False))
    session.expire_all()
    return cancelled


def _chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
