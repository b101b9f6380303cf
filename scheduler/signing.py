"""Use cases about a treatment's record: filling it in, signing it, and amending what is signed.

A version is never changed: filling in and amending write a new one, and every earlier one stays readable.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit
from db import treatments as stored
from db.engine import actor_of, instant_of
from db.records import Treatment, TreatmentVersion
from db.sealed import vault_of
from db.states import TreatmentStatus
from db.treatments import TreatmentEntry
from scheduler import treatments
from scheduler.clinic import Clinic
from scheduler.entries import clean_text, read_reason
from scheduler.errors import InvalidInput, Refused
from scheduler.planning.protocol import Protocol
from scheduler.record_fields import check_fields, missing_required


@dataclass(frozen=True, slots=True)
class SignedVersion:
    """One version of a treatment's record and who signed it. `holds`: what was signed is what is stored."""

    number: int
    treated_local: str
    treated_zone: str
    clinician: str | None
    fields: Mapping[str, str]
    reason: str | None
    recorded_at: datetime
    recorded_by: str
    signed_at: datetime | None
    signed_by: str | None
    holds: bool


def protocol_of(session: Session, clinic: Clinic, treatment: Treatment) -> Protocol:
    """The protocol version a treatment's plan follows: its fields are the record's."""
    plan = treatments.get_plan(session, treatment.id)
    return clinic.library.shelf(session).get(plan.protocol_version_id).protocol


def list_signed_versions(session: Session, treatment_id: UUID) -> list[SignedVersion]:
    """All versions of a treatment's record, the first first, with their signatures."""
    return find_signed_versions(session, [treatment_id])[treatment_id]


def find_signed_versions(session: Session, treatment_ids: Sequence[UUID]) -> dict[UUID, list[SignedVersion]]:
    """All versions of these treatments' records, the first first, with their signatures: two queries."""
    signatures = {(row.treatment_id, row.version): row for row in stored.list_signatures_of(session, treatment_ids)}
    found: dict[UUID, list[SignedVersion]] = {treatment_id: [] for treatment_id in treatment_ids}
    for version in stored.list_versions_of(session, treatment_ids):
        signature = signatures.get((version.treatment_id, version.number))
        found[version.treatment_id].append(
            SignedVersion(
                number=version.number,
                treated_local=version.treated_local,
                treated_zone=version.treated_zone,
                clinician=version.clinician,
                fields=version.fields,
                reason=version.correction_reason,
                recorded_at=version.recorded_at,
                recorded_by=version.recorded_by,
                signed_at=signature.signed_at if signature else None,
                signed_by=signature.signed_by if signature else None,
                holds=signature is None
                or signature.content_mac == _content_mac(session, version, signature.signed_at, signature.signed_by),
            )
        )
    return found


def fill_in(
    clinic: Clinic,
    actor: str,
    treatment_id: UUID,
    fields: Mapping[str, str],
    clinician: str,
    reason: str = "",
    seen: int | None = None,
    signs: bool = False,
) -> None:
    """Write the record's fields as a new version, and sign it when asked to, in one transaction.

    Before the first signature it is a draft and needs no reason. After it, it is an amendment: the reason is kept, and
    who writes it signs it. Nothing is written when nothing is different. `seen` is the version that was read before.
    Raises `InvalidInput` with every problem, `Refused` when somebody else wrote a version meanwhile.
    """
    with clinic.store.write(actor, clinic.clock.now()) as session:
        treatment = _lock_active(session, treatment_id)
        protocol = protocol_of(session, clinic, treatment)
        version = stored.get_content(session, treatment_id)
        if seen is not None and version.number != seen:
            raise Refused("somebody else changed this record meanwhile: look at it again before you write in it")
        signed = {row.version for row in stored.list_signatures(session, treatment_id)}
        entry = _entry(protocol, version, fields, clinician)
        before = version.fields
        if (dict(entry.fields), entry.clinician) != (before, version.clinician):
            why = read_reason(reason) if signed else _read_draft_reason(reason)
            version = stored.add_version(session, treatment, entry, version.number + 1, why)
            action = "treatment.amended" if signed else "treatment.filled_in"
            changed = {key for key in {*before, *entry.fields} if before.get(key) != entry.fields.get(key)}
            audit.record(session, action, "treatment", treatment.id, treatment.patient_id, sorted(changed))
            signs = signs or bool(signed)
        if signs and version.number not in signed:
            _sign(session, clinic, treatment, protocol, version)


