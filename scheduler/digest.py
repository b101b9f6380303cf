"""What staff are told by mail: the day in counts, and at once that somebody asks for a call. No patient is named.

The list of what to do is `scheduler.worklist`; here are counts and ids only, since a mail lies in many places.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from db import counts, reminders
from db.states import AttemptOutcome, Reason, ReminderState
from scheduler.backup import find_last_backup
from scheduler.clinic import Clinic
from scheduler.health import Health, examine
from scheduler.integrity import PROBLEMS, find_last_check

IDS = 20  # reminders named one by one; more are counted
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Digest:
    """The day's mail."""

    subject: str
    lines: tuple[str, ...]
    needs: int  # lines for a person
    unknown: int = 0
    failed: int = 0
    held: int = 0


def write_digest(session: Session, clinic: Clinic) -> Digest:
    """Write what happened since yesterday and what waits for a person."""
    now, health = clinic.clock.now(), examine(session, clinic)
    outcomes = counts.count_by_outcome(session, now - DAY)
    waiting = {reason: count for reason, count in health.held.items() if reason is not Reason.NOT_APPROVED}
    calls = counts.count_calls(session)
    missed = reminders.count_unsettled(session, ReminderState.MISSED)
    lines = [
        f"Since yesterday: {outcomes.get(AttemptOutcome.ACCEPTED, 0)} sent, "
        f"{sum(outcomes.values()) - outcomes.get(AttemptOutcome.ACCEPTED, 0)} attempt(s) that ended otherwise.",
        f"Waiting for a person: {calls} call(s) asked for, {health.unknown} unknown, {health.failed} failed, "
        f"{missed} missed, {sum(waiting.values())} held.",
        *(f"  held, {reason.value.replace('_', ' ')}: {count}" for reason, count in sorted(waiting.items())),
        *(f"  unknown: reminder {reminder_id}" for reminder_id in counts.list_unknown_ids(session, IDS)),
        _sending(health),
        *_upkeep(session, now),
        "Names and details are on Today, behind the sign-in.",
    ]
    needs = calls + health.unknown + health.failed + missed
    subject = f"Today: {needs} line(s) for a person" if needs else "Today: nothing urgent"
    return Digest(subject, tuple(lines), needs, health.unknown, health.failed, sum(waiting.values()))


def call_alert(count: int) -> Digest:
    """The alert that goes out at once."""
    who = "1 patient asks for a call" if count == 1 else f"{count} patients ask for a call"
    return Digest(who, (f"{who}.", "Who and why is on Today, behind the sign-in."), count)


def _sending(health: Health) -> str:
    vitals = health.vitals
    if not vitals.gate_open:
        return f"Sending is stopped: {vitals.gate_reason}"
    if vitals.stalled:
        return f"Sending is stalled: the oldest message has waited {vitals.oldest_due_seconds or 0} seconds."
    return "Mails are written to a folder; no mail server is set." if vitals.to_folder else "Sending works."


def _upkeep(session: Session, now: datetime) -> list[str]:
    checked, backed_up = find_last_check(session), find_last_backup(session)
    found = [f"The record is not whole: {PROBLEMS.get(name, name)}" for name in (checked.problems if checked else ())]
    if backed_up is None:
        return [*found, "No backup was ever made here: aftercare backup"]
    return [*found, f"The last backup is {(now - backed_up).days} day(s) old."]
