"""What the sender writes: claims, marks before the first content byte, outcomes, recovery.

Every write is conditional on state, worker and fence, so that a stop that was committed first wins.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CursorResult, func, or_, select, update
from sqlalchemy.orm import Session

from db.conditions import claimed, waiting
from db.engine import instant_of
from db.follow_up import DeliveryAttempt, Gate, Reminder, SentCopy, Worker
from db.records import Patient
from db.reminders import check_transition
from db.sealed import open_bytes, place, seal_bytes
from db.states import AttemptOutcome, Audience, GateState, Reason, ReminderState


@dataclass(frozen=True, slots=True)
class Claim:
    """A reminder that a worker has taken: valid while state, worker and fence are unchanged."""

    reminder_id: UUID
    patient_id: UUID
    care_plan_id: UUID
    fence: int


@dataclass(frozen=True, slots=True)
class Mark:
    """What becomes durable before the first content byte."""

    claim: Claim
    worker_id: UUID
    email_version: int
    content: bytes


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


def claim_due(session: Session, worker_id: UUID, now: datetime, limit: int) -> list[Claim]:
    """Take up to `limit` due messages to patients while the gate is open; others skip what one has taken."""
    due = (
        select(Reminder.id)
        .where(
            waiting(),
            Reminder.ready_at <= now,
            Reminder.audience == Audience.PATIENT,
            Reminder.expires_at > now,
        )
        .order_by(Reminder.ready_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
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
        .returning(Reminder.id, Reminder.patient_id, Reminder.care_plan_id, Reminder.fence, Reminder.ready_at)
        .execution_options(synchronize_session=False)
    ).all()
    ordered = sorted(taken, key=lambda row: row.ready_at)  # RETURNING gives no order
    return [Claim(row.id, row.patient_id, row.care_plan_id, row.fence) for row in ordered]


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
            waiting(),
            Reminder.audience == Audience.PATIENT,
            or_(Reminder.ready_at <= now, Reminder.reason == Reason.RESEND_ONCE),
        )
        .values(state=ReminderState.HELD, reason=Reason.UNKNOWN, unknowns=Reminder.unknowns + 1, changed_at=now)
        .returning(Reminder.id, Reminder.patient_id)
        .execution_options(synchronize_session=False)
    )
    return [(row[0], row[1]) for row in changed]


def mark(session: Session, marks: Sequence[Mark], again: bool = False) -> dict[UUID, int]:
    """Open an attempt for each mark that still holds; attempt numbers by reminder id.

    Holds means: the reminder is claimed by this worker under this fence, the gate is open and her address is the
    one it was written for. A reminder that is absent from the result must not be handed over. `again`: these very marks
    were tried before and the answer was lost; what was committed then holds.
    """
    number = session.execute(select(Gate.last_attempt).with_for_update()).scalar_one()
    opened: dict[UUID, int] = {}
    at = instant_of(session)
    for wanted in marks:
        claim = wanted.claim
        same_address = (
            select(Patient.id)
            .where(Patient.id == claim.patient_id, Patient.email_version == wanted.email_version)
            .exists()
        )
        result = session.execute(
            update(Reminder)
            .where(
                Reminder.id == claim.reminder_id,
                Reminder.state == ReminderState.SENDING,
                Reminder.worker_id == wanted.worker_id,
                Reminder.fence == claim.fence,
                Reminder.open_attempt.is_(None),
                Reminder.expires_at > at,
                _gate_open(),
                same_address,
            )
            .values(open_attempt=number + 1, attempts=Reminder.attempts + 1)
            .execution_options(synchronize_session=False)
        )
        if _rows(result) != 1:
            already = _marked_before(session, wanted) if again else None
            if already is not None:
                opened[claim.reminder_id] = already
            continue
        number += 1
        opened[claim.reminder_id] = number
        session.add(
            DeliveryAttempt(
                number=number,
                reminder_id=claim.reminder_id,
                patient_id=claim.patient_id,
                worker_id=wanted.worker_id,
                fence=claim.fence,
                email_version=wanted.email_version,
                marked_at=at,
                outcome=AttemptOutcome.OPEN,
            )
        )
        sealed = seal_bytes(session, claim.patient_id, _copy_place(number), zlib.compress(wanted.content, 6))
        session.flush()
        session.add(
            SentCopy(attempt=number, reminder_id=claim.reminder_id, patient_id=claim.patient_id, content_sealed=sealed)
        )
    if opened:
        session.execute(update(Gate).values(last_attempt=number))
    return opened


def _marked_before(session: Session, wanted: Mark) -> int | None:
    """The open attempt of this very claim: its mark was committed, and the answer got lost on the way to us."""
    return session.scalar(
        select(Reminder.open_attempt).where(
            Reminder.id == wanted.claim.reminder_id,
            Reminder.state == ReminderState.SENDING,
            Reminder.worker_id == wanted.worker_id,
            Reminder.fence == wanted.claim.fence,
        )
    )


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


def count_attempts(session: Session, since: datetime) -> int:
    """How many attempts were opened since an instant."""
    query = select(func.count()).select_from(DeliveryAttempt).where(DeliveryAttempt.marked_at >= since)
    return session.scalar(query) or 0


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


def read_copy(session: Session, attempt: int) -> bytes | None:
    """The exact bytes of an attempt, or None."""
    copy = session.get(SentCopy, attempt)
    if copy is None:
        return None
    return zlib.decompress(open_bytes(session, copy.patient_id, _copy_place(attempt), copy.content_sealed))


def _copy_place(attempt: int) -> str:
    return place("sent_copies", "content", UUID(int=attempt))


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
