"""The words of a line of the day's list, and what can be done about it: the one action first.

What waits is found in `scheduler.worklist`; the page is in `web.today_pages`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from db.follow_up import Reminder, Review
from db.states import DecisionKind, EventKind, QuestionKind, Reason, ReportKind
from scheduler.accounts.front_door import Present
from scheduler.accounts.rights import Right
from scheduler.done_today import Done, DoneToday
from scheduler.local_time import to_utc
from scheduler.worklist import Line, LineKind, Worklist
from web.event_rights import may_take_back
from web.line_parts import Act, Context, Told, book_visit, decide, open_treatment, record, review_name
from web.people import Person, person
from web.plan_standing import runs
from web.raised_words import RAISED_TELLERS, closed_words
from web.times import Say


@dataclass(frozen=True, slots=True)
class Shown:
    """One line as the page shows it. `rings`: the line may be settled by telephone, so the number is shown."""

    level: str
    who: Person | None
    words: str
    acts: Sequence[Act]
    rings: bool = False


_REVIEWS: Final = "/treatments/{}#reviews"


def show_line(line: Line, found: Worklist, say: Say, me: Present) -> Shown:
    """A line of what waits, in words, with what this person may do about it."""
    who = person(found.people[line.patient_id], say.today)
    words, acts, rings = _TELLERS[line.kind](Context(line, found, say, me, who))
    return Shown(line.level, who, words, acts, rings)


def show_leaving(row: Reminder, found: Worklist, say: Say) -> tuple[str, Person, str, list[Act]]:
    """A message that leaves within the day: when, to whom, what it is called, what can be done."""
    who = person(found.people[row.patient_id], say.today)
    acts = [Act("Look", href=f"/reminders/{row.id}"), decide(row.id, DecisionKind.HOLD, "Hold")]
    return say.when(row.ready_at), who, found.title(row), acts


def show_visit(line: Line, found: Worklist, say: Say) -> tuple[str, Person, str, str]:
    """A visit of today that is still to come: when, who, which review, where it is kept."""
    review = _review(line)
    who = person(found.people[line.patient_id], say.today)
    at = say.time(review.visit_at) if review.visit_at else ""
    return at, who, f"{review_name(review.key)} review", _REVIEWS.format(found.plans[review.care_plan_id].treatment_id)


def show_done(done: Done, found: DoneToday, say: Say, me: Present) -> tuple[str, Person, str, Act | None]:
    """Something done today: when, about whom, what and by whom, and the way back."""
    who = person(found.people[done.patient_id], say.today)
    undo = None
    if done.closed is not None:
        what = closed_words(done.closed)
    else:
        what = done.event.sentence.rstrip(".") if done.event else f"“{done.title}”: {_decided(done.decision)}"
    if done.event_id is not None and done.event is not None and may_take_back(done.event, done.actor, me):
        undo = Act("Undo", action=f"/events/{done.event_id}/undo")
    elif done.line_id is not None:
        undo = Act("Undo", action=f"/lines/{done.line_id}/reopen")
    elif done.reminder_id is not None:
        undo = decide(done.reminder_id, DecisionKind.REOPEN, "Undo")
    return say.time(done.at), who, f"{what} · {say.who(done.actor)}", undo


def _complication(c: Context) -> Told:
    paused = ": the plan's messages are paused" if runs(c.plan) else ""
    return f"complication since {c.when}{paused}", [open_treatment(c)], True


def _stop_lost(c: Context) -> Told:
    acts = [Act("Look", href=f"/patients/{c.who.id}")]
    return f"something was entered that stops messages and is missing here; the first was due {c.when}", acts, True


def _unknown(c: Context) -> Told:
    acts = [
        decide(c.row.id, DecisionKind.RESOLVE_RECEIVED, "It arrived"),
        decide(c.row.id, DecisionKind.RESOLVE_RESEND, "Send it again"),
        c.rang(),
    ]
    return f"{c.title} may or may not have arrived: the mail server's answer was lost, {c.when}", acts, True


def _failed(c: Context) -> Told:
    if c.row.reason is Reason.REFUSED:
        acts = [c.rang(), Act("Change the address", href=f"/patients/{c.who.id}/edit#email")]
        return f"the address refused mail, {c.when}: {c.title} did not arrive", acts, True
    acts = [c.rang(), decide(c.row.id, DecisionKind.RETRY, "Try again")]
    return f"{c.title} was put off by the mail server until the attempts were used up, {c.when}", acts, True


def _came_back(c: Context) -> Told:
    refused = c.line.report is not None and c.line.report.kind is ReportKind.REFUSED
    why = "the address refused mail" if refused else "it could not be delivered; the address is not blamed"
    again = decide(c.row.id, DecisionKind.SEND_AGAIN, "Send it again")
    acts = [c.rang(), Act("Change the address", href=f"/patients/{c.who.id}/edit#email"), again]
    return f"{c.title} came back, {c.when}: {why}", acts, True


def _missed(c: Context) -> Told:
    if c.line.others:
        return _many_missed(c)
    reason = c.row.reason.sentence if c.row.reason else ""
    acts = [
        c.rang(),
        decide(c.row.id, DecisionKind.DONE, "Not needed"),
        decide(c.row.id, DecisionKind.RETRY, "Send now"),
    ]
    return f"{c.title} was not sent, {c.when}: {reason[:1].lower()}{reason[1:].rstrip('.')}", acts, True


def _many_missed(c: Context) -> Told:
    rows = [c.row, *c.line.others]
    titles = list(dict.fromkeys(f"“{c.found.title(row)}”" for row in rows))
    named = ", ".join(titles[:2]) + (f" and {len(titles) - 2} more" if len(titles) > 2 else "")
    fields: dict[str, str | Sequence[str]] = {"ids": [str(row.id) for row in rows], "decision": DecisionKind.DONE.value}
    acts = [
        Act(f"I rang {c.who.first_name}", action="/reminders/decide", fields=fields, asks="What was said (optional)"),
        Act("Not needed", action="/reminders/decide", fields=fields),
        Act("Look", href=f"/patients/{c.who.id}?show=messages"),
    ]
    return f"{len(rows)} messages were not sent in time: {named}", acts, True


def _address_refused(c: Context) -> Told:
    acts = [Act("Change the address", href=f"/patients/{c.who.id}/edit#email")]
    return f"the address refused mail; messages wait, the first was due {c.when}", acts, True


def _question(c: Context) -> Told:
    question = c.line.question
    if question is None:
        raise LookupError("a line about a question has none")
    path = f"/questions/{question.id}/answer"
    title = f"“{c.found.title(question)}”"
    keep = DecisionKind.KEEP.value
    if question.kind is QuestionKind.VISIT_WITHDRAWN:
        told = _basis(question.told, c.say)
        acts = [Act(f"{c.who.first_name} knows", action=path, fields={"decision": keep})]
        return f"was told of the visit {told}, which was then withdrawn. Does {c.who.first_name} know?", acts, True
    acts = [
        Act("Send it again", action=path, fields={"decision": DecisionKind.SEND_AGAIN.value}),
        Act("Once was enough", action=path, fields={"decision": keep}),
    ]
    told, now = _basis(question.told, c.say), _basis(question.now_basis, c.say)
    return f"{title} went out for {told}; the date is {now} now. Send it again?", acts, False


def _visit_passed(c: Context) -> Told:
    review = _review(c.line)
    acts = []
    if c.me.may(Right.RECORD):
        acts.append(Act("Came", href=f"/treatments/{c.treatment_id}/reviews/{review.key}"))
    acts += [
        record(c.treatment_id, EventKind.REVIEW_MISSED, "Did not come", review.key),
        Act("Moved", href=f"/treatments/{c.treatment_id}/book?review={review.key}"),
    ]
    came = "" if c.me.may(Right.RECORD) else " (who came is written down by the clinician)"
    return f"{review_name(review.key)} review {c.when}: did {c.who.first_name} come?{came}", acts, False


def _review_missed(c: Context) -> Told:
    review = _review(c.line)
    return (
        f"did not come to the {review_name(review.key)} review; no other visit is booked",
        [book_visit(c, review)],
        True,
    )


def _review_overdue(c: Context) -> Told:
    review = _review(c.line)
    words = f"the {review_name(review.key)} review was due {c.say.on(review.due_on)}; no visit is booked"
    return words, [book_visit(c, review)], True


def _review_to_book(c: Context) -> Told:
    review = _review(c.line)
    return f"{review_name(review.key)} review to book: due {c.say.on(review.due_on)}", [book_visit(c, review)], True


def _for_staff(c: Context) -> Told:
    done = decide(c.row.id, DecisionKind.DONE, "Done", asks="What came of it (optional)")
    return f"{c.found.title(c.row)} · due {c.when}", [done], True


def _release_asked(c: Context) -> Told:
    waits = "Decide" if c.me.may(Right.RECORD) else "Look"
    acts = [Act(waits, href=f"/treatments/{c.treatment_id}#phases")]
    return f"wants the next part since {c.when}; it waits for a clinician's release", acts, False


def _address_missing(c: Context) -> Told:
    acts = [Act("Enter an address", href=f"/patients/{c.who.id}/edit#email")]
    return f"no e-mail address; the first message is due {c.when}", acts, True


def _address_unconfirmed(c: Context) -> Told:
    patient = c.found.people[c.who.id]
    version = {"version": str(patient.email_version)}
    acts = [
        Act("Read back, it is right", action=f"/patients/{c.who.id}/confirm-address", fields=version),
        Act("Change the address", href=f"/patients/{c.who.id}/edit#email"),
    ]
    return f"the address {patient.email} is not confirmed; the first message is due {c.when}", acts, True


def _consent_missing(c: Context) -> Told:
    acts = [Act("Record the answer", href=f"/patients/{c.who.id}/edit#consent")]
    return f"nobody has recorded what was agreed to; the first message is due {c.when}", acts, True


def _birth_date_missing(c: Context) -> Told:
    acts = [Act("Enter it", href=f"/patients/{c.who.id}/edit#birth_date")]
    return f"the birth date is not known and the protocol has a minimum age; first message due {c.when}", acts, False


def _under_age(c: Context) -> Told:
    return "is younger than the protocol allows: nothing is sent", [open_treatment(c)], False


def _past_ask(c: Context) -> Told:
    acts = [
        decide(c.row.id, DecisionKind.SEND_NOW, "Send now"),
        decide(c.row.id, DecisionKind.CANCEL, "Leave out"),
    ]
    return f"{c.title} was due {c.when}, before it was planned", acts, False


def _awaiting_release(c: Context) -> Told:
    acts = [
        Act("Look", href=f"/reminders/{c.row.id}"),
        decide(c.row.id, DecisionKind.RESUME, "Release"),
        decide(c.row.id, DecisionKind.CANCEL, "Leave out"),
    ]
    return f"{c.title}, due {c.when}, waits until somebody releases it", acts, False


def _not_sendable(c: Context) -> Told:
    reason = c.row.reason.sentence if c.row.reason else ""
    acts = [
        Act("Look", href=f"/reminders/{c.row.id}"),
        decide(c.row.id, DecisionKind.RETRY, "Try again"),
        c.rang(),
    ]
    return f"{c.title} could not be sent, {c.when}: {reason[:1].lower()}{reason[1:].rstrip('.')}", acts, True


def _unsigned(c: Context) -> Told:
    words = f"the treatment's record has waited to be signed since {c.when}"
    if not c.me.may(Right.RECORD):
        return f"{words}; it waits for a clinician", [], False
    return words, [Act("Fill in and sign", href=f"/treatments/{c.treatment_id}/record")], False


_TELLERS: Final[Mapping[LineKind, Callable[[Context], Told]]] = {
    **RAISED_TELLERS,
    LineKind.COMPLICATION: _complication,
    LineKind.STOP_LOST: _stop_lost,
    LineKind.UNKNOWN: _unknown,
    LineKind.FAILED: _failed,
    LineKind.CAME_BACK: _came_back,
    LineKind.MISSED: _missed,
    LineKind.ADDRESS_REFUSED: _address_refused,
    LineKind.QUESTION: _question,
    LineKind.VISIT_PASSED: _visit_passed,
    LineKind.REVIEW_MISSED: _review_missed,
    LineKind.REVIEW_OVERDUE: _review_overdue,
    LineKind.FOR_STAFF: _for_staff,
    LineKind.RELEASE_ASKED: _release_asked,
    LineKind.REVIEW_TO_BOOK: _review_to_book,
    LineKind.ADDRESS_MISSING: _address_missing,
    LineKind.ADDRESS_UNCONFIRMED: _address_unconfirmed,
    LineKind.CONSENT_MISSING: _consent_missing,
    LineKind.BIRTH_DATE_MISSING: _birth_date_missing,
    LineKind.UNDER_AGE: _under_age,
    LineKind.PAST_ASK: _past_ask,
    LineKind.AWAITING_RELEASE: _awaiting_release,
    LineKind.NOT_SENDABLE: _not_sendable,
    LineKind.UNSIGNED: _unsigned,
}

_DECIDED: Final = {
    DecisionKind.HOLD: "held",
    DecisionKind.RESUME: "given back",
    DecisionKind.CANCEL: "cancelled",
    DecisionKind.SEND_NOW: "sent at once",
    DecisionKind.SEND_AGAIN: "sent again",
    DecisionKind.RETRY: "tried again",
    DecisionKind.DONE: "done by hand",
    DecisionKind.RESOLVE_RECEIVED: "it had arrived",
    DecisionKind.RESOLVE_RESEND: "sent once more",
    DecisionKind.KEEP: "settled, nothing more is sent",
}


def _decided(kind: DecisionKind | None) -> str:
    return _DECIDED.get(kind, "") if kind else ""


def _review(line: Line) -> Review:
    if line.review is None:
        raise LookupError(f"a line about {line.kind} has no review")
    return line.review


def _basis(text: str, say: Say) -> str:
    """What a message counted from, as people say it: a date, or a visit's wall time and zone."""
    wall, _, zone = text.partition(" ")
    at = datetime.fromisoformat(wall)
    return say.when(to_utc(at, zone)) if zone else say.on(at.date())
