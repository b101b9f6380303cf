"""The pulse: the line on every page that says whether the service lives and messages leave. Counts and times only.

How health is judged is in `scheduler.health`.
"""

from dataclasses import dataclass
from datetime import datetime

from fastapi import Request
from fastapi.responses import HTMLResponse

from scheduler.clinic import Clinic
from scheduler.health import Vitals, feel_pulse
from web import times


@dataclass(frozen=True, slots=True)
class Stopped:
    """Since when the gate is closed, who closed it, and why."""

    at: datetime
    by: str
    why: str | None


@dataclass(frozen=True, slots=True)
class Pulse:
    """`level` is `green`, `amber` or `red`; the words say the same without colour. `stopped`: by whom, if so."""

    level: str
    word: str
    details: tuple[str, ...]
    stopped: Stopped | None = None

    @property
    def is_open(self) -> bool:
        """Whether the gate is."""
        return self.stopped is None


def read_pulse(clinic: Clinic) -> Pulse:
    """The service as it is now, in words; times are the clinic's."""
    with clinic.store.show() as session:
        vitals = feel_pulse(session, clinic)
    return in_words(vitals, clinic.settings.clinic_time_zone)


def in_words(vitals: Vitals, zone: str) -> Pulse:
    """Vitals as a line: what is worst first, then when was looked and what comes next."""
    details = tuple(_details(vitals, zone))
    stopped = None
    if not vitals.gate_open:
        stopped = Stopped(vitals.gate_changed_at, vitals.gate_changed_by, vitals.gate_reason)
    if not vitals.whole:
        told = ["tell whoever looks after Aftercare: aftercare check says what"]
        told += [] if vitals.gate_open else [f"sending is stopped: {vitals.gate_reason}"]
        return Pulse("red", "The record is not whole", (*told, *details), stopped)
    if stopped is not None:
        why = f"stopped: {stopped.why}" if stopped.why else "stopped"
        silent = () if vitals.alive else ("no sending process is running",)
        return Pulse("red", f"Sending is {why}", (*silent, *details), stopped)
    if not vitals.alive:
        return Pulse("red", "Nothing is being sent: no sending process is running", details)
    if vitals.alarm is not None:
        return Pulse("red", vitals.alarm.rstrip("."), details)
    if vitals.stalled:
        return Pulse("red", "Messages are late", details)
    if vitals.to_folder:
        return Pulse("amber", "Writing to the folder", details)
    return Pulse("green", "Sending", details)


def pulse_fragment(request: Request) -> HTMLResponse:
    """The line alone, for a page that asks for it again by itself."""
    from web.pages import fragment  # the frame of every page shows a pulse: pages import this file

    return fragment(request, "pulse.html", pulse=read_pulse(request.app.state.clinic))


def _details(vitals: Vitals, zone: str) -> list[str]:
    found = []
    if vitals.swept_at is not None:
        found.append(f"last look {times.to_the_second(vitals.swept_at, vitals.at, zone)}")
    if vitals.next_message_at is None:
        found.append("nothing planned")
    elif vitals.next_message_at > vitals.at:
        found.append(f"next message {times.when(vitals.next_message_at, vitals.at, zone)}")
    if vitals.oldest_due_seconds:
        found.append(f"the oldest message has waited {times.age(vitals.oldest_due_seconds)}")
    else:
        found.append("nothing overdue")
    return found
