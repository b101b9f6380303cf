"""Queries and writes about the links to patients' pages and the codes that open them."""

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.engine import actor_of, instant_of
from db.follow_up import CarePlan, Reminder
from db.private_page import MessageLink, PageCode, PageCodeKind
from db.records import Patient

Found = tuple[MessageLink, Reminder, CarePlan, Patient]


def find_by_page(session: Session, page_hash: bytes) -> Found | None:
    """The link whose page token has this hash, with its message, plan and patient; None when there is none."""
    return _find(session, MessageLink.page_hash == page_hash)


def find_by_stop(session: Session, stop_hash: bytes) -> Found | None:
    """The link whose stop token has this hash."""
    return _find(session, MessageLink.stop_hash == stop_hash)


def _find(session: Session, which: object) -> Found | None:
    query = (
        select(MessageLink, Reminder, CarePlan, Patient)
        .join(Reminder, Reminder.id == MessageLink.reminder_id)
        .join(CarePlan, CarePlan.id == Reminder.care_plan_id)
        .join(Patient, Patient.id == MessageLink.patient_id)
        .where(which)  # type: ignore[arg-type]
    )
    row = session.execute(query).one_or_none()
    return None if row is None else (row[0], row[1], row[2], row[3])


def revoke(session: Session, patient: Patient) -> None:
    """From now on no link that was made until now opens anything."""
    patient.links_revoked_at = instant_of(session)


def find_code(session: Session, patient_id: UUID) -> PageCode | None:
    """What opens her page beside the link, or None."""
    return session.get(PageCode, patient_id)


def set_code(session: Session, patient_id: UUID, kind: PageCodeKind, code_hash: str) -> None:
    """Store a new code in place of any other; tries begin anew."""
    code = session.get(PageCode, patient_id)
    if code is None:
        code = PageCode(patient_id=patient_id)
        session.add(code)
    code.kind, code.code_hash, code.tries = kind, code_hash, 0
    code.set_at, code.set_by = instant_of(session), actor_of(session)


def count_try(session: Session, patient_id: UUID, most: int) -> bool:
    """Count one try before it is looked at; False when it is one too many."""
    counted = session.execute(
        update(PageCode)
        .where(PageCode.patient_id == patient_id, PageCode.tries < most)
        .values(tries=PageCode.tries + 1)
    )
    return bool(counted.rowcount)  # type: ignore[attr-defined]


def forget_tries(session: Session, patient_id: UUID) -> None:
    """The right code was given."""
    session.execute(update(PageCode).where(PageCode.patient_id == patient_id).values(tries=0))
