"""Entering a treatment: one form that finds or makes the patient, shows the plan as it will be, and saves it all.

The page works without a script; with one, parts of it follow what is typed. Nothing typed is ever in an address.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from db import accounts
from db import patients as stored_patients
from db import treatments as stored_treatments
from db.records import Patient, PatientStop
from db.states import AddressState, Role, StopReason
from db.types import new_id
from scheduler import entry_undo, patients, treatment_entry, treatments
from scheduler.accounts.front_door import Present
from scheduler.accounts.rights import Right
from scheduler.clinic import Clinic
from scheduler.entries import CONSENT, check_moment
from scheduler.errors import AftercareError, InvalidInput, Refused
from scheduler.local_time import to_wall
from scheduler.planning.protocol import Field as RecordField
from scheduler.planning.protocol import Protocol
from scheduler.treatment_entry import Ahead, Alike, Doubtful
from web.decision_pages import BackForm
from web.doors import me_of
from web.entry_form import (
    CALL_OPTIONS,
    CONSENT_OPTIONS,
    LABELS,
    PATIENT_FIELDS,
    EntryForm,
    entry_of,
    in_page_words,
    languages_to_choose,
    looked,
    patient_form,
    read_id,
)
from web.forms import Unlikely, filled
from web.pages import clinic_of, fragment, go_to, page
from web.people import Person, person
from web.seen import note_view
from web.timeline_words import stop_words
from web.times import Say

SHOWN_HITS: Final = 8
FAR_AHEAD_DAYS: Final = 31  # a treatment entered for a day further ahead is asked about once more
UP_FRONT: Final = ("lot", "expiry")  # record fields asked for at once; the others gate signing only


def new_page(request: Request) -> Response:
    """An empty form, for a patient when one is named; `from` fills it with an entry that was just undone."""
    clinic, me = clinic_of(request), me_of(request)
    now = to_wall(clinic.clock.now(), clinic.settings.clinic_time_zone)
    rounded = now - timedelta(minutes=now.minute % 5)
    form = EntryForm(
        entry_id=str(new_id()),
        date=rounded.date().isoformat(),
        time=f"{rounded:%H:%M}",
        clinician=me.name if Role.CLINICIAN in me.roles else "",
        patient_id=request.query_params.get("patient", ""),
    )
    undone = request.query_params.get("from")
    if undone:
        form = _again(request, form, read_id(undone))
    if form.patient_id:
        read_id(form.patient_id)
    return _show(request, form)


def save(request: Request) -> Response:
    """Enter it, or show it again: with what is wrong, with what is doubtful, or as far as it is filled in."""
    form, clinic, me = EntryForm.read(request), clinic_of(request), me_of(request)
    if form.pick:
        return _show(request, form.model_copy(update={"patient_id": form.pick, "new": "", "pick": "", "look": ""}))
    if form.look:
        return _show(request, looked(form))
    if form.has_other_fields and any(text.strip() for text in form.record.values()):
        changed = InvalidInput("protocol: another treatment was chosen; its own fields are shown now")
        return _show(request, form, changed, status=422)
    try:
        entry = entry_of(form)
        if entry.patient_id is None and form.new != "yes":
            raise InvalidInput("patient: find the patient, or enter a new one")
        _ask_about_the_day(request, form)
        entered = treatment_entry.enter(clinic, me.actor, entry, may_override_age=me.may(Right.RECORD))
    except Doubtful as doubt:
        return _show(request, form, doubt, status=409, alike=doubt.alike)
    except Unlikely as unlikely:
        asked = form.model_copy(update={"asked_at": unlikely.at, "planned": ""})
        return _show(request, asked, unlikely, status=422)
    except AftercareError as wrong:
        if isinstance(wrong, Refused):  # nothing was stored: what is sent next is another entry
            form = form.model_copy(update={"entry_id": str(new_id())})
        return _show(request, form, in_page_words(wrong, me), status=422)
    _remember(request, form)
    return go_to(f"/treatments/{entered.treatment_id}", "entered")


def people(request: Request) -> Response:
    """Who matches what is typed: reads only."""
    form = EntryForm.read(request)
    return fragment(request, "entry/people.html", **_people(request, form), form=filled(form))


def who(request: Request) -> Response:
    """The patient's part of the form, after one was picked, a new one wanted, or the choice taken back."""
    form = looked(EntryForm.read(request))
    if form.pick:
        form = form.model_copy(update={"patient_id": form.pick, "new": "", "pick": ""})
    context = {**_context(request, form), **_people(request, form)}
    _note_chosen(request, context)
    with clinic_of(request).store.show() as session:
        alike = treatment_entry.list_alike(session, patient_form(form)) if form.new == "yes" else []
    return fragment(request, "entry/who.html", **context, alike=_alike(request, alike), form=filled(form))


