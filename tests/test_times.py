"""Instants and ages as staff read them on pages."""

from datetime import UTC, datetime

import pytest

from web import times


@pytest.mark.parametrize(
    ("instant", "said"),
    [
        (datetime(2026, 3, 28, 23, 59, tzinfo=UTC), "yesterday 23:59"),
        (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), "today 00:59"),
        (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "today 02:00"),
        (datetime(2026, 3, 29, 23, 0, tzinfo=UTC), "tomorrow 00:00"),
        (datetime(2026, 12, 8, 10, 0, tzinfo=UTC), "Tuesday 8 December 10:00"),
        (datetime(2027, 1, 2, 10, 0, tzinfo=UTC), "Saturday 2 January 2027 10:00"),
    ],
)
def test_days_near_today_are_named_by_the_clinics_calendar(instant: datetime, said: str) -> None:
    assert times.when(instant, datetime(2026, 3, 29, 12, 0, tzinfo=UTC), "Europe/London") == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (119, "1 minute"),
        (7_200, "2 hours"),
        (86_399, "23 hours"),
        (172_800, "2 days"),
    ],
)
def test_an_age_is_told_in_its_largest_unit(seconds: int, said: str) -> None:
    assert times.age(seconds) == said
