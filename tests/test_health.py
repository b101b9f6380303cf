"""`/health` and the pulse over real HTTP: whether messages leave, told to machines and to people."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from db import gate
from db.engine import Store
from db.states import Reason, ReminderState, Role
from db.vault import KeyRing
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from scheduler.health import feel_pulse
from tests.staffed import KEYS, Staffed
from tests.web_parts import RELAY, beating, make_clinic, planned, served
from web.app import make_app


@pytest.fixture
def keyring() -> KeyRing:
    """The keys that the secrets of the tests' staff are hashed with."""
    return KEYS


@pytest.fixture
def clinic(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> Clinic:
    """A clinic without a mail server."""
    return make_clinic(sqlite_store, clock, tmp_path / "var")


@pytest.fixture
def mailing(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> Clinic:
    """The same clinic with a mail server."""
    return make_clinic(sqlite_store, clock, tmp_path / "var", **RELAY)


async def test_health_says_ok_while_messages_leave(mailing: Clinic) -> None:
    beating(mailing)
    async with served(make_app(mailing)) as client:
        answer = await client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "oldest_due_seconds": None,
        "heartbeat_age_seconds": 0,
        "unknown": 0,
        "held": 0,
        "failed": 0,
        "alarm": False,
        "loop_lag_ms": None,
    }


async def test_health_is_degraded_without_a_mail_server_and_counts_what_waits_for_a_person(clinic: Clinic) -> None:
    beating(clinic)
    planned(clinic, state=ReminderState.HELD, reason=Reason.UNKNOWN)
    planned(clinic, 2, state=ReminderState.HELD, reason=Reason.NOT_APPROVED)
    planned(clinic, 3, state=ReminderState.FAILED, reason=Reason.REFUSED)
    planned(clinic, due_at=clinic.clock.now() - timedelta(seconds=90))
    async with served(make_app(clinic)) as client:
        answer = await client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "degraded",
        "oldest_due_seconds": 90,
        "heartbeat_age_seconds": 0,
        "unknown": 1,
        "held": 3,
        "failed": 3,
        "alarm": False,
        "loop_lag_ms": None,
    }


async def test_health_is_503_when_nothing_sends_or_what_is_due_does_not_leave(clinic: Clinic, clock: FastClock) -> None:
    async with served(make_app(clinic)) as client:
        nobody = await client.get("/health")
        beating(clinic)
        planned(clinic, due_at=clock.now() - timedelta(minutes=6))
        late = await client.get("/health")
        with clinic.store.write("test", clock.now()) as session:
            gate.close_gate(session, "the clinic is closed")
        stopped = await client.get("/health")
    assert (nobody.status_code, nobody.json()["heartbeat_age_seconds"]) == (503, None)
    assert (late.status_code, late.json()["oldest_due_seconds"]) == (503, 360)
    assert (stopped.status_code, stopped.json()["status"]) == (200, "degraded")


async def test_health_is_503_in_its_own_shape_when_the_database_cannot_be_read(clinic: Clinic) -> None:
    with clinic.store.write("test", clinic.clock.now()) as session:
        session.execute(text("DROP TABLE gate"))
    async with served(make_app(clinic)) as client:
        with capture_logs() as told:
            answer = await client.get("/health")
    assert [event["event"] for event in told] == ["health_unreadable"]
    assert answer.status_code == 503
    assert answer.json()["status"] == "degraded"
    assert answer.json().keys() == {
        "status", "oldest_due_seconds", "heartbeat_age_seconds", "unknown", "held", "failed", "alarm", "loop_lag_ms"
    }  # fmt: skip


async def test_the_pulse_says_whether_messages_leave(mailing: Clinic, clock: FastClock) -> None:
    browser = Staffed(mailing).at_work("mia", Role.RECEPTION)

    async def pulse() -> str:
        answer = await browser.get("/pulse")
        return answer.text.partition('<p class="pulse ')[2].partition("</p>")[0]

    nobody = await pulse()
    beating(mailing)
    planned(mailing)
    sends = await pulse()
    with mailing.store.write("test", clock.now()) as session:
        gate.close_gate(session, "restored <from> a backup")
    stopped = await pulse()
    with mailing.store.write("test", clock.now()) as session:
        gate.open_gate(session)
    clock.advance(timedelta(hours=2))
    beating(mailing)
    late = await pulse()
    assert nobody.startswith("red")
    assert "no sending process is running" in nobody
    assert sends.startswith("green")
    assert "next message today 10:00" in sends
    assert stopped.startswith("red")
    assert "Sending is stopped: restored &lt;from&gt; a backup" in stopped
    assert late.startswith("red")
    assert "the oldest message has waited 1 hour" in late


async def test_what_is_wrong_with_the_mail_server_stands_on_every_page_while_it_is_so(
    mailing: Clinic, clock: FastClock
) -> None:
    browser = Staffed(mailing).at_work("mia", Role.RECEPTION)
    with mailing.store.write("service", clock.now()) as session:
        worker_id = gate.add_worker(session, "test")
        gate.beat(session, worker_id, swept=True, alarm="The mail server refuses our login.", loop_lag_ms=12)
    page = (await browser.get("/today")).text
    assert "The mail server refuses our login" in page
    async with served(make_app(mailing)) as client:
        told = (await client.get("/health")).json()
    assert (told["status"], told["alarm"], told["loop_lag_ms"]) == ("degraded", True, 12)
    with mailing.store.write("service", clock.now()) as session:
        gate.beat(session, worker_id, swept=True)
    assert "refuses our login" not in (await browser.get("/today")).text


def test_a_sign_of_life_from_a_clock_that_stood_wrong_hides_no_living_process(
    mailing: Clinic, clock: FastClock
) -> None:
    with mailing.store.write("service", clock.now() + timedelta(days=400)) as session:
        gate.stop_worker(session, gate.add_worker(session, "ahead"))
    beating(mailing)
    with mailing.store.read() as session:
        assert feel_pulse(session, mailing).alive
