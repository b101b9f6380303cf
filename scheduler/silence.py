"""Who has not answered for as long as her protocol says: a line for staff, never a message to her.

Once a day over the running plans (`scheduler.housekeeping`); an answer closes the line (`scheduler.answers`).
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from db import care_plans as stored_plans
from db import patients as stored_patients
from db import raised_lines
from db.follow_up import CareEvent, CarePlan
from db.private_page import RaisedKind
from db.states import CarePlanStatus, EventKind
from scheduler.answers import pause_until
from scheduler.clinic import Clinic

ACTOR: Final = "service"
AT_ONCE: Final = 200  # plans of one look, so that no long transaction stands in the way
_PAUSES: Final = (EventKind.PAUSED, EventKind.UNPAUSED)


def raise_silent(clinic: Clinic, keep_going: Callable[[], bool]) -> int:
    """Raise a line for each plan that has been silent for too long; how many there are new."""
    raised, after = 0, None
    while keep_going():
        with clinic.store.read() as session:
            plans = raised_lines.list_running(session, after, AT_ONCE)
            silent = [(plan.id, plan.patient_id) for plan in _silent(session, clinic, plans)]
        for plan_id, patient_id in silent:
            raised += _raise(clinic, plan_id, patient_id)
        if len(plans) < AT_ONCE:
            break
        after = plans[-1].id
    return raised


def _raise(clinic: Clinic, plan_id: UUID, patient_id: UUID) -> bool:
    """Raise it unless she answered, or somebody changed the plan, since it was looked at."""
    with clinic.store.write(ACTOR, clinic.clock.now()) as session:
        patient = stored_patients.lock_patient(session, patient_id)
        plan = session.get(CarePlan, plan_id)
        if patient is None or plan is None or not _silent(session, clinic, [plan]):
            return False
        raised_lines.raise_line(session, plan, RaisedKind.SILENT)
        return True


def _silent(session: Session, clinic: Clinic, plans: Sequence[CarePlan]) -> list[CarePlan]:
    """Of these plans those that a line has to tell of now: three questions, and three more for the few it may be."""
    now, shelf = clinic.clock.now(), clinic.library.shelf(session)
    rules = {plan.id: shelf.get(plan.protocol_version_id).protocol.check_in.silence for plan in plans}
    watched = [
        plan for plan in plans if rules[plan.id] and plan.status is CarePlanStatus.ACTIVE and plan.call_asked_at is None
    ]
    asked = raised_lines.list_asked_since(session, [plan.id for plan in watched]) if watched else {}
    limits = {plan_id: now - timedelta(days=rule.days) for plan_id, rule in rules.items() if rule}
    long_ago = [plan for plan in watched if plan.id in asked and asked[plan.id] <= limits[plan.id]]
    if not long_ago:
        return []
    stopped = stored_patients.list_stopped(session, list({plan.patient_id for plan in long_ago}))
    told = raised_lines.find_latest(session, [plan.id for plan in long_ago], RaisedKind.SILENT)
    events: dict[UUID, list[CareEvent]] = {}
    for event in stored_plans.list_events(session, [plan.id for plan in long_ago]):
        events.setdefault(event.care_plan_id, []).append(event)
    found = []
    for plan in long_ago:
        line = told.get(plan.id)
        ends = [_pause_ended(events.get(plan.id, []), now)]
        if line is not None:
            ends.append(line.closed_at or now)  # open already, or dealt with: counted from then on
        if plan.patient_id not in stopped and all(end is None or end <= limits[plan.id] for end in ends):
            found.append(plan)
    return found


def _pause_ended(events: list[CareEvent], now: datetime) -> datetime | None:
    """When her last pause ended, or now while she pauses; None when there was none."""
    if pause_until(events, now) is not None:
        return now
    last = next((event for event in reversed(events) if event.kind in _PAUSES), None)
    return last.occurred_at if last else None
