"""The permit: a small file beside the keys that says which installation may send, and how far it had come.

It is not in the database, so that a copy or an older state of the database shows. What is done then: `gate_watch`.
"""

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from scheduler.errors import AftercareError
from scheduler.settings import Settings

_WHAT = "Aftercare's permit to send. It belongs to this folder on this machine: do not copy it, do not back it up."


class PermitUnwritable(AftercareError):
    """The permit cannot be written; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Permit:
    """What the file says. `attempt`, `event`, `stop`: the highest numbers seen of attempts, trail and stop journal."""

    installation_id: UUID
    inode: int
    attempt: int
    event: int
    stop: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """The file as it was found. `is_itself`: it is the very file that was written, not a copy of it."""

    permit: Permit | None  # None: there is none, or it is no permit
    exists: bool
    is_itself: bool


def path_of(settings: Settings) -> Path:
    """Where the permit of these settings is."""
    return settings.keys_file.with_name("permit.json")


def read_permit(path: Path) -> Found:
    """Read the file; one that is damaged is no permit. Raises `OSError` when it cannot be looked at."""
    try:
        with path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            told: dict[str, Any] = json.loads(file.read())
    except FileNotFoundError:
        return Found(None, exists=False, is_itself=False)
    except ValueError:
        return Found(None, exists=True, is_itself=False)
    try:
        permit = Permit(
            UUID(told["installation"]),
            int(told["inode"]),
            int(told["attempt"]),
            int(told["event"]),
            int(told["stop"]),
            datetime.fromisoformat(told["at"]),
        )
    except (KeyError, TypeError, ValueError):
        return Found(None, exists=True, is_itself=False)
    return Found(permit, exists=True, is_itself=permit.inode == inode)


def write_permit(path: Path, installation_id: UUID, attempt: int, event: int, stop: int, at: datetime) -> None:
    """Write the file anew, durable, whole or not at all. Raises `PermitUnwritable`."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            told = {
                "what": _WHAT,
                "installation": str(installation_id),
                "inode": os.fstat(descriptor).st_ino,  # renaming keeps it, copying does not
                "attempt": attempt,
                "event": event,
                "stop": stop,
                "at": at.isoformat(),
            }
            json.dump(told, file, indent=2)
            file.flush()
            os.fsync(descriptor)
        aside.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as failed:
        raise PermitUnwritable(
            f"the permit to send cannot be written at {path}: {failed.strerror}. "
            "The folder of the keys has to be writable"
        ) from failed
