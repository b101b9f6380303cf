"""The gate row and the worker rows: may anything leave, and who is alive."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from db import audit, reminders
from db.engine import actor_of, instant_of
from db.follow_up import Gate, Worker
from db.states import GateCause, GateState
from db.types import new_id

LIVING = timedelta(seconds=60)  # a process without a sign of life for so long says nothing about now
AHEAD = timedelta(minutes=5)  # a sign of life so far in the future was given by another clock


def get_gate(session: Session) -> Gate:
    """The one gate row."""
    return session.scalars(select(Gate)).one()


def lock_gate(session: Session) -> Gate:
    """The one gate row, locked: marks wait until this transaction ends."""
    return session.scalars(select(Gate).with_for_update().execution_options(populate_existing=True)).one()


def close_gate(session: Session, reason: str, cause: GateCause = GateCause.HOLD) -> None:
    """Let nothing leave until it is released. Of two causes the weightier stays, and both reasons are shown."""
    row = lock_gate(session)
    if row.cause is not None and row.reason and row.reason != reason:
        if is_weightier(row.cause, cause):
            reason, cause = f"{row.reason}; and also: {reason}", row.cause
        elif is_weightier(cause, row.cause):
            reason = f"{reason}; it was stopped before: {row.reason}"
    _set(session, GateState.CLOSED, reason, cause)
    audit.record(session, "gate.closed", "gate", fields=["state", "reason"])


def open_gate(session: Session) -> None:
    """Let messages leave again; what closed it is forgotten."""
    _set(session, GateState.OPEN, None, None, restored_from=None, restored_at=None)
    audit.record(session, "gate.opened", "gate", fields=["state"])


def is_weightier(one: GateCause, other: GateCause | None) -> bool:
    """Whether one cause outweighs another, or there is no other."""
    order = list(GateCause)
    return other is None or order.index(one) > order.index(other)


def note_restore(session: Session, backup_at: datetime) -> None:
    """Remember the instant of the backup that was put back, until the gate is released."""
    session.execute(update(Gate).values(restored_from=backup_at, restored_at=instant_of(session)))


def set_installation(session: Session, installation_id: UUID, attempts_given: int) -> None:
    """Say which installation this database belongs to, and how many attempt numbers were given out at least."""
    row = lock_gate(session)
    row.installation_id = installation_id
    row.last_attempt = max(row.last_attempt, attempts_given)
    session.flush()


def remember_relay(session: Session) -> None:
    """Note that this database has sent through a mail server: it never falls back to the folder silently."""
    session.execute(update(Gate).where(Gate.used_relay.is_(False)).values(used_relay=True))


def _set(session: Session, state: GateState, reason: str | None, cause: GateCause | None, **more: Any) -> None:
    by = {"changed_at": instant_of(session), "changed_by": actor_of(session)}
    session.execute(update(Gate).values(state=state, reason=reason, cause=cause, **by, **more))


@dataclass(frozen=True, slots=True)
class VitalRow:
    """What the pulse is made of: the gate, the last sign of life, and what waits to leave."""

    gate_state: GateState
    gate_reason: str | None
    gate_changed_at: datetime
    gate_changed_by: str
    heartbeat_at: datetime | None
    stopped_at: datetime | None
    swept_at: datetime | None
    oldest_due: datetime | None
    next_ready: datetime | None
    next_message: datetime | None
    alarm: str | None  # of any process that lives
    loop_lag_ms: int | None  # the longest of theirs
    last_check: str | None  # how the last check of the whole record ended: an action of the trail


CHECKED = ("integrity.passed", "integrity.failed")


def read_vitals(session: Session, now: datetime) -> VitalRow:
    """All of it in one query: every page asks."""
    # What was written while a clock stood wrong may lie ahead: it is nobody's last sign of life.
    past = Worker.heartbeat_at <= now + AHEAD
    latest = select(Worker.id).where(past).order_by(Worker.heartbeat_at.desc()).limit(1).scalar_subquery()
    living = (past, Worker.stopped_at.is_(None), Worker.heartbeat_at >= now - LIVING)
    parts: dict[str, Select[Any]] = {
        "oldest_due": reminders.oldest_due(now),
        "next_ready": reminders.next_ready(),
        "next_message": reminders.next_message(),
        "alarm": select(Worker.alarm).where(*living, Worker.alarm.is_not(None)).limit(1),
        "loop_lag_ms": select(func.max(Worker.loop_lag_ms)).where(*living),
        "last_check": audit.latest_of(CHECKED),
    }
    query = (
        select(
            Gate.state,
            Gate.reason,
            Gate.changed_at,
            Gate.changed_by,
            Worker.heartbeat_at,
            Worker.stopped_at,
            Worker.swept_at,
            *(part.scalar_subquery().label(name) for name, part in parts.items()),
        )
        .select_from(Gate)
        .outerjoin(Worker, Worker.id == latest)
    )
    return VitalRow(*tuple(session.execute(query).one()))


def add_worker(session: Session, name: str) -> UUID:
    """Register a sending process."""
    at = instant_of(session)
    worker = Worker(id=new_id(), name=name, started_at=at, heartbeat_at=at)
    session.add(worker)
    session.flush()
    return worker.id


def beat(
    session: Session, worker_id: UUID, swept: bool, alarm: str | None = None, loop_lag_ms: int | None = None
) -> None:
    """Record a sign of life with what staff must know of this process, and when a sweep was completed."""
    at = instant_of(session)
    values: dict[str, Any] = {"heartbeat_at": at, "alarm": alarm, "loop_lag_ms": loop_lag_ms}
    if swept:
        values["swept_at"] = at
    session.execute(update(Worker).where(Worker.id == worker_id).values(**values))


def stop_worker(session: Session, worker_id: UUID) -> None:
    """Record an orderly end."""
    session.execute(update(Worker).where(Worker.id == worker_id).values(stopped_at=instant_of(session)))


def find_latest_worker(session: Session) -> Worker | None:
    """The process that gave the last sign of life, or None."""
    return session.scalar(select(Worker).order_by(Worker.heartbeat_at.desc()).limit(1))
