"""The reminders board, and one reminder: how it stands, every try, its text as it will read or exactly as it left.

Deciding about them is in `web.decision_pages`; how a mail looks is in `web.preview_parts`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from fastapi import HTTPException, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from db import board as stored
from db import marks, reminders, sends
from db import patients as stored_patients
from db import worklist as people_of
from db.board import BoardFilter
from db.follow_up import CarePlan, Reminder
from db.returned_mail import list_reports_of
from db.states import DecisionKind, Reason, ReminderState
from scheduler import patients, previews
from scheduler.accounts.rights import Right
from scheduler.clinic import Clinic
from scheduler.errors import AftercareError, NotFound
from scheduler.local_time import to_utc, to_wall
from scheduler.subjects import title_of_row
from web.doors import me_of
from web.forms import FormModel, filled
from web.pages import clinic_of, page
from web.people import full_name, person
from web.preview_parts import mail_html_answer, preview_of_bytes, preview_of_rendered
from web.seen import is_noted, note_view
from web.timeline_words import message_words, outcome_words, report_words, row_acts
from web.times import Say

PAGE: Final = 50
AROUND: Final = timedelta(days=14)
_S = ReminderState


class Tab(NamedTuple):
    """One view of the board. `unsettled`: only what nobody acted on; `any_time`: whatever its date."""

    key: str
    words: str
    states: frozenset[ReminderState] = frozenset()
    unsettled: bool = False
    any_time: bool = False


ALL: Final = Tab("", "All")
DUE: Final = Tab("due", "Due now", frozenset({_S.SCHEDULED, _S.AWAITING_RETRY}), any_time=True)
TABS: Final = (
    ALL,
    Tab("waiting", "Waiting", frozenset({_S.SCHEDULED, _S.AWAITING_RETRY, _S.SENDING})),
    Tab("held", "Held", frozenset({_S.HELD}), any_time=True),
    Tab("sent", "Sent", frozenset({_S.SENT})),
    Tab("unsent", "Not sent, to settle", frozenset({_S.FAILED, _S.MISSED}), unsettled=True, any_time=True),
    Tab("ended", "Ended unsent", frozenset({_S.CANCELLED, _S.DONE, _S.MISSED, _S.FAILED})),
)
BULK: Final = (
    (DecisionKind.HOLD, "Hold"),
    (DecisionKind.RESUME, "Give back"),
    (DecisionKind.CANCEL, "Cancel"),
    (DecisionKind.SEND_NOW, "Send now"),
    (DecisionKind.RETRY, "Try again"),
    (DecisionKind.DONE, "Done by hand"),
    (DecisionKind.RESOLVE_RECEIVED, "Unknown: it arrived"),
    (DecisionKind.RESOLVE_RESEND, "Unknown: send again"),
)


class BoardForm(FormModel):
    """Whose reminders are looked for; what is typed is in no address."""

    q: str = ""
    show: str = ""
    reason: str = ""


def board_page(request: Request) -> Response:
    """The board: the last and the next 14 days, or what is held and unsent whatever its date."""
    query = request.query_params
    return _board(request, query.get("show", ""), query.get("reason", ""), "", query.get("after"))


def find(request: Request) -> Response:
    """The board of the patients whose name or record number is typed."""
    form = BoardForm.read(request)
    return _board(request, form.show, form.reason, form.q.strip(), None)


def reminder_page(request: Request, reminder_id: UUID) -> Response:
    """One reminder: how it stands, its tries, its text."""
    clinic, me = clinic_of(request), me_of(request)
    say = Say(clinic, clinic.clock.now(), me.may(Right.RECORD))
    with clinic.store.show() as session:
        row, plan, patient = _find(session, reminder_id)
        title = title_of_row(clinic.library.shelf(session), plan, row, patient.language)
        attempts = sends.list_attempts(session, row.id)
        reports = list_reports_of(session, [row.id])
        level, words = message_words(row, title, say)
        shown: dict[str, Any] = {
            "row": row,
            "title": title,
            "level": level,
            "words": words,
            "treatment_id": plan.treatment_id,
            "who": person(patient, say.today),
            "name": full_name(patient),
            "acts": row_acts(row),
            "due": say.wall(row.due_local),
            "due_zone": row.zone if row.zone != say.zone else "",
            "tries": [
                (attempt.number, say.when(attempt.marked_at), outcome_words(attempt), attempt.reply)
                for attempt in attempts
            ],
            "reports": [(say.when(report.received_at), report_words(report), report.said) for report in reports],
        }
    text = _preview(clinic, row.id, attempts[-1].number if row.state is _S.SENT and attempts else None)
    if not me.may(Right.RECORD) and "preview" in text:
        text = {**text, "preview": text["preview"].outside()}
    fields = ["text"] if me.may(Right.RECORD) else ["subject"]
    html_path = f"/reminders/{reminder_id}/html"
    frames = html_path if me.may(Right.RECORD) else None
    note_view(request, "message.viewed", "reminder", reminder_id, row.patient_id, fields, frames)
    return page(
        request,
        "reminder/reminder.html",
        preview=text.get("preview"),
        problem=text.get("problem"),
        is_copy=text.get("is_copy", False),
        html_path=html_path,
        **shown,
    )


def copy_page(request: Request, reminder_id: UUID, attempt: int) -> Response:
    """The exact copy of one try, and the mail server's answer."""
    clinic = clinic_of(request)
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        row, _, patient = _find(session, reminder_id)
        found = next((tried for tried in sends.list_attempts(session, reminder_id) if tried.number == attempt), None)
        if found is None:
            raise NotFound(f"there is no try {attempt} of this reminder")
        content, reply = marks.read_copy(session, attempt), found.reply
        who, name = person(patient, say.today), full_name(patient)
    html_path = f"/reminders/{reminder_id}/html?attempt={attempt}"
    note_view(request, "copy.viewed", "attempt", str(attempt), row.patient_id, ["content"], html_path)
    return page(
        request,
        "reminder/copy.html",
        row=row,
        who=who,
        name=name,
        attempt=found,
        reply=reply,
        outcome=outcome_words(found),
        preview=preview_of_bytes(content) if content else None,
        raw=content.decode("utf-8", "replace") if content else "",
        html_path=html_path,
    )


