"""What waits for a person: the queries behind the staff's list of the day. Each is served by an index of its own.

What a line means, and which comes first, is in `scheduler.worklist`.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Select, and_, or_, select, text, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.conditions import UNSETTLED_SQL, held, open_review, open_visit, waiting
from db.follow_up import CareEvent, CareEventRetraction, CarePlan, Reminder, Review
from db.records import AdverseEvent, Patient, Treatment
from db.sealed import learn_keys
from db.states import Audience, EventKind, Reason, ReviewStatus, TreatmentStatus


def list_asking(
    session: Session, most_calls: int, most_releases: int
) -> tuple[list[tuple[CarePlan, list[CareEvent]]], list[CarePlan]]:
    """Care plans whose patient asked for a call, with why she asked since somebody last closed it; and those whose next
    part waits for a clinician's release. Of both the longest waiting first, at most so many: one query.
    """
    calls = _waiting_since(CarePlan.call_asked_at, most_calls)
    releases = _waiting_since(CarePlan.release_asked_at, most_releases)
    taken_back = select(CareEventRetraction.event_id).where(CareEventRetraction.event_id == CareEvent.id)
    about_calls = and_(
        CareEvent.care_plan_id == CarePlan.id,
        CarePlan.call_asked_at.is_not(None),
        CareEvent.kind.in_((EventKind.CALL_REQUESTED, EventKind.CALL_CLOSED)),
        ~taken_back.exists(),
    )
    query = (
        select(CarePlan, CareEvent)
        .outerjoin(CareEvent, about_calls)
        .where(CarePlan.id.in_(union_all(calls, releases)))
        .order_by(CareEvent.occurred_at, CareEvent.recorded_at, CareEvent.id)
    )
    asked: dict[UUID, tuple[CarePlan, list[CareEvent]]] = {}
    for row in session.execute(query):
        plan: CarePlan = row[0]
        event: CareEvent | None = row[1]
        _, why = asked.setdefault(plan.id, (plan, []))
        if event is not None and event.kind is EventKind.CALL_REQUESTED:
            why.append(event)
        else:
            why.clear()
    plans = [plan for plan, _ in asked.values()]
    waiting_calls = sorted((plan.call_asked_at, plan.id) for plan in plans if plan.call_asked_at)
    waiting_releases = sorted((plan.release_asked_at, plan.id) for plan in plans if plan.release_asked_at)
    return (
        [asked[plan_id] for _, plan_id in waiting_calls[:most_calls]],
        [asked[plan_id][0] for _, plan_id in waiting_releases[:most_releases]],
    )


def _waiting_since(column: InstrumentedAttribute[datetime | None], limit: int) -> Select[tuple[UUID]]:
    some = select(CarePlan.id).where(column.is_not(None)).order_by(column).limit(limit).subquery()
    return select(some.c.id)


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


def list_visits(session: Session, now: datetime, until: datetime, most_passed: int, most_ahead: int) -> list[Review]:
    """Booked visits that are not written down yet, the earliest first: those that have begun, and those that start
    before an instant; at most so many of each, with one query.
    """
    parts = [
        select(
            select(Review.id)
            .where(open_visit(), when)
            .order_by(Review.visit_at, Review.id)
            .limit(limit)
            .subquery()
            .c.id
        )
        for when, limit in (
            (Review.visit_at < now, most_passed),
            (and_(Review.visit_at >= now, Review.visit_at < until), most_ahead),
        )
    ]
    query = select(Review).where(Review.id.in_(union_all(*parts))).order_by(Review.visit_at, Review.id)
    return list(session.scalars(query))


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
