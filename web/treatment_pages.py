"""One treatment: its plan as a list and drawn, its reviews and phases, complications, and every way to change it.

Entering one is in `web.entry_pages`, its record in `web.record_pages`, its reviews' forms in `web.review_pages`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from db import care_plans as stored_plans
from db import patients as stored_patients
from db import treatments as stored
from db.follow_up import CareEvent, CarePlan, Review
from db.records import Patient
from db.states import EventKind, Phase, ReviewStatus, TreatmentStatus
from scheduler import entry_undo, patients, plan_words, treatments
from scheduler.accounts.rights import Right
from scheduler.care_plans import facts_of
from scheduler.clinic import Clinic
from scheduler.errors import AftercareError, InvalidInput, ReplaceOrKeep, UnderAge
from scheduler.planning.course import Course, follow
from scheduler.planning.protocol import Protocol
from scheduler.signing import missing_for_signing
from scheduler.timeline import Message, read_messages
from web.doors import NotAllowed, me_of
from web.entry_form import REPLACES, in_page_words
from web.event_words import event_fields
from web.exercise_pages import at_home
from web.forms import Filled, FormModel, filled
from web.line_parts import review_name
from web.pages import clinic_of, go_to, page
from web.people import full_name, person
from web.plan_standing import runs, standing
from web.plots import plot_plan
from web.seen import note_view
from web.timeline_words import message_words, tell_message
from web.times import Say
from web.treatment_parts import about, head_of

REASSIGN_LABELS: Final = {"reason": "What happened", "replaces": "The running plan", "age_override": "Age"}


class MoveForm(FormModel):
    """A corrected date; `sure`: the difference was read."""

    date: str = ""
    time: str = ""
    reason: str = ""
    sure: str = ""


class ReassignForm(FormModel):
    """Whose treatment it is; `find` and `pick` look for the patient."""

    find: str = ""
    pick: str = ""
    reason: str = ""
    replaces: str = ""  # replace or keep, where the protocol asks
    age_override: str = ""


class CancelForm(FormModel):
    """Why it is cancelled."""

    reason: str = ""


def treatment_page(request: Request, treatment_id: UUID) -> Response:
    """The treatment with its plan."""
    clinic, me = clinic_of(request), me_of(request)
    say = Say(clinic, clinic.clock.now(), me.may(Right.RECORD))
    with clinic.store.show() as session:
        treatment = treatments.get(session, treatment_id)
        patient = patients.get(session, treatment.patient_id)
        plan = treatments.get_plan(session, treatment_id)
        shelved = clinic.library.shelf(session).get(plan.protocol_version_id)
        content = stored.get_content(session, treatment_id)
        messages = _messages(session, clinic, patient, plan)
        facts = facts_of(session, clinic, plan, patient.language)
        course = follow(facts)
        reviews = {row.key: row for row in stored_plans.list_reviews(session, [plan.id])}
        events = stored_plans.list_events(session, [plan.id])
        undo_until = entry_undo.can_undo(clinic, session, treatment_id)
        trouble = stored.list_open_adverse_events(session, [treatment_id]) if course.complication else []
        shown = {
            "treatment": treatment,
            "who": person(patient, say.today),
            "name": full_name(patient),
            "title": shelved.protocol.title,
            "when": say.wall(content.treated_local),
            "zone": content.treated_zone if content.treated_zone != say.zone else "",
            "clinician": content.clinician or "",
            "approved": shelved.approved,
            "version": shelved.protocol.version,
            "protocol_key": shelved.protocol.key,
            "status": standing(plan, reviews.values(), course.complication),
            "cancelled": treatment.status is TreatmentStatus.CANCELLED,
            "moved_to": treatment.reassigned_to_id,
            "running": runs(plan),
            "on_hold": course.on_hold,
            "undo_until": say.time(undo_until) if undo_until else None,
            "lines": [tell_message(message, say) for message in messages],
            "plot": plot_plan([_mark(message, say) for message in messages], say.today),
            "reviews": _reviews([rule.key for rule in shelved.protocol.reviews], reviews, say, plan, events),
            "home": at_home(plan, shelved.protocol, course, events, say, me),
            "phases": _phases(shelved.protocol, course, say),
            "complications": [(say.when(row.onset_at), event_fields(row.fields)) for row in trouble],
            "expects_review": any(row.open for row in reviews.values()),
            "under_age": plan.age_override if me.may(Right.RECORD) else None,
            "call_asked": course.call_asked is not None,
            "signed": treatment.unsigned_since is None,
            "missing": missing_for_signing(shelved.protocol, content.fields, content.clinician)
            if me.may(Right.RECORD)
            else [],
        }
    note_view(request, "treatment.viewed", "treatment", treatment_id, treatment.patient_id, ["plan"])
    return page(request, "treatment/treatment.html", **shown)


def move_page(request: Request, treatment_id: UUID) -> Response:
    """Correct the date: the form."""
    with clinic_of(request).store.show() as session:
        local = stored.get_content(session, treatments.get(session, treatment_id).id).treated_local
    return _move(request, treatment_id, filled(MoveForm(date=local[:10], time=local[11:16])), None)


def move(request: Request, treatment_id: UUID) -> Response:
    """Show what a corrected date would change; save it once that was read."""
    form, clinic, me = MoveForm.read(request), clinic_of(request), me_of(request)
    at = f"{form.date}T{form.time}"
    try:
        if not form.reason.strip():
            raise InvalidInput("reason: say why the date was wrong")
        if form.sure != "yes":
            say = Say(clinic, clinic.clock.now(), me.may(Right.RECORD))
            moved = treatments.preview_move(clinic, treatment_id, at)
            with clinic.store.show() as session:
                changes = plan_words.changes(session, clinic, moved)
            return _move(request, treatment_id, filled(form), [say.discreet(line) for line in changes])
        treatments.move(clinic, me.actor, treatment_id, at, reason=form.reason)
    except InvalidInput as wrong:
        return _move(request, treatment_id, filled(form, wrong, {"at": "Date and time", "reason": "Reason"}), None, 422)
    return go_to(f"/treatments/{treatment_id}", "treatment-moved")


def reassign_page(request: Request, treatment_id: UUID) -> Response:
    """It was entered under the wrong patient: find the right one."""
    return _reassign(request, treatment_id, ReassignForm())


def reassign(request: Request, treatment_id: UUID) -> Response:
    """Find the right patient, then give her the treatment."""
    form, clinic, me = ReassignForm.read(request), clinic_of(request), me_of(request)
    if not form.pick:
        return _reassign(request, treatment_id, form)
    try:
        patient_id = UUID(form.pick)
    except ValueError:
        raise InvalidInput("choose one of the patients listed") from None
    try:
        if form.age_override.strip() and not me.may(Right.RECORD):
            raise NotAllowed
        moved = treatments.reassign(
            clinic,
            me.actor,
            treatment_id,
            patient_id,
            form.reason,
            replaces=REPLACES.get(form.replaces),
            age_override=form.age_override.strip() or None,
        )
    except AftercareError as wrong:
        return _reassign(request, treatment_id, form, wrong, 422)
    return go_to(f"/treatments/{moved.treatment_id}", "reassigned-disclosed" if moved.disclosed else "reassigned")


def cancel_page(request: Request, treatment_id: UUID) -> Response:
    """Cancel it: the form, with what that does."""
    return _cancel(request, treatment_id, filled(CancelForm()))


def cancel(request: Request, treatment_id: UUID) -> Response:
    """Cancel a treatment that did not take place."""
    form = CancelForm.read(request)
    try:
        treatments.cancel(clinic_of(request), me_of(request).actor, treatment_id, form.reason)
    except InvalidInput as wrong:
        return _cancel(request, treatment_id, filled(form, wrong, {"reason": "Reason"}), 422)
    return go_to(f"/treatments/{treatment_id}", "treatment-cancelled")


def _messages(session: Session, clinic: Clinic, patient: Patient, plan: CarePlan) -> list[Message]:
    found = read_messages(session, clinic.library.shelf(session), patient, [plan])
    return sorted(found, key=lambda message: message.at)  # as each line tells its time


def _mark(message: Message, say: Say) -> tuple[Any, str, str, bool]:
    level, words = message_words(message.row, message.title, say)
    day = datetime.fromisoformat(message.row.due_local).date()
    return day, level, f"{say.on(day)}: {words}", message.is_ahead


def _reviews(
    keys: list[str], rows: Mapping[str, Review], say: Say, plan: CarePlan, events: Sequence[CareEvent]
) -> list[dict[str, Any]]:
    """The reviews; that one was held is asked of the next, and of those whose time has come."""
    shown = [_review(key, rows.get(key), say, plan) | {"confirmed": _confirmed(key, events, say)} for key in keys]
    following = next((review["key"] for review in shown if review["open"]), None)
    for review in shown:
        review["asked"] = review["passed"] or ((review["come"] or review["key"] == following) and not review["booked"])
    return shown


def _confirmed(key: str, events: Sequence[CareEvent], say: Say) -> str:
    """When the patient said that she comes to the visit as it is booked now; empty when she did not."""
    said = (
        event for event in reversed(events) if event.review == key and event.kind is not EventKind.QUESTIONS_ANSWERED
    )
    last = next(said, None)
    return say.day(last.recorded_at) if last is not None and last.kind is EventKind.VISIT_CONFIRMED else ""


def _review(key: str, row: Review | None, say: Say, plan: CarePlan) -> dict[str, Any]:
    words, level = "", "quiet"
    if row is not None:
        if row.status is ReviewStatus.COMPLETED:
            words, level = "held", "green"
        elif row.status is ReviewStatus.BOOKED:
            words = f"booked for {say.when(row.visit_at)}"
            level = "amber" if row.visit_at is not None and row.visit_at <= say.now else "quiet"
        elif row.status is ReviewStatus.MISSED:
            words, level = "missed; no other visit is booked", "amber"
        else:
            words = f"to book: due {say.on(row.due_on)}"
            level = "amber" if row.due_on <= say.today else "quiet"
    return {
        "key": key,
        "name": review_name(key),
        "words": words,
        "level": level,
        "booked": row is not None and row.status is ReviewStatus.BOOKED,
        "open": row is not None and (row.open or (runs(plan) and row.status is not ReviewStatus.COMPLETED)),
        "come": row is not None and row.due_on <= say.today,
        "passed": row is not None and row.visit_at is not None and row.visit_at <= say.now,
    }


def _phases(protocol: Protocol, course: Course, say: Say) -> dict[str, Any] | None:
    """How the parts of the course stand; None for a protocol without any."""
    phases = {step.phase for step in protocol.steps}
    if not phases & {Phase.SOLO, Phase.PARTNER}:
        return None
    return {
        "solo": f"started {say.on(course.solo_started.at.wall.date())}" if course.solo_started else "not started",
        "solo_started": course.solo_started is not None,
        "has_partner": Phase.PARTNER in phases,
        "released": course.partner_released is not None,
        "partner": (
            f"released {say.on(course.partner_released.at.wall.date())}"
            if course.partner_released
            else "not wanted"
            if course.partner_not_wanted
            else "wanted; waits for a clinician's release"
            if course.partner_wanted
            else "not released"
        ),
    }


def _move(request: Request, treatment_id: UUID, form: Filled, changes: list[str] | None, status: int = 200) -> Response:
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        head = head_of(session, treatments.get(session, treatment_id), clinic, Say(clinic, clinic.clock.now()))
    return about(request, "treatment/move.html", status, head, form=form, changes=changes)


def _reassign(
    request: Request, treatment_id: UUID, form: ReassignForm, error: Exception | None = None, status: int = 200
) -> Response:
    clinic = clinic_of(request)
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        treatment = treatments.get(session, treatment_id)
        head = head_of(session, treatment, clinic, say)
        found = stored_patients.search_patients(session, form.find) if len(form.find.strip()) > 1 else []
        hits = [person(patient, say.today) for patient in found if patient.id != treatment.patient_id]
    if hits:
        note_view(request, "patients.searched", "patient", fields=["name"])
    shown = filled(form, in_page_words(error, me_of(request)) if error else None, REASSIGN_LABELS)
    asked = {
        "asks_replace": isinstance(error, ReplaceOrKeep) or bool(form.replaces),
        "asks_age": (isinstance(error, UnderAge) or bool(form.age_override)) and me_of(request).may(Right.RECORD),
    }
    return about(request, "treatment/reassign.html", status, head, form=shown, hits=hits, **asked)


def _cancel(request: Request, treatment_id: UUID, form: Filled, status: int = 200) -> Response:
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        treatment = treatments.get(session, treatment_id)
        head = head_of(session, treatment, clinic, Say(clinic, clinic.clock.now()))
        patient = patients.get(session, treatment.patient_id)
        plan = treatments.get_plan(session, treatment_id)
        unsent = sum(message.is_ahead for message in _messages(session, clinic, patient, plan))
    return about(request, "treatment/cancel.html", status, head, form=form, unsent=unsent)
