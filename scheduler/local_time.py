"""Local wall time and UTC: the one rule for skipped and repeated hours, the sending window, working days.

Pure: no clock is read here (that is `scheduler.clock`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib.metadata import version
from zoneinfo import ZoneInfo, reset_tzpath

# Zone data is that of the locked tzdata package on every machine: a plan does not depend on how old a machine's own
# copy is, and the fingerprint can name the version.
reset_tzpath(to=())

_DAY = timedelta(days=1)
_SEARCH_DAYS = 40  # the longest run of days on which nothing may be sent; a year of holidays is a wrong setting


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The IANA zone of that name. Raises `ZoneInfoNotFoundError` or `ValueError` for an unknown one."""
    return ZoneInfo(name)


def zone_data_version() -> str:
    """The version of the zone data in use, like `2026.6`."""
    return version("tzdata")


def to_utc(wall: datetime, zone_name: str) -> datetime:
    """The instant of a naive local wall time.

    A time that is skipped moves forward by the length of the gap; one that happens twice means the first
    (RFC 5545 §3.3.5; the same as java.time).
    """
    if wall.tzinfo is not None:
        raise ValueError("a wall time is naive")
    # fold=0 means: the first of two, and in a gap the offset from before it, which lands as far behind the
    # gap as the time stood inside it.
    return wall.replace(tzinfo=zone(zone_name), fold=0).astimezone(UTC)


def to_wall(instant: datetime, zone_name: str) -> datetime:
    """The naive local wall time of an instant."""
    return instant.astimezone(zone(zone_name)).replace(tzinfo=None, fold=0)


@dataclass(frozen=True, slots=True)
class Window:
    """The local times of day between which mail may leave: `opens <= t < closes`; minutes since midnight."""

    opens: int = 8 * 60
    closes: int = 19 * 60

    @classmethod
    def parse(cls, text: str) -> "Window":
        """Read `08:00-19:00`; `00:00-24:00` means always. Raises `ValueError` saying what is expected."""
        try:
            opens, closes = (_minutes(part.strip()) for part in text.split("-"))
        except ValueError:
            raise ValueError("expected two times like 08:00-19:00") from None
        if opens >= closes:
            raise ValueError("the window has to open before it closes, like 08:00-19:00")
        return cls(opens, closes)

    @property
    def always(self) -> bool:
        """Whether any time of day is allowed."""
        return self.opens == 0 and self.closes == 24 * 60

    def holds(self, wall: datetime) -> bool:
        """Whether a wall time lies inside."""
        return self.opens <= wall.hour * 60 + wall.minute < self.closes

    def opening(self, day: date) -> datetime:
        """When it opens on a day."""
        return datetime.combine(day, time(self.opens // 60, self.opens % 60))


def next_allowed(
    instant: datetime,
    zone_name: str,
    window: Window,
    is_free_day: Callable[[date], bool] | None = None,
) -> datetime:
    """The first instant not before `instant` that lies in the window and, if asked, not on a free day.

    Returns the very instant when it is allowed. Raises `ValueError` when no day within 40 is allowed.
    """
    if window.always and is_free_day is None:
        return instant
    wall = to_wall(instant, zone_name)
    if window.holds(wall) and not (is_free_day and is_free_day(wall.date())):
        return instant
    day = wall.date()
    for _ in range(_SEARCH_DAYS):
        if not (is_free_day and is_free_day(day)):
            # A window that opens inside a skipped hour opens at the end of the gap, if it is still open then.
            opening = to_utc(window.opening(day), zone_name)
            if opening >= instant and window.holds(to_wall(opening, zone_name)):
                return opening
        day += _DAY
    raise ValueError("no day within the next 40 is allowed for sending")


def _minutes(text: str) -> int:
    hour, minute = text.split(":")
    found = int(hour) * 60 + int(minute)
    if len(hour) != 2 or len(minute) != 2 or not 0 <= int(minute) < 60 or not 0 <= found <= 24 * 60:
        raise ValueError
    return found
