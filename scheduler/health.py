"""Whether the service lives and messages leave: what `/health`, `status` and every page's pulse show. Counts only."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from db import gate, reminders
from db.states import GateState, Reason, ReminderState
from scheduler.clinic import Clinic
from scheduler.integrity import Checked, find_last_check

STALLED_AFTER = timedelta(minutes=5)  # the oldest due message waits this long although the gate is open
HEARTBEAT_LATE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Vitals:
    """Whether the service lives, at one instant. Ages in whole seconds; None where there is nothing to measure."""

    at: datetime
    oldest_due_seconds: int | None
    heartbeat_age_seconds: int | None
    next_ready_at: datetime | None
    next_message_at: datetime | None
    swept_at: datetime | None
    gate_open: bool
    gate_reason: str | None
    gate_changed_at: datetime
    gate_changed_by: str
    to_folder: bool
    alarm: str | None = None  # what a sending process must tell staff: its mail server, most of all
    loop_lag_ms: int | None = None  # the longest that its event loop was kept waiting in the last minute
    whole: bool = True  # False: the last scheduled check found the record damaged

    @property
    def alive(self) -> bool:
        """Whether a sending process gave a sign of life within a minute."""
        return self.heartbeat_age_seconds is not None and self.heartbeat_age_seconds <= HEARTBEAT_LATE.seconds

    @property
    def stalled(self) -> bool:
        """Whether messages wait that could leave: the gate is open and the oldest is overdue."""
        waits = self.oldest_due_seconds is not None and self.oldest_due_seconds > STALLED_AFTER.seconds
        return (waits and self.gate_open) or not self.alive


@dataclass(frozen=True, slots=True)
class Health:
    """The service at one instant, with what needs a person."""

    vitals: Vitals
    held: dict[Reason, int]
    failed: int  # refused for good, and nobody has acted on it
    checked: Checked | None  # the last scheduled check of the record

    @property
    def ok(self) -> bool:
        """Whether nothing needs a person."""
        return not self.causes

    @property
    def causes(self) -> tuple[str, ...]:
        """All that needs a person, in words."""
        now = self.vitals
        found = {
            "no sending process is running": not now.alive,
            "messages are late": now.alive and now.stalled,
            "sending is stopped": not now.gate_open,
            "no mail server is set: mails are written to the folder": now.to_folder,
            (now.alarm or "").rstrip("."): now.alarm is not None,
            "the record is not whole": not now.whole,
            f"unknown whether they arrived: {self.unknown}": bool(self.unknown),
            f"refused for good, and nobody has acted on it: {self.failed}": bool(self.failed),
        }
        return tuple(words for words, is_so in found.items() if is_so)

    @property
    def unknown(self) -> int:
        """Reminders whose fate a person has to settle."""
        return self.held.get(Reason.UNKNOWN, 0)


def feel_pulse(session: Session, clinic: Clinic) -> Vitals:
    """Whether the service lives: one query, for the line on every page."""
    now = clinic.clock.now()
    found = gate.read_vitals(session, now)
    alive = found.heartbeat_at is not None and found.stopped_at is None
    return Vitals(
        at=now,
        oldest_due_seconds=None if found.oldest_due is None else int((now - found.oldest_due).total_seconds()),
        heartbeat_age_seconds=int((now - found.heartbeat_at).total_seconds()) if found.heartbeat_at and alive else None,
        next_ready_at=found.next_ready,
        next_message_at=found.next_message,
        swept_at=found.swept_at,
        gate_open=found.gate_state is GateState.OPEN,
        gate_reason=found.gate_reason,
        gate_changed_at=found.gate_changed_at,
        gate_changed_by=found.gate_changed_by,
        to_folder=clinic.settings.smtp_host is None,
        alarm=found.alarm,
        loop_lag_ms=found.loop_lag_ms,
        whole=found.last_check != "integrity.failed",
    )


def examine(session: Session, clinic: Clinic) -> Health:
    """Read the service's state from the database."""
    return Health(
        vitals=feel_pulse(session, clinic),
        held=reminders.count_by_reason(session, ReminderState.HELD),
        failed=reminders.count_unsettled(session, ReminderState.FAILED),
        checked=find_last_check(session),
    )
