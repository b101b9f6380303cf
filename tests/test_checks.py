"""`check`, the gate and the health of the service: what could be wrong is said before anyone notices."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from db import audit, gate
from db.states import AttemptOutcome
from scheduler import approvals, gate_keeper
from scheduler.checks import Found, check
from scheduler.errors import InvalidInput
from scheduler.health import Health, examine
from tests.clinic import STAFF, Desk
from tests.people import AMINA
from tests.smtp_server import SmtpServer, running

SET_UP = {
    "SENDER_ADDRESS": "post@example.org",
    "SENDER_NAME": "Orchard Lane",
    "REPLY_TO": "desk@example.org",
    "CLINIC_NAME": "Orchard Lane",
}


def findings(desk: Desk) -> dict[str, Found]:
    """What `check` finds, by its stable id; a key file lies where it should."""
    keys = desk.clinic.settings.keys_file
    if not keys.exists():
        keys.parent.mkdir(parents=True, exist_ok=True)
        keys.touch(mode=0o600)
    return {found.id: found for found in check(desk.clinic)}


def health(desk: Desk) -> Health:
    """The service's state."""
    with desk.store.read() as session:
        return examine(session, desk.clinic)


def test_a_clinic_that_is_set_up_has_nothing_to_mend(desk: Desk) -> None:
    desk = desk.with_settings(**SET_UP)
    assert set(findings(desk)) == {"relay-not-set", "recovery-key-missing", "backup-missing"}


def test_copies_that_are_missing_or_old_are_told(desk: Desk) -> None:
    def note(action: str, subject_id: str | None) -> None:
        with desk.store.write(STAFF, desk.clock.now()) as session:
            audit.record(session, action, "keys", subject_id)

    def told() -> set[str]:
        return {name for name in findings(desk) if name.startswith(("recovery", "backup", "record"))}

    note("keys.exported", "0ld0ld00")
    note("backup.made", None)
    assert told() == {"recovery-key-outdated"}
    note("keys.exported", desk.store.vault.ring.wrapping[-1].id)
    assert told() == set()
    desk.tick(days=3)
    with desk.store.write("service", desk.clock.now()) as session:
        audit.record(session, "integrity.failed", "record", fields=["trail_broken"])
    assert told() == {"backup-old", "record-not-whole"}


def test_what_is_not_set_is_named(desk: Desk) -> None:
    found = findings(desk.with_settings(SENDER_NAME="Orchard Lane"))
    assert found["setting-to-be-set"].severity == "warn"
    problems = [each.problem for each in check(desk.clinic) if each.id == "setting-to-be-set"]
    assert problems == [f"{name} still has its example value" for name in ("SENDER_ADDRESS", "SENDER_NAME", "REPLY_TO")]


def test_settings_that_give_a_patient_away_fail(desk: Desk) -> None:
    found = findings(desk.with_settings(**{**SET_UP, "SENDER_NAME": "The Botox Clinic"}))
    assert found["revealing-setting"].severity == "fail"
    assert found["revealing-setting"].problem.startswith("SENDER_NAME")


def test_a_draft_and_a_wrong_file_are_told(draft_desk: Desk) -> None:
    approvals.read_files(draft_desk.clinic, STAFF)
    assert findings(draft_desk)["protocol-draft"].problem == "course is a draft: nothing of it is sent"
    draft_desk.write_protocol("key = 1\n")
    assert findings(draft_desk)["protocol-invalid"].severity == "fail"
    (draft_desk.folder / "protocols" / "course.toml").write_bytes(b"\xff")
    assert findings(draft_desk)["protocol-invalid"].problem == "course.toml: is not UTF-8"


def test_a_text_that_fails_is_told(desk: Desk) -> None:
    (desk.folder / "email" / "en").mkdir(parents=True)
    (desk.folder / "email" / "en" / "after_visit.md").write_text("no front matter\n")
    own = desk.with_settings(TEMPLATES_DIR=str(desk.folder))
    assert findings(own)["text"].severity == "fail"


def test_a_readable_key_file_fails(desk: Desk) -> None:
    findings(desk)
    desk.clinic.settings.keys_file.chmod(0o644)
    assert findings(desk)["keys-readable"].severity == "fail"
    desk.clinic.settings.keys_file.unlink()
    assert next(found for found in check(desk.clinic) if found.id == "keys-missing").severity == "fail"


def test_a_changed_audit_fails(desk: Desk) -> None:
    desk.enter()
    with desk.store.write("test", desk.clock.now()) as session:
        session.execute(text("UPDATE audit_events SET actor = 'nobody' WHERE number = 1"))
    assert findings(desk)["audit-chain-broken"].severity == "fail"


def test_a_clock_that_was_set_back_fails(desk: Desk) -> None:
    desk.worker()
    desk.clock.jump(-timedelta(hours=1))
    assert findings(desk)["clock-behind"].severity == "fail"


