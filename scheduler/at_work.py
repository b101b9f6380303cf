"""What a process is writing at this moment, in a small file: after its death it names the one message to blame.

What is counted and held then is in `scheduler.recovery`. Messages merely claimed beside it are not in the file.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

_NAME = "at-work-"
_NOTHING = bytes(16)


class AtWork:
    """One worker's file, locked while its process lives. Not flushed: a machine's crash is no message's fault."""

    def __init__(self, folder: Path, worker_id: UUID) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{_NAME}{worker_id}"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    @contextmanager
    def on(self, reminder_id: UUID) -> Iterator[None]:
        """Inside, a death of this process is that message's."""
        os.pwrite(self._file, reminder_id.bytes, 0)
        try:
            yield
        finally:
            os.pwrite(self._file, _NOTHING, 0)

    def close(self) -> None:
        """An orderly end: nobody is to blame."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)


@dataclass(frozen=True, slots=True)
class Death:
    """A process that did not end in order, and what it was writing, if anything."""

    file: Path
    worker_id: UUID
    reminder_id: UUID | None


def list_deaths(folder: Path) -> Iterator[Death]:
    """Files whose process is gone; the caller removes each when it was counted."""
    for path in sorted(folder.glob(f"{_NAME}*")):
        try:
            worker_id = UUID(path.name.removeprefix(_NAME))
            file = os.open(path, os.O_RDONLY)
        except (ValueError, OSError):
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # its process lives
        else:
            told = os.pread(file, 16, 0)
            named = UUID(bytes=told) if len(told) == 16 and told != _NOTHING else None
            yield Death(path, worker_id, named)
        finally:
            os.close(file)
