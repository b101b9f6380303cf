"""`import FILE.csv`, `import list` and `import undo BATCH`."""

from pathlib import Path
from typing import Annotated

import typer

from commands.context import (
    AsJson,
    By,
    actor,
    clinic_of,
    print_error,
    print_json,
    print_line,
    print_table,
    progress,
    read_id,
    read_word,
    utc,
)
from db.states import Past
from scheduler import imports
from scheduler.clinic import Clinic
from scheduler.errors import InvalidInput


def import_(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="FILE.csv|list|undo")],
    batch: Annotated[str | None, typer.Argument(metavar="BATCH", help="for undo")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="check everything and write nothing")] = False,
    past: Annotated[str | None, typer.Option(help="what becomes of steps already past: skip, send or ask")] = None,
    hold: Annotated[bool, typer.Option("--hold", help="hold the plans until staff resume them")] = False,
    as_json: AsJson = False,
    by: By = None,
) -> None:
    """Import patients and treatments from a CSV file, all rows or none; list the batches; undo one."""
    clinic = clinic_of(context)
    if what == "list" and batch is None:
        _list(clinic, as_json)
        return
    if what == "undo":
        if batch is None:
            raise InvalidInput("import undo: say which batch; import list shows them")
        _undo(clinic, actor(by), batch, as_json)
        return
    if batch is not None:
        raise InvalidInput(f'"{batch}" is one argument too many; write: import FILE.csv')
    path = Path(what)
    if not path.is_file():
        raise InvalidInput(f"there is no file {what}")
    rule = read_word(past, Past, "past") if past else None
    with progress("importing") as tell:
        report = imports.run_import(clinic, actor(by), path, past=rule, hold=hold, dry_run=dry_run, progress=tell)
    for warning in report.warnings:
        print_error(f"note: {warning}")
    if as_json:
        print_json(
            {
                "batch_id": report.batch_id,
                "patients": report.patients,
                "treatments": report.treatments,
                "skipped": report.skipped,
                "reminders": report.reminders,
                "dry_run": dry_run,
            }
        )
        return
    if report.batch_id is not None:
        print_line(str(report.batch_id))
    would = "would be entered" if dry_run else "entered"
    print_line(
        f"{report.patients} patient(s) and {report.treatments} treatment(s) {would}, {report.skipped} row(s) skipped "
        f"as known, {report.reminders} reminder(s) planned."
    )


def _list(clinic: Clinic, as_json: bool) -> None:
    rows = [
        {
            "batch_id": batch.id,
            "imported_at": utc(batch.imported_at),
            "imported_by": batch.imported_by,
            "patients": batch.patients,
            "treatments": batch.treatments,
            "undone_at": utc(batch.undone_at),
        }
        for batch in imports.list_batches(clinic)
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("batch", "at", "by", "patients", "treatments", "undone"),
        [tuple(row.values()) for row in rows],
        "Nothing was imported.",
    )


def _undo(clinic: Clinic, by: str, batch: str, as_json: bool) -> None:
    report = imports.undo(clinic, by, read_id(batch, "batch"))
    if as_json:
        print_json({"cancelled": report.cancelled, "voided": report.voided, "left": report.left})
        return
    print_line(f"{report.cancelled} reminder(s) cancelled, {report.voided} patient(s) voided.")
    if report.left:
        print_line(f"{len(report.left)} message(s) had left already:")
        for reminder_id in report.left:
            print_line(f"  {reminder_id}")
