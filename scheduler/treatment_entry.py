"""Entering a treatment at the desk: the patient found or made, the treatment, the booked visit, in one transaction.

Also what such an entry would bring (nothing is written), and who may be the same person already. Taking it back is in
`scheduler.entry_undo`; the parts are the use cases of `scheduler.patients`, `treatments` and `events`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import patients as stored_patients
from db import treatments as stored_treatments
from db.private_page import PageCodeKind
from db.records import Patient
from db.states import AddressState, Audience, EventKind, Reason, ReviewStatus, Topic, TreatmentStatus
from db.types import new_id
from db.vault import normal
from scheduler import approvals, events, patients, private_page, treatments
from scheduler.care_plans import booked_ahead, facts_ahead, load, replan
from scheduler.clinic import Clinic
from scheduler.entries import PatientForm, Said, check_moment, check_patient, clean_text
from scheduler.errors import AftercareError, InvalidInput, Refused
from scheduler.kill_points import reach
from scheduler.plan_words import counts_from, in_words, stands_in_words
from scheduler.planning.course import follow
from scheduler.planning.facts import Moment, PatientFacts, PlanFacts
from scheduler.planning.patient_plan import plan_patient
from scheduler.subjects import title_of
from scheduler.treatments import TreatmentForm

LATE_AFTER: Final = timedelta(hours=24)  # a record written later than this says why


@dataclass(frozen=True, slots=True)
class Entry:
    """What staff enter in one form. `treatment_id` is made with the form: the same form sent twice enters once.

    One of `patient_id` and `patient` is given. `sure`: the warnings were read, and it is right as it is.
    """

    treatment_id: UUID
    treatment: TreatmentForm
    patient_id: UUID | None = None
    patient: PatientForm | None = None
    address_confirmed: bool = False
    address_seen: int | None = None  # the version of a known patient's address that was read back
    booked_at: str = ""
    page_code: str = ""  # of a new patient: what opens her private page beside the link, if she chose it already
    sure: bool = False


@dataclass(frozen=True, slots=True)
class Alike:
    """A patient who may be the one being entered, or who shares her address."""

    patient_id: UUID
    shares_address: bool
    same_name: bool


class Doubtful(AftercareError):
    """It may be right, and staff should look twice: entered only when they say that they are sure."""

    def __init__(self, alike: Sequence[Alike]) -> None:
        super().__init__("Somebody in the record has the same name or address. Is it the same person?")
        self.alike = alike


@dataclass(frozen=True, slots=True)
class Entered:
    """What was entered, and what staff should know."""

    patient_id: UUID
    treatment_id: UUID
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class AheadLine:
    """One message as it would be planned. `when` are words; `past`: its time has passed, `stands` says what follows."""

    step: str
    template: str
    when: str
    due_local: datetime
    counts_from: str
    title: str
    stands: str
    past: bool
    for_staff: bool


@dataclass(frozen=True, slots=True)
class Ahead:
    """What an entry would bring: its messages in the order of time, and what would change beside."""

    lines: Sequence[AheadLine]
    notes: Sequence[str]

    @property
    def has_past(self) -> bool:
        """Whether a step's time has passed already, so that staff may choose."""
        return any(line.past for line in self.lines)


def enter(clinic: Clinic, actor: str, entry: Entry, may_override_age: bool = False) -> Entered:
    """Enter a treatment from the desk's form, all of it or nothing.

    Raises `InvalidInput` with every problem, `Doubtful` when staff should look twice, `Refused` when the rules forbid
    it. A form that was sent before enters nothing more, also when both come at the same moment.
    """
    with clinic.store.read() as session:
        before = _sent_before(session, entry)
    if before is not None:
        return before
    try:
        return _enter(clinic, actor, entry, may_override_age)
    except (Doubtful, Refused, IntegrityError) as wrong:
        with clinic.store.read() as session:
            before = _sent_before(session, entry)
        if before is not None:
            return before
        if isinstance(wrong, IntegrityError):
            raise Refused("somebody entered the same at this very moment: look at the record, then try again") from None
        raise


def _sent_before(session: Session, entry: Entry) -> Entered | None:
    before = stored_treatments.find_treatment(session, entry.treatment_id)
    if before is None:
        return None
    if before.status is not TreatmentStatus.ACTIVE:
        raise Refused("this form was saved before, and that entry was undone or cancelled since: save it once more")
    return Entered(before.patient_id, before.id, [])


