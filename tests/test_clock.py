"""The clocks: the machine's and the one that runs as told."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.clock import FastClock, SystemClock

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_the_system_clock_tells_aware_utc_and_seconds_since_boot() -> None:
    clock = SystemClock()
    before = clock.boottime()
    assert clock.now().utcoffset() == timedelta(0)
    assert 0 < before <= clock.boottime()


async def test_the_system_clock_waits_until_an_instant_and_never_for_one_that_passed() -> None:
    clock = SystemClock()
    until = clock.now() + timedelta(milliseconds=30)
    await clock.sleep_until(until)
    assert clock.now() >= until
    began = time.monotonic()
    await clock.sleep_until(clock.now() - timedelta(days=1))
    await clock.sleep(-1)
    assert time.monotonic() - began < 0.5


async def test_a_fast_clock_runs_at_its_speed() -> None:
    clock = FastClock(NOON, speed=36_000)
    began = time.monotonic()
    await clock.sleep_until(NOON + timedelta(hours=1))
    assert 0.08 <= time.monotonic() - began < 5
    assert clock.now() >= NOON + timedelta(hours=1)
    assert clock.boottime() >= 3600


async def test_a_standing_clock_wakes_who_waits_when_it_is_moved() -> None:
    clock = FastClock(NOON, speed=0)
    waiting = asyncio.create_task(clock.sleep_until(NOON + timedelta(hours=2)))
    sleeping = asyncio.create_task(clock.sleep(7200))
    await asyncio.sleep(0.01)
    clock.advance(timedelta(hours=1))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    assert not sleeping.done()
    clock.set(NOON + timedelta(hours=2))
    await asyncio.wait_for(asyncio.gather(waiting, sleeping), 5)
    assert clock.now() == NOON + timedelta(hours=2)
    assert clock.boottime() == 7200


def test_a_jump_moves_the_wall_time_alone() -> None:
    clock = FastClock(NOON, speed=0)
    clock.jump(timedelta(hours=-3))
    assert clock.now() == NOON - timedelta(hours=3)
    assert clock.boottime() == 0


def test_a_clock_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="aware"):
        FastClock(NOON.replace(tzinfo=None), speed=1)
    with pytest.raises(ValueError, match="backwards"):
        FastClock(NOON, speed=-1)
    with pytest.raises(ValueError, match="forward"):
        FastClock(NOON, speed=0).set(NOON - timedelta(seconds=1))
