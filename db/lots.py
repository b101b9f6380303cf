"""From a lot number to the treatments it was entered with: the rows of a recall.

How a lot is compared is in `db.vault`; what its list shows is in `scheduler.lots`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.records import AdverseEvent, Patient, Treatment, TreatmentVersion
from db.sealed import learn_keys, vault_of

CHUNK = 500  # values in one IN list: well under the limits of both databases
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LotUse:
    """A treatment that was ever entered with a lot. `holds`: its content; `named`: the last version with it."""

    treatment: Treatment
    patient: Patient
    holds: TreatmentVersion
    named: TreatmentVersion
    adverse: Sequence[AdverseEvent]


def list_uses(session: Session, lot: str) -> list[LotUse]:
    """Every treatment with a version that names this lot, the last done first; earlier versions count too."""
    index = vault_of(session).blind_lot(lot)
    found = select(TreatmentVersion.treatment_id).where(TreatmentVersion.lot_index == index).distinct()
    uses: list[LotUse] = []
    for part in _chunks(sorted(session.scalars(found))):
        treatments = list(session.scalars(select(Treatment).where(Treatment.id.in_(part))))
        versions: dict[UUID, list[TreatmentVersion]] = {treatment_id: [] for treatment_id in part}
        query = select(TreatmentVersion).where(TreatmentVersion.treatment_id.in_(part))
        for version in session.scalars(query.order_by(TreatmentVersion.number)):
            versions[version.treatment_id].append(version)
        adverse: dict[UUID, list[AdverseEvent]] = {treatment_id: [] for treatment_id in part}
        events = select(AdverseEvent).where(AdverseEvent.treatment_id.in_(part)).order_by(AdverseEvent.onset_at)
        for event in session.scalars(events):
            adverse[event.treatment_id].append(event)
        patient_ids = {treatment.patient_id for treatment in treatments}
        learn_keys(session, patient_ids)
        people = {row.id: row for row in session.scalars(select(Patient).where(Patient.id.in_(patient_ids)))}
        for treatment in treatments:
            named = [version for version in versions[treatment.id] if version.lot_index == index]
            uses.append(
                LotUse(
                    treatment=treatment,
                    patient=people[treatment.patient_id],
                    holds=versions[treatment.id][-1],
                    named=named[-1],
                    adverse=adverse[treatment.id],
                )
            )
    return sorted(uses, key=lambda use: (use.holds.treated_at, use.treatment.id), reverse=True)


def _chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
