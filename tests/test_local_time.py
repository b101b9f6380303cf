"""Local wall time and UTC: every oddity by name, and every clock change of every zone."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.local_time import Window, next_allowed, to_utc, to_wall, zone_data_version

FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2041, 1, 1, tzinfo=UTC)
SCAN = timedelta(days=3)  # shorter than any time between two changes (Morocco's are a month apart)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("zone", "wall", "utc", "lands_on"),
    [
        ("Europe/London", "2027-03-28 01:30", "2027-03-28 01:30", "02:30"),
        ("Europe/London", "2026-10-25 01:30", "2026-10-25 00:30", "01:30"),
        ("Europe/London", "2026-10-25 10:00", "2026-10-25 10:00", "10:00"),
        ("America/New_York", "2026-03-08 02:30", "2026-03-08 07:30", "03:30"),
        ("America/New_York", "2026-11-01 01:30", "2026-11-01 05:30", "01:30"),
        ("Australia/Lord_Howe", "2026-10-04 02:15", "2026-10-03 15:45", "02:45"),
        ("Australia/Lord_Howe", "2026-04-05 01:45", "2026-04-04 14:45", "01:45"),
        ("Pacific/Apia", "2011-12-30 10:00", "2011-12-30 20:00", "10:00"),
        ("America/Sao_Paulo", "2018-11-04 00:00", "2018-11-04 03:00", "01:00"),
        ("Africa/Cairo", "2026-04-24 00:00", "2026-04-23 22:00", "01:00"),
        ("Asia/Beirut", "2026-03-29 00:00", "2026-03-28 22:00", "01:00"),
        ("Europe/Dublin", "2026-03-29 01:30", "2026-03-29 01:30", "02:30"),
        ("Europe/Dublin", "2026-10-25 01:30", "2026-10-25 00:30", "01:30"),
        ("Asia/Kathmandu", "2026-11-23 10:00", "2026-11-23 04:15", "10:00"),
        ("Pacific/Chatham", "2026-09-27 02:50", "2026-09-26 14:05", "03:50"),
    ],
    ids=lambda value: str(value),
)
def test_an_oddity_of_the_clock_means_what_rfc_5545_says(zone: str, wall: str, utc: str, lands_on: str) -> None:
    instant = to_utc(datetime.fromisoformat(wall), zone)
    assert instant == datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert instant.tzinfo is UTC
    assert to_wall(instant, zone).time() == time.fromisoformat(lands_on)


def test_a_day_that_a_zone_skipped_lands_on_the_next() -> None:
    assert to_wall(to_utc(datetime(2011, 12, 30, 10), "Pacific/Apia"), "Pacific/Apia") == datetime(2011, 12, 31, 10)


def test_only_naive_times_are_wall_times() -> None:
    with pytest.raises(ValueError, match="naive"):
        to_utc(datetime(2026, 1, 1, tzinfo=UTC), "Europe/London")


def test_the_zone_data_is_the_locked_packages() -> None:
    assert zone_data_version()[:2] == "20"


@cache
def changes(name: str) -> list[tuple[datetime, timedelta, timedelta]]:
    """Every change of a zone's offset 2020-2040: the instant, the offset before and after.

    Found by asking what the local time of an instant is and halving the span, never by asking for a wall time.
    """
    zone = ZoneInfo(name)

    def offset(instant: datetime) -> timedelta:
        return instant.astimezone(zone).replace(tzinfo=UTC) - instant

    found = []
    left, before = FIRST, offset(FIRST)
    while left < LAST:
        right, after = left + SCAN, offset(left + SCAN)
        if after != before:
            low, high = left, right
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                middle = middle.replace(microsecond=0)
                low, high = (low, middle) if offset(middle) == after else (middle, high)
            found.append((high, before, after))
        left, before = right, after
    return found


@pytest.mark.long
def test_every_change_of_every_zone_keeps_the_wall_time_and_one_instant_a_day() -> None:
    wrong: list[tuple[object, ...]] = []
    seen = 0
    times = [time(0, 0), time(0, 30), time(1, 0), time(2, 15), time(2, 30), time(3, 0), time(10, 0), time(23, 45)]
    for name in sorted(available_timezones()):
        for instant, before, after in changes(name):
            seen += 1
            # Up to here a wall time belongs to the old offset: in a gap as if it had not happened, twice means first.
            until = (instant + max(before, after)).replace(tzinfo=None)
            gap = max(after - before, timedelta(0))
            days = [(until + n * DAY).date() for n in (-1, 0, 1)]
            walls = [datetime.combine(day, at) for at in times for day in days]
            walls += [until - timedelta(seconds=1), until, until - abs(after - before)]
            for wall in walls:
                found = to_utc(wall, name)
                expected = wall.replace(tzinfo=UTC) - (before if wall < until else after)
                in_gap = until - gap <= wall < until
                if found != expected or to_wall(found, name) != (wall + gap if in_gap else wall):
                    wrong.append((name, wall, found, expected))
            for at in times:
                sends = [to_utc(datetime.combine(day, at), name) for day in days]
                # One a day, in order, and never more than the change itself away from a day apart.
                apart = [late - early for early, late in pairwise(sends)]
                if any(abs(each - DAY) > abs(after - before) for each in apart):
                    wrong.append((name, at, *sends))
    assert wrong == []
    assert seen > 5_000


WINDOW = Window.parse("08:00-19:00")


@pytest.mark.parametrize(
    ("wall", "expected"),
    [
        ("2026-11-23 07:59", "2026-11-23 08:00"),
        ("2026-11-23 08:00", "2026-11-23 08:00"),
        ("2026-11-23 18:59", "2026-11-23 18:59"),
        ("2026-11-23 19:00", "2026-11-24 08:00"),
        ("2026-11-23 23:30", "2026-11-24 08:00"),
    ],
)
def test_outside_the_window_the_next_opening_is_meant(wall: str, expected: str) -> None:
    found = next_allowed(to_utc(datetime.fromisoformat(wall), "Asia/Tokyo"), "Asia/Tokyo", WINDOW)
    assert to_wall(found, "Asia/Tokyo") == datetime.fromisoformat(expected)


def test_free_days_are_left_out() -> None:
    christmas = {date(2026, 12, 25), date(2026, 12, 28)}
    friday = datetime(2026, 12, 25, 10, tzinfo=UTC)
    found = next_allowed(friday, "Europe/London", WINDOW, lambda day: day.weekday() >= 5 or day in christmas)
    assert found == datetime(2026, 12, 29, 8, tzinfo=UTC)


def test_a_window_without_any_allowed_day_is_an_error() -> None:
    with pytest.raises(ValueError, match="no day within"):
        next_allowed(FIRST, "Europe/London", WINDOW, lambda _: True)


def test_always_means_the_very_instant() -> None:
    always = Window.parse("00:00-24:00")
    assert always.always
    assert next_allowed(FIRST, "Europe/London", always) is FIRST


def test_a_window_inside_a_skipped_hour_waits_for_the_next_day() -> None:
    window = Window.parse("02:00-02:45")
    found = next_allowed(datetime(2026, 3, 8, 5, tzinfo=UTC), "America/New_York", window)
    assert to_wall(found, "America/New_York") == datetime(2026, 3, 9, 2, 0)


@pytest.mark.parametrize(
    "text", ["", "8-19", "08:00", "08:00-19:00-20:00", "19:00-08:00", "08:00-08:00", "08:60-19:00", "08:00-24:01", "x"]
)
def test_a_window_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected two times|has to open before"):
        Window.parse(text)


windows = st.tuples(st.integers(0, 96), st.integers(0, 96)).filter(lambda pair: pair[0] < pair[1])


@given(
    instant=st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),
    name=st.sampled_from(["Europe/London", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Beirut"]),
    quarters=windows,
)
def test_the_next_allowed_moment_is_the_first_that_lies_in_the_window(
    instant: datetime, name: str, quarters: tuple[int, int]
) -> None:
    window = Window(quarters[0] * 15, quarters[1] * 15)
    found = next_allowed(instant, name, window)
    assert found >= instant
    assert window.holds(to_wall(found, name))
    assert next_allowed(found, name, window) == found
    waited = found - instant
    assert not any(window.holds(to_wall(instant + waited * part / 40, name)) for part in range(40) if waited)
