"""Moving all that is recorded about one patient to another: the same person was entered twice.

Who she is stays with each row of `patients`; what follows for her messages is in `scheduler.merging`.
"""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Table, func, select, update
from sqlalchemy.orm import Session

from db.base import Base
from db.follow_up import Reminder, SentCopy
from db.records import Patient
from db.sealed import Sealed, learn_keys, open_bytes, place, seal_bytes
from db.states import ReminderState

# Who she is, what she agreed to and which addresses she had are of the entry they were said for.
OF_THE_ENTRY: Final = frozenset(
    {"patients", "patient_keys", "name_prefixes", "consents", "address_facts", "patient_stops", "page_codes"}
)


def is_under_way(session: Session, patient_id: UUID) -> bool:
    """Whether a message to her is with the mail server at this moment."""
    query = select(func.count()).select_from(Reminder).where(Reminder.patient_id == patient_id)
    return bool(session.scalar(query.where(Reminder.state == ReminderState.SENDING)))


def move_rows(session: Session, gone: Patient, stays: Patient) -> int:
    """Move every row about `gone` to `stays`, what is sealed under the other's key; how many rows moved."""
    learn_keys(session, [gone.id, stays.id])
    moved = 0
    for mapper in sorted(Base.registry.mappers, key=lambda mapper: mapper.class_.__tablename__):
        model: Any = mapper.class_
        table: Table = model.__table__
        if table.name in OF_THE_ENTRY or "patient_id" not in table.columns:
            continue
        sealed = [name for name, found in vars(model).items() if isinstance(found, Sealed)]
        if model is SentCopy:
            moved += _move_copies(session, gone.id, stays.id)
        elif sealed:
            moved += _move_sealed(session, model, sealed, gone.id, stays.id)
        else:
            found = session.execute(update(table).where(table.c.patient_id == gone.id).values(patient_id=stays.id))
            moved += found.rowcount  # type: ignore[attr-defined]
    session.flush()
    session.expire_all()
    return moved


def _move_sealed(session: Session, model: Any, sealed: list[str], gone: UUID, stays: UUID) -> int:
    rows = list(session.scalars(select(model).where(model.patient_id == gone)))
    for row in rows:
        values = {name: getattr(row, name) for name in sealed}
        row.patient_id = stays
        for name, value in values.items():
            setattr(row, name, value)
    return len(rows)


def _move_copies(session: Session, gone: UUID, stays: UUID) -> int:
    copies = list(session.scalars(select(SentCopy).where(SentCopy.patient_id == gone)))
    for copy in copies:
        at = place("sent_copies", "content", UUID(int=copy.attempt))
        content = open_bytes(session, gone, at, copy.content_sealed)
        copy.patient_id = stays
        copy.content_sealed = seal_bytes(session, stays, at, content)
    return len(copies)
