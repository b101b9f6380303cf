"""The long form of the crash tests: hundreds of kills over all points on both databases, and the table of what came.

`make crash` runs it; AFTERCARE_KILLS says how many kills (1,000). The short form is `tests/test_crash.py`.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from uuid import uuid4

import pytest

from db.states import ReminderState
from tests import command_kills
from tests.command_kills import CommandKills
from tests.kill_rig import AT_RANDOM, CERTAIN, IN_FLIGHT, IN_ORDER, Account, KillRig
from tests.postgres import PostgresServer
from tests.process import wait_until
from tests.smtp_script import SILENT
from tests.smtp_server import SmtpServer, running
from tests.starter import Starter

KILLS = int(os.environ.get("AFTERCARE_KILLS", "1000"))
SEED = int(os.environ.get("AFTERCARE_SEED", "1"))
POINTS = [*CERTAIN, *IN_FLIGHT, AT_RANDOM, *command_kills.POINTS]
HEAD = ("kills", "fired", "lost", "doubled", "unknown", "sent twice by rule")


@dataclass
class Place:
    """Where one kind of database is tried: folders, and addresses of empty databases one after the other."""

    folder: Path
    fresh_url: Callable[[], str]


@dataclass
class Outcome:
    """What came of all kills on one kind of database."""

    account: Account
    commands: Counter[str]
    faults: list[str]

    def rows(self) -> list[tuple[str, int, int, int, int, int, int]]:
        """One line a point; a command either left what it should or is a fault."""
        *points, total = self.account.rows()
        commands = [(point, count, count, 0, 0, 0, 0) for point, count in self.commands.items()]
        more = self.commands.total()
        return [*points, *commands, (total[0], total[1] + more, total[2] + more, *total[3:])]


@pytest.fixture
def places(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[dict[str, Place]]:
    """A place for each kind of database."""
    made: list[str] = []

    def on_postgresql() -> str:
        made.append(f"crash_{uuid4().hex}")
        return postgres_server.create(made[-1])

    yield {
        "SQLite": Place(tmp_path / "sqlite", lambda: f"sqlite:///{tmp_path / uuid4().hex}.db"),
        "PostgreSQL": Place(tmp_path / "postgresql", on_postgresql),
    }
    for name in made:
        postgres_server.drop(name)


class Half:
    """The kills on one kind of database."""

    def __init__(self, place: Place, stack: ExitStack) -> None:
        for folder in ("service", "commands"):
            (place.folder / folder / "var").mkdir(parents=True)
        ledger = place.folder / "ledger.jsonl"
        ledger.touch()
        starter = stack.enter_context(Starter())
        server = stack.enter_context(running(SmtpServer(ledger=ledger)))
        self.rig = KillRig(place.folder / "service", place.fresh_url(), server, starter, SEED)
        stack.callback(self.rig.close)
        self.commands = CommandKills(place.folder / "commands", place.fresh_url(), place.fresh_url, starter, SEED)

    def run(self, kills: int) -> Outcome:
        """So many kills; may run in a thread beside the other half."""
        faults: list[str] = []
        of_commands: Counter[str] = Counter()
        for turn, point in enumerate(islice(cycle(POINTS), kills)):
            if point in command_kills.POINTS:
                faults += self.commands.kill(point)
                of_commands[point] += 1
            elif point == AT_RANDOM:
                self.rig.kill_at_random()
            else:
                self.rig.kill(point)
            if turn % 50 == 49 and self.rig.stop_in_order() != 0:
                faults.append("SIGTERM did not end with 0")
        account = self.rig.account()
        return Outcome(account, of_commands, faults + account.faults())


def table(kind: str, outcome: Outcome) -> list[str]:
    """The account of one database as rows of a Markdown table."""
    lines = [f"| {kind} | {' | '.join(HEAD)} |", "| --- |" + " ---: |" * len(HEAD)]
    return lines + [f"| {' | '.join(str(cell) for cell in row)} |" for row in outcome.rows()]


def test_a_thousand_kills_lose_nothing_and_double_nothing(
    places: dict[str, Place], capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    with ExitStack() as stack:
        # One after the other: two threads must not migrate at once.
        halves = {kind: Half(place, stack) for kind, place in places.items()}
        with ThreadPoolExecutor(2) as both:
            futures = {kind: both.submit(half.run, KILLS // 2) for kind, half in halves.items()}
            outcomes = {kind: future.result() for kind, future in futures.items()}
    minutes = (time.monotonic() - began) / 60
    with capsys.disabled():
        lines = [line for kind, outcome in outcomes.items() for line in ("", *table(kind, outcome))]
        print("\n".join([*lines, "", f"{2 * (KILLS // 2)} kills in {minutes:.1f} minutes, seed {SEED}"]))  # noqa: T201
    assert {kind: outcome.faults for kind, outcome in outcomes.items()} == {kind: [] for kind in outcomes}


def test_a_stop_waits_half_a_minute_and_no_longer_for_a_silent_mail_server(sqlite_url: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.touch()
    with Starter() as starter, running(SmtpServer(ledger=ledger)) as server:
        rig = KillRig(tmp_path, sqlite_url, server, starter, SEED)
        try:
            server.next("content", SILENT)
            rig.enter(1, IN_ORDER)
            rig.start(1)
            assert wait_until(lambda: "DATA" in server.verbs(), 30)
            began = time.monotonic()
            starter.signal(signal.SIGTERM)
            assert starter.wait(60) == 0
            assert 25 < time.monotonic() - began < 45
            rig.note_open(IN_ORDER)
            account = rig.account()
            assert account.found == []
            assert rig.count(ReminderState.SENT) == 1
        finally:
            rig.close()
