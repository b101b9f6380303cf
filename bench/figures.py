"""Our figures beside speed: finding what is due, planning, start to ready, idle CPU, lateness, memory
over a large record.

    python -m bench.figures [--idle 60] [--stored 10000 1000000] [--large]

`--large` adds ten million reminders, and sending 10,000 due over a million; it takes long. Speed is `bench.sending`.
"""

import argparse
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.due_clinic import SETTINGS, count_sent, lateness, make_clinic, settings, spread
from bench.filled_clinic import PROTOCOL, open_empty
from bench.many_reminders import grow, time_claim
from bench.ours import CONNECTIONS, command, ready_to_send
from bench.postgres import PostgresServer
from bench.runs import tree_cpu, tree_memory, watch
from bench.sink import Sink, free_port
from scheduler import patients, treatments
from scheduler.clock import SystemClock
from scheduler.entries import PatientForm
from scheduler.settings import load_settings
from scheduler.treatments import TreatmentForm
from service import open_clinic

STORED = (10_000, 1_000_000)
STORED_LARGE = 10_000_000
BASE = 500  # patients whose reminders are repeated
LARGE_DUE = 10_000
LARGE_STORED = 1_000_000
PLANS = 30
LATE = 1_000
LATE_FROM = 15.0  # seconds until the first of them is due: the service has long been ready
LATE_REST = 30.0  # seconds it is given beyond that minute
STARTS = 3
SETTLED_SECONDS = 5.0  # after the last message was taken, until it is recorded
IDLE_FROM_SECONDS = 75.0  # after `ready`: what a start plans again, and the check of the day after a minute, are over
READY_SECONDS = 60.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds to watch the idle service")
    parser.add_argument("--stored", type=int, nargs="+", default=STORED, help="reminders among which the due are found")
    parser.add_argument("--large", action="store_true")
    wanted = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="aftercare-bench-") as place, PostgresServer() as server:
        folder = Path(place)
        stored = (*wanted.stored, STORED_LARGE) if wanted.large else wanted.stored
        console.print(due_table(folder, server, stored))
        made = Table("what", "figure", title="Our figures")
        for name, url in (("SQLite", None), ("PostgreSQL", server.create("plans"))):
            median, most = planning(folder / f"plans-{name}", url)
            made.add_row(f"planning a treatment, {name}", f"{median:.0f} ms, most {most:.0f}")
        for row in service_rows(folder / "service", wanted.idle):
            made.add_row(*row)
        for name, url in (("SQLite", None), ("PostgreSQL", server.create("late"))):
            made.add_row(f"lateness, {LATE:,} due in a minute, {name}", late_cell(folder / f"late-{name}", url))
        if wanted.large:
            made.add_row(*memory_row(folder / "large"))
        console.print(made)


def due_table(folder: Path, server: PostgresServer, stored: Sequence[int]) -> Table:
    """How long it takes to find and claim 100 due among more and more reminders, and how flat that is."""
    made = Table("stored", "SQLite ms", "× first", "PostgreSQL ms", "× first", title="Finding and claiming 100 due")
    first: list[float] = []
    for count in stored:
        cells, there = [], 0
        for place, url in enumerate((None, server.create(f"due_{count}"))):
            clinic = make_clinic(folder / f"due-{count}-{place}", BASE, url)
            there = grow(clinic, count)
            took = time_claim(clinic)
            clinic.store.engine.dispose()
            if len(first) <= place:
                first.append(took)
            cells += [f"{took:.2f}", f"{took / first[place]:.2f}"]
        server.drop(f"due_{count}")
        made.add_row(f"{there:,}", *cells)
    return made


def planning(folder: Path, url: str | None) -> tuple[float, float]:
    """Milliseconds to enter a treatment and plan it, each for a patient of her own: median and most."""
    clinic = open_empty(folder, url, SETTINGS)
    clinic.store.engine.dispose()
    chosen = {**SETTINGS, "AFTERCARE_DATA_DIR": str(folder)} | ({"AFTERCARE_DATABASE_URL": url} if url else {})
    clinic = open_clinic(load_settings(chosen))
    at = (SystemClock().now() - timedelta(hours=3)).replace(tzinfo=None).isoformat(timespec="minutes")
    took = []
    for number in range(PLANS):
        form = PatientForm(
            given_name="Tara",
            family_name=f"Quill{number}",
            email=f"tara{number}@example.org",
            birth_date="1988-04-02",
            confirmed="yes",
            consent="all",
        )
        entered = patients.add(clinic, "bench", form)
        began = time.perf_counter()
        treatments.add(clinic, "bench", entered.patient_id, TreatmentForm(PROTOCOL, at, clinician="Dr Sample"))
        took.append((time.perf_counter() - began) * 1_000)
    clinic.store.engine.dispose()
    return statistics.median(took), max(took)


