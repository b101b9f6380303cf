"""The long form of the crash tests: hundreds of kills over all points on both databases, and the table of what came.

`make crash` runs it; AFTERCARE_KILLS says how many kills (1,000). The short form is `tests/test_crash.py`.
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import pytest

from tests.kill_rig import AT_RANDOM, CERTAIN, IN_FLIGHT, Account, KillRig
from tests.postgres import PostgresServer
from tests.smtp_server import SmtpServer, running
from tests.starter import Starter

KILLS = int(os.environ.get("AFTERCARE_KILLS", "1000"))
SEED = int(os.environ.get("AFTERCARE_SEED", "1"))
POINTS = [*CERTAIN, *IN_FLIGHT, AT_RANDOM]
HEAD = ("", "kills", "fired", "lost", "doubled", "unknown", "sent twice by rule")


@pytest.fixture
def addresses(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[dict[str, tuple[Path, str]]]:
    """A folder and a database address of each kind."""
    folders = {kind: tmp_path / kind for kind in ("SQLite", "PostgreSQL")}
    for folder in folders.values():
        (folder / "var").mkdir(parents=True)
    yield {
        "SQLite": (folders["SQLite"], f"sqlite:///{folders['SQLite']}/var/aftercare.db"),
        "PostgreSQL": (folders["PostgreSQL"], postgres_server.create("crash")),
    }
    postgres_server.drop("crash")


def run(folder: Path, url: str, kills: int, seed: int) -> Account:
    """So many kills on one database, in a thread of its own."""
    ledger = folder / "ledger.jsonl"
    ledger.touch()
    with Starter() as starter, running(SmtpServer(ledger=ledger)) as server:
        rig = KillRig(folder, url, server, starter, seed)
        try:
            for turn, point in enumerate(islice(cycle(POINTS), kills)):
                if point == AT_RANDOM:
                    rig.kill_at_random()
                else:
                    rig.kill(point)
                if turn % 50 == 49:
                    assert rig.stop_in_order() == 0
            return rig.account()
        finally:
            rig.close()


def table(kind: str, account: Account) -> list[str]:
    """The account of one database as rows of a Markdown table."""
    lines = [f"| {kind} | {' | '.join(HEAD[1:])} |", "| --- |" + " ---: |" * (len(HEAD) - 1)]
    return lines + [f"| {' | '.join(str(cell) for cell in row)} |" for row in account.rows()]


def test_a_thousand_kills_lose_nothing_and_double_nothing(
    addresses: dict[str, tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(2) as both:
        running = {kind: both.submit(run, *place, KILLS // 2, SEED) for kind, place in addresses.items()}
        accounts = {kind: future.result() for kind, future in running.items()}
    minutes = (time.monotonic() - began) / 60
    with capsys.disabled():
        lines = [line for kind, account in accounts.items() for line in ("", *table(kind, account))]
        print("\n".join([*lines, "", f"{2 * (KILLS // 2)} kills in {minutes:.1f} minutes, seed {SEED}"]))  # noqa: T201
    assert {kind: account.faults() for kind, account in accounts.items()} == {kind: [] for kind in accounts}
