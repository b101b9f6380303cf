"""`hold` and `release`: the stop button, and opening the gate again with open eyes."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from commands.context import By, Reason, Yes, actor, clinic_of, confirm, print_line
from scheduler import gate_keeper
from scheduler.gate_keeper import LISTED, Waiting
from scheduler.stop_log import StopEntry

PutBack = Annotated[
    bool | None,
    typer.Option(
        "--put-back/--was-off",
        help="this record is an earlier state of one that went on, or it was only off; asked for when nobody can tell",
        show_default=False,
    ),
]


def hold(context: typer.Context, reason: Reason, by: By = None) -> None:
    """Stop all sending at once (the stop button)."""
    gate_keeper.close(clinic_of(context), actor(by), reason)
    print_line("Sending is stopped. Nothing leaves until: release")


def release(context: typer.Context, put_back: PutBack = None, yes: Yes = False, by: By = None) -> None:
    """Open the sending gate again; shows what will leave and what is held instead, and asks."""
    clinic = clinic_of(context)
    waiting = gate_keeper.look(clinic)
    if not waiting.closed:
        fault = gate_keeper.find_fault_here(clinic)
        if fault is None:
            print_line("Sending is open already; nothing changed.")
            return
        print_line(f"Sending is open, but would not go on from here: {fault}")
        confirm("Let this place send?", yes)
        gate_keeper.release(clinic, actor(by))
        print_line("This place may send.")
        return
    for line in _told(waiting):
        print_line(line)
    if waiting.was_put_back is None and put_back is None and sys.stdin.isatty():
        put_back = typer.confirm("May some of it have left already, from a later state of this record?")
    confirm("Open the gate?", yes)
    done = gate_keeper.release(clinic, actor(by), put_back)
    if done.unknown:
        print_line(f"{done.unknown} message(s) are unknown now: a person settles each (reminder resolve).")
    if done.replayed.held:
        print_line(f"The messages of {len(done.replayed.held)} patient(s) are held until: patient resume")
    for patient_id in done.replayed.not_held:
        print_line(f"could not be held, stop it by hand: {patient_id}")
    print_line("Sending is open.")


def _told(waiting: Waiting) -> Iterator[str]:
    yield f"Sending was stopped: {waiting.reason}"
    if waiting.since is not None:
        until = f" to {_time(waiting.until)}" if waiting.until else " on"
        yield f"What was entered from {_time(waiting.since)}{until} is not in this record: enter it again."
    match waiting.was_put_back:
        case True:
            yield f"{waiting.due} message(s) are due and may have left already: they become unknown."
        case False:
            yield f"{waiting.due} message(s) will leave at once."
        case None:
            yield f"{waiting.due} message(s) are due and will leave at once, or become unknown with --put-back."
    for reminder_id, due in waiting.first:
        yield f"  {due.replace('T', ' ')}  {reminder_id}"
    lost = waiting.lost
    if lost is None:
        return
    if lost.of_patients:
        yield f"Stops that are not in this record; the messages of {len(lost.of_patients)} patient(s) will be held:"
        yield from (_entry(entry) for entries in lost.of_patients.values() for entry in entries)
    if lost.strangers:
        yield "Stops of patients who are not in this record at all; enter them again:"
        yield from (_entry(entry) for entry in lost.strangers)
    for problem in lost.journal.problems:
        yield f"The stop journal is damaged: {problem}."
    if waiting.upcoming:
        yield "There is no stop journal. Patients with a message in the next 14 days; look at each before you release:"
        yield from (f"  {due.replace('T', ' ')}  {patient_id}" for patient_id, due in waiting.upcoming)
        if len(waiting.upcoming) == LISTED:
            yield f"  … and more: only the first {LISTED} are listed"


def _entry(entry: StopEntry) -> str:
    return f"  {_time(entry.at)}  {entry.patient_id}  {entry.fact}"


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