def service_rows(folder: Path, idle: float) -> Iterator[tuple[str, str]]:
    """Start to ready of `run`, and what it uses while nothing is due."""
    make_clinic(folder, BASE).store.engine.dispose()
    environ = settings(folder, free_port(), CONNECTIONS)
    environ |= {"AFTERCARE_LISTEN": "127.0.0.1:0", "AFTERCARE_LOG_LEVEL": "info"}
    ready_to_send(environ, 0)
    took = []
    for _ in range(STARTS):
        with running(environ, folder) as (_, seconds):
            took.append(seconds)
    yield f"start to ready, median of {STARTS}", f"{statistics.median(took):.2f} s, most {max(took):.2f}"
    with running(environ, folder) as (pid, _):
        time.sleep(IDLE_FROM_SECONDS)
        before, began = tree_cpu(pid), time.perf_counter()
        time.sleep(idle)
        used = (tree_cpu(pid) - before) / (time.perf_counter() - began)
        yield f"idle CPU over {idle:.0f} s", f"{used:.2%}"
        yield "idle memory, highest", f"{tree_memory(pid):.0f} MiB"


def late_cell(folder: Path, url: str | None) -> str:
    """How late the running service is with so many due one after the other within a minute."""
    clinic = make_clinic(folder, LATE, url)
    clinic.store.engine.dispose()
    with Sink() as sink:
        environ = settings(folder, sink.port, CONNECTIONS, url)
        environ |= {"AFTERCARE_LISTEN": "127.0.0.1:0", "AFTERCARE_LOG_LEVEL": "info"}
        ready_to_send(environ, LATE)
        clinic = open_clinic(load_settings(environ))
        there = spread(clinic, timedelta(seconds=LATE_FROM), timedelta(minutes=1))
        arrived = 0
        with running(environ, folder):
            end = time.perf_counter() + LATE_FROM + 60 + LATE_REST
            while time.perf_counter() < end and arrived < there:
                time.sleep(0.5)
                arrived = sink.count()
            time.sleep(SETTLED_SECONDS)  # until the last of them is recorded
        late = sorted(lateness(clinic))
        clinic.store.engine.dispose()
    if not there == LATE == len(late) == arrived:
        return f"NOT WHOLE: {there} due, {arrived} arrived, {len(late)} recorded"
    cuts = statistics.quantiles(late, n=100)
    return f"median {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s, most {late[-1]:.2f} s"


@contextmanager
def running(environ: dict[str, str], folder: Path) -> Iterator[tuple[int, float]]:
    """The real service, its process id and the seconds it took to say `ready`; stopped by SIGTERM."""
    log = folder / "service.log"
    with log.open("wb") as file:
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 (our own words)
            command(environ, "run"), cwd=folder, stdout=subprocess.DEVNULL, stderr=file
        )
    try:
        while b'"event": "ready"' not in log.read_bytes():
            if process.poll() is not None or time.perf_counter() - began > READY_SECONDS:
                raise RuntimeError(f"the service did not get ready: {log.read_text()[-2_000:]}")
            time.sleep(0.01)
        yield process.pid, time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(READY_SECONDS)


def memory_row(folder: Path) -> tuple[str, str]:
    """The highest memory while 10,000 due are sent over a million stored."""
    clinic_folder = folder / "clinic"
    clinic = make_clinic(clinic_folder, LARGE_DUE)
    stored = grow(clinic, LARGE_STORED)
    clinic.store.engine.dispose()
    with Sink() as sink:
        environ = settings(clinic_folder, sink.port, CONNECTIONS)
        ready_to_send(environ, LARGE_DUE)
        run = watch(command(environ, "send-due"), sink, LARGE_DUE, folder)
    clinic = open_clinic(load_settings(environ))
    sent = count_sent(clinic)
    clinic.store.engine.dispose()
    whole = "" if run.arrived == sent == LARGE_DUE else f" NOT WHOLE: {run.arrived} arrived, {sent} recorded"
    return f"memory, {LARGE_DUE:,} due sent over {stored:,} stored", f"{run.peak:.0f} MiB{whole}"


if __name__ == "__main__":
    main()
