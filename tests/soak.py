"""The soak: one clinic through whatever chance brings: kills, faults of the mail server, stops by staff, time, clocks.

A seed chooses, and chooses the same again. The short form is in `tests/test_soak.py`, the long one in
`tests/long_soak.py`; single kills are in `tests/kill_rig.py`, which this drives.
"""

import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from db.follow_up import Reminder
from db.states import ReminderState, StopReason
from scheduler import gate_keeper, patients
from scheduler.clock import FastClock
from tests.kill_rig import AT_ONCE, CERTAIN, IN_FLIGHT, IN_ORDER, Account, KillRig
from tests.smtp_script import CLOSE, RESET, Act, Step

FAULTS: tuple[tuple[Step, Act | str], ...] = (
    ("greeting", "421 4.3.2 busy"),
    ("greeting", CLOSE),
    ("ehlo", "hello?"),
    ("mail", "450 4.7.1 later"),
    ("mail", RESET),
    ("rcpt", "451 4.7.1 greylisted"),
    ("rcpt", "550 5.1.1 no such user"),
    ("rcpt", "550 5.7.1 policy"),
    ("rcpt", "421 4.3.2 closing"),
    ("data", "451 4.3.0 later"),
    ("data", CLOSE),
    ("content", "451 4.3.0 later"),
    ("content", "554 5.6.0 content"),
    ("content", CLOSE),
    ("content", Act("", then="reset", keeps=True)),
    ("content", Act("what?", keeps=True)),
    ("content", Act("", then="close", after_bytes=200)),
    ("content", Act(delay=0.2)),
)
UNDER_WAY = (ReminderState.SCHEDULED, ReminderState.SENDING, ReminderState.AWAITING_RETRY)
WORK_SECONDS = 1.5  # how long an undisturbed service works in one turn


class Soak:
    """A rig, and what was done to it so far by name."""

    def __init__(self, rig: KillRig) -> None:
        assert rig.clock is not None
        self.rig, self.clock, self.random = rig, rig.clock, rig.random
        self.done: Counter[str] = Counter()
        self.stopped: dict[str, datetime] = {}
        self.faults: list[str] = []

    def turn(self) -> None:
        """Whatever comes next."""
        turns = {
            "kill": 4,
            "kill at random": 2,
            "fault": 6,
            "stop by staff": 2,
            "time passes": 3,
            "clock set back": 1,
        }
        name = self.random.choices(list(turns), list(turns.values()))[0]
        self.done[name] += 1
        match name:
            case "kill":
                self.rig.kill(self.random.choice([*CERTAIN[:-1], *IN_FLIGHT]))
            case "kill at random":
                self.rig.kill_at_random()
            case "fault":
                step, act = self.random.choice(FAULTS)
                self.rig.server.next(step, act, self.random.randint(1, 3))
                self._work()
                self.rig.server.forget_script()
            case "stop by staff":
                self._work(stops=True)
            case "time passes":
                self.clock.advance(timedelta(minutes=self.random.randint(1, 90)))
            case "clock set back":
                self._set_back()

    def settle(self) -> Account:
        """The server does everything right from now on; the account, with what staff had stopped."""
        self.rig.server.forget_script()
        account = self.rig.account(self.stopped)
        account.found = [
            breach for breach in account.found if breach.kind != "unknown"
        ]  # scripted faults make them too
        return account

    def _work(self, stops: bool = False) -> None:
        """One undisturbed run, ended in order; staff may stop somebody meanwhile."""
        self.rig.enter(AT_ONCE, IN_ORDER)
        self.rig.start_and_wait(self.random.randint(1, 4))
        until = time.monotonic() + WORK_SECONDS
        while time.monotonic() < until:
            if stops:
                self._stop_somebody()
            time.sleep(0.1)
        self._end()

    def _stop_somebody(self) -> None:
        with self.rig.clinic.store.read() as session:
            waiting = session.execute(
                select(Reminder.patient_id, Reminder.message_id)
                .where(
                    Reminder.state.in_((ReminderState.SCHEDULED, ReminderState.SENDING, ReminderState.AWAITING_RETRY))
                )
                .limit(20)
            ).all()
        if waiting:
            patient_id, message_id = self.random.choice(waiting)
            patients.stop(self.rig.clinic, "Dana", patient_id, StopReason.OPTED_OUT)
            self.stopped.setdefault(message_id, self.clock.now())

    def _set_back(self) -> None:
        """A start whose clock is a day behind: nothing leaves, and after a release nothing twice."""
        self.rig.enter(1, IN_ORDER)
        before = len(self.rig.server.accepted)
        self.rig.start_and_wait(1, at=self.clock.now() - timedelta(days=1))
        time.sleep(WORK_SECONDS)
        self._end()
        if len(self.rig.server.accepted) != before:
            self.faults.append("something left by a clock that was set back")
        gate_keeper.release(self.rig.clinic, "Dana", put_back=False)

    def _end(self) -> None:
        self.rig.starter.signal(signal.SIGTERM)
        code = self.rig.starter.wait(40)
        if code != 0:
            self.faults.append(f"SIGTERM ended with {code}")


def make_clock() -> FastClock:
    """A clock that starts today and that the soak moves."""
    return FastClock(datetime.now(UTC), speed=1)
