"""The only reader of clocks: wall time in UTC, time since boot, and waiting in the clock's own time.

What the time means in a patient's zone is in `scheduler.local_time`.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

# A wait is cut into pieces, so that a wall clock that was put right, or a machine that slept, is noticed.
LONGEST_PIECE_SECONDS = 30.0

# Where the system has no CLOCK_BOOTTIME (macOS) the plain monotonic clock has to do: it may stand still in suspend.
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What the program asks of a clock. It is given to whoever needs one; nobody reads the time elsewhere."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...

    def boottime(self) -> float:
        """Seconds since boot, suspended time included; never set back, so a jump of `now` shows against it."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds of this clock."""
        ...

    async def sleep_until(self, instant: datetime) -> None:
        """Wait until `now` has reached the instant; at once when it has."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)

    def boottime(self) -> float:
        """Seconds since boot, suspended time included."""
        return time.clock_gettime(_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds."""
        await asyncio.sleep(max(seconds, 0.0))

    async def sleep_until(self, instant: datetime) -> None:
        """Wait until the wall clock has reached the instant."""
        left = (instant - self.now()).total_seconds()
        while left > 0:
            await asyncio.sleep(min(left, LONGEST_PIECE_SECONDS))
            left = (instant - self.now()).total_seconds()


class FastClock:
    """A clock that starts where it is told and runs `speed` times as fast; with speed 0 it stands until moved.

    `set` and `advance` move it forward as if that time had passed; `jump` moves the wall time alone, as a wrongly
    set clock does. Waiting and moving belong to one event loop.
    """

    def __init__(self, start: datetime, speed: float) -> None:
        if start.tzinfo is None:
            raise ValueError("the start of a clock is an aware instant")
        if speed < 0:
            raise ValueError("time does not run backwards")
        self.speed = speed
        self._began = time.monotonic()
        self._wall = start.astimezone(UTC)
        self._boot = 0.0
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        """The present instant of this clock."""
        return self._wall + timedelta(seconds=self._run())

    def boottime(self) -> float:
        """Seconds of this clock since it was made."""
        return self._boot + self._run()

    def set(self, instant: datetime) -> None:
        """Go forward to an instant. Raises `ValueError` when it has passed."""
        self.advance(instant - self.now())

    def advance(self, by: timedelta) -> None:
        """Go forward by a time. Raises `ValueError` for a negative one."""
        if by < timedelta(0):
            raise ValueError("this clock only goes forward; `jump` sets the wall time wrong")
        self._boot += by.total_seconds()
        self.jump(by)

    def jump(self, by: timedelta) -> None:
        """Set the wall time wrong by a time, forward or back: time since boot does not move."""
        self._wall += by
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds of this clock."""
        until = self.boottime() + seconds
        while (left := until - self.boottime()) > 0:
            await self._wait(left)

    async def sleep_until(self, instant: datetime) -> None:
        """Wait until this clock has reached the instant."""
        while (left := (instant - self.now()).total_seconds()) > 0:
            await self._wait(left)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds / self.speed if self.speed else None):
                await self._moved.wait()
        except TimeoutError:
            return

    def _run(self) -> float:
        return (time.monotonic() - self._began) * self.speed
