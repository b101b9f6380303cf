"""All writes of reminders, and the queries the planner and the lists need: the only file that writes a state.

What a state should become is decided in `scheduler`; claims, marks and outcomes of the sender are in `db.sends`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Table, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from db.conditions import held, live, unsettled, waiting
from db.engine import instant_of, padded
from db.follow_up import CarePlan, Reminder
from db.states import (
    ALLOWED_TRANSITIONS,
    REASONS,
    Audience,
    CarePlanStatus,
    Reason,
    ReminderState,
)

SWEEP_ROWS = 1_000  # rows a sweep changes in one transaction, so that nobody waits for it
_RUNNING = (CarePlanStatus.ACTIVE, CarePlanStatus.ON_HOLD)
# Built once: it runs with every group of messages that left.
_PLANS: Table = CarePlan.__table__  # type: ignore[assignment]
_COMPLETE = (
    update(_PLANS)
    .where(
        _PLANS.c.id.in_(bindparam("plan_ids", expanding=True)),
        _PLANS.c.status.in_(_RUNNING),
        ~select(Reminder.id).where(Reminder.care_plan_id == _PLANS.c.id, live()).exists(),
    )
    .values(status=CarePlanStatus.COMPLETED)
)


class WrongTransition(Exception):
    """A reminder was to take an arrow that does not exist: a fault of the program."""


def check_transition(before: ReminderState, after: ReminderState, reason: Reason | None) -> None:
    """Raise `WrongTransition` unless the arrow exists and the reason belongs to the state."""
    if before is not after and after not in ALLOWED_TRANSITIONS[before]:
        raise WrongTransition(f"a reminder cannot go from {before} to {after}")
    check_reason(after, reason)


def check_reason(state: ReminderState, reason: Reason | None) -> None:
    """Raise `WrongTransition` unless the reason belongs to the state."""
    optional = state in (ReminderState.SCHEDULED, ReminderState.SENDING, ReminderState.SENT)
    if reason is None and optional:
        return
    if reason not in REASONS[state]:
        raise WrongTransition(f"{reason} is no reason for {state}")


def list_rows(session: Session, plan_ids: Sequence[UUID], lock: bool = True) -> list[Reminder]:
    """All reminders of care plans; when locked, a mark of the sender waits until this transaction ends."""
    query = select(Reminder).where(Reminder.care_plan_id.in_(plan_ids)).order_by(Reminder.id)
    query = query.with_for_update() if lock else query
    return list(session.scalars(query.execution_options(populate_existing=True)))


def insert_rows(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store new reminders. `state` and `reason` have to belong together."""
    if rows:
        # Without `render_nulls` rows are grouped by which values are None, and each small group is one statement.
        statement = insert(Reminder).execution_options(render_nulls=True)
        session.execute(statement, new_rows(rows, instant_of(session)))


def new_rows(rows: Sequence[Mapping[str, Any]], at: datetime) -> list[dict[str, Any]]:
    """New reminders as they are stored at that instant, checked: for `insert_rows`, and for `db.bulk`."""
    for row in rows:
        check_reason(row["state"], row["reason"])
    return [{"settled_at": None, **row, "changed_at": at} for row in rows]


def change_row(session: Session, row: Reminder, state: ReminderState, reason: Reason | None, **values: Any) -> None:
    """Change a live reminder of this transaction; a claim on it is void from here on (the fence rises)."""
    check_transition(row.state, state, reason)
    if row.state is ReminderState.SENDING and state is not ReminderState.SENDING:
        row.fence += 1
        row.worker_id = None
    if (row.state, row.reason) != (state, reason):
        row.state, row.reason = state, reason
        row.changed_at = instant_of(session)
    for name, value in values.items():
        setattr(row, name, value)


def settle(session: Session, row: Reminder, acted: bool) -> None:
    """Take a failed or missed reminder from the staff's list because they acted on it, or put it back."""
    if row.state in (ReminderState.FAILED, ReminderState.MISSED):
        row.settled_at = instant_of(session) if acted else None


def settle_all(session: Session, patient_id: UUID, reason: Reason | None = None) -> None:
    """Take all failed and missed reminders of a patient, or those of one reason, from the staff's list."""
    change = update(Reminder).where(
        Reminder.patient_id == patient_id,
        Reminder.state.in_((ReminderState.FAILED, ReminderState.MISSED)),
        Reminder.settled_at.is_(None),
    )
    if reason is not None:
        change = change.where(Reminder.reason == reason)
    session.execute(change.values(settled_at=instant_of(session)).execution_options(synchronize_session=False))


def void_claims(session: Session, patient_id: UUID) -> None:
    """Take back what a worker has claimed for a patient and not begun to hand over: it was written before a change.

    The row itself has to change: a mark that already waits for it re-reads nothing else (PostgreSQL, READ COMMITTED).
    """
    session.execute(
        update(Reminder)
        .where(
            Reminder.patient_id == patient_id,
            Reminder.state == ReminderState.SENDING,
            Reminder.open_attempt.is_(None),
        )
        .values(state=ReminderState.SCHEDULED, worker_id=None, fence=Reminder.fence + 1, changed_at=instant_of(session))
        .execution_options(synchronize_session=False)
    )


