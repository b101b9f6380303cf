"""The staff's list of the day as its tests look at it."""

from uuid import UUID

from scheduler.worklist import LineKind, Worklist, read_worklist
from tests.clinic import Desk
from tests.people import AMINA


def worklist(desk: Desk) -> Worklist:
    """The list as it is now."""
    with desk.store.read() as session:
        return read_worklist(session, desk.clinic)


def kinds(desk: Desk) -> list[str]:
    """The kinds of its lines in their order, but for records that wait to be signed."""
    return [line.kind.value for line in worklist(desk).lines if line.kind is not LineKind.UNSIGNED]


def only(desk: Desk, kind: LineKind) -> list[UUID]:
    """Whose lines of a kind there are."""
    return [line.patient_id for line in worklist(desk).lines if line.kind is kind]


def treated(desk: Desk, **more: str) -> tuple[UUID, UUID]:
    """Amina and her treatment of 23 November, 09:30."""
    patient_id = desk.enter(AMINA, **more)
    return patient_id, desk.treat(patient_id).treatment_id
