"""What waits for a person: the queries behind the staff's list of the day. Each is served by an index of its own.

What a line means, and which comes first, is in `scheduler.worklist`.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import and_, or_, select, text, union_all
from sqlalchemy.orm import Session

from db.conditions import UNSETTLED_SQL, held, open_review, open_visit, waiting
from db.follow_up import CareEvent, CareEventRetraction, CarePlan, Reminder, Review
from db.records import AdverseEvent, Patient, Treatment
from db.sealed import learn_keys
from db.states import Audience, EventKind, Reason, ReviewStatus, TreatmentStatus


def list_call_asked(session: Session, limit: int) -> list[CarePlan]:
    """Care plans whose patient asked for a call, the longest waiting first."""
    query = select(CarePlan).where(CarePlan.call_asked_at.is_not(None)).order_by(CarePlan.call_asked_at)
    return list(session.scalars(query.limit(limit)))


def list_open_calls(session: Session, plan_ids: Collection[UUID]) -> dict[UUID, list[CareEvent]]:
    """Of care plans whose patient asked for a call: how often and why she asked since somebody last closed it."""
    taken_back = select(CareEventRetraction.event_id).where(CareEventRetraction.event_id == CareEvent.id)
    query = select(CareEvent).where(
        CareEvent.care_plan_id.in_(plan_ids),
        CareEvent.kind.in_((EventKind.CALL_REQUESTED, EventKind.CALL_CLOSED)),
        ~taken_back.exists(),
    )
    found: dict[UUID, list[CareEvent]] = {}
    if not plan_ids:
        return found
    for event in session.scalars(query.order_by(CareEvent.occurred_at, CareEvent.recorded_at, CareEvent.id)):
        if event.kind is EventKind.CALL_CLOSED:
            found.pop(event.care_plan_id, None)
        else:
            found.setdefault(event.care_plan_id, []).append(event)
    return found


def list_release_asked(session: Session, limit: int) -> list[CarePlan]:
    """Care plans whose next part waits for a clinician's release, the longest waiting first."""
    query = select(CarePlan).where(CarePlan.release_asked_at.is_not(None)).order_by(CarePlan.release_asked_at)
    return list(session.scalars(query.limit(limit)))


def list_open_complications(session: Session, limit: int) -> list[tuple[AdverseEvent, UUID]]:
    """Complications that were neither resolved nor taken back, the first first; with their care plans' ids."""
    taken_back = select(CareEventRetraction.event_id).where(
        CareEventRetraction.event_id == AdverseEvent.reported_by_event_id
    )
    query = (
        select(AdverseEvent, CarePlan.id)
        .join(CarePlan, CarePlan.treatment_id == AdverseEvent.treatment_id)
        .join(Treatment, Treatment.id == AdverseEvent.treatment_id)
        .where(
            AdverseEvent.resolved_by_event_id.is_(None),
            Treatment.status == TreatmentStatus.ACTIVE,
            ~taken_back.exists(),
        )
        .order_by(AdverseEvent.onset_at)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def list_unsigned(session: Session, before: datetime, limit: int) -> list[tuple[Treatment, UUID]]:
    """Treatments whose record has waited to be signed since before an instant, the longest waiting first."""
    query = (
        select(Treatment, CarePlan.id)
        .join(CarePlan, CarePlan.treatment_id == Treatment.id)
        .where(Treatment.unsigned_since < before, Treatment.unsigned_since.is_not(None))
        .order_by(Treatment.unsigned_since)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def list_held_each(session: Session, limits: Mapping[Reason, int]) -> list[Reminder]:
    """Reminders held for these reasons, by due time, at most so many of each: one query, flat in their number."""
    parts = [
        select(
            select(Reminder.id)
            .where(held(), Reminder.reason == reason)
            .order_by(Reminder.due_at)
            .limit(limit)
            .subquery()
            .c.id
        )
        for reason, limit in limits.items()
    ]
    query = select(Reminder).where(Reminder.id.in_(union_all(*parts))).order_by(Reminder.due_at, Reminder.id)
    return list(session.scalars(query))


def list_unsettled(session: Session, limit: int) -> list[Reminder]:
    """Failed and missed reminders that nobody has acted on, the failed before the missed, of each the last first.

    SQLite takes the index by state for this, in which all that was ever settled stands too, unless it is told.
    """
    index = "INDEXED BY ix_reminders_unsettled" if session.get_bind().dialect.name == "sqlite" else ""
    chosen = f"SELECT id FROM reminders {index} WHERE {UNSETTLED_SQL} ORDER BY state, changed_at DESC LIMIT :most"  # noqa: S608 (all ours)
    ids = text(chosen).bindparams(most=limit).columns(Reminder.id)
    query = select(Reminder).where(Reminder.id.in_(ids)).order_by(Reminder.state, Reminder.changed_at.desc())
    return list(session.scalars(query))


def list_reviews_to_book(session: Session, until: date, limit: int) -> list[Review]:
    """Open reviews without a visit that are due by a day, and those whose visit was missed; the first due first."""
    due = and_(open_review(), Review.status == ReviewStatus.DUE, Review.due_on <= until)
    missed = and_(open_review(), Review.status == ReviewStatus.MISSED)
    return list(session.scalars(select(Review).where(or_(due, missed)).order_by(Review.due_on, Review.id).limit(limit)))


def list_visits(session: Session, since: datetime | None, until: datetime, limit: int) -> list[Review]:
    """Booked visits that start from one instant to before another, not written down yet, the earliest first."""
    booked = and_(open_visit(), Review.visit_at < until)
    if since is not None:
        booked = and_(booked, Review.visit_at >= since)
    return list(session.scalars(select(Review).where(booked).order_by(Review.visit_at, Review.id).limit(limit)))


def list_leaving(session: Session, until: datetime, limit: int) -> list[Reminder]:
    """Messages to patients that leave before an instant, the first first."""
    query = (
        select(Reminder)
        .where(
            waiting(),
            Reminder.ready_at < until,
            Reminder.audience == Audience.PATIENT,
        )
        .order_by(Reminder.ready_at, Reminder.id)
        .limit(limit)
    )
    return list(session.scalars(query))


def find_plans(session: Session, plan_ids: Iterable[UUID]) -> dict[UUID, CarePlan]:
    """Care plans by id."""
    return {row.id: row for row in session.scalars(select(CarePlan).where(CarePlan.id.in_(set(plan_ids))))}


def open_patients(session: Session, patient_ids: Iterable[UUID]) -> dict[UUID, Patient]:
    """Patients by id, their keys at hand: two queries however many there are. Those of undone entries are not there."""
    ids = list(dict.fromkeys(patient_ids))
    query = select(Patient).where(Patient.id.in_(ids), Patient.voided_at.is_(None))
    found = {row.id: row for row in session.scalars(query)}
    learn_keys(session, found)
    return found
