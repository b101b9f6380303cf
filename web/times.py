"""Instants and ages as staff say them: today, tomorrow, yesterday by name, others with their weekday.

Dates in mails, in the patient's language, are in `scheduler.dates`.
"""

from datetime import date, datetime
from functools import cached_property

from db.accounts import list_members
from db.states import Reason
from scheduler.accounts.front_door import actor_name
from scheduler.clinic import Clinic
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


class Say:
    """Instants, dates and people in the words of one page: its clinic's zone, its present moment, its reader.

    `reads_record`: she may know why; others read of an e-mail that is not safe only that messages were stopped.
    """

    def __init__(self, clinic: Clinic, now: datetime, reads_record: bool = False) -> None:
        self._clinic = clinic
        self.reads_record = reads_record
        self.zone = clinic.settings.clinic_time_zone
        self.now = now
        self.today = to_wall(now, self.zone).date()

    def when(self, instant: datetime | None) -> str:
        """`today 10:30`, `Tuesday 8 December 10:30`."""
        return "" if instant is None else when(instant, self.now, self.zone)

    def day(self, instant: datetime | None) -> str:
        """`Monday 23 November`, `today`."""
        return "" if instant is None else self.on(to_wall(instant, self.zone).date())

    def time(self, instant: datetime) -> str:
        """`10:30`."""
        return f"{to_wall(instant, self.zone):%H:%M}"

    def on(self, day: date | None) -> str:
        """`Monday 23 November`; today, tomorrow and yesterday by name; the year only when it is another."""
        if day is None:
            return ""
        named = {-1: "yesterday", 0: "today", 1: "tomorrow"}.get((day - self.today).days)
        return named or self.full_date(day)

    def full_date(self, day: date) -> str:
        """`Monday 23 November`; the year only when it is another."""
        year = "" if day.year == self.today.year else f" {day.year}"
        return f"{day:%A} {day.day} {day:%B}{year}"

    def wall(self, text: str) -> str:
        """A wall time as it was entered (`2026-11-23T10:30:00`): `Monday 23 November 10:30`."""
        entered = datetime.fromisoformat(text)
        return f"{self.on(entered.date())} {entered:%H:%M}"

    def why(self, reason: Reason) -> str:
        """The sentence of a reason, as this reader may read it."""
        return self.discreet(reason.sentence)

    def discreet(self, words: str) -> str:
        """Words of ours as this reader may read them: the desk may be asked by whom the patient fears."""
        return words if self.reads_record else words.replace(Reason.UNSAFE.sentence, Reason.OTHER.sentence)

    def who(self, actor: str) -> str:
        """An actor as people know her: a member of staff by her name, everything else as recorded."""
        return self._names.get(actor, actor.removeprefix("cli:"))

    @cached_property
    def _names(self) -> dict[str, str]:
        with self._clinic.store.show() as session:
            return {actor_name(member.login): member.name for member in list_members(session)} | {
                "service": "the service",
                "nobody": "nobody",
                "patient": "the patient, on the private page",
            }