def reminder_html(request: Request, reminder_id: UUID) -> Response:
    """The HTML part of a reminder's mail in a frame of its own: of the copy that left, or as it would read now."""
    clinic = clinic_of(request)
    wanted = request.query_params.get("attempt", "")
    with clinic.store.show() as session:
        row, _, _ = _find(session, reminder_id)
        attempts = [tried.number for tried in sends.list_attempts(session, reminder_id)]
    number: int | None = None
    if wanted.isdigit() and int(wanted) in attempts:
        number = int(wanted)
    elif row.state is _S.SENT and attempts:
        number = attempts[-1]
    text = _preview(clinic, reminder_id, number)
    if text.get("preview") is None:
        raise HTTPException(404)
    frames = request.url.path + (f"?attempt={wanted}" if wanted else "")
    if not is_noted(request, frames):
        note_view(request, "message.viewed", "reminder", reminder_id, row.patient_id, ["text"])
    return mail_html_answer(text["preview"].html, request.query_params.get("scheme", ""))


def _preview(clinic: Clinic, reminder_id: UUID, attempt: int | None) -> Mapping[str, Any]:
    """How a reminder's mail reads: the copy of a try, or what would be written now; or why it cannot be."""
    if attempt is not None:
        with clinic.store.show() as session:
            content = marks.read_copy(session, attempt)
        if content is not None:
            return {"preview": preview_of_bytes(content), "is_copy": True}
    try:
        letter = previews.preview_reminder(clinic, reminder_id)
    except AftercareError as wrong:
        return {"problem": str(wrong)}
    return {"preview": preview_of_rendered(letter.rendered, clinic.settings.sender_name)}


