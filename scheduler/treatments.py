"""Use cases about a treatment: enter it (its plan starts in the same transaction), move, reassign, cancel it.

Events of its care plan are in `scheduler.events`, its reminders' decisions in `scheduler.decisions`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit
from db import care_plans as stored_plans
from db import patients as stored_patients
from db import treatments as stored
from db.engine import instant_of
from db.follow_up import CarePlan
from db.records import Patient, Treatment
from db.reminders import list_reminders
from db.states import CarePlanStatus, Past, ReminderState, ReviewStatus, TreatmentStatus
from db.treatments import TreatmentEntry
from db.types import new_id
from scheduler import approvals, patients
from scheduler.care_plans import load, moment_of, replan
from scheduler.clinic import Clinic
from scheduler.entries import NOTE_LENGTH, check_moment, clean_text, read_reason
from scheduler.errors import InvalidInput, NotFound, Refused, ReplaceOrKeep, UnderAge
from scheduler.kill_points import reach
from scheduler.library import ShelvedProtocol
from scheduler.planning.course import follow
from scheduler.planning.facts import Moment
from scheduler.planning.patient_plan import PatientPlan, plan_patient
from scheduler.planning.protocol import OnNewTreatment, Protocol
from scheduler.planning.verdict import age_on
from scheduler.record_fields import check_fields, normalise_value

OLDEST_TREATMENT_YEARS = 30
FURTHEST_TREATMENT_YEARS = 2


@dataclass(frozen=True, slots=True)
class TreatmentForm:
    """The fields of `treatment add`, as typed."""

    protocol: str
    at: str
    zone: str | None = None
    clinician: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    past: Past | None = None
    replaces: bool | None = None  # the answer where a protocol asks what a second treatment does
    age_override: str | None = None
    late_reason: str | None = None  # why it is entered only now


@dataclass(frozen=True, slots=True)
class Started:
    """A treatment that was entered and the plan that follows from it."""

    treatment_id: UUID
    notes: Sequence[str]  # what staff should know: the plan is a draft, a booked visit of the earlier plan …


def add(clinic: Clinic, actor: str, patient_id: UUID, form: TreatmentForm) -> Started:
    """Enter a treatment and start its plan. Raises `InvalidInput`, `NotFound` or `Refused`; nothing is half done."""
    # In transactions of its own: what files say does not depend on whether the entry that needs them is right.
    problems = approvals.read_files(clinic, actor)
    now = clinic.clock.now()
    with clinic.store.write(actor, now) as session:
        patient = patients.lock(session, patient_id)
        new = store_new(session, clinic, patient, form)
        replan(session, clinic, patient.id)
        notes = notes_about(session, clinic, new)
        treatment_id = new.plan.treatment_id
    reach("plan_after_commit")
    return Started(treatment_id, [*notes, *about_file(problems, form.protocol)])


@dataclass(frozen=True, slots=True)
class New:
    """A treatment that was stored and is still to be planned."""

    plan: CarePlan
    shelved: ShelvedProtocol
    entry: TreatmentEntry
    earlier: Sequence[CarePlan]  # running plans of the same protocol
    keeps: bool


def store_new(
    session: Session, clinic: Clinic, patient: Patient, form: TreatmentForm, treatment_id: UUID | None = None
) -> New:
    """Check and store a treatment of a locked patient, in the caller's transaction; planning is its next step."""
    shelved = clinic.library.shelf(session).for_new_treatment(form.protocol)
    entry = check_entry(clinic, shelved, form, instant_of(session).date())
    if _is_there(session, patient.id, form.protocol, entry):
        raise Refused("this treatment is entered already: same patient, same protocol, same time")
    check_age(patient.birth_date, shelved, entry, form.age_override)
    earlier = running_plans(session, patient.id, form.protocol)
    keeps = keeps_earlier(shelved, bool(earlier), form.replaces)
    plan = start(session, patient, shelved, entry, form, keeps, treatment_id)
    audit.record(session, "treatment.added", "treatment", plan.treatment_id, patient.id, sorted(entry.fields))
    return New(plan, shelved, entry, earlier, keeps)


