"""`demo`: a sample clinic with time running fast, in a folder of its own.

The invented clinic is in `scheduler.demo_clinic`, playing it in `scheduler.demo_play`.
"""

import asyncio
import socket
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from commands.context import Door, print_line
from scheduler.clock import FastClock
from scheduler.demo_clinic import (
    ACCOUNTS,
    CAST,
    ENDS_AT,
    LEILAS_CODE,
    PASSWORD,
    PIN,
    STARTS_AT,
    ZONE,
    Stage,
    approve_everything,
    make_accounts,
    settings_in,
)
from scheduler.demo_play import Line, Unsent, count_ahead, list_unsent, play
from scheduler.local_time import to_wall
from scheduler.logs import setup_logs
from scheduler.sender import Sender

DEFAULT_PATIENTS_PORT = 8001  # in the links of a demo that serves nothing: the same on every machine
DEFAULT_SPEED = 60_000.0  # six weeks in a minute


def demo(
    context: typer.Context,
    speed: Annotated[
        float, typer.Option("--speed", min=1.0, metavar="N", help="how many times as fast as real time")
    ] = DEFAULT_SPEED,
    once: Annotated[
        bool, typer.Option("--once", help="play it to the end at once and print who received what")
    ] = False,
) -> None:
    """Play six weeks of a sample clinic: six invented patients, every mail readable, nothing e-mailed to anyone."""
    setup_logs("warning")
    door: Door = context.obj
    folder = Path(tempfile.mkdtemp(prefix="aftercare-demo-"))
    clock = FastClock(STARTS_AT, speed=0)
    port = 0 if once else _free_port()
    print_line(f"Everything of this demo is in {folder}")
    stage = Stage(door.open_with(settings_in(folder, port, DEFAULT_PATIENTS_PORT if once else _free_port()), clock))
    if not once:
        make_accounts(stage.clinic)
    approve_everything(stage.clinic)
    print_line(
        f"A sample clinic in London, {_day(STARTS_AT)} to {_day(ENDS_AT - timedelta(days=1))}. Everybody is invented; "
        "nothing is e-mailed, the mails are written to the folder."
    )
    print_line(
        "@ a mail that left, at the patient's local time; (in brackets) what was done at the clinic, at its time. "
        "The clocks go forward on 29 March."
    )
    if once:
        _print_stories(stage, asyncio.run(_play_once(stage, clock)))
    else:
        asyncio.run(_play_live(stage, clock, door, speed, port))


async def _play_once(stage: Stage, clock: FastClock) -> list[Line]:
    sender = Sender(stage.clinic)
    await sender.open()
    try:
        return [line async for line in play(stage, clock, sender, speed=None)]
    finally:
        await sender.stop()


async def _play_live(stage: Stage, clock: FastClock, door: Door, speed: float, port: int) -> None:
    """Serve the pages until Ctrl-C, and play meanwhile; what has been played stays readable."""
    sender = Sender(stage.clinic)
    await sender.open()
    serving = asyncio.create_task(door.serve(stage.clinic, True, False, False))
    playing = asyncio.create_task(_tell(stage, clock, sender, speed, port))
    try:
        await asyncio.wait((serving, playing), return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            playing.result()
        await serving
    finally:
        for task in (playing, serving):
            task.cancel()
        await asyncio.gather(playing, serving, return_exceptions=True)
        await sender.stop()


async def _tell(stage: Stage, clock: FastClock, sender: Sender, speed: float, port: int) -> None:
    address = f"http://127.0.0.1:{port}/"
    print_line(f"Watch it at {address} while it plays: sign in as {' or '.join(ACCOUNTS)}.")
    print_line(f"Password: {PASSWORD} · PIN: {PIN} · Ctrl-C ends it.")
    print_line(f"Leila reads on her own page: follow the link in a mail of hers. Her code: {LEILAS_CODE}")
    print_line()
    messages = 0
    async for line in play(stage, clock, sender, speed):
        messages += line.is_message
        print_line(f"{_when(line)}  {CAST[line.who].name:<14}  {_what(line)}")
    for who, person in CAST.items():
        print_line()
        print_line(f"{person.name} {person.story}.")
        _print_unsent(list_unsent(stage, who))
    _print_count(stage, messages)
    print_line(f"The pages at {address} stay until Ctrl-C.")


def _print_stories(stage: Stage, lines: list[Line]) -> None:
    for who, person in CAST.items():
        print_line()
        print_line(f"{person.name} {person.story}.")
        for line in lines:
            if line.who == who:
                print_line(f"  {_when(line)}  {_what(line)}")
        _print_unsent(list_unsent(stage, who))
    _print_count(stage, sum(line.is_message for line in lines))


def _print_count(stage: Stage, messages: int) -> None:
    written = len(list(stage.clinic.settings.outbox.glob("*.eml")))
    unsent = sum(each.count for who in CAST for each in list_unsent(stage, who))
    ahead = sum(count_ahead(stage, who) for who in CAST)
    print_line()
    print_line(
        f"{len(CAST)} patients, six weeks: {messages} messages left, {written} mails are in the folder, "
        f"{unsent} did not leave, {ahead} are planned for later."
    )


def _print_unsent(found: list[Unsent]) -> None:
    if found:
        print_line("  What did not leave, and why:")
    for each in found:
        days = _short(each.first) if each.count == 1 else f"{_short(each.first)} to {_short(each.last)}"
        title = each.title if each.count == 1 else f"{each.title}, {each.count} times"
        print_line(f"    {days}: {title}: {each.stands}")


def _what(line: Line) -> str:
    return f"@ {line.words}" if line.is_message else f"({line.words})"


def _when(line: Line) -> str:
    place = "" if line.zone == ZONE else f" {line.zone.rpartition('/')[2]}"
    return f"{line.wall:%a} {line.wall.day:>2} {line.wall:%B %H:%M}{place}".ljust(26)


def _day(instant: datetime) -> str:
    wall = to_wall(instant, ZONE)
    return f"{wall.day} {wall:%B %Y}"


def _short(wall: datetime) -> str:
    return f"{wall.day} {wall:%B}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
