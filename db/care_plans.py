"""Queries and writes about care plans: their events, staff's decisions, reviews and open questions."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.engine import actor_of, instant_of
from db.follow_up import CareEvent, CareEventRetraction, CarePlan, PlanQuestion, ReminderDecision, Review
from db.states import CarePlanStatus, DecisionKind, EventKind
from db.types import new_id

_RUNNING = (CarePlanStatus.ACTIVE, CarePlanStatus.ON_HOLD)


def find_plan_of(session: Session, treatment_id: UUID) -> CarePlan | None:
    """The care plan of a treatment, or None."""
    return session.scalar(select(CarePlan).where(CarePlan.treatment_id == treatment_id))


def list_plans(session: Session, patient_id: UUID) -> list[CarePlan]:
    """All care plans of a patient, the first made first."""
    query = select(CarePlan).where(CarePlan.patient_id == patient_id).order_by(CarePlan.created_at, CarePlan.id)
    return list(session.scalars(query))


def add_event(
    session: Session,
    plan: CarePlan,
    kind: EventKind,
    review: str | None,
    occurred_at: datetime,
    occurred_local: str,
    zone: str,
    fields: Mapping[str, str],
) -> CareEvent:
    """Record a fact about a care plan."""
    event = CareEvent(
        id=new_id(),
        care_plan_id=plan.id,
        patient_id=plan.patient_id,
        kind=kind,
        review=review,
        occurred_at=occurred_at,
        occurred_local=occurred_local,
        zone=zone,
        recorded_at=instant_of(session),
        recorded_by=actor_of(session),
    )
    session.add(event)
    event.fields = dict(fields)
    session.flush()
    return event


def find_event(session: Session, event_id: UUID) -> CareEvent | None:
    """The event with that id, or None."""
    return session.get(CareEvent, event_id)


def find_events(session: Session, event_ids: Sequence[UUID]) -> tuple[dict[UUID, CareEvent], set[UUID]]:
    """Events by their ids, and which of them no longer count."""
    query = (
        select(CareEvent, CareEventRetraction.event_id)
        .outerjoin(CareEventRetraction, CareEventRetraction.event_id == CareEvent.id)
        .where(CareEvent.id.in_(event_ids))
    )
    rows = session.execute(query).all()
    gone: list[UUID | None] = [row[1] for row in rows]
    return {row[0].id: row[0] for row in rows}, {event_id for event_id in gone if event_id is not None}


def list_retractions(session: Session, event_ids: Sequence[UUID]) -> list[CareEventRetraction]:
    """Why and by whom events of these were taken back."""
    return list(session.scalars(select(CareEventRetraction).where(CareEventRetraction.event_id.in_(event_ids))))


def is_retracted(session: Session, event_id: UUID) -> bool:
    """Whether an event no longer counts."""
    return session.get(CareEventRetraction, event_id) is not None


def retract_event(session: Session, event: CareEvent, reason: str) -> None:
    """Record that an event was entered wrongly."""
    row = CareEventRetraction(
        event_id=event.id,
        patient_id=event.patient_id,
        recorded_at=instant_of(session),
        recorded_by=actor_of(session),
    )
    session.add(row)
    row.reason = reason
    session.flush()


def list_events(session: Session, plan_ids: Sequence[UUID], with_retracted: bool = False) -> list[CareEvent]:
    """Events of care plans in the order recorded; retracted ones only on request."""
    query = select(CareEvent).where(CareEvent.care_plan_id.in_(plan_ids))
    if not with_retracted:
        gone = select(CareEventRetraction.event_id).where(CareEventRetraction.event_id == CareEvent.id)
        query = query.where(~gone.exists())
    return list(session.scalars(query.order_by(CareEvent.recorded_at, CareEvent.id)))


def add_decision(
    session: Session,
    plan: CarePlan,
    step: str,
    occurrence: int,
    generation: int,
    kind: DecisionKind,
    note: str | None = None,
) -> None:
    """Record what staff decided about one reminder."""
    row = ReminderDecision(
        id=new_id(),
        care_plan_id=plan.id,
        patient_id=plan.patient_id,
        step=step,
        occurrence=occurrence,
        generation=generation,
        kind=kind,
        recorded_at=instant_of(session),
        recorded_by=actor_of(session),
    )
    session.add(row)
    row.note = note
    session.flush()


def find_all(session: Session, plan_ids: Collection[UUID]) -> dict[UUID, CarePlan]:
    """These care plans by their ids, with one query."""
    rows = session.scalars(select(CarePlan).where(CarePlan.id.in_(list(plan_ids))))
    return {plan.id: plan for plan in rows}


def list_decisions(session: Session, plan_ids: Sequence[UUID]) -> list[ReminderDecision]:
    """Decisions about the reminders of care plans, in the order recorded."""
    query = select(ReminderDecision).where(ReminderDecision.care_plan_id.in_(plan_ids))
    return list(session.scalars(query.order_by(ReminderDecision.recorded_at, ReminderDecision.id)))


def list_questions(session: Session, plan_ids: Sequence[UUID]) -> list[PlanQuestion]:
    """Questions about care plans, open and closed."""
    query = select(PlanQuestion).where(PlanQuestion.care_plan_id.in_(plan_ids))
    return list(session.scalars(query.order_by(PlanQuestion.asked_at, PlanQuestion.id)))


def list_open_questions(session: Session, limit: int = 200) -> list[PlanQuestion]:
    """What staff are asked, the oldest first."""
    query = select(PlanQuestion).where(PlanQuestion.closed_at.is_(None))
    return list(session.scalars(query.order_by(PlanQuestion.asked_at).limit(limit)))


def find_question(session: Session, question_id: UUID) -> PlanQuestion | None:
    """The question with that id, or None."""
    return session.get(PlanQuestion, question_id)


def close_questions(session: Session, question_ids: Iterable[UUID]) -> None:
    """Close questions that were answered or no longer arise."""
    ids = list(question_ids)
    if ids:
        session.execute(update(PlanQuestion).where(PlanQuestion.id.in_(ids)).values(closed_at=instant_of(session)))


def list_reviews(session: Session, plan_ids: Sequence[UUID]) -> list[Review]:
    """Where the reviews of care plans stand."""
    query = select(Review).where(Review.care_plan_id.in_(plan_ids))
    return list(session.scalars(query.order_by(Review.due_on, Review.place)))


def list_patients_planned_otherwise(session: Session, fingerprint: str, limit: int) -> list[UUID]:
    """Patients with a running care plan that was planned with other settings, holidays or zone data."""
    query = (
        select(CarePlan.patient_id)
        .where(CarePlan.planned_with.is_distinct_from(fingerprint), CarePlan.status.in_(_RUNNING))
        .distinct()
        .limit(limit)
    )
    return list(session.scalars(query))


def mark_outdated(session: Session, patient_ids: Sequence[UUID]) -> None:
    """Let all care plans of these patients be planned again."""
    for start in range(0, len(patient_ids), 1_000):
        some = patient_ids[start : start + 1_000]
        session.execute(update(CarePlan).where(CarePlan.patient_id.in_(some)).values(planned_with=None))


def list_patients_on(session: Session, protocol_version_ids: Sequence[UUID]) -> list[UUID]:
    """Patients with a running care plan on one of these protocol versions."""
    query = (
        select(CarePlan.patient_id)
        .where(CarePlan.protocol_version_id.in_(protocol_version_ids), CarePlan.status.in_(_RUNNING))
        .distinct()
    )
    return list(session.scalars(query))


def count_running(session: Session, protocol_version_id: UUID) -> int:
    """How many running care plans follow a protocol version."""
    query = select(CarePlan.id).where(
        CarePlan.protocol_version_id == protocol_version_id, CarePlan.status.in_(_RUNNING)
    )
    return len(session.scalars(query).all())
