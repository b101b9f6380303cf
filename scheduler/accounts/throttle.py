"""Counting tries at the front door: a try is counted before it is looked at, so that no burst of them gets through.

What is waited for is minutes, never for ever: whoever knows a login name must not be able to shut its owner out.
"""

from typing import Final

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from scheduler.clock import Clock
from scheduler.errors import Refused

PER_PERSON: Final = (RateLimitItemPerMinute(5), RateLimitItemPerHour(20))
PER_ADDRESS: Final = (RateLimitItemPerMinute(30), RateLimitItemPerHour(300))


class TooManyTries(Refused):
    """Too many tries; `seconds` is how long to wait."""

    def __init__(self, seconds: int) -> None:
        minutes = max(1, -(-seconds // 60))
        wait = "a minute" if minutes == 1 else f"{minutes} minutes"
        super().__init__(f"There were too many tries. Wait {wait}, then try again.")
        self.seconds = seconds


class Throttle:
    """Counts tries in memory, safe from any thread; a restart forgets them."""

    def __init__(self, machine: Clock) -> None:
        self._machine = machine
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def count(self, limits: tuple[RateLimitItem, ...], *who: str) -> None:
        """Count one try. Raises `TooManyTries` when it is one too many."""
        for limit in limits:
            if not self._limiter.hit(limit, *who):
                opens_at, _ = self._limiter.get_window_stats(limit, *who)
                raise TooManyTries(max(1, int(opens_at - self._machine.now().timestamp()) + 1))

    def forget(self, limits: tuple[RateLimitItem, ...], *who: str) -> None:
        """The right one got in: what was counted against her is forgotten."""
        for limit in limits:
            self._limiter.clear(limit, *who)
