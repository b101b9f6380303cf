"""What a message is called before it is written: its subject as far as the plan knows it, and staff's own lines.

The finished subject, with her values, is made in `scheduler.compose`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from db.follow_up import CarePlan, PlanQuestion, Reminder
from db.states import Audience
from scheduler import dates
from scheduler.clinic import Clinic
from scheduler.library import Shelf
from scheduler.message_source import EXPRESSION, parse_source
from scheduler.planning.protocol import Anchor, Protocol, Step

STAFF_LINES: Final = {
    "staff_call_missed": "Ring: the visit was missed",
    "staff_decide_missed": "Decide: the visit was missed and no other is booked",
    "staff_call_unreviewed": "Ring: the review has not taken place",
}
UNKNOWN: Final = "…"


def title_of(
    shelf: Shelf, protocol: Protocol, step: Step, language: str, occurrence: int | None = None, basis: str | None = None
) -> str:
    """The subject of a step's mail, or the words of a line for staff. `basis` is the reminder's: it names the visit.

    What only the finished mail knows is shown as `…`. Without `occurrence` the step is meant, and no one message of it;
    with it the review is named of which the subject says nothing, or two lines of a plan would look alike.
    """
    return _subject_of(shelf, protocol, step, language, occurrence or 1, basis) + _review_of(protocol, step, occurrence)


def _review_of(protocol: Protocol, step: Step, occurrence: int | None) -> str:
    """` (two-week review)`, for one message of a step that is there once for each review."""
    told = step.anchor is Anchor.REVIEW_BOOKED or len(protocol.reviews) < 2
    if occurrence is None or told or step.review is not None or not step.concerns_reviews:
        return ""
    place = min(occurrence, len(protocol.reviews)) - 1
    return f" ({protocol.reviews[place].key.replace('_', ' ')} review)"


def _subject_of(shelf: Shelf, protocol: Protocol, step: Step, language: str, occurrence: int, basis: str | None) -> str:
    if step.audience is Audience.STAFF:
        return staff_line(step.template)
    texts = shelf.find_message(protocol, step.template, language, "general", approved_only=False)
    if texts is None:
        return step.template.replace("_", " ")
    tongue = texts.text.source.language
    values = _values(step, occurrence, basis, tongue)
    subject = parse_source(texts.text.source).front.subject
    return EXPRESSION.sub(lambda match: values.get(match[1], UNKNOWN), subject)


def title_of_row(shelf: Shelf, plan: CarePlan, row: Reminder | PlanQuestion, language: str) -> str:
    """What a stored reminder's message is called; its text's key when its step is gone from a draft."""
    protocol = shelf.get(plan.protocol_version_id).protocol
    step = protocol.find_step(row.step)
    if step is None and isinstance(row, Reminder) and row.audience is Audience.STAFF:
        return staff_line(row.template)
    if step is None:
        return row.template.replace("_", " ") if isinstance(row, Reminder) else row.step
    basis = row.basis if isinstance(row, Reminder) else row.told
    return title_of(shelf, protocol, step, language, row.occurrence, basis)


class Titles:
    """What messages are called in sentences: subjects in quotes, lines for staff as they stand; for one reading."""

    def __init__(self, session: Session, clinic: Clinic) -> None:
        self._session = session
        self._shelf = clinic.library.shelf(session)
        self._language = clinic.settings.clinic_language

    def of(self, plan_id: UUID, step_key: str, occurrence: int, basis: str | None) -> tuple[str, Audience]:
        """The title of one message and for whom it is; its step's key when its step is gone from a draft."""
        plan = self._session.get_one(CarePlan, plan_id)
        protocol = self._shelf.get(plan.protocol_version_id).protocol
        step = protocol.find_step(step_key)
        if step is None:
            return step_key.replace("-", " "), Audience.PATIENT
        title = title_of(self._shelf, protocol, step, self._language, occurrence, basis)
        return (title if step.audience is Audience.STAFF else f"“{title}”"), step.audience


def staff_line(template: str) -> str:
    """What a line for staff asks for; its key in plain letters where it is the clinic's own."""
    words = template.removeprefix("staff_").replace("_", " ")
    return STAFF_LINES.get(template, words[:1].upper() + words[1:])


def _values(step: Step, occurrence: int, basis: str | None, language: str) -> Mapping[str, str]:
    values = {"week.number": str(week_of(step, occurrence))}
    if step.repeat:
        values |= {"step.number": str(occurrence), "step.total": str(step.repeat.count)}
    if step.anchor is Anchor.REVIEW_BOOKED and basis:
        visit = datetime.fromisoformat(basis.split(" ")[0])
        values |= {
            "review.date": dates.day_in_words(visit.date(), language),
            "review.weekday": dates.weekday_in_words(visit.date(), language),
            "review.time": dates.time_in_words(visit.time(), language),
        }
    return values


def week_of(step: Step, occurrence: int) -> int:
    """The week of her plan: of a weekly step its occurrence, else the week its day lies in."""
    if step.repeat:
        return occurrence
    return max(1, -(-step.offset.days // 7))
