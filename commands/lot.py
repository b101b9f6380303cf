"""`lot LOT`: who was treated with a lot, for a recall."""

import sys
from typing import Annotated

import typer

from commands.context import AsJson, By, actor, clinic_of, print_json, print_line, print_table
from scheduler import lots
from scheduler.errors import InvalidInput


def lot(
    context: typer.Context,
    number: Annotated[str, typer.Argument(metavar="LOT", help="the lot number; spaces and signs do not matter")],
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="print a CSV file instead of text")] = False,
    by: By = None,
) -> None:
    """List the patients treated from a lot, with how they may be reached; earlier versions of a record count too."""
    if as_json and as_csv:
        raise InvalidInput("--json or --csv, not both")
    clinic, who = clinic_of(context), actor(by)
    with clinic.store.read() as session:
        report = lots.search(session, clinic, number)
        rows = lots.rows_of(report)
        exported = lots.export(report) if as_csv else b""
    lots.note(clinic, who, report, exported=as_csv)
    if as_json:
        print_json(rows)
    elif as_csv:
        sys.stdout.buffer.write(exported)
        sys.stdout.buffer.flush()
    else:
        heads = ("record_number", "given_name", "family_name", "treated_at", "treatment", "standing", "phone", "call")
        print_table(heads, [[row[head] for head in heads] for row in rows], "Nobody was treated with this lot.")
        if rows:
            print_line(f"{report.patients} patient(s) by the record as it stands, {len(rows)} treatment(s) in all.")
