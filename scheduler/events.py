"""Use cases about the events of a care plan: record one, retract one; the plan follows in the same transaction."""

import re
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit, raised_lines
from db import care_plans as stored
from db import patients as stored_patients
from db import treatments as stored_treatments
from db.follow_up import CareEvent, CarePlan
from db.private_page import RaisedKind
from db.records import Treatment
from db.states import EventKind, TreatmentStatus
from scheduler import patients, treatments
from scheduler.care_plans import facts_of, replan
from scheduler.clinic import Clinic
from scheduler.entries import check_moment, clean_text, read_reason
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.local_time import to_wall
from scheduler.planning.course import first_open_review
from scheduler.planning.facts import Moment
from scheduler.planning.patient_plan import PatientPlan

REVIEW_KINDS = frozenset(
    {
        EventKind.REVIEW_BOOKED,
        EventKind.REVIEW_CANCELLED,
        EventKind.REVIEW_MISSED,
        EventKind.REVIEW_COMPLETED,
        EventKind.VISIT_CONFIRMED,
        EventKind.QUESTIONS_ANSWERED,
    }
)
# Their time is when something will be; everything else has happened.
_AHEAD = frozenset({EventKind.REVIEW_BOOKED, EventKind.SESSION_BOOKED, EventKind.SOLO_STARTED, EventKind.PAUSED})
_NEED_A_TIME = frozenset({EventKind.REVIEW_BOOKED, EventKind.PAUSED})
_TROUBLE = frozenset({EventKind.COMPLICATION, EventKind.COMPLICATION_RESOLVED})
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,39}")
CLOCK_SLACK = timedelta(minutes=5)  # a phone's clock may run ahead of ours


def record(
    clinic: Clinic,
    actor: str,
    treatment_id: UUID,
    kind: EventKind,
    at: str | None = None,
    review: str | None = None,
    fields: Mapping[str, str] | None = None,
) -> tuple[UUID, PatientPlan]:
    """Record an event and replan. `at` is local to the clinic; default now.

    Raises `InvalidInput` for a wrong review, time or field, `Refused` for a cancelled treatment.
    """
    with clinic.store.write(actor, clinic.clock.now()) as session:
        treatment = treatments.lock(session, treatment_id)
        event_id = store(session, clinic, treatment, kind, at, review, fields)
        return event_id, replan(session, clinic, treatment.patient_id)


def store(
    session: Session,
    clinic: Clinic,
    treatment: Treatment,
    kind: EventKind,
    at: str | None = None,
    review: str | None = None,
    fields: Mapping[str, str] | None = None,
) -> UUID:
    """Check and store an event of a locked patient's treatment, in the caller's transaction; planning is its next step.

    Raises like `record`.
    """
    now = clinic.clock.now()
    texts = {}
    for key, text in (fields or {}).items():
        if not _FIELD.fullmatch(key):  # names of fields are in the audit, in plain words
            raise InvalidInput("field: write its name in small letters, digits and _, like place=Room 2")
        texts[key], problem = clean_text(text, f"field {key}", 4_000)
        if problem:
            raise InvalidInput(problem)
    plan = treatments.get_plan(session, treatment.id)
    if treatment.status is TreatmentStatus.CANCELLED and kind is not EventKind.CALL_CLOSED:
        raise Refused("the treatment was cancelled: nothing more is recorded for its plan")
    named = _review(session, clinic, treatment, plan, kind, review)
    moment = _moment(clinic, kind, at)
    if kind not in _AHEAD and moment.instant > now + CLOCK_SLACK:
        raise InvalidInput(f"at: {kind.value} at {at} lies in the future; it is recorded once it has happened")
    wall = moment.wall.isoformat(timespec="seconds")
    event = stored.add_event(session, plan, kind, named, moment.instant, wall, moment.zone, texts)
    if kind is EventKind.COMPLICATION:
        stored_treatments.add_adverse_event(session, treatment, event.id, moment.instant, texts)
    if kind in _TROUBLE:
        _resolve(session, plan)
    if kind is EventKind.REVIEW_BOOKED:
        asked = raised_lines.find_open(session, plan.id, RaisedKind.OTHER_TIME)
        if asked is not None:
            raised_lines.close(session, asked)  # this is the other time that was asked for
    audit.record(session, f"event.{kind.value}", "event", event.id, treatment.patient_id, texts)
    return event.id


