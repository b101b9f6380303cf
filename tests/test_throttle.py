"""The count of tries by itself: by the time since boot, one at a time, forgotten after an hour."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from scheduler.accounts.throttle import PER_ADDRESS, PER_PERSON, Throttle, TooManyTries
from scheduler.clock import FastClock
from tests.staffed import MACHINE_START


def test_the_throttle_goes_by_the_time_since_boot() -> None:
    machine = FastClock(MACHINE_START, speed=0)
    throttle = Throttle(machine)
    for _ in range(5):
        throttle.count(PER_PERSON, "mia")
    for by in (timedelta(days=1), timedelta(days=-2)):
        machine.jump(by)
        with pytest.raises(TooManyTries):
            throttle.count(PER_PERSON, "mia")
    machine.advance(timedelta(seconds=60))
    throttle.count(PER_PERSON, "mia")


class SlowClock(FastClock):
    """A clock that takes its time, and notes how many look at it at once."""

    looking = most = 0

    def boottime(self) -> float:
        self.looking += 1
        self.most = max(self.most, self.looking)
        time.sleep(0.002)
        self.looking -= 1
        return super().boottime()


def test_the_throttle_looks_at_one_try_at_a_time() -> None:
    machine = SlowClock(MACHINE_START, speed=0)
    throttle = Throttle(machine)

    def come(_: int) -> bool:
        try:
            throttle.count(PER_PERSON, "mia")
        except TooManyTries:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(come, range(12))).count(True) == 5
    assert machine.most == 1


def test_the_throttle_forgets_who_has_not_come_for_an_hour() -> None:
    machine = FastClock(MACHINE_START, speed=0)
    throttle = Throttle(machine)
    for number in range(1_000):
        throttle.count(PER_ADDRESS, "address", str(number))
    machine.advance(timedelta(hours=1))
    throttle.count(PER_ADDRESS, "address", "last")
    assert len(vars(throttle)["_tries"]) == 1
