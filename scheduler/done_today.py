"""What was done today at the desk, each with the one way to take it back: nothing done from a list is out of reach.

What still waits is in `scheduler.worklist`.
"""

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
from db.records import Patient
from db.reminders import list_latest
from db.staff import AuditEvent
from db.states import DecisionKind, EventKind, Reason, ReminderState
from scheduler.clinic import Clinic
from scheduler.library import Shelf
from scheduler.local_time import to_utc, to_wall
from scheduler.subjects import title_of_row

SHOWN: Final = 30
_EVENTS: Final = {f"event.{kind.value}": kind for kind in EventKind}
_DECISIONS: Final = {f"reminder.{kind.value}": kind for kind in DecisionKind}


@dataclass(frozen=True, slots=True)
class Done:
    """One thing somebody did today. `event_id` or `reminder_id` names what undoing is about; neither: too late."""

    at: datetime
    actor: str
    patient_id: UUID
    event: EventKind | None = None
    decision: DecisionKind | None = None
    treatment_id: UUID | None = None
    title: str = ""
    event_id: UUID | None = None
    reminder_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class DoneToday:
    """What was done since midnight at the clinic, the last first."""

    lines: Sequence[Done]
    people: Mapping[UUID, Patient] = field(repr=False)


def read_done(session: Session, clinic: Clinic) -> DoneToday:
    """What people did today; what programs did (imports, the sender) is not in it."""
    zone = clinic.settings.clinic_time_zone
    midnight = to_wall(clinic.clock.now(), zone).replace(hour=0, minute=0, second=0, microsecond=0)
    found = [
        event
        for event in audit.list_since(session, to_utc(midnight, zone), (*_EVENTS, *_DECISIONS), SHOWN)
        if event.actor != "service" and event.patient_id is not None and event.subject_id is not None
    ]
    event_ids = [UUID(each.subject_id) for each in found if each.action in _EVENTS and each.subject_id]
    reminder_ids = [UUID(each.subject_id) for each in found if each.action in _DECISIONS and each.subject_id]
    events = {row.id: row for row in stored_plans.find_events(session, event_ids)}
    gone = stored_plans.find_retracted(session, event_ids)
    latest = list_latest(session, reminder_ids)
    plans = stored.find_plans(
        session, [row.care_plan_id for row in events.values()] + [row.care_plan_id for row, _ in latest.values()]
    )
    people = stored.open_patients(session, [each.patient_id for each in found if each.patient_id])
    shelf = clinic.library.shelf(session)
    lines = []
    undone: set[UUID] = set()
    for each in found:
        if each.action in _EVENTS:
            line = _event_line(each, events, gone, plans)
        else:
            line = _decision_line(each, latest, plans, people, shelf, undone)
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


def _decision_line(
    each: AuditEvent,
    latest: Mapping[UUID, tuple[Reminder, Reminder]],
    plans: Mapping[UUID, CarePlan],
    people: Mapping[UUID, Patient],
    shelf: Shelf,
    undone: set[UUID],
) -> Done | None:
    """A decision; undoing is offered for the last one about a message only, and while its row can come back."""
    reminder_id = UUID(each.subject_id or "")
    kind = _DECISIONS[each.action]
    found = latest.get(reminder_id)
    if found is None or kind is DecisionKind.REOPEN:
        undone.add(reminder_id)
        return None
    row, newest = found
    plan = plans[row.care_plan_id]
    can_undo = reminder_id not in undone and row.id == newest.id and _can_reopen(row, kind)
    undone.add(reminder_id)
    return Done(
        at=each.at,
        actor=each.actor,
        patient_id=row.patient_id,
        decision=kind,
        treatment_id=plan.treatment_id,
        title=title_of_row(shelf, plan, row, people[row.patient_id].language),
        reminder_id=row.id if can_undo else None,
    )


def _can_reopen(row: Reminder, kind: DecisionKind) -> bool:
    if kind is DecisionKind.DONE:
        return row.state is ReminderState.DONE or (
            row.state in (ReminderState.FAILED, ReminderState.MISSED) and row.settled_at is not None
        )
    return kind is DecisionKind.CANCEL and row.reason is Reason.BY_STAFF
