"""Commands that are killed in the middle: the record is as before or as after, and the command then finishes.

Kills of the service are in `tests/test_crash.py`; `make crash` repeats all of them.
"""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from scheduler import kill_points
from tests.command_kills import POINTS, CommandKills
from tests.postgres import PostgresServer
from tests.starter import Starter

# What happens in a file is the same on both; what happens in transactions is tried on each.
ON_SQLITE = ("plan_before_commit", "in_import", "in_migration", "in_backup")
ON_POSTGRESQL = ("plan_after_commit", "in_migration", "in_key_rotation")


def test_a_killed_command_leaves_the_record_as_before_or_as_after_on_sqlite(sqlite_url: str, tmp_path: Path) -> None:
    assert _faults(tmp_path, sqlite_url, lambda: f"sqlite:///{tmp_path}/{uuid4().hex}.db", ON_SQLITE) == []


def test_a_killed_command_leaves_the_record_as_before_or_as_after_on_postgresql(
    postgres_url: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    made: list[str] = []

    def fresh() -> str:
        made.append(f"test_{uuid4().hex}")
        return postgres_server.create(made[-1])

    assert _faults(tmp_path, postgres_url, fresh, ON_POSTGRESQL) == []
    for name in made:
        postgres_server.drop(name)


def test_every_point_of_a_command_has_its_kill() -> None:
    elsewhere = {"in_restore", "in_move", "in_render"}  # test_backup.py, test_record_move.py, test_poison.py
    of_commands = {name for name in kill_points.NAMES if name.startswith(("in_", "plan_"))} - {"in_quit"}
    assert of_commands - elsewhere == {*POINTS} == {*ON_SQLITE, *ON_POSTGRESQL}


def _faults(folder: Path, url: str, fresh_url: Callable[[], str], points: tuple[str, ...]) -> list[str]:
    with Starter() as starter:
        kills = CommandKills(folder, url, fresh_url, starter, seed=1)
        return [fault for point in points for fault in kills.kill(point)]
