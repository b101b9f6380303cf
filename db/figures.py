"""Queries over many patients for the clinic's figures: reviews and their completion, and reports of pain.

Nothing here is fit to be shown: what may be, and how small counts are withheld, is in `scheduler.figures`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.orm import Session, aliased

from db.follow_up import CareEvent, CareEventRetraction, CarePlan, Review
from db.records import Patient, PatientStop, Treatment, TreatmentVersion
from db.sealed import learn_keys
from db.states import CarePlanStatus, EventKind, ReviewStatus, StopReason, TreatmentStatus

AnySelect = TypeVar("AnySelect", bound=Select[*tuple[Any, ...]])
_PLAN_FACTS = (EventKind.REVIEW_COMPLETED, EventKind.STOP, EventKind.COMPLETE)


@dataclass(frozen=True, slots=True)
class ReviewOfTreatment:
    """One review that is due by now, of a treatment that took place."""

    patient_id: UUID
    plan_id: UUID
    protocol_key: str
    treated_local: str
    entered_at: datetime
    key: str
    place: int
    due_on: date
    latest_on: date
    status: ReviewStatus
    plan_status: CarePlanStatus


@dataclass(frozen=True, slots=True)
class PlanFact:
    """When a review was held (`review`), or when a plan was stopped or completed, by the clinic's clocks."""

    plan_id: UUID
    kind: EventKind
    review: str | None
    occurred_local: str


@dataclass(frozen=True, slots=True)
class Report:
    """An event whose sealed fields may hold pain, with the treatment it is about."""

    event: CareEvent
    protocol_key: str
    treated_local: str


def list_due_reviews(session: Session, since: date, until: date) -> list[ReviewOfTreatment]:
    """Reviews due by a day, of treatments done since another."""
    query = (
        select(
            Treatment.patient_id,
            CarePlan.id,
            Treatment.protocol_key,
            TreatmentVersion.treated_local,
            Treatment.entered_at,
            Review.key,
            Review.place,
            Review.due_on,
            Review.latest_on,
            Review.status,
            CarePlan.status,
        )
        .select_from(Review)
        .join(CarePlan, CarePlan.id == Review.care_plan_id)
        .where(Review.due_on <= until)
    )
    return [ReviewOfTreatment(*row) for row in session.execute(_of_treatments(query, since))]


def count_due_reviews(session: Session, since: date, until: date) -> int:
    """How many of them there are."""
    query = (
        select(func.count())
        .select_from(Review)
        .join(CarePlan, CarePlan.id == Review.care_plan_id)
        .where(Review.due_on <= until)
    )
    return session.execute(_of_treatments(query, since)).scalar_one()


def list_plan_facts(session: Session, since: date) -> list[PlanFact]:
    """Reviews held, and plans stopped or completed, of treatments done since a day; nothing that was taken back."""
    query = (
        select(CareEvent.care_plan_id, CareEvent.kind, CareEvent.review, CareEvent.occurred_local)
        .select_from(CareEvent)
        .join(CarePlan, CarePlan.id == CareEvent.care_plan_id)
        .where(_stands(_PLAN_FACTS))
    )
    return [PlanFact(*row) for row in session.execute(_of_treatments(query, since))]


def list_deaths(session: Session) -> dict[UUID, datetime]:
    """Patients whose messages were stopped last because of their death, and when that was recorded."""
    later = aliased(PatientStop)
    is_last = ~select(later.id).where(later.patient_id == PatientStop.patient_id, later.id > PatientStop.id).exists()
    query = select(PatientStop.patient_id, PatientStop.recorded_at).where(
        PatientStop.reason == StopReason.DECEASED, is_last
    )
    return {row[0]: row[1] for row in session.execute(query)}


def count_reports(session: Session, kinds: Collection[EventKind], since: date) -> int:
    """How many sealed reports of these kinds there are about treatments done since a day."""
    query = (
        select(func.count())
        .select_from(CareEvent)
        .join(CarePlan, CarePlan.id == CareEvent.care_plan_id)
        .where(_stands(kinds), CareEvent.fields_sealed.is_not(None))
    )
    return session.execute(_of_treatments(query, since)).scalar_one()


def list_reports(
    session: Session, kinds: Collection[EventKind], since: date, after: UUID | None, limit: int
) -> list[Report]:
    """The next so many of them after an event's id, in the order of their ids; the keys to open them are at hand."""
    query = (
        select(CareEvent, Treatment.protocol_key, TreatmentVersion.treated_local)
        .select_from(CareEvent)
        .join(CarePlan, CarePlan.id == CareEvent.care_plan_id)
        .where(_stands(kinds), CareEvent.fields_sealed.is_not(None))
    )
    if after is not None:
        query = query.where(CareEvent.id > after)
    rows = session.execute(_of_treatments(query, since).order_by(CareEvent.id).limit(limit)).all()
    learn_keys(session, {row[0].patient_id for row in rows})
    return [Report(*row) for row in rows]


def _of_treatments(query: AnySelect, since: date) -> AnySelect:
    """Of plans whose treatment took place, as it is recorded now, since a day; of patients who are entered."""
    later = aliased(TreatmentVersion)
    holds = ~(
        select(later.id)
        .where(later.treatment_id == TreatmentVersion.treatment_id, later.number > TreatmentVersion.number)
        .exists()
    )
    return (
        query.join(Treatment, Treatment.id == CarePlan.treatment_id)
        .join(TreatmentVersion, and_(TreatmentVersion.treatment_id == Treatment.id, holds))
        .join(Patient, Patient.id == Treatment.patient_id)
        .where(
            Treatment.status == TreatmentStatus.ACTIVE,
            Patient.voided_at.is_(None),
            TreatmentVersion.treated_local >= since.isoformat(),
        )
    )


def _stands(kinds: Collection[EventKind]) -> ColumnElement[bool]:
    """Events of these kinds that nobody took back."""
    gone = select(CareEventRetraction.event_id).where(CareEventRetraction.event_id == CareEvent.id)
    return and_(CareEvent.kind.in_(list(kinds)), ~gone.exists())
