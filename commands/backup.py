"""`backup restore`: a proven copy of the record, and the way back."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from commands.context import By, Door, Yes, actor, clinic_of, confirm, print_line, progress, utc
from commands.passphrase import PassphraseFile, read_passphrase
from db.recovery_key import open_ring
from db.vault import KeyFileError, KeyRing, read_key_file
from scheduler import backup as backups
from scheduler import restore as restoring
from scheduler.backup_file import Manifest, Progress
from scheduler.errors import InvalidInput
from scheduler.settings import Settings


def backup(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="a new file, or a folder: then it is named by the time")],
    by: By = None,
) -> None:
    """Back up the record while the service runs: one instant of it, encrypted, proven by restoring it to try."""
    clinic = clinic_of(context)
    with _stages() as stage:
        made = backups.make(clinic, actor(by), Path(file), stage)
    print_line(str(made.path))
    _tell(made.manifest)
    print_line(f"{made.size} bytes; it was restored to try, and is the same. Keep it on another machine.")


def restore(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="a backup")],
    recovery: Annotated[
        str | None, typer.Option("--recovery", metavar="FILE", help="the recovery key, where the key file is lost")
    ] = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    by: By = None,
) -> None:
    """Put a backup back. Nothing is sent afterwards until: release."""
    door: Door = context.obj
    settings, path, who = door.settings(), Path(file), actor(by)
    if not path.is_file():
        raise InvalidInput(f"there is no file {file}")
    there = restoring.find_occupant(settings)
    if there is not None:
        what = (
            "a database that cannot be read"
            if there.patients is None
            else f"{there.patients} patient(s) and {there.events} event(s) of the trail"
        )
        confirm(f"In place is {what}. Replace it by the backup?", yes)
    ring = _ring(settings, recovery, passphrase_file)
    with _stages() as stage:
        done = restoring.restore(settings, door.clock(), door.open_with, path, ring, who, stage)
    _tell(done.found.manifest)
    for kept in done.kept_aside:
        print_line(f"What was there is kept as {kept}")
    for name in done.files_that_differ:
        print_line(f"note: {name} is not the file that it was at the time of the backup")
    print_line("Restored. The gate is closed: nothing is sent until you have looked and said: release")


def _ring(settings: Settings, recovery: str | None, passphrase_file: str | None) -> KeyRing:
    if recovery is None:
        try:
            return read_key_file(settings.keys_file)
        except KeyFileError as wrong:
            raise KeyFileError(f"{wrong}; where it is lost, name the recovery key: --recovery FILE") from None
    path = Path(recovery)
    if not path.is_file():
        raise InvalidInput(f"--recovery: there is no file {recovery}")
    return open_ring(path.read_text(errors="replace"), read_passphrase(passphrase_file, twice=False))


def _tell(manifest: Manifest) -> None:
    print_line(
        f"{manifest.counts['patients']} patient(s), {manifest.counts['reminders']} reminder(s), "
        f"{manifest.counts['delivery_attempts']} attempt(s), {manifest.events} event(s) of the trail, "
        f"{sum(manifest.counts.values())} rows in all; schema {manifest.schema}; as of {utc(manifest.made_at)}"
    )


@contextmanager
def _stages() -> Iterator[Callable[[str], Progress]]:
    """A bar for each part of the work, one after the other."""
    with ExitStack() as bars:

        def stage(label: str) -> Progress:
            bars.close()
            return bars.enter_context(progress(label))

        yield stage
