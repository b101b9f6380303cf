"""A clinic for the tests of the use cases: a store, a clock that stands still, one small protocol, and staff's hands.

The protocol uses every kind of step with shipped texts; planning itself is proven in `tests/planning`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select

from db import library, marks, sends
from db.base import Base
from db.engine import Store
from db.follow_up import Approval, LibraryFile, ProtocolText, ProtocolVersion, Reminder, TemplateVersion
from db.gate import add_worker
from db.records import Patient
from db.reminders import list_reminders
from db.staff import AuditEvent
from db.states import Approvable, AttemptOutcome, DecisionKind, EventKind, Reason, ReminderState, StopReason
from scheduler import approvals, compose, decisions, events, outcomes, patients, treatments
from scheduler.care_plans import load
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from scheduler.decisions import Decided
from scheduler.entries import PatientForm
from scheduler.library import Library
from scheduler.mime import MailWriter, Sender
from scheduler.planning.patient_plan import PatientPlan, plan_patient
from scheduler.settings import SHIPPED, load_settings
from scheduler.treatments import Started, TreatmentForm
from tests.people import AMINA, Person

STAFF = "cli:nurse"
DOCTOR = "Dr Okafor"
_approved: dict[type[Base], list[dict[str, Any]]] = {}  # the library of a new desk, by table

COURSE = """\
key = "course"
version = 1
title = "A course"

[[text]]
key = "rest_rule"
required = true

[[field]]
key = "lot"
label = "Lot"
type = "text"

[[review]]
key = "two-week"
after = "P14D"
tolerance = "P3D"

[[review]]
key = "six-week"
after = "P42D"
tolerance = "P7D"

[[step]]
key = "after-visit"
kind = "aftercare"
template = "after_visit"
anchor = "treatment"
offset = "P0D"
at = "17:00"
expires_after = "P1D"
past = "send"

[[step]]
key = "visit-in-3-days"
kind = "review"
template = "visit_in_3_days"
anchor = "review_booked"
offset = "-P3D"
at = "10:00"
expires_after = "P2D"
on_unknown = "ask"
stop_on = []

[[step]]
key = "visit-missed"
kind = "review"
template = "visit_missed"
anchor = "review_missed"
offset = "P1D"
at = "10:00"
expires_after = "P5D"

[[step]]
key = "no-review-yet"
kind = "review"
template = "ring_her"
anchor = "treatment"
offset = "P21D"
at = "09:00"
expires_after = "P60D"
audience = "staff"
when = "until_review_done"
review = "two-week"

[[step]]
key = "alone"
kind = "exercise"
template = "plan_week"
anchor = "solo_started"
offset = "P7D"
at = "10:00"
expires_after = "P3D"
phase = "solo"
stop_on = ["complication", "partner_released"]
[step.repeat]
every = "P7D"
count = 3

[[step]]
key = "next-part"
kind = "exercise"
template = "next_part_ready"
anchor = "partner_released"
offset = "P1D"
at = "10:00"
expires_after = "P7D"
phase = "partner"

[[step]]
key = "cleared"
kind = "aftercare"
template = "activities_cleared"
anchor = "healing_cleared"
offset = "P1D"
at = "10:00"
expires_after = "P7D"