def test_a_closed_gate_is_told_with_its_reason(desk: Desk) -> None:
    gate_keeper.close(desk.clinic, STAFF, "A wrong text.")
    assert findings(desk)["gate-closed"].problem == "nothing is sent: A wrong text."


def test_a_mail_server_is_tried(desk: Desk) -> None:
    with running(SmtpServer(offer_starttls=False)) as server:
        relay = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(server.port), "SMTP_SECURITY": "none"}
        assert "relay-login" not in findings(desk.with_settings(**SET_UP, **relay))
        refusing = desk.with_settings(**SET_UP, **{**relay, "SMTP_SECURITY": "starttls"})
        assert findings(refusing)["relay-login"].severity == "fail"
    assert "relay-login" in findings(desk.with_settings(**SET_UP, **relay))  # it is not there any more


# the gate


def test_the_gate_is_closed_with_a_reason_and_opened_again(desk: Desk) -> None:
    with desk.unchanged(), pytest.raises(InvalidInput, match="say why"):
        gate_keeper.close(desk.clinic, STAFF, " ")
    gate_keeper.close(desk.clinic, STAFF, "A wrong text.")
    assert (gate_keeper.look(desk.clinic).closed, gate_keeper.look(desk.clinic).reason) == (True, "A wrong text.")
    gate_keeper.release(desk.clinic, STAFF)
    assert (gate_keeper.look(desk.clinic).closed, gate_keeper.look(desk.clinic).reason) == (False, None)
    assert [event["action"] for event in desk.audit() if event["action"].startswith("gate")] == [
        "gate.closed",
        "gate.opened",
    ]


def test_a_look_behind_the_gate_shows_what_would_leave(desk: Desk) -> None:
    desk.treat(desk.enter(AMINA))
    desk.tick(hours=9)
    gate_keeper.close(desk.clinic, STAFF, "A wrong text.")
    row = desk.row("after-visit")
    with desk.unchanged():
        waiting = gate_keeper.look(desk.clinic)
    assert (waiting.due, waiting.first) == (1, ((str(row.id), "2026-11-23T17:00:00"),))


# health


def test_health_follows_the_heartbeat(desk: Desk) -> None:
    assert (health(desk).vitals.alive, health(desk).vitals.stalled, health(desk).vitals.heartbeat_age_seconds) == (
        False,
        True,
        None,
    )
    worker_id = desk.worker()
    desk.tick(seconds=30)
    assert (health(desk).vitals.alive, health(desk).vitals.heartbeat_age_seconds) == (True, 30)
    desk.tick(seconds=31)
    assert not health(desk).vitals.alive
    with desk.store.write("service", desk.clock.now()) as session:
        gate.beat(session, worker_id, swept=True)
    assert (health(desk).vitals.alive, health(desk).vitals.swept_at) == (True, desk.clock.now())
    with desk.store.write("service", desk.clock.now()) as session:
        gate.stop_worker(session, worker_id)
    assert (health(desk).vitals.alive, health(desk).vitals.heartbeat_age_seconds) == (False, None)


def beat(desk: Desk) -> None:
    """A sign of life now."""
    with desk.store.write("service", desk.clock.now()) as session:
        worker = gate.find_latest_worker(session)
        if worker is not None:
            gate.beat(session, worker.id, swept=True)


def test_a_message_that_waits_too_long_means_stalled_unless_the_gate_says_why(desk: Desk) -> None:
    desk.treat(desk.enter())
    desk.worker()
    desk.tick(hours=9)
    beat(desk)
    assert health(desk).vitals.oldest_due_seconds == 3603
    assert health(desk).vitals.stalled
    gate_keeper.close(desk.clinic, STAFF, "A wrong text.")
    assert (health(desk).vitals.stalled, health(desk).ok, health(desk).vitals.gate_reason) == (
        False,
        False,
        "A wrong text.",
    )


def test_what_needs_a_person_is_not_ok(desk: Desk, tmp_path: Path) -> None:
    relay = {"SMTP_HOST": "127.0.0.1", "SMTP_SECURITY": "none", "CLINIC_PHONE": "1234567", "CLINIC_HOURS": "9 to 5"}
    desk = desk.with_settings(**SET_UP, **relay)
    desk.worker()
    desk.treat(desk.enter())
    assert health(desk).ok
    desk.tick(hours=9)
    beat(desk)
    for _ in range(2):
        desk.send_due(AttemptOutcome.UNKNOWN)
        desk.tick(minutes=10)
    beat(desk)
    found = health(desk)
    assert (found.unknown, found.ok, found.vitals.stalled, found.vitals.to_folder) == (1, False, False, False)
    assert sum(found.held.values()) == 1
    assert found.vitals.next_ready_at == desk.row("no-review-yet").ready_at
