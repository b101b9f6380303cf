"""Which clinic key wraps which data keys, and wrapping them anew in batches. The keys themselves are in `db.vault`."""

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.records import PatientKey
from db.sealed import vault_of
from db.staff import StaffMember
from db.vault import KEY_ID_BYTES

# Whose data key it is, and the wrapped key: patients' and staff's, for the seeds of their second factors.
_WRAPPED: Final[tuple[tuple[InstrumentedAttribute[UUID], InstrumentedAttribute[bytes]], ...]] = (
    (PatientKey.patient_id, PatientKey.wrapped),
    (StaffMember.id, StaffMember.wrapped_key),
)


def count_by_clinic_key(session: Session) -> dict[str, int]:
    """How many data keys each clinic key wraps."""
    counts: dict[str, int] = {}
    for _, wrapped in _WRAPPED:
        by = _clinic_key(wrapped)
        for key_id, count in session.execute(select(by, func.count()).group_by(by)):
            counts[bytes(key_id).hex()] = counts.get(bytes(key_id).hex(), 0) + count
    return counts


def wrap_anew(session: Session, limit: int, passed: Callable[[], None]) -> int:
    """Wrap up to `limit` data keys of each kind with the newest clinic key that another wraps; how many.

    Where a rotation stands is told by the rows alone, so it can be cut off anywhere. `passed` is called for each.
    """
    vault = vault_of(session)
    newest = bytes.fromhex(vault.ring.wrapping[-1].id)
    done = 0
    for owner, wrapped in _WRAPPED:
        query = select(owner, wrapped).where(_clinic_key(wrapped) != newest).order_by(owner).limit(limit)
        for owner_id, old in session.execute(query.with_for_update()).all():
            new = vault.rewrap(owner_id, old)
            session.execute(update(owner.class_).where(owner == owner_id, wrapped == old).values({wrapped: new}))
            passed()
            done += 1
    return done


def _clinic_key(wrapped: Any) -> ColumnElement[bytes]:
    return func.substr(wrapped, 2, KEY_ID_BYTES, type_=wrapped.type)  # after the version byte: see `Vault`
