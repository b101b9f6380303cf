"""The long form of the soak: hours of everything on both databases, by a seed, and the account of it.

`make soak` runs it; AFTERCARE_SOAK_MINUTES says how long (120), AFTERCARE_SEED which (1). The short form is
`tests/test_soak.py`.
"""

import os
import time
from pathlib import Path

import pytest

from tests.kill_rig import KillRig
from tests.smtp_server import SmtpServer, running
from tests.soak import Soak, make_clock
from tests.starter import Starter

MINUTES = float(os.environ.get("AFTERCARE_SOAK_MINUTES", "120"))
SEED = int(os.environ.get("AFTERCARE_SEED", "1"))


def test_hours_of_everything_keep_the_promise(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    until = time.monotonic() + MINUTES * 60 / 2
    ledger = tmp_path / "ledger.jsonl"
    ledger.touch()
    with Starter() as starter, running(SmtpServer(ledger=ledger)) as server:
        rig = KillRig(tmp_path, database_url, server, starter, SEED, clock=make_clock())
        try:
            soak = Soak(rig)
            while time.monotonic() < until:
                soak.turn()
            account = soak.settle()
        finally:
            rig.close()
    with capsys.disabled():
        told = ", ".join(f"{count} x {name}" for name, count in sorted(soak.done.items()))
        kind = database_url.partition(":")[0]
        print(f"\n{kind}: {told}; {rig.entered} messages, {len(server.accepted)} taken, seed {SEED}")  # noqa: T201
    assert account.faults() + soak.faults == []
