"""Counting tries at the front door: a try is counted before it is looked at, so that no burst of them gets through.

What is waited for is minutes, never for ever: whoever knows a login name must not be able to shut its owner out.
"""

import math
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from scheduler.clock import Clock
from scheduler.errors import Refused


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many tries within any window of so many seconds."""

    tries: int
    seconds: int


PER_PERSON: Final = (Limit(5, 60), Limit(20, 3_600))
PER_ADDRESS: Final = (Limit(30, 60), Limit(300, 3_600))
_LONGEST: Final = 3_600  # seconds after which a try counts nowhere


class TooManyTries(Refused):
    """Too many tries; `seconds` is how long to wait."""

    def __init__(self, seconds: int) -> None:
        minutes = max(1, -(-seconds // 60))
        wait = "a minute" if minutes == 1 else f"{minutes} minutes"
        super().__init__(f"There were too many tries. Wait {wait}, then try again.")
        self.seconds = seconds


class Throttle:
    """Counts tries in memory, safe from any thread; a restart forgets them.

    It goes by the time since boot: a wall clock that is put right neither opens a window nor shuts anyone out.
    """

    def __init__(self, machine: Clock) -> None:
        self._machine = machine
        self._lock = threading.Lock()
        self._tries: OrderedDict[tuple[str, ...], deque[float]] = OrderedDict()  # the last tried comes last

    def check(self, limits: tuple[Limit, ...], *who: str) -> None:
        """Raises `TooManyTries` when another try would be one too many; counts nothing."""
        with self._lock:
            self._refuse(limits, self._tries.get(who, deque()), self._machine.boottime())

    def count(self, limits: tuple[Limit, ...], *who: str) -> None:
        """Count one try. Raises `TooManyTries` when it is one too many; that one is not counted."""
        with self._lock:
            now = self._machine.boottime()
            self._forget_old(now)
            tries = self._tries.get(who) or deque(maxlen=max(limit.tries for limit in limits))
            self._refuse(limits, tries, now)
            tries.append(now)
            self._tries[who] = tries
            self._tries.move_to_end(who)

    @staticmethod
    def _refuse(limits: tuple[Limit, ...], tries: deque[float], now: float) -> None:
        for limit in limits:
            if len(tries) >= limit.tries:
                passed = now - tries[-limit.tries]
                if passed < limit.seconds:
                    raise TooManyTries(math.ceil(limit.seconds - passed))

    def forget(self, *who: str) -> None:
        """The right one got in: what was counted against her is forgotten."""
        with self._lock:
            self._tries.pop(who, None)

    def _forget_old(self, now: float) -> None:
        """Names and addresses can be made up without end: each is kept for an hour after its last try."""
        while self._tries:
            who, tries = next(iter(self._tries.items()))
            if now - tries[-1] < _LONGEST:
                return
            del self._tries[who]
