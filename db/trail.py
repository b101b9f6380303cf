"""Queries of the trail's page: events by who, what, whose and when, the newest first, quick at a million events.

Writing and verifying the chain is in `db.audit`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, union_all
from sqlalchemy.orm import Session

from db.staff import AuditEvent

MOST_ACTORS = 200  # in the list to choose from; a clinic has a few dozen


@dataclass(frozen=True, slots=True)
class TrailFilter:
    """Which events: None is any. `until` is the first instant that is no longer meant; no actions: all of them."""

    actor: str | None = None
    actions: Sequence[str] = ()
    patient_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


def list_trail(session: Session, wanted: TrailFilter, before: int | None, limit: int) -> list[AuditEvent]:
    """The newest events of a filter with numbers below `before`."""
    conditions = [*_conditions(session, wanted)]
    if before is not None:
        conditions.append(AuditEvent.number < before)
    query = select(AuditEvent)
    if wanted.actions and wanted.actor is None and wanted.patient_id is None:
        # A few of each action by its own index: one index over all would be read whole for a common action.
        parts = [
            select(
                select(AuditEvent.number)
                .where(AuditEvent.action == action, *conditions)
                .order_by(AuditEvent.number.desc())
                .limit(limit)
                .subquery()
                .c.number
            )
            for action in wanted.actions
        ]
        query = query.where(AuditEvent.number.in_(union_all(*parts)))
    elif wanted.actions:
        query = query.where(AuditEvent.action.in_(wanted.actions), *conditions)
    else:
        query = query.where(*conditions)
    return list(session.scalars(query.order_by(AuditEvent.number.desc()).limit(limit)))


def list_actors(session: Session) -> list[str]:
    """Everybody who is in the trail: a jump from one to the next in the index, however many events there are."""
    first = select(func.min(AuditEvent.actor).label("actor")).cte(recursive=True)
    following = select(func.min(AuditEvent.actor)).where(AuditEvent.actor > first.c.actor).scalar_subquery()
    actors = first.union_all(select(following).where(first.c.actor.is_not(None)))
    found = session.scalars(select(actors.c.actor).where(actors.c.actor.is_not(None)).limit(MOST_ACTORS))
    return [actor for actor in found if actor is not None]


def _conditions(session: Session, wanted: TrailFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.actor is not None:
        conditions.append(AuditEvent.actor == wanted.actor)
    if wanted.patient_id is not None:
        conditions.append(AuditEvent.patient_id == wanted.patient_id)
    spans: list[ColumnElement[bool]] = []
    if wanted.since is not None:
        spans.append(AuditEvent.at >= wanted.since)
    if wanted.until is not None:
        spans.append(AuditEvent.at < wanted.until)
    if spans:
        # Numbers rise with time but for clocks and long transactions: the span of numbers narrows the search, and the
        # instants decide.
        low, high = session.execute(
            select(func.min(AuditEvent.number), func.max(AuditEvent.number)).where(*spans)
        ).one()
        conditions += [*spans, AuditEvent.number.between(low or 0, high or 0)]
    return conditions
