"""Forms that decide something: about a message, about an event, about a question; and stopping all sending.

They are on many pages; `back` says which one a form leads back to.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response

from db import care_plans as stored_plans
from db import reminders as stored_reminders
from db.states import DecisionKind, EventKind, Reason, ReminderState
from scheduler import decisions, events, gate_keeper, patients, raised_lines
from scheduler.accounts.front_door import Present
from scheduler.accounts.rights import Right
from scheduler.decisions import Decided
from scheduler.errors import AftercareError, InvalidInput, NotFound, Refused
from web.doors import NotAllowed, local_path, me_of
from web.event_rights import OWN_FORMS, SAID, may_record, may_take_back
from web.forms import Filled, FormModel, filled
from web.pages import clinic_of, go_to, page
from web.sentences import DONE
from web.times import Say
from web.trail_words import words_of

# After these a message leaves, unless a rule forbids it. What was reopened stands as it stood: nothing is promised.
_TO_LEAVE: Final = frozenset(
    {
        DecisionKind.RESUME,
        DecisionKind.SEND_NOW,
        DecisionKind.SEND_AGAIN,
        DecisionKind.RETRY,
        DecisionKind.RESOLVE_RESEND,
    }
)
EARLY: Final = timedelta(days=7)  # a message due later than this leaves now only after a second look
_ANSWERS: Final = {"yes": True, "no": False}
_QUESTION: Final = (
    (
        "yes",
        "Yes: this is an earlier state of a record that went on. What is due becomes “unknown”; a person settles each",
    ),
    ("no", "No: it was only off or moved, and nothing was sent meanwhile. What is due leaves at once"),
)
_STAYS: Final = frozenset({ReminderState.HELD, ReminderState.CANCELLED, ReminderState.MISSED, ReminderState.FAILED})


class DecisionForm(FormModel):
    """What staff decide about one message."""

    decision: str = ""
    note: str = ""
    back: str = ""
    sure: str = ""  # "yes": also where it would be due only much later


class ManyForm(FormModel):
    """What staff decide about several messages at once."""

    ids: tuple[str, ...] = ()
    decision: str = ""
    note: str = ""
    back: str = ""


class EventForm(FormModel):
    """An event of a care plan; `at` empty: now. `fields` are `field.<key>`."""

    kind: str = ""
    review: str = ""
    at: str = ""
    note: str = ""
    back: str = ""


class LineForm(FormModel):
    """What came of a line."""

    note: str = ""
    back: str = ""


class BackForm(FormModel):
    """A button that leads back."""

    back: str = ""


class AddressForm(FormModel):
    """Which version of the address was read back."""

    version: str = ""
    back: str = ""


class ReasonForm(FormModel):
    """Why."""

    reason: str = ""


class ReleaseForm(FormModel):
    """Whether the record is an earlier state of one that went on, where nobody but a person can tell."""

    put_back: str = ""
    back: str = ""


def decide(request: Request, reminder_id: UUID) -> Response:
    """Decide about one message."""
    form = DecisionForm.read(request)
    kind = _read_kind(form.decision)
    early = _early(request, reminder_id, kind)
    if early is not None and form.sure != "yes":
        path = f"/reminders/{reminder_id}/decide"
        return page(request, "early.html", 409, early=early, path=path, form=form, back=local_path(form.back))
    decided = decisions.decide(clinic_of(request), me_of(request).actor, reminder_id, kind, form.note)
    return go_to(local_path(form.back), decided_key(kind, decided, me_of(request)))


def _early(request: Request, reminder_id: UUID, kind: DecisionKind) -> str | None:
    """That a message would leave long before its day, in words, or None. Nothing calls it back, and it is used up."""
    if kind is not DecisionKind.SEND_NOW:
        return None
    clinic = clinic_of(request)
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        row = stored_reminders.find_reminder(session, reminder_id)
    if row is None or row.due_at - say.now < EARLY:
        return None
    return f"it is due on {say.on(datetime.fromisoformat(row.due_local).date())}, in {(row.due_at - say.now).days} days"


def decide_many(request: Request) -> Response:
    """Decide about several messages, each for itself: what cannot be decided is told, the others are done."""
    form, clinic, me = ManyForm.read(request), clinic_of(request), me_of(request)
    kind = _read_kind(form.decision)
    if not form.ids:
        raise InvalidInput("choose at least one message")
    done: list[str] = []
    refused: list[str] = []
    for text in form.ids:
        try:
            early = _early(request, _read_id(text), kind)
            if early is not None:
                raise Refused(f"{early}: to send it now, choose it by itself")
            decided = decisions.decide(clinic, me.actor, _read_id(text), kind, form.note)
        except AftercareError as wrong:
            refused.append(str(wrong))
        else:
            done.append(decided_key(kind, decided, me))
    if not refused and len(set(done)) == 1:
        return go_to(local_path(form.back), done[0])
    counted = Counter([*(DONE[key] for key in done), *refused])
    return page(request, "decided.html", counted=counted.most_common(), back=local_path(form.back))


def answer_question(request: Request, question_id: UUID) -> Response:
    """Answer what the planner asked about a message that was sent."""
    form, clinic = DecisionForm.read(request), clinic_of(request)
    kind = _read_kind(form.decision)

    with clinic.store.show() as session:
        question = stored_plans.find_question(session, question_id)
        if question is None or question.closed_at is not None:
            raise NotFound("this question has been answered meanwhile")
        row = stored_reminders.find_by_key(
            session, question.care_plan_id, question.step, question.occurrence, question.generation
        )
    if row is None or kind not in (DecisionKind.KEEP, DecisionKind.SEND_AGAIN):
        raise InvalidInput("decision: is none that answers this question")
    decided = decisions.decide(clinic, me_of(request).actor, row.id, kind, form.note)
    return go_to(local_path(form.back), decided_key(kind, decided, me_of(request)))


def record_event(request: Request, treatment_id: UUID) -> Response:
    """Record that something happened in a care plan."""
    form = EventForm.read(request)
    try:
        kind = EventKind(form.kind)
    except ValueError:
        raise InvalidInput("kind: is none that can be recorded here") from None
    me = me_of(request)
    if kind in SAID:
        raise InvalidInput("kind: only the patient says this, on the private page")
    if not may_record(kind, me):
        raise NotAllowed
    if kind in OWN_FORMS:
        raise InvalidInput("kind: this has a form of its own")
    fields = {"note": form.note} if form.note.strip() else {}
    events.record(clinic_of(request), me.actor, treatment_id, kind, form.at or None, form.review or None, fields)
    return go_to(local_path(form.back), f"event-{kind.value.replace('_', '-')}")


def undo_event(request: Request, event_id: UUID) -> Response:
    """Take back what was recorded by mistake; it stays readable."""
    form, me = BackForm.read(request), me_of(request)

    clinic = clinic_of(request)
    with clinic.store.show() as session:
        event = events.get(session, event_id)
    if not may_take_back(event.kind, event.recorded_by, me):
        raise NotAllowed
    events.retract(clinic, me.actor, event_id, "undone at the desk")
    return go_to(local_path(form.back), "undone")


def close_line(request: Request, line_id: UUID) -> Response:
    """Somebody has dealt with what the patient's side raised."""
    form = LineForm.read(request)
    raised_lines.close(clinic_of(request), me_of(request).actor, line_id, form.note)
    return go_to(local_path(form.back), "line-closed")


