"""Use cases about the gate: the stop button, and releasing it with open eyes."""

from dataclasses import dataclass
from datetime import datetime

from db import gate, reminders
from db.states import GateState
from scheduler.clinic import Clinic
from scheduler.entries import clean_text
from scheduler.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Waiting:
    """What opening the gate would let leave: how many at once, the first of them, and what comes next."""

    closed: bool
    reason: str | None
    due: int
    first: tuple[tuple[str, str], ...]  # reminder id and due time of the first due ones
    next_at: datetime | None


def close(clinic: Clinic, actor: str, reason: str) -> None:
    """Stop all sending at once; what is on the wire finishes. Raises `InvalidInput` without a reason."""
    cleaned, problem = clean_text(reason, "reason", 500)
    if problem or not cleaned:
        raise InvalidInput(problem or "reason: say why sending is stopped")
    with clinic.store.write(actor, clinic.clock.now()) as session:
        gate.close_gate(session, cleaned)


def look(clinic: Clinic, first: int = 20) -> Waiting:
    """What waits behind the gate."""
    now = clinic.clock.now()
    with clinic.store.read() as session:
        row = gate.get_gate(session)
        due = reminders.count_due(session, now)
        rows = [r for r in reminders.list_next_to_leave(session, first) if r.ready_at <= now]
        return Waiting(
            closed=row.state is GateState.CLOSED,
            reason=row.reason,
            due=due,
            first=tuple((str(r.id), r.due_local) for r in rows),
            next_at=reminders.find_next_ready(session),
        )


def release(clinic: Clinic, actor: str) -> None:
    """Open the gate."""
    with clinic.store.write(actor, clinic.clock.now()) as session:
        gate.open_gate(session)
