"""What forbids a step: the facts that cancel it and those that hold it, in the order of their weight.

When it would be sent is in `wanted`; what staff decided about one reminder is applied in `reconcile`.
"""

from dataclasses import dataclass
from datetime import date, datetime

from db.states import AddressState, Audience, Phase, Reason, ReminderState, ReviewStatus, StepKind, StopReason, Topic
from scheduler.planning.course import Course, ReviewState
from scheduler.planning.facts import PatientFacts, PlanFacts
from scheduler.planning.protocol import CONFIRM, NOTICE, Step, StopOn


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the facts allow: `scheduled` (it may go), `held` or `cancelled`, the last two with their reason."""

    state: ReminderState
    reason: Reason | None = None


MAY_GO = Verdict(ReminderState.SCHEDULED)

_STOPS = {
    StopReason.DECEASED: Reason.DECEASED,
    StopReason.OPTED_OUT: Reason.OPTED_OUT,
    StopReason.UNSAFE: Reason.UNSAFE,
    StopReason.LEFT: Reason.LEFT,
    StopReason.OTHER: Reason.OTHER,
}
# Nobody rings a patient who has died or left; after the other stops staff's own lines go on.
_STOPS_STAFF_TOO = frozenset({StopReason.DECEASED, StopReason.LEFT})

_ADDRESS_HOLDS = {
    AddressState.MISSING: Reason.ADDRESS_MISSING,
    AddressState.UNCONFIRMED: Reason.ADDRESS_UNCONFIRMED,
    AddressState.REFUSED: Reason.ADDRESS_REFUSED,
}


def beyond_reach(patient: PatientFacts) -> bool:
    """Whether even staff have nothing left to do or ask about her."""
    return patient.stopped in _STOPS_STAFF_TOO


def messages_stopped(patient: PatientFacts) -> Reason | None:
    """Why nothing goes to her at all, or None."""
    return _STOPS.get(patient.stopped) if patient.stopped else None


def cancelled(reason: Reason) -> Verdict:
    """A verdict that cancels."""
    return Verdict(ReminderState.CANCELLED, reason)


def held(reason: Reason) -> Verdict:
    """A verdict that holds."""
    return Verdict(ReminderState.HELD, reason)


def judge(
    step: Step,
    review: ReviewState | None,
    due_at: datetime,
    plan: PlanFacts,
    course: Course,
    patient: PatientFacts,
    superseded_from: datetime | None,
) -> Verdict:
    """The weightiest fact about one step of a plan. `superseded_from`: a later treatment took over at that instant."""
    reason = _cancels(step, review, due_at, plan, course, patient, superseded_from)
    if reason:
        return cancelled(reason)
    reason = _holds(step, plan, course, patient)
    return held(reason) if reason else MAY_GO


def absent_reason(step: Step | None, review: ReviewState | None, course: Course) -> Reason:
    """Why a step that has a row is no longer wanted at all."""
    if step is not None and step.phase is Phase.PARTNER and course.partner_released is None:
        return Reason.PARTNER_REVOKED
    if review is not None and review.status is ReviewStatus.COMPLETED:
        return Reason.REVIEW_COMPLETED
    return Reason.NO_LONGER_APPLIES


def _cancels(
    step: Step,
    review: ReviewState | None,
    due_at: datetime,
    plan: PlanFacts,
    course: Course,
    patient: PatientFacts,
    superseded_from: datetime | None,
) -> Reason | None:
    to_patient = step.audience is Audience.PATIENT
    if plan.cancelled:
        return plan.cancelled
    if patient.stopped in _STOPS and (to_patient or beyond_reach(patient)):
        return _STOPS[patient.stopped]
    if superseded_from is not None and due_at >= superseded_from:
        return Reason.SUPERSEDED
    if course.stopped:
        return Reason.PLAN_STOPPED
    if course.completed:
        return Reason.PLAN_COMPLETED
    if StopOn.REVIEW_COMPLETED in step.stop_on and _review_completed(step, review, course):
        return Reason.REVIEW_COMPLETED
    if StopOn.PARTNER_RELEASED in step.stop_on and course.partner_released:
        return Reason.PARTNER_RELEASED
    if StopOn.HEALING_CLEARED in step.stop_on and course.healing_cleared:
        return Reason.HEALING_CLEARED
    if to_patient and _consent(step, patient) is False:
        return Reason.CONSENT_WITHDRAWN
    return None


def _review_completed(step: Step, review: ReviewState | None, course: Course) -> bool:
    if review is None and step.review:
        review = course.reviews.get(step.review)
    concerned = [review] if review else course.reviews.values()
    return any(state.status is ReviewStatus.COMPLETED for state in concerned)


def _holds(step: Step, plan: PlanFacts, course: Course, patient: PatientFacts) -> Reason | None:
    if patient.stopped is StopReason.LOST and step.audience is Audience.PATIENT:
        return Reason.STOP_LOST  # it may have been no stop at all: nothing is cancelled before somebody has looked
    if course.complication and StopOn.COMPLICATION in step.stop_on:
        return Reason.COMPLICATION
    if patient.asked_for_call and step.audience is Audience.PATIENT and _of_the_course(step):
        return Reason.ASKED_FOR_CALL
    if course.on_hold:
        return Reason.HOLD
    minimum = plan.protocol.minimum_age
    if minimum is not None and not plan.age_overridden:
        if patient.birth_date is None:
            return Reason.BIRTH_DATE_MISSING
        if age_on(patient.birth_date, plan.treated.wall.date()) < minimum:
            return Reason.UNDER_AGE
    if not plan.approved:
        return Reason.NOT_APPROVED
    if step.audience is Audience.STAFF:
        return None
    needed = {step.template, NOTICE} if patient.by_notice and step is not CONFIRM else {step.template}
    if plan.approved_templates is not None and not needed <= plan.approved_templates:
        return Reason.NOT_APPROVED
    if _consent(step, patient) is None:
        return Reason.CONSENT_MISSING
    # The question whether the address is hers is the one message that waits for no answer to it.
    return None if step is CONFIRM else _ADDRESS_HOLDS.get(patient.address)


def _of_the_course(step: Step) -> bool:
    """What waits while she waits for a call: the plan followed at home; visits and aftercare go on."""
    return step.kind is StepKind.EXERCISE or step.phase is Phase.PARTNER


def _consent(step: Step, patient: PatientFacts) -> bool | None:
    """Whether she agreed to this kind of message; None while nobody has recorded it."""
    topics = {StepKind.REVIEW: [Topic.REVIEWS], StepKind.EXERCISE: [Topic.EXERCISES]}.get(
        step.kind, [Topic.REVIEWS, Topic.EXERCISES]
    )
    said = [patient.consent.get(topic) for topic in topics]
    if True in said:
        return True
    return None if None in said else False


def age_on(birth_date: date, day: date) -> int:
    """Age in completed years; who was born on 29 February has her birthday on 1 March in other years."""
    return day.year - birth_date.year - ((day.month, day.day) < (birth_date.month, birth_date.day))
