"""Making a backup while the service runs: written beside, proven by restoring it, and only then given its name.

What is in it is `scheduler.backup_file`; putting one back is `scheduler.restore`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.orm import Session

from db import audit
from db.sealed_file import SealedFileDamaged, SealedFileWriter
from db.table_rows import snapshot
from scheduler import kill_points
from scheduler.backup_file import Manifest, Progress, pack, unpack, workplace
from scheduler.clinic import Clinic
from scheduler.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was proven: where it is, how large, what it holds."""

    path: Path
    size: int
    manifest: Manifest


def make(clinic: Clinic, actor: str, target: Path, stage: Callable[[str], Progress]) -> Made:
    """Back up one instant of the record into the file `target`, or a file named by the instant in the folder `target`.

    `stage` is told the name of each part of the work and gives what to tell its progress to. Raises `InvalidInput`
    for a place that will not do, `VaultError` when the backup cannot be restored; then there is no file.
    """
    now = clinic.clock.now()
    path = _place(target, now)
    partial = path.with_name(f"{path.name}.partial")
    ring = clinic.store.vault.ring
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            writer = SealedFileWriter(file, ring)
            with snapshot(clinic.store.engine) as connection:
                manifest = pack(connection, writer, clinic.settings, now, stage("backing up"))
            writer.finish()
        kill_points.reach("in_backup")
        with workplace(clinic.settings.data_dir, now.timestamp()) as folder:
            proven = unpack(partial, ring, folder, stage("restoring it to try"))
        if proven.manifest != manifest:
            raise SealedFileDamaged("what was written is not what was read: the disk is failing")
        kill_points.reach("in_backup")
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _make_durable(path.parent)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        audit.record(session, "backup.made", "backup", now.astimezone(UTC).isoformat(timespec="seconds"))
    return Made(path, path.stat().st_size, manifest)


def find_last_backup(session: Session) -> datetime | None:
    """When the last proven backup was made here, or None."""
    latest = audit.find_latest(session, "backup.made")
    return latest.at if latest else None


def _place(target: Path, now: datetime) -> Path:
    path = target / f"aftercare-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.backup" if target.is_dir() else target
    if path.exists():
        raise InvalidInput(f"{path} is there already: a backup never replaces another; name a new file, or a folder")
    if not path.parent.is_dir():
        raise InvalidInput(f"there is no folder {path.parent}: make it, or name another place")
    return path


def _make_durable(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