def alike_people(request: Request) -> Response:
    """Who in the record may be the one being entered: reads only."""
    form = EntryForm.read(request)
    with clinic_of(request).store.show() as session:
        alike = treatment_entry.list_alike(session, patient_form(form))
    return fragment(request, "entry/alike.html", alike=_alike(request, alike), form=filled(form))


def fields(request: Request) -> Response:
    """The record fields of the chosen treatment: reads only."""
    form = _own_fields(EntryForm.read(request))
    return fragment(request, "entry/fields.html", **_context(request, form), form=filled(form))


def plan(request: Request) -> Response:
    """The plan as it will be: reads only."""
    form = EntryForm.read(request)
    is_late = _is_late(clinic_of(request), form)
    return fragment(
        request,
        "entry/plan_fragment.html",
        **_plan(request, form),
        form=filled(form),
        is_late=is_late,
        late_changed=is_late != (form.late == "yes"),  # asked anew only then: somebody may be typing the answer
    )


def undo(request: Request, treatment_id: UUID) -> Response:
    """Take back an entry within the grace; the form comes back as it was."""
    BackForm.read(request)
    entry_undo.undo(clinic_of(request), me_of(request).actor, treatment_id)
    return go_to(f"/treatments/new?from={treatment_id}", "entry-undone")


def _ask_about_the_day(request: Request, form: EntryForm) -> None:
    """A treatment far ahead is more often a wrong year: asked once. Raises `Unlikely`."""
    if form.planned == "yes" and form.asked_at == form.at:
        return
    clinic = clinic_of(request)
    try:
        moment = check_moment(form.at, clinic.settings.clinic_time_zone)
    except InvalidInput:
        return
    days = (moment.wall.date() - to_wall(clinic.clock.now(), moment.zone).date()).days
    if days > FAR_AHEAD_DAYS:
        words = f"at: {moment.wall:%-d %B %Y} is {days} days ahead. If the treatment is planned for then, say so below"
        raise Unlikely(form.at, words)


def _show(
    request: Request,
    form: EntryForm,
    error: Exception | None = None,
    status: int = 200,
    alike: Sequence[Alike] | None = None,
) -> Response:
    form = _own_fields(form)
    context = _context(request, form)
    labels = {**LABELS, **{f"field.{field.key}": field.label for field in context["record_fields"]}}
    shown = filled(form, None if isinstance(error, Doubtful) else error, labels)
    _note_chosen(request, context)
    return page(
        request,
        "entry/new.html",
        status,
        form=shown,
        alike=_alike(request, alike or []),
        doubtful=isinstance(error, Doubtful),
        **context,
        **_people(request, form),
        **_plan(request, form),
    )


def _note_chosen(request: Request, context: Mapping[str, Any]) -> None:
    if context["chosen"] is not None:
        note_view(request, "patient.viewed", "patient", context["chosen"].id, context["chosen"].id, ["name", "email"])


def _own_fields(form: EntryForm) -> EntryForm:
    """Without the record fields of a treatment that is not chosen any more."""
    return form.model_copy(update={"record": {}, "fields_of": form.protocol}) if form.has_other_fields else form


