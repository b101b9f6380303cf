"""Caps a minute and a day, and what a downtime leaves: shortest first, one a patient a day where they may wait."""

from datetime import date, datetime, time, timedelta
from uuid import UUID

import pytest

from db import sends
from db.follow_up import Reminder
from db.states import AttemptOutcome, EventKind, ReminderState
from scheduler import pace
from scheduler.claimer import Claimer
from scheduler.local_time import to_wall
from scheduler.pace import NO_CAP, Pace
from scheduler.recovery import sweep
from tests.clinic import Desk
from tests.people import AMINA, BEATRIX

pytestmark = pytest.mark.both

DAILY = """\
key = "daily"
version = 1
title = "Every day"

[[step]]
key = "exercise"
kind = "exercise"
template = "plan_week"
anchor = "treatment"
offset = "P1D"
at = "10:00"
expires_after = "P4D"
past = "send"
[step.repeat]
every = "P1D"
count = 6

[[step]]
key = "visit"
kind = "aftercare"
template = "after_visit"
anchor = "treatment"
offset = "P4D"
at = "11:00"
expires_after = "P2D"
past = "send"
"""


def test_no_minute_sees_more_than_its_cap() -> None:
    limited = Pace(3)
    assert limited.allowance(0.0) == 3
    limited.take(2, 0.0)
    limited.take(1, 30.0)
    assert [limited.allowance(at) for at in (30.0, 59.9, 60.0, 89.9, 90.0)] == [0, 0, 2, 2, 3]
    assert Pace(0).allowance(0.0) == NO_CAP


@pytest.fixture
def daily(desk: Desk) -> Desk:
    """A clinic with a plan of one exercise a day and one visit."""
    desk.write_protocol(DAILY, "daily")
    desk.approve_unseen()
    return desk


def leave(desk: Desk) -> list[UUID]:
    """One pass of the sender, by hand: claim, write, mark, record; who got something, in order."""
    worker_id = desk.worker()
    claimer = Claimer(desk.clinic, worker_id)
    left = []
    while (claimed := claimer.claim(100))[0]:
        for ready in claimed[1]:
            number = desk.mark(worker_id, ready.claim, ready.letter)
            desk.end(worker_id, ready.claim, number, AttemptOutcome.ACCEPTED, ready.letter.email_version)
            left.append(ready.claim.reminder_id)
    claimer.close()
    return left


def at(desk: Desk, day: int, hour: str) -> None:
    """Let time pass until that day of November or December in London."""
    wall = datetime.combine(date(2026, 11, 23) + timedelta(days=day), time.fromisoformat(hour))
    desk.clock.set(wall.replace(tzinfo=desk.clock.now().tzinfo))


def test_after_a_downtime_each_patient_gets_one_a_day_while_they_can_wait(daily: Desk) -> None:
    desk = daily
    for person in (AMINA, BEATRIX):
        desk.treat(desk.enter(person, time_zone="Europe/London"), "2026-11-23T09:30", protocol="daily")
    at(desk, 3, "12:00")  # off since the first day: three exercises each are late
    for day in range(3, 12):
        for hour in ("12:00", "18:00"):
            at(desk, day, hour)
            sweep(desk.clinic)
            leave(desk)
    planned = [row for row in desk.rows() if row.state is not ReminderState.CANCELLED]  # merged with another
    assert {row.state for row in planned} == {ReminderState.SENT}  # nothing was lost by waiting
    by_day: dict[tuple[UUID, date], list[Reminder]] = {}
    for row in planned:
        if row.sent_at is not None:
            by_day.setdefault((row.patient_id, to_wall(row.sent_at, row.zone).date()), []).append(row)
    assert max(len(rows) for rows in by_day.values()) <= 2
    for (_, sent_on), rows in by_day.items():  # a second one of a day is a visit, or could not have waited any longer
        waiting = [row for row in rows if row.step == "exercise" and _could_wait(row, sent_on)]
        assert len(waiting) <= (1 if len(waiting) == len(rows) else 0)


def _could_wait(row: Reminder, sent_on: date) -> bool:
    """Whether a late one had another day; one that leaves on its own day is not late."""
    due = datetime.fromisoformat(row.due_local)
    again = datetime.combine(sent_on + timedelta(days=1), due.time(), row.expires_at.tzinfo)
    return due.date() < sent_on and again < row.expires_at


def test_what_would_run_out_first_leaves_first_after_a_downtime(daily: Desk) -> None:
    desk = daily
    patient_id = desk.enter(AMINA, time_zone="Europe/London")
    desk.treat(patient_id, "2026-11-23T09:30", protocol="course")
    other = desk.enter(BEATRIX, time_zone="Europe/London")
    treatment = desk.treat(other, "2026-11-23T09:30").treatment_id
    desk.event(treatment, EventKind.HEALING_CLEARED)  # due on the 24th at 10:00, of use for a week
    worker_id = desk.worker()
    at(desk, 1, "10:00")
    now = desk.clock.now()
    with desk.store.write("service", now) as session:
        assert pace.is_backlog(session, now)
        claims = sends.claim_due(session, worker_id, now, 10, shortest_first=True)
    ends = {row.id: row.expires_at for row in desk.rows()}
    found = [ends[claim.reminder_id] for claim in claims]
    assert found == sorted(found)
    assert len(found) == 3
    assert len(set(found)) == 2


def test_on_time_the_longest_waiting_leaves_first(daily: Desk) -> None:
    desk = daily
    desk.treat(desk.enter(AMINA, time_zone="Europe/London"), "2026-11-23T09:30")
    at(desk, 0, "17:05")
    with desk.store.read() as session:
        assert not pace.is_backlog(session, desk.clock.now())
        assert pace.is_backlog(session, desk.clock.now() + timedelta(minutes=6))


def test_the_daily_cap_counts_what_is_claimed_and_begins_anew_at_midnight(daily: Desk) -> None:
    desk = daily.with_settings(DAILY_CAP="3")
    for person in (AMINA, BEATRIX):
        desk.treat(desk.enter(person, time_zone="Europe/London"), "2026-11-23T09:30")
    at(desk, 0, "17:00")

    def left() -> int:
        with desk.store.read() as session:
            return pace.left_today(session, desk.clinic, desk.clock.now())

    assert left() == 3
    worker = desk.worker()
    claims = desk.claim(worker)
    assert (len(claims), left()) == (2, 1)
    for claim in claims:
        desk.end(worker, claim, desk.mark(worker, claim), AttemptOutcome.ACCEPTED)
    assert left() == 1
    at(desk, 1, "00:00")
    assert left() == 3


def test_a_window_that_was_narrowed_holds_before_all_plans_are_made_anew(daily: Desk) -> None:
    daily.treat(daily.enter(AMINA, time_zone="Europe/London"), "2026-11-23T09:30")
    at(daily, 0, "17:00")
    narrow = daily.with_settings(SEND_WINDOW="09:00-16:00")
    assert leave(narrow) == []
    assert daily.row("after-visit").ready_at > daily.clock.now()
    at(narrow, 1, "09:00")
    assert len(leave(narrow)) == 1
    narrow.nothing_left()


def test_a_treatment_entered_ahead_sends_nothing_before_it_took_place(daily: Desk) -> None:
    desk = daily
    desk.treat(desk.enter(AMINA, time_zone="Europe/London"), "2026-12-01T09:30")
    for day in range(8):
        at(desk, day, "18:00")
        assert leave(desk) == []
    at(desk, 8, "16:59")
    assert leave(desk) == []
    at(desk, 8, "17:00")
    assert leave(desk) == [desk.row("after-visit").id]
