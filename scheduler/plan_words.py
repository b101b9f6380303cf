"""A plan in sentences: when, what it counts from, what the mail is called, where it stands. For screens and terminal.

What the mails themselves say is in `scheduler.messages`.
"""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Session

from db.follow_up import CarePlan, Reminder
from db.reminders import list_reminders
from db.states import Audience, Reason, ReminderState
from scheduler.clinic import Clinic
from scheduler.planning.patient_plan import PatientPlan
from scheduler.planning.protocol import Anchor, Span, Step
from scheduler.subjects import Titles

_ANCHORS = {
    Anchor.TREATMENT: "the treatment",
    Anchor.REVIEW_DUE: "the review's due date",
    Anchor.REVIEW_BOOKED: "the visit",
    Anchor.REVIEW_MISSED: "the missed visit",
    Anchor.REVIEW_COMPLETED: "the review",
    Anchor.SOLO_STARTED: "the start of the first part",
    Anchor.PARTNER_RELEASED: "the release of the next part",
    Anchor.HEALING_CLEARED: "the all-clear for activities",
}

STATE_WORDS = {
    ReminderState.SCHEDULED: "will be sent",
    ReminderState.HELD: "held",
    ReminderState.SENDING: "is being sent",
    ReminderState.AWAITING_RETRY: "will be tried again",
    ReminderState.SENT: "sent",
    ReminderState.FAILED: "not sent",
    ReminderState.MISSED: "not sent",
    ReminderState.CANCELLED: "cancelled",
    ReminderState.DONE: "done",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plan: the row and its words."""

    row: Reminder
    when: str
    counts_from: str
    title: str
    stands: str

    def __str__(self) -> str:
        return " · ".join(part for part in (self.when, self.counts_from, self.title, self.stands) if part)


def timeline(session: Session, clinic: Clinic, treatment_id: UUID) -> list[Line]:
    """The reminders of one treatment in the order of their times, unsent and sent."""
    shelf = clinic.library.shelf(session)
    lines = []
    for row, _ in list_reminders(session, treatment_id=treatment_id):
        plan = session.get_one(CarePlan, row.care_plan_id)
        steps = {step.key: step for step in shelf.get(plan.protocol_version_id).protocol.steps}
        step = steps.get(row.step)
        lines.append(
            Line(
                row=row,
                when=in_words(datetime.fromisoformat(row.due_local), clinic.clock.now().date()),
                counts_from=counts_from(step, row.occurrence) if step else "",
                title="line for staff" if row.audience is Audience.STAFF else row.template.replace("_", " "),
                stands=stands(row),
            )
        )
    return lines


def stands(row: Reminder) -> str:
    """Where a reminder stands, with its reason as a sentence."""
    return stands_in_words(row.state, row.reason, row.audience)


def stands_in_words(state: ReminderState, reason: Reason | None, audience: Audience) -> str:
    """A state with its reason as a sentence."""
    words = STATE_WORDS[state]
    if state is ReminderState.SCHEDULED and audience is Audience.STAFF:
        words = "will be shown to staff"
    return f"{words}: {reason.sentence}" if reason else words


def in_words(wall: datetime, today: date) -> str:
    """A wall time as people say it: `Fri 28 March, 10:00`; the year only when it is another."""
    year = f" {wall.year}" if wall.year != today.year else ""
    return f"{wall:%a} {wall.day} {wall:%B}{year}, {wall:%H:%M}"


def counts_from(step: Step, occurrence: int) -> str:
    """What a step counts from: `14 days after the treatment`."""
    offset = step.offset
    if step.repeat:
        offset = offset.plus(step.repeat.every.times(occurrence - 1))
    anchor = _ANCHORS[step.anchor]
    length = span_in_words(offset)
    if not length:
        return f"at {anchor}" if step.at is None else f"on the day of {anchor}"
    before = offset.days < 0 or offset.elapsed.total_seconds() < 0
    return f"{length} {'before' if before else 'after'} {anchor}"


def span_in_words(span: Span) -> str:
    """A span without its sign: `14 days`, `90 minutes`; empty for none."""
    if not span.is_elapsed:
        return _count(abs(span.days), "day") if span.days else ""
    seconds = int(abs(span.elapsed.total_seconds()))
    for unit, length in (("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds % length == 0:
            return _count(seconds // length, unit)
    return ""


def changes(session: Session, clinic: Clinic, result: PatientPlan) -> list[str]:
    """What a replanning changes, a sentence for each message, the earliest as it will be first."""
    titles, today = Titles(session, clinic), clinic.clock.now().date()
    lines: list[tuple[datetime, str]] = []
    for change in result.difference.changes:
        row, parts = change.row, []
        before = after = datetime.fromisoformat(row.due_local)
        title, audience = titles.of(row.plan_id, row.step, row.occurrence, change.basis or row.basis)
        if change.timing is not None and change.timing.due_at != row.due_at:
            after = change.timing.due_local
            parts.append(f"from {in_words(before, today)} to {in_words(after, today)}")
        if (change.verdict.state, change.verdict.reason) != (row.state, row.reason):
            parts.append(stands_in_words(change.verdict.state, change.verdict.reason, audience))
        if parts:
            lines.append((after, f"{title}: {'; '.join(parts)}"))
    for new in result.difference.inserts:
        item, due = new.item, new.timing.due_local
        title, audience = titles.of(item.plan.id, item.step.key, item.occurrence, item.basis)
        state = stands_in_words(new.verdict.state, new.verdict.reason, audience)
        lines.append((due, f"{title}: new, {in_words(due, today)}; {state}"))
    asked = [
        f"{titles.of(ask.plan_id, ask.step, ask.occurrence, ask.told)[0]}: {ask.kind.sentence}" for ask in result.ask
    ]
    return [line for _, line in sorted(lines)] + asked


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
