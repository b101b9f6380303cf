"""Erasing a patient: her data key is destroyed and every sealed value of hers deleted; what is counted stays.

Whether she may be erased is decided in `scheduler.erasure`; the trail and the stop journal are never touched.
"""

from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from db.base import Base
from db.engine import instant_of
from db.follow_up import SentCopy
from db.private_page import PageCode
from db.records import NamePrefix, Patient, PatientKey
from db.sealed import vault_of

ERASED_NAME = ("Erased", "patient")  # under a fresh key, so that old lists of messages can still be drawn


def erase_rows(session: Session, patient_id: UUID) -> None:
    """Delete all that is sealed about her, in every table there is, and destroy her key; she is found nowhere any more.

    Rows stay with their ids and instants: counts, the trail and the numbers of attempts rest on them.
    """
    vault = vault_of(session)
    session.execute(delete(NamePrefix).where(NamePrefix.patient_id == patient_id))
    session.execute(delete(SentCopy).where(SentCopy.patient_id == patient_id))
    session.execute(delete(PageCode).where(PageCode.patient_id == patient_id))
    for table in Base.metadata.sorted_tables:
        owner = table.columns.get("id" if table.name == "patients" else "patient_id")
        gone = {
            column.name: None
            for column in table.columns
            if column.name.endswith(("_sealed", "_index")) and column.nullable
        }
        if owner is not None and gone:
            session.execute(update(table).where(owner == patient_id).values(gone))
    vault.forget(patient_id)
    wrapped = vault.make_data_key(patient_id)  # the old one is overwritten: what copies of old rows hold stays sealed
    session.execute(update(PatientKey).where(PatientKey.patient_id == patient_id).values(wrapped=wrapped))
    session.expire_all()
    patient = session.get_one(Patient, patient_id)
    patient.given_name, patient.family_name = ERASED_NAME
    patient.email_version += 1  # and no link in an old mail opens anything
    patient.preferred_time = patient.preferred_weekday = None
    patient.voided_at = instant_of(session)
    session.flush()


def is_erased(session: Session, patient_id: UUID) -> bool:
    """Whether her record is not there any more, or never was."""
    patient = session.get(Patient, patient_id)
    return patient is None or (patient.voided_at is not None and patient.given_name == ERASED_NAME[0])