def about_file(problems: Sequence[str], protocol_key: str) -> list[str]:
    """Of what reading the files found, what is about one protocol's."""
    return [problem for problem in problems if problem.startswith(f"{protocol_key}.toml")]


def start(
    session: Session,
    patient: Patient,
    shelved: ShelvedProtocol,
    entry: TreatmentEntry,
    form: TreatmentForm,
    keeps: bool,
    treatment_id: UUID | None = None,
) -> CarePlan:
    """Store a treatment with its care plan; planning it is the caller's next step."""
    late, problem = clean_text(form.late_reason or "", "late_reason", NOTE_LENGTH)
    if problem:
        raise InvalidInput(problem)
    treatment = stored.add_treatment(
        session, patient.id, form.protocol, entry, treatment_id=treatment_id, late_reason=late or None
    )
    plan = CarePlan(
        id=new_id(),
        patient_id=patient.id,
        treatment_id=treatment.id,
        protocol_version_id=shelved.version_id,
        status=CarePlanStatus.ACTIVE,
        past_override=form.past,
        keeps_earlier=keeps,
        created_at=instant_of(session),
    )
    session.add(plan)
    plan.age_override = form.age_override
    session.flush()
    return plan


def check_entry(clinic: Clinic, shelved: ShelvedProtocol, form: TreatmentForm, today: date) -> TreatmentEntry:
    """A treatment from a form. Raises `InvalidInput` with every problem."""
    zone = form.zone or clinic.settings.clinic_time_zone
    moment = check_moment(form.at, zone)
    problems = []
    years = moment.wall.year - today.year
    if years < -OLDEST_TREATMENT_YEARS or years > FURTHEST_TREATMENT_YEARS:
        problems.append(
            f"at: {form.at} is more than {OLDEST_TREATMENT_YEARS} years ago or {FURTHEST_TREATMENT_YEARS} ahead"
        )
    clinician, problem = clean_text(form.clinician or "", "clinician", 200)
    fields = {}
    for key, text in form.fields.items():
        fields[key], wrong = clean_text(text, f"field {key}", 2_000)
        problems += [wrong] if wrong else []
    problems += ([problem] if problem else []) + check_fields(shelved.protocol, fields, moment.wall.date())
    if problems:
        raise InvalidInput(*problems)
    return TreatmentEntry(
        treated_at=moment.instant,
        treated_local=moment.wall.isoformat(timespec="seconds"),
        zone=zone,
        clinician=clinician or None,
        fields=in_one_spelling(shelved.protocol, fields),
    )


def in_one_spelling(protocol: Protocol, fields: Mapping[str, str]) -> dict[str, str]:
    """Checked values as they are stored: `Yes` and `1` are the same answer."""
    known = {field.key: field for field in protocol.fields}
    return {key: normalise_value(known[key], value) for key, value in fields.items() if value}


def check_age(born: date | None, shelved: ShelvedProtocol, entry: TreatmentEntry, override: str | None) -> None:
    """Refuse a patient under the protocol's minimum age unless a clinician gave a reason."""
    minimum = shelved.protocol.minimum_age
    if minimum is None or born is None or (override and override.strip()):
        return
    age = age_on(born, date.fromisoformat(entry.treated_local[:10]))
    if age < minimum:
        raise UnderAge(age, minimum)


def keeps_earlier(shelved: ShelvedProtocol, there_is_one: bool, replaces: bool | None) -> bool:
    """Whether a running plan of the same protocol goes on. Raises `InvalidInput` where staff have to say."""
    rule = shelved.protocol.on_new_treatment
    if replaces is not None:
        return not replaces
    if rule is OnNewTreatment.ASK and there_is_one:
        raise ReplaceOrKeep
    return rule is OnNewTreatment.KEEP


def running_plans(session: Session, patient_id: UUID, protocol_key: str) -> list[CarePlan]:
    """Running care plans of a patient for one protocol."""
    protocols = {row.id: row.protocol_key for row in stored.list_treatments(session, patient_id)}
    return [
        plan
        for plan in stored_plans.list_plans(session, patient_id)
        if plan.status in (CarePlanStatus.ACTIVE, CarePlanStatus.ON_HOLD)
        and protocols[plan.treatment_id] == protocol_key
    ]


