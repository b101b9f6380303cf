"""Checking one row of an import by itself: its patient cells and its treatment, each problem with line and column.

Which patient a row speaks of is decided in `scheduler.import_people`; reading the file in `scheduler.import_file`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfoNotFoundError

from db.treatments import TreatmentEntry
from db.vault import normal
from scheduler.clinic import Clinic
from scheduler.entries import Said, check_change, check_moment, read_yes_no
from scheduler.errors import AftercareError, InvalidInput
from scheduler.import_file import FIELD, PATIENT_COLUMNS, TREATMENT_COLUMNS, FileRow
from scheduler.library import Shelf, ShelvedProtocol
from scheduler.local_time import zone
from scheduler.planning.facts import Moment
from scheduler.treatments import TreatmentForm, check_entry

_RENAMED = re.compile(r"^(at|field [^:]+): ")


@dataclass(frozen=True, slots=True)
class RowTreatment:
    """The treatment of a row; `booking` is the booked visit of its first review."""

    line: int
    shelved: ShelvedProtocol
    entry: TreatmentEntry
    booking: Moment | None

    @property
    def key(self) -> tuple[str, datetime]:
        """What makes two treatments of one patient the same."""
        return self.shelved.protocol.key, self.entry.treated_at


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """A row whose cells are right in themselves.

    `values` are her cells as they would be stored, without the empty ones; `names`, `email` and `number` are in the
    form in which they are compared.
    """

    line: int
    values: Mapping[str, str]
    names: tuple[str, str]
    email: str | None
    born: date | None
    number: str | None
    treatment: RowTreatment | None

    @property
    def name_parts(self) -> frozenset[str]:
        """The parts of her names by which the record can be searched: two letters and more."""
        parts = " ".join(self.names).replace("-", " ").split()
        return frozenset(part for part in parts if len(part) >= 2)


class RowChecker:
    """Checks rows one by one and gathers all problems."""

    def __init__(self, clinic: Clinic, shelf: Shelf, reading: Sequence[str]) -> None:
        self.problems: list[tuple[int, str]] = []
        self.protocols: dict[str, ShelvedProtocol | None] = {}
        self._clinic = clinic
        self._shelf = shelf
        self._reading = reading  # what is wrong in the protocol files
        self._today = clinic.clock.now().date()
        self._said_of_protocol: dict[str, str] = {}

    def check(self, row: FileRow) -> CheckedRow | None:
        """The row, or None when something in it is wrong."""
        before = len(self.problems)
        cells = {column: row.cells[column] for column in PATIENT_COLUMNS if column in row.cells}
        if "call_safe" in cells:
            safe = read_yes_no(cells["call_safe"])
            cells["call_safe"] = cells["call_safe"] if safe is None else ("yes" if safe else "no")
        fields: dict[str, str | None] = {}
        said = Said()
        if not any(column in cells for column in ("record_number", "given_name", "family_name")):
            self._wrong(row, "given_name: is needed, or a record_number that is known")
        try:
            if cells:
                fields, said = check_change(cells, self._clinic.settings, self._today)
        except InvalidInput as wrong:
            self._wrong(row, *wrong.problems)
        treatment = self._treatment(row)
        if len(self.problems) > before:
            return None
        values = {column: value for column, value in fields.items() if value}
        born = date.fromisoformat(values["birth_date"]) if "birth_date" in values else None
        if born:
            values["birth_date"] = born.isoformat()
        if "consent" in cells:
            values["consent"] = cells["consent"]
        if "confirmed" in cells:
            values["confirmed"] = "yes" if said.confirmed else "no"
        return CheckedRow(
            line=row.line,
            values=values,
            names=(normal(values.get("given_name", "")), normal(values.get("family_name", ""))),
            email=normal(values["email"]) if "email" in values else None,
            born=born,
            number=normal(values["record_number"]) if "record_number" in values else None,
            treatment=treatment,
        )

    def _treatment(self, row: FileRow) -> RowTreatment | None:
        key, at = row.cells.get("protocol"), row.cells.get("treated_at")
        if key is None:
            stray = [column for column in row.cells if column in TREATMENT_COLUMNS or column.startswith(FIELD)]
            if stray:
                self._wrong(row, f"protocol: is empty, so {', '.join(stray)} would belong to no treatment")
            return None
        shelved = self._protocol(row, key)
        if at is None:
            self._wrong(row, "treated_at: is needed with a protocol; write 2026-11-23T10:30")
        booking = self._booking(row, shelved)
        zone_name = row.cells.get("treated_zone")
        if zone_name is not None and not _is_zone(zone_name):
            self._wrong(row, f'treated_zone: "{zone_name}" is not known; write one like Europe/London')
            return None
        if shelved is None or at is None:
            return None
        fields = {name.removeprefix(FIELD): cell for name, cell in row.cells.items() if name.startswith(FIELD)}
        form = TreatmentForm(key, at, zone_name, row.cells.get("clinician"), fields)
        try:
            entry = check_entry(self._clinic, shelved, form, self._today)
        except InvalidInput as wrong:
            self._wrong(row, *(_RENAMED.sub(_column, problem) for problem in wrong.problems))
            return None
        if booking and booking.instant <= entry.treated_at:
            self._wrong(row, f"review_booked_at: {row.cells['review_booked_at']} is not after the treatment")
            return None
        return RowTreatment(row.line, shelved, entry, booking)

    def _protocol(self, row: FileRow, key: str) -> ShelvedProtocol | None:
        if key not in self.protocols:
            try:
                self.protocols[key] = self._shelf.for_new_treatment(key)
            except AftercareError as wrong:
                self.protocols[key] = None
                mine = [problem for problem in self._reading if problem.startswith(f"{key}.toml")]
                self._said_of_protocol[key] = "; ".join([str(wrong), *mine])
        if self.protocols[key] is None:
            self._wrong(row, f"protocol: {self._said_of_protocol[key]}")
        return self.protocols[key]

    def _booking(self, row: FileRow, shelved: ShelvedProtocol | None) -> Moment | None:
        text = row.cells.get("review_booked_at")
        if text is None:
            return None
        try:
            booking = check_moment(text, self._clinic.settings.clinic_time_zone, "review_booked_at")
        except InvalidInput as wrong:
            self._wrong(row, *wrong.problems)
            return None
        if shelved is not None and not shelved.protocol.reviews:
            self._wrong(row, f'review_booked_at: the protocol "{shelved.protocol.key}" has no reviews')
        return booking

    def _wrong(self, row: FileRow, *problems: str) -> None:
        self.problems += [(row.line, f"line {row.line}, {problem}") for problem in problems]


def _column(label: re.Match[str]) -> str:
    """How the file calls what the command line calls `at` and `field KEY`."""
    found = label[1]
    return "treated_at: " if found == "at" else f"{FIELD}{found.removeprefix('field ')}: "


def _is_zone(name: str) -> bool:
    try:
        zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
