"""Patients: finding one, her whole page, changing what is known about her, stopping and permitting messages, notes.

Her treatments are in `web.treatment_pages`; the words of her time line in `web.timeline_words`.
"""

from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from db import care_plans as stored_plans
from db import patients as stored
from db import treatments as stored_treatments
from db.records import Patient, PatientStop
from db.states import AddressState, CallSafe, Level, StopReason, Topic, TreatmentStatus
from scheduler import contacts, patients
from scheduler.accounts.front_door import Present
from scheduler.accounts.rights import Right
from scheduler.clinic import Clinic
from scheduler.errors import InvalidInput
from scheduler.timeline import Timeline, read_timeline
from web.access_pages import access_of
from web.doors import NotAllowed, me_of
from web.entry_form import CALL_OPTIONS, CONSENT_OPTIONS
from web.entry_form import LABELS as ENTRY_LABELS
from web.forms import Filled, FormModel, filled
from web.pages import clinic_of, go_to, page
from web.pain import pain_scores
from web.people import full_name, person
from web.plan_standing import runs, standing
from web.plots import plot_pain
from web.seen import note_view
from web.timeline_words import Entry, stop_words, tell, tell_message
from web.times import Say

SHOWN: Final = 50
FILTERS: Final = (
    ("", "Everything"),
    ("messages", "Messages"),
    ("record", "Record"),
    ("plan", "Plan"),
    ("notes", "Notes"),
)
LABELS: Final = {**ENTRY_LABELS, "time_zone": "Time zone", "language": "Language", "level": "How much mails say"}
LEVEL_OPTIONS: Final = (
    (Level.NOTICE.value, "A notice that a message waits"),
    (Level.GENERAL.value, "Neutral wording"),
    (Level.FULL.value, "The clinic's full instructions (only when asked for)"),
)
STOP_OPTIONS: Final = (
    ("", "Choose …"),
    (StopReason.OPTED_OUT.value, "No messages are wanted"),
    (StopReason.UNSAFE.value, "E-mail is not safe"),
    (StopReason.LEFT.value, "Has left the clinic"),
    (StopReason.DECEASED.value, "Has died"),
    (StopReason.OTHER.value, "Another reason"),
)
# What a patient takes back herself at the desk; why messages were stopped otherwise is not the desk's to weigh.
_DESK_PERMITS: Final = frozenset({StopReason.OPTED_OUT, StopReason.LEFT})
_CONSENT_WORDS: Final = {Topic.REVIEWS: "visits", Topic.EXERCISES: "the plan"}
_ADDRESS_WORDS: Final = {
    AddressState.MISSING: ("amber", "no e-mail address"),
    AddressState.UNCONFIRMED: ("amber", "address not confirmed"),
    AddressState.CONFIRMED: ("quiet", "address confirmed"),
    AddressState.REFUSED: ("amber", "address refused mail"),
}
_LEVEL_WORDS: Final = {
    Level.NOTICE: "mail: a notice only",
    Level.GENERAL: "mail: neutral",
    Level.FULL: "mail: full instructions",
}


class FindForm(FormModel):
    """What is looked for."""

    q: str = ""


class EditForm(FormModel):
    """All that is known about a patient."""

    given_name: str = ""
    family_name: str = ""
    preferred_name: str = ""
    birth_date: str = ""
    email: str = ""
    phone: str = ""
    call_safe: str = ""
    contact_note: str = ""
    record_number: str = ""
    time_zone: str = ""
    language: str = ""
    level: str = ""
    consent: str = ""  # empty: as recorded
    confirmed: str = ""
    seen: str = ""  # when she had last been changed as the form was made


class StopForm(FormModel):
    """Stop all messages, or permit them again."""

    reason: str = ""
    note: str = ""


class NoteForm(FormModel):
    """A note, or a contact that may replace a message."""

    note: str = ""
    replaces: str = ""


def list_page(request: Request) -> Response:
    """The patients changed last."""
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        found = stored.list_patients(session, SHOWN)
        today = Say(clinic, clinic.clock.now()).today
        rows = [person(patient, today) for patient in found]
        count = stored.count_patients(session)
    note_view(request, "list.viewed", "patients")
    return page(request, "patient/list.html", rows=rows, q="", count=count)


def find(request: Request) -> Response:
    """Patients by name or record number; what was typed is in no address."""
    form, clinic = FindForm.read(request), clinic_of(request)
    typed = form.q.strip()
    if not typed:
        return go_to("/patients")
    with clinic.store.show() as session:
        today = Say(clinic, clinic.clock.now()).today
        rows = [person(patient, today) for patient in stored.search_patients(session, typed)]
    note_view(request, "patients.searched", "patient", fields=["name"])
    if len(rows) == 1:
        return go_to(f"/patients/{rows[0].id}")
    return page(request, "patient/list.html", rows=rows, q=typed, count=None)


def patient_page(request: Request, patient_id: UUID) -> Response:
    """Who she is and what forbids what, her treatments, and one time line of everything."""
    return _patient(request, patient_id)


