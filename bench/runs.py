"""One run of a sender as a child process: what arrived, how long it took, and what it cost in CPU and memory.

What is run is in `bench.ours`, `bench.bounds` and `bench.peer_programs`; the table is `bench.sending`.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.sink import Sink

LOOK_SECONDS = 0.02  # how exactly the first and the last message are timed
MEMORY_SECONDS = 0.2
LONGEST = 900.0  # seconds a run may take before it counts as stuck
END_SECONDS = 30.0  # for a worker to end after SIGTERM
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """What one run did. Times in seconds, memory in MiB."""

    arrived: int
    seconds: float  # from its start to its own end; of a worker that is stopped: to the last message
    started_seconds: float  # from the first message seen to the last
    started_count: int  # messages in that time
    cpu: float  # of the process and all its children
    server_cpu: float  # of the database server or broker it worked with
    peak: float
    status: int
    said: str

    @property
    def per_second(self) -> float:
        """Messages a second over the whole run."""
        return self.arrived / self.seconds if self.seconds else 0.0

    @property
    def started_per_second(self) -> float:
        """Messages a second once the first had arrived."""
        return self.started_count / self.started_seconds if self.started_seconds else 0.0


def watch(
    words: Sequence[str], sink: Sink, messages: int, folder: Path, ends_itself: bool = True, server: int | None = None
) -> Run:
    """Run a sender until it ends, or until all messages have arrived when it is a worker that goes on.

    `server` is the process id of the database server or broker, whose CPU is counted beside.
    """
    said = folder / "said.txt"
    before, server_before = sink.count(), tree_cpu(server)
    first: tuple[float, int] | None = None
    last = peak = asked_at = 0.0
    looked = -MEMORY_SECONDS
    arrived = 0
    with said.open("wb") as file:
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 (our own words)
            words, cwd=folder, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
    while True:
        time.sleep(LOOK_SECONDS)
        now = time.perf_counter() - began
        count = sink.count() - before
        if count > arrived:
            arrived, last = count, now
            first = first or (now, count)
        if now - looked > MEMORY_SECONDS:
            looked, peak = now, max(peak, tree_memory(process.pid))
        done, status, usage = os.wait4(process.pid, os.WNOHANG)
        if done:
            break
        if not asked_at and ((not ends_itself and arrived >= messages) or now > LONGEST):
            asked_at = now
            process.send_signal(signal.SIGTERM)
        elif asked_at and now > asked_at + END_SECONDS:
            process.kill()
    process.returncode = os.waitstatus_to_exitcode(status)
    ended = time.perf_counter() - began
    arrived = max(arrived, sink.count() - before)
    first_at, first_count = first or (last, arrived)
    return Run(
        arrived=arrived,
        seconds=ended if ends_itself else last,
        started_seconds=last - first_at,
        started_count=arrived - first_count,
        cpu=usage.ru_utime + usage.ru_stime,
        server_cpu=tree_cpu(server) - server_before,
        peak=peak,
        status=process.returncode,
        said=said.read_text(errors="replace")[-2_000:],
    )


def tree(pid: int) -> list[int]:
    """A process and all that come from it, as far as they live."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(child) for child in children.read_text().split()]
    return found


def tree_memory(pid: int) -> float:
    """MiB of a process and its children: one alone by its highest mark, several by what each has of shared pages.

    `ru_maxrss` would not do: a child begins with what its parent had.
    """
    pids = tree(pid)
    file, field = ("status", "VmHWM:") if len(pids) == 1 else ("smaps_rollup", "Pss:")
    total = 0
    for each in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{each}/{file}").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith(field))
    return total / 1024


def tree_cpu(pid: int | None) -> float:
    """Seconds of CPU that a process, its children and those of them that have ended have used; 0 for none."""
    total = 0
    for each in tree(pid) if pid is not None else ():
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(number) for number in fields[11:15])  # utime, stime, cutime, cstime
    return total / _TICK
