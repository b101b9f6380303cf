"""Releasing with open eyes, as typed and on the screen: what is missing, what is in doubt, who has to be looked at."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import structlog

from db import gate
from db import patients as stored_patients
from db.audit import Noted
from db.states import GateCause, StopReason
from scheduler import permit
from scheduler.clock import FastClock
from scheduler.settings import load_settings
from scheduler.stop_log import StopLog, path_of
from tests.clinic import COURSE, Desk
from tests.page_parts import AtWork, place, seen
from tests.people import AMINA, BEATRIX
from tests.process import environment
from tests.terminal import Terminal


@pytest.fixture
def terminal(
    tmp_path: Path, clock: FastClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Terminal]:
    """A clinic's command line; Amina was treated this morning, and the service has run."""
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "course.toml").write_text(COURSE)
    terminal = Terminal(environment(tmp_path), clock, monkeypatch, capsys)
    terminal.ok("protocol", "text", "course", "rest_rule", "--value", "Rest for a day.")
    terminal.ok("protocol", "approve", "course", "--by", "Dr Okafor", "--yes")
    terminal.ok("send-due")
    yield terminal
    structlog.reset_defaults()  # `send-due` writes its log to the stream of this test


def treated(terminal: Terminal, name: str) -> str:
    words = ("--given-name", name, "--family-name", "Obi", "--email", f"{name.lower()}@example.org")
    patient_id = terminal.ok("patient", "add", *words, "--confirmed", "--consent", "all").out.strip()
    terminal.ok("treatment", "add", "--patient", patient_id, "--protocol", "course", "--at", "2026-11-23T08:30")
    terminal.clock.advance(timedelta(minutes=1))
    return patient_id


@contextmanager
def put_back(terminal: Terminal) -> Iterator[None]:
    """The database file as it was before the block is copied over the one after it, as people do."""
    file, aside = terminal.var / "aftercare.db", terminal.var / "older.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    shutil.copyfile(file, aside)
    yield
    for beside in terminal.var.glob("aftercare.db-*"):
        beside.unlink()
    aside.rename(file)


def test_an_older_record_put_back_sends_nothing_before_its_release_says_what_is_missing(terminal: Terminal) -> None:
    amina = treated(terminal, "Amina")
    treated(terminal, "Beatrix")
    with put_back(terminal):
        terminal.clock.advance(timedelta(hours=8))
        terminal.ok("patient", "stop", amina, "--reason", "unsafe")
        chipo = treated(terminal, "Chipo")
        terminal.ok("patient", "stop", chipo, "--reason", "opted-out")
        terminal.ok("send-due")  # Beatrix and nobody else
        assert len(list((terminal.var / "outbox").iterdir())) == 1
    terminal.ok("send-due")
    assert len(list((terminal.var / "outbox").iterdir())) == 1
    findings = {found["id"]: found["problem"] for found in terminal.run("check", "--json").json}
    assert "this record is older than what was done with it" in findings["gate-closed"]
    said = terminal.run("release")
    assert said.code == 2
    assert said.lines[0].startswith("Sending was stopped: this record is older than what was done with it: it knows 0")
    assert said.lines[1] == (
        "What was entered from 2026-11-23 09:01 UTC to 2026-11-23 17:03 UTC is not in this record: enter it again."
    )
    assert said.lines[2] == "2 message(s) are due and may have left already: they become unknown."
    assert said.lines[5:] == [
        "Stops that are not in this record; the messages of 1 patient(s) will be held:",
        f"  2026-11-23 17:02 UTC  {amina}  patient.stopped",
        "Stops of patients who are not in this record at all; enter them again:",
        f"  2026-11-23 17:02 UTC  {chipo}  treatment.added",
        f"  2026-11-23 17:03 UTC  {chipo}  patient.stopped",
    ]
    assert terminal.ok("release", "--yes").lines[-3:] == [
        "2 message(s) are unknown now: a person settles each (reminder resolve).",
        "The messages of 1 patient(s) are held until: patient resume",
        "Sending is open.",
    ]
    terminal.clock.advance(timedelta(days=2))
    terminal.ok("send-due")
    held = terminal.ok("reminders", "--patient", amina, "--json").json
    assert {row["reason"] for row in held if row["state"] == "held"} == {"unknown", "stop_lost"}
    assert "sent" not in {row["state"] for row in held}
    assert terminal.ok("release").lines == ["Sending is open already; nothing changed."]


