"""Queries of the reminders board: what is or was due around today, by state and reason, page by page."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, TextClause, func, literal, select, tuple_
from sqlalchemy.orm import Session

from db.conditions import held, unsettled, waiting
from db.follow_up import CarePlan, Reminder
from db.states import Audience, Reason, ReminderState


@dataclass(frozen=True, slots=True)
class BoardFilter:
    """What the board shows: due from `since` to before `until`; empty collections mean everything.

    `unsettled`: of what failed or was missed only what nobody acted on. `ready_by`: of what waits only what may leave
    by then. Both say which states there are, in the words of their index, and `states` says nothing more.
    """

    since: datetime | None
    until: datetime | None
    states: frozenset[ReminderState] = frozenset()
    reasons: frozenset[Reason] = frozenset()
    patients: Collection[UUID] | None = None
    unsettled: bool = False
    ready_by: datetime | None = None


def list_board(
    session: Session, wanted: BoardFilter, limit: int, after: tuple[datetime, UUID] | None = None
) -> list[tuple[Reminder, CarePlan]]:
    """Reminders by due time, a page at a time: `after` is the last one of the page before.

    Without a join: SQLite would begin it with all care plans there are.
    """
    few = _few(wanted)
    query = select(Reminder)
    if few:
        # All of them, then their order: PostgreSQL would else walk through everything in the order of its due time.
        chosen = select(Reminder.id).where(*few).cte().prefix_with("MATERIALIZED")
        query = query.where(Reminder.id.in_(select(chosen.c.id)))
    elif wanted.states:
        query = query.where(Reminder.state.in_(sorted(wanted.states)))
    if wanted.since is not None:
        query = query.where(Reminder.due_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(Reminder.due_at < wanted.until)
    if wanted.reasons:
        query = query.where(Reminder.reason.in_(sorted(wanted.reasons)))
    if wanted.patients is not None:
        query = query.where(Reminder.patient_id.in_(list(wanted.patients)))
    if after is not None:
        # A bare value in a tuple would be bound as SQLAlchemy's own kind of instant, not as ours.
        last = (literal(after[0], Reminder.due_at.type), literal(after[1], Reminder.id.type))
        query = query.where(tuple_(Reminder.due_at, Reminder.id) > tuple_(*last))
    rows = session.scalars(query.order_by(Reminder.due_at, Reminder.id).limit(limit)).all()
    of_these = select(CarePlan).where(CarePlan.id.in_({row.care_plan_id for row in rows}))
    plans = {plan.id: plan for plan in session.scalars(of_these)} if rows else {}
    return [(row, plans[row.care_plan_id]) for row in rows]


def _few(wanted: BoardFilter) -> list[ColumnElement[bool] | TextClause]:
    """What an index of few rows answers, in its own words; empty for anything else."""
    if wanted.unsettled:
        return [unsettled()]
    if wanted.ready_by is not None:
        return [waiting(), Reminder.ready_at <= wanted.ready_by, Reminder.audience == Audience.PATIENT]
    return [held()] if wanted.states == {ReminderState.HELD} else []


def count_board(session: Session, since: datetime, until: datetime) -> dict[tuple[ReminderState, Reason | None], int]:
    """How many reminders due in a span have each state and reason."""
    query = (
        select(Reminder.state, Reminder.reason, func.count())
        .where(Reminder.due_at >= since, Reminder.due_at < until)
        .group_by(Reminder.state, Reminder.reason)
    )
    return {(row[0], row[1]): row[2] for row in session.execute(query)}
