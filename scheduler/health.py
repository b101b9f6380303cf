"""Whether the service lives and messages leave: what `/health`, `status` and every page's pulse show. Counts only."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from db import gate, reminders
from db.states import GateState, Reason, ReminderState
from scheduler.clinic import Clinic

STALLED_AFTER = timedelta(minutes=5)  # the oldest due message waits this long although the gate is open
HEARTBEAT_LATE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Health:
    """The service at one instant. Ages in whole seconds; None where there is nothing to measure."""

    at: datetime
    held: dict[Reason, int]
    failed: int  # refused for good, and nobody has acted on it
    oldest_due_seconds: int | None
    heartbeat_age_seconds: int | None
    next_ready_at: datetime | None
    next_message_at: datetime | None
    swept_at: datetime | None
    gate_open: bool
    gate_reason: str | None
    to_folder: bool

    @property
    def alive(self) -> bool:
        """Whether a sending process gave a sign of life within a minute."""
        return self.heartbeat_age_seconds is not None and self.heartbeat_age_seconds <= HEARTBEAT_LATE.seconds

    @property
    def stalled(self) -> bool:
        """Whether messages wait that could leave: the gate is open and the oldest is overdue."""
        waits = self.oldest_due_seconds is not None and self.oldest_due_seconds > STALLED_AFTER.seconds
        return (waits and self.gate_open) or not self.alive

    @property
    def ok(self) -> bool:
        """Whether nothing needs a person: alive, open, a mail server is set, nothing unknown or failed."""
        troubled = self.unknown or self.failed
        return self.alive and self.gate_open and not self.stalled and not self.to_folder and not troubled

    @property
    def unknown(self) -> int:
        """Reminders whose fate a person has to settle."""
        return self.held.get(Reason.UNKNOWN, 0)


def examine(session: Session, clinic: Clinic) -> Health:
    """Read the service's state from the database."""
    now = clinic.clock.now()
    row = gate.get_gate(session)
    worker = gate.find_latest_worker(session)
    alive = worker is not None and worker.stopped_at is None
    oldest = reminders.find_oldest_due(session, now)
    return Health(
        at=now,
        held=reminders.count_by_reason(session, ReminderState.HELD),
        failed=reminders.count_unsettled(session, ReminderState.FAILED),
        oldest_due_seconds=None if oldest is None else int((now - oldest).total_seconds()),
        heartbeat_age_seconds=int((now - worker.heartbeat_at).total_seconds()) if worker and alive else None,
        next_ready_at=reminders.find_next_ready(session),
        next_message_at=reminders.find_next_message(session),
        swept_at=worker.swept_at if worker else None,
        gate_open=row.state is GateState.OPEN,
        gate_reason=row.reason,
        to_folder=clinic.settings.smtp_host is None,
    )
