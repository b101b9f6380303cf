"""Sending side by side in one run: our whole chain, the bounds of this machine and other senders, to the same sink.

    python -m bench.sending [--messages 2000] [--turns 3] [--only WORD]

Each turn runs all of them one after the other; a figure is the median over the turns. `make bench` prepares the peers.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.bounds import list_bounds
from bench.contestant import CannotPrepare, Contestant, Kind, LeftOut
from bench.ours import on_postgres, on_sqlite
from bench.peer_programs import list_peers, redis_here
from bench.postgres import PostgresServer
from bench.runs import Run, watch
from bench.sink import Sink

Figure = Callable[[Run], float]


@dataclass(frozen=True, slots=True)
class Line:
    """A contestant and what its turns gave."""

    contestant: Contestant
    runs: list[Run] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def median(self, figure: Figure) -> float:
        """Over all turns."""
        return statistics.median(map(figure, self.runs))


FIGURES: dict[str, tuple[Figure, str]] = {
    "messages/s, whole run": (lambda run: run.per_second, ",.0f"),
    "messages/s, once started": (lambda run: run.started_per_second, ",.0f"),
    "CPU s per 1,000": (lambda run: 1_000 * run.cpu / max(run.arrived, 1), ".2f"),
    "server CPU s per 1,000": (lambda run: 1_000 * run.server_cpu / max(run.arrived, 1), ".2f"),
    "peak MiB": (lambda run: run.peak, ".0f"),
}


def main() -> None:
    """Run all of it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", default="", help="only those whose name has this word, and ours on SQLite")
    wanted = parser.parse_args()
    console = Console(width=160)
    with tempfile.TemporaryDirectory(prefix="aftercare-bench-") as place, PostgresServer() as server, Sink() as sink:
        folder = Path(place)
        with redis_here(folder / "redis") as redis:
            found: list[Contestant | LeftOut] = [
                on_sqlite(folder, wanted.messages, sink.port),
                on_postgres(folder, wanted.messages, sink.port, server),
                *list_bounds(wanted.messages, sink.port),
                *list_peers(wanted.messages, sink.port, server, redis),
            ]
            found = [found[0], *(each for each in found[1:] if wanted.only.lower() in each.name.lower())]
            lines = [Line(each) for each in found if isinstance(each, Contestant)]
            for number in range(wanted.turns):
                for line in lines:
                    console.print(f"turn {number + 1}: {line.contestant.name}", style="dim")
                    take_turn(line, sink, wanted.messages, folder)
        console.print(table(lines, wanted.messages, sink))
        for each in found:
            if isinstance(each, LeftOut):
                console.print(f"{each.name}: left out, {each.why}", style="yellow")
        for line in lines:
            for fault in line.faults:
                console.print(f"{line.contestant.name}: NOT WHOLE, {fault}", style="red", markup=False)
        for sentence in sentences(lines):
            console.print(sentence)


def take_turn(line: Line, sink: Sink, messages: int, folder: Path) -> None:
    """One run of one contestant, in a folder that is empty before and gone afterwards."""
    turn, contestant = folder / "turn", line.contestant
    turn.mkdir()
    try:
        words = contestant.prepare(turn)
        run = watch(words, sink, messages, turn, contestant.ends_itself, contestant.server)
        line.runs.append(run)
        if run.arrived != messages:
            line.faults.append(f"{run.arrived} of {messages} arrived (exit {run.status}): {run.said[-300:]}")
        if fault := contestant.find_fault():
            line.faults.append(fault)
    except CannotPrepare as wrong:
        line.faults.append(str(wrong))
    finally:
        shutil.rmtree(turn)


def table(lines: Sequence[Line], messages: int, sink: Sink) -> Table:
    """All figures, each with its ratio to ours on SQLite, the first line."""
    turns = len(lines[0].runs)
    name = "Postfix smtp-sink" if sink.is_postfix else "the bench's own sink"
    made = Table(title=f"Sending {messages:,} due messages to {name}; median of {turns}, × what ours on SQLite has")
    made.add_column("who")
    for heading in FIGURES:
        made.add_column(heading, justify="right")
    made.add_column("whole run, least to most", justify="right")
    for line in lines:
        rates = sorted(run.per_second for run in line.runs)
        if rates and lines[0].runs:
            cells = [_cell(line, lines[0], figure, form) for figure, form in FIGURES.values()]
            made.add_row(line.contestant.name, *cells, f"{rates[0]:,.0f} to {rates[-1]:,.0f}")
        else:
            made.add_row(line.contestant.name)
    return made


def _cell(line: Line, first: Line, figure: Figure, form: str) -> str:
    found, ours = line.median(figure), first.median(figure)
    return f"{found:{form}}  {found / ours:.2f}×" if ours else f"{found:{form}}"


def sentences(lines: Sequence[Line]) -> list[str]:
    """Ours beside the fastest peer and beside bare aiosmtplib, both ways of counting; only of lines that are whole."""
    whole = [line for line in lines if not line.faults]
    bare = [line for line in whole if "aiosmtplib" in line.contestant.name]
    peers = [line for line in whole if line.contestant.kind is Kind.PEER]
    said = []
    for ours in (line for line in whole if line.contestant.kind is Kind.OURS):
        for heading, (figure, _) in list(FIGURES.items())[:2]:
            for others in filter(None, (peers, bare)):
                other = max(others, key=lambda line, figure=figure: line.median(figure))  # type: ignore[misc]
                ratio = ours.median(figure) / max(other.median(figure), 0.001)
                said.append(f"{ours.contestant.name}, {heading}: {ratio:.2f} × {other.contestant.name}")
    return said


if __name__ == "__main__":
    main()
