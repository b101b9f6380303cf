"""The service's numbers as Prometheus reads them (text format 0.0.4): counts, ages and switches, nothing of a patient.

Who may read them is decided in `web.metrics`; what they mean for people is `scheduler.health`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from db import counts, reminders
from db.states import AttemptOutcome, Reason, ReminderState
from scheduler.backup import find_last_backup
from scheduler.clinic import Clinic
from scheduler.health import examine
from scheduler.integrity import find_last_check

ALIVE_WITHIN: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class SenderSigns:
    """What only the process that sends knows of itself."""

    recorder_healthy: bool
    relay_open: bool  # may the mail server be asked, or does the circuit wait?
    relay_alarm: bool


def write_metrics(session: Session, clinic: Clinic, signs: SenderSigns | None) -> str:
    """All numbers as text; what there is nothing to measure of is left out."""
    return "".join(_lines(session, clinic, signs))


def _lines(session: Session, clinic: Clinic, signs: SenderSigns | None) -> Iterator[str]:
    now, health = clinic.clock.now(), examine(session, clinic)
    vitals = health.vitals
    workers = counts.count_workers(session, now - ALIVE_WITHIN)
    outcomes = counts.count_by_outcome(session)
    checked, backed_up = find_last_check(session), find_last_backup(session)

    states = reminders.count_by_state(session)
    yield _many("reminders", "Reminders by state.", "state", {state.value: states[state] for state in ReminderState})
    held = {reason.value: health.held.get(reason, 0) for reason in Reason if reason in health.held}
    yield _many("reminders_held", "Held reminders by reason.", "reason", held)
    told = {outcome.value: outcomes.get(outcome, 0) for outcome in AttemptOutcome}
    yield _many("attempts_total", "Delivery attempts by outcome.", "outcome", told, "counter")
    yield _one("reminders_unknown", "Reminders whose fate a person has to settle.", health.unknown)
    yield _one("reminders_failed_unsettled", "Failed reminders that nobody has acted on.", health.failed)
    yield _one("calls_asked_for", "Patients who wait for a call.", counts.count_calls(session))
    yield _one("oldest_due_seconds", "How long the oldest due message has waited.", vitals.oldest_due_seconds or 0)
    yield _one("heartbeat_age_seconds", "Age of the last sign of life.", vitals.heartbeat_age_seconds)
    yield _one("stalled", "1 while messages wait that could leave, or nothing sends.", vitals.stalled)
    yield _one("gate_open", "1 while messages may leave.", vitals.gate_open)
    yield _one("workers_alive", "Sending processes with a sign of life within a minute.", workers.alive)
    yield _one("workers_alarmed", "Those of them with an alarm about the mail server.", workers.alarms)
    lag = None if workers.loop_lag_ms is None else workers.loop_lag_ms / 1_000
    yield _one("event_loop_lag_seconds", "The longest that an event loop was kept waiting.", lag)
    if signs is not None:
        yield _one("recorder_healthy", "1 while marks and outcomes become durable.", signs.recorder_healthy)
        yield _one("relay_circuit_open", "1 while the mail server is not asked, after trouble.", not signs.relay_open)
        yield _one("relay_alarm", "1 while the mail server needs a person.", signs.relay_alarm)
    if checked is not None:
        yield _one("integrity_ok", "1 when the last scheduled check found nothing.", not checked.problems)
        yield _one("integrity_timestamp_seconds", "When the last scheduled check ended.", checked.at.timestamp())
    if backed_up is not None:
        yield _one("backup_timestamp_seconds", "When the last proven backup was made.", backed_up.timestamp())


def _one(name: str, help_text: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"# HELP aftercare_{name} {help_text}\n# TYPE aftercare_{name} gauge\naftercare_{name} {_number(value)}\n"


def _many(name: str, help_text: str, label: str, values: Mapping[str, int], kind: str = "gauge") -> str:
    head = f"# HELP aftercare_{name} {help_text}\n# TYPE aftercare_{name} {kind}\n"
    return head + "".join(f'aftercare_{name}{{{label}="{key}"}} {value}\n' for key, value in values.items())


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