def reopen_line(request: Request, line_id: UUID) -> Response:
    """It was not dealt with after all."""
    form = BackForm.read(request)
    raised_lines.reopen(clinic_of(request), me_of(request).actor, line_id)
    return go_to(local_path(form.back), "line-reopened")


def confirm_address(request: Request, patient_id: UUID) -> Response:
    """The address that the page showed was read back, and is right."""
    form = AddressForm.read(request)
    seen = int(form.version) if form.version.isdecimal() else None
    patients.confirm(clinic_of(request), me_of(request).actor, patient_id, seen)
    return go_to(local_path(form.back), "address-confirmed")


def sending_page(request: Request) -> Response:
    """Stop all sending, or release it with open eyes: how many would leave, and which first."""
    return _sending(request, filled(ReasonForm()))


def stop_sending(request: Request) -> Response:
    """Close the gate."""
    form, clinic = ReasonForm.read(request), clinic_of(request)
    try:
        gate_keeper.close(clinic, me_of(request).actor, form.reason)
    except AftercareError as wrong:
        return _sending(request, filled(form, wrong, {"reason": "Reason"}), 422)
    return go_to("/today", "stopped")


def release_sending(request: Request) -> Response:
    """Open the gate, after a restore holding what the stop journal knows and the record does not."""
    form = ReleaseForm.read(request)
    try:
        done = gate_keeper.release(clinic_of(request), me_of(request).actor, _ANSWERS.get(form.put_back))
    except InvalidInput:
        wrong = InvalidInput("put_back: say whether some of it may have left already")
        return _sending(request, filled(form, wrong, {"put_back": "May some of it have left already?"}), 422)
    return go_to("/today", "released-held" if done.unknown or done.replayed.held else "released")


def _sending(request: Request, form: Filled, status: int = 200) -> Response:
    waiting = gate_keeper.look(clinic_of(request))
    lost = waiting.lost
    stops = [entry for entries in lost.of_patients.values() for entry in entries] if lost else []
    return page(
        request,
        "sending.html",
        status,
        waiting=waiting,
        form=form,
        stops=[(entry, words_of(entry.fact)) for entry in stops],
        strangers=[(entry, words_of(entry.fact)) for entry in lost.strangers] if lost else [],
        answers=_QUESTION,
        listed=gate_keeper.LISTED,
    )


def decided_key(kind: DecisionKind, decided: Decided, me: Present) -> str:
    """What the page says about a decision: what it led to, which a rule may have made another than was wished."""
    if kind in _TO_LEAVE and decided.state in _STAYS and decided.reason is not Reason.FOR_STAFF:
        reason = decided.reason or Reason.HOLD
        if reason is Reason.UNSAFE and not me.may(Right.RECORD):
            reason = Reason.OTHER
        return f"still-{reason.value.replace('_', '-')}"
    return f"decided-{kind.value.replace('_', '-')}"


def _read_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput("this form is not whole: load the page again") from None


def _read_kind(word: str) -> DecisionKind:
    try:
        return DecisionKind(word)
    except ValueError:
        raise InvalidInput(f"decision: is none of {', '.join(kind.value for kind in DecisionKind)}") from None
