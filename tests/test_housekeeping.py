"""What is done beside the sending: checks that the record is whole, the day's mail, alerts, and the ping outside."""

import asyncio
import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from db import audit as stored_trail
from db.states import EventKind, Reason
from scheduler import integrity
from scheduler.health import examine
from scheduler.housekeeping import Housekeeper
from scheduler.sender import relay_of
from tests.clinic import Desk
from tests.people import AMINA, BEATRIX
from tests.process import environment, fill, wait_until
from tests.process import running as running_service
from tests.smtp_server import SmtpServer, running

ALARMS = {"ALERT_ADDRESS": "office@example.org", "SENDER_ADDRESS": "post@example.org", "SENDER_NAME": "Harbour",
          "REPLY_TO": "desk@example.org"}  # fmt: skip


def mailing(desk: Desk, server: SmtpServer, **more: str) -> Desk:
    """The clinic with a mail server and an address for alarms."""
    relay = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(server.port), "SMTP_SECURITY": "none"}
    return desk.with_settings(**ALARMS, **relay, **more)


def look(desk: Desk, keeper: Housekeeper | None = None) -> Housekeeper:
    """One look of the housekeeper."""
    keeper = keeper or Housekeeper(desk.clinic, relay_of(desk.clinic))
    asyncio.run(keeper.look())
    return keeper


def mails(server: SmtpServer) -> list[tuple[str, str, str]]:
    """What arrived: to whom, subject, text."""
    found = []
    for accepted in server.accepted:
        mail = message_from_bytes(accepted.content, policy=default)
        found.append((str(mail["To"]), str(mail["Subject"]), mail.get_content().replace("\r\n", "\n")))
    return found


# Is the record whole?


def test_a_whole_record_is_checked_once_a_day_and_thoroughly_once_a_week(desk: Desk) -> None:
    desk.enter()
    keeper = look(desk)
    assert len(desk.audit("integrity.passed")) == 2  # the daily and the weekly check are both due at first
    look(desk, keeper)
    desk.tick(hours=24)
    look(desk, keeper)
    assert len(desk.audit("integrity.passed")) == 3
    desk.tick(days=7)
    look(desk, keeper)
    assert len(desk.audit("integrity.passed")) == 5
    with desk.store.read() as session:
        assert integrity.find_last_check(session) == integrity.Checked(desk.clock.now(), ())


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("UPDATE audit_events SET actor = 'nobody' WHERE number = 1", "trail_broken"),
        ("UPDATE patients SET family_name_sealed = given_name_sealed", "sealed_unreadable"),
        ("UPDATE gate SET last_attempt = 0", "attempt_numbers"),
    ],
)
def test_what_is_not_whole_is_found_and_told(desk: Desk, damage: str, found: str) -> None:
    desk.treat(desk.enter())
    desk.tick(hours=9)
    desk.send_due()
    with desk.store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text(damage))
    with capture_logs() as told:
        look(desk)
    assert {event["check"] for event in told if event["event"] == "record_not_whole"} == {found}
    with desk.store.read() as session:
        health = examine(session, desk.clinic)
    assert health.checked is not None
    assert (health.checked.problems, health.ok) == ((found,), False)
    assert found in integrity.PROBLEMS


def test_a_constraint_that_somebody_took_away_is_found(postgres_desk: Desk) -> None:
    with postgres_desk.store.engine.begin() as connection:
        connection.execute(
            text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_patients_email_index'::regclass")
        )
    try:
        assert integrity.check_record(postgres_desk.clinic, False) == ("constraints_not_valid",)
    finally:
        with postgres_desk.store.engine.begin() as connection:
            connection.execute(text("UPDATE pg_index SET indisvalid = true"))


def test_rows_that_point_nowhere_are_found(sqlite_desk: Desk) -> None:
    sqlite_desk.enter()
    with sqlite_desk.store.engine.execution_options(writes=True).connect() as connection:
        connection.connection.driver_connection.execute("PRAGMA foreign_keys=0")  # type: ignore[union-attr]
        with connection.begin():
            connection.execute(text("UPDATE consents SET patient_id = '00000000000000000000000000000001'"))
    assert integrity.check_record(sqlite_desk.clinic, True) == ("rows_point_nowhere",)


