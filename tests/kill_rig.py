"""The kill rig: one clinic whose service is killed again and again, and the account of what came of it.

Each kill is a real SIGKILL of the real program, proven by its marker; the database and the mail server's ledger go on
through all of them. Who says how many and prints the table: `tests/test_crash.py` and `tests/long_crash.py`.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from sqlalchemy import func, select

from db.follow_up import DeliveryAttempt, Reminder
from db.states import AttemptOutcome, ReminderState
from scheduler.clock import FastClock
from scheduler.sender import Sender
from scheduler.settings import load_settings
from service import open_clinic
from tests.history import Breach, Circumstances, breaches, read_ledger, read_stories
from tests.process import address, enter, environment, fill, open_folder
from tests.smtp_server import SmtpServer
from tests.starter import Starter

# Where nobody's content is on the wire of that connection …
CERTAIN = ("after_claim", "after_render", "connected", "after_auth", "after_rcpt", "recorded", "in_quit")
# Between the mark and the record.
IN_FLIGHT = ("after_mark", "after_354", "half_content", "dot_written", "reply_read")
# … but where the message before it may still wait for its record: with PIPELINING the next envelope goes with its end.
BEHIND_ANOTHER = ("after_rcpt", "recorded")
AT_RANDOM = "at random"
IN_ORDER = "no kill"
# Reached once in a run, or looked at only while armed.
FIRST_TIME = {"connected", "after_auth", "half_content", "in_quit"}
# Reached once for all that is claimed together, with any number of connections.
EACH_CLAIM = {"after_claim", "after_render"}

READY = '"event": "ready"'
AT_ONCE = 8  # messages that fall due for each kill
UNDER_LOAD = 30  # for a kill at a random time
FIRE_SECONDS = 30  # until a point is reached; a start takes about one, on a busy machine some
RESEND_WAITS = (timedelta(minutes=6), timedelta(minutes=12), timedelta(hours=1))


@dataclass(frozen=True)
class Kill:
    """One kill: where, whether its marker proves it, and which attempts were open then."""

    point: str
    connections: int
    fired: bool
    in_flight: frozenset[int]


@dataclass
class Account:
    """What became of all kills of one rig."""

    kills: list[Kill]
    found: list[Breach]
    unknown: Counter[str] = field(default_factory=Counter)  # attempts whose answer was lost, by point
    repeated: Counter[str] = field(default_factory=Counter)  # second copies by the step's rule, by point
    point_of: dict[str, str] = field(default_factory=dict)  # by address: at which kill it was entered
    address_of: dict[str, str] = field(default_factory=dict)  # by Message-ID

    def faults(self) -> list[str]:
        """Everything that was not as promised, in words."""
        faults = [f"{breach.kind}: {breach.words} ({breach.message_id})" for breach in self.found]
        for kill in self.kills:
            has_others = kill.connections > 1 or kill.point in (*IN_FLIGHT, *BEHIND_ANOTHER, AT_RANDOM)
            most = kill.connections if has_others else 0
            if len(kill.in_flight) > most:
                faults.append(f"{kill.point}: {len(kill.in_flight)} in flight with {kill.connections} connection(s)")
            if kill.point in IN_FLIGHT and not kill.in_flight:
                faults.append(f"{kill.point}: nothing was in flight")
        return faults

    def rows(self) -> list[tuple[str, int, int, int, int, int, int]]:
        """Point, kills, fired, lost, doubled, unknown, sent again by rule: a line for each point, then for all."""
        names = list(dict.fromkeys(kill.point for kill in self.kills))
        rows = [self._row(name, [kill for kill in self.kills if kill.point == name]) for name in names]
        kinds = Counter(breach.kind for breach in self.found)
        unknown, repeated = sum(self.unknown.values()), sum(self.repeated.values())
        fired = sum(kill.fired for kill in self.kills)
        return [*rows, ("all", len(self.kills), fired, kinds["lost"], kinds["doubled"], unknown, repeated)]

    def _row(self, name: str, kills: list[Kill]) -> tuple[str, int, int, int, int, int, int]:
        kinds = Counter(
            breach.kind
            for breach in self.found
            if self.point_of.get(self.address_of.get(breach.message_id, "")) == name
        )
        fired = sum(kill.fired for kill in kills)
        return (name, len(kills), fired, kinds["lost"], kinds["doubled"], self.unknown[name], self.repeated[name])


class KillRig:
    """A clinic in a folder over one database, a mail server that outlives it, and a starter."""

    def __init__(
        self,
        folder: Path,
        url: str,
        server: SmtpServer,
        starter: Starter,
        seed: int,
        clock: FastClock | None = None,
    ) -> None:
        """With a `clock` the clinic and its service live by it; without, by the machine's."""
        assert server.ledger is not None
        self.clock = clock
        if clock is not None:
            server.now = lambda: clock.now().timestamp()
        self.folder, self.server, self.starter = folder, server, starter
        self.ledger: Path = server.ledger
        self.random = Random(seed)  # noqa: S311  (it chooses turns, and has to choose them again)
        self.env = environment(folder, server.port, AFTERCARE_DATABASE_URL=url, AFTERCARE_LOG_LEVEL="warning")
        self.kills: list[Kill] = []
        self.entered = 0
        self.point_of: dict[str, str] = {}
        self._seen_open: set[int] = set()
        fill(self.env, self.now() - timedelta(seconds=60), 0).store.engine.dispose()
        self.clinic = open_clinic(load_settings(self.env), clock)

    def now(self) -> datetime:
        """What the clinic's clock says."""
        return self.clock.now() if self.clock is not None else datetime.now(UTC)

    def close(self) -> None:
        """Let go of the database."""
        self.clinic.store.engine.dispose()

    def enter(self, count: int, point: str) -> None:
        """So many more messages that are due now."""
        self.point_of |= {address(self.entered + number): point for number in range(count)}
        due = self.now() - timedelta(seconds=21)
        enter(self.clinic, [due] * count, first=self.entered)
        self.entered += count

    def kill(self, point: str) -> Kill:
        """One kill at a point; chance chooses turn, number of connections and whether the server takes groups."""
        self.server.pipelining = self.random.random() < 0.75
        connections = 1 if point in FIRST_TIME or self.random.random() < 0.5 else self.random.randint(2, 4)
        self.enter(AT_ONCE, point)
        nth = 1 if point in FIRST_TIME | EACH_CLAIM else self.random.randint(1, AT_ONCE // 2)
        marker = self.folder / "marker"
        marker.unlink(missing_ok=True)
        before = self._lines()
        self.start(connections, AFTERCARE_KILL_POINT=f"{point}@{nth}:{marker}")
        if point == "in_quit":
            self._until(lambda: self._lines() > before)
            self.starter.signal(signal.SIGTERM)
        return self._note(point, connections, marker)

    def kill_at_random(self) -> Kill:
        """One kill at any time under load."""
        connections = self.random.randint(2, 4)
        self.enter(UNDER_LOAD, AT_RANDOM)
        before = self._lines()
        self.start(connections)
        self._until(lambda: self._lines() > before)
        time.sleep(self.random.uniform(0.0, 0.15))
        self.starter.signal(signal.SIGKILL)
        return self._note(AT_RANDOM, connections, None)

    def stop_in_order(self) -> int:
        """A start that ends by SIGTERM as soon as something has left; its exit code."""
        self.enter(AT_ONCE, IN_ORDER)
        before = self._lines()
        self.start(2)
        self._until(lambda: self._lines() > before)
        self.starter.signal(signal.SIGTERM)
        return self.starter.wait(40)

    def account(self, stopped: Mapping[str, datetime] | None = None) -> Account:
        """Let time pass until nothing waits any more, then hold everything against the promise."""
        now = self.now()
        for wait in (timedelta(0), *RESEND_WAITS):
            later = open_folder(self.env, now + wait)
            self.server.now = lambda clock=later.clock: clock.now().timestamp()  # type: ignore[misc]
            asyncio.run(Sender(later).send_once())
            later.store.engine.dispose()
        in_flight = {number: kill.point for kill in self.kills for number in kill.in_flight}
        stories = read_stories(self.clinic.store)
        around = Circumstances(
            now + RESEND_WAITS[-1], in_flight=in_flight.keys(), may_wait=timedelta(0), stopped=stopped
        )
        ledger = read_ledger(self.ledger)
        account = Account(self.kills, breaches(stories, ledger, around), point_of=self.point_of)
        account.address_of = {story.message_id: story.address for story in stories}
        taken = Counter(line.message_id for line in ledger)
        if len(stories) != self.entered:
            account.found.append(Breach("lost", "", f"{self.entered} entered, {len(stories)} in the database"))
        for story in stories:
            for attempt in story.tries:
                point = in_flight.get(attempt.number)
                if attempt.outcome == "unknown" and point is not None:
                    account.unknown[point] += 1
                    account.repeated[point] += taken[story.message_id] > 1
                elif point is not None:
                    words = f"attempt {attempt.number} was open at {point}, and is recorded as {attempt.outcome}"
                    account.found.append(Breach("guessed", story.message_id, words))
        return account

    def start(self, connections: int, at: datetime | None = None, **more: str) -> None:
        """Start the service; `at` is another time than the clinic's clock says."""
        env = {**self.env, **more, "AFTERCARE_SMTP_CONNECTIONS": str(connections)}
        self.starter.start(
            env, self.folder / "service.log", "run", "--no-web", at=at or (None if self.clock is None else self.now())
        )

    def start_and_wait(self, connections: int, at: datetime | None = None) -> None:
        """Start the service and wait until it says `ready`: only then does it hear signals."""
        log = self.folder / "service.log"
        before = log.read_text(encoding="utf-8").count(READY) if log.exists() else 0
        self.start(connections, at, AFTERCARE_LOG_LEVEL="info")
        self._until(lambda: log.exists() and log.read_text(encoding="utf-8").count(READY) > before)

    def _note(self, point: str, connections: int, marker: Path | None) -> Kill:
        try:
            code = self.starter.wait(FIRE_SECONDS)
        except TimeoutError:
            self.starter.signal(signal.SIGKILL)
            self.starter.wait(20)
            code = 0
        proven = marker is None or (marker.exists() and marker.read_text(encoding="ascii") == f"{point}\n")
        kill = self.note_open(point, connections, code == -signal.SIGKILL and proven)
        if not kill.fired:
            said = (self.folder / "service.log").read_text(encoding="utf-8")[-2000:]
            raise AssertionError(f"{point} with {connections} connection(s) did not fire; exit {code}\n{said}")
        return kill

    def note_open(self, point: str, connections: int = 1, fired: bool = True) -> Kill:
        """Note an end of the service, and what was open then and not before."""
        # Beside others a dead worker is noticed after a minute only: what it left open is still there at the next kill.
        still_open = self.open_attempts()
        kill = Kill(point, connections, fired, frozenset(still_open - self._seen_open))
        self._seen_open |= still_open
        self.kills.append(kill)
        return kill

    def open_attempts(self) -> set[int]:
        """Numbers of the attempts whose answer is not written down."""
        with self.clinic.store.read() as session:
            numbers = session.scalars(
                select(DeliveryAttempt.number).where(DeliveryAttempt.outcome == AttemptOutcome.OPEN)
            )
            return set(numbers)

    def count(self, state: ReminderState) -> int:
        """How many messages are in that state."""
        with self.clinic.store.read() as session:
            return session.scalar(select(func.count()).where(Reminder.state == state)) or 0

    def _lines(self) -> int:
        return len(self.server.accepted)

    def _until(self, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + FIRE_SECONDS
        while not holds() and time.monotonic() < until:
            time.sleep(0.005)
