"""A checked import as a sheet to look at before it is entered: each row, what it brings, and to whom.

Checking is in `scheduler.imports`; nothing here reads or writes the record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from scheduler.import_plan import Draft
from scheduler.import_rows import CheckedRow
from scheduler.imports import CheckedImport


class Brings(StrEnum):
    """What a row brings."""

    PATIENT = "patient"  # a new patient, perhaps with a treatment
    TREATMENT = "treatment"  # one more treatment of a patient of the record, or of an earlier row
    NOTHING = "nothing"  # all of it is known


@dataclass(frozen=True, slots=True, repr=False)
class SheetLine:
    """One row as it would be entered. Names may be missing: a record number alone names a patient of the record."""

    line: int
    name: str
    born: date | None
    record_number: str
    email: str
    confirmed: bool
    consent: str
    treatment: str  # the protocol's title; empty for a patient only
    treated_local: str
    zone: str
    booked_local: str
    clinician: str
    brings: Brings
    of_the_record: bool


def sheet_of(checked: CheckedImport, limit: int) -> list[SheetLine]:
    """The first rows of a file, in its order."""
    first: dict[int, Draft] = {}
    entered: dict[int, Draft] = {}
    for drafted in checked.drafts:
        if drafted.person.known is None and drafted.person.line is not None:
            first[drafted.person.line] = drafted
        for plan in drafted.plans:
            entered[plan.treatment.line] = drafted
    rows = sorted(checked.rows, key=lambda row: row.line)[:limit]
    return [_line(row, first, entered) for row in rows]


def _line(row: CheckedRow, first: Mapping[int, Draft], entered: Mapping[int, Draft]) -> SheetLine:
    treatment = row.treatment
    brings = Brings.PATIENT if row.line in first else Brings.TREATMENT if row.line in entered else Brings.NOTHING
    drafted = first.get(row.line) or entered.get(row.line)
    return SheetLine(
        line=row.line,
        name=_name(row, drafted),
        born=row.born,
        record_number=row.values.get("record_number", ""),
        email=row.values.get("email", ""),
        confirmed=row.values.get("confirmed") == "yes",
        consent=row.values.get("consent", ""),
        treatment=treatment.shelved.protocol.title if treatment else "",
        treated_local=treatment.entry.treated_local if treatment else "",
        zone=treatment.entry.zone if treatment else "",
        booked_local=treatment.booking.wall.isoformat(timespec="seconds") if treatment and treatment.booking else "",
        clinician=(treatment.entry.clinician or "") if treatment else "",
        brings=brings,
        of_the_record=drafted is not None and drafted.person.known is not None,
    )


def _name(row: CheckedRow, drafted: Draft | None) -> str:
    """Her name as the row says it, else as the record does."""
    known = drafted.person.known if drafted else None
    told: Sequence[str] = [row.values.get("given_name", ""), row.values.get("family_name", "")]
    if known is not None and not all(told):
        told = [known.given_name, known.family_name]
    return " ".join(part for part in told if part)