def test_a_stop_cuts_a_long_check_short_and_the_next_start_begins_it_anew(
    sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_desk.enter()
    monkeypatch.setattr(stored_trail, "TELL_EVERY", 1)
    keeper = Housekeeper(sqlite_desk.clinic, None)
    keeper.stop()
    look(sqlite_desk, keeper)
    assert sqlite_desk.audit("integrity.passed") == []
    look(sqlite_desk)
    assert len(sqlite_desk.audit("integrity.passed")) == 2


# Mails to staff


def test_the_days_mail_comes_once_a_morning_in_counts_and_names_nobody(sqlite_desk: Desk) -> None:
    with running(SmtpServer(offer_starttls=False)) as server:
        desk = mailing(sqlite_desk, server)
        patient_id = desk.enter(AMINA)
        treatment_id = desk.treat(patient_id).treatment_id
        desk.enter(BEATRIX)
        desk.event(treatment_id, EventKind.HOLD)
        keeper = look(desk)
        look(desk, keeper)
        assert [subject for _, subject, _ in mails(server)] == ["Today: nothing urgent"]
        desk.tick(hours=22)  # 7:00 on the next morning
        look(desk, keeper)
        assert len(server.accepted) == 1
        desk.tick(minutes=31)
        look(desk, keeper)
        (to, _, said) = mails(server)[-1]
        assert (len(server.accepted), to) == (2, "office@example.org")
        assert f"held, {Reason.HOLD.value}:" in said
        assert "No backup was ever made here" in said
        for told in ("Amina", "Farouk", "amina@", str(patient_id), str(treatment_id), "course"):
            assert told not in said


def test_a_call_that_is_asked_for_is_told_at_once_and_once(sqlite_desk: Desk) -> None:
    with running(SmtpServer(offer_starttls=False)) as server:
        desk = mailing(sqlite_desk, server)
        keeper = look(desk)
        first = len(server.accepted)
        treatments = [desk.treat(desk.enter(person)).treatment_id for person in (AMINA, BEATRIX)]
        desk.event(treatments[0], EventKind.CALL_REQUESTED)
        desk.tick(minutes=1)
        for _ in range(2):
            look(desk, keeper)
        (told,) = mails(server)[first:]
        assert told == ("office@example.org", "1 patient asks for a call",
                        "1 patient asks for a call.\nWho and why is on Today, behind the sign-in.\n")  # fmt: skip
        desk.tick(minutes=6)
        desk.event(treatments[1], EventKind.CALL_REQUESTED)
        desk.tick(minutes=1)
        look(desk, keeper)
        assert [subject for _, subject, _ in mails(server)[first:]][-1] == "2 patients ask for a call"


def test_a_call_that_nobody_made_is_told_again_after_two_opening_hours(sqlite_desk: Desk) -> None:
    with running(SmtpServer(offer_starttls=False)) as server:
        desk = mailing(sqlite_desk, server, OPENING_HOURS="Mo-Fr 09:00-17:00", CLINIC_COUNTRY="GB-ENG")
        treatment_id = desk.treat(desk.enter()).treatment_id
        desk.tick(hours=32)  # Tuesday, 17:00
        desk.event(treatment_id, EventKind.CALL_REQUESTED)
        keeper = look(desk)

        def alerts() -> int:
            look(desk, keeper)
            return sum("call" in subject for _, subject, _ in mails(server))

        assert alerts() == 1
        desk.tick(hours=17, minutes=55)  # Wednesday, 10:55: 1 hour and 55 minutes of it were open
        assert alerts() == 1
        desk.tick(minutes=6)
        assert [alerts(), alerts()] == [2, 2]
        desk.tick(hours=2, minutes=1)
        assert alerts() == 3
        desk.event(treatment_id, EventKind.CALL_CLOSED)
        desk.tick(hours=24)
        assert alerts() == 3


def test_on_a_holiday_no_opening_hour_passes(sqlite_desk: Desk) -> None:
    with running(SmtpServer(offer_starttls=False)) as server:
        desk = mailing(sqlite_desk, server, OPENING_HOURS="Mo-Fr 09:00-17:00", CLINIC_COUNTRY="GB-ENG")
        treatment_id = desk.treat(desk.enter()).treatment_id
        desk.tick(days=31, hours=8)  # 24 December, 17:00; Christmas is a Friday, the Monday after it a holiday too
        desk.event(treatment_id, EventKind.CALL_REQUESTED)
        keeper = look(desk)
        for _ in range(4):
            desk.tick(days=1)
            look(desk, keeper)
        assert sum("call" in subject for _, subject, _ in mails(server)) == 1
        desk.tick(hours=18, minutes=5)  # 29 December, 11:05
        look(desk, keeper)
        assert sum("call" in subject for _, subject, _ in mails(server)) == 2


def test_an_alert_that_the_mail_server_does_not_take_is_tried_again_and_the_digest_is_in_the_log(
    sqlite_desk: Desk,
) -> None:
    with running(SmtpServer(offer_starttls=False)) as server:
        desk = mailing(sqlite_desk, server)
    desk.event(desk.treat(desk.enter()).treatment_id, EventKind.CALL_REQUESTED)
    desk.tick(minutes=1)
    keeper = Housekeeper(desk.clinic, relay_of(desk.clinic))
    with capture_logs() as told:
        look(desk, keeper)
        look(desk, keeper)
    assert [event["event"] for event in told if event["log_level"] == "error"] == ["alert_not_sent", "digest_not_sent"]
    assert [event["count"] for event in told if event["event"] == "digest"] == [1]
    desk.tick(minutes=6)
    with running(SmtpServer(offer_starttls=False)) as server:
        desk = mailing(sqlite_desk, server)
        look(desk)
        assert [subject for _, subject, _ in mails(server)] == ["1 patient asks for a call"]


# The ping outside


class _Asked(http.server.BaseHTTPRequestHandler):
    """Notes who asked, and answers as it is told to."""

    asked: list[str]
    answer: int

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.answer)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(params=[200, 302, 500])
def outside(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[str], int]]:
    """Somebody outside who listens: the address, what was asked for, and the answer."""
    asked: list[str] = []
    handler = type("Handler", (_Asked,), {"asked": asked, "answer": request.param})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/ping/secret", asked, request.param
        server.shutdown()


