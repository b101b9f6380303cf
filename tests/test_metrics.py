"""`/metrics`: numbers as a monitor reads them, for this machine alone, and nothing of a patient in them."""

import re
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from db.engine import Store
from db.states import Reason, ReminderState
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from scheduler.metrics import SenderSigns, write_metrics
from tests.clinic import Desk
from tests.people import AMINA
from tests.web_parts import RELAY, beating, make_clinic, planned, served
from web.app import make_app

SAMPLE = re.compile(r'aftercare_[a-z_]+(\{[a-z]+="[a-z_]+"\})? -?[0-9][0-9.e+-]*')


@pytest.fixture
def clinic(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> Clinic:
    """A clinic with a mail server."""
    return make_clinic(sqlite_store, clock, tmp_path / "var", **RELAY)


def values(text: str) -> dict[str, float]:
    """Names with their labels, and their values; every line has to be one that Prometheus reads."""
    found = {}
    told: set[str] = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            told.add(line.split()[2])
        elif not line.startswith("# HELP "):
            assert SAMPLE.fullmatch(line), line
            name, _, value = line.rpartition(" ")
            assert name.partition("{")[0] in told, line
            assert name not in found, line
            found[name] = float(value)
    return found


async def read(clinic: Clinic, **headers: str) -> httpx.Response:
    """Ask for the page on this machine."""
    async with served(make_app(clinic)) as client:
        return await client.get("/metrics", headers=headers)


async def test_the_numbers_are_what_is_in_the_record(clinic: Clinic, clock: FastClock) -> None:
    beating(clinic)
    planned(clinic, 2, state=ReminderState.HELD, reason=Reason.UNKNOWN)
    planned(clinic, 3, state=ReminderState.FAILED, reason=Reason.REFUSED)
    planned(clinic, due_at=clock.now() - timedelta(seconds=90))
    answer = await read(clinic)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = values(answer.text)
    assert found['aftercare_reminders{state="held"}'] == 2
    assert found['aftercare_reminders{state="scheduled"}'] == 1
    assert found['aftercare_reminders_held{reason="unknown"}'] == found["aftercare_reminders_unknown"] == 2
    assert found["aftercare_reminders_failed_unsettled"] == 3
    assert (found["aftercare_oldest_due_seconds"], found["aftercare_heartbeat_age_seconds"]) == (90, 0)
    assert (found["aftercare_stalled"], found["aftercare_gate_open"], found["aftercare_workers_alive"]) == (0, 1, 1)
    assert 'aftercare_attempts_total{outcome="accepted"}' in found
    clock.advance(timedelta(minutes=5))
    later = values((await read(clinic)).text)
    assert (later["aftercare_stalled"], later["aftercare_workers_alive"]) == (1, 0)


async def test_nobody_elsewhere_reads_them_and_they_can_be_switched_off(
    clinic: Clinic, sqlite_store: Store, clock: FastClock, tmp_path: Path
) -> None:
    beating(clinic)
    forwarded = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    assert (await read(clinic, **forwarded)).status_code == 404
    assert (await read(clinic, Host="records.example.org")).status_code == 404  # a proxy that adds nothing
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(make_app(clinic), client=("192.0.2.7", 4711)), base_url="http://records.test"
    ) as stranger:
        assert (await stranger.get("/metrics")).status_code == 404
    off = make_clinic(sqlite_store, clock, tmp_path / "var", **RELAY, AFTERCARE_METRICS="off")
    assert (await read(off)).status_code == 404


def test_they_hold_nothing_of_a_patient(desk: Desk) -> None:
    patient_id = desk.enter(AMINA)
    desk.treat(patient_id)
    desk.tick(hours=9)
    desk.send_due()
    with desk.store.read() as session:
        text = write_metrics(session, desk.clinic, SenderSigns(True, False, True))
    found = values(text)
    assert found['aftercare_attempts_total{outcome="accepted"}'] == 1
    assert [found[f"aftercare_{name}"] for name in ("recorder_healthy", "relay_circuit_open", "relay_alarm")] == [
        1,
        1,
        1,
    ]
    for told in (str(patient_id), patient_id.hex, "Amina", "amina@", "course", "after-visit", "A-1001"):
        assert told not in text
