"""The wanted set: every message the facts call for, with its time, its end and its verdict.

Sharing days out among a patient's plans is in `spread`; the difference to the stored rows in `reconcile`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from uuid import UUID

from db.states import Audience, Phase, ReviewStatus, StepKind
from scheduler.local_time import next_allowed, to_utc, to_wall
from scheduler.planning.course import Course, ReviewState, later
from scheduler.planning.facts import Moment, PatientFacts, PlanFacts, Rules
from scheduler.planning.protocol import Anchor, Span, Step, When
from scheduler.planning.verdict import Verdict, judge

Key = tuple[UUID, str, int]  # care plan, step, occurrence


@dataclass(frozen=True, slots=True)
class Wanted:
    """One message the facts call for. `due_local` is the intended wall time in `zone`.

    `own_at` is the step's own time, before the sending window and the sharing of days; `expires_at` counts from it.
    """

    plan: PlanFacts
    step: Step
    occurrence: int
    review: ReviewState | None
    basis: str
    own_at: datetime
    due_at: datetime
    due_local: datetime
    zone: str
    expires_at: datetime
    verdict: Verdict

    @property
    def key(self) -> Key:
        """What the database keeps unique among live rows."""
        return (self.plan.id, self.step.key, self.occurrence)

    @property
    def useless(self) -> bool:
        """Whether no allowed moment is left before its end."""
        return self.due_at >= self.expires_at


def wanted(
    plan: PlanFacts, course: Course, patient: PatientFacts, rules: Rules, superseded_from: datetime | None = None
) -> list[Wanted]:
    """All messages one care plan calls for, in step order. Nothing here depends on the present time."""
    found = []
    for protocol_step in plan.protocol.steps:
        step = _as_she_likes(protocol_step, patient, rules)
        for occurrence, review, anchor in _occurrences(step, plan, course):
            offset = step.offset
            if step.repeat:
                offset = offset.plus(step.repeat.every.times(occurrence - 1))
            due_local, own_time = _own_time(step, offset, anchor, patient.zone)
            if step.kind is StepKind.EXERCISE and step.audience is Audience.PATIENT:
                due_local, own_time = _after_pauses(step, due_local, own_time, course, patient)
            due_at = allowed(step, own_time, patient.zone, rules)
            found.append(
                Wanted(
                    plan=plan,
                    step=step,
                    occurrence=occurrence,
                    review=review,
                    basis=_basis(step, anchor),
                    own_at=own_time,
                    due_at=due_at,
                    due_local=due_local if due_at == own_time else to_wall(due_at, patient.zone),
                    zone=patient.zone,
                    expires_at=end_of(step.expires_after, due_local, own_time, patient.zone),
                    verdict=judge(step, review, due_at, plan, course, patient, superseded_from),
                )
            )
    return found


def _as_she_likes(step: Step, patient: PatientFacts, rules: Rules) -> Step:
    """The step at the time of day she likes to be written to, where it is about visits or the plan followed at home."""
    likes = patient.preferred_time
    if likes is None or step.at is None or step.kind not in (StepKind.EXERCISE, StepKind.REVIEW):
        return step
    if step.audience is Audience.STAFF or not rules.window.holds(datetime.combine(date.min, likes)):
        return step
    return replace(step, at=likes)


def _after_pauses(
    step: Step, due_local: datetime, own_time: datetime, course: Course, patient: PatientFacts
) -> tuple[datetime, datetime]:
    """A message of the plan followed at home, later by the pauses that began before it; a weekly one on her day."""
    for pause in course.pauses:
        if own_time >= pause.since:
            due_local += timedelta(days=pause.days)
            own_time = to_utc(due_local, patient.zone)
    if step.repeat and step.at and patient.preferred_weekday is not None:
        due_local += timedelta(days=(patient.preferred_weekday - due_local.weekday()) % 7)
        own_time = to_utc(due_local, patient.zone)
    return due_local, own_time


def allowed(step: Step, instant: datetime, zone: str, rules: Rules) -> datetime:
    """The first moment not before `instant` at which this step may leave: window and, if it asks, working days."""
    free = rules.is_free_day if step.working_days_only else None
    if step.audience is Audience.STAFF:
        return instant if free is None else _on_working_day(instant, zone, rules)
    return next_allowed(instant, zone, rules.window, free)


def visit_instant(basis: str) -> datetime:
    """The visit's start that a `review_booked` basis names."""
    wall, zone = basis.split(" ")
    return to_utc(datetime.fromisoformat(wall), zone)


