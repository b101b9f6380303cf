"""Counts for machines and the day's mail: attempts by outcome, calls asked for, workers. Nothing of a patient."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.conditions import held
from db.follow_up import CarePlan, DeliveryAttempt, Reminder, Worker
from db.states import AttemptOutcome, Reason


@dataclass(frozen=True, slots=True)
class Workers:
    """The sending processes that gave a sign of life lately."""

    alive: int
    alarms: int  # how many of them have one
    loop_lag_ms: int | None  # the longest that an event loop was kept waiting


def count_by_outcome(session: Session, since: datetime | None = None) -> dict[AttemptOutcome, int]:
    """How many attempts ended how, of all or since an instant."""
    query = select(DeliveryAttempt.outcome, func.count()).group_by(DeliveryAttempt.outcome)
    if since is not None:
        query = query.where(DeliveryAttempt.marked_at >= since)
    return dict(session.execute(query).all())


def count_workers(session: Session, since: datetime) -> Workers:
    """Workers with a sign of life since an instant that have not ended."""
    query = select(func.count(), func.count(Worker.alarm), func.max(Worker.loop_lag_ms)).where(
        Worker.stopped_at.is_(None), Worker.heartbeat_at >= since
    )
    return Workers(*session.execute(query).one())


def count_calls(session: Session) -> int:
    """How many patients wait for a call."""
    return (
        session.scalar(select(func.count(CarePlan.patient_id.distinct())).where(CarePlan.call_asked_at.is_not(None)))
        or 0
    )


def find_latest_call(session: Session) -> datetime | None:
    """When a call was last asked for that nobody has made yet, or None."""
    return session.scalar(select(func.max(CarePlan.call_asked_at)).where(CarePlan.call_asked_at.is_not(None)))


def list_unknown_ids(session: Session, limit: int) -> list[UUID]:
    """Reminders whose fate a person has to settle, the first due first."""
    query = select(Reminder.id).where(held(), Reminder.reason == Reason.UNKNOWN).order_by(Reminder.due_at)
    return list(session.scalars(query.limit(limit)))