def preview_move(clinic: Clinic, treatment_id: UUID, at: str, zone: str | None = None) -> PatientPlan:
    """What moving a treatment to another time would change; writes nothing."""
    now = clinic.clock.now()
    with clinic.store.read() as session:
        treatment = get(session, treatment_id)
        _check_movable(treatment)
        moment = _new_moment(clinic, session, treatment, at, zone)
        patient = patients.get(session, treatment.patient_id)
        loaded = load(session, clinic, patient, lock=False)
        plan = get_plan(session, treatment_id)
        plans = [replace(facts, treated=moment) if facts.id == plan.id else facts for facts in loaded.plans]
        return plan_patient(loaded.patient, plans, loaded.rows, loaded.questions, now, clinic.rules)


def move(
    clinic: Clinic, actor: str, treatment_id: UUID, at: str, zone: str | None = None, reason: str | None = None
) -> PatientPlan:
    """Correct when a treatment was done: a new version of it, and the plan follows."""
    why = read_reason(reason) if reason is not None else "date corrected"
    with clinic.store.write(actor, clinic.clock.now()) as session:
        treatment = lock(session, treatment_id)
        _check_movable(treatment)
        moment = _new_moment(clinic, session, treatment, at, zone)
        content = stored.get_content(session, treatment.id)
        entry = TreatmentEntry(
            treated_at=moment.instant,
            treated_local=moment.wall.isoformat(timespec="seconds"),
            zone=moment.zone,
            clinician=content.clinician,
            fields=content.fields,
        )
        stored.add_version(session, treatment, entry, content.number + 1, why)
        audit.record(session, "treatment.moved", "treatment", treatment.id, treatment.patient_id, ["treated_at"])
        return replan(session, clinic, treatment.patient_id)


def cancel(clinic: Clinic, actor: str, treatment_id: UUID, reason: str) -> PatientPlan:
    """Cancel a treatment that did not take place or was entered in error; it stays readable."""
    why = read_reason(reason)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        treatment = lock(session, treatment_id)
        if treatment.status is TreatmentStatus.CANCELLED:
            raise Refused("the treatment is cancelled already")
        treatment.status, treatment.unsigned_since = TreatmentStatus.CANCELLED, None
        stored.add_note(session, treatment.patient_id, f"Treatment cancelled: {why}", treatment.id)
        audit.record(session, "treatment.cancelled", "treatment", treatment.id, treatment.patient_id, ["status"])
        return replan(session, clinic, treatment.patient_id)


@dataclass(frozen=True, slots=True)
class Reassigned:
    """A treatment entered under the wrong patient: its new id, and what had left to the wrong one."""

    treatment_id: UUID
    disclosed: int


def reassign(
    clinic: Clinic,
    actor: str,
    treatment_id: UUID,
    patient_id: UUID,
    reason: str,
    replaces: bool | None = None,
    age_override: str | None = None,
) -> Reassigned:
    """Move a treatment to the patient it belongs to: cancelled here, entered there with the same content.

    Its events stay with the wrong patient's plan, readable; what had left is counted as disclosed.
    """
    why = read_reason(reason)
    now = clinic.clock.now()
    with clinic.store.write(actor, now) as session:
        treatment = get(session, treatment_id)
        target = patients.get(session, patient_id)
        if target.id == treatment.patient_id:
            raise InvalidInput("the treatment belongs to that patient already")
        for locked in sorted((target.id, treatment.patient_id)):
            stored_patients.lock_patient(session, locked)
        session.refresh(treatment)
        if treatment.status is TreatmentStatus.CANCELLED:
            raise Refused("the treatment is cancelled already")
        content = stored.get_content(session, treatment.id)
        plan = get_plan(session, treatment.id)
        shelved = clinic.library.shelf(session).get(plan.protocol_version_id)
        entry = TreatmentEntry(
            content.treated_at, content.treated_local, content.treated_zone, content.clinician, content.fields
        )
        if _is_there(session, target.id, treatment.protocol_key, entry):
            raise Refused("that patient has this treatment already: cancel this one instead")
        check_age(target.birth_date, shelved, entry, age_override)
        there = bool(running_plans(session, target.id, treatment.protocol_key))
        form = TreatmentForm(
            treatment.protocol_key, content.treated_local, past=plan.past_override, age_override=age_override
        )
        moved = start(session, target, shelved, entry, form, keeps_earlier(shelved, there, replaces))
        treatment.status, treatment.unsigned_since = TreatmentStatus.CANCELLED, None
        treatment.reassigned_to_id = moved.treatment_id
        sent = [row for row, _ in list_reminders(session, ReminderState.SENT, treatment_id=treatment.id)]
        note = f"Treatment reassigned to another patient: {why}"
        if sent:
            note += f" Disclosure: {len(sent)} message(s) had left to this patient."
        stored.add_note(session, treatment.patient_id, note, treatment.id)
        audit.record(session, "treatment.reassigned", "treatment", treatment.id, treatment.patient_id, ["patient"])
        audit.record(session, "treatment.added", "treatment", moved.treatment_id, target.id, sorted(entry.fields))
        if sent:
            audit.record(session, "disclosure.noted", "treatment", treatment.id, treatment.patient_id)
        session.flush()
        replan(session, clinic, treatment.patient_id)
        replan(session, clinic, target.id)
        return Reassigned(moved.treatment_id, len(sent))


