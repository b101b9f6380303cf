"""Queries and writes about treatments, their versions, notes and adverse events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.engine import actor_of, instant_of
from db.follow_up import CareEventRetraction
from db.records import AdverseEvent, ClinicalNote, Treatment, TreatmentSignature, TreatmentVersion
from db.sealed import vault_of
from db.states import TreatmentStatus
from db.types import new_id


@dataclass(frozen=True, slots=True)
class TreatmentEntry:
    """What staff enter about a treatment: when by the wall clock of `zone`, by whom, and its record fields."""

    treated_at: datetime
    treated_local: str
    zone: str
    clinician: str | None
    fields: Mapping[str, str]


def add_treatment(
    session: Session,
    patient_id: UUID,
    protocol_key: str,
    entry: TreatmentEntry,
    import_batch_id: UUID | None = None,
    treatment_id: UUID | None = None,
    late_reason: str | None = None,
) -> Treatment:
    """Store a treatment and its first version, to be signed. `late_reason`: why it is entered only now."""
    treatment = Treatment(
        id=treatment_id or new_id(),
        patient_id=patient_id,
        protocol_key=protocol_key,
        status=TreatmentStatus.ACTIVE,
        entered_at=instant_of(session),
        entered_by=actor_of(session),
        import_batch_id=import_batch_id,
    )
    session.add(treatment)
    session.flush()
    add_version(session, treatment, entry, number=1, correction_reason=late_reason)
    return treatment


def add_version(
    session: Session, treatment: Treatment, entry: TreatmentEntry, number: int, correction_reason: str | None = None
) -> TreatmentVersion:
    """Store the content of a treatment as a new version, to be signed; earlier ones stay as they were."""
    lot = entry.fields.get("lot")
    version = TreatmentVersion(
        id=new_id(),
        treatment_id=treatment.id,
        patient_id=treatment.patient_id,
        number=number,
        treated_at=entry.treated_at,
        treated_local=entry.treated_local,
        treated_zone=entry.zone,
        clinician=entry.clinician,
        lot_index=vault_of(session).blind_lot(lot) if lot else None,
        recorded_at=instant_of(session),
        recorded_by=actor_of(session),
    )
    session.add(version)
    version.fields = dict(entry.fields)
    version.correction_reason = correction_reason
    treatment.unsigned_since = max(instant_of(session), entry.treated_at)  # nobody signs what is still to be done
    session.flush()
    return version


def add_signature(
    session: Session, treatment: Treatment, version: TreatmentVersion, content_mac: bytes
) -> TreatmentSignature:
    """Store that this session's actor signed one version."""
    row = TreatmentSignature(
        id=new_id(),
        treatment_id=treatment.id,
        patient_id=treatment.patient_id,
        version=version.number,
        content_mac=content_mac,
        signed_at=instant_of(session),
        signed_by=actor_of(session),
    )
    session.add(row)
    session.flush()
    return row


def list_signatures(session: Session, treatment_id: UUID) -> list[TreatmentSignature]:
    """The signatures of a treatment's versions, the first first."""
    query = select(TreatmentSignature).where(TreatmentSignature.treatment_id == treatment_id)
    return list(session.scalars(query.order_by(TreatmentSignature.version)))


def list_signatures_of(session: Session, treatment_ids: Sequence[UUID]) -> list[TreatmentSignature]:
    """The signatures of these treatments' versions."""
    return list(
        session.scalars(select(TreatmentSignature).where(TreatmentSignature.treatment_id.in_(list(treatment_ids))))
    )


def list_versions_of(session: Session, treatment_ids: Sequence[UUID]) -> list[TreatmentVersion]:
    """All versions of these treatments, the first first."""
    query = select(TreatmentVersion).where(TreatmentVersion.treatment_id.in_(list(treatment_ids)))
    return list(session.scalars(query.order_by(TreatmentVersion.number)))


def list_treated(session: Session, treatment_ids: Sequence[UUID]) -> dict[UUID, str]:
    """When each of these treatments was, as the version that holds says: its local time in ISO form."""
    query = select(TreatmentVersion.treatment_id, TreatmentVersion.treated_local)
    query = query.where(TreatmentVersion.treatment_id.in_(list(treatment_ids))).order_by(TreatmentVersion.number)
    return {row[0]: row[1] for row in session.execute(query)}


def find_treatment(session: Session, treatment_id: UUID) -> Treatment | None:
    """The treatment with that id, or None."""
    return session.get(Treatment, treatment_id)


