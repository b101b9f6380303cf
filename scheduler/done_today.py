"""What was done today at the desk, each with the one way to take it back: nothing done from a list is out of reach.

What still waits is in `scheduler.worklist`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit
from db import care_plans as stored_plans
from db import worklist as stored
from db.follow_up import CareEvent, CarePlan, Reminder
from db.private_page import RaisedKind, RaisedLine
from db.raised_lines import find_lines
from db.records import Patient
from db.reminders import list_latest
from db.staff import AuditEvent
from db.states import DecisionKind, EventKind
from scheduler.clinic import Clinic
from scheduler.decisions import can_reopen
from scheduler.library import Shelf
from scheduler.local_time import to_utc, to_wall
from scheduler.subjects import title_of_row

SHOWN: Final = 30
_IMPORT: Final = "import.done"
_CLOSED: Final = "line.closed"
_EVENTS: Final = {f"event.{kind.value}": kind for kind in EventKind}
_OTHERS: Final = ("service", "patient")  # what these did, nobody at the desk did
_ENDS: Final = (DecisionKind.DONE, DecisionKind.CANCEL)
_DECISIONS: Final = {f"reminder.{kind.value}": kind for kind in DecisionKind}


@dataclass(frozen=True, slots=True)
class Done:
    """One thing somebody did today. One of the ids names what undoing it is about; none: too late."""

    at: datetime
    actor: str
    patient_id: UUID
    event: EventKind | None = None
    decision: DecisionKind | None = None
    treatment_id: UUID | None = None
    title: str = ""
    event_id: UUID | None = None
    reminder_id: UUID | None = None
    closed: RaisedKind | None = None  # of what the patient's side had raised
    line_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class DoneToday:
    """What was done since midnight at the clinic, the last first."""

    lines: Sequence[Done]
    people: Mapping[UUID, Patient] = field(repr=False)


def read_done(session: Session, clinic: Clinic) -> DoneToday:
    """What people did today; what programs did (imports, the sender) is not in it."""
    zone = clinic.settings.clinic_time_zone
    wall = to_wall(clinic.clock.now(), zone).replace(hour=0, minute=0, second=0, microsecond=0)
    midnight = to_utc(wall, zone)
    found = [
        event
        for event in audit.list_since(session, midnight, (*_EVENTS, *_DECISIONS, _CLOSED), SHOWN, but_with=_IMPORT)
        if event.actor not in _OTHERS and event.patient_id is not None and event.subject_id is not None
    ]
    event_ids = [UUID(each.subject_id) for each in found if each.action in _EVENTS and each.subject_id]
    reminder_ids = [UUID(each.subject_id) for each in found if each.action in _DECISIONS and each.subject_id]
    events, gone = stored_plans.find_events(session, event_ids)
    latest = list_latest(session, reminder_ids)
    closed = find_lines(
        session, [UUID(each.subject_id) for each in found if each.action == _CLOSED and each.subject_id]
    )
    plans = stored.find_plans(
        session, [row.care_plan_id for row in events.values()] + [row.care_plan_id for row, _ in latest.values()]
    )
    people = stored.open_patients(session, [each.patient_id for each in found if each.patient_id])
    decided = _Decided(latest, plans, people, clinic.library.shelf(session))
    lines = []
    for each in found:
        if each.patient_id not in people:  # of an entry that was undone
            continue
        if each.action in _EVENTS:
            line = _event_line(each, events, gone, plans)
        else:
            line = _closed_line(each, closed) if each.action == _CLOSED else decided.tell(each)
        if line is not None:
            lines.append(line)
    return DoneToday(lines, people)


def _event_line(
    each: AuditEvent, events: Mapping[UUID, CareEvent], gone: set[UUID], plans: Mapping[UUID, CarePlan]
) -> Done | None:
    event = events.get(UUID(each.subject_id or ""))
    if event is None or event.id in gone:
        return None
    return Done(
        at=each.at,
        actor=each.actor,
        patient_id=event.patient_id,
        event=event.kind,
        treatment_id=plans[event.care_plan_id].treatment_id,
        event_id=event.id,
    )


def _closed_line(each: AuditEvent, closed: dict[UUID, RaisedLine]) -> Done | None:
    """A line that was closed, told once, for the last time it was; none while it is open again."""
    line = closed.pop(UUID(each.subject_id or ""), None)
    if line is None or line.closed_at is None:
        return None
    return Done(at=each.at, actor=each.actor, patient_id=line.patient_id, closed=line.kind, line_id=line.id)


@dataclass(slots=True)
class _Decided:
    """Decisions told from the last to the first: only the last about a message can be undone, and only while its row
    can come back; what was undone is not told any more."""

    latest: Mapping[UUID, tuple[Reminder, Reminder]]
    plans: Mapping[UUID, CarePlan]
    people: Mapping[UUID, Patient]
    shelf: Shelf
    told: set[UUID] = field(default_factory=set)
    taken_back: Counter[UUID] = field(default_factory=Counter)

    def tell(self, each: AuditEvent) -> Done | None:
        """The line of a decision, or None."""
        reminder_id = UUID(each.subject_id or "")
        kind = _DECISIONS[each.action]
        found = self.latest.get(reminder_id)
        if found is None or kind is DecisionKind.REOPEN:
            self.taken_back[reminder_id] += 1
            return None
        if self.taken_back[reminder_id] and kind in _ENDS:
            self.taken_back[reminder_id] -= 1
            return None
        row, newest = found
        plan = self.plans[row.care_plan_id]
        can_undo = reminder_id not in self.told and row.id == newest.id and can_reopen(row) and kind in _ENDS
        self.told.add(reminder_id)
        return Done(
            at=each.at,
            actor=each.actor,
            patient_id=row.patient_id,
            decision=kind,
            treatment_id=plan.treatment_id,
            title=title_of_row(self.shelf, plan, row, self.people[row.patient_id].language),
            reminder_id=row.id if can_undo else None,
        )