[[step]]
key = "next-session"
kind = "administrative"
template = "choose_next_session"
anchor = "treatment"
offset = "P28D"
at = "10:00"
expires_after = "P7D"
when = "session_unbooked"
"""


@dataclass(frozen=True, slots=True)
class Desk:
    """Staff at work: each method is one use case by `STAFF`; the clock stands until a test moves it."""

    clinic: Clinic
    clock: FastClock
    folder: Path

    @property
    def store(self) -> Store:
        """The record."""
        return self.clinic.store

    def with_settings(self, **values: str) -> "Desk":
        """The same record under other settings."""
        return Desk(_clinic(self.store, self.clock, self.folder, values), self.clock, self.folder)

    # entering

    def write_protocol(self, text: str = COURSE, key: str = "course") -> None:
        """Put a protocol file into the clinic's own folder."""
        (self.folder / "protocols" / f"{key}.toml").write_text(text, encoding="utf-8")

    def write_text(self, key: str, text: str, language: str = "en") -> None:
        """Put a text file into the clinic's own folder, over the shipped one."""
        path = self.folder / "email" / language / f"{key}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def approve(self, key: str = "course", **texts: str) -> approvals.Approved:
        """Fill in the clinic's own texts and approve the newest version with its texts."""
        approvals.read_files(self.clinic, STAFF)
        for name, value in (texts or {"rest_rule": "Rest for a day."}).items():
            approvals.set_text(self.clinic, STAFF, key, name, value)
            self.tick()
        scope = approvals.scope_of(self.clinic, key, (), ("en", "de"))
        return approvals.approve_protocol(self.clinic, STAFF, scope, DOCTOR)

    def approve_unseen(self) -> None:
        """Approve every protocol and its texts as stored, without the gates a clinician passes."""
        approvals.read_files(self.clinic, STAFF)
        with self.store.write(STAFF, self.clock.now()) as session:
            library.set_text(session, "course", "rest_rule", "Rest for a day.")
            shelf = self.clinic.library.shelf(session)
            for protocol in shelf.protocols.values():
                texts = {"rest_rule": "Rest for a day."}
                library.add_approval(
                    session, Approvable.PROTOCOL, protocol.version_id, protocol.content_hash, texts, DOCTOR
                )
            needed = {key for shelved in shelf.protocols.values() for key in shelved.protocol.templates}
            for text in [text for text in shelf.latest.values() if text.source.key in needed]:
                library.add_approval(session, Approvable.TEMPLATE, text.version_id, text.content_hash, {}, DOCTOR)
        self.tick()

    def open_approved(self) -> None:
        """`approve_unseen` of a new desk, which is the same each time: its rows are made once and then copied."""
        if _approved:
            with self.store.write(STAFF, self.clock.now()) as session:
                for model, rows in _approved.items():
                    session.execute(insert(model), rows)
            self.tick()
            return
        self.approve_unseen()
        with self.store.read() as session:
            for model in (ProtocolVersion, ProtocolText, TemplateVersion, LibraryFile, Approval):
                columns = [column.key for column in model.__table__.columns]
                found = session.scalars(select(model)).all()
                _approved[model] = [{name: getattr(row, name) for name in columns} for row in found]

    def enter(self, person: Person = AMINA, **changes: str | None) -> UUID:
        """Enter a patient who agreed to everything and whose address is confirmed."""
        form: dict[str, Any] = {name: getattr(person, name) for name in person.__slots__}
        form |= {"birth_date": person.birth_date.isoformat(), "confirmed": "yes", "consent": "all"}
        found = patients.add(self.clinic, STAFF, PatientForm(**(form | changes))).patient_id
        self.tick()
        return found

    def treat(self, patient_id: UUID, at: str = "2026-11-23T09:30", protocol: str = "course", **more: Any) -> Started:
        """Enter a treatment."""
        started = treatments.add(self.clinic, STAFF, patient_id, TreatmentForm(protocol, at, **more))
        self.tick()
        return started

    def change(self, patient_id: UUID, **values: str | None) -> None:
        """Change what is known about a patient."""
        patients.change(self.clinic, STAFF, patient_id, values)
        self.tick()

    def stop(self, patient_id: UUID, reason: StopReason = StopReason.OPTED_OUT, note: str | None = None) -> None:
        """Stop her messages."""
        patients.stop(self.clinic, STAFF, patient_id, reason, note)
        self.tick()

    def event(self, treatment_id: UUID, kind: EventKind, at: str | None = None, **more: Any) -> UUID:
        """Record an event."""
        event_id, _ = events.record(self.clinic, STAFF, treatment_id, kind, at, **more)
        self.tick()
        return event_id

    def decide(self, row: Reminder, kind: DecisionKind, note: str | None = None) -> Decided:
        """Decide about one reminder."""
        decided = decisions.decide(self.clinic, STAFF, row.id, kind, note)
        self.tick()
        return decided

    def tick(self, **by: int) -> None:
        """Let a little time pass, so that facts follow each other as they do for people; or as much as is said."""
        self.clock.advance(timedelta(**(by or {"seconds": 1})))

    # sending by hand

    def worker(self, name: str = "a worker") -> UUID:
        """A sending process."""
        with self.store.write("service", self.clock.now()) as session:
            return add_worker(session, name)

    def claim(self, worker_id: UUID, limit: int = 100) -> list[sends.DueClaim]:
        """Take what is due."""
        now = self.clock.now()
        with self.store.write("service", now) as session:
            return sends.claim_due(session, worker_id, now, limit)

    def letter(self, claim: sends.Claim) -> compose.Letter:
        """The finished mail of a claim."""
        with self.store.read() as session:
            return compose.write_letter(session, self.clinic, session.get_one(Reminder, claim.reminder_id))

    def mark(self, worker_id: UUID, claim: sends.Claim, letter: compose.Letter | None = None) -> int | None:
        """Open an attempt; None when a stop came first."""
        letter = letter or self.letter(claim)
        mark = marks.Mark(claim, worker_id, letter.email_version, letter.packed, letter.links)
        with self.store.write("service", self.clock.now()) as session:
            return marks.mark(session, [mark]).get(claim.reminder_id)

    def end(
        self,
        worker_id: UUID,
        claim: sends.Claim,
        attempt: int | None,
        outcome: AttemptOutcome,
        email_version: int = 1,
        **more: Any,
    ) -> ReminderState | None:
        """Record how an attempt ended."""
        ended = outcomes.Ended(claim.reminder_id, attempt, worker_id, claim.fence, email_version, outcome, **more)
        with self.store.write("service", self.clock.now()) as session:
            state = outcomes.write(session, self.clinic, ended)
        self.tick()
        return state

    def send_due(self, outcome: AttemptOutcome = AttemptOutcome.ACCEPTED, **more: Any) -> list[UUID]:
        """Claim, write, mark and record all that is due; the reminders it was about."""
        worker_id = self.worker()
        done = []
        for claim in self.claim(worker_id):
            letter = self.letter(claim)
            number = self.mark(worker_id, claim, letter)
            self.end(worker_id, claim, number, outcome, letter.email_version, **more)
            done.append(claim.reminder_id)
        return done

    # looking

    def rows(self, treatment_id: UUID | None = None) -> list[Reminder]:
        """Reminders in the order of their times; of one treatment or all."""
        with self.store.read() as session:
            return [row for row, _ in list_reminders(session, treatment_id=treatment_id)]

    def row(self, step: str, occurrence: int = 1, treatment_id: UUID | None = None) -> Reminder:
        """The latest generation of one message."""
        found = [row for row in self.rows(treatment_id) if (row.step, row.occurrence) == (step, occurrence)]
        return max(found, key=lambda row: row.generation)

    def stands(self, step: str, occurrence: int = 1, treatment_id: UUID | None = None) -> str:
        """`state` or `state:reason` of the latest generation."""
        row = self.row(step, occurrence, treatment_id)
        return f"{row.state.value}:{row.reason.value}" if row.reason else row.state.value

    def states(self, treatment_id: UUID | None = None) -> set[tuple[ReminderState, Reason | None]]:
        """Which states and reasons there are."""
        return {(row.state, row.reason) for row in self.rows(treatment_id)}

    def plan_again(self, patient_id: UUID, at: datetime | None = None) -> PatientPlan:
        """What planning from the stored facts would change now; stores nothing."""
        with self.store.write("test", self.clock.now()) as session:
            loaded = load(session, self.clinic, session.get_one(Patient, patient_id))
            session.rollback()
        now = at or self.clock.now()
        return plan_patient(loaded.patient, loaded.plans, loaded.rows, loaded.questions, now, self.clinic.rules)

    def nothing_left(self) -> None:
        """Every patient's stored plan is what planning makes of her stored facts: now, and when looked at later."""
        with self.store.read() as session:
            ids = list(session.scalars(select(Patient.id)))
        for patient_id in ids:
            for later in (timedelta(0), timedelta(hours=3)):
                result = self.plan_again(patient_id, self.clock.now() + later)
                assert not result.difference, (result.difference, later)
                assert not result.ask
                assert not result.answered

    def audit(self, action: str | None = None) -> list[dict[str, Any]]:
        """Audit events in the order written, of one action or all."""
        with self.store.read() as session:
            found = session.scalars(select(AuditEvent).order_by(AuditEvent.number))
            return [
                {name: getattr(event, name) for name in ("actor", "action", "subject_id", "patient_id", "fields")}
                for event in found
                if action in (None, event.action)
            ]

    @contextmanager
    def unchanged(self, but: frozenset[str] = frozenset()) -> Iterator[None]:
        """Hold that nothing in any table, `but` some, is changed by what is done inside."""
        before = dump(self.store)
        yield
        after = dump(self.store)
        assert [name for name in before if before[name] != after[name] and name not in but] == []