def find_reminder(session: Session, reminder_id: UUID) -> Reminder | None:
    """The reminder with that id, or None."""
    return session.get(Reminder, reminder_id)


def find_by_message_id(session: Session, message_id: str) -> Reminder | None:
    """The reminder that left, or would leave, under this Message-ID, with its angle brackets; or None."""
    return session.scalar(select(Reminder).where(Reminder.message_id == message_id))


def find_by_key(session: Session, plan_id: UUID, step: str, occurrence: int, generation: int) -> Reminder | None:
    """One generation of a message, or None."""
    return session.scalar(
        select(Reminder).where(
            Reminder.care_plan_id == plan_id,
            Reminder.step == step,
            Reminder.occurrence == occurrence,
            Reminder.generation == generation,
        )
    )


def list_reminders(
    session: Session,
    state: ReminderState | None = None,
    due_before: datetime | None = None,
    patient_id: UUID | None = None,
    treatment_id: UUID | None = None,
    limit: int | None = None,
) -> list[tuple[Reminder, UUID]]:
    """Reminders with their treatment's id, by due time."""
    query = select(Reminder, CarePlan.treatment_id).join(CarePlan, CarePlan.id == Reminder.care_plan_id)
    if state is not None:
        query = query.where(Reminder.state == state)
    if due_before is not None:
        query = query.where(Reminder.due_at < due_before)
    if patient_id is not None:
        query = query.where(Reminder.patient_id == patient_id)
    if treatment_id is not None:
        query = query.where(CarePlan.treatment_id == treatment_id)
    query = query.order_by(Reminder.due_at, Reminder.step, Reminder.occurrence, Reminder.generation).limit(limit)
    return [(row[0], row[1]) for row in session.execute(query)]


def list_latest(session: Session, reminder_ids: Sequence[UUID]) -> dict[UUID, tuple[Reminder, Reminder]]:
    """Reminders by id, each beside the latest generation of its message."""
    other = aliased(Reminder)
    query = (
        select(Reminder, other)
        .join(
            other,
            and_(
                other.care_plan_id == Reminder.care_plan_id,
                other.step == Reminder.step,
                other.occurrence == Reminder.occurrence,
            ),
        )
        .where(Reminder.id.in_(reminder_ids))
        .order_by(other.generation)
    )
    return {row[0].id: (row[0], row[1]) for row in session.execute(query)}


def count_left(session: Session, since: datetime) -> int:
    """How many left since an instant."""
    query = select(func.count()).where(Reminder.state == ReminderState.SENT, Reminder.changed_at >= since)
    return session.scalar(query) or 0


def list_next_to_leave(session: Session, limit: int) -> list[Reminder]:
    """What leaves next."""
    query = select(Reminder).where(waiting(), Reminder.audience == Audience.PATIENT)
    return list(session.scalars(query.order_by(Reminder.ready_at).limit(limit)))


def list_patients_held(session: Session, reason: Reason) -> list[UUID]:
    """Patients with a reminder held for that reason."""
    query = select(Reminder.patient_id).where(held(), Reminder.reason == reason)
    return list(session.scalars(query.distinct()))


def count_by_state(session: Session) -> dict[ReminderState, int]:
    """How many reminders are in each state; states without any are 0."""
    counted = dict(session.execute(select(Reminder.state, func.count()).group_by(Reminder.state)).all())
    return {state: counted.get(state, 0) for state in ReminderState}


def count_by_reason(session: Session, state: ReminderState) -> dict[Reason, int]:
    """How many reminders of a state have each reason."""
    of_state = held() if state is ReminderState.HELD else Reminder.state == state
    query = select(Reminder.reason, func.count()).where(of_state).group_by(Reminder.reason)
    return {reason: count for reason, count in session.execute(query) if reason is not None}


def count_on_the_wire(session: Session, patient_id: UUID) -> int:
    """How many messages to her may be on the wire: their outcome is still to be recorded."""
    query = select(func.count()).where(Reminder.patient_id == patient_id, Reminder.open_attempt.is_not(None))
    return session.scalar(query) or 0


def count_due(session: Session, now: datetime) -> int:
    """How many messages to patients could leave now."""
    query = select(func.count()).where(waiting(), Reminder.ready_at <= now, Reminder.audience == Audience.PATIENT)
    return session.scalar(query) or 0


def list_patients_soon(session: Session, until: datetime, limit: int) -> list[tuple[UUID, str]]:
    """Patients to whom a message may leave until an instant, each with the local time of the first."""
    soon = and_(waiting(), Reminder.ready_at <= until, Reminder.audience == Audience.PATIENT)
    query = select(Reminder.patient_id, func.min(Reminder.due_local)).where(soon).group_by(Reminder.patient_id)
    return [(row[0], row[1]) for row in session.execute(query.order_by(func.min(Reminder.due_local)).limit(limit))]


