"""Fixtures of the stories: a clinic with everything approved for each of them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from scheduler.clock import FastClock
from scheduler.demo_clinic import approve_everything
from scheduler.settings import load_settings
from service import open_clinic
from tests.clinic import Desk
from tests.live import Live, served
from tests.private_parts import PUBLIC
from web.private.app import make_private_app

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SCREENS = os.environ.get("AFTERCARE_SCREENS")  # where the pictures of the documents are written: `make screens`


def settings_of(folder: Path) -> dict[str, str]:
    """A clinic that says who it is, in a folder."""
    told = {
        "DATA_DIR": str(folder),
        "CLINIC_NAME": "Harbour Clinic",
        "CLINIC_PHONE": "020 7946 0999",
        "CLINIC_HOURS": "weekdays 9 to 5",
        "CLINIC_COUNTRY": "GB-ENG",
        "SENDER_ADDRESS": "post@example.org",
        "SENDER_NAME": "Harbour 12",
        "REPLY_TO": "desk@example.org",
        "SMTP_HOST": "mail.example.org",  # nothing is sent: what the sender does is done by hand
        "ALERT_ADDRESS": "alarms@example.org",
    }
    return {f"AFTERCARE_{name}": value for name, value in told.items()}


@pytest.fixture(scope="session")
def approved_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a clinic whose shipped protocols a clinician has approved."""
    folder = tmp_path_factory.mktemp("approved")
    clinic = open_clinic(load_settings(settings_of(folder)), FastClock(START, speed=0))
    approve_everything(clinic)
    with clinic.store.engine.connect() as connection:
        connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
    clinic.store.engine.dispose()
    return folder


@pytest.fixture
def live(request: pytest.FixtureRequest, chromium: Browser, approved_folder: Path, tmp_path: Path) -> Iterator[Live]:
    """A live clinic; `@pytest.mark.parametrize("live", [True], indirect=True)` asks for second factors."""
    with _opened(approved_folder, tmp_path) as desk:
        found = Live(desk, chromium, _screens(tmp_path), bool(getattr(request, "param", False)))
        with served(found):
            yield found
    assert found.faults == []


@pytest.fixture
def hers(chromium: Browser, approved_folder: Path, tmp_path: Path) -> Iterator[Live]:
    """A live clinic whose patients have pages; those alone are served."""
    with _opened(approved_folder, tmp_path, AFTERCARE_PUBLIC_URL=PUBLIC) as desk:
        found = Live(desk, chromium, _screens(tmp_path))
        with served(found, make_private_app(desk.clinic)):
            yield found
    assert found.faults == []


@contextmanager
def _opened(approved: Path, tmp_path: Path, **more: str) -> Iterator[Desk]:
    folder = tmp_path / "var"
    shutil.copytree(approved, folder)
    clock = FastClock(START, speed=0)
    clinic = open_clinic(load_settings(settings_of(folder) | more), clock)
    yield Desk(clinic, clock, tmp_path)
    clinic.store.engine.dispose()


def _screens(tmp_path: Path) -> Path:
    return Path(SCREENS) if SCREENS else tmp_path / "screens"
