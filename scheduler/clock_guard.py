"""Whether the clock was set: wall time against time since boot, which nobody sets. Pure but for the clock it is given.

A machine that slept moves both alike: that is downtime, not a jump. What closes the gate is `scheduler.gate_watch`.
"""

from datetime import timedelta

from scheduler.clock import Clock

LONGEST_JUMP = timedelta(minutes=5)  # far above what a time service corrects in a stroke on a machine that runs


class ClockGuard:
    """Remembers when it last found both clocks in step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen = (clock.now(), clock.boottime())

    def find_jump(self) -> timedelta | None:
        """By how much the wall clock was set since it was last found in step, if by more than may be; else None."""
        wall, boot = self._seen
        # The wall is read between two readings of the other: a pause in between is no jump.
        before, now, after = self._clock.boottime(), self._clock.now(), self._clock.boottime()
        jump = (now - wall) - timedelta(seconds=before - boot)
        if timedelta(0) < jump:
            jump = max(timedelta(0), jump - timedelta(seconds=after - before))
        return jump if abs(jump) > LONGEST_JUMP else None

    def slept(self) -> timedelta:
        """How long it is since both were found in step, suspended time included."""
        return timedelta(seconds=self._clock.boottime() - self._seen[1])

    def accept(self) -> None:
        """Take both clocks as they are from now on: they are in step, or the gate is closed over it."""
        self._seen = (self._clock.now(), self._clock.boottime())