def test_each_completed_sweep_is_told_outside_and_a_failure_harms_nothing(
    sqlite_desk: Desk, outside: tuple[str, list[str], int]
) -> None:
    address, asked, answer = outside

    async def sweep_twice() -> None:
        keeper = Housekeeper(sqlite_desk.with_settings(HEARTBEAT_URL=address).clinic, None)
        for _ in range(2):
            keeper.swept()
            await keeper.finished()

    with capture_logs() as told:
        asyncio.run(sweep_twice())
    assert asked == ["/ping/secret", "/ping/secret"]  # and nowhere else, whatever the answer says
    failed = [event for event in told if event["event"] == "outside_ping_failed"]
    assert [event["count"] for event in failed] == ([] if answer == 200 else [1, 2])
    assert not any("secret" in str(event) for event in told)


def test_an_outside_that_cannot_be_reached_keeps_nobody_waiting(sqlite_desk: Desk) -> None:
    async def sweep() -> float:
        keeper = Housekeeper(sqlite_desk.with_settings(HEARTBEAT_URL="http://127.0.0.1:9/ping").clinic, None)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(3):
            keeper.swept()
        took = loop.time() - began
        await keeper.finished()
        return took

    assert asyncio.run(sweep()) < timedelta(seconds=1).total_seconds()


@pytest.mark.parametrize("outside", [200], indirect=True)
def test_the_running_service_pings_after_its_sweep_and_tells_its_numbers(
    tmp_path: Path, outside: tuple[str, list[str], int]
) -> None:
    address, asked, _ = outside
    env = environment(tmp_path, AFTERCARE_HEARTBEAT_URL=address)
    fill(env, datetime.now(UTC) - timedelta(minutes=1), 1).store.engine.dispose()
    with running_service(env):
        assert wait_until(lambda: asked != [], 20)
        ready = next(line for line in (tmp_path / "service.log").read_text().splitlines() if '"ready"' in line)
        port = json.loads(ready)["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            numbers = page.read().decode()
    assert "aftercare_recorder_healthy 1\n" in numbers
    assert "aftercare_relay_circuit_open 0\n" in numbers
    assert "aftercare_workers_alive 1\n" in numbers
