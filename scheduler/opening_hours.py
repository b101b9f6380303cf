"""When somebody is at the clinic to read and ring: pure, in the clinic's own time.

Written like `Mo-Fr 09:00-17:00; Sa 09:00-12:00`, a small part of the notation of OpenStreetMap's opening_hours.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from scheduler.local_time import to_utc, to_wall

_DAYS: Final = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
_RULE = re.compile(r"(?P<days>[A-Za-z, -]+?) +(?P<opens>\d\d:\d\d)-(?P<closes>\d\d:\d\d)")
_SEARCH_DAYS: Final = 40
EXAMPLE: Final = "Mo-Fr 09:00-17:00; Sa 09:00-12:00"


@dataclass(frozen=True, slots=True)
class OpeningHours:
    """By weekday (0 is Monday) the minutes since midnight between which the clinic is open; a day absent is closed."""

    days: Mapping[int, tuple[int, int]]
    text: str = ""

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str) -> "OpeningHours":
        """Read the notation above. Raises `ValueError`."""
        days: dict[int, tuple[int, int]] = {}
        for rule in text.split(";"):
            match = _RULE.fullmatch(rule.strip())
            if match is None:
                raise ValueError(f"expected hours like {EXAMPLE}")
            opens, closes = _minutes(match["opens"]), _minutes(match["closes"])
            if opens >= closes:
                raise ValueError("a day has to open before it closes")
            for part in match["days"].split(","):
                days |= dict.fromkeys(_weekdays(part.strip()), (opens, closes))
        return cls(days, text.strip())

    def next_open(self, instant: datetime, zone: str, is_closed: Callable[[date], bool]) -> datetime | None:
        """The first instant not before this one at which the clinic is open; None when it never is."""
        wall = to_wall(instant, zone)
        for ahead in range(_SEARCH_DAYS):
            day = wall.date() + timedelta(days=ahead)
            if day.weekday() not in self.days or is_closed(day):
                continue
            opens, closes = (self._at(day, minutes) for minutes in self.days[day.weekday()])
            if wall < closes:
                return instant if wall >= opens else to_utc(opens, zone)
        return None

    def passed(self, since: datetime, until: datetime, zone: str, is_closed: Callable[[date], bool]) -> timedelta:
        """How long the clinic was open between two instants; counted at most over 40 days."""
        first, last = to_wall(since, zone), to_wall(until, zone)
        total = timedelta(0)
        for ahead in range(_SEARCH_DAYS):
            day = first.date() + timedelta(days=ahead)
            if day > last.date():
                break
            if day.weekday() in self.days and not is_closed(day):
                opens, closes = (self._at(day, minutes) for minutes in self.days[day.weekday()])
                total += max(min(closes, last) - max(opens, first), timedelta(0))
        return total

    @staticmethod
    def _at(day: date, minutes: int) -> datetime:
        return datetime.combine(day, datetime.min.time()) + timedelta(minutes=minutes)


def _minutes(text: str) -> int:
    hours, minutes = (int(part) for part in text.split(":"))
    if hours > 24 or minutes > 59 or hours * 60 + minutes > 24 * 60:
        raise ValueError(f"{text} is no time of day")
    return hours * 60 + minutes


def _weekdays(text: str) -> list[int]:
    names = [name.strip().capitalize() for name in text.split("-")]
    if not 1 <= len(names) <= 2 or any(name not in _DAYS for name in names):
        raise ValueError(f"expected days like Mo-Fr or Sa, of {', '.join(_DAYS)}")
    first, last = _DAYS.index(names[0]), _DAYS.index(names[-1])
    return [day % 7 for day in range(first, last + 1 if last >= first else last + 8)]
