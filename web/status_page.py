"""`GET /`: one read-only look at the service. Nobody is logged in, so it names no patient, address or treatment.

The mails of the outbox folder are in `web.outbox_pages`; how health is judged is in `scheduler.health`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse

from db import reminders
from db.follow_up import Reminder
from db.states import Reason, ReminderState, StepKind
from scheduler.clinic import Clinic
from scheduler.health import Health, examine
from web import times
from web.outbox_pages import list_heads
from web.pages import clinic_of, page

SHOWN_REMINDERS: Final = 12  # of each list; the command line shows all
SHOWN_MAILS: Final = 8

# A text's own key may be the clinic's and say anything; its kind may not.
_ABOUT: Final = {
    StepKind.REVIEW: "about a visit",
    StepKind.AFTERCARE: "after a visit",
    StepKind.ADMINISTRATIVE: "about dates and papers",
    StepKind.EXERCISE: "about the plan",
}
_LEFT: Final = {
    None: "the mail server took it",
    Reason.WRITTEN_TO_FOLDER: "written to the folder",
    Reason.RESOLVED_RECEIVED: "its answer was lost; staff found that it had arrived",
}
_COUNTED: Final = {
    ReminderState.SCHEDULED: "waiting for their time",
    ReminderState.AWAITING_RETRY: "to be tried again",
    ReminderState.SENDING: "being sent",
    ReminderState.SENT: "sent",
    ReminderState.HELD: "held",
    ReminderState.FAILED: "refused",
    ReminderState.MISSED: "not sent in time",
    ReminderState.CANCELLED: "no longer wanted",
    ReminderState.DONE: "done by hand",
}


@dataclass(frozen=True, slots=True)
class Pulse:
    """The first line of every page. `level` is `green`, `amber` or `red`; the words say the same without colour."""

    level: str
    word: str
    details: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Need:
    """Something that waits for a person, and the state that lists it on the command line."""

    level: str
    count: int
    sentence: str
    state: ReminderState


@dataclass(frozen=True, slots=True)
class Line:
    """One reminder without anything about its patient."""

    when: str
    about: str
    note: str
    short_id: str


@dataclass(frozen=True, slots=True)
class Status:
    """All the page shows."""

    pulse: Pulse
    needs: tuple[Need, ...]
    upcoming: tuple[Line, ...]
    left: tuple[Line, ...]
    counts: tuple[tuple[str, int], ...]
    total: int
    day: str
    zone: str


def status_page(request: Request) -> HTMLResponse:
    """The page as it is now; it asks for itself again every 30 seconds."""
    clinic = clinic_of(request)
    to_folder = clinic.settings.smtp_host is None
    return page(
        "status.html",
        status=read_status(clinic),
        to_folder=to_folder,
        to_be_set=[f"AFTERCARE_{name.upper()}" for name in clinic.settings.to_be_set] if to_folder else [],
        mails=list_heads(clinic, SHOWN_MAILS) if to_folder else [],
    )


def read_status(clinic: Clinic) -> Status:
    """The state of the service in words; times are the clinic's."""
    zone = clinic.settings.clinic_time_zone
    with clinic.store.read() as session:
        health = examine(session, clinic)
        missed = reminders.count_by_reason(session, ReminderState.MISSED)
        upcoming = reminders.list_next_to_leave(session, SHOWN_REMINDERS)
        left = reminders.list_last_left(session, SHOWN_REMINDERS)
    return Status(
        pulse=_pulse(health, upcoming[0].ready_at if upcoming else None, zone),
        needs=tuple(_needs(health, missed)),
        upcoming=tuple(_upcoming(row, health, zone) for row in upcoming),
        left=tuple(
            _line(row, times.when(row.sent_at or row.changed_at, health.at, zone), _LEFT.get(row.reason, "sent"))
            for row in left
        ),
        counts=tuple((words, health.counts[state]) for state, words in _COUNTED.items() if health.counts[state]),
        total=sum(health.counts.values()),
        day=times.day_of(health.at, zone),
        zone=zone,
    )


def _pulse(health: Health, next_at: datetime | None, zone: str) -> Pulse:
    details = []
    if health.swept_at is not None:
        details.append(f"last look {times.to_the_second(health.swept_at, health.at, zone)}")
    if health.oldest_due_seconds:
        details.append(f"the oldest message has waited {times.age(health.oldest_due_seconds)}")
    else:
        details.append("nothing overdue")
    if next_at is None:
        details.append("nothing planned")
    elif next_at > health.at:
        details.append(f"next message {times.when(next_at, health.at, zone)}")
    if not health.gate_open:
        stopped = f"stopped: {health.gate_reason}" if health.gate_reason else "stopped"
        silent = () if health.alive else ("no sending process is running",)
        return Pulse("amber" if health.alive else "red", f"Sending is {stopped}", (*silent, *details))
    if not health.alive:
        return Pulse("red", "Nothing is being sent: no sending process is running", tuple(details))
    if health.stalled:
        return Pulse("red", "Messages are late", tuple(details))
    if health.to_folder:
        return Pulse("amber", "Writing to the folder", tuple(details))
    return Pulse("green", "Sending", tuple(details))


def _needs(health: Health, missed: dict[Reason, int]) -> list[Need]:
    held = dict(health.held)
    late = sum(count for reason, count in missed.items() if reason is not Reason.PAST_WHEN_PLANNED)
    found = [
        Need("red", held.pop(Reason.ASKED_FOR_CALL, 0), Reason.ASKED_FOR_CALL.sentence, ReminderState.HELD),
        Need("amber", held.pop(Reason.UNKNOWN, 0), Reason.UNKNOWN.sentence, ReminderState.HELD),
        Need(
            "amber",
            health.counts[ReminderState.FAILED],
            "Refused for good, or put off until the attempts were used up.",
            ReminderState.FAILED,
        ),
        Need("amber", late, "Could not be sent before it was of no use any more.", ReminderState.MISSED),
    ]
    by_count = sorted(held.items(), key=lambda item: (-item[1], item[0]))
    found += [Need("amber", count, reason.sentence, ReminderState.HELD) for reason, count in by_count]
    return [need for need in found if need.count]


def _upcoming(row: Reminder, health: Health, zone: str) -> Line:
    note = row.reason.sentence if row.reason else ""
    if row.ready_at <= health.at:
        note = " ".join(part for part in ("Due now.", note) if part)
    return _line(row, times.when(row.ready_at, health.at, zone), note)


def _line(row: Reminder, when: str, note: str) -> Line:
    # The end of a UUIDv7 is its random part; rows of one plan share the beginning.
    return Line(when, _ABOUT[row.kind], note, row.id.hex[-8:])
