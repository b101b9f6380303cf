"""Lots: who was treated with one, for a recall; as a list and as a file. Every search and every export is noted.

The rows are found in `db.lots`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from db import audit
from db.lots import LotUse, list_uses
from db.states import CallSafe, TreatmentStatus
from scheduler.clinic import Clinic
from scheduler.csv_cells import csv_bytes
from scheduler.entries import clean_text
from scheduler.errors import InvalidInput

LONGEST_LOT: Final = 100
COLUMNS: Final = (
    "patient_id",
    "record_number",
    "given_name",
    "family_name",
    "birth_date",
    "treatment_id",
    "treatment",
    "treated_at",
    "clinician",
    "standing",
    "phone",
    "call",
    "email",
    "adverse_events",
)
DO_NOT_RING: Final = "do not ring: ask a clinician"


class LotStanding(StrEnum):
    """How a treatment stands to a lot that it was entered with."""

    HOLDS = "holds"  # it is what the record says
    CORRECTED = "corrected"  # a later version names another lot, or none
    CANCELLED = "cancelled"  # the treatment did not take place, or is another patient's


@dataclass(frozen=True, slots=True)
class LotLine:
    """One treatment of a lot's list."""

    use: LotUse
    title: str
    standing: LotStanding
    lot_now: str | None


@dataclass(frozen=True, slots=True)
class LotReport:
    """All treatments that were ever entered with a lot, the last done first."""

    lot: str
    lines: Sequence[LotLine]

    @property
    def held(self) -> list[LotLine]:
        """Treatments with this lot as the record stands."""
        return [line for line in self.lines if line.standing is LotStanding.HOLDS]

    @property
    def once(self) -> list[LotLine]:
        """Treatments that were entered with it and are not, or not so, any more."""
        return [line for line in self.lines if line.standing is not LotStanding.HOLDS]

    @property
    def patients(self) -> int:
        """How many patients the record says were treated with it."""
        return len({line.use.patient.id for line in self.held})


def search(session: Session, clinic: Clinic, typed: str) -> LotReport:
    """The treatments of a lot; whoever shows them notes it (`note`). Raises `InvalidInput` for an empty lot."""
    lot = _read_lot(typed)
    titles = _titles(session, clinic)
    return LotReport(lot, [_line(use, titles) for use in list_uses(session, lot)])


def note(clinic: Clinic, actor: str, report: LotReport, exported: bool = False) -> None:
    """Note in the trail that a lot's list was shown, or went out as a file."""
    # The same lot is the same word in the trail, and the word tells nobody which lot it is.
    hashed = clinic.store.vault.blind_lot(report.lot).hex()[:12]
    with clinic.store.write(actor, clinic.clock.now()) as session:
        audit.record(session, "lot.exported" if exported else "lot.searched", "lot", hashed)


def export(report: LotReport) -> bytes:
    """The list as a CSV file."""
    return csv_bytes(COLUMNS, [list(row.values()) for row in rows_of(report)])


def rows_of(report: LotReport) -> list[Mapping[str, object]]:
    """The lines by column; a number only where she may be rung."""
    return [dict(zip(COLUMNS, _cells(line), strict=True)) for line in report.lines]


def _line(use: LotUse, titles: Mapping[str, str]) -> LotLine:
    standing = LotStanding.HOLDS
    if use.treatment.status is TreatmentStatus.CANCELLED or use.patient.voided_at is not None:
        standing = LotStanding.CANCELLED
    elif use.holds.id != use.named.id:
        standing = LotStanding.CORRECTED
    title = titles.get(use.treatment.protocol_key, use.treatment.protocol_key)
    return LotLine(use, title, standing, use.holds.fields.get("lot"))


def _cells(line: LotLine) -> list[object]:
    use, patient = line.use, line.use.patient
    may_ring = patient.call_safe is CallSafe.YES
    return [
        patient.id,
        patient.record_number,
        patient.given_name,
        patient.family_name,
        patient.birth_date,
        use.treatment.id,
        line.title,
        use.holds.treated_local.replace("T", " "),
        use.holds.clinician,
        line.standing.value,
        patient.phone if may_ring else None,
        patient.contact_note if may_ring else DO_NOT_RING,
        patient.email,
        len(use.adverse),
    ]


def _titles(session: Session, clinic: Clinic) -> dict[str, str]:
    shelf = clinic.library.shelf(session)
    return {shelved.protocol.key: shelved.protocol.title for shelved in shelf.protocols.values()}


def _read_lot(typed: str) -> str:
    lot, problem = clean_text(typed, "lot", LONGEST_LOT)
    if problem:
        raise InvalidInput(problem)
    if not lot:
        raise InvalidInput("lot: write the lot number as it stands on the package")
    return lot
