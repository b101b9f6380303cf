"""After a busy day nothing a patient could be known by is readable in the stored record or the logs."""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

import pytest
import structlog
from sqlalchemy import make_url, text

from db.base import Base
from db.patients import find_by_record_number
from db.states import AttemptOutcome, DecisionKind, EventKind, StopReason
from db.treatments import add_note
from scheduler import events, gate_watch, patients, treatments
from scheduler.errors import AftercareError
from scheduler.logs import log, setup_logs
from scheduler.sender import Sender
from tests.clinic import STAFF, Desk
from tests.people import CAST, Person


@dataclass(frozen=True, slots=True)
class Secrets:
    """All that was typed about one person; each text occurs nowhere else."""

    person: Person
    typed: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, what: str) -> str:
        return self.typed.setdefault(what, f"{self.person.family_name} {what} canary")

    @property
    def texts(self) -> list[str]:
        """What may not be found."""
        person = self.person
        told = [person.given_name, person.family_name, person.email, person.record_number, person.email.split("@")[0]]
        return [*told, *self.typed.values(), person.birth_date.isoformat()]


def busy_day(desk: Desk) -> list[Secrets]:
    """Every use case that takes words, for everyone of the cast and two more; mails are written and one is refused."""
    more = [
        Person("Ifeoma", "Okonkwo", "ifeoma@example.org", "A-1009", CAST[0].birth_date.replace(day=13)),
        Person("Jadwiga", "Zielińska", "jadwiga@example.org", "A-1010", CAST[0].birth_date.replace(day=14)),
    ]
    gate_watch.check_start(desk.clinic, has_relay=False)  # a service was here: the record has its permit
    # "A-1001" may stand in a UUID by chance: here record numbers are words that nothing else holds.
    people = [
        Secrets(replace(person, record_number=f"Record-{number}-canary"))
        for number, person in enumerate((*CAST, *more))
    ]
    for number, secret in enumerate(people):
        secret.typed["phone"] = f"+44 20 7946 {5100 + number}"
        patient_id = desk.enter(
            secret.person,
            phone=secret["phone"],
            contact_note=secret["contact"],
            preferred_name=secret["preferred"],
            time_zone="Europe/London",
        )
        treatment_id = desk.treat(
            patient_id, fields={"lot": secret["lot"]}, age_override=secret["override"]
        ).treatment_id
        event_id = desk.event(treatment_id, EventKind.COMPLICATION, fields={"what": secret["complication"]})
        events.retract(desk.clinic, STAFF, event_id, secret["retraction"])
        desk.event(treatment_id, EventKind.REVIEW_BOOKED, "2026-12-08T14:00", fields={"place": secret["place"]})
        desk.decide(desk.row("next-session", treatment_id=treatment_id), DecisionKind.HOLD, secret["decision"])
        treatments.move(desk.clinic, STAFF, treatment_id, "2026-11-23T08:30", reason=secret["correction"])
        with desk.store.write(STAFF, desk.clock.now()) as session:
            add_note(session, patient_id, secret["note"])
        desk.change(patient_id, family_name=secret.person.family_name, contact_note=secret["contact"])
        if number == 1:
            desk.stop(patient_id, StopReason.UNSAFE, secret["stop"])
            patients.resume(desk.clinic, STAFF, patient_id, secret["resumption"])
        if number == 2:
            treatments.cancel(desk.clinic, STAFF, treatment_id, secret["cancellation"])
    desk.tick(hours=9)
    worker_id = desk.worker()
    for claim in desk.claim(worker_id, limit=3):
        letter = desk.letter(claim)
        attempt = desk.mark(worker_id, claim, letter)
        desk.end(worker_id, claim, attempt, AttemptOutcome.REJECTED, reply=f"554 no mail for {letter.email}")
    asyncio.run(Sender(desk.clinic).send_once())
    return people


def found_in(content: bytes, people: list[Secrets]) -> list[str]:
    """Which of these texts are in these bytes, as UTF-8 or UTF-16."""
    lowered = content.lower().replace(b"examination", b"")  # a word of the shipped texts with a name in it
    return [
        told
        for secret in people
        for told in secret.texts
        if told.lower().encode() in lowered or told.lower().encode("utf-16-le") in lowered
    ]


