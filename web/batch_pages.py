"""One batch of an import: how it stands, a few of its mails as they would read, releasing its plans, undoing it.

Sending the file is in `web.import_pages`, the rules in `scheduler.import_batches` and `scheduler.imports`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from db import audit
from db.imports import list_left
from db.states import Audience, Reason, ReminderState
from db.worklist import open_patients
from scheduler import import_batches, imports, previews
from scheduler.accounts.rights import Right
from scheduler.clinic import Clinic
from scheduler.errors import AftercareError
from scheduler.import_batches import Sampled
from scheduler.plan_words import stands_in_words
from scheduler.subjects import title_of_row
from web.doors import me_of
from web.forms import EmptyForm
from web.long_work import Progress, Told, start
from web.pages import clinic_of, go_to, page
from web.people import Person, person
from web.preview_parts import Preview, preview_of_rendered
from web.times import Say

SHOWN_LEFT: Final = 50


@dataclass(frozen=True, slots=True, repr=False)
class Sample:
    """One mail of a batch as it would read, or why it cannot be written yet."""

    reminder_id: UUID
    who: Person
    title: str
    when: str
    preview: Preview | None
    problem: str


def batch_page(request: Request, batch_id: UUID) -> Response:
    """How a batch stands, with sample mails beside its counts."""
    clinic = clinic_of(request)
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        state = import_batches.look(session, clinic, batch_id, request.query_params.get("count") == "yes")
        reads_record = me_of(request).may(Right.RECORD)
        samples = [] if state.batch.undone_at else _samples(session, clinic, state.samples, say, reads_record)
        left = list_left(session, batch_id) if state.batch.undone_at else []
    _note(request, batch_id, state.samples if samples else ())
    return page(
        request,
        "import/batch.html",
        batch=state.batch,
        waiting=state.waiting,
        due_soon=state.due_soon,
        counts=None if state.messages is None else _counts(state.messages, bool(state.waiting)),
        samples=samples,
        reads_record=reads_record,
        left=left[:SHOWN_LEFT],
        left_count=len(left),
    )


def release(request: Request, batch_id: UUID) -> Response:
    """Release every plan of a batch that still waits for it."""
    EmptyForm.read(request)
    clinic, me = clinic_of(request), me_of(request)
    back = f"/import/{batch_id}"

    def run(progress: Progress) -> str | Told:
        done = import_batches.release(clinic, me.actor, batch_id, progress)
        if done.failed:
            words = "patient" if done.failed == 1 else "patients"
            lines = [
                f"{done.plans} plans are released. Those of {done.failed} {words} could not be and are still held.",
                "Try again; when it does not help, the service’s log says more.",
            ]
            return Told("Not all plans are released", lines, back, good=False)
        return f"{back}?done=import-released"

    return start(request, "Releasing the plans", run, back)


def undo_page(request: Request, batch_id: UUID) -> Response:
    """What undoing a batch would do, in numbers."""
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        batch = import_batches.get(session, batch_id)
        if batch.undone_at is not None:
            return go_to(f"/import/{batch_id}")
        ahead = import_batches.look_at_undo(session, batch_id)
    return page(request, "import/undo.html", batch=batch, ahead=ahead)


def undo(request: Request, batch_id: UUID) -> Response:
    """Take a batch back."""
    EmptyForm.read(request)
    clinic, me = clinic_of(request), me_of(request)
    back = f"/import/{batch_id}"

    def run(progress: Progress) -> str:
        imports.undo(clinic, me.actor, batch_id)
        return f"{back}?done=import-undone"

    return start(request, "Undoing the import", run, back)


def _samples(session: Session, clinic: Clinic, found: Sequence[Sampled], say: Say, reads_record: bool) -> list[Sample]:
    people = open_patients(session, [one.row.patient_id for one in found])
    samples = [
        _sample(session, clinic, one, person(people[one.row.patient_id], say.today), say)
        for one in found
        if one.row.patient_id in people
    ]
    if reads_record:
        return samples
    return [replace(sample, preview=sample.preview and sample.preview.outside()) for sample in samples]


def _sample(session: Session, clinic: Clinic, one: Sampled, who: Person, say: Say) -> Sample:
    row = one.row
    title = title_of_row(clinic.library.shelf(session), one.plan, row, clinic.settings.clinic_language)
    preview, problem = None, ""
    try:
        preview = preview_of_rendered(previews.preview_row(session, clinic, row).rendered, clinic.settings.sender_name)
    except AftercareError as wrong:
        problem = str(wrong)
    return Sample(row.id, who, title, say.wall(row.due_local), preview, problem)


def _counts(messages: Mapping[tuple[ReminderState, Reason | None], int], waiting: bool) -> list[tuple[int, str]]:
    """The messages of a batch by how they stand, the most first."""
    found = []
    for (stands, reason), count in messages.items():
        words, colon, why = stands_in_words(stands, reason, Audience.PATIENT).partition(": ")
        words += colon + why[:1].lower() + why[1:]
        if (stands, reason) == (ReminderState.HELD, Reason.HOLD):
            words = "held until the plans are released" if waiting else words
        found.append((count, words))
    return sorted(found, reverse=True)


def _note(request: Request, batch_id: UUID, shown: Sequence[Sampled]) -> None:
    """Who looked at the batch, and whose mails were shown, in one transaction."""
    clinic = clinic_of(request)
    with clinic.store.write(me_of(request).actor, clinic.clock.now()) as session:
        audit.record(session, "import.viewed", "import", batch_id)
        for one in shown:
            audit.record(session, "message.previewed", "reminder", one.row.id, one.row.patient_id)