def _enter(clinic: Clinic, actor: str, entry: Entry, may_override_age: bool) -> Entered:
    found = approvals.read_files(clinic, actor)
    now = clinic.clock.now()
    checked = _check(clinic, entry, now, may_override_age)
    with clinic.store.write(actor, now) as session:
        before = _sent_before(session, entry)
        if before is None and entry.patient_id is not None:
            patients.lock(session, entry.patient_id)
            before = _sent_before(session, entry)  # whoever had her row before us has stored it by now
        if before is not None:
            return before
        patient = _patient(session, entry, checked)
        if entry.patient_id is None and entry.page_code.strip():
            _store_code(session, clinic, patient, entry.page_code)
        new = treatments.store_new(session, clinic, patient, entry.treatment, entry.treatment_id)
        treatment = treatments.get(session, entry.treatment_id)
        if entry.booked_at.strip():
            events.store(session, clinic, treatment, EventKind.REVIEW_BOOKED, entry.booked_at)
        session.flush()
        replan(session, clinic, patient.id)
        notes = treatments.notes_about(session, clinic, new)
        entered = Entered(patient.id, treatment.id, [*notes, *treatments.about_file(found, entry.treatment.protocol)])
    reach("plan_after_commit")
    return entered


def list_alike(session: Session, form: PatientForm, is_whole: bool = False) -> list[Alike]:
    """Who in the record may be the person being entered, or shares her address.

    What is typed may be half of it, so names that begin like it count too, unless it `is_whole`.
    """
    email = (form.email or "").strip().lower() or None
    born = _read_date(form.birth_date)
    given, family = (form.given_name or "").strip(), (form.family_name or "").strip()
    sharing = {patient.id for patient in stored_patients.list_by_email(session, email)} if email else set()
    named = {
        patient.id
        for patient in stored_patients.list_alike(session, given, family, born, None)
        if not is_whole or _parts(f"{given} {family}") <= _parts(" ".join(_names(patient)))
    }
    return [
        Alike(patient_id, patient_id in sharing, patient_id in named)
        for patient_id in dict.fromkeys([*named, *sharing])
    ]


def look_ahead(clinic: Clinic, entry: Entry) -> Ahead:
    """What an entry would bring, as far as it is filled in; writes nothing. Raises `AftercareError` saying what lacks.

    What is not said yet counts as it usually is: agreed to, the address as it stands.
    """
    now = clinic.clock.now()
    with clinic.store.read() as session:
        shelf = clinic.library.shelf(session)
        shelved = shelf.for_new_treatment(entry.treatment.protocol)
        checked = treatments.check_entry(clinic, shelved, entry.treatment, now.date())
        plan_id = new_id()
        booked = []
        if entry.booked_at.strip() and shelved.protocol.reviews:
            moment = check_moment(entry.booked_at, clinic.settings.clinic_time_zone, "booked_at")
            booked.append(booked_ahead(new_id(), moment, shelved.protocol.reviews[0].key, now))
        known = patients.get(session, entry.patient_id) if entry.patient_id else None
        language = known.language if known else _language(entry, clinic)
        earlier = treatments.running_plans(session, known.id, entry.treatment.protocol) if known else []
        try:
            keeps = treatments.keeps_earlier(shelved, bool(earlier), entry.treatment.replaces)
        except InvalidInput:
            keeps = True  # staff have still to say; until then nothing is taken away
        facts = facts_ahead(
            plan_id,
            shelf,
            shelved,
            checked,
            language,
            now,
            keeps,
            past=entry.treatment.past,
            events=booked,
            age_overridden=bool(entry.treatment.age_override),
        )
        if known is not None:
            loaded = load(session, clinic, known, lock=False)
            her, plans, rows, questions = loaded.patient, [*loaded.plans, facts], loaded.rows, loaded.questions
            if entry.address_confirmed and known.email_sealed is not None:
                her = replace(her, address=AddressState.CONFIRMED)
        else:
            her, plans, rows, questions = _new_facts(entry, clinic), [facts], [], []
        result = plan_patient(her, plans, rows, questions, now, clinic.rules)
        steps = {step.key: step for step in shelved.protocol.steps}
        lines = []
        for new in result.difference.inserts:
            if new.item.plan.id != plan_id:
                continue
            step, local = steps[new.item.step.key], new.timing.due_local
            lines.append(
                AheadLine(
                    step=step.key,
                    template=step.template,
                    when=in_words(local, now.date()),
                    due_local=local,
                    counts_from=counts_from(step, new.item.occurrence),
                    title=title_of(shelf, shelved.protocol, step, language, new.item.occurrence, new.item.basis),
                    stands=stands_in_words(new.verdict.state, new.verdict.reason, step.audience),
                    past=new.timing.due_at < now,
                    for_staff=step.audience is Audience.STAFF,
                )
            )
        ended = sum(change.verdict.reason is Reason.SUPERSEDED for change in result.difference.changes)
        replaced = {plan.id for plan in earlier} if not keeps else set()
        visits = [moment for each in plans if each.id in replaced for moment in _booked(each, now)]
    notes = [
        f"A visit is booked for {in_words(moment.wall, now.date())} in the plan it replaces: book it here if it stands."
        for moment in visits
    ]
    if not shelved.approved:
        notes.append("This protocol is a draft: its messages wait until a clinician approves it.")
    if ended:
        notes.append(f"It replaces the running plan: {_count(ended, 'unsent message')} of it will be cancelled.")
    return Ahead(sorted(lines, key=lambda line: line.due_local), notes)