def _board(request: Request, show: str, reason: str, typed: str, after: str | None) -> Response:
    clinic, me = clinic_of(request), me_of(request)
    reads_record = me.may(Right.RECORD)
    say = Say(clinic, clinic.clock.now(), reads_record)
    midnight = to_wall(say.now, say.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    since, until = to_utc(midnight - AROUND, say.zone), to_utc(midnight + AROUND + timedelta(days=1), say.zone)
    tab = next((tab for tab in (*TABS, DUE) if tab.key == show), ALL)
    why = next((found for found in Reason if found.value == reason), None)
    if why is Reason.UNSAFE and not reads_record:
        why = None
    reasons = {why} if why else set()
    if why is Reason.OTHER and not reads_record:
        reasons.add(Reason.UNSAFE)  # the desk reads the same of both
    with clinic.store.show() as session:
        hers = [patient.id for patient in stored_patients.search_patients(session, typed)] if typed else None
        wanted = BoardFilter(
            since=None if tab.any_time or typed else since,
            until=None if tab.any_time or typed else until,
            states=tab.states,
            reasons=frozenset(reasons),
            patients=hers,
            unsettled=tab.unsettled,
            ready_by=say.now if tab is DUE else None,
        )
        rows = stored.list_board(session, wanted, PAGE + 1, _after(after))
        counts = stored.count_board(session, since, until)
        whenever = {  # as their tabs show them
            "held": sum(reminders.count_by_reason(session, _S.HELD).values()),
            "unsent": sum(reminders.count_unsettled(session, state) for state in (_S.FAILED, _S.MISSED)),
        }
        shelf = clinic.library.shelf(session)
        people = people_of.open_patients(session, [row.patient_id for row, _ in rows])
        lines = []
        for row, plan in rows[:PAGE]:
            patient = people.get(row.patient_id)
            if patient is None:  # of an entry or import that was undone
                continue
            title = title_of_row(shelf, plan, row, patient.language)
            level, words = message_words(row, title, say)
            lines.append(
                {
                    "id": row.id,
                    "level": level,
                    "words": words,
                    "who": person(patient, say.today),
                    "when": say.wall(row.due_local) + (f" {row.zone}" if row.zone != say.zone else ""),
                    "treatment_id": plan.treatment_id,
                    "acts": row_acts(row),
                }
            )
    note_view(request, "list.viewed", "reminders")
    last = rows[PAGE - 1][0] if len(rows) > PAGE else None
    return page(
        request,
        "reminder/board.html",
        lines=lines,
        tabs=[(each.key, each.words, whenever.get(each.key, _count(each.states, counts))) for each in TABS],
        show=tab.key,
        reason=why,
        reasons=sorted(
            {_as_read(found, reads_record) for _, found in counts if found is not None}, key=lambda found: found.value
        ),
        typed=typed,
        form=filled(BoardForm(q=typed, show=show, reason=reason)),
        bulk=BULK,
        next_after=f"{last.due_at.isoformat()}~{last.id}" if last is not None and not typed else None,
        span=(say.on((midnight - AROUND).date()), say.on((midnight + AROUND).date())) if wanted.since else None,
    )


def _as_read(reason: Reason, reads_record: bool) -> Reason:
    return Reason.OTHER if reason is Reason.UNSAFE and not reads_record else reason


def _count(states: frozenset[ReminderState], counts: Mapping[tuple[ReminderState, Reason | None], int]) -> int:
    """How many of these days' reminders a tab shows; without states all."""
    return sum(count for (state, _), count in counts.items() if not states or state in states)


def _after(text: str | None) -> tuple[datetime, UUID] | None:
    """Where the page before ended; None for the first page and for anything that is none."""
    at, _, row_id = (text or "").partition("~")
    try:
        due_at, last = datetime.fromisoformat(at), UUID(row_id)
    except ValueError:
        return None
    return (due_at, last) if due_at.tzinfo is not None else None


def _find(session: Session, reminder_id: UUID) -> tuple[Reminder, CarePlan, Any]:
    row = session.get(Reminder, reminder_id)
    if row is None:
        raise NotFound(f"there is no reminder {reminder_id}")
    return row, session.get_one(CarePlan, row.care_plan_id), patients.get(session, row.patient_id)
