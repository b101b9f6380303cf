"""What planning reads of many patients at once: a few queries however many there are.

Of one patient the same is read by `db.patients`, `db.care_plans` and `db.treatments`.
"""

from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.follow_up import CarePlan
from db.records import AddressFact, Patient, Treatment, TreatmentVersion
from db.states import AddressFactKind, AddressState

_STATES: Mapping[AddressFactKind | None, AddressState] = {
    None: AddressState.UNCONFIRMED,
    AddressFactKind.CONFIRMED: AddressState.CONFIRMED,
    AddressFactKind.REFUSED: AddressState.REFUSED,
}


def list_plans_of(session: Session, patient_ids: Collection[UUID]) -> list[CarePlan]:
    """All care plans of these patients, the first made first."""
    query = select(CarePlan).where(CarePlan.patient_id.in_(patient_ids)).order_by(CarePlan.created_at, CarePlan.id)
    return list(session.scalars(query))


def list_treatments_of(session: Session, patient_ids: Collection[UUID]) -> dict[UUID, Treatment]:
    """All treatments of these patients, by id."""
    query = select(Treatment).where(Treatment.patient_id.in_(patient_ids))
    return {row.id: row for row in session.scalars(query)}


def list_contents(session: Session, treatment_ids: Collection[UUID]) -> dict[UUID, TreatmentVersion]:
    """The version that holds of each of these treatments."""
    query = select(TreatmentVersion).where(TreatmentVersion.treatment_id.in_(treatment_ids))
    return {row.treatment_id: row for row in session.scalars(query.order_by(TreatmentVersion.number))}


def list_address_states(session: Session, patients: Collection[Patient]) -> dict[UUID, AddressState]:
    """What the facts say about the present address of each of these patients."""
    query = select(AddressFact).where(AddressFact.patient_id.in_([patient.id for patient in patients]))
    latest = {
        (row.patient_id, row.email_version): row.kind
        for row in session.scalars(query.order_by(AddressFact.recorded_at, AddressFact.id))
    }
    return {
        patient.id: AddressState.MISSING
        if patient.email_sealed is None
        else _STATES[latest.get((patient.id, patient.email_version))]
        for patient in patients
    }
