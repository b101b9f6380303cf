"""Files that wait between their check and their import: in memory only, one a session, for half an hour at most.

They hold patients' data: nothing is ever written to disk, and whoever else asks finds nothing.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final
from uuid import UUID

from fastapi import Request

from db.states import Past
from scheduler.import_sheet import SheetLine
from scheduler.imports import ImportReport

HOLDS: Final = 1_800.0  # seconds
MOST: Final = 4  # files at once, of up to 32 MB each; the oldest gives way


@dataclass(frozen=True, slots=True, repr=False)
class Upload:
    """A file somebody sent, and what was found in it: what it would bring, or all that is wrong with it."""

    session_id: UUID
    name: str  # as the browser called it: shown back to the same person, nowhere else
    digest: str
    content: bytes
    past: Past | None
    report: ImportReport | None
    sheet: Sequence[SheetLine]
    rows: int
    problems: Sequence[str]
    kept_at: float = field(default_factory=lambda: monotonic())

    @property
    def is_over(self) -> bool:
        """Whether it has waited too long."""
        return monotonic() - self.kept_at >= HOLDS


class Uploads:
    """All files that wait. Safe from any thread."""

    def __init__(self) -> None:
        self._waiting: dict[UUID, Upload] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def keep(self, upload: Upload) -> None:
        """Keep a file in the place of an earlier one of the same session."""
        with self._lock:
            self._waiting.pop(upload.session_id, None)
            while len(self._waiting) >= MOST:
                del self._waiting[min(self._waiting.values(), key=lambda each: each.kept_at).session_id]
            self._waiting[upload.session_id] = upload
        self._drop_old()

    def find(self, session_id: UUID) -> Upload | None:
        """The file that waits for a session, or None."""
        self._drop_old()
        return self._waiting.get(session_id)

    def take(self, session_id: UUID, digest: str) -> Upload | None:
        """The file of that digest, which is given out once; None when another, or none, waits for this session."""
        self._drop_old()
        with self._lock:
            upload = self._waiting.get(session_id)
            return self._waiting.pop(session_id) if upload is not None and upload.digest == digest else None

    def drop(self, session_id: UUID) -> None:
        """Forget the file of a session."""
        with self._lock:
            self._waiting.pop(session_id, None)

    def _drop_old(self, timer_came: bool = False) -> None:
        """Forget what has waited too long; a timer comes back for the others, so that none outstays its time."""
        with self._lock:
            for session_id in [each.session_id for each in self._waiting.values() if each.is_over]:
                del self._waiting[session_id]
            if timer_came:
                self._timer = None
            if self._waiting and self._timer is None:
                oldest = min(each.kept_at for each in self._waiting.values())
                self._timer = threading.Timer(max(1.0, oldest + HOLDS - monotonic()), self._drop_old, (True,))
                self._timer.daemon = True
                self._timer.start()


def uploads_of(request: Request) -> Uploads:
    """The files that wait in this app."""
    uploads: Uploads = request.app.state.uploads
    return uploads
