"""Use cases about a batch of an import once it is written: how it stands, releasing its plans, what undoing would do.

Importing, and undoing itself, are in `scheduler.imports`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic, sleep
from typing import Final
from uuid import UUID

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db import audit, care_plans
from db import batches as stored
from db import imports as stored_imports
from db import patients as stored_patients
from db.follow_up import CarePlan, Reminder
from db.records import ImportBatch, Treatment
from db.states import EventKind, Reason, ReminderState
from scheduler.care_plans import replan
from scheduler.clinic import Clinic
from scheduler.errors import NotFound, Refused
from scheduler.local_time import to_wall
from scheduler.logs import log

Progress = Callable[[int, int], None]  # done, of how many
SAMPLES: Final = 5
SAMPLED_PLANS: Final = 40  # plans among whose messages samples are chosen
COUNTED_AT_ONCE: Final = 2_000  # treatments whose messages are counted in a few hundredths of a second
SOON: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Sampled:
    """One message of a batch, with what it is written from."""

    row: Reminder
    plan: CarePlan
    treatment: Treatment


@dataclass(frozen=True, slots=True)
class BatchState:
    """How a batch stands: plans that wait for its release, their messages due soon, all its messages by state, samples.

    Samples are of different texts and patients as far as there are.
    """

    batch: ImportBatch
    waiting: int
    messages: Mapping[tuple[ReminderState, Reason | None], int] | None  # None: not counted
    due_soon: int
    samples: Sequence[Sampled]


@dataclass(frozen=True, slots=True)
class UndoAhead:
    """What undoing a batch would do: messages cancelled, patients voided and kept, and messages that had left."""

    cancelled: int
    voided: int
    kept: int
    left: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class Released:
    """What a release did: plans resumed, and patients whose plans could not be and are still held."""

    plans: int
    failed: int


def look(session: Session, clinic: Clinic, batch_id: UUID, count: bool = False) -> BatchState:
    """How a batch stands. Messages of a large one are counted only when asked for. Raises `NotFound`."""
    batch = get(session, batch_id)
    waiting = stored.count_waiting(session, batch_id)
    counted = count or batch.treatments <= COUNTED_AT_ONCE
    return BatchState(
        batch=batch,
        waiting=waiting,
        messages=stored.count_messages(session, batch_id) if counted else None,
        due_soon=stored.count_held_due(session, batch_id, clinic.clock.now() + SOON) if waiting else 0,
        samples=_choose([Sampled(*found) for found in stored.list_samples(session, batch_id, SAMPLED_PLANS)]),
    )


def look_at_undo(session: Session, batch_id: UUID) -> UndoAhead:
    """What undoing a batch would do as things stand; changes nothing. Raises `NotFound`, or `Refused` when it was."""
    batch = get(session, batch_id)
    if batch.undone_at is not None:
        raise Refused("this import was undone already")
    entered, treated = stored_imports.list_patients_of(session, batch_id)
    untouched = stored_imports.find_untouched(session, batch, entered, lock=False)
    return UndoAhead(
        cancelled=stored.count_unsent(session, batch_id),
        voided=len(untouched),
        kept=len((entered | treated) - untouched),
        left=stored_imports.list_left(session, batch_id),
    )


def get(session: Session, batch_id: UUID) -> ImportBatch:
    """The batch with that id. Raises `NotFound`."""
    batch = stored.find_batch(session, batch_id)
    if batch is None:
        raise NotFound(f"there is no import batch {batch_id}; import list shows them")
    return batch


def release(clinic: Clinic, actor: str, batch_id: UUID, progress: Progress | None = None) -> Released:
    """Resume every plan of a batch that still waits for it, each patient in a transaction of her own.

    What was released before, or held or resumed by hand, is left as it is; so it can be pressed again after a stop of
    the service. Raises `NotFound`, or `Refused` for a batch that was undone.
    """
    with clinic.store.read() as session:
        if get(session, batch_id).undone_at is not None:
            raise Refused("this import was undone: its plans are cancelled")
        waiting = stored.list_waiting_patients(session, batch_id)
    if waiting:
        with clinic.store.write(actor, clinic.clock.now()) as session:
            audit.record(session, "import.released", "import", batch_id)
    plans = failed = 0
    for place, patient_id in enumerate(waiting, start=1):
        began = monotonic()
        try:
            with clinic.store.write(actor, clinic.clock.now()) as session:
                plans += _release(session, clinic, batch_id, patient_id)
        except OperationalError:
            raise
        except Exception as error:  # noqa: BLE001 (one patient: her plans stay held, the others follow)
            log().error("release_failed", patient_id=str(patient_id), error=type(error).__name__)
            failed += 1
        if progress:
            progress(place, len(waiting))
        if clinic.store.is_sqlite:
            # SQLite has one writer and no queue: without a pause staff's pages would wait for seconds.
            sleep(monotonic() - began)
    return Released(plans, failed)


def _release(session: Session, clinic: Clinic, batch_id: UUID, patient_id: UUID) -> int:
    if stored_patients.lock_patient(session, patient_id) is None:
        return 0
    plans = stored.list_waiting_plans(session, batch_id, patient_id)  # as they are now that she is locked
    now, zone = clinic.clock.now(), clinic.settings.clinic_time_zone
    wall = to_wall(now, zone).isoformat(timespec="seconds")
    for plan in plans:
        event = care_plans.add_event(session, plan, EventKind.RESUME, None, now, wall, zone, {})
        audit.record(session, f"event.{EventKind.RESUME.value}", "event", event.id, patient_id)
    if plans:
        replan(session, clinic, patient_id)
    return len(plans)


def _choose(found: Sequence[Sampled]) -> list[Sampled]:
    """A few messages that show the most: other texts first, then other patients, in the order of their times."""
    chosen: list[Sampled] = []
    texts: set[str] = set()
    patients: set[UUID] = set()
    for other_text, other_patient in ((True, True), (True, False), (False, True), (False, False)):
        for one in found:
            text, patient_id = one.row.template, one.row.patient_id
            known = (other_text and text in texts) or (other_patient and patient_id in patients)
            if len(chosen) < SAMPLES and one not in chosen and not known:
                chosen.append(one)
                texts.add(text)
                patients.add(patient_id)
    return sorted(chosen, key=lambda one: (one.row.due_at, one.row.id))
