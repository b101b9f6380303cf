"""The whole plan of one patient: wanted for each care plan, spread over all, reconciled with her rows.

This is the one mechanism: whatever fact changes, this runs and its result is applied in the same transaction.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from db.states import (
    LIVE_STATES,
    Audience,
    CarePlanStatus,
    DecisionKind,
    QuestionKind,
    Reason,
    ReminderState,
    ReviewStatus,
)
from scheduler.planning.address import confirmation
from scheduler.planning.course import Course, ReviewState, follow, later
from scheduler.planning.facts import Decision, PatientFacts, PlanFacts, Question, Rules, Stored
from scheduler.planning.history import had_arrived
from scheduler.planning.protocol import CONFIRM, Anchor, OnNewTreatment
from scheduler.planning.reconcile import Change, Difference, reconcile
from scheduler.planning.spread import spread
from scheduler.planning.verdict import Verdict, absent_reason, beyond_reach
from scheduler.planning.wanted import Key, Wanted, visit_instant, wanted

# A review that should have been held longer than this before its treatment was entered is history: nobody is asked.
HISTORY: Final = timedelta(days=28)


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """What the staff's lists show of one review."""

    plan_id: UUID
    key: str
    place: int
    status: ReviewStatus
    due_on: date
    latest_on: date
    visit_at: datetime | None
    open: bool  # somebody still has to book it or to write it down


@dataclass(frozen=True, slots=True)
class Waits:
    """Since when a care plan waits for a person: for a call to her, for the release of the next part."""

    call_asked_at: datetime | None = None
    release_asked_at: datetime | None = None


@dataclass(slots=True)
class PatientPlan:
    """The result of planning one patient."""

    items: Sequence[Wanted]
    difference: Difference
    statuses: Mapping[UUID, CarePlanStatus]
    reviews: Sequence[ReviewRow]
    waits: Mapping[UUID, Waits]
    ask: Sequence[Question] = field(default_factory=list)  # new questions
    answered: Sequence[Question] = field(default_factory=list)  # open ones that the facts have closed


def plan_patient(
    patient: PatientFacts,
    plans: Sequence[PlanFacts],
    rows: Sequence[Stored],
    questions: Sequence[Question],
    now: datetime,
    rules: Rules,
) -> PatientPlan:
    """Plan one patient at one instant. Planning again with the result stored changes nothing."""
    ordered = sorted(plans, key=_age)
    courses = {plan.id: follow(plan) for plan in ordered}
    patient = replace(patient, asked_for_call=any(course.call_asked for course in courses.values()))
    taken_over = {plan.id: _superseded_from(plan, ordered) for plan in ordered}
    items = spread(
        [item for plan in ordered for item in wanted(plan, courses[plan.id], patient, rules, taken_over[plan.id])],
        rules,
    )
    over = [plan_id for plan_id, since in taken_over.items() if since is not None]
    items += confirmation(ordered, courses, over, patient, rows, rules)
    decisions: dict[Key, list[Decision]] = defaultdict(list)
    for plan in ordered:
        for decision in plan.decisions:
            decisions[(plan.id, decision.step, decision.occurrence)].append(decision)
    absent = _absent({plan.id: plan for plan in ordered}, courses, items, rows)
    arrived = [row for row in rows if had_arrived(row, decisions.get((row.plan_id, row.step, row.occurrence), ()))]
    rows = [_received(row, now) if row in arrived else row for row in rows]
    difference = reconcile(items, rows, decisions, absent, now, rules)
    difference.changes[:0] = [Change(row, _RECEIVED) for row in arrived]
    living = _living(rows, difference)
    statuses = {
        plan.id: _status(plan, courses[plan.id], taken_over[plan.id] is not None, plan.id in living) for plan in ordered
    }
    asked = list(_questions(ordered, courses, items, rows, now)) if not beyond_reach(patient) else []
    decided = [(plan.id, decision) for plan in ordered for decision in plan.decisions]
    settled = {_topic(question) for question in questions if any(_answers(*said, question) for said in decided)}
    known = settled | {_topic(question) for question in questions if not question.closed}
    current = {_topic(question) for question in asked}
    return PatientPlan(
        items=items,
        difference=difference,
        statuses=statuses,
        reviews=[row for plan in ordered for row in _review_rows(plan, courses[plan.id], statuses[plan.id], patient)],
        waits={plan.id: _waits(courses[plan.id], statuses[plan.id], patient) for plan in ordered},
        ask=[question for question in asked if _topic(question) not in known],
        answered=[
            question
            for question in questions
            if not question.closed and (_topic(question) not in current or _topic(question) in settled)
        ],
    )