def is_reassigned_copy(session: Session, treatment_id: UUID) -> bool:
    """Whether a treatment was given here from another patient's record."""
    return session.scalar(select(Treatment.id).where(Treatment.reassigned_to_id == treatment_id).limit(1)) is not None


def get_content(session: Session, treatment_id: UUID) -> TreatmentVersion:
    """The version of a treatment that holds."""
    return session.scalars(
        select(TreatmentVersion)
        .where(TreatmentVersion.treatment_id == treatment_id)
        .order_by(TreatmentVersion.number.desc())
        .limit(1)
    ).one()


def find_contents(session: Session, treatment_ids: Sequence[UUID]) -> dict[UUID, TreatmentVersion]:
    """The version that holds, of each of these treatments."""
    return {version.treatment_id: version for version in list_versions_of(session, treatment_ids)}


def list_versions(session: Session, treatment_id: UUID) -> list[TreatmentVersion]:
    """All versions of a treatment, the first first."""
    query = select(TreatmentVersion).where(TreatmentVersion.treatment_id == treatment_id)
    return list(session.scalars(query.order_by(TreatmentVersion.number)))


def list_by_id(session: Session, treatment_ids: Sequence[UUID]) -> list[Treatment]:
    """These treatments, in no order."""
    return list(session.scalars(select(Treatment).where(Treatment.id.in_(list(treatment_ids)))))


def list_treatments(
    session: Session, patient_id: UUID | None = None, import_batch_id: UUID | None = None, limit: int | None = None
) -> list[Treatment]:
    """Treatments, the last entered first."""
    query = select(Treatment).order_by(Treatment.entered_at.desc(), Treatment.id.desc()).limit(limit)
    if patient_id is not None:
        query = query.where(Treatment.patient_id == patient_id)
    if import_batch_id is not None:
        query = query.where(Treatment.import_batch_id == import_batch_id)
    return list(session.scalars(query))


def add_note(session: Session, patient_id: UUID, text: str, treatment_id: UUID | None = None) -> ClinicalNote:
    """Store a dated clinical note."""
    note = ClinicalNote(
        id=new_id(),
        patient_id=patient_id,
        treatment_id=treatment_id,
        recorded_at=instant_of(session),
        recorded_by=actor_of(session),
    )
    session.add(note)
    note.text = text
    return note


def list_notes(session: Session, patient_id: UUID) -> list[ClinicalNote]:
    """Notes of a patient, the first first."""
    query = select(ClinicalNote).where(ClinicalNote.patient_id == patient_id)
    return list(session.scalars(query.order_by(ClinicalNote.recorded_at, ClinicalNote.id)))


def add_adverse_event(
    session: Session, treatment: Treatment, event_id: UUID, onset_at: datetime, fields: Mapping[str, str]
) -> AdverseEvent:
    """Store a complication as reported, with the lot of the treatment for a recall."""
    row = AdverseEvent(
        id=new_id(),
        patient_id=treatment.patient_id,
        treatment_id=treatment.id,
        reported_by_event_id=event_id,
        onset_at=onset_at,
        lot_index=get_content(session, treatment.id).lot_index,
    )
    session.add(row)
    row.fields = dict(fields)
    return row


def resolve_adverse_events(session: Session, treatment_id: UUID, resolved_by: Mapping[UUID, UUID | None]) -> None:
    """Name the event that ended each complication of a treatment, by the event that had reported it; None: open."""
    for row in session.scalars(select(AdverseEvent).where(AdverseEvent.treatment_id == treatment_id)):
        row.resolved_by_event_id = resolved_by.get(row.reported_by_event_id)


def list_open_adverse_events(session: Session, treatment_ids: Sequence[UUID]) -> list[AdverseEvent]:
    """Complications of treatments that were neither resolved nor taken back, by onset."""
    taken_back = select(CareEventRetraction.event_id).where(
        CareEventRetraction.event_id == AdverseEvent.reported_by_event_id
    )
    query = select(AdverseEvent).where(
        AdverseEvent.treatment_id.in_(treatment_ids), AdverseEvent.resolved_by_event_id.is_(None), ~taken_back.exists()
    )
    return list(session.scalars(query.order_by(AdverseEvent.onset_at)))


def list_adverse_events(session: Session, patient_id: UUID) -> list[AdverseEvent]:
    """Adverse events of a patient, by onset."""
    query = select(AdverseEvent).where(AdverseEvent.patient_id == patient_id).order_by(AdverseEvent.onset_at)
    return list(session.scalars(query))
