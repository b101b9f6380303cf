"""A clock that is set while the service runs: backwards never doubles, forwards never blasts, sleep is no jump."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db import gate, reminders
from db.states import GateCause, ReminderState
from scheduler import gate_keeper
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from scheduler.clock_guard import ClockGuard
from scheduler.sender import Sender
from tests.process import environment, fill, open_folder
from tests.smtp_server import SmtpServer

pytestmark = pytest.mark.both

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAY, TEN_YEARS = timedelta(days=1), timedelta(days=3652)
SEVERAL = 3


@pytest.fixture
def standing() -> FastClock:
    """A clock that stands until it is moved."""
    return FastClock(NOW, speed=0)


@pytest.mark.parametrize("jump", [-TEN_YEARS, -DAY, -timedelta(minutes=6), timedelta(minutes=6), DAY, TEN_YEARS])
def test_a_set_clock_is_found_until_it_is_accepted_or_set_right(standing: FastClock, jump: timedelta) -> None:
    guard = ClockGuard(standing)
    standing.advance(timedelta(seconds=20))
    standing.jump(jump)
    assert guard.find_jump() == jump
    standing.jump(-jump)
    assert guard.find_jump() is None
    standing.jump(jump)
    guard.accept()
    assert guard.find_jump() is None


@pytest.mark.parametrize("correction", [timedelta(minutes=-4), timedelta(seconds=1), timedelta(minutes=4)])
def test_what_a_time_service_corrects_is_no_jump(standing: FastClock, correction: timedelta) -> None:
    guard = ClockGuard(standing)
    for _ in range(10):  # one after the other, each looked at
        standing.jump(correction)
        assert guard.find_jump() is None
        guard.accept()


def test_a_machine_that_slept_has_not_jumped(standing: FastClock) -> None:
    guard = ClockGuard(standing)
    standing.advance(8 * DAY)
    assert guard.find_jump() is None
    assert guard.slept() == 8 * DAY


@asynccontextmanager
async def at_work(folder: Path, url: str, server: SmtpServer, first: int) -> AsyncIterator[tuple[Clinic, FastClock]]:
    """A running sender with several mails due `first` seconds from now."""
    env = environment(folder, server.port, AFTERCARE_DATABASE_URL=url)
    fill(env, NOW, SEVERAL, first=first).store.engine.dispose()
    clinic = open_folder(env, NOW)
    clock = clinic.clock
    assert isinstance(clock, FastClock)
    sender = Sender(clinic)
    await sender.start()
    try:
        yield clinic, clock
        assert sender.broken() is None
    finally:
        await sender.stop()
        clinic.store.engine.dispose()


def cause_of(clinic: Clinic) -> GateCause | None:
    """What closed the gate."""
    with clinic.store.read() as session:
        return gate.get_gate(session).cause


def counts(clinic: Clinic) -> dict[ReminderState, int]:
    """How many reminders are in each state that has any."""
    with clinic.store.read() as session:
        return {state: count for state, count in reminders.count_by_state(session).items() if count}


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it is so."""
    for _ in range(400):
        if await asyncio.to_thread(holds):
            return
        await asyncio.sleep(0.05)
    pytest.fail("it does not become so")


@pytest.mark.parametrize(("kind", "jump"), [("sqlite", DAY), ("sqlite", TEN_YEARS), ("postgres", TEN_YEARS)])
async def test_a_clock_set_forward_sends_nothing_and_ends_nothing_before_a_release(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path, jump: timedelta
) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    async with SmtpServer() as server, at_work(tmp_path, url, server, first=3_600) as (clinic, clock):
        clock.jump(jump)  # everything is due, and most of it past its end
        await until(lambda: cause_of(clinic) is GateCause.CLOCK)
        await asyncio.sleep(1.2)  # a tick in which it would leave
        assert server.accepted == []
        assert counts(clinic) == {ReminderState.SCHEDULED: SEVERAL}
        clock.jump(-jump)
        await asyncio.sleep(1.2)
        assert cause_of(clinic) is GateCause.CLOCK  # setting it right is not looking at it
        gate_keeper.release(clinic, "Dana")
        clock.advance(timedelta(hours=1, minutes=1))
        await until(lambda: counts(clinic) == {ReminderState.SENT: SEVERAL})
        assert set(Counter(message.message_id for message in server.accepted).values()) == {1}


async def test_a_clock_set_back_sends_nothing_twice(database_url: str, tmp_path: Path) -> None:
    async with SmtpServer() as server, at_work(tmp_path, database_url, server, first=5) as (clinic, clock):
        clock.advance(timedelta(seconds=10))
        await until(lambda: counts(clinic) == {ReminderState.SENT: SEVERAL})
        clock.jump(-DAY)
        await until(lambda: cause_of(clinic) is GateCause.CLOCK)
        gate_keeper.release(clinic, "Dana")
        clock.advance(2 * DAY)
        await asyncio.sleep(1.2)
        assert len(server.accepted) == SEVERAL
        assert counts(clinic) == {ReminderState.SENT: SEVERAL}
