"""The words of what the patient's side raises on the day's list: a call, another time, a silence, a locked page.

All other lines are in `web.today_lines`. What the patient wrote about how it is going is for clinicians only.
"""

from collections.abc import Callable, Mapping
from typing import Final

from db.follow_up import CareEvent
from db.private_page import RaisedKind, RaisedLine
from db.states import EventKind, Topic
from scheduler.accounts.rights import Right
from scheduler.worklist import LineKind
from web.line_parts import Act, Context, Told, book_visit, open_treatment, record, review_name

_TOPICS: Final = {Topic.REVIEWS.value: "visits", Topic.EXERCISES.value: "the plan"}
_CALLS: Final = {"red_flag": "reported a warning sign"}
_CLOSED: Final[Mapping[RaisedKind, str]] = {
    RaisedKind.WRONG_PERSON: "Another person’s address",
    RaisedKind.STOPPED_BY_LINK: "Messages stopped by a link",
    RaisedKind.CODE_LOCKED: "Private page locked",
    RaisedKind.OTHER_TIME: "Another time asked for",
    RaisedKind.NOT_YET: "Several answers “not yet”",
    RaisedKind.SILENT: "No answer for a while",
}


def closed_words(kind: RaisedKind) -> str:
    """What was dealt with, as the list of what was done today says it."""
    return f"{_CLOSED[kind]}: dealt with"


def _call_asked(c: Context) -> Told:
    words, asks = f"Rang {c.who.first_name}", "What was said (optional)"
    close = record(c.treatment_id, EventKind.CALL_CLOSED, f"I {words[:1].lower()}{words[1:]}", asks=asks)
    acts = [close, open_treatment(c)]
    if not c.me.may(Right.RECORD):
        soon = any(event.fields.get("because") in ("pain", "red_flag") for event in c.line.calls)
        asked = "asked for a call, soon: a clinician sees why" if soon else "asked for a call"
        return f"{asked}, {c.when}; what belongs to the exercises waits", acts, True
    why = "; ".join(dict.fromkeys(_call(event) for event in c.line.calls)) or "asked for a call"
    return f"{why}, {c.when}; what belongs to the exercises waits", acts, True


def _call(event: CareEvent) -> str:
    """Why a call is asked for, and what was told with it."""
    fields = event.fields
    pain, because = fields.get("pain"), fields.get("because")
    if because == "pain" and pain:
        what = f"reported pain {pain} of 10"
    else:
        what = _CALLS.get(because or "", "asked for a call") + (f", pain {pain} of 10" if pain else "")
    said = fields.get("words") or fields.get("note")
    return f"{what}: “{said}”" if said else what


def _wrong_person(c: Context) -> Told:
    words = f"whoever reads the address said, {c.when}, that it is another person’s: it was removed, and messages wait"
    return words, [Act("Enter an address", href=f"/patients/{c.who.id}/edit#email"), _done(c)], True


def _stopped_by_link(c: Context) -> Told:
    topics = [_TOPICS.get(part.strip(), part.strip()) for part in (_raised(c).said or "").replace("\n", ",").split(",")]
    about = " and ".join(dict.fromkeys(topic for topic in topics if topic))
    words = f"messages about {about or 'the plan'} were stopped by a link in a mail, {c.when}"
    acts = [_done(c), Act("Record the answer", href=f"/patients/{c.who.id}/edit#consent")]
    return f"{words}; it may have been another’s hand", acts, True


def _code_locked(c: Context) -> Told:
    words = f"the code of the private page was given wrongly too often, {c.when}"
    acts = [Act("Set a new code", href=f"/patients/{c.who.id}/private-page"), _done(c)]
    return f"{words}: the page stays closed until a new one is set", acts, True


def _other_time(c: Context) -> Told:
    line, review = _raised(c), c.line.review
    visit = f"the {review_name(line.review or '')} visit"
    if review is not None and review.visit_at is not None:
        visit += f" of {c.say.when(review.visit_at)}"
    said = f": “{' / '.join(line.said.splitlines())}”" if line.said else ""
    acts = [_done(c)] if review is None else [book_visit(c, review), _done(c)]
    return f"asks for another time for {visit}, {c.when}{said}", acts, True


def _not_yet(c: Context) -> Told:
    acts = [_done(c), open_treatment(c)]
    if not c.me.may(Right.RECORD):
        return f"gave answers on the private page that wait for a clinician, {c.when}", acts, False
    return f"answered “not yet” several times in a row, {c.when}", acts, True


def _silent(c: Context) -> Told:
    return f"has not answered for a while, noticed {c.when}", [_done(c), open_treatment(c)], True


def _done(c: Context) -> Act:
    return Act("Done", action=f"/lines/{_raised(c).id}/close", asks="What came of it (optional)")


def _raised(c: Context) -> RaisedLine:
    if c.line.raised is None:
        raise LookupError(f"a line about {c.line.kind} was raised by nobody")
    return c.line.raised


RAISED_TELLERS: Final[Mapping[LineKind, Callable[[Context], Told]]] = {
    LineKind.CALL_ASKED: _call_asked,
    LineKind.WRONG_PERSON: _wrong_person,
    LineKind.STOPPED_BY_LINK: _stopped_by_link,
    LineKind.CODE_LOCKED: _code_locked,
    LineKind.OTHER_TIME: _other_time,
    LineKind.NOT_YET: _not_yet,
    LineKind.SILENT: _silent,
}