def _context(request: Request, form: EntryForm) -> dict[str, Any]:
    """What the parts of the form need: the protocols to choose from, the chosen patient, the fields of the record."""
    clinic, me = clinic_of(request), me_of(request)
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        shelf = clinic.library.shelf(session)
        offered = sorted(
            {shelved.protocol.key for shelved in shelf.protocols.values()} - shelf.retired,
            key=lambda key: shelf.for_new_treatment(key).protocol.title,
        )
        titles = [("", "Choose …"), *((key, shelf.for_new_treatment(key).protocol.title) for key in offered)]
        protocol = shelf.for_new_treatment(form.protocol).protocol if form.protocol in offered else None
        chosen = _chosen(session, form)
        clinicians = sorted(
            member.name
            for member in accounts.list_members(session)
            if Role.CLINICIAN.value in member.roles and member.disabled_at is None
        )
        running = bool(chosen and protocol and treatments.running_plans(session, chosen.id, protocol.key))
        shown = person(chosen, say.today) if chosen else None
        address = stored_patients.find_address_state(session, chosen).value if chosen else ""
        email = (chosen.email or "", chosen.email_version) if chosen else ("", 0)
        stop = stored_patients.find_stop(session, chosen.id) if chosen else None
    record_fields = _fields_for(protocol, me)
    return {
        "titles": titles,
        "protocol": protocol,
        "chosen": shown,
        "chosen_address": address,
        "chosen_email": email,
        "chosen_stop": _stop_words(stop, me),
        "is_new": form.new == "yes" and not form.patient_id,
        "clinicians": clinicians,
        "up_front": [field for field in record_fields if field.key in UP_FRONT],
        "rest": [field for field in record_fields if field.key not in UP_FRONT],
        "record_fields": record_fields,
        "remembered": _remembered(request, form),
        "asks_replace": bool(protocol and protocol.on_new_treatment.value == "ask" and running),
        "consent_options": CONSENT_OPTIONS,
        "call_options": CALL_OPTIONS,
        "languages": languages_to_choose(clinic.settings.clinic_language, shelf),
        "has_pages": clinic.settings.public_url is not None,
        "is_late": _is_late(clinic, form),
        "grace_minutes": clinic.settings.grace_minutes,
        "needs_birth_date": bool(protocol and protocol.minimum_age),
        "review": protocol.reviews[0].key if protocol and protocol.reviews else None,
    }


def _stop_words(stop: PatientStop | None, me: Present) -> str:
    if stop is None:
        return ""
    return stop_words(stop.reason, with_reason=stop.reason is not StopReason.UNSAFE or me.may(Right.RECORD))


def _fields_for(protocol: Protocol | None, me: Present) -> list[RecordField]:
    """The record fields a person fills in: the desk the lot and its expiry, a clinician all of them."""
    if protocol is None:
        return []
    return [field for field in protocol.fields if field.key in UP_FRONT or me.may(Right.RECORD)]


def _people(request: Request, form: EntryForm) -> dict[str, Any]:
    typed = form.find.strip()
    if form.patient_id or form.new == "yes" or len(typed) < 2:
        return {"hits": [], "searched": False, "more_hits": False}
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        found = stored_patients.search_patients(session, typed)
        today = Say(clinic, clinic.clock.now()).today
        hits = [person(patient, today) for patient in found[:SHOWN_HITS]]
    if hits:
        note_view(request, "patients.searched", "patient", fields=["name"])
    return {"hits": hits, "searched": True, "more_hits": len(found) > SHOWN_HITS}


def _plan(request: Request, form: EntryForm) -> dict[str, Any]:
    """The plan as it will be, or why it cannot be said yet."""
    clinic = clinic_of(request)
    if not form.protocol or not form.date.strip():
        return {"ahead": None, "not_yet": "Choose the treatment, and its plan appears here."}
    me = me_of(request)
    say = Say(clinic, clinic.clock.now(), me.may(Right.RECORD))
    try:
        ahead: Ahead = treatment_entry.look_ahead(clinic, entry_of(form))
    except AftercareError as wrong:
        return {"ahead": None, "not_yet": str(in_page_words(wrong, me)).splitlines()[0]}
    lines = [replace(line, stands=say.discreet(line.stands)) for line in ahead.lines]
    return {"ahead": replace(ahead, lines=lines), "not_yet": None}


