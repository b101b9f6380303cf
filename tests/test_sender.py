"""What becomes of reminders for each kind of answer: the whole sending chain against a scripted server, both databases.

What an answer means by itself is in `test_smtp_outcome.py`, the connection in `test_mailer.py`.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from db import marks, reminders, sends
from db import patients as stored_patients
from db.follow_up import CarePlan, Reminder
from db.records import PatientKey
from db.states import AddressState, DecisionKind, EventKind, ReminderState
from scheduler import approvals, decisions, events, patients, treatments
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from scheduler.entries import PatientForm
from scheduler.sender import Sender
from scheduler.treatments import TreatmentForm
from tests.process import environment, fill, open_folder
from tests.smtp_script import CLOSE, Act
from tests.smtp_server import SmtpServer

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

VISITS = """
key = "visits"
version = 1
title = "One visit"

[[review]]
key = "two-week"
after = "P14D"
tolerance = "P3D"

[[step]]
key = "in-3-days"
kind = "review"
template = "visit_in_3_days"
anchor = "review_booked"
offset = "-P3D"
at = "12:00"
expires_after = "P2D"
past = "send"
"""


def clinic_for(folder: Path, url: str, server: SmtpServer, count: int = 1, on_unknown: str = "resend_once") -> Clinic:
    """A clinic with `count` mails due, that sends to this server."""
    env = environment(folder, server.port, AFTERCARE_DATABASE_URL=url, AFTERCARE_SMTP_CONNECTIONS="1")
    fill(env, NOW - timedelta(seconds=30), count, on_unknown=on_unknown).store.engine.dispose()
    return open_folder(env, NOW)


def clinic_with_visit(env: dict[str, str], at: datetime, visit: str) -> Clinic:
    """A clinic with one patient whose visit is booked."""
    clinic = open_folder(env, at)
    approvals.read_files(clinic, "test")
    approvals.approve_protocol(clinic, "test", approvals.scope_of(clinic, "visits"), "Dr Novak")
    form = PatientForm("Tara", "Quill", email="tara@example.org", confirmed="yes", consent="all")
    patient_id = patients.add(clinic, "test", form).patient_id
    started = treatments.add(clinic, "test", patient_id, TreatmentForm("visits", "2026-11-20T10:00"))
    events.record(clinic, "test", started.treatment_id, EventKind.REVIEW_BOOKED, visit)
    return clinic


def move_visit(clinic: Clinic, row: Reminder, to: str) -> None:
    """Book the visit of a reminder for another time."""
    with clinic.store.read() as session:
        treatment_id = session.get_one(CarePlan, row.care_plan_id).treatment_id
    events.record(clinic, "test", treatment_id, EventKind.REVIEW_BOOKED, to)


async def send(clinic: Clinic, at: datetime = NOW) -> None:
    """One sweep at an instant."""
    clock = clinic.clock
    assert isinstance(clock, FastClock)
    clock.set(at)
    await Sender(clinic).send_once()


def rows_of(clinic: Clinic) -> list[Reminder]:
    """All reminders by due time."""
    with clinic.store.read() as session:
        return [row for row, _ in reminders.list_reminders(session)]


def stands(row: Reminder) -> tuple[str, str | None, int]:
    """State, reason and attempts."""
    return (row.state.value, row.reason.value if row.reason else None, row.attempts)


@pytest.mark.sweep(0.3)
@pytest.mark.parametrize(
    ("step", "act", "expected", "wait_minutes", "address"),
    [
        ("rcpt", "550 5.1.1 no such user", ("failed", "refused", 1), None, "refused"),
        ("rcpt", "550 no such user", ("failed", "refused", 1), None, "refused"),
        ("rcpt", "550 5.7.1 policy", ("held", "refused_by_server", 1), None, "confirmed"),
        ("rcpt", "552 5.2.2 mailbox full", ("held", "refused_by_server", 1), None, "confirmed"),
        ("rcpt", "450 4.2.0 greylisted", ("awaiting_retry", "put_off", 1), 15, "confirmed"),
        ("rcpt", "421 4.3.2 closing", ("awaiting_retry", "put_off", 1), 15, "confirmed"),
        ("data", "451 4.3.0 later", ("awaiting_retry", "put_off", 1), 15, "confirmed"),
        ("data", "554 5.6.0 no", ("held", "refused_by_server", 1), None, "confirmed"),
        ("data", CLOSE, ("awaiting_retry", "not_handed_over", 1), 1, "confirmed"),
        ("content", "250 2.0.0 fine", ("sent", None, 1), None, "confirmed"),
        ("content", "251 will forward", ("sent", None, 1), None, "confirmed"),
        ("content", "451 4.3.0 later", ("awaiting_retry", "put_off", 1), 15, "confirmed"),
        ("content", "554 5.6.0 content", ("held", "refused_by_server", 1), None, "confirmed"),
        ("content", CLOSE, ("awaiting_retry", "resend_once", 1), 5, "confirmed"),
        ("content", "what?", ("awaiting_retry", "resend_once", 1), 5, "confirmed"),
        ("mail", "550 5.7.1 not you", ("awaiting_retry", "not_handed_over", 1), 1, "confirmed"),
    ],
)
async def test_an_answer_leads_to_this_state(
    step: str,
    act: str | Act,
    expected: tuple[str, str | None, int],
    wait_minutes: int | None,
    address: str,
    database_url: str,
    tmp_path: Path,
) -> None:
    async with SmtpServer() as server:
        clinic = clinic_for(tmp_path, database_url, server)
        server.next(step, act)  # type: ignore[arg-type]
        await send(clinic)
        (row,) = rows_of(clinic)
        assert stands(row) == expected
        if wait_minutes is not None:
            waited = (row.ready_at - NOW).total_seconds() / 60
            assert wait_minutes <= waited <= wait_minutes * 1.3
        with clinic.store.read() as session:
            patient = stored_patients.find_patient(session, row.patient_id)
            assert patient is not None
            assert stored_patients.find_address_state(session, patient) is AddressState(address)
            (attempt,) = sends.list_attempts(session, row.id)
            assert attempt.recorded_at is not None
        clinic.store.engine.dispose()


async def test_a_relay_in_trouble_costs_no_attempt_and_blames_nobody(database_url: str, tmp_path: Path) -> None:
    async with SmtpServer() as server:
        clinic = clinic_for(tmp_path, database_url, server, count=3)
        server.always("greeting", "554 not today")
        await send(clinic)
        assert [stands(row) for row in rows_of(clinic)] == [("scheduled", None, 0)] * 3
        assert server.connections == 1  # closed after the first: nobody hammers
        server.always("greeting", None)
        await send(clinic, NOW + timedelta(minutes=2))
        assert [row.state for row in rows_of(clinic)] == [ReminderState.SENT] * 3
        clinic.store.engine.dispose()


async def test_greylisting_ends_in_one_delivery(database_url: str, tmp_path: Path) -> None:
    async with SmtpServer(greylist=2) as server:
        clinic = clinic_for(tmp_path, database_url, server)
        for minutes in (0, 20, 59):
            await send(clinic, NOW + timedelta(minutes=minutes))
        (row,) = rows_of(clinic)
        assert stands(row) == ("sent", None, 3)
        assert [message.message_id for message in server.accepted] == [row.message_id]
        clinic.store.engine.dispose()


async def test_an_unknown_is_resent_once_with_the_same_id_and_then_goes_to_a_person(
    database_url: str, tmp_path: Path
) -> None:
    async with SmtpServer() as server:
        clinic = clinic_for(tmp_path, database_url, server)
        server.next("content", Act(say="", then="close", keeps=True), times=2)
        await send(clinic)
        await send(clinic, NOW + timedelta(minutes=6))
        (row,) = rows_of(clinic)
        assert stands(row) == ("held", "unknown", 2)
        await send(clinic, NOW + timedelta(minutes=30))
        assert [message.message_id for message in server.accepted] == [row.message_id] * 2
        decided = decisions.decide(clinic, "Dana", row.id, DecisionKind.RESOLVE_RECEIVED)
        assert (decided.state, str(decided.reason)) == (ReminderState.SENT, "resolved_received")
        clinic.store.engine.dispose()


async def test_an_unknown_for_an_old_address_is_never_resent(database_url: str, tmp_path: Path) -> None:
    async with SmtpServer() as server:
        clinic = clinic_for(tmp_path, database_url, server)
        server.next("content", CLOSE)
        await send(clinic)
        (row,) = rows_of(clinic)
        assert stands(row) == ("awaiting_retry", "resend_once", 1)
        patients.change(clinic, "Dana", row.patient_id, {"email": "tara.new@example.org", "confirmed": "yes"})
        await send(clinic, NOW + timedelta(minutes=6))
        (row,) = rows_of(clinic)
        assert stands(row) == ("held", "unknown", 1)
        assert server.accepted == []
        clinic.store.engine.dispose()


async def test_a_refused_address_holds_her_later_messages_and_nobody_elses(database_url: str, tmp_path: Path) -> None:
    async with SmtpServer() as server:
        clinic = clinic_for(tmp_path, database_url, server, count=2)
        server.next("rcpt", "550 5.1.1 no such user")
        await send(clinic)
        states = sorted(stands(row)[0] for row in rows_of(clinic))
        assert states == ["failed", "sent"]
        failed = next(row for row in rows_of(clinic) if row.state is ReminderState.FAILED)
        again = decisions.decide(clinic, "Dana", failed.id, DecisionKind.SEND_AGAIN)
        assert (again.state, str(again.reason)) == (ReminderState.HELD, "address_refused")
        patients.change(clinic, "Dana", failed.patient_id, {"email": "right@example.org", "confirmed": "yes"})
        await send(clinic, NOW + timedelta(minutes=5))
        assert [message.recipient for message in server.accepted][-1] == "right@example.org"
        clinic.store.engine.dispose()


async def test_one_recipient_and_one_to_in_every_message(database_url: str, tmp_path: Path) -> None:
    async with SmtpServer() as server:
        clinic = clinic_for(tmp_path, database_url, server, count=5)
        await send(clinic)
        assert len(server.accepted) == 5
        for message in server.accepted:
            assert message.content.count(b"\r\nTo: ") == 1
            assert f"\r\nTo: {message.recipient}\r\n".encode() in message.content
        assert server.verbs().count("RCPT") == server.verbs().count("DATA") == 5
        clinic.store.engine.dispose()


async def test_the_sent_copy_is_what_the_server_took(database_url: str, tmp_path: Path) -> None:
    async with SmtpServer() as server:
        clinic = clinic_for(tmp_path, database_url, server)
        await send(clinic)
        (row,) = rows_of(clinic)
        with clinic.store.read() as session:
            (attempt,) = sends.list_attempts(session, row.id)
            copy = marks.read_copy(session, attempt.number)
        assert copy == server.accepted[0].content
        clinic.store.engine.dispose()


@pytest.mark.parametrize(("setting", "cap"), [("AFTERCARE_DAILY_CAP", 3), ("AFTERCARE_SMTP_RATE_PER_MINUTE", 2)])
async def test_a_cap_lets_no_more_leave_and_the_rest_waits(
    setting: str, cap: int, sqlite_url: str, tmp_path: Path
) -> None:
    async with SmtpServer() as server:
        env = environment(tmp_path, server.port, AFTERCARE_DATABASE_URL=sqlite_url, **{setting: str(cap)})
        fill(env, NOW - timedelta(seconds=30), 5).store.engine.dispose()
        clinic = open_folder(env, NOW)
        await send(clinic)
        assert len(server.accepted) == cap
        assert [row.state for row in rows_of(clinic)].count(ReminderState.SCHEDULED) == 5 - cap
        clinic.store.engine.dispose()


async def test_a_visit_moved_while_its_message_was_on_the_wire_is_told_at_once(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "visits.toml").write_text(VISITS)
    async with SmtpServer() as server:
        env = environment(tmp_path, server.port, AFTERCARE_DATABASE_URL=database_url, AFTERCARE_SMTP_CONNECTIONS="1")
        clinic = clinic_with_visit(env, NOW, "2026-11-26T14:00")
        (row,) = rows_of(clinic)
        server.always("content", Act(delay=1.0))
        sending = asyncio.create_task(send(clinic, NOW + timedelta(minutes=1)))
        await server.until(lambda: "DATA" in server.verbs())
        await asyncio.to_thread(move_visit, clinic, row, "2026-11-27T15:00")
        await sending
        assert [(found.generation, stands(found)[0]) for found in rows_of(clinic)] == [(1, "sent"), (2, "sent")]
        assert b"26 November" in server.accepted[0].content
        assert b"27 November" in server.accepted[-1].content
        clinic.store.engine.dispose()


async def test_a_revealing_value_holds_the_message_and_nothing_leaves(database_url: str, tmp_path: Path) -> None:
    async with SmtpServer() as server:
        env = environment(tmp_path, server.port, AFTERCARE_DATABASE_URL=database_url)
        fill(env, NOW - timedelta(seconds=30), 1).store.engine.dispose()
        clinic = open_folder({**env, "AFTERCARE_CLINIC_NAME": "The Vaginismus Rooms"}, NOW)
        await send(clinic)
        (row,) = rows_of(clinic)
        assert stands(row) == ("held", "revealing_text", 0)
        assert server.connections == 0
        clinic.store.engine.dispose()


async def test_one_broken_row_is_held_after_three_tries_and_stops_nobody_else(
    database_url: str, tmp_path: Path
) -> None:
    async with SmtpServer() as server:
        clinic = clinic_for(tmp_path, database_url, server, count=3)
        broken = rows_of(clinic)[0]
        with clinic.store.write("test", NOW) as session:
            session.execute(delete(PatientKey).where(PatientKey.patient_id == broken.patient_id))
        clinic.store.vault.forget(broken.patient_id)
        for minutes in (0, 6, 12, 18):
            await send(clinic, NOW + timedelta(minutes=minutes))
        found = {row.id: stands(row) for row in rows_of(clinic)}
        assert found.pop(broken.id) == ("held", "send_failed", 0)
        assert set(found.values()) == {("sent", None, 1)}
        clinic.store.engine.dispose()


@pytest.mark.parametrize(
    ("lasts", "expected"),
    [(timedelta(days=2), ("scheduled", None, 0)), (timedelta(hours=1), ("missed", "expired", 0))],
)
async def test_what_fell_due_by_day_does_not_leave_at_night(
    lasts: timedelta, expected: tuple[str, str | None, int], sqlite_url: str, tmp_path: Path
) -> None:
    async with SmtpServer() as server:
        window = {"AFTERCARE_DATABASE_URL": sqlite_url, "AFTERCARE_SEND_WINDOW": "08:00-12:30"}
        env = environment(tmp_path, server.port, **window)
        fill(env, NOW - timedelta(seconds=30), 1).store.engine.dispose()
        clinic = open_folder(env, NOW)
        night = NOW + timedelta(minutes=45)
        with clinic.store.write("test", NOW) as session:
            session.execute(update(Reminder).values(expires_at=NOW + lasts))
            session.execute(update(CarePlan).values(planned_with=clinic.fingerprint))
        await send(clinic, night)
        (row,) = rows_of(clinic)
        assert stands(row) == expected
        assert server.accepted == []
        if row.state is ReminderState.SCHEDULED:
            assert row.ready_at == datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
        clinic.store.engine.dispose()
