"""What is written for many messages at once: marks before the first content byte, and accepted outcomes after it.

Claims, other outcomes and recovery are `db.sends`; who collects the groups is `scheduler.recorder`.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Table, bindparam, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.copy_packing import unpack_copy
from db.engine import instant_of, padded
from db.follow_up import CarePlan, DeliveryAttempt, Gate, Reminder, SentCopy
from db.private_page import MessageLink
from db.records import Patient
from db.sealed import learn_keys, open_bytes, place, seal_bytes
from db.sends import Claim
from db.states import AttemptOutcome, GateState, Reason, ReminderState
from db.vault import Erased


class Links(NamedTuple):
    """The hashes of the tokens in one message's links: to her page, and to stop."""

    page: bytes
    stop: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """What becomes durable before the first content byte. `packed` is the message as `pack_copy` makes it."""

    claim: Claim
    worker_id: UUID
    email_version: int
    packed: bytes
    links: Links | None = None  # None where patients have no pages


class Accepted(NamedTuple):
    """A message that the mail server took, under the attempt that was open for it."""

    reminder_id: UUID
    attempt: int
    phase: str | None
    code: int | None
    enhanced: str | None
    reply: str | None
    reason: Reason | None


def _table(model: Any) -> Table:
    found: Table = model.__table__
    return found


_reminders, _attempts, _copies = _table(Reminder), _table(DeliveryAttempt), _table(SentCopy)
_patients, _plans, _gate = _table(Patient), _table(CarePlan), _table(Gate)
_links = _table(MessageLink)

# Built once: putting a statement together costs more than running it for a few rows.
_OPEN: Final = (
    update(_reminders)
    .where(_reminders.c.id.in_(bindparam("wanted_ids", expanding=True)))
    .values(
        open_attempt=select(_attempts.c.number)
        .where(_attempts.c.reminder_id == _reminders.c.id, _attempts.c.number >= bindparam("first"))
        .scalar_subquery(),
        attempts=_reminders.c.attempts + 1,
    )
)
_CLOSE: Final = (
    update(_attempts)
    .where(_attempts.c.number == bindparam("wanted_number"), _attempts.c.outcome == AttemptOutcome.OPEN)
    .values(
        outcome=AttemptOutcome.ACCEPTED,
        phase=bindparam("its_phase"),
        code=bindparam("its_code"),
        enhanced=bindparam("its_enhanced"),
        reply_sealed=bindparam("its_reply"),
        recorded_at=bindparam("at"),
    )
)
_SENT: Final = (
    update(_reminders)
    .where(
        _reminders.c.id.in_(bindparam("wanted_ids", expanding=True)),
        _reminders.c.state == ReminderState.SENDING,
        _reminders.c.open_attempt.in_(bindparam("wanted_numbers", expanding=True)),
        _reminders.c.fence
        == select(_attempts.c.fence).where(_attempts.c.number == _reminders.c.open_attempt).scalar_subquery(),
    )
    .values(
        state=ReminderState.SENT,
        reason=bindparam("its_reason"),
        changed_at=bindparam("at"),
        sent_at=bindparam("at"),
        open_attempt=None,
        worker_id=None,
        fence=_reminders.c.fence + 1,
    )
)
_LOCK: Final = (
    select(_reminders.c.id, _reminders.c.worker_id, _reminders.c.fence, _patients.c.email_version)
    .join(_patients, _patients.c.id == _reminders.c.patient_id)
    .where(
        _reminders.c.id.in_(bindparam("wanted_ids", expanding=True)),
        _reminders.c.state == ReminderState.SENDING,
        _reminders.c.open_attempt.is_(None),
        _reminders.c.expires_at > bindparam("at"),
    )
    .order_by(_reminders.c.id)
    .with_for_update(of=_reminders)
)
_COUNT_ON: Final = (
    update(_gate)
    .where(_gate.c.state == GateState.OPEN)
    .values(last_attempt=_gate.c.last_attempt + bindparam("more"))
    .returning(_gate.c.last_attempt)
)
_INSERT_ATTEMPTS: Final = insert(_attempts)
_INSERT_COPIES: Final = insert(_copies)
# A message tried again has the links it had; to another version of her address they count from now.
_AGAIN: Final = ("patient_id", "email_version", "made_at")
_INSERT_LINKS: Final = {
    name: made.on_conflict_do_update(index_elements=["reminder_id"], set_={key: made.excluded[key] for key in _AGAIN})
    for name, made in (("sqlite", sqlite.insert(_links)), ("postgresql", postgresql.insert(_links)))
}
_OF_ATTEMPTS: Final = (
    select(
        _attempts.c.number,
        _reminders.c.patient_id,
        _reminders.c.care_plan_id,
        or_(_plans.c.planned_at.is_(None), _plans.c.planned_at >= _attempts.c.marked_at).label("meanwhile"),
    )
    .join(_reminders, _reminders.c.id == _attempts.c.reminder_id)
    .join(_plans, _plans.c.id == _reminders.c.care_plan_id)
    .where(_attempts.c.number.in_(bindparam("numbers", expanding=True)))
)