_RECEIVED = Verdict(ReminderState.SENT, Reason.RESOLVED_RECEIVED)


def _received(row: Stored, now: datetime) -> Stored:
    return replace(row, state=_RECEIVED.state, reason=_RECEIVED.reason, changed_at=now)


def _topic(question: Question) -> tuple[object, ...]:
    return (
        question.plan_id,
        question.step,
        question.occurrence,
        question.generation,
        question.kind,
        question.now_basis,
    )


def _answers(plan_id: UUID, decision: Decision, question: Question) -> bool:
    return (
        decision.kind in (DecisionKind.KEEP, DecisionKind.SEND_AGAIN)
        and (plan_id, decision.step, decision.occurrence, decision.generation)
        == (question.plan_id, question.step, question.occurrence, question.generation)
        and question.asked_at is not None
        and decision.at >= question.asked_at
    )


def _age(plan: PlanFacts) -> tuple[datetime, datetime, UUID]:
    return (plan.treated.instant, plan.entered_at, plan.id)


def _superseded_from(plan: PlanFacts, ordered: Sequence[PlanFacts]) -> datetime | None:
    """From when a later treatment of the same protocol takes over; None while none does.

    A treatment entered after it was done takes over everything unsent; one planned ahead takes over from its day.
    """
    for newer in ordered[ordered.index(plan) + 1 :]:
        if newer.protocol.key != plan.protocol.key or newer.cancelled or newer.keeps_earlier:
            continue
        if plan.keeps_earlier and plan.entered_at > newer.entered_at:  # entered afterwards, and staff said: both run
            continue
        if newer.protocol.on_new_treatment is OnNewTreatment.KEEP:
            continue
        planned_ahead = newer.treated.instant > newer.entered_at
        return newer.treated.instant if planned_ahead else datetime.min.replace(tzinfo=newer.entered_at.tzinfo)
    return None


def _absent(
    plans: Mapping[UUID, PlanFacts],
    courses: Mapping[UUID, Course],
    items: Iterable[Wanted],
    rows: Iterable[Stored],
) -> dict[Key, Reason]:
    present = {item.key for item in items}
    reasons = {}
    for row in rows:
        key = (row.plan_id, row.step, row.occurrence)
        if key not in present:
            plan = plans[row.plan_id]
            step = plan.protocol.find_step(row.step)
            reasons[key] = absent_reason(step, _review_of(step, row, courses[row.plan_id]), courses[row.plan_id])
    return reasons


def _review_of(step: object, row: Stored, course: Course) -> ReviewState | None:
    named = getattr(step, "review", None)
    if named:
        return course.reviews.get(named)
    if getattr(step, "concerns_reviews", False):
        return next((state for state in course.reviews.values() if state.place == row.occurrence), None)
    return None


def _living(rows: Iterable[Stored], difference: Difference) -> set[UUID]:
    """Care plans that still have a live row once the difference is applied."""
    ended = {change.row.id for change in difference.changes if change.verdict.state not in LIVE_STATES}
    alive = {
        row.plan_id for row in rows if row.state in LIVE_STATES and row.id not in ended and row.step != CONFIRM.key
    }
    return alive | {
        new.item.plan.id
        for new in difference.inserts
        if new.verdict.state in LIVE_STATES and new.item.step is not CONFIRM
    }


