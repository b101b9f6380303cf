"""A booked visit as a calendar file (RFC 5545; published as in RFC 5546 §3.2.1): neutral, with a stable UID.

Its SEQUENCE rises with every change of the booking, and a visit that was withdrawn is told as cancelled, so that the
same entry is changed or taken out of her calendar.
"""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from db import care_plans as stored_plans
from db.follow_up import CareEvent, CarePlan
from db.records import Patient
from db.states import EventKind
from scheduler.care_plans import facts_of
from scheduler.clinic import Clinic
from scheduler.planning.course import ReviewState, follow

_CHANGES: Final = frozenset({EventKind.REVIEW_BOOKED, EventKind.REVIEW_CANCELLED})
_SUMMARY: Final = {"de": "Termin"}
_LINE_OCTETS: Final = 75


def calendar_file(session: Session, clinic: Clinic, plan_id: UUID, review: str | None = None) -> bytes | None:
    """The visit of a review of a plan, by default of the next one; None when none was ever booked."""
    plan = session.get(CarePlan, plan_id)
    patient = session.get(Patient, plan.patient_id) if plan else None
    if plan is None or patient is None:
        return None
    events = stored_plans.list_events(session, [plan.id])
    for state in follow(facts_of(session, clinic, plan, patient.language)).reviews.values():
        if state.rule.key == review or (review is None and state.completed is None):
            return write_visit(session, clinic, plan, patient, state, events)
    return None


def sequence_of(events: list[CareEvent], review: str) -> int:
    """How often the visit of a review was changed since it was first booked."""
    return max(0, sum(event.review == review and event.kind in _CHANGES for event in events) - 1)


def write_visit(
    session: Session, clinic: Clinic, plan: CarePlan, patient: Patient, state: ReviewState, events: list[CareEvent]
) -> bytes | None:
    """One review's visit as it stands: booked, or withdrawn after it was booked; None when it never was."""
    booked = [e for e in events if e.review == state.rule.key and e.kind is EventKind.REVIEW_BOOKED]
    if not booked:
        return None
    last = booked[-1]
    stands = state.booking is not None and state.booking.id == last.id
    place = last.fields.get("place", "")
    words = clinic.library.words(patient.language)
    if words.outside.find(words.compared(place)):
        place = ""  # a calendar shows it on a locked phone
    changed_at = max(e.recorded_at for e in events if e.review == state.rule.key and e.kind in _CHANGES)
    uid = clinic.store.vault.token_hash("calendar", f"{plan.id} {state.rule.key}").hex()[:32]
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Aftercare//EN",
        f"METHOD:{'PUBLISH' if stands else 'CANCEL'}",
        "BEGIN:VEVENT",
        f"UID:{uid}@{clinic.settings.message_domain}",
        f"SEQUENCE:{sequence_of(events, state.rule.key)}",
        f"DTSTAMP:{_utc(changed_at)}",
        f"DTSTART:{_utc(last.occurred_at)}",
        f"SUMMARY:{_escaped(_SUMMARY.get(patient.language.partition('-')[0], 'Appointment'))}",
        *([f"LOCATION:{_escaped(place)}"] if place else []),
        f"STATUS:{'CONFIRMED' if stands else 'CANCELLED'}",
        "CLASS:PRIVATE",
        "TRANSP:OPAQUE",
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    return "".join(f"{_folded(line)}\r\n" for line in lines).encode()


def _utc(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _escaped(text: str) -> str:
    """RFC 5545 §3.3.11."""
    for sign, told in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\n", "\\n")):
        text = text.replace(sign, told)
    return "".join(letter for letter in text if letter.isprintable())


def _folded(line: str) -> str:
    """Lines of at most 75 octets, each further one begun by a space (RFC 5545 §3.1); no letter is cut apart."""
    parts, part, room = [], "", _LINE_OCTETS
    for letter in line:
        size = len(letter.encode())
        if size > room:
            parts.append(part)
            part, room = "", _LINE_OCTETS - 1
        part += letter
        room -= size
    return "\r\n ".join([*parts, part])