def open_desk(store: Store, clock: FastClock, folder: Path, **settings: str) -> Desk:
    """A desk over a migrated, empty store, with the one protocol `course` as a file and nothing approved."""
    (folder / "protocols").mkdir(parents=True)
    desk = Desk(_clinic(store, clock, folder, settings), clock, folder)
    desk.write_protocol()
    return desk


def _clinic(store: Store, clock: FastClock, folder: Path, values: Mapping[str, str]) -> Clinic:
    told = {
        "DATA_DIR": str(folder / "var"),
        "PROTOCOLS_DIR": str(folder / "protocols"),
        "CLINIC_NAME": "Harbour Clinic",
        "CLINIC_PHONE": "020 7946 0999",
        "CLINIC_HOURS": "weekdays 9 to 5",
        **values,
    }
    settings = load_settings({f"AFTERCARE_{name}": value for name, value in told.items()})
    return Clinic(
        settings=settings,
        store=store,
        clock=clock,
        # Without the shipped protocols, so that a test reads one file.
        library=Library((folder / "protocols",), (folder, SHIPPED), settings.clinic_language),
        writer=MailWriter(
            Sender(settings.sender_address, settings.sender_name, settings.reply_to, settings.message_domain)
        ),
    )


def dump(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    with store.read() as session:
        return {
            name: sorted((tuple(row) for row in session.execute(select(table))), key=repr)
            for name, table in Base.metadata.tables.items()
        }
