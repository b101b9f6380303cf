"""What writing messages needs of the record, read in one query for many: values, no rows that could be changed.

What is written from it is `scheduler.compose`'s.
"""

from collections.abc import Collection
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Table, bindparam, select
from sqlalchemy.orm import Session

from db.engine import padded
from db.follow_up import CarePlan
from db.records import Patient, PatientKey, TreatmentVersion
from db.sealed import open_bytes, place, vault_of
from db.states import Level


class Addressee(NamedTuple):
    """A care plan and its patient, as far as her messages need them. Who she is stays sealed until it is asked for."""

    plan_id: UUID
    patient_id: UUID
    protocol_version_id: UUID
    planned_with: str | None
    treated_local: str
    language: str
    level: Level
    time_zone: str
    email_version: int
    email_sealed: bytes | None
    given_name_sealed: bytes | None
    family_name_sealed: bytes | None
    preferred_name_sealed: bytes | None

    def email(self, session: Session) -> str | None:
        """Her present address. Raises `Erased` and `VaultError`, as the names do."""
        return self._open(session, "email", self.email_sealed)

    def names(self, session: Session) -> tuple[str | None, str | None, str | None]:
        """Given name, family name, and how she likes to be called."""
        return (
            self._open(session, "given_name", self.given_name_sealed),
            self._open(session, "family_name", self.family_name_sealed),
            self._open(session, "preferred_name", self.preferred_name_sealed),
        )

    def _open(self, session: Session, column: str, sealed: bytes | None) -> str | None:
        if sealed is None:
            return None
        return open_bytes(session, self.patient_id, place("patients", column, self.patient_id), sealed).decode()


def _table(model: Any) -> Table:
    found: Table = model.__table__
    return found


_plans, _patients, _keys = _table(CarePlan), _table(Patient), _table(PatientKey)
_treated = _table(TreatmentVersion)

# Built once: putting a statement together costs more than running it for a few rows.
_READ: Final = (
    select(
        _plans.c.id,
        _plans.c.patient_id,
        _plans.c.protocol_version_id,
        _plans.c.planned_with,
        # As the version that holds says it: the one with the highest number.
        select(_treated.c.treated_local)
        .where(_treated.c.treatment_id == _plans.c.treatment_id)
        .order_by(_treated.c.number.desc())
        .limit(1)
        .scalar_subquery(),
        _patients.c.language,
        _patients.c.level,
        _patients.c.time_zone,
        _patients.c.email_version,
        _patients.c.email_sealed,
        _patients.c.given_name_sealed,
        _patients.c.family_name_sealed,
        _patients.c.preferred_name_sealed,
        _keys.c.wrapped,
    )
    .join(_patients, _patients.c.id == _plans.c.patient_id)
    .outerjoin(_keys, _keys.c.patient_id == _plans.c.patient_id)
    .where(_plans.c.id.in_(bindparam("plan_ids", expanding=True)))
)


def read_addressees(session: Session, plan_ids: Collection[UUID]) -> dict[UUID, Addressee]:
    """These care plans with their patients, by plan id; their data keys are at hand then, but for destroyed ones."""
    vault = vault_of(session)
    found = {}
    for *values, wrapped in session.connection().execute(_READ, {"plan_ids": padded(plan_ids)}):
        each = Addressee(*values)
        if wrapped is not None and not vault.knows(each.patient_id):
            vault.learn(each.patient_id, wrapped)
        found[each.plan_id] = each
    return found