def stored_bytes(desk: Desk) -> bytes:
    """The record as it lies on the disk (SQLite, with its log) or as a dump of every column shows it (PostgreSQL)."""
    if desk.store.is_sqlite:
        path = Path(make_url(str(desk.store.engine.url)).database or "")
        files = [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))]
        assert all(file.exists() for file in files)
        return b"".join(file.read_bytes() for file in files)
    with desk.store.engine.connect() as connection:
        dumped = b""
        for name, table in Base.metadata.tables.items():
            for row in connection.execute(text(f'SELECT t.*, t::text FROM "{name}" t')):
                dumped += b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
            assert table.columns
        return dumped


@pytest.mark.long
def test_the_stored_record_tells_nobody(desk: Desk) -> None:
    people = busy_day(desk)
    assert len(people) == 10
    content = stored_bytes(desk)
    assert b"after-visit" in content  # what is stored in the open is found this way
    assert found_in(content, people) == []


def test_what_is_searched_for_would_be_found(desk: Desk) -> None:
    people = [Secrets(CAST[0])]
    with desk.store.write(STAFF, desk.clock.now()) as session:
        session.execute(text("UPDATE gate SET reason = 'Amina Farouk rang'"))
    assert found_in(stored_bytes(desk), people) == ["Amina", "Farouk", "amina"]


@contextmanager
def logged_to(capfd: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """Log everything there is to standard error as the service does; the lines, once it is over."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    lines: list[str] = []
    setup_logs("debug", terminal=False)
    root.setLevel(logging.DEBUG)  # more than the service lets libraries say
    capfd.readouterr()
    try:
        yield lines
    finally:
        streams = capfd.readouterr()
        lines += (streams.err + streams.out).splitlines()
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


def test_the_logs_tell_nobody_whatever_breaks(desk: Desk, capfd: pytest.CaptureFixture[str]) -> None:
    with logged_to(capfd) as lines:
        people = busy_day(desk)
        for secret in people:
            desk.change(patient_of(desk, secret.person), preferred_name=secret["preferred"])
        broken = patient_of(desk, people[0].person)
        with pytest.raises(AftercareError):
            desk.enter(people[0].person)  # the record number is taken
        try:
            with desk.store.write(STAFF, desk.clock.now()) as session:
                session.execute(
                    text("INSERT INTO protocol_texts (id, protocol_key, name, value) VALUES (:a, :b, :c, :d)"),
                    {"a": str(broken), "b": people[0]["lot"], "c": people[0].person.email, "d": None},
                )
        except Exception:  # noqa: BLE001 (whatever the driver calls it: its log line is looked at)
            log().exception("the record refused it", patient_id=broken, name=people[0].person.given_name)
        # Words that give her away, found at the last moment: held, and told without them.
        treatment_id = desk.treat(broken, "2026-11-23T17:00", replaces=False).treatment_id
        desk.event(treatment_id, EventKind.REVIEW_BOOKED, "2026-12-01T14:00", fields={"place": "Botox room canary"})
        desk.decide(desk.row("visit-in-3-days", treatment_id=treatment_id), DecisionKind.SEND_NOW)
        asyncio.run(Sender(desk.clinic).send_once())
        assert desk.stands("visit-in-3-days", treatment_id=treatment_id) == "held:revealing_text"
        logging.getLogger("sqlalchemy.engine").warning("%s was refused", people[0].person.email)
    said = "\n".join(lines)
    assert '"event": "messages_left"' in said
    assert '"reason": "revealing_text"' in said
    assert '"event": "the record refused it"' in said
    assert found_in(said.encode(), people) == []
    assert "canary" not in said


def patient_of(desk: Desk, person: Person) -> UUID:
    """Her id."""
    with desk.store.read() as session:
        found = find_by_record_number(session, person.record_number)
        assert found is not None
        return found.id


@pytest.mark.long
def test_files_beside_the_record_are_the_owners_alone_or_hold_nothing(desk: Desk) -> None:
    people = busy_day(desk)
    var = desk.clinic.settings.data_dir
    for path in [path for path in var.rglob("*") if path.is_file() and path.parent.name != "outbox"]:
        assert found_in(path.read_bytes(), people) == []
    mails = list((var / "outbox").glob("*.eml"))
    assert mails
    for mail in mails:
        assert os.stat(mail).st_mode & 0o077 == 0
        assert found_in(mail.name.encode(), people) == []
