"""A record moved from SQLite to PostgreSQL: every row as it was, nothing half done, nothing sent by itself after it."""

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from db.engine import make_engine
from db.follow_up import Gate, Reminder
from db.states import GateState
from db.table_rows import count_rows, list_tables
from tests.postgres import PostgresServer
from tests.process import environment, fill, ledger_lines, quick_command, running
from tests.smtp_process import smtp_process

COUNT = 6


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A clinic on SQLite with due messages."""
    env = environment(tmp_path)
    fill(env, datetime.now(UTC) - timedelta(seconds=30), COUNT).store.engine.dispose()
    return env


@pytest.fixture
def target(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a database without any table."""
    name = f"moved_{uuid4().hex}"
    yield postgres_server.create(name)
    postgres_server.drop(name)


def _gate(url: str) -> tuple[GateState, str | None]:
    engine = make_engine(url)
    with engine.connect() as connection:
        row = connection.execute(select(Gate.state, Gate.reason)).one()
    engine.dispose()
    return row.state, row.reason


def _rows(url: str) -> int:
    engine = make_engine(url)
    with engine.connect() as connection:
        count = sum(count_rows(connection, table) for table in list_tables(connection))
    engine.dispose()
    return count


def test_a_moved_record_is_the_same_and_sends_only_after_a_release(
    env: dict[str, str], target: str, tmp_path: Path
) -> None:
    moved = quick_command(env, "move-record", "--to", target, "--yes", "--json")
    assert moved.returncode == 0, moved.stderr
    counts = {table["table"]: table["rows"] for table in json.loads(moved.stdout)}
    assert (counts["patients"], counts["reminders"], counts["gate"], counts["audit_head"]) == (COUNT, COUNT, 1, 1)
    assert sum(counts.values()) == _rows(target)
    old = f"sqlite:///{tmp_path}/var/aftercare.db"
    assert _gate(old)[0] is GateState.CLOSED
    assert "was moved to the database moved_" in (_gate(old)[1] or "")
    assert quick_command(env, "move-record", "--to", target, "--yes").returncode == 1  # not empty any more
    with smtp_process(tmp_path) as (port, ledger):
        there = environment(tmp_path, port, AFTERCARE_DATABASE_URL=target)
        assert quick_command(there, "audit", "verify").returncode == 0
        assert quick_command(there, "send-due").returncode == 0
        assert ledger_lines(ledger) == []
        released = quick_command(there, "release", "--yes")
        assert released.returncode == 0, released.stderr
        assert quick_command(there, "send-due").returncode == 0
        assert len({line["message_id"] for line in ledger_lines(ledger)}) == COUNT


def test_a_kill_in_the_middle_leaves_the_old_place_whole_and_the_new_one_empty(
    env: dict[str, str], target: str, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    before = _rows(f"sqlite:///{tmp_path}/var/aftercare.db")
    killed = quick_command(
        {**env, "AFTERCARE_KILL_POINT": f"in_move@9:{marker}"}, "move-record", "--to", target, "--yes"
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert marker.exists()
    assert _rows(target) == 2  # what the schema itself holds
    assert _rows(f"sqlite:///{tmp_path}/var/aftercare.db") == before + 1  # the trail says that the gate was closed
    assert "until that is done, this place is the true one" in (
        _gate(f"sqlite:///{tmp_path}/var/aftercare.db")[1] or ""
    )
    assert quick_command(env, "move-record", "--to", target, "--yes").returncode == 0


@pytest.mark.long
def test_nothing_is_moved_into_a_place_that_is_not_empty_or_beside_a_running_service(
    env: dict[str, str], target: str, postgres_url: str
) -> None:
    engine = make_engine(target)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (id integer)"))
    refused = quick_command(env, "move-record", "--to", target, "--yes")
    assert (refused.returncode, "holds tables of something else" in refused.stderr) == (1, True)
    engine.dispose()
    wrong = quick_command(env, "move-record", "--to", "postgresql://x:secret", "--yes")
    assert (wrong.returncode, "secret" in wrong.stderr) == (2, False)
    with running(env, "--no-web"):
        beside = quick_command(env, "move-record", "--to", postgres_url, "--yes")
    assert (beside.returncode, "another process sends already" in beside.stderr) == (1, True)
    assert _rows(postgres_url) == 2


def test_rows_that_arrive_otherwise_are_noticed_and_nothing_stays(
    env: dict[str, str], postgres_url: str, tmp_path: Path
) -> None:
    engine = make_engine(postgres_url)
    with engine.begin() as connection:  # a database that changes what it is given
        connection.execute(
            text(
                "CREATE FUNCTION lie() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN NEW.fence := NEW.fence + 1; RETURN NEW; END $$"
            )
        )
        connection.execute(text("CREATE TRIGGER lie BEFORE INSERT ON reminders FOR EACH ROW EXECUTE FUNCTION lie()"))
    refused = quick_command(env, "move-record", "--to", postgres_url, "--yes")
    assert (refused.returncode, "reminders did not arrive as it was" in refused.stderr) == (1, True)
    with engine.connect() as connection:
        assert connection.execute(select(Reminder.id)).all() == []
    engine.dispose()
