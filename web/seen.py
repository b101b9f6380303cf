"""That somebody looked is part of the trail: every page that shows a patient notes it before it is answered."""

from collections.abc import Iterable
from uuid import UUID

from fastapi import Request

from db import audit
from web.doors import me_of
from web.pages import clinic_of


def note_view(
    request: Request,
    action: str,
    subject: str | None = None,
    subject_id: UUID | str | None = None,
    patient_id: UUID | None = None,
    fields: Iterable[str] = (),
) -> None:
    """Record a view: ids and names of what was shown, never values."""
    clinic = clinic_of(request)
    with clinic.store.write(me_of(request).actor, clinic.clock.now()) as session:
        audit.record(session, action, subject, subject_id, patient_id, fields)
