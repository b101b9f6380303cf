"""Kill points: nothing without a test, a certain death with one; those of the connection, against a real server.

Crashes of the whole service are in the tests of recovery.
"""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from scheduler import kill_points
from tests.smtp_server import SmtpServer

KILLED = """
import asyncio, sys
from pathlib import Path
from scheduler import kill_points
from scheduler.mailer import Connection, RelaySettings

async def main(port, name, marker):
    kill_points.arm(name, Path(marker))
    connection = Connection(RelaySettings("127.0.0.1", port, security="none"))
    await connection.open()
    await connection.envelope("clinic@example.org", "amina@example.org")
    await connection.content(b"Subject: A message\\r\\n\\r\\n" + b"Hello.\\r\\n" * 1000)
    await connection.close()

asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
"""


THIRD = """
import sys
from pathlib import Path
from scheduler import kill_points

kill_points.arm("recorded", Path(sys.argv[1]), nth=3)
for turn in range(1, 6):
    assert kill_points.is_armed("recorded") is (turn == 3)
    kill_points.reach("after_claim")
    kill_points.reach("recorded")
    print(turn, file=Path(sys.argv[2]).open("a"))
"""


async def run(program: str, *arguments: str) -> int:
    """Run that program to its end, whatever that is."""
    folder = Path(__file__).parent.parent
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, *arguments, cwd=folder)
    return await process.wait()


@pytest.mark.parametrize(
    ("name", "last_verb", "accepted", "content_on_the_wire"),
    [
        ("connected", None, 0, False),
        ("after_auth", "EHLO", 0, False),
        ("after_rcpt", "RCPT", 0, False),
        ("after_354", "DATA", 0, False),
        ("half_content", "DATA", 0, True),
        ("dot_written", "DATA", 1, True),
        ("in_quit", "DATA", 1, True),
    ],
)
async def test_a_process_killed_at_a_point_leaves_what_that_point_says(
    tmp_path: Path,
    name: str,
    last_verb: str | None,
    accepted: int,
    content_on_the_wire: bool,
) -> None:
    marker = tmp_path / "marker"
    async with SmtpServer() as server:
        assert await run(KILLED, str(server.port), name, str(marker)) == -signal.SIGKILL
        await server.until(lambda: server.open_connections == 0)
    assert marker.read_text() == f"{name}\n"
    assert server.verbs()[-1:] == ([last_verb] if last_verb else [])
    assert len(server.accepted) == accepted
    assert (b"Hello." in server.received) is content_on_the_wire


def test_a_kill_point_that_is_not_armed_does_nothing(tmp_path: Path) -> None:
    for name in sorted(kill_points.NAMES):
        kill_points.reach(name)  # type: ignore[arg-type]
    assert not kill_points.is_armed("recorded")
    with pytest.raises(ValueError, match="is no kill point"):
        kill_points.arm("lunch", tmp_path / "marker")
    with pytest.raises(ValueError, match="counts from 1"):
        kill_points.arm("recorded", tmp_path / "marker", nth=0)
    assert not kill_points.is_armed("recorded")


async def test_a_kill_point_can_wait_for_its_turn(tmp_path: Path) -> None:
    marker, turns = tmp_path / "marker", tmp_path / "turns"
    assert await run(THIRD, str(marker), str(turns)) == -signal.SIGKILL
    assert marker.read_text() == "recorded\n"
    assert turns.read_text() == "1\n2\n"
