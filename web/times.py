"""Instants and ages as staff say them: today, tomorrow, yesterday by name, others with their weekday.

Dates in mails, in the patient's language, are in `scheduler.dates`.
"""

from datetime import datetime

from scheduler.local_time import to_wall

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def when(instant: datetime, now: datetime, zone: str) -> str:
    """`today 10:30`, `Tuesday 8 December 10:30`; the year only when it is another."""
    wall, today = to_wall(instant, zone), to_wall(now, zone).date()
    named = {-1: "yesterday", 0: "today", 1: "tomorrow"}.get((wall.date() - today).days)
    year = "" if wall.year == today.year else f" {wall.year}"
    return f"{named or f'{wall:%A} {wall.day} {wall:%B}{year}'} {wall:%H:%M}"


def day_of(instant: datetime, zone: str) -> str:
    """`Monday 23 November`."""
    wall = to_wall(instant, zone)
    return f"{wall:%A} {wall.day} {wall:%B}"


def to_the_second(instant: datetime, now: datetime, zone: str) -> str:
    """`10:04:30`, with its day when that is not today."""
    wall = to_wall(instant, zone)
    if wall.date() == to_wall(now, zone).date():
        return f"{wall:%H:%M:%S}"
    return when(instant, now, zone)


def age(seconds: float) -> str:
    """The largest whole unit: `2 days`, `3 hours`, `12 minutes`, `5 seconds`."""
    whole = int(seconds)
    for unit, length in _UNITS:
        if whole >= length:
            count = whole // length
            return f"1 {unit}" if count == 1 else f"{count} {unit}s"
    return "0 seconds"