def _status(plan: PlanFacts, course: Course, superseded: bool, alive: bool) -> CarePlanStatus:
    if plan.cancelled or course.stopped:
        return CarePlanStatus.REVOKED
    if superseded and not alive:
        return CarePlanStatus.REVOKED
    if course.completed or not alive:
        return CarePlanStatus.COMPLETED
    return CarePlanStatus.ON_HOLD if course.on_hold else CarePlanStatus.ACTIVE


def _waits(course: Course, status: CarePlanStatus, patient: PatientFacts) -> Waits:
    if beyond_reach(patient):
        return Waits()
    running = status in (CarePlanStatus.ACTIVE, CarePlanStatus.ON_HOLD)
    return Waits(
        call_asked_at=course.call_asked.at.instant if course.call_asked else None,
        release_asked_at=course.partner_wanted.at.instant if course.partner_wanted and running else None,
    )


def _review_rows(plan: PlanFacts, course: Course, status: CarePlanStatus, patient: PatientFacts) -> Iterable[ReviewRow]:
    ended = status is CarePlanStatus.REVOKED or course.completed or beyond_reach(patient)
    for state in course.reviews.values():
        yield ReviewRow(
            plan_id=plan.id,
            key=state.rule.key,
            place=state.place,
            status=state.status,
            due_on=state.due.wall.date(),
            latest_on=later(state.due, state.rule.tolerance).wall.date(),
            visit_at=state.booking.at.instant if state.booking else None,
            open=not ended and _is_expected(state, plan),
        )


def _is_expected(state: ReviewState, plan: PlanFacts) -> bool:
    """Whether somebody still has to book or write down a review, also when no message of its plan is left to send."""
    if state.status in (ReviewStatus.COMPLETED, ReviewStatus.MISSED):
        return state.status is ReviewStatus.MISSED
    return (state.booking.at if state.booking else state.due).instant > plan.entered_at - HISTORY


def _questions(
    plans: Sequence[PlanFacts],
    courses: Mapping[UUID, Course],
    items: Iterable[Wanted],
    rows: Iterable[Stored],
    now: datetime,
) -> Iterable[Question]:
    latest: dict[Key, Stored] = {}
    told: dict[Key, Stored] = {}
    for row in sorted(rows, key=lambda row: row.generation):
        key = (row.plan_id, row.step, row.occurrence)
        latest[key] = row
        if row.state is ReminderState.SENT:
            told[key] = row
    for item in items:
        found = latest.get(item.key)
        if found and found.state is ReminderState.SENT and found.basis != item.basis and _worth_asking(item, now):
            yield Question(
                plan_id=item.plan.id,
                kind=QuestionKind.DATE_MOVED,
                step=item.step.key,
                occurrence=item.occurrence,
                generation=found.generation,
                told=found.basis,
                now_basis=item.basis,
            )
    for plan in plans:
        if plan.cancelled or courses[plan.id].stopped or courses[plan.id].completed:
            continue
        yield from _withdrawn(plan, courses[plan.id], told)


def _worth_asking(item: Wanted, now: datetime) -> bool:
    """Visits announce themselves, later repeats follow the new date, and what is over needs no second mail."""
    return (
        item.step.anchor is not Anchor.REVIEW_BOOKED
        and item.step.repeat is None
        and item.step.audience is Audience.PATIENT
        and item.verdict.state is not ReminderState.CANCELLED
        and item.expires_at > now
    )


def _withdrawn(plan: PlanFacts, course: Course, told: Mapping[Key, Stored]) -> Iterable[Question]:
    """A visit that she was told of and that was then cancelled: does she know?"""
    for state in course.reviews.values():
        if state.withdrawn_at is None or state.status is not ReviewStatus.DUE:
            continue
        for step in plan.protocol.steps:
            if step.anchor is not Anchor.REVIEW_BOOKED or step.review not in (None, state.rule.key):
                continue
            row = told.get((plan.id, step.key, 1 if step.review else state.place))
            if row and visit_instant(row.basis) > state.withdrawn_at:
                yield Question(
                    plan.id, QuestionKind.VISIT_WITHDRAWN, row.step, row.occurrence, row.generation, row.basis, ""
                )
                break
