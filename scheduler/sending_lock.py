"""On SQLite one process sends: a lock file held by `run` and `send-due`, released by the kernel however it ends."""

import fcntl
import os
from pathlib import Path

from scheduler.errors import AftercareError


class AlreadySending(AftercareError):
    """Another process holds the lock; the message names it. Exit 1."""


class SendingLock:
    """Held from `take` until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self, name: str) -> None:
        """Take the lock and write our name into it. Raises `AlreadySending` naming the holder."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise AlreadySending(
                f"another process sends already: {holder}. On SQLite one process sends; stop it first"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{name}\n".encode())
        self._file = descriptor

    def release(self) -> None:
        """Let it go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
