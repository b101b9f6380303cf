"""A patient as staff's lists name her: her name, what tells her apart, whether and how she may be rung.

Her whole page is in `web.patient_pages`.
"""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from db.records import Patient
from db.states import CallSafe
from scheduler.planning.verdict import age_on


@dataclass(frozen=True, slots=True, repr=False)
class Person:
    """One patient in a list. `phone` is None where nobody may ring; `call` then says what to do instead."""

    id: UUID
    name: str
    first_name: str
    facts: str
    phone: str | None
    call: str
    may_ring: bool

    @property
    def dial(self) -> str:
        """Her number as a telephone takes it."""
        return "".join(sign for sign in self.phone or "" if sign.isdigit() or sign == "+")


def person(patient: Patient, today: date) -> Person:
    """A patient as a line shows her. A number is shown only beside the answer that it may be rung."""
    may_ring = patient.call_safe is CallSafe.YES and bool(patient.phone)
    if may_ring:
        call = patient.contact_note or ""
    elif patient.call_safe is CallSafe.YES:
        call = "no telephone number is known"
    else:
        call = "do not ring: ask a clinician"
    return Person(
        id=patient.id,
        name=full_name(patient),
        first_name=patient.preferred_name or patient.given_name or "",
        facts=" · ".join(facts_of(patient, today)),
        phone=patient.phone if may_ring else None,
        call=call,
        may_ring=may_ring,
    )


def full_name(patient: Patient) -> str:
    """Her name: the one she prefers, with the given one beside it when they differ."""
    given, preferred = patient.given_name or "", patient.preferred_name
    first = f"{preferred} ({given})" if preferred and preferred != given else given
    return f"{first} {patient.family_name or ''}".strip()


def facts_of(patient: Patient, today: date) -> list[str]:
    """What tells her from somebody of the same name: born, and record number."""
    facts = []
    if patient.birth_date is not None:
        born = patient.birth_date
        facts.append(f"born {born.day} {born:%B %Y} ({age_on(born, today)})")
    if patient.record_number:
        facts.append(f"no. {patient.record_number}")
    return facts
