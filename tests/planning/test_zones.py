"""Local time in plans: clock changes, zones with odd offsets, and patients who move.

The rule for one skipped or repeated hour is in `tests/test_local_time.py`.
"""

from datetime import datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.states import EventKind
from scheduler.local_time import to_wall
from tests.planning.build import LONDON, record
from tests.planning.recipes import TWO_WEEK, VISIT_STEPS, days, hours, protocol, step, weekly


@pytest.mark.parametrize(
    ("zone", "treated", "offset", "due"),
    [
        (LONDON, "2026-03-27T09:00", 1, "2026-03-28T10:00:00+00:00"),
        (LONDON, "2026-03-27T09:00", 2, "2026-03-29T09:00:00+00:00"),  # the clock went forward that night
        (LONDON, "2026-10-23T09:00", 2, "2026-10-25T10:00:00+00:00"),  # and back
        ("America/New_York", "2026-03-06T09:00", 2, "2026-03-08T14:00:00+00:00"),
        ("America/New_York", "2026-10-30T09:00", 2, "2026-11-01T15:00:00+00:00"),
        ("Australia/Lord_Howe", "2026-04-03T09:00", 1, "2026-04-03T23:00:00+00:00"),  # +11, half an hour of change
        ("Australia/Lord_Howe", "2026-04-03T09:00", 3, "2026-04-05T23:30:00+00:00"),  # +10:30
        ("Australia/Lord_Howe", "2026-10-02T09:00", 3, "2026-10-04T23:00:00+00:00"),
        ("Pacific/Apia", "2026-03-02T09:00", 1, "2026-03-02T21:00:00+00:00"),  # +13, no clock changes any more
        ("Asia/Gaza", "2026-03-26T09:00", 1, "2026-03-27T08:00:00+00:00"),
        ("Asia/Gaza", "2026-03-26T09:00", 3, "2026-03-29T07:00:00+00:00"),
        ("Asia/Kathmandu", "2026-03-26T09:00", 1, "2026-03-27T04:15:00+00:00"),
    ],
)
def test_ten_in_the_morning_is_ten_in_the_morning_where_she_lives(
    zone: str, treated: str, offset: int, due: str
) -> None:
    case = record("2026-03-02T12:00", zone)
    case.treat(protocol(step("check", days(offset))), treated)
    row = case.row("check")
    assert (row.due_at.isoformat(), row.due_local[11:], row.zone) == (due, "10:00:00", zone)


def test_elapsed_hours_run_on_through_a_clock_change() -> None:
    case = record("2026-03-27T12:00")
    case.treat(protocol(step("soon", hours(24)), step("whole", days(1), at="11:30")), "2026-03-28T11:30")
    assert case.table() == ["whole 1.1 scheduled 2026-03-29T11:30", "soon 1.1 scheduled 2026-03-29T12:30"]
    assert case.row("soon").due_at - case.row("whole").due_at == timedelta(hours=1)


def test_a_patient_who_moves_abroad_takes_unsent_messages_with_her_and_no_anchor() -> None:
    case = record("2026-03-02T12:00")
    case.treat(protocol(*VISIT_STEPS, step("check", days(1)), step("later", days(20)), reviews=(TWO_WEEK,)),
               "2026-03-02T09:00")  # fmt: skip
    case.event(EventKind.REVIEW_BOOKED, "2026-03-16T14:00")
    case.wait_until("2026-03-04T12:00")
    before = [line for line in case.table() if "check" not in line]
    case.know(zone="America/New_York")
    assert [line for line in case.table() if "check" not in line] == before  # the same wall times
    assert {row.step: (row.zone, row.due_at.isoformat()) for row in case.rows if row.step != "book"} == {
        "check": ("Europe/London", "2026-03-03T10:00:00+00:00"),
        "in-3-days": ("America/New_York", "2026-03-13T14:00:00+00:00"),
        "in-1-day": ("America/New_York", "2026-03-15T14:00:00+00:00"),
        "later": ("America/New_York", "2026-03-22T14:00:00+00:00"),
    }
    assert case.row("in-1-day").basis == "2026-03-16T14:00:00 Europe/London"


def test_travelling_east_past_a_time_of_day_loses_nothing() -> None:
    case = record("2026-03-02T12:00")
    case.treat(protocol(step("check", days(1))), "2026-03-02T09:00")
    case.sleep_until("2026-03-03T08:30")
    case.know(zone="Asia/Tokyo")
    row = case.row("check")
    assert case.table() == ["check 1.1 scheduled 2026-03-03T10:00"]
    assert (row.zone, row.due_at.isoformat(), row.ready_at.isoformat()) == (
        "Asia/Tokyo",
        "2026-03-03T01:00:00+00:00",
        "2026-03-03T08:40:00+00:00",  # 17:40 where she is
    )


def test_the_sending_window_is_the_one_where_she_lives() -> None:
    case = record("2026-03-02T12:00", "Asia/Tokyo")
    case.treat(protocol(step("soon", hours(2))), "2026-03-02T12:00")  # 23:00 in Tokyo
    assert case.table() == ["soon 1.1 scheduled 2026-03-03T08:00"]
    assert case.row("soon").due_at.isoformat() == "2026-03-02T23:00:00+00:00"


ZONES = st.sampled_from(
    ["Europe/London", "America/St_Johns", "Australia/Lord_Howe", "Asia/Gaza", "Africa/Casablanca", "Asia/Tehran",
     "America/Santiago", "Pacific/Chatham", "Pacific/Apia", "America/Nuuk"]
)  # fmt: skip


@given(
    zone=ZONES,
    start=st.datetimes(datetime(2024, 1, 1), datetime(2036, 1, 1)),
    at=st.times(time(8), time(18, 59)).map(lambda at: at.replace(second=0, microsecond=0)),
)
def test_a_year_of_weeks_keeps_its_wall_time_and_its_day(zone: str, start: datetime, at: time) -> None:
    case = record("2023-12-01T12:00", zone)
    year = protocol(step("week", days(7), at.isoformat("minutes"), repeat=weekly(52)))
    case.treat(year, start.isoformat(timespec="minutes"))
    walls = [to_wall(row.due_at, zone) for row in case.rows]
    assert walls == [datetime.combine(start.date() + timedelta(days=7 * n), at) for n in range(1, 53)]