def _on_working_day(instant: datetime, zone: str, rules: Rules) -> datetime:
    wall = to_wall(instant, zone)
    while rules.is_free_day(wall.date()):
        wall += timedelta(days=1)
        instant = to_utc(wall, zone)
    return instant


def _occurrences(step: Step, plan: PlanFacts, course: Course) -> Iterator[tuple[int, ReviewState | None, Moment]]:
    if step.phase is Phase.PARTNER and course.partner_released is None:
        return
    if step.when is When.PARTNER_NOT_WANTED and not course.partner_not_wanted:
        return
    if step.when is When.SESSION_UNBOOKED and course.session_booked:
        return
    if step.when is When.HEALING_CLEARED and course.healing_cleared is None:
        return
    count = step.repeat.count if step.repeat else 1
    if not step.concerns_reviews:
        anchor = _plain_anchor(step.anchor, plan, course)
        if anchor is not None:
            yield from ((n, None, anchor) for n in range(1, count + 1))
        return
    for review in course.reviews.values():
        if step.review not in (None, review.rule.key) or not _review_fits(step, review):
            continue
        anchor = _review_anchor(step.anchor, review) or _plain_anchor(step.anchor, plan, course)
        if anchor is None:
            continue
        if step.review is None:  # one for each review: the occurrence is its place
            yield review.place, review, anchor
        else:
            yield from ((n, review, anchor) for n in range(1, count + 1))


def _review_fits(step: Step, review: ReviewState) -> bool:
    if step.when is When.REVIEW_UNBOOKED:
        return review.status in (ReviewStatus.DUE, ReviewStatus.MISSED)
    if step.when is When.REVIEW_BOOKED or step.anchor is Anchor.REVIEW_BOOKED:
        return review.status is ReviewStatus.BOOKED
    if step.when is When.UNTIL_REVIEW_DONE:
        return review.status is not ReviewStatus.COMPLETED
    return True


def _plain_anchor(anchor: Anchor, plan: PlanFacts, course: Course) -> Moment | None:
    if anchor is Anchor.TREATMENT:
        return plan.treated
    event = {
        Anchor.SOLO_STARTED: course.solo_started,
        Anchor.PARTNER_RELEASED: course.partner_released,
        Anchor.HEALING_CLEARED: course.healing_cleared,
    }.get(anchor)
    return event.at if event else None


def _review_anchor(anchor: Anchor, review: ReviewState) -> Moment | None:
    if anchor is Anchor.REVIEW_DUE:
        return review.due
    event = None
    if anchor is Anchor.REVIEW_BOOKED and review.status is ReviewStatus.BOOKED:
        event = review.booking
    elif anchor is Anchor.REVIEW_MISSED and review.status is ReviewStatus.MISSED:
        event = review.missed
    elif anchor is Anchor.REVIEW_COMPLETED:
        event = review.completed
    return event.at if event else None


def _own_time(step: Step, offset: Span, anchor: Moment, zone: str) -> tuple[datetime, datetime]:
    """The intended wall time in her zone and its instant, before the sending window."""
    if step.at is None:
        instant = later(anchor, offset).instant
        return to_wall(instant, zone), instant
    # Whole days count from the date as entered at the clinic; the time of day is hers.
    wall = datetime.combine(anchor.wall.date() + timedelta(days=offset.days), step.at)
    return wall, to_utc(wall, zone)


def end_of(span: Span, due_local: datetime, own_time: datetime, zone: str) -> datetime:
    """When a message is of no use any more, counted from its own time."""
    if span.is_elapsed:
        return own_time + span.elapsed
    return to_utc(due_local + timedelta(days=span.days), zone)


def _basis(step: Step, anchor: Moment) -> str:
    if step.anchor is Anchor.REVIEW_BOOKED or step.at is None:
        return f"{anchor.wall.isoformat(timespec='seconds')} {anchor.zone}"
    return anchor.wall.date().isoformat()