def print_page(request: Request, patient_id: UUID) -> Response:
    """The whole record on one sheet, for paper."""
    return _patient(request, patient_id, template="patient/print.html")


def edit_page(request: Request, patient_id: UUID) -> Response:
    """All that is known about her, to be changed."""
    clinic = clinic_of(request)
    with clinic.store.read() as session:
        form = _edit_form(patients.get(session, patient_id))
    return _edit(request, patient_id, filled(form))


def edit(request: Request, patient_id: UUID) -> Response:
    """Change what was typed anew; the plan follows."""
    form, clinic = EditForm.read(request), clinic_of(request)
    try:
        with clinic.store.read() as session:
            before = _edit_form(patients.get(session, patient_id))
        if form.seen and form.seen != before.seen:  # an older page would bring back an address she no longer has
            changed_meanwhile = InvalidInput("somebody changed this meanwhile: here is what is recorded now")
            return _edit(request, patient_id, filled(before, changed_meanwhile), 409)
        typed = form.model_dump(exclude={"seen"})
        changed = {
            name: text
            for name, text in typed.items()
            if text != getattr(before, name) and not (name in ("consent", "confirmed") and not text)
        }
        if not changed:
            return go_to(f"/patients/{patient_id}")
        warnings = patients.change(clinic, me_of(request).actor, patient_id, changed)
    except InvalidInput as wrong:
        return _edit(request, patient_id, filled(form, wrong, LABELS), 422)
    return go_to(f"/patients/{patient_id}", "patient-shared" if warnings else "patient-changed")


def stop(request: Request, patient_id: UUID) -> Response:
    """Stop all messages to her at once."""
    form = StopForm.read(request)
    try:
        reason = StopReason(form.reason)
    except ValueError:
        raise InvalidInput("choose why messages are stopped") from None
    patients.stop(clinic_of(request), me_of(request).actor, patient_id, reason, form.note)
    return go_to(f"/patients/{patient_id}", "patient-stopped")


def permit(request: Request, patient_id: UUID) -> Response:
    """Permit messages again; what was stopped for a reason that the desk does not know, a clinician permits."""
    form, clinic, me = StopForm.read(request), clinic_of(request), me_of(request)
    with clinic.store.show() as session:
        in_force = stored.find_stop(session, patients.get(session, patient_id).id)
    if in_force is not None and not _may_permit(in_force, me):
        raise NotAllowed
    patients.resume(clinic, me.actor, patient_id, form.note)
    return go_to(f"/patients/{patient_id}", "patient-permitted")


def add_note(request: Request, patient_id: UUID) -> Response:
    """A clinical note."""
    form = NoteForm.read(request)
    contacts.add_note(clinic_of(request), me_of(request).actor, patient_id, form.note)
    return go_to(f"/patients/{patient_id}", "note-added")


def add_contact(request: Request, patient_id: UUID) -> Response:
    """Somebody spoke to her; a message of the plan may be done with it."""
    form = NoteForm.read(request)
    try:
        replaces = UUID(form.replaces) if form.replaces else None
    except ValueError:
        raise InvalidInput("choose one of the messages listed") from None
    contacts.record_contact(clinic_of(request), me_of(request).actor, patient_id, form.note, replaces)
    return go_to(f"/patients/{patient_id}", "contact-noted")


def _patient(request: Request, patient_id: UUID, template: str = "patient/patient.html") -> Response:
    clinic, me = clinic_of(request), me_of(request)
    say = Say(clinic, clinic.clock.now(), me.may(Right.RECORD))
    with clinic.store.show() as session:
        patient = patients.get(session, patient_id)
        line = read_timeline(session, clinic, patient)
        context = {
            "patient": patient,
            "who": person(patient, say.today),
            "full_name": full_name(patient),
            "flags": _flags(session, line, me.may(Right.RECORD)),
            "stopped": (in_force := _stop_in_force(line)) is not None,
            "may_permit": in_force is not None and _may_permit(in_force, me),
            "treatments": _treatments(session, line, say),
            "pain": plot_pain(pain_scores(line)) if me.may(Right.RECORD) else None,
            "access": access_of(session, clinic, patient, say),
            "call_about": _call_about(line),
        }
        past = [_for_reader(tell(happened, say, me), me) for happened in line.past]
        ahead = [_for_reader(tell_message(message, say), me) for message in line.ahead]
    shown = request.query_params.get("show", "")
    shown = shown if shown in {key for key, _ in FILTERS} else ""
    if not me.may(Right.RECORD):
        past = [entry for entry in past if entry.kind != "notes"]
    note_view(request, "patient.viewed", "patient", patient_id, patient_id, ["timeline"])
    return page(
        request,
        template,
        past=[entry for entry in past if shown in ("", entry.kind)],
        ahead=ahead if shown in ("", "messages") else [],
        replaceable=[(message.row.id, message.title, say.when(message.row.due_at)) for message in line.ahead[:5]],
        shown=shown,
        filters=FILTERS if me.may(Right.RECORD) else FILTERS[:-1],
        stop_options=STOP_OPTIONS,
        **context,
    )