def _booked(plan: PlanFacts, now: datetime) -> list[Moment]:
    """Visits of a plan that are still to come."""
    bookings = [state.booking for state in follow(plan).reviews.values() if state.status is ReviewStatus.BOOKED]
    return [booking.at for booking in bookings if booking and booking.at.instant > now]


@dataclass(frozen=True, slots=True)
class _Checked:
    patient: tuple[stored_patients.PatientEntry, Said, PatientForm] | None


def _check(clinic: Clinic, entry: Entry, now: datetime, may_override_age: bool) -> _Checked:
    """Everything that can be wrong before anything is written, told at once."""
    problems: list[str] = []
    patient = None
    if entry.patient_id is None:
        form = entry.patient or PatientForm()
        if entry.address_confirmed and (form.email or "").strip():
            form = replace(form, confirmed="yes")
        try:
            patient = (*check_patient(form, clinic.settings, now.date()), form)
        except InvalidInput as wrong:
            problems += wrong.problems
        if not (form.consent or "").strip():
            problems.append("consent: say what the patient agreed to; none is an answer too")
    problems += _treatment_problems(clinic, entry, now, may_override_age)
    if entry.booked_at.strip():
        try:
            check_moment(entry.booked_at, clinic.settings.clinic_time_zone, "booked_at")
        except InvalidInput as wrong:
            problems += wrong.problems
    if problems:
        raise InvalidInput(*problems)
    if not entry.sure and entry.patient_id is None and entry.patient is not None:
        with clinic.store.read() as session:
            alike = list_alike(session, entry.patient, is_whole=True)
        if alike:
            raise Doubtful(alike)
    return _Checked(patient)


def _treatment_problems(clinic: Clinic, entry: Entry, now: datetime, may_override_age: bool) -> list[str]:
    form = entry.treatment
    if not form.protocol:
        return ["protocol: choose the treatment"]
    with clinic.store.read() as session:
        shelved = clinic.library.shelf(session).for_new_treatment(form.protocol)
    try:
        checked = treatments.check_entry(clinic, shelved, form, now.date())
    except InvalidInput as wrong:
        return list(wrong.problems)
    problems = []
    reason, problem = clean_text(form.late_reason or "", "late_reason", 2_000)
    if problem:
        problems.append(problem)
    elif now - checked.treated_at > LATE_AFTER and not reason:
        problems.append("late_reason: the treatment was more than a day ago; say why it is entered only now")
    if form.age_override and not may_override_age:
        problems.append("age_override: only a clinician may treat under the protocol's age, with a written reason")
    return problems


def _patient(session: Session, entry: Entry, checked: _Checked) -> Patient:
    if entry.patient_id is None:
        assert checked.patient is not None  # noqa: S101 (checked together with the entry)
        return patients.store_new(session, *checked.patient)
    patient = patients.lock(session, entry.patient_id)
    if entry.address_confirmed:
        patients.confirm_address(session, patient, entry.address_seen)
    return patient


def _store_code(session: Session, clinic: Clinic, patient: Patient, typed: str) -> None:
    try:
        private_page.store_code(session, clinic, patient, PageCodeKind.WORD, typed)
    except InvalidInput as wrong:
        raise InvalidInput(*(f"page_{problem}" for problem in wrong.problems)) from None


def _names(patient: Patient) -> list[str]:
    return [name for name in (patient.given_name, patient.family_name, patient.preferred_name) if name]


def _parts(names: str) -> frozenset[str]:
    return frozenset(normal(names).replace("-", " ").split())


def _new_facts(entry: Entry, clinic: Clinic) -> PatientFacts:
    form = entry.patient or PatientForm()
    has_address = bool((form.email or "").strip())
    address = AddressState.CONFIRMED if entry.address_confirmed else AddressState.UNCONFIRMED
    agreed = patients.consent_of(form.consent) if form.consent else {Topic.REVIEWS: True, Topic.EXERCISES: True}
    return PatientFacts(
        zone=clinic.settings.clinic_time_zone,
        address=address if has_address else AddressState.MISSING,
        consent=agreed,
        birth_date=_read_date(form.birth_date),
        by_notice=clinic.rules.has_pages,
        email_version=1 if has_address else 0,
    )


def _language(entry: Entry, clinic: Clinic) -> str:
    return (entry.patient.language if entry.patient else None) or clinic.settings.clinic_language


def _read_date(text: str | None) -> date | None:
    try:
        return date.fromisoformat((text or "").strip())
    except ValueError:
        return None


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
