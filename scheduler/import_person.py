"""One patient of an import, known or new, and how a row without record number compares to her.

Which row speaks of whom is decided in `scheduler.import_people`.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum

from db.imports import KnownPatient
from db.patients import PatientEntry
from db.vault import normal
from scheduler.entries import CONSENT, Said
from scheduler.import_rows import CheckedRow, RowTreatment


class Fit(Enum):
    """How a row without record number compares to a patient of the same names."""

    SAME = "same"  # equal address or birth date, and neither of them different
    ALIKE = "alike"  # one equal, the other different
    UNSURE = "unsure"  # nothing to compare but the names
    OTHER = "other"


@dataclass(slots=True)
class Person:
    """One patient of the import; `values` and `lines` of a new one are merged from her rows."""

    line: int | None  # where the file first names her; None: a patient of the record
    known: KnownPatient | None
    names: tuple[str, str]
    email: str | None
    born: date | None
    values: dict[str, str]
    lines: dict[str, int]
    entered: dict[tuple[str, datetime], bool]  # treatments by protocol and instant; False: cancelled
    running: set[str]  # protocols
    treatments: list[tuple[RowTreatment, bool]] = field(default_factory=list)  # new ones; True: the earlier plan stays
    entry: PatientEntry | None = None
    said: Said = field(default_factory=Said)

    @property
    def where(self) -> str:
        """Where she was met first."""
        return "in the record" if self.line is None else f"in line {self.line}"

    @property
    def mend(self) -> str:
        """What to do about a row that says something else."""
        return f"use patient set {self.known.id}" if self.known else "make the rows agree"

    def told(self, column: str, value: str) -> str | None:
        """What is known of her in a column, in the form in which it is compared with that value."""
        if self.known is not None and column == "consent":
            wanted = CONSENT[value]
            return value if all(self.known.consent.get(topic) is said for topic, said in wanted.items()) else None
        if self.known is not None and column == "confirmed":
            return "yes" if self.known.confirmed else "no"
        found = self.values.get(column)
        return None if found is None else compared(column, found)


def of_the_record(patient: KnownPatient) -> Person:
    """A patient of the record as the import sees her."""
    values = {
        "record_number": patient.record_number,
        "given_name": patient.given_name,
        "family_name": patient.family_name,
        "preferred_name": patient.preferred_name,
        "email": patient.email,
        "birth_date": patient.birth_date.isoformat() if patient.birth_date else None,
        "time_zone": patient.time_zone,
        "language": patient.language,
        "level": patient.level.value,
        "phone": patient.phone,
        "call_safe": patient.call_safe.value,
        "contact_note": patient.contact_note,
    }
    return Person(
        line=None,
        known=patient,
        names=(normal(patient.given_name), normal(patient.family_name)),
        email=normal(patient.email) if patient.email else None,
        born=patient.birth_date,
        values={column: value for column, value in values.items() if value},
        lines={},
        entered=dict(patient.standing.treatments),
        running=set(patient.standing.running),
    )


def new_in(row: CheckedRow) -> Person:
    """A patient whom a row names first."""
    return Person(
        line=row.line,
        known=None,
        names=row.names,
        email=row.email,
        born=row.born,
        values=dict(row.values),
        lines=dict.fromkeys(row.values, row.line),
        entered={},
        running=set(),
    )


def fit(row: CheckedRow, person: Person) -> Fit:
    """Compare what a row tells beside the names with a patient of the same names."""
    told = [mine == hers for mine, hers in ((row.email, person.email), (row.born, person.born)) if mine and hers]
    if not told:
        return Fit.UNSURE
    if all(told):
        return Fit.SAME
    return Fit.ALIKE if any(told) else Fit.OTHER


def compared(column: str, value: str) -> str:
    """A value in the form in which it is compared."""
    return normal(value) if column in ("record_number", "given_name", "family_name", "email") else value
