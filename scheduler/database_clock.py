"""Whether this machine's clock agrees with the database's: processes judge by it whether another is still alive.

Jumps of this machine's own clock are another matter: `scheduler.clock` and who watches it.
"""

from datetime import timedelta

from scheduler.clinic import Clinic
from scheduler.clock import SystemClock

# Two processes may differ by twice this and still keep apart "sends no more" (45 s) and "taken for dead" (60 s).
MOST_OFF = timedelta(seconds=5)


def clock_off(clinic: Clinic) -> timedelta:
    """By how much this machine's clock certainly differs from the database's, when by too much; else nothing.

    Nothing on SQLite, where one machine works, and for a clock that is not the machine's.
    """
    if clinic.store.is_sqlite or not isinstance(clinic.clock, SystemClock):
        return timedelta(0)
    before = clinic.clock.now()
    told = clinic.store.database_now()
    after = clinic.clock.now()
    off = max(before - told, told - after, timedelta(0))  # in between: the answer was on its way
    return off if off > MOST_OFF else timedelta(0)
