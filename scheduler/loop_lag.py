"""How long the event loop was kept waiting: everything that blocks it blocks every connection and every page at once.

It is written beside the heartbeat (`scheduler.sender`) and shown in health and metrics.
"""

import asyncio
from collections import deque
from collections.abc import Callable

LOOK_SECONDS = 0.25
REMEMBERED_SECONDS = 60.0


class LoopLag:
    """Sleeps a little again and again, and remembers by how much it was woken too late."""

    def __init__(self, boottime: Callable[[], float]) -> None:
        self._boottime = boottime
        self._lags: deque[tuple[float, float]] = deque()

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            before = self._boottime()
            await asyncio.sleep(LOOK_SECONDS)
            now = self._boottime()
            self._lags.append((now, now - before - LOOK_SECONDS))
            while self._lags[0][0] < now - REMEMBERED_SECONDS:
                self._lags.popleft()

    @property
    def longest_ms(self) -> int | None:
        """The longest of the last minute, in milliseconds; None before the first look."""
        lags = list(self._lags)
        return max(0, round(max(lag for _, lag in lags) * 1_000)) if lags else None
