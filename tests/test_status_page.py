"""`/health`, the status page and the outbox over real HTTP: what they say, and what they must never show."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from db import gate
from db.engine import Store
from db.states import Reason, ReminderState
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from tests.people import DANUTA
from tests.web_parts import RELAY, beating, make_clinic, planned, served, written
from web import times
from web.app import make_app


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
        answer = await client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "degraded"
    assert answer.json().keys() == {
        "status", "oldest_due_seconds", "heartbeat_age_seconds", "unknown", "held", "failed"
    }  # fmt: skip


async def test_the_status_page_names_no_patient_address_treatment_or_text(clinic: Clinic, clock: FastClock) -> None:
    beating(clinic)
    planned(clinic, 3)
    planned(clinic, 2, state=ReminderState.SENT, reason=Reason.WRITTEN_TO_FOLDER, sent_at=clock.now())
    planned(clinic, 1, state=ReminderState.HELD, reason=Reason.ADDRESS_REFUSED)
    written(clinic)
    async with served(make_app(clinic)) as client:
        shown = (await client.get("/")).text
    assert "Leaves next" in shown
    assert "about a visit" in shown
    for secret in (DANUTA.given_name, DANUTA.family_name, DANUTA.email, "canary", "Novak", "@"):
        assert secret.lower() not in shown.lower(), secret


async def test_the_status_page_says_in_red_that_nothing_is_e_mailed(clinic: Clinic, mailing: Clinic) -> None:
    sentence = "No mail server is set: nothing is e-mailed; mails are written to the folder."
    name = written(clinic)
    async with served(make_app(clinic)) as client:
        for path in ("/", "/outbox", f"/outbox/{name}"):
            assert sentence in (await client.get(path)).text
    async with served(make_app(mailing)) as client:
        assert sentence not in (await client.get("/")).text
        for path in ("/outbox", f"/outbox/{name}", f"/outbox/{name}/html"):
            assert (await client.get(path)).status_code == 404


async def test_the_pulse_says_whether_messages_leave(mailing: Clinic, clock: FastClock) -> None:
    async with served(make_app(mailing)) as client:

        async def pulse() -> str:
            return (await client.get("/")).text.partition('<p class="pulse ')[2].partition("</p>")[0]

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
    assert stopped.startswith("amber")
    assert "Sending is stopped: restored &lt;from&gt; a backup" in stopped
    assert late.startswith("red")
    assert "the oldest message has waited 1 hour" in late


async def test_what_needs_a_person_is_told_in_sentences(clinic: Clinic) -> None:
    beating(clinic)
    planned(clinic, 2, state=ReminderState.HELD, reason=Reason.UNKNOWN)
    planned(clinic, 1, state=ReminderState.MISSED, reason=Reason.EXPIRED)
    planned(clinic, 5, state=ReminderState.MISSED, reason=Reason.PAST_WHEN_PLANNED)
    async with served(make_app(clinic)) as client:
        needs = (await client.get("/")).text.partition("Needs a person")[2].partition("</section>")[0]
    assert needs.count("<li") == 2
    assert Reason.UNKNOWN.sentence.replace("'", "&#39;") in needs
    assert "aftercare reminders --state missed" in needs


async def test_a_mail_is_shown_escaped_and_its_html_shut_in_a_sandbox(clinic: Clinic) -> None:
    hostile = '<p style="color:red">Hello</p><script>document.title="broken"</script>'
    name = written(clinic, hostile)
    async with served(make_app(clinic)) as client:
        shown = (await client.get(f"/outbox/{name}")).text
        part = await client.get(f"/outbox/{name}/html")
    assert "Your visit &lt;b&gt;soon&lt;/b&gt;" in shown
    assert "Good morning, Danuta &amp; all." in shown
    assert DANUTA.email in shown
    assert "<script" not in shown
    assert f'<iframe src="/outbox/{name}/html"' in shown
    assert part.text.strip() == hostile
    directives = part.headers["content-security-policy"].split("; ")
    assert set(directives) == {
        "sandbox", "default-src 'none'", "style-src 'unsafe-inline'", "frame-ancestors 'self'"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("instant", "said"),
    [
        (datetime(2026, 3, 28, 23, 59, tzinfo=UTC), "yesterday 23:59"),
        (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), "today 00:59"),
        (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "today 02:00"),
        (datetime(2026, 3, 29, 23, 0, tzinfo=UTC), "tomorrow 00:00"),
        (datetime(2026, 12, 8, 10, 0, tzinfo=UTC), "Tuesday 8 December 10:00"),
        (datetime(2027, 1, 2, 10, 0, tzinfo=UTC), "Saturday 2 January 2027 10:00"),
    ],
)
def test_days_near_today_are_named_by_the_clinics_calendar(instant: datetime, said: str) -> None:
    assert times.when(instant, datetime(2026, 3, 29, 12, 0, tzinfo=UTC), "Europe/London") == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (119, "1 minute"),
        (7_200, "2 hours"),
        (86_399, "23 hours"),
        (172_800, "2 days"),
    ],
)
def test_an_age_is_told_in_its_largest_unit(seconds: int, said: str) -> None:
    assert times.age(seconds) == said
