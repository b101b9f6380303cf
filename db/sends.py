"""What the sender writes of one reminder: claims, outcomes, recovery; marks and accepted outcomes are `db.marks`.

Every write is conditional on state, worker and fence, so that a stop that was committed first wins.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import CursorResult, and_, func, or_, select, update
from sqlalchemy.orm import Session

from db.conditions import claimed, held, live, waiting
from db.engine import instant_of
from db.follow_up import DeliveryAttempt, Gate, Reminder, Worker
from db.reminders import check_transition
from db.states import AttemptOutcome, Audience, GateState, Reason, ReminderState
from db.vault import Erased

ERRORS_BEFORE_HELD = 3  # a reminder that breaks down this often needs a person
ERROR_WAIT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Claim:
    """A reminder that a worker has taken: valid while state, worker and fence are unchanged."""

    reminder_id: UUID
    patient_id: UUID
    care_plan_id: UUID
    fence: int


@dataclass(frozen=True, slots=True)
class DueClaim(Claim):
    """A claim with what it takes to write the message: as it was claimed, because no later change leaves it valid."""

    step: str
    occurrence: int
    generation: int
    due_local: str
    ready_at: datetime
    expires_at: datetime
    message_id: str
    unknowns: int

    @property
    def id(self) -> UUID:
        """The reminder's."""
        return self.reminder_id


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended and what the reminder becomes."""

    reminder_id: UUID
    attempt: int | None  # None: it ended before a mark, and its row is made with its outcome
    worker_id: UUID
    fence: int
    email_version: int
    outcome: AttemptOutcome
    phase: str | None
    code: int | None
    enhanced: str | None
    reply: str | None
    state: ReminderState
    reason: Reason | None
    ready_at: datetime | None = None  # when it may be tried again


def claim_due(
    session: Session, worker_id: UUID, now: datetime, limit: int, shortest_first: bool = False
) -> list[DueClaim]:
    """Take up to `limit` due messages to patients while the gate is open; others skip what one has taken.

    The longest waiting first, or after a downtime those that would run out first.
    """
    due = select(Reminder.id).where(
        waiting(), Reminder.ready_at <= now, Reminder.audience == Audience.PATIENT, Reminder.expires_at > now
    )
    # `live` says the words of the index over ends, which then gives the order.
    due = due.where(live()).order_by(Reminder.expires_at) if shortest_first else due.order_by(Reminder.ready_at)
    due = due.limit(limit).with_for_update(skip_locked=True)
    taken = session.execute(
        update(Reminder)
        .where(Reminder.id.in_(due), _gate_open())
        .values(
            state=ReminderState.SENDING,
            reason=None,
            worker_id=worker_id,
            fence=Reminder.fence + 1,
            changed_at=now,
        )
        .returning(
            Reminder.id,
            Reminder.patient_id,
            Reminder.care_plan_id,
            Reminder.fence,
            Reminder.step,
            Reminder.occurrence,
            Reminder.generation,
            Reminder.due_local,
            Reminder.ready_at,
            Reminder.expires_at,
            Reminder.message_id,
            Reminder.unknowns,
        )
        .execution_options(synchronize_session=False)
    )
    claims = [DueClaim(*values) for values in map(tuple, taken)]
    claims.sort(key=lambda claim: claim.expires_at if shortest_first else claim.ready_at)  # RETURNING gives no order
    return claims


def give_back(session: Session, claim: Claim, ready_at: datetime | None = None, error: bool = False) -> bool:
    """Return a claim that was never marked; False when it is not ours any more."""
    values: dict[str, Any] = {"state": ReminderState.SCHEDULED, "worker_id": None, "fence": Reminder.fence + 1}
    values["changed_at"] = instant_of(session)
    if ready_at is not None:
        values["ready_at"] = ready_at
    if error:
        values["errors"] = Reminder.errors + 1
    return _change_claimed(session, claim, values)


def hold_claimed(session: Session, claim: Claim, reason: Reason) -> bool:
    """Hold a claim that was never marked; False when it is not ours any more."""
    values = {"state": ReminderState.HELD, "reason": reason, "worker_id": None, "fence": Reminder.fence + 1}
    return _change_claimed(session, claim, {**values, "changed_at": instant_of(session)})


def count_error(session: Session, claim: Claim, errors: int) -> bool:
    """It broke down once more, after `errors` times: it waits a little, or from the third time on for a person."""
    if errors + 1 >= ERRORS_BEFORE_HELD:
        return hold_claimed(session, claim, Reason.SEND_FAILED)
    return give_back(session, claim, ready_at=instant_of(session) + ERROR_WAIT, error=True)


def miss_claimed(session: Session, claim: Claim) -> bool:
    """A claim whose end came before its mark becomes missed; False when it is not ours any more."""
    values = {"state": ReminderState.MISSED, "reason": Reason.EXPIRED, "worker_id": None, "fence": Reminder.fence + 1}
    return _change_claimed(session, claim, {**values, "changed_at": instant_of(session)})


def doubt_due(session: Session, now: datetime) -> list[tuple[UUID, UUID]]:
    """Messages that are due become unknown: they may have left from a later state of this record; ids with patients.

    So does what an answer lost before is to repeat by itself: the later state may have settled it.
    """
    changed = session.execute(
        update(Reminder)
        .where(
            Reminder.audience == Audience.PATIENT,
            or_(
                and_(waiting(), or_(Reminder.ready_at <= now, Reminder.reason == Reason.RESEND_ONCE)),
                # Held since for a stop that is lost; when that is settled, it must not leave a second time by itself.
                and_(held(), Reminder.reason == Reason.STOP_LOST, Reminder.ready_at <= now),
            ),
        )
        .values(state=ReminderState.HELD, reason=Reason.UNKNOWN, unknowns=Reminder.unknowns + 1, changed_at=now)
        .returning(Reminder.id, Reminder.patient_id)
        .execution_options(synchronize_session=False)
    )
    return [(row[0], row[1]) for row in changed]


def record(session: Session, ended: Outcome) -> Reminder | None:
    """Write how an attempt ended; None when the reminder is not under this fence any more.

    The attempt's own row always takes the outcome: what happened on the wire happened.
    """
    at = instant_of(session)
    row = session.get(Reminder, ended.reminder_id, populate_existing=True, with_for_update=True)
    attempt = _attempt_of(session, ended, row, at)
    if attempt is not None and attempt.outcome is AttemptOutcome.OPEN:
        attempt.outcome = ended.outcome
        attempt.phase = ended.phase
        attempt.code = ended.code
        attempt.enhanced = ended.enhanced
        with suppress(Erased):  # while the message was on the wire: how it ended is kept, the words are not
            attempt.reply = ended.reply
        attempt.recorded_at = at
    if row is None or row.fence != ended.fence or row.open_attempt != ended.attempt:
        return None
    check_transition(row.state, ended.state, ended.reason)
    row.state, row.reason = ended.state, ended.reason
    row.changed_at = at
    row.open_attempt = None
    row.worker_id = None
    row.fence += 1
    if ended.outcome is AttemptOutcome.UNKNOWN:
        row.unknowns += 1
    if ended.state is ReminderState.SENT:
        row.sent_at = at
    if ended.ready_at is not None:
        row.ready_at = ended.ready_at
    return row


def _attempt_of(session: Session, ended: Outcome, row: Reminder | None, at: datetime) -> DeliveryAttempt | None:
    if ended.attempt is not None:
        return session.get(DeliveryAttempt, ended.attempt)
    if row is None or row.fence != ended.fence:
        return None
    number = session.execute(select(Gate.last_attempt).with_for_update()).scalar_one() + 1
    session.execute(update(Gate).values(last_attempt=number))
    attempt = DeliveryAttempt(
        number=number,
        reminder_id=row.id,
        patient_id=row.patient_id,
        worker_id=ended.worker_id,
        fence=ended.fence,
        email_version=ended.email_version,
        marked_at=at,
        outcome=AttemptOutcome.OPEN,
    )
    session.add(attempt)
    row.attempts += 1
    return attempt


def find_attempt(session: Session, number: int) -> DeliveryAttempt:
    """The attempt with that number. Raises when there is none."""
    return session.get_one(DeliveryAttempt, number)


def find_first_try(session: Session, reminder_id: UUID) -> datetime | None:
    """When a reminder was first tried, or None."""
    query = select(DeliveryAttempt.marked_at).where(DeliveryAttempt.reminder_id == reminder_id)
    return session.scalar(query.order_by(DeliveryAttempt.number).limit(1))


def count_spent(session: Session, since: datetime, most: int) -> int:
    """How many attempts were opened since an instant, with what is claimed for one; counted up to `most`."""
    newest = select(Gate.last_attempt).scalar_subquery() - most  # numbers rise: only the end is looked at
    opened = select(func.count()).select_from(DeliveryAttempt)
    opened = opened.where(DeliveryAttempt.number > newest, DeliveryAttempt.marked_at >= since)
    ahead = select(func.count()).where(claimed(), Reminder.open_attempt.is_(None))
    return (session.scalar(opened) or 0) + (session.scalar(ahead) or 0)


def list_claims_of(session: Session, worker_id: UUID) -> list[Reminder]:
    """What this worker has claimed."""
    return list(session.scalars(select(Reminder).where(claimed(), Reminder.worker_id == worker_id)))


def list_claims_of_dead(session: Session, silent_since: datetime, but: UUID) -> list[Reminder]:
    """What workers had claimed that gave no sign of life since that instant, or ended and could not return it."""
    query = select(Reminder).join(Worker, Worker.id == Reminder.worker_id).where(claimed(), Worker.id != but)
    is_dead = or_(Worker.stopped_at.is_not(None), Worker.heartbeat_at < silent_since)
    return list(session.scalars(query.where(is_dead)))


def list_foreign_claims(session: Session, worker_id: UUID) -> list[Reminder]:
    """What any other worker had claimed: on SQLite, where one process sends, they are all dead."""
    query = select(Reminder).where(claimed(), Reminder.worker_id != worker_id)
    return list(session.scalars(query))


def list_attempts(session: Session, reminder_id: UUID) -> list[DeliveryAttempt]:
    """All tries of a reminder, the first first."""
    query = select(DeliveryAttempt).where(DeliveryAttempt.reminder_id == reminder_id)
    return list(session.scalars(query.order_by(DeliveryAttempt.number)))


def list_attempts_of(session: Session, reminder_ids: Sequence[UUID]) -> list[DeliveryAttempt]:
    """All tries of these reminders, the first first."""
    query = select(DeliveryAttempt).where(DeliveryAttempt.reminder_id.in_(reminder_ids))
    return list(session.scalars(query.order_by(DeliveryAttempt.number)))


def _gate_open() -> Any:
    return select(Gate.id).where(Gate.id == 1, Gate.state == GateState.OPEN).exists()


def _change_claimed(session: Session, claim: Claim, values: dict[str, Any]) -> bool:
    result = session.execute(
        update(Reminder)
        .where(
            Reminder.id == claim.reminder_id,
            Reminder.state == ReminderState.SENDING,
            Reminder.fence == claim.fence,
            Reminder.open_attempt.is_(None),
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return _rows(result) == 1


def _rows(result: Any) -> int:
    return result.rowcount if isinstance(result, CursorResult) else 0