def get(session: Session, treatment_id: UUID) -> Treatment:
    """The treatment with that id. Raises `NotFound`."""
    treatment = stored.find_treatment(session, treatment_id)
    if treatment is None:
        raise NotFound(f"there is no treatment {treatment_id}")
    return treatment


def lock(session: Session, treatment_id: UUID) -> Treatment:
    """The treatment with that id, its patient's row locked. Raises `NotFound`."""
    treatment = get(session, treatment_id)
    stored_patients.lock_patient(session, treatment.patient_id)
    session.refresh(treatment)
    return treatment


def get_plan(session: Session, treatment_id: UUID) -> CarePlan:
    """The care plan of a treatment. Raises `NotFound`."""
    plan = stored_plans.find_plan_of(session, treatment_id)
    if plan is None:
        raise NotFound(f"there is no treatment {treatment_id}")
    return plan


def _check_movable(treatment: Treatment) -> None:
    if treatment.status is TreatmentStatus.CANCELLED:
        raise Refused("the treatment was cancelled; enter it again instead of moving it")


def _new_moment(clinic: Clinic, session: Session, treatment: Treatment, at: str, zone: str | None) -> Moment:
    before = moment_of(stored.get_content(session, treatment.id))
    moment = check_moment(at, zone or before.zone)
    years = moment.wall.year - clinic.clock.now().year
    if years < -OLDEST_TREATMENT_YEARS or years > FURTHEST_TREATMENT_YEARS:
        raise InvalidInput(
            f"at: {at} is more than {OLDEST_TREATMENT_YEARS} years ago or {FURTHEST_TREATMENT_YEARS} ahead"
        )
    return moment


def _is_there(session: Session, patient_id: UUID, protocol_key: str, entry: TreatmentEntry) -> bool:
    return any(
        treatment.protocol_key == protocol_key
        and treatment.status is TreatmentStatus.ACTIVE
        and stored.get_content(session, treatment.id).treated_at == entry.treated_at
        for treatment in stored.list_treatments(session, patient_id)
    )


def notes_about(session: Session, clinic: Clinic, new: New) -> list[str]:
    """What staff should know about a treatment just stored: it is a draft's, a visit was booked for the plan before."""
    notes = []
    if not new.shelved.approved:
        notes.append(
            f'The protocol "{new.shelved.protocol.key}" is a draft: nothing is sent until a clinician approves it '
            f"(protocol approve {new.shelved.protocol.key} --by NAME)."
        )
    if new.keeps:
        return notes
    for plan in new.earlier:
        patient = patients.get(session, plan.patient_id)
        facts = next(facts for facts in load(session, clinic, patient).plans if facts.id == plan.id)
        for review in follow(facts).reviews.values():
            if review.status is ReviewStatus.BOOKED and review.booking:
                notes.append(
                    f"The earlier plan had a visit booked for {review.booking.at.wall:%Y-%m-%d %H:%M} "
                    f"({review.rule.key}); book it again for this plan if it stands."
                )
    return notes
