"""Use case: one person was entered twice. Everything about one entry moves to the other, and she is planned anew."""

from dataclasses import dataclass
from uuid import UUID

from db import audit, page_links
from db import patients as stored
from db.merging import is_under_way, move_rows
from db.records import Patient
from db.reminders import void_claims
from db.states import StopReason
from db.treatments import add_note
from scheduler import patients
from scheduler.care_plans import replan
from scheduler.clinic import Clinic
from scheduler.entries import read_reason
from scheduler.errors import InvalidInput, Refused
from scheduler.patients import CONSENT_WORDING


@dataclass(frozen=True, slots=True)
class Merged:
    """What was moved, and what differs between the two entries: the one that stays holds."""

    rows: int
    differences: list[str]


def differences(gone: Patient, stays: Patient) -> list[str]:
    """What the entry that goes says otherwise, by the names of the fields."""
    names = ("given_name", "family_name", "birth_date", "email", "phone", "record_number", "time_zone", "language")
    return [name for name in names if getattr(gone, name) and getattr(gone, name) != getattr(stays, name)]


def merge(clinic: Clinic, actor: str, gone_id: UUID, into_id: UUID, reason: str) -> Merged:
    """Move everything about one entry to the other, in one transaction; the emptied entry is voided.

    Of what either said about messages the more careful holds: a no to a topic, and a stop, of both entries. Links sent
    until now end. Raises `InvalidInput` for the same entry twice, `Refused` while a message to either is on its way.
    """
    why = read_reason(reason)
    if gone_id == into_id:
        raise InvalidInput("into: is the same patient; name the entry that stays")
    with clinic.store.write(actor, clinic.clock.now()) as session:
        for patient_id in sorted((gone_id, into_id)):  # always in the same order, as planning does
            patients.lock(session, patient_id)
        gone, stays = patients.get(session, gone_id), patients.get(session, into_id)
        if is_under_way(session, gone.id) or is_under_way(session, stays.id):
            raise Refused("a message is on its way to one of them: try again in a minute")
        found = differences(gone, stays)
        said = stored.list_consent(session, [gone.id, stays.id])
        for topic, granted in said[gone.id].items():
            if not granted and said[stays.id].get(topic) is not False:
                stored.add_consent(session, stays.id, topic, False, CONSENT_WORDING)
        stop = stored.find_stop(session, gone.id)
        if stop is not None and stop.reason is not StopReason.LOST and stored.find_stop(session, stays.id) is None:
            stored.add_stop(session, stays.id, stop.reason, stop.note)
        void_claims(session, gone.id)
        void_claims(session, stays.id)
        rows = move_rows(session, gone, stays)
        page_links.revoke(session, stays)
        gone.voided_at = clinic.clock.now()
        # Both are told as merged: the stop journal holds either, should this record be lost and an older put back.
        for patient in (gone, stays):
            audit.record(session, "patient.merged", "patient", patient.id, patient.id, [*found, "reason"])
        add_note(session, stays.id, f"Merged with another entry of the same person: {why}")
        session.flush()
        replan(session, clinic, stays.id)
    return Merged(rows, found)