def list_of_day(session: Session, patient_id: UUID, begin: datetime, end: datetime) -> list[Reminder]:
    """Messages to a patient that left since `begin`, or are on their way or due before `end`."""
    left = and_(Reminder.state == ReminderState.SENT, Reminder.sent_at >= begin)
    coming = and_(
        Reminder.state.in_((ReminderState.SENDING, ReminderState.SCHEDULED, ReminderState.AWAITING_RETRY)),
        Reminder.ready_at < end,
    )
    query = select(Reminder).where(Reminder.patient_id == patient_id, Reminder.audience == Audience.PATIENT)
    return list(session.scalars(query.where(or_(left, coming))))


def oldest_due(now: datetime) -> Select[datetime]:
    """The query for since when the longest waiting message to a patient could have left."""
    due = and_(waiting(), Reminder.ready_at <= now, Reminder.audience == Audience.PATIENT)
    return select(Reminder.ready_at).where(due).order_by(Reminder.ready_at).limit(1)


def next_message() -> Select[datetime]:
    """The query for when the next message to a patient may leave."""
    waits = and_(waiting(), Reminder.audience == Audience.PATIENT)
    return select(Reminder.ready_at).where(waits).order_by(Reminder.ready_at).limit(1)


def next_ready() -> Select[datetime]:
    """The query for when the next reminder needs the sender or the sweep."""
    return select(Reminder.ready_at).where(waiting()).order_by(Reminder.ready_at).limit(1)


def count_unsettled(session: Session, state: ReminderState) -> int:
    """How many failed or missed reminders nobody has acted on.

    The state is looked at behind the index: as one more condition it leads PostgreSQL through all that ever failed.
    """
    query = select(func.count().filter(Reminder.state == state)).select_from(Reminder).where(unsettled())
    return session.scalar(query) or 0


def find_next_ready(session: Session) -> datetime | None:
    """When the next reminder needs the sender or the sweep; None when nothing waits."""
    return session.scalar(next_ready())


def expire(session: Session, now: datetime) -> list[UUID]:
    """Live reminders past their end become missed, but for what only a person may end; ids of their care plans.

    An unknown one may have arrived, a line for staff stays until it is finished, and what is on the wire belongs to
    the sender.
    """
    kept = and_(
        Reminder.state == ReminderState.HELD,
        Reminder.reason.in_((Reason.UNKNOWN, Reason.FOR_STAFF)),
    )
    ripe = (
        select(Reminder.id)
        .where(
            live(),
            Reminder.expires_at <= now,
            Reminder.state != ReminderState.SENDING,
            ~kept,
            or_(Reminder.audience == Audience.PATIENT, Reminder.state == ReminderState.HELD),
        )
        .order_by(Reminder.expires_at)
        .limit(SWEEP_ROWS)
    )
    changed = session.execute(
        update(Reminder)
        .where(Reminder.id.in_(ripe.with_for_update(skip_locked=True)))
        .values(state=ReminderState.MISSED, reason=Reason.EXPIRED, changed_at=now)
        .returning(Reminder.care_plan_id)
        .execution_options(synchronize_session=False)
    )
    return list(set(changed.scalars()))


def cancel_live(session: Session, patient_ids: Sequence[UUID], reason: Reason) -> int:
    """Cancel all that waits for these patients, claims included; what may be on the wire is left. How many."""
    check_reason(ReminderState.CANCELLED, reason)
    changed = session.execute(
        update(Reminder)
        .where(Reminder.patient_id.in_(patient_ids), live(), Reminder.open_attempt.is_(None))
        .values(
            state=ReminderState.CANCELLED,
            reason=reason,
            changed_at=instant_of(session),
            worker_id=None,
            fence=Reminder.fence + 1,
        )
        .returning(Reminder.id)
        .execution_options(synchronize_session=False)
    )
    return len(changed.scalars().all())


def raise_staff_lines(session: Session, now: datetime) -> int:
    """Lines for staff whose time has come are held for them; how many."""
    ripe = (
        select(Reminder.id)
        .where(waiting(), Reminder.ready_at <= now, Reminder.audience == Audience.STAFF)
        .limit(SWEEP_ROWS)
    )
    changed = session.execute(
        update(Reminder)
        .where(Reminder.id.in_(ripe.with_for_update(skip_locked=True)))
        .values(state=ReminderState.HELD, reason=Reason.FOR_STAFF, changed_at=now)
        .returning(Reminder.id)
        .execution_options(synchronize_session=False)
    )
    return len(changed.scalars().all())


def complete_idle_plans(session: Session, plan_ids: Iterable[UUID]) -> None:
    """Running care plans without a live reminder are completed; a review that is still to be held stays open."""
    ids = padded(plan_ids)
    if ids:
        session.flush()
        session.connection().execute(_COMPLETE, {"plan_ids": ids})
