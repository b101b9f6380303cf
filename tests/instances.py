"""Several services on one PostgreSQL: a filled database to copy for each round, the processes, and what they sent.

The rounds themselves are in `tests/test_instances.py`.
"""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Engine, func, select, text

from db.advisory import list_present
from db.engine import make_engine
from db.follow_up import DeliveryAttempt, Reminder, Worker
from db.states import AttemptOutcome, Reason, ReminderState
from tests.postgres import PostgresServer
from tests.process import ROOT, environment, fill, wait_until
from tests.smtp_process import smtp_process

READY_SECONDS = 60.0
LONGEST = 900.0  # seconds a round may take before it counts as stuck


@dataclass(frozen=True, slots=True)
class Round:
    """What one round left behind."""

    arrived: Counter[str]  # in the mail server's ledger, by Message-ID
    wanted: frozenset[str]
    states: dict[ReminderState, int]
    accepted: int  # attempts that the database says were accepted
    shares: list[int]  # how many each process sent
    seconds: float  # from the first to the last message in the ledger

    @property
    def doubled(self) -> int:
        """Messages that arrived more than once."""
        return sum(count > 1 for count in self.arrived.values())

    @property
    def lost(self) -> int:
        """Messages that did not arrive."""
        return len(self.wanted - self.arrived.keys())

    @property
    def per_second(self) -> float:
        """Messages a second."""
        return self.arrived.total() / self.seconds if self.seconds else 0.0


class Field:
    """One PostgreSQL with a filled database to copy, and one key file."""

    def __init__(self, server: PostgresServer, folder: Path, due: int) -> None:
        self.server, self.folder = server, folder
        self.template = f"filled_{uuid4().hex}"
        env = self.env(server.create(self.template, "aftercare_template"))
        fill(env, datetime.now(UTC) - timedelta(seconds=30), due, first=0, on_unknown="ask").store.engine.dispose()

    def env(self, url: str, port: int | None = None, **more: str) -> dict[str, str]:
        """The environment that every process shares."""
        return environment(self.folder, port, AFTERCARE_DATABASE_URL=url, **more)

    @contextmanager
    def copied(self) -> Iterator[str]:
        """The address of a fresh copy of the filled database."""
        name = f"round_{uuid4().hex}"
        for left in ("permit.json", "stops.log"):
            (self.folder / "var" / left).unlink(missing_ok=True)
        yield self.server.create(name, self.template)
        self.server.drop(name)


@contextmanager
def services(env: dict[str, str], folder: Path, count: int) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """So many `run` processes, all of them ready; ended by SIGTERM, those that still run."""
    with ExitStack() as stack:
        found: list[subprocess.Popen[bytes]] = []
        logs = [folder / f"service-{number}.log" for number in range(count)]
        for log in logs:
            file = stack.enter_context(log.open("wb"))
            words = [sys.executable, "service.py", "run", "--no-web"]
            found.append(subprocess.Popen(words, cwd=ROOT, env=env, stderr=file, stdout=subprocess.DEVNULL))
        try:
            ready = wait_until(lambda: all('"event": "ready"' in log.read_text() for log in logs), READY_SECONDS)
            if not ready:
                raise RuntimeError("\n".join(log.read_text()[-2_000:] for log in logs))
            yield found
        finally:
            for process in found:
                if process.poll() is None:
                    process.send_signal(signal.SIGCONT)
                    process.send_signal(signal.SIGTERM)
            for process in found:
                process.wait(60)


def play(field: Field, folder: Path, count: int, *options: str) -> Round:
    """One round: the gate is closed until all processes are there, then they send all that is due."""
    folder.mkdir(parents=True, exist_ok=True)
    with field.copied() as url, smtp_process(folder, "--unsynced", *options) as (port, ledger):
        engine = make_engine(url)
        close_gate(engine)
        with services(field.env(url, port), folder, count):
            with engine.connect() as connection:
                assert len(list_present(connection)) == count
            open_gate(engine)
            assert wait_until(lambda: waiting(engine) == 0, LONGEST), "not all was sent"
        found = look(engine, ledger)
        engine.dispose()
    return found


def look(engine: Engine, ledger: Path) -> Round:
    """What the ledger and the database say."""
    lines = [json.loads(line) for line in ledger.read_text().splitlines() if line.endswith("}")]
    walls = [float(line["wall"]) for line in lines]
    with engine.connect() as connection:
        states = dict(connection.execute(select(Reminder.state, func.count()).group_by(Reminder.state)).all())
        accepted = DeliveryAttempt.outcome == AttemptOutcome.ACCEPTED
        by_worker = (
            select(func.count(DeliveryAttempt.number))
            .select_from(Worker)
            .outerjoin(DeliveryAttempt, (DeliveryAttempt.worker_id == Worker.id) & accepted)
            .group_by(Worker.id)
        )
        shares = list(connection.scalars(by_worker))
        wanted = frozenset(connection.scalars(select(Reminder.message_id)))
    return Round(
        arrived=Counter(str(line["message_id"]) for line in lines),
        wanted=wanted,
        states={state: int(number) for state, number in states.items()},
        accepted=sum(shares),
        shares=sorted(shares, reverse=True),
        seconds=max(walls) - min(walls) if walls else 0.0,
    )


def waiting(engine: Engine) -> int:
    """How many reminders have not ended."""
    with engine.connect() as connection:
        unsent = select(func.count()).select_from(Reminder).where(Reminder.state != ReminderState.SENT)
        return connection.scalar(unsent) or 0


def has_arrived(ledger: Path, count: int) -> bool:
    """Whether so many messages are in the mail server's ledger."""
    return ledger.read_text().count("\n") >= count


def held_unknown(engine: Engine) -> int:
    """How many wait for a person because their answer was lost."""
    with engine.connect() as connection:
        unknown = select(func.count()).select_from(Reminder).where(Reminder.reason == Reason.UNKNOWN)
        return connection.scalar(unknown) or 0


def cut_connections(engine: Engine) -> None:
    """End every other connection to this database, as a restart of its server does."""
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def close_gate(engine: Engine) -> None:
    """As the stop button does, without a service."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE gate SET state = 'closed', reason = 'a test'"))


def open_gate(engine: Engine) -> None:
    """Let all processes begin at once."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE gate SET state = 'open', reason = NULL"))


def table(rows: Sequence[tuple[int, Round]]) -> str:
    """The rounds for people."""
    lines = ["round  processes  distinct  doubled  lost  messages/s  shares"]
    for number, (count, found) in enumerate(rows, start=1):
        shares = " ".join(map(str, found.shares))
        lines.append(
            f"{number:>5}  {count:>9}  {len(found.arrived):>8}  {found.doubled:>7}  {found.lost:>4}"
            f"  {found.per_second:>10.0f}  {shares}"
        )
    return "\n".join(lines)


def pause(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Let a process stand still for a while."""
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)
