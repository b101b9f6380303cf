"""Several services share one PostgreSQL: everything is sent once, whichever of them stops, pauses or loses it.

The long form is `make instances`: 5 processes, 10,000 messages, 10 rounds; then 1, 2 and 3 processes for the speed.
"""

import os
import sys
from functools import partial
from pathlib import Path

import pytest

from db.engine import make_engine
from db.states import ReminderState
from tests.instances import (
    LONGEST,
    Field,
    Round,
    cut_connections,
    has_arrived,
    held_unknown,
    look,
    pause,
    play,
    services,
    table,
    waiting,
)
from tests.postgres import PostgresServer
from tests.process import wait_until
from tests.smtp_process import smtp_process

SIZE = os.environ.get("AFTERCARE_INSTANCES")  # processes x messages x rounds
LONG = SIZE is not None
PROCESSES, DUE, ROUNDS = map(int, (SIZE or "3x200x1").split("x"))


@pytest.fixture(scope="module")
def field(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Field:
    """A database with due messages, to copy for each round."""
    return Field(postgres_server, tmp_path_factory.mktemp("field"), DUE)


def test_several_processes_send_each_message_once(field: Field, tmp_path: Path) -> None:
    played: list[tuple[int, Round]] = []
    for number in range(ROUNDS):
        found = play(field, tmp_path / str(number), PROCESSES)
        played.append((PROCESSES, found))
        assert (len(found.arrived), found.doubled, found.lost) == (DUE, 0, 0)
        assert (found.states, found.accepted) == ({ReminderState.SENT: DUE}, DUE)
        assert len(found.shares) == PROCESSES
        assert sum(share > 0 for share in found.shares) > 1  # the work was shared, or this proves nothing
    _tell(played)


def test_a_database_whose_connections_break_loses_and_doubles_nothing(field: Field, tmp_path: Path) -> None:
    with field.copied() as url, smtp_process(tmp_path, "--unsynced") as (port, ledger):
        engine = make_engine(url)
        with services(field.env(url, port), tmp_path, 2) as found:
            for arrived in (DUE // 4, DUE // 2):
                assert wait_until(partial(has_arrived, ledger, arrived), LONGEST)
                cut_connections(engine)
            assert wait_until(lambda: waiting(engine) == 0, LONGEST), "not all was sent"
            assert [process.poll() for process in found] == [None, None]
        left = look(engine, ledger)
        engine.dispose()
    assert (left.lost, left.doubled) == (0, 0)


if LONG:

    def test_a_process_that_stood_still_sends_nothing_that_others_settled(field: Field, tmp_path: Path) -> None:
        """Its open attempts are taken for lost after a minute, and held: the steps of this field say `ask`."""
        with field.copied() as url, smtp_process(tmp_path, "--unsynced", "--delay", "0.2") as (port, ledger):
            engine = make_engine(url)
            with services(field.env(url, port), tmp_path, 2) as (first, second):
                assert wait_until(partial(has_arrived, ledger, 20), LONGEST)
                pause(first, 100)
                pause(second, 100)
                assert wait_until(lambda: waiting(engine) == held_unknown(engine), LONGEST)
            left = look(engine, ledger)
            unknown = held_unknown(engine)
            engine.dispose()
        assert left.doubled == 0
        assert left.lost <= unknown <= 8  # at most what was on the wire of either

    def test_how_fast_one_two_and_three_processes_are(field: Field, tmp_path: Path) -> None:
        played = [(count, play(field, tmp_path / f"{count}-{turn}", count)) for turn in range(3) for count in (1, 2, 3)]
        assert all(found.doubled == 0 for _, found in played)
        _tell(played)


def _tell(played: list[tuple[int, Round]]) -> None:
    if LONG:
        sys.stderr.write(f"\n{table(played)}\n")