def _chosen(session: Session, form: EntryForm) -> Patient | None:
    return patients.get(session, read_id(form.patient_id)) if form.patient_id else None


def _alike(request: Request, alike: Sequence[Alike]) -> list[tuple[Person, Alike]]:
    if not alike:
        return []
    clinic = clinic_of(request)
    today = Say(clinic, clinic.clock.now()).today
    with clinic.store.show() as session:
        shown = [(person(patients.get(session, each.patient_id), today), each) for each in alike]
    note_view(request, "patients.searched", "patient", fields=["name"])
    return shown


def _is_late(clinic: Clinic, form: EntryForm) -> bool:
    """Whether the date typed so far is one that asks for a reason."""
    try:
        typed = check_moment(form.at, clinic.settings.clinic_time_zone)
    except InvalidInput:
        return False
    return clinic.clock.now() - typed.instant > treatment_entry.LATE_AFTER


def _remember(request: Request, form: EntryForm) -> None:
    """Keep lot and expiry for the rest of the day, in this session and for this treatment, where it was asked for."""
    clinic, me = clinic_of(request), me_of(request)
    kept = {key: form.record[key] for key in UP_FRONT if form.record.get(key)}
    today = _today(clinic).isoformat()
    with clinic.store.write(me.actor, clinic.clock.now()) as session:
        row = accounts.get_session(session, me.session_id)
        remembered = {key: value for key, value in row.remembered.items() if value.get("on") == today}
        if form.remember == "yes" and kept:
            remembered[form.protocol] = {"on": today, **kept}
        else:
            remembered.pop(form.protocol, None)
        row.remembered = remembered


def _remembered(request: Request, form: EntryForm) -> Mapping[str, str]:
    clinic, me = clinic_of(request), me_of(request)
    with clinic.store.show() as session:
        kept = accounts.read_session(session, me.session_id).remembered.get(form.protocol, {})
    return (
        {key: text for key, text in kept.items() if key != "on"} if kept.get("on") == _today(clinic).isoformat() else {}
    )


def _today(clinic: Clinic) -> date:
    return to_wall(clinic.clock.now(), clinic.settings.clinic_time_zone).date()


def _again(request: Request, form: EntryForm, treatment_id: UUID) -> EntryForm:
    """A form filled with an entry that was undone: of her own making, so that she mends what was wrong."""
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        treatment = treatments.get(session, treatment_id)
        content = stored_treatments.get_content(session, treatment_id)
        if treatment.entered_by != me_of(request).actor or not entry_undo.was_undone(session, treatment):
            return form
        patient = session.get_one(Patient, treatment.patient_id)
        values: dict[str, Any] = {
            "protocol": treatment.protocol_key,
            "date": content.treated_local[:10],
            "time": content.treated_local[11:16],
            "clinician": content.clinician or "",
            "record": dict(content.fields),
            "late_reason": content.correction_reason or "",
        }
        visit = entry_undo.find_booked_visit(session, treatment)
        if visit is not None:
            values |= {"booked_date": visit[:10], "booked_time": visit[11:16]}
        if patient.voided_at is None:
            values["patient_id"] = str(patient.id)
        else:
            values |= {"new": "yes", **_as_typed(session, patient)}
    note_view(request, "patient.viewed", "patient", patient.id, patient.id, ["entry"])
    return form.model_copy(update=values)


def _as_typed(session: Session, patient: Patient) -> dict[str, str]:
    """A patient who was made with an entry, as the form's fields."""
    said = stored_patients.list_consent(session, [patient.id])[patient.id]
    is_confirmed = stored_patients.find_address_state(session, patient) is AddressState.CONFIRMED
    plain = [name for name in PATIENT_FIELDS if name not in ("birth_date", "consent", "call_safe")]
    return {
        **{name: str(getattr(patient, name) or "") for name in plain},
        "birth_date": patient.birth_date.isoformat() if patient.birth_date else "",
        "call_safe": patient.call_safe.value,
        "consent": next((word for word in CONSENT if patients.consent_of(word) == said), ""),
        "address": "right" if is_confirmed else ("later" if patient.email_sealed else "none"),
    }
