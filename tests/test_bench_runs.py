"""The figures of the bench come from what a child really did: what arrived, its CPU, its memory, how it ended."""

import sys
from pathlib import Path

import pytest

from bench.runs import watch
from bench.sink import Sink

# Three messages, the commands of each in one group; an eleventh of a second of CPU; memory of 64 MiB.
SENDER = """
import socket, sys, time
port, ends = int(sys.argv[1]), sys.argv[2] == "ends"
room = b"x" * (64 << 20)
with socket.create_connection(("127.0.0.1", port)) as line:
    answers = line.makefile("rb")
    def ask(group, count):
        line.sendall(group)
        for _ in range(count):
            while answers.readline()[3:4] == b"-":
                pass
    ask(b"", 1)
    ask(b"EHLO x\\r\\n", 1)
    for number in range(3):
        ask(b"MAIL FROM:<a@example.org>\\r\\nRCPT TO:<b@example.org>\\r\\nDATA\\r\\n", 3)
        ask(b"Subject: x\\r\\n\\r\\n..\\r\\n.\\r\\n", 1)
        time.sleep(0.1)
    while time.process_time() < 0.11:
        pass
    ask(b"QUIT\\r\\n", 1)
time.sleep(0.3 if ends else 60)
sys.exit(3)
"""


@pytest.mark.parametrize("own", [True, False])
def test_a_run_tells_what_the_sink_counted_and_what_the_child_used(tmp_path: Path, own: bool) -> None:
    with Sink(own) as sink:
        for _ in range(2):  # the count of a run begins anew
            run = watch([sys.executable, "-c", SENDER, str(sink.port), "ends"], sink, 3, tmp_path)
            assert (run.arrived, run.status) == (3, 3)
    assert 0.11 <= run.cpu <= run.seconds
    assert 64 < run.peak < 120
    assert 0.1 <= run.started_seconds < run.seconds
    assert run.per_second == 3 / run.seconds


def test_a_worker_that_goes_on_is_stopped_and_counted_to_its_last_message(tmp_path: Path) -> None:
    with Sink(own=True) as sink:
        run = watch([sys.executable, "-c", SENDER, str(sink.port), "stays"], sink, 3, tmp_path, ends_itself=False)
    assert run.arrived == 3
    assert run.status < 0
    assert run.seconds < 30