def retract(clinic: Clinic, actor: str, event_id: UUID, reason: str) -> PatientPlan:
    """Take back an event that was entered wrongly; it stays readable and no longer counts."""
    why = read_reason(reason)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        event = get(session, event_id)
        stored_patients.lock_patient(session, event.patient_id)
        if stored.is_retracted(session, event_id):
            raise Refused("the event is retracted already")
        stored.retract_event(session, event, why)
        if event.kind in _TROUBLE:
            _resolve(session, session.get_one(CarePlan, event.care_plan_id))
        audit.record(session, "event.retracted", "event", event.id, event.patient_id, ["retraction"])
        return replan(session, clinic, event.patient_id)


def _resolve(session: Session, plan: CarePlan) -> None:
    """Each complication is over with the first "resolved" that happened after it, in whatever order they were entered.

    The plan is held by the same order (`scheduler.planning.course`).
    """
    happened = [event for event in stored.list_events(session, [plan.id]) if event.kind in _TROUBLE]
    happened.sort(key=lambda event: (event.occurred_at, event.recorded_at, event.id))
    ended_by: dict[UUID, UUID | None] = {}
    open_ones: list[UUID] = []
    for event in happened:
        if event.kind is EventKind.COMPLICATION:
            open_ones.append(event.id)
        else:
            ended_by |= dict.fromkeys(open_ones, event.id)
            open_ones = []
    stored_treatments.resolve_adverse_events(session, plan.treatment_id, ended_by)


def get(session: Session, event_id: UUID) -> CareEvent:
    """The event with that id. Raises `NotFound`."""
    event = stored.find_event(session, event_id)
    if event is None:
        raise NotFound(f"there is no event {event_id}")
    return event


def _moment(clinic: Clinic, kind: EventKind, at: str | None) -> Moment:
    zone = clinic.settings.clinic_time_zone
    if at is not None:
        moment = check_moment(at, zone)
        years = moment.wall.year - clinic.clock.now().year
        if not -treatments.OLDEST_TREATMENT_YEARS <= years <= treatments.FURTHEST_TREATMENT_YEARS:
            raise InvalidInput(
                f"at: {at} is more than {treatments.OLDEST_TREATMENT_YEARS} years ago "
                f"or {treatments.FURTHEST_TREATMENT_YEARS} ahead"
            )
        return moment
    if kind in _NEED_A_TIME:
        raise InvalidInput("at: say when it is (a visit its start, a pause its end), like --at 2026-12-08T14:00")
    now = clinic.clock.now()
    return Moment(to_wall(now, zone), zone, now)


def _review(
    session: Session, clinic: Clinic, treatment: Treatment, plan: CarePlan, kind: EventKind, named: str | None
) -> str | None:
    facts = facts_of(session, clinic, plan, patients.get(session, treatment.patient_id).language)
    keys = [rule.key for rule in facts.protocol.reviews]
    if kind not in REVIEW_KINDS:
        if named is not None:
            raise InvalidInput(f"review: {kind.value} is not about a review; leave --review out")
        return None
    if not keys:
        raise InvalidInput(f'review: the protocol "{facts.protocol.key}" has no reviews')
    if named is not None and named not in keys:
        raise InvalidInput(f'review: "{named}" is none of {", ".join(keys)}')
    found = named or first_open_review(facts)
    if found is None:
        raise InvalidInput(f"review: all reviews are completed; name one of {', '.join(keys)} to correct it")
    return found
