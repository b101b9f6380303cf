"""Whether this process may still send: its last heartbeat is young, and no gap came since a mark was asked for.

Who judges it dead is `scheduler.recovery` of another process; the limits of the two keep 15 seconds apart.
"""

from collections.abc import Callable

FRESH_SECONDS = 45.0  # a worker without a heartbeat for 60 s counts as dead; one this old sends nothing more


class Freshness:
    """The age of the last heartbeat by a clock that counts the time in which this process stood still."""

    def __init__(self, boottime: Callable[[], float], in_step: Callable[[], bool] = lambda: True) -> None:
        self._boottime = boottime
        self._in_step = in_step  # whether the wall clock was not set meanwhile
        self._beaten_at = boottime()
        self._gaps = 0

    def __call__(self) -> bool:
        """Whether the last heartbeat is young enough to send on it, and the clock is the one it was."""
        return self._boottime() - self._beaten_at < FRESH_SECONDS and self._in_step()

    def beaten(self, at: float) -> None:
        """A heartbeat is durable that was begun at that boottime."""
        if at - self._beaten_at >= FRESH_SECONDS:
            self._gaps += 1
        self._beaten_at = at

    def from_now(self) -> Callable[[], bool]:
        """A check that stays false after a gap, though the heart beats again: others may have settled what was ours."""
        gaps = self._gaps
        return lambda: self() and self._gaps == gaps
