"""`keys rotate list export`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from commands.context import AsJson, By, actor, clinic_of, print_json, print_line, print_table, progress, utc
from commands.passphrase import PassphraseFile, read_passphrase
from scheduler import keys

app = typer.Typer(
    help="The keys that open the record: a new one, a recovery key, which there are.", no_args_is_help=True
)


@app.command()
def rotate(context: typer.Context, by: By = None) -> None:
    """Make a new clinic key and wrap every data key with it, while the service runs."""
    clinic = clinic_of(context)
    with progress("wrapping data keys") as tell:
        done = keys.rotate(clinic, actor(by), tell)
    if done.resumed:
        print_line("An earlier rotation had been cut off; it was brought to its end. For a further key: keys rotate")
    print_line(f"Clinic key {done.key_id} wraps everything now; {done.wrapped} data key(s) were wrapped anew.")
    print_line("The recovery key is out of date: keys export. The key file has changed: copy it again.")


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the clinic keys of the key file, the newest first; never the keys themselves."""
    lines = keys.list_keys(clinic_of(context))
    if as_json:
        print_json([asdict(line) for line in lines])
        return
    print_table(
        ("id", "use", "data keys", "recovery key made"),
        [
            (
                line.id,
                "wraps new data keys" if line.newest else "kept for older backups",
                line.data_keys,
                utc(line.exported_at) or "never",
            )
            for line in lines
        ],
        "There are no keys.",
    )


@app.command()
def export(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="a new file")],
    passphrase_file: PassphraseFile = None,
    by: By = None,
) -> None:
    """Make the recovery key: all keys in one file under a passphrase, which opens every backup made until now."""
    clinic = clinic_of(context)
    passphrase = read_passphrase(passphrase_file, twice=True)
    newest = keys.export(clinic, actor(by), Path(file), passphrase)
    print_line(f"{file} opens backups with its passphrase, up to clinic key {newest}.")
    print_line("Keep it on another machine, and its passphrase on paper in another place.")
