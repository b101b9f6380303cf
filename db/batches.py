"""Queries about one batch of an import: its plans that wait for a release, its messages, what undoing it would do.

Writing a batch and undoing it are in `db.imports` and `db.bulk`.
"""

from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from db.conditions import held
from db.follow_up import CareEvent, CareEventRetraction, CarePlan, Reminder
from db.records import ImportBatch, Treatment
from db.states import LIVE_STATES, Audience, CarePlanStatus, EventKind, Reason, ReminderState, TreatmentStatus

S = TypeVar("S", bound=Select[*tuple[Any, ...]])


def find_batch(session: Session, batch_id: UUID) -> ImportBatch | None:
    """The batch with that id, or None."""
    return session.get(ImportBatch, batch_id)


def list_waiting_patients(session: Session, batch_id: UUID) -> list[UUID]:
    """Patients with plans of a batch that wait for its release, each once."""
    query = _waiting(batch_id, select(CarePlan.patient_id)).distinct().order_by(CarePlan.patient_id)
    return list(session.scalars(query))


def list_waiting_plans(session: Session, batch_id: UUID, patient_id: UUID) -> list[CarePlan]:
    """One patient's plans of a batch that wait for its release."""
    query = _waiting(batch_id, select(CarePlan)).where(CarePlan.patient_id == patient_id)
    return list(session.scalars(query.order_by(CarePlan.id)))


def count_waiting(session: Session, batch_id: UUID) -> int:
    """How many plans of a batch wait for its release."""
    return session.scalar(_waiting(batch_id, select(func.count(CarePlan.id)))) or 0


def count_waiting_by_batch(session: Session) -> dict[UUID, int]:
    """How many plans of each batch wait for its release; only batches that have such plans."""
    query = (
        select(Treatment.import_batch_id, func.count())
        .join(CarePlan, CarePlan.treatment_id == Treatment.id)
        .where(Treatment.import_batch_id.is_not(None), *_held_by_import())
        .group_by(Treatment.import_batch_id)
    )
    return {row[0]: row[1] for row in session.execute(query) if row[0] is not None}


def count_messages(session: Session, batch_id: UUID) -> dict[tuple[ReminderState, Reason | None], int]:
    """How many messages to patients of a batch stand how: looks at each of them."""
    query = _of(batch_id, select(Reminder.state, Reminder.reason, func.count()))
    found = session.execute(query.group_by(Reminder.state, Reminder.reason))
    return {(row[0], row[1]): row[2] for row in found}


def count_held_due(session: Session, batch_id: UUID, before: datetime) -> int:
    """How many messages to patients of a batch that are on hold are due before an instant."""
    mine = (
        select(CarePlan.id)
        .join(Treatment, Treatment.id == CarePlan.treatment_id)
        .where(CarePlan.id == Reminder.care_plan_id, Treatment.import_batch_id == batch_id)
    )
    # By the index of held ones, which are looked at first: a batch has many more messages.
    query = select(func.count()).where(
        held(),
        Reminder.reason == Reason.HOLD,
        Reminder.due_at < before,
        Reminder.audience == Audience.PATIENT,
        mine.exists(),
    )
    return session.scalar(query) or 0


def list_samples(session: Session, batch_id: UUID, plans: int) -> list[tuple[Reminder, CarePlan, Treatment]]:
    """The live messages to patients of some running plans of a batch, each with its plan and treatment, by due time."""
    some = (
        select(CarePlan.id)
        .join(Treatment, Treatment.id == CarePlan.treatment_id)
        .where(
            Treatment.import_batch_id == batch_id,
            CarePlan.status.in_((CarePlanStatus.ACTIVE, CarePlanStatus.ON_HOLD)),
        )
        .limit(plans)
    )
    chosen = list(session.scalars(some))
    query = _of(batch_id, select(Reminder, CarePlan, Treatment)).where(
        Reminder.care_plan_id.in_(chosen), Reminder.state.in_(LIVE_STATES)
    )
    return [(row[0], row[1], row[2]) for row in session.execute(query.order_by(Reminder.due_at, Reminder.id))]


def count_unsent(session: Session, batch_id: UUID) -> int:
    """How many live rows of a batch undoing it would cancel, lines for staff included."""
    query = (
        select(func.count())
        .select_from(Reminder)
        .join(CarePlan, CarePlan.id == Reminder.care_plan_id)
        .join(Treatment, Treatment.id == CarePlan.treatment_id)
        .where(
            Treatment.import_batch_id == batch_id,
            Treatment.status == TreatmentStatus.ACTIVE,
            Reminder.state.in_(LIVE_STATES),
            Reminder.open_attempt.is_(None),
        )
    )
    return session.scalar(query) or 0


def _of(batch_id: UUID, query: S) -> S:
    """Messages to patients, of the treatments of a batch."""
    return (
        query.select_from(Reminder)
        .join(CarePlan, CarePlan.id == Reminder.care_plan_id)
        .join(Treatment, Treatment.id == CarePlan.treatment_id)
        .where(Treatment.import_batch_id == batch_id, Reminder.audience == Audience.PATIENT)
    )


def _waiting(batch_id: UUID, query: S) -> S:
    return query.join(Treatment, Treatment.id == CarePlan.treatment_id).where(
        Treatment.import_batch_id == batch_id, *_held_by_import()
    )


def _held_by_import() -> list[ColumnElement[bool]]:
    """A plan waits for its release while nobody has held or resumed it by hand: what a person said, stands."""
    retracted = select(CareEventRetraction.event_id)
    said = select(CareEvent.id).where(
        CareEvent.care_plan_id == CarePlan.id,
        CareEvent.kind.in_((EventKind.HOLD, EventKind.RESUME)),
        CareEvent.id.not_in(retracted),
    )
    return [
        CarePlan.starts_held.is_(True),
        CarePlan.status == CarePlanStatus.ON_HOLD,
        ~said.exists(),
    ]
