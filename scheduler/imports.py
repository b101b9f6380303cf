"""Use cases of `import`: check a file, write it as one batch, list the batches, undo one.

Checking, planning and sealing happen outside any transaction; the write is one short one that first looks whether
what the check rests on still holds. How a file is read is in `scheduler.import_file`, what a row means in
`scheduler.import_rows` and `scheduler.import_people`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import audit, bulk
from db import imports as stored
from db import library as stored_library
from db import treatments as stored_treatments
from db.records import ImportBatch
from db.sealed import learn_keys
from db.states import Past, ReminderState, TreatmentStatus
from db.types import new_id
from scheduler import approvals
from scheduler.care_plans import load, replan
from scheduler.clinic import Clinic
from scheduler.errors import NotFound, Refused
from scheduler.import_file import ImportFile, read_file, told
from scheduler.import_people import candidates, find_people, keys_of
from scheduler.import_plan import Choices, Draft, add_rows, count_waiting, draft
from scheduler.import_rows import CheckedRow, RowChecker
from scheduler.kill_points import reach
from scheduler.patients import get
from scheduler.planning.patient_plan import plan_patient

T = TypeVar("T")
Progress = Callable[[int, int], None]
TELL_EVERY = 100  # rows between two words about progress
SEALED_AT_ONCE = 500  # patients whose data keys are brought to hand together
CHANGED = "the record changed while the file was checked; nothing was imported, run it again"


@dataclass(frozen=True, slots=True)
class CheckedImport:
    """A file that may be written, and what that rests on: the library's stamp, what the record answered."""

    digest: str
    rows: Sequence[CheckedRow]
    drafts: Sequence[Draft]
    skipped: int
    warnings: Sequence[str]
    now: datetime
    choices: Choices
    stamp: stored_library.LibraryStamp
    hits: stored.Hits

    @property
    def patients(self) -> int:
        """How many new patients it brings."""
        return sum(drafted.person.known is None for drafted in self.drafts)

    @property
    def treatments(self) -> int:
        """How many new treatments it brings."""
        return sum(len(drafted.plans) for drafted in self.drafts)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, or would do. Without `batch_id` nothing was written: a dry run, or all was known.

    `skipped` counts rows that say nothing new, `reminders` the rows that wait to be sent, held ones included.
    """

    batch_id: UUID | None
    patients: int
    treatments: int
    skipped: int
    reminders: int
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class UndoReport:
    """What undoing a batch did: reminders cancelled, patients voided and kept, and ids of reminders that had left."""

    cancelled: int
    voided: int
    kept: int
    left: Sequence[UUID]


def run_import(
    clinic: Clinic,
    actor: str,
    file: Path | ImportFile,
    past: Past | None = None,
    hold: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    shown: ImportReport | None = None,
) -> ImportReport:
    """Import a file, all rows or none.

    `shown` is what a dry run told before: what would come out otherwise now is not written. Raises `InvalidInput` with
    every problem, `Refused` when the record changed meanwhile. A file that brings nothing new changes nothing. A dry
    run does all but the write.
    """
    if dry_run:
        return look_at(clinic, actor, file, past, hold, progress)[1]
    read = file if isinstance(file, ImportFile) else read_file(file)
    done = _Steps(progress, len(read.rows), parts=4)
    checked = _check(clinic, actor, read, Choices(past, hold), done)
    if shown is not None and not _is_as_shown(checked, shown):
        raise Refused(CHANGED)
    batch_id = None
    reminders = sum(drafted.reminders for drafted in checked.drafts)
    if checked.drafts:
        batch_id = new_id()
        prepared = _prepare(clinic, bulk.Origin(actor, checked.now, batch_id), checked, done)
        reminders += _write(clinic, checked, prepared)
        clinic.store.renew_statistics()
    done.all()
    return ImportReport(batch_id, checked.patients, checked.treatments, checked.skipped, reminders, checked.warnings)


def look_at(
    clinic: Clinic,
    actor: str,
    file: Path | ImportFile,
    past: Past | None = None,
    hold: bool = False,
    progress: Progress | None = None,
) -> tuple[CheckedImport, ImportReport]:
    """A dry run: the file as it would be entered, and what that would bring. Raises `InvalidInput`."""
    read = file if isinstance(file, ImportFile) else read_file(file)
    done = _Steps(progress, len(read.rows), parts=2)
    checked = _check(clinic, actor, read, Choices(past, hold), done)
    reminders = sum(drafted.reminders for drafted in checked.drafts)
    reminders += sum(_waiting_for_known(clinic, drafted, checked.now) for drafted in checked.drafts)
    done.all()
    return checked, ImportReport(
        None, checked.patients, checked.treatments, checked.skipped, reminders, checked.warnings
    )


def _check(clinic: Clinic, actor: str, file: ImportFile, choices: Choices, done: "_Steps") -> CheckedImport:
    """Check a whole file against the record and plan what is new, without writing any of it.

    Protocol and text files are read into the record first, as at every start. Raises `InvalidInput`.
    """
    now = clinic.clock.now()
    reading = approvals.read_files(clinic, actor)
    with clinic.store.read() as session:
        stamp = stored_library.find_stamp(session)  # before the shelf: a change in between shows at the write
        shelf = clinic.library.shelf(session)
    checker = RowChecker(clinic, shelf, reading)
    rows = [row for row in map(checker.check, done.each(file.rows)) if row is not None]
    vault = clinic.store.vault
    with clinic.store.read() as session:
        hits = stored.find_hits(session, keys_of(vault, rows))
        known = stored.open_patients(session, {patient for row in rows for patient in candidates(vault, row, hits)})
    people = find_people(rows, known.values(), clinic.settings, now)
    problems = sorted([*checker.problems, *people.problems], key=lambda told: told[0])
    if problems:
        raise told([problem for _, problem in problems])
    drafts = [draft(clinic, shelf, person, choices, now) for person in done.each(people.persons)]
    used = {plan.treatment.shelved.version_id: plan.treatment.shelved for one in drafts for plan in one.plans}
    notes = [
        f'the protocol "{shelved.protocol.key}" is a draft: nothing is sent until a clinician approves it'
        for shelved in used.values()
        if not shelved.approved
    ]
    files = tuple(f"{shelved.protocol.key}.toml" for shelved in used.values())
    notes += [problem for problem in reading if problem.startswith(files)]
    warnings = [warning for _, warning in sorted(people.warnings, key=lambda told: told[0])]
    return CheckedImport(file.digest, rows, drafts, people.skipped, [*warnings, *notes], now, choices, stamp, hits)


def list_batches(clinic: Clinic) -> list[ImportBatch]:
    """All batches, the last imported first."""
    with clinic.store.read() as session:
        return stored.list_batches(session)


def undo(clinic: Clinic, actor: str, batch_id: UUID) -> UndoReport:
    """Take a batch back: what is unsent is cancelled, patients with nothing but its rows are voided.

    A patient who has anything else keeps her record; only the batch's treatments are cancelled there. Raises
    `NotFound`, or `Refused` when it was undone already.
    """
    now = clinic.clock.now()
    with clinic.store.write(actor, now) as session:
        batch = stored.lock_batch(session, batch_id)
        if batch is None:
            raise NotFound(f"there is no import batch {batch_id}; import list shows them")
        if batch.undone_at is not None:
            raise Refused(f"this import was undone on {batch.undone_at:%Y-%m-%d} by {batch.undone_by} already")
        entered, treated = stored.list_patients_of(session, batch_id)
        stored.lock_for_import(session, entered | treated)
        untouched = stored.find_untouched(session, batch, entered)
        left = stored.list_left(session, batch_id)
        treatments = [
            treatment
            for treatment in stored_treatments.list_treatments(session, import_batch_id=batch_id)
            if treatment.status is TreatmentStatus.ACTIVE
        ]
        audit.record(session, "import.undone", "import", batch_id)
        for patient_id in sorted(untouched):
            audit.record(session, "patient.voided", "patient", patient_id, patient_id, ["voided_at"])
        touched = set()
        for treatment in treatments:
            audit.record(session, "treatment.cancelled", "treatment", treatment.id, treatment.patient_id, ["status"])
            if treatment.patient_id not in untouched:
                touched.add(treatment.patient_id)
                treatment.status, treatment.unsigned_since = TreatmentStatus.CANCELLED, None
                stored_treatments.add_note(
                    session, treatment.patient_id, "Treatment cancelled: its import was undone", treatment.id
                )
        session.flush()
        cancelled = stored.void(session, untouched)
        for patient_id in sorted(touched):
            changes = replan(session, clinic, patient_id).difference.changes
            cancelled += sum(change.verdict.state is ReminderState.CANCELLED for change in changes)
        batch.undone_at, batch.undone_by = now, actor
        return UndoReport(cancelled, len(untouched), len((entered | treated) - untouched), left)


class _Steps:
    """Tells how far an import is, in rows: its parts (checking, planning, sealing, writing) count the same."""

    def __init__(self, progress: Progress | None, rows: int, parts: int) -> None:
        self._progress = progress
        self._total = rows
        self._parts = parts
        self._ended = 0

    def each(self, values: Sequence[T]) -> Iterator[T]:
        """The values of one part, telling every now and then and at its end."""
        for place, value in enumerate(values):
            if place % TELL_EVERY == 0:
                self._tell(place / len(values))
            yield value
        self._ended += 1
        self._tell(0)

    def all(self) -> None:
        """All of it is done."""
        self._ended = self._parts
        self._tell(0)

    def _tell(self, of_this: float) -> None:
        if self._progress:
            self._progress(int(self._total * (self._ended + of_this) / self._parts), self._total)


def _is_as_shown(checked: CheckedImport, shown: ImportReport) -> bool:
    """Whether a check found what another found before; messages that ran out meanwhile make no difference."""
    found = (checked.patients, checked.treatments, checked.skipped, list(checked.warnings))
    return found == (shown.patients, shown.treatments, shown.skipped, list(shown.warnings))


def _prepare(clinic: Clinic, origin: bulk.Origin, checked: CheckedImport, done: _Steps) -> bulk.Prepared:
    """Make and seal all rows, before the transaction."""
    rows = bulk.NewRows(clinic.store.vault, origin)
    with clinic.store.read() as session:
        for place, drafted in enumerate(done.each(checked.drafts)):
            if place % SEALED_AT_ONCE == 0:
                part = checked.drafts[place : place + SEALED_AT_ONCE]
                learn_keys(session, [one.patient_id for one in part if one.person.known])
            add_rows(clinic, rows, drafted, checked.choices)
    return bulk.prepare(clinic.store.engine, rows)


def _write(clinic: Clinic, checked: CheckedImport, prepared: bulk.Prepared) -> int:
    """Write the batch in one transaction; how many reminders wait for patients of the record."""
    known = sorted(drafted.patient_id for drafted in checked.drafts if drafted.person.known)
    origin = prepared.origin
    try:
        with clinic.store.write(origin.actor, origin.at) as session:
            stored.lock_for_import(session, known)
            _check_unchanged(session, clinic, checked)
            stored.add_batch(session, origin.batch_id, checked.digest, checked.patients, checked.treatments)
            bulk.execute(session, prepared.record)
            reach("in_import")
            bulk.execute(session, prepared.follow_up)
            _record(session, origin.batch_id, checked.drafts)
            return sum(count_waiting(replan(session, clinic, patient_id)) for patient_id in known)
    except IntegrityError as wrong:
        # PostgreSQL: a record number was taken between our look at it and the insert.
        raise Refused(CHANGED) from wrong


def _check_unchanged(session: Session, clinic: Clinic, checked: CheckedImport) -> None:
    """Raise `Refused` unless the library, the record numbers and everybody the rows were matched with are the same."""
    vault = clinic.store.vault
    by_name = [row for row in checked.rows if not row.number]
    numbers = frozenset(vault.blind("record_number", row.number) for row in checked.rows if row.number)
    names = keys_of(vault, by_name)
    again = stored.find_hits(session, stored.Keys(numbers, names.emails, names.prefixes))
    known = {one.patient_id: one.person.known.standing for one in checked.drafts if one.person.known}
    same = (
        stored_library.find_stamp(session) == checked.stamp
        and again.numbers == checked.hits.numbers
        and all(candidates(vault, row, again) == candidates(vault, row, checked.hits) for row in by_name)
        and stored.find_standings(session, known) == known
    )
    if not same:
        raise Refused(CHANGED)


def _record(session: Session, batch_id: UUID, drafts: Sequence[Draft]) -> None:
    audit.record(session, "import.done", "import", batch_id)
    for drafted in drafts:
        patient_id, person = drafted.patient_id, drafted.person
        if person.known is None:
            audit.record(session, "patient.added", "patient", patient_id, patient_id, person.values)
            if person.said.consent:
                audit.record(session, "consent.recorded", "patient", patient_id, patient_id, person.said.consent)
        for plan in drafted.plans:
            fields = plan.treatment.entry.fields
            audit.record(session, "treatment.added", "treatment", plan.treatment_id, patient_id, fields)
            if plan.event_id is not None:
                audit.record(session, "event.review_booked", "event", plan.event_id, patient_id)


def _waiting_for_known(clinic: Clinic, drafted: Draft, now: datetime) -> int:
    """How many reminders would wait for a patient of the record; writes nothing."""
    if drafted.person.known is None:
        return 0
    with clinic.store.read() as session:
        loaded = load(session, clinic, get(session, drafted.patient_id))
        plans = [*loaded.plans, *drafted.facts]
        return count_waiting(plan_patient(loaded.patient, plans, loaded.rows, loaded.questions, now, clinic.rules))