def mark(session: Session, marks: Sequence[Mark], again: bool = False) -> dict[UUID, int]:
    """Open an attempt for each mark that still holds; attempt numbers by reminder id.

    Holds means: the reminder is claimed by this worker under this fence, the gate is open and her address is the
    one it was written for. A reminder that is absent from the result must not be handed over. `again`: these very marks
    were tried before and the answer was lost; what was committed then holds.
    """
    if not marks:
        return {}
    opened = _marked_before(session, marks) if again else {}
    at = instant_of(session)
    holds = _lock(session, [each for each in marks if each.claim.reminder_id not in opened], at)
    if not holds:
        return opened
    # The gate last, as everywhere: whoever waits for it holds reminders, never the other way round.
    connection = session.connection()
    last = connection.execute(_COUNT_ON, {"more": len(holds)}).scalar_one_or_none()
    if last is None:  # it is closed
        return opened
    first = last - len(holds) + 1
    numbers = {each.claim.reminder_id: number for number, each in enumerate(holds, start=first)}
    _insert(session, holds, numbers, at)
    connection.execute(_OPEN, {"wanted_ids": padded(numbers), "first": first})
    return opened | numbers


def _lock(session: Session, marks: Sequence[Mark], at: datetime) -> list[Mark]:
    """Which of these marks hold; their reminders stay as they are until the end of this transaction."""
    wanted = {each.claim.reminder_id: each for each in marks}
    holds = set()
    for row in session.connection().execute(_LOCK, {"wanted_ids": padded(wanted), "at": at}):
        each = wanted[row.id]
        if (row.worker_id, row.fence, row.email_version) == (each.worker_id, each.claim.fence, each.email_version):
            holds.add(row.id)
    return [each for each in marks if each.claim.reminder_id in holds]  # numbered in the order in which they came


def _insert(session: Session, holds: Sequence[Mark], numbers: Mapping[UUID, int], at: datetime) -> None:
    learn_keys(session, [each.claim.patient_id for each in holds])
    attempts, copies, links = [], [], []
    for each in holds:
        claim = each.claim
        number = numbers[claim.reminder_id]
        attempts.append(
            {
                "number": number,
                "reminder_id": claim.reminder_id,
                "patient_id": claim.patient_id,
                "worker_id": each.worker_id,
                "fence": claim.fence,
                "email_version": each.email_version,
                "marked_at": at,
                "outcome": AttemptOutcome.OPEN,
            }
        )
        copies.append(
            {
                "attempt": number,
                "reminder_id": claim.reminder_id,
                "patient_id": claim.patient_id,
                "content_sealed": seal_bytes(session, claim.patient_id, _copy_place(number), each.packed),
            }
        )
        if each.links is not None:
            links.append(
                {
                    "reminder_id": claim.reminder_id,
                    "patient_id": claim.patient_id,
                    "email_version": each.email_version,
                    "page_hash": each.links.page,
                    "stop_hash": each.links.stop,
                    "made_at": at,
                }
            )
    connection = session.connection()
    if links:
        connection.execute(_INSERT_LINKS[connection.dialect.name], links)
    connection.execute(_INSERT_ATTEMPTS, attempts)
    connection.execute(_INSERT_COPIES, copies)


def _marked_before(session: Session, marks: Sequence[Mark]) -> dict[UUID, int]:
    """The open attempts of these very claims: their marks were committed, and the answer got lost on the way to us."""
    claims = {each.claim.reminder_id: each for each in marks}
    query = select(Reminder.id, Reminder.open_attempt, Reminder.fence, Reminder.worker_id).where(
        Reminder.id.in_(list(claims)), Reminder.state == ReminderState.SENDING, Reminder.open_attempt.is_not(None)
    )
    return {
        row.id: row.open_attempt
        for row in session.execute(query)
        if (row.fence, row.worker_id) == (claims[row.id].claim.fence, claims[row.id].worker_id)
    }


def record_accepted(session: Session, accepted: Sequence[Accepted]) -> tuple[set[UUID], set[UUID]]:
    """Write these outcomes. Returns the care plans concerned, and the patients to be planned anew.

    Anew are those of whom a fact came while the message was on the wire. An attempt's own row always takes its outcome:
    what happened on the wire happened; a reminder only under the attempt that is open for it.
    """
    numbers = padded(each.attempt for each in accepted)
    connection = session.connection()
    rows = {row.number: row for row in connection.execute(_OF_ATTEMPTS, {"numbers": numbers})}
    at = instant_of(session)
    with suppress(Erased):
        learn_keys(session, [row.patient_id for row in rows.values()])

    def sealed(each: Accepted) -> bytes | None:
        if not each.reply:
            return None
        where = place("delivery_attempts", "reply", UUID(int=each.attempt))
        try:
            return seal_bytes(session, rows[each.attempt].patient_id, where, each.reply.encode())
        except Erased:  # while the message was on the wire: that it left is kept, the words are not
            return None

    connection.execute(
        _CLOSE,
        [
            {
                "wanted_number": each.attempt,
                "its_phase": each.phase,
                "its_code": each.code,
                "its_enhanced": each.enhanced,
                "its_reply": sealed(each),
                "at": at,
            }
            for each in accepted
        ],
    )
    for reason in {each.reason for each in accepted}:
        those = [each for each in accepted if each.reason is reason]
        wanted = {
            "wanted_ids": padded(each.reminder_id for each in those),
            "wanted_numbers": padded(each.attempt for each in those),
        }
        connection.execute(_SENT, {**wanted, "its_reason": reason, "at": at})
    anew = {row.patient_id for row in rows.values() if row.meanwhile}
    return {row.care_plan_id for row in rows.values()}, anew


def read_copy(session: Session, attempt: int) -> bytes | None:
    """The exact bytes of an attempt, or None."""
    copy = session.get(SentCopy, attempt)
    if copy is None:
        return None
    return unpack_copy(open_bytes(session, copy.patient_id, _copy_place(attempt), copy.content_sealed))


def _copy_place(attempt: int) -> str:
    return place("sent_copies", "content", UUID(int=attempt))
