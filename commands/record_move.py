"""`move-record`: from SQLite to PostgreSQL, for a clinic that grows."""

import os
import socket
from typing import Annotated

import typer

from commands.context import AsJson, By, Yes, actor, clinic_of, confirm, print_json, print_line, print_table, progress
from scheduler import record_move
from scheduler.sending_lock import SendingLock


def move_record(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="an empty PostgreSQL database")],
    yes: Yes = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Move the whole record from SQLite to an empty PostgreSQL database, every row checked; stop the service first."""
    clinic = clinic_of(context)
    lock = SendingLock(clinic.settings.lock_file)
    lock.take(f"move-record, process {os.getpid()} on {socket.gethostname()}")
    confirm("Close the gate and move the record? Nothing is sent afterwards until: release, in the new place.", yes)
    with progress("Moving rows") as tell:
        moved = record_move.move_record(clinic, actor(by), to, tell)
    lock.release()
    if as_json:
        print_json([{"table": table.name, "rows": table.rows, "sha256": table.digest} for table in moved])
        return
    print_table(("table", "rows", "sha256"), [(t.name, t.rows, t.digest[:16]) for t in moved if t.rows], "No rows.")
    print_line(f"{sum(table.rows for table in moved)} rows in {len(moved)} tables arrived as they were.")
    print_line("Set DATABASE_URL to the new place, keep the key file, start the service, then: release")
