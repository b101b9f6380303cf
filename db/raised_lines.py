"""Queries and writes about what the patient's side raised for staff: open until a person closes it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, select, union_all
from sqlalchemy.orm import Session

from db.engine import actor_of, instant_of
from db.follow_up import CareEvent, CareEventRetraction, CarePlan, DeliveryAttempt, Reminder, Review
from db.private_page import RaisedKind, RaisedLine
from db.states import AttemptOutcome, CarePlanStatus, EventKind, StepKind
from db.types import new_id


def raise_line(
    session: Session, plan: CarePlan, kind: RaisedKind, said: str | None = None, review: str | None = None
) -> RaisedLine:
    """Raise a line, or add to the open one of its kind for this plan."""
    line = find_open(session, plan.id, kind)
    if line is None:
        line = RaisedLine(
            id=new_id(),
            patient_id=plan.patient_id,
            care_plan_id=plan.id,
            kind=kind,
            review=review,
            raised_at=instant_of(session),
            raised_by=actor_of(session),
        )
        session.add(line)
        line.said = said
    else:
        line.review = review or line.review
        line.said = "\n".join(part for part in (line.said, said) if part) or None
    session.flush()
    return line


def find_open(session: Session, plan_id: UUID, kind: RaisedKind) -> RaisedLine | None:
    """The open line of a kind for a plan, or None."""
    query = select(RaisedLine).where(
        RaisedLine.care_plan_id == plan_id, RaisedLine.kind == kind, RaisedLine.closed_at.is_(None)
    )
    return session.scalar(query)


def find(session: Session, line_id: UUID) -> RaisedLine | None:
    """The line with that id, or None."""
    return session.get(RaisedLine, line_id)


def close(session: Session, line: RaisedLine) -> None:
    """A person has dealt with it."""
    line.closed_at, line.closed_by = instant_of(session), actor_of(session)


def reopen(session: Session, line: RaisedLine) -> None:
    """It was not dealt with after all."""
    line.closed_at = line.closed_by = None


def list_open(session: Session, kind: RaisedKind, limit: int) -> list[RaisedLine]:
    """Open lines of a kind, the oldest first."""
    return [line for line, _ in list_open_each(session, {kind: limit})]


def list_open_each(session: Session, limits: Mapping[RaisedKind, int]) -> list[tuple[RaisedLine, Review | None]]:
    """Open lines of these kinds with the review each is about, the oldest first, at most so many of each kind."""
    parts = [
        select(
            select(RaisedLine.id)
            .where(RaisedLine.kind == kind, RaisedLine.closed_at.is_(None))
            .order_by(RaisedLine.raised_at)
            .limit(limit)
            .subquery()
            .c.id
        )
        for kind, limit in limits.items()
    ]
    about = and_(Review.care_plan_id == RaisedLine.care_plan_id, Review.key == RaisedLine.review)
    query = select(RaisedLine, Review).outerjoin(Review, about).where(RaisedLine.id.in_(union_all(*parts)))
    return [(row[0], row[1]) for row in session.execute(query.order_by(RaisedLine.raised_at, RaisedLine.id))]


def find_lines(session: Session, line_ids: Sequence[UUID]) -> dict[UUID, RaisedLine]:
    """Lines by their ids, open and closed."""
    if not line_ids:
        return {}
    return {line.id: line for line in session.scalars(select(RaisedLine).where(RaisedLine.id.in_(line_ids)))}


def find_latest(session: Session, plan_ids: Sequence[UUID], kind: RaisedKind) -> dict[UUID, RaisedLine]:
    """The line of a kind that was raised last for each of these plans, open or closed."""
    query = select(RaisedLine).where(RaisedLine.care_plan_id.in_(plan_ids), RaisedLine.kind == kind)
    return {line.care_plan_id: line for line in session.scalars(query.order_by(RaisedLine.raised_at, RaisedLine.id))}


def list_of_patient(session: Session, patient_id: UUID) -> list[RaisedLine]:
    """All that was ever raised about a patient, the oldest first."""
    query = select(RaisedLine).where(RaisedLine.patient_id == patient_id)
    return list(session.scalars(query.order_by(RaisedLine.raised_at, RaisedLine.id)))


def list_asked_since(session: Session, plan_ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """Of these plans: when the first message about the plan at home left that she has not answered since."""
    answered = (
        select(CareEvent.recorded_at)
        .outerjoin(CareEventRetraction, CareEventRetraction.event_id == CareEvent.id)
        .where(
            CareEvent.care_plan_id == Reminder.care_plan_id,
            CareEvent.kind == EventKind.CHECKED_IN,
            CareEvent.recorded_at >= DeliveryAttempt.marked_at,
            CareEventRetraction.event_id.is_(None),
        )
    )
    query = (
        select(Reminder.care_plan_id, DeliveryAttempt.marked_at)
        .join(DeliveryAttempt, DeliveryAttempt.reminder_id == Reminder.id)
        .where(
            Reminder.care_plan_id.in_(plan_ids),
            Reminder.kind == StepKind.EXERCISE,
            DeliveryAttempt.outcome == AttemptOutcome.ACCEPTED,
            ~answered.exists(),
        )
    )
    found: dict[UUID, datetime] = {}
    for plan_id, at in session.execute(query):
        found[plan_id] = min(at, found.get(plan_id, at))
    return found


def list_running(session: Session, after: UUID | None, limit: int) -> list[CarePlan]:
    """Active plans in the order of their ids, behind `after`."""
    query = select(CarePlan).where(CarePlan.status == CarePlanStatus.ACTIVE).order_by(CarePlan.id).limit(limit)
    return list(session.scalars(query if after is None else query.where(CarePlan.id > after)))