def _for_reader(entry: Entry, me: Present) -> Entry:
    """What this person may read of an entry: the desk sees that something happened, not the clinical text."""
    if me.may(Right.RECORD):
        return entry
    return replace(entry, clinical=(), path=None if entry.kind == "record" else entry.path)


def _may_permit(in_force: PatientStop, me: Present) -> bool:
    return in_force.reason in _DESK_PERMITS or me.may(Right.RECORD)


def _stop_in_force(line: Timeline) -> PatientStop | None:
    latest = line.stops[-1] if line.stops else None
    return latest if latest is not None and latest.reason is not None else None


def _flags(session: Session, line: Timeline, reads_record: bool) -> list[tuple[str, str]]:
    """What forbids what, as level and words; the worst first."""
    found: list[tuple[str, str]] = []
    in_force = _stop_in_force(line)
    if in_force is not None:
        hidden = in_force.reason is StopReason.UNSAFE and not reads_record
        found.append(("red", stop_words(in_force.reason, with_reason=not hidden)))
    found.append(_ADDRESS_WORDS[stored.find_address_state(session, line.patient)])
    consent = {row.topic: row.granted for row in line.consents}
    for topic, words in _CONSENT_WORDS.items():
        if topic not in consent:
            found.append(("amber", f"not asked about messages on {words}"))
        else:
            found.append(("quiet", f"{'messages' if consent[topic] else 'no messages'} about {words}"))
    found.append(("quiet", _LEVEL_WORDS[line.patient.level]))
    if line.patient.call_safe is CallSafe.NO:
        found.append(("red", "do not ring"))
    order = {"red": 0, "amber": 1, "quiet": 2}
    return sorted(found, key=lambda flag: order[flag[0]])


def _treatments(session: Session, line: Timeline, say: Say) -> list[dict[str, Any]]:
    rows = []
    paused = {row.treatment_id for row in stored_treatments.list_open_adverse_events(session, list(line.plans))}
    reviews = stored_plans.list_reviews(session, [plan.id for plan in line.plans.values()])
    state: tuple[str, str] | None
    for treatment in line.treatments:
        version = line.contents[treatment.id][-1]
        plan = line.plans.get(treatment.id)
        if treatment.status is TreatmentStatus.CANCELLED:
            state = ("quiet", "belongs to another patient" if treatment.reassigned_to_id else "cancelled")
        elif plan is None:
            state = None
        else:
            state = standing(plan, [row for row in reviews if row.care_plan_id == plan.id], treatment.id in paused)
        rows.append(
            {
                "id": treatment.id,
                "title": line.protocol_title(treatment),
                "when": say.wall(version.treated_local),
                "clinician": version.clinician or "",
                "state": state,
                "signed": treatment.unsigned_since is None,
                "cancelled": treatment.status is TreatmentStatus.CANCELLED,
            }
        )
    return rows


def _call_about(line: Timeline) -> UUID | None:
    """The treatment that a call she asks for is noted with: one whose plan runs, else any that took place."""
    taken = [each.id for each in line.treatments if each.status is TreatmentStatus.ACTIVE and each.id in line.plans]
    return next(iter(sorted(taken, key=lambda treatment_id: not runs(line.plans[treatment_id]))), None)


def _edit_form(patient: Patient) -> EditForm:
    return EditForm(
        given_name=patient.given_name or "",
        family_name=patient.family_name or "",
        preferred_name=patient.preferred_name or "",
        birth_date=patient.birth_date.isoformat() if patient.birth_date else "",
        email=patient.email or "",
        phone=patient.phone or "",
        call_safe=patient.call_safe.value,
        contact_note=patient.contact_note or "",
        record_number=patient.record_number or "",
        time_zone=patient.time_zone,
        language=patient.language,
        level=patient.level.value,
        seen=patient.changed_at.isoformat(),
    )


def _edit(request: Request, patient_id: UUID, form: Filled, status: int = 200) -> Response:
    clinic: Clinic = clinic_of(request)
    with clinic.store.show() as session:
        patient = patients.get(session, patient_id)
        name = full_name(patient)
        address = stored.find_address_state(session, patient).value
        consent = stored.list_consent(session, [patient_id])[patient_id]
    note_view(request, "patient.viewed", "patient", patient_id, patient_id, ["contact"])
    said = [
        f"{'yes' if consent[topic] else 'no'} to messages about {words}"
        for topic, words in _CONSENT_WORDS.items()
        if topic in consent
    ]
    return page(
        request,
        "patient/edit.html",
        status,
        patient_id=patient_id,
        name=name,
        form=form,
        address=address,
        said=", ".join(said) or "nothing yet",
        consent_options=(("", "As recorded"), *CONSENT_OPTIONS[1:]),
        call_options=CALL_OPTIONS,
        level_options=LEVEL_OPTIONS,
    )