def sign(clinic: Clinic, actor: str, treatment_id: UUID) -> None:
    """Sign the record as it stands: from here on it is final, and only amended.

    Raises `Refused` when it is signed already or still to be done, `InvalidInput` naming every required empty field.
    """
    with clinic.store.write(actor, clinic.clock.now()) as session:
        treatment = _lock_active(session, treatment_id)
        version = stored.get_content(session, treatment_id)
        if any(row.version == version.number for row in stored.list_signatures(session, treatment_id)):
            raise Refused("this record is signed already")
        _sign(session, clinic, treatment, protocol_of(session, clinic, treatment), version)


def missing_for_signing(protocol: Protocol, fields: Mapping[str, str], clinician: str | None) -> list[str]:
    """Labels of what is still empty and has to be filled in before signing."""
    labels = {field.key: field.label for field in protocol.fields}
    missing = [labels[key] for key in missing_required(protocol, fields)]
    return missing if clinician else ["Clinician", *missing]


def _read_draft_reason(text: str) -> str | None:
    return read_reason(text) if text.strip() else None


def _sign(
    session: Session, clinic: Clinic, treatment: Treatment, protocol: Protocol, version: TreatmentVersion
) -> None:
    problems = [f"field {key}: is needed before signing" for key in missing_required(protocol, version.fields)]
    if not version.clinician:
        problems.insert(0, "clinician: is needed before signing")
    if problems:
        raise InvalidInput(*problems)
    if version.treated_at > clinic.clock.now():
        raise Refused("the treatment is still to be done: its record is signed afterwards")
    mac = _content_mac(session, version, instant_of(session), actor_of(session))
    stored.add_signature(session, treatment, version, mac)
    treatment.unsigned_since = None
    audit.record(session, "treatment.signed", "treatment", treatment.id, treatment.patient_id, ["signature"])


def _content_mac(session: Session, version: TreatmentVersion, signed_at: datetime, signed_by: str) -> bytes:
    """Over all that a signature stands for: what was done, when and by whom, and who signed it when."""
    content = [
        str(version.treatment_id),
        str(version.id),
        version.number,
        version.treated_at.isoformat(),
        version.treated_local,
        version.treated_zone,
        version.clinician,
        sorted(version.fields.items()),
        version.correction_reason,
        signed_at.isoformat(),
        signed_by,
    ]
    return vault_of(session).content_mac("treatment", json.dumps(content, ensure_ascii=False))


def _lock_active(session: Session, treatment_id: UUID) -> Treatment:
    treatment = treatments.lock(session, treatment_id)
    if treatment.status is not TreatmentStatus.ACTIVE:
        raise Refused("the treatment was cancelled: its record stays as it is")
    return treatment


def _entry(protocol: Protocol, content: TreatmentVersion, typed: Mapping[str, str], clinician: str) -> TreatmentEntry:
    problems: list[str] = []
    cleaned: dict[str, str] = {}
    for key, text in typed.items():
        cleaned[key], problem = clean_text(text, f"field {key}", 2_000)
        problems += [problem] if problem else []
    who, problem = clean_text(clinician, "clinician", 200)
    problems += [problem] if problem else []
    problems += check_fields(protocol, cleaned, date.fromisoformat(content.treated_local[:10]))
    if problems:
        raise InvalidInput(*problems)
    return TreatmentEntry(
        treated_at=content.treated_at,
        treated_local=content.treated_local,
        zone=content.treated_zone,
        clinician=who or None,
        fields=treatments.in_one_spelling(protocol, cleaned),
    )
