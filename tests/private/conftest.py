"""A clinic whose patients have pages, and one of them with the link of a mail that left."""

from uuid import UUID

import pytest

from scheduler.settings import SHIPPED
from tests.clinic import Desk
from tests.people import AMINA
from tests.private_parts import TOXIN, WITH_PAGES, choose_code, send_all


@pytest.fixture
def desk(desk: Desk) -> Desk:
    """Patients of this clinic have pages."""
    desk = desk.with_settings(**WITH_PAGES)
    desk.write_protocol((SHIPPED / "protocols" / f"{TOXIN}.toml").read_text(encoding="utf-8"), TOXIN)
    desk.approve(TOXIN)
    return desk


@pytest.fixture
def patient_id(desk: Desk) -> UUID:
    """She reads notices, and has chosen a code."""
    found = desk.enter(AMINA, level="notice")
    choose_code(desk.clinic, found)
    return found


@pytest.fixture
def treatment_id(desk: Desk, patient_id: UUID) -> UUID:
    return desk.treat(patient_id, protocol=TOXIN).treatment_id


@pytest.fixture
def token(desk: Desk, treatment_id: UUID) -> str:
    """The first mail has left: the link in it."""
    desk.tick(hours=8)
    (sent,) = send_all(desk)
    return sent.page
