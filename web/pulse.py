"""The pulse: the line on every page that says whether the service lives and messages leave. Counts and times only.

How health is judged is in `scheduler.health`.
"""

from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import HTMLResponse

from scheduler.clinic import Clinic
from scheduler.health import Health, examine
from web import times


@dataclass(frozen=True, slots=True)
class Pulse:
    """`level` is `green`, `amber` or `red`; the words say the same without colour. `is_open`: the gate is."""

    level: str
    word: str
    details: tuple[str, ...]
    is_open: bool


def read_pulse(clinic: Clinic) -> Pulse:
    """The service as it is now, in words; times are the clinic's."""
    with clinic.store.read() as session:
        health = examine(session, clinic)
    return in_words(health, clinic.settings.clinic_time_zone)


def in_words(health: Health, zone: str) -> Pulse:
    """Health as a line: what is worst first, then when was looked and what comes next."""
    details = tuple(_details(health, zone))
    if not health.gate_open:
        stopped = f"stopped: {health.gate_reason}" if health.gate_reason else "stopped"
        silent = () if health.alive else ("no sending process is running",)
        return Pulse("amber" if health.alive else "red", f"Sending is {stopped}", (*silent, *details), False)
    if not health.alive:
        return Pulse("red", "Nothing is being sent: no sending process is running", details, True)
    if health.stalled:
        return Pulse("red", "Messages are late", details, True)
    if health.to_folder:
        return Pulse("amber", "Writing to the folder", details, True)
    return Pulse("green", "Sending", details, True)


def pulse_fragment(request: Request) -> HTMLResponse:
    """The line alone, for a page that asks for it again by itself."""
    from web.pages import fragment  # the frame of every page shows a pulse: pages import this file

    return fragment(request, "pulse.html", pulse=read_pulse(request.app.state.clinic))


def _details(health: Health, zone: str) -> list[str]:
    found = []
    if health.swept_at is not None:
        found.append(f"last look {times.to_the_second(health.swept_at, health.at, zone)}")
    if health.next_message_at is None:
        found.append("nothing planned")
    elif health.next_message_at > health.at:
        found.append(f"next message {times.when(health.next_message_at, health.at, zone)}")
    if health.oldest_due_seconds:
        found.append(f"the oldest message has waited {times.age(health.oldest_due_seconds)}")
    else:
        found.append("nothing overdue")
    return found
