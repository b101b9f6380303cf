"""Replanning: load what planning reads of one patient, plan her, apply the difference in the same transaction.

Every use case that records a fact calls `replan`; there is no second way to change a plan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from db import care_plans as stored
from db import patients, reminders, treatments
from db.engine import instant_of
from db.follow_up import CareEvent, CarePlan, PlanQuestion, Reminder, ReminderDecision, Review
from db.records import Patient, Treatment, TreatmentVersion
from db.states import (
    LIVE_STATES,
    AddressState,
    EventKind,
    Level,
    Past,
    Reason,
    ReminderState,
    StepKind,
    StopReason,
    Topic,
    TreatmentStatus,
)
from db.treatments import TreatmentEntry
from db.types import new_id
from scheduler.clinic import Clinic
from scheduler.kill_points import reach
from scheduler.library import Shelf, ShelvedProtocol
from scheduler.local_time import to_wall
from scheduler.mime import make_message_id
from scheduler.planning.facts import Decision, Event, Moment, PatientFacts, PlanFacts, Question, Stored
from scheduler.planning.patient_plan import PatientPlan, ReviewRow, plan_patient
from scheduler.planning.reconcile import Insert, Timing


@dataclass(slots=True)
class Loaded:
    """What the database holds of one patient, as planning reads it, beside the rows it came from."""

    patient: PatientFacts
    plans: list[PlanFacts]
    rows: list[Stored]
    questions: list[Question]
    plan_rows: dict[UUID, CarePlan]
    reminder_rows: dict[UUID, Reminder]
    question_rows: list[PlanQuestion]


def replan(session: Session, clinic: Clinic, patient_id: UUID) -> PatientPlan:
    """Plan one patient from her facts and store the difference. Locks her row first."""
    patient = patients.lock_patient(session, patient_id)
    if patient is None:
        raise LookupError("the patient to plan does not exist")
    session.flush()
    loaded = load(session, clinic, patient)
    result = plan_patient(
        loaded.patient, loaded.plans, loaded.rows, loaded.questions, instant_of(session), clinic.rules
    )
    apply(session, clinic, patient_id, loaded, result)
    reach("plan_before_commit")
    return result


def load(session: Session, clinic: Clinic, patient: Patient, lock: bool = True) -> Loaded:
    """All that planning reads of one patient. `lock` her reminders unless nothing will be written."""
    plan_rows = stored.list_plans(session, patient.id)
    ids = [row.id for row in plan_rows]
    shelf = clinic.library.shelf(session)
    rows = reminders.list_rows(session, ids, lock) if ids else []
    questions = stored.list_questions(session, ids) if ids else []
    events = stored.list_events(session, ids) if ids else []
    decisions = stored.list_decisions(session, ids) if ids else []
    stop = patients.find_stop(session, patient.id)
    facts = patient_facts(
        clinic,
        patient,
        patients.find_address_state(session, patient),
        patients.list_consent(session, [patient.id])[patient.id],
        stop.reason if stop else None,
    )
    known = {treatment.id: treatment for treatment in treatments.list_treatments(session, patient.id)}
    contents = treatments.find_contents(session, list(known)) if known else {}
    plans = [
        plan_facts(row, known[row.treatment_id], contents[row.treatment_id], events, decisions, shelf, patient.language)
        for row in plan_rows
    ]
    return Loaded(
        patient=facts,
        plans=plans,
        rows=[stored_row(row) for row in rows],
        questions=[question_of(row) for row in questions],
        plan_rows={row.id: row for row in plan_rows},
        reminder_rows={row.id: row for row in rows},
        question_rows=questions,
    )


def patient_facts(
    clinic: Clinic,
    patient: Patient,
    address: AddressState,
    consent: Mapping[Topic, bool],
    stopped: StopReason | None,
) -> PatientFacts:
    """What planning reads of a patient, from what is at hand."""
    return PatientFacts(
        zone=patient.time_zone,
        address=address,
        consent=consent,
        stopped=stopped,
        birth_date=patient.birth_date,
        by_notice=patient.level is Level.NOTICE and clinic.rules.has_pages,
        email_version=patient.email_version,
        email_given_at=patient.email_given_at,
        preferred_time=time.fromisoformat(patient.preferred_time) if patient.preferred_time else None,
        preferred_weekday=patient.preferred_weekday,
    )


def facts_of(session: Session, clinic: Clinic, plan: CarePlan, language: str) -> PlanFacts:
    """What planning reads of one care plan."""
    return facts_of_all(session, clinic, [plan], {plan.patient_id: language})[plan.id]


def facts_of_all(
    session: Session, clinic: Clinic, plans: Sequence[CarePlan], languages: Mapping[UUID, str]
) -> dict[UUID, PlanFacts]:
    """What planning reads of these care plans, by their ids. `languages` of their patients."""
    ids, treatment_ids = [plan.id for plan in plans], [plan.treatment_id for plan in plans]
    shelf = clinic.library.shelf(session)
    known = {treatment.id: treatment for treatment in treatments.list_by_id(session, treatment_ids)}
    contents = treatments.find_contents(session, treatment_ids)
    events: dict[UUID, list[CareEvent]] = {}
    for event in stored.list_events(session, ids):
        events.setdefault(event.care_plan_id, []).append(event)
    decisions: dict[UUID, list[ReminderDecision]] = {}
    for decision in stored.list_decisions(session, ids):
        decisions.setdefault(decision.care_plan_id, []).append(decision)
    return {
        plan.id: plan_facts(
            plan,
            known[plan.treatment_id],
            contents[plan.treatment_id],
            events.get(plan.id, []),
            decisions.get(plan.id, []),
            shelf,
            languages[plan.patient_id],
        )
        for plan in plans
    }


def facts_ahead(
    plan_id: UUID,
    shelf: Shelf,
    shelved: ShelvedProtocol,
    entry: TreatmentEntry,
    language: str,
    now: datetime,
    keeps_earlier: bool,
    starts_held: bool = False,
    past: Past | None = None,
    events: Sequence[Event] = (),
    age_overridden: bool = False,
) -> PlanFacts:
    """A care plan that is not stored yet, as `load` will read it once it is."""
    return PlanFacts(
        id=plan_id,
        protocol=shelved.protocol,
        treated=Moment(datetime.fromisoformat(entry.treated_local), entry.zone, entry.treated_at),
        entered_at=now,
        approved=shelved.approved,
        approved_templates=shelf.sendable(shelved.protocol, language),
        keeps_earlier=keeps_earlier,
        starts_held=starts_held,
        past_override=past,
        age_overridden=age_overridden,
        events=tuple(events),
    )


def booked_ahead(event_id: UUID, booking: Moment, review: str, now: datetime) -> Event:
    """A booked visit that is not stored yet, as `load` will read it once it is."""
    wall = datetime.fromisoformat(booking.wall.isoformat(timespec="seconds"))
    return Event(event_id, EventKind.REVIEW_BOOKED, Moment(wall, booking.zone, booking.instant), now, review)


def apply(session: Session, clinic: Clinic, patient_id: UUID, loaded: Loaded, result: PatientPlan) -> None:
    """Store a difference: rows, reviews, questions and the status of each care plan."""
    for change in result.difference.changes:
        values: dict[str, Any] = {} if change.timing is None else _timing_values(change.timing)
        if change.basis is not None:
            values["basis"] = change.basis
        row = loaded.reminder_rows[change.row.id]
        if change.verdict.reason is Reason.PAST_WHEN_PLANNED:
            values["settled_at"] = instant_of(session)
        reminders.change_row(session, row, change.verdict.state, change.verdict.reason, **values)
        if row.state is ReminderState.SENT and row.sent_at is None:
            row.sent_at = row.changed_at  # staff found that an unknown one had arrived
    _follow_steps(loaded, result)
    session.flush()  # a key's earlier generation has to leave the live index before the next enters
    reminders.insert_rows(
        session,
        [reminder_values(clinic, patient_id, insert, instant_of(session)) for insert in result.difference.inserts],
    )
    for plan_id, status in result.statuses.items():
        plan = loaded.plan_rows[plan_id]
        plan.status = status
        plan.planned_with = clinic.fingerprint
        plan.planned_at = instant_of(session)
        waits = result.waits[plan_id]
        plan.call_asked_at, plan.release_asked_at = waits.call_asked_at, waits.release_asked_at
    _store_reviews(session, patient_id, result.reviews, list(loaded.plan_rows))
    by_topic = {_topic(question): question for question in loaded.question_rows if question.closed_at is None}
    stored.close_questions(session, [by_topic[_topic(question)].id for question in result.answered])
    for question in result.ask:
        session.add(
            PlanQuestion(
                id=new_id(),
                care_plan_id=question.plan_id,
                patient_id=patient_id,
                kind=question.kind,
                step=question.step,
                occurrence=question.occurrence,
                generation=question.generation,
                told=question.told,
                now_basis=question.now_basis,
                asked_at=instant_of(session),
            )
        )
    session.flush()


def _follow_steps(loaded: Loaded, result: PatientPlan) -> None:
    """What a live row keeps of its step follows a step that reads otherwise now: a draft's, or another version's."""
    live = {
        (row.care_plan_id, row.step, row.occurrence): row
        for row in loaded.reminder_rows.values()
        if row.state in LIVE_STATES and row.open_attempt is None
    }
    for item in result.items:
        row, step = live.get(item.key), item.step
        if row is not None and (row.template, row.kind, row.on_unknown) != (step.template, step.kind, step.on_unknown):
            row.template, row.kind, row.on_unknown = step.template, step.kind, step.on_unknown


def reminder_values(clinic: Clinic, patient_id: UUID, insert: Insert, at: datetime) -> dict[str, Any]:
    """The row of a new reminder; its Message-ID is made here, once, and reused by every attempt."""
    item = insert.item
    return {
        "id": new_id(),
        "care_plan_id": item.plan.id,
        "patient_id": patient_id,
        "step": item.step.key,
        "occurrence": item.occurrence,
        "generation": insert.generation,
        "kind": item.step.kind,
        "audience": item.step.audience,
        "template": item.step.template,
        "on_unknown": item.step.on_unknown,
        "state": insert.verdict.state,
        "reason": insert.verdict.reason,
        "basis": item.basis,
        "message_id": make_message_id(clinic.settings.message_domain),
        "settled_at": at if _is_nobodys(insert) else None,
        **_timing_values(insert.timing),
    }


def _is_nobodys(insert: Insert) -> bool:
    """What had passed when it was planned is no line for staff, but for aftercare of a treatment of that very day."""
    if insert.verdict.reason is not Reason.PAST_WHEN_PLANNED:
        return False
    plan = insert.item.plan
    same_day = to_wall(plan.entered_at, plan.treated.zone).date() == plan.treated.wall.date()
    return not (same_day and insert.item.step.kind is StepKind.AFTERCARE)


def stored_row(row: Reminder) -> Stored:
    """A reminder row as planning reads it."""
    return Stored(
        id=row.id,
        plan_id=row.care_plan_id,
        step=row.step,
        occurrence=row.occurrence,
        generation=row.generation,
        state=row.state,
        reason=row.reason,
        basis=row.basis,
        due_at=row.due_at,
        due_local=row.due_local,
        zone=row.zone,
        ready_at=row.ready_at,
        expires_at=row.expires_at,
        changed_at=row.changed_at,
        not_before=row.not_before,
        open_attempt=row.open_attempt is not None,
    )


def moment_of(content: TreatmentVersion) -> Moment:
    """When a treatment was done, as entered."""
    return Moment(datetime.fromisoformat(content.treated_local), content.treated_zone, content.treated_at)


def plan_facts(
    row: CarePlan,
    treatment: Treatment,
    content: TreatmentVersion,
    events: Sequence[CareEvent],
    decisions: Sequence[ReminderDecision],
    shelf: Shelf,
    language: str,
) -> PlanFacts:
    """A care plan as planning reads it, from rows that are at hand; of events and decisions those that are its own."""
    shelved = shelf.get(row.protocol_version_id)
    cancelled = None
    if treatment.status is TreatmentStatus.CANCELLED:
        cancelled = Reason.REASSIGNED if treatment.reassigned_to_id else Reason.TREATMENT_CANCELLED
    return PlanFacts(
        id=row.id,
        protocol=shelved.protocol,
        treated=moment_of(content),
        entered_at=treatment.entered_at,
        approved=shelved.approved,
        approved_templates=shelf.sendable(shelved.protocol, language),
        cancelled=cancelled,
        keeps_earlier=row.keeps_earlier,
        starts_held=row.starts_held,
        past_override=row.past_override,
        age_overridden=row.age_override_sealed is not None,
        events=tuple(_event(event) for event in events if event.care_plan_id == row.id),
        decisions=tuple(
            Decision(d.step, d.occurrence, d.generation, d.kind, d.recorded_at)
            for d in decisions
            if d.care_plan_id == row.id
        ),
    )


def _event(row: CareEvent) -> Event:
    at = Moment(datetime.fromisoformat(row.occurred_local), row.zone, row.occurred_at)
    return Event(row.id, row.kind, at, row.recorded_at, row.review)


def question_of(row: PlanQuestion) -> Question:
    """A question as planning reads it."""
    return Question(
        plan_id=row.care_plan_id,
        kind=row.kind,
        step=row.step,
        occurrence=row.occurrence,
        generation=row.generation,
        told=row.told,
        now_basis=row.now_basis,
        asked_at=row.asked_at,
        closed=row.closed_at is not None,
    )


def _topic(question: Question | PlanQuestion) -> tuple[object, ...]:
    plan_id = question.plan_id if isinstance(question, Question) else question.care_plan_id
    return (plan_id, question.step, question.occurrence, question.generation, question.kind, question.now_basis)


def _timing_values(timing: Timing) -> dict[str, Any]:
    return {
        "due_at": timing.due_at,
        "due_local": timing.due_local.isoformat(timespec="seconds"),
        "zone": timing.zone,
        "not_before": timing.not_before,
        "ready_at": timing.ready_at,
        "expires_at": timing.expires_at,
    }


def _store_reviews(session: Session, patient_id: UUID, rows: Sequence[ReviewRow], plan_ids: Sequence[UUID]) -> None:
    known = {(row.care_plan_id, row.key): row for row in stored.list_reviews(session, plan_ids)} if plan_ids else {}
    for wanted in rows:
        row = known.pop((wanted.plan_id, wanted.key), None)
        if row is None:
            row = Review(id=new_id(), care_plan_id=wanted.plan_id, patient_id=patient_id, key=wanted.key)
            session.add(row)
        row.place, row.status, row.open = wanted.place, wanted.status, wanted.open
        row.due_on, row.latest_on, row.visit_at = wanted.due_on, wanted.latest_on, wanted.visit_at
    for gone in known.values():  # a draft protocol lost a review
        session.delete(gone)
