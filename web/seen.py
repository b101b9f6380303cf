"""That somebody looked is part of the trail: every page that shows a patient notes it before it is answered.

A page and the frames in it are one look: what a page has just noted, its frames do not note again.
"""

import threading
from collections.abc import Iterable
from time import monotonic
from typing import Final
from uuid import UUID

from fastapi import Request

from db import audit
from web.doors import me_of
from web.pages import clinic_of

FRAMES_COME: Final = 60.0  # seconds within which a browser asks for the frames of a page


class Looks:
    """What was just looked at, by session and path of its frames. Kept in memory: lost, a look is noted once more."""

    def __init__(self) -> None:
        self._since: dict[tuple[UUID, str], float] = {}
        self._lock = threading.Lock()

    def begin(self, session_id: UUID, frames: str) -> None:
        """A page was noted whose frames are under this path."""
        now = monotonic()
        with self._lock:
            self._since = {each: since for each, since in self._since.items() if now - since < FRAMES_COME}
            self._since[session_id, frames] = now

    def goes_on(self, session_id: UUID, frames: str) -> bool:
        """Whether that page was noted a moment ago."""
        since = self._since.get((session_id, frames))
        return since is not None and monotonic() - since < FRAMES_COME


def note_view(
    request: Request,
    action: str,
    subject: str | None = None,
    subject_id: UUID | str | None = None,
    patient_id: UUID | None = None,
    fields: Iterable[str] = (),
    frames: str | None = None,
) -> None:
    """Record a view: ids and names of what was shown, never values. `frames`: the path of what the page frames."""
    clinic, me = clinic_of(request), me_of(request)
    with clinic.store.write(me.actor, clinic.clock.now()) as session:
        audit.record(session, action, subject, subject_id, patient_id, fields)
    if frames is not None:
        _looks_of(request).begin(me.session_id, frames)


def is_noted(request: Request, frames: str) -> bool:
    """Whether the page that frames this path was noted a moment ago, for this very session."""
    return _looks_of(request).goes_on(me_of(request).session_id, frames)


def _looks_of(request: Request) -> Looks:
    looks: Looks = request.app.state.looks
    return looks