def test_where_only_a_person_can_tell_she_is_asked(terminal: Terminal) -> None:
    treated(terminal, "Amina")
    file = permit.path_of(load_settings({k: v for k, v in terminal.env.items() if k.startswith("AFTERCARE_")}))
    file.unlink()
    terminal.clock.advance(timedelta(hours=8))
    findings = {found["id"] for found in terminal.run("check", "--json").json}
    assert "permit" in findings
    terminal.ok("send-due")
    assert not (terminal.var / "outbox").exists() or not list((terminal.var / "outbox").iterdir())
    said = terminal.run("release", "--yes")
    assert said.code == 2
    assert "say --put-back (a person settles each), or --was-off" in said.err
    assert terminal.ok("status", "--json").json["gate"] == "closed"
    assert terminal.ok("release", "--was-off", "--yes").lines[-1] == "Sending is open."
    assert file.exists()
    terminal.ok("send-due")
    assert len(list((terminal.var / "outbox").iterdir())) == 1


def test_a_machine_that_is_added_gets_its_permit_before_it_stops_the_others(terminal: Terminal) -> None:
    file = permit.path_of(load_settings({k: v for k, v in terminal.env.items() if k.startswith("AFTERCARE_")}))
    treated(terminal, "Amina")
    terminal.clock.advance(timedelta(hours=8))
    terminal.ok("send-due")
    file.unlink()
    said = terminal.run("release")
    assert said.code == 2
    assert "would not go on from here: the permit beside the keys is missing" in said.out
    assert terminal.ok("release", "--yes").lines[-1] == "This place may send."
    terminal.ok("send-due")
    assert terminal.ok("status", "--json").json["gate"] == "open"


def test_check_tells_of_a_damaged_journal_and_of_stops_that_are_missing(terminal: Terminal) -> None:
    amina = treated(terminal, "Amina")
    with put_back(terminal):
        terminal.ok("patient", "stop", amina, "--reason", "deceased")
        terminal.ok("patient", "resume", amina, "--reason", "mistaken")
        terminal.ok("patient", "stop", amina, "--reason", "left")
    journal = terminal.var / "stops.log"
    journal.write_bytes(journal.read_bytes().replace(b'"number": 2', b'"number": 9'))
    found = {found["id"]: found["problem"] for found in terminal.run("check", "--json").json}
    assert found["stop-journal-damaged"].startswith("line 2 was changed")
    assert found["stops-missing"] == "2 stop(s) were entered that are not in this record: run release"


# on the screen


async def test_the_screen_shows_what_a_release_would_hold_and_asks_what_only_a_person_knows(sqlite_desk: Desk) -> None:
    desk, work = sqlite_desk, AtWork(sqlite_desk)
    amina, beatrix = desk.enter(AMINA), desk.enter(BEATRIX)
    desk.treat(amina)
    desk.treat(beatrix)
    desk.tick(hours=9)
    with desk.store.write("service", desk.clock.now()) as session:
        gate.close_gate(session, "the folder of the keys is a copy", GateCause.MOVED)
    page = (await work.dana.get("/sending")).text
    assert "There is no stop journal" in page
    assert f'href="/patients/{amina}"' in page
    assert "Amina" not in page
    StopLog(path_of(desk.clinic.settings), desk.store.vault).note([_noted(amina)], desk.clock.now())
    page = await seen(work.dana, "/sending")
    assert "There is no stop journal" not in page
    assert "Stops that are not in this record" in page
    assert "somebody stopped all messages to a patient" in page
    refused = await work.dana.post("/sending/release")
    assert refused.status_code == 422
    assert "Say whether some of it may have left already" in refused.text
    assert place(await work.dana.post("/sending/release", {"put_back": "yes"})) == "/today?done=released-held"
    assert desk.stands("after-visit") == "held:unknown"
    page = await seen(work.dana, "/today")
    assert "something was entered that stops messages and is missing here" in page
    flags = await seen(work.dana, f"/patients/{amina}")
    assert "a stop was entered that is not in this database" in flags
    with desk.store.read() as session:
        stop = stored_patients.find_stop(session, amina)
    assert stop is not None
    assert stop.reason is StopReason.LOST


def _noted(patient_id: UUID) -> Noted:
    return {"action": "patient.stopped", "subject": None, "subject_id": None, "patient_id": patient_id, "fields": []}
