"""The short form of the soak: a few turns of everything on one database, and the account of it.

`make soak` runs the long form (`tests/long_soak.py`).
"""

from pathlib import Path

import pytest

from tests.kill_rig import KillRig
from tests.smtp_server import SmtpServer, running
from tests.soak import Soak, make_clock
from tests.starter import Starter

TURNS = 4


@pytest.mark.long
def test_a_few_turns_of_everything_keep_the_promise(sqlite_url: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.touch()
    with Starter() as starter, running(SmtpServer(ledger=ledger)) as server:
        rig = KillRig(tmp_path, sqlite_url, server, starter, seed=4, clock=make_clock())
        try:
            soak = Soak(rig)
            for _ in range(TURNS):
                soak.turn()
            assert soak.settle().faults() + soak.faults == []
            assert soak.done.total() == TURNS
            assert len(soak.done) > 1
            assert len(server.accepted) > 0
        finally:
            rig.close()
