"""Moving running plans to a newly approved version of their protocol: what that would change, and doing it.

Never by itself: a clinician looks at what becomes of each plan and chooses. Steps are matched by their keys; planning
again, in the transaction that moves the plan, does the rest.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit, patients, plan_facts, reminders
from db import care_plans as stored_plans
from db import library as stored
from db.follow_up import CareEvent, CarePlan, PlanQuestion, Reminder, ReminderDecision
from db.records import Patient
from db.states import LIVE_STATES, ReminderState
from db.worklist import open_patients
from scheduler.care_plans import Loaded, patient_facts, question_of, replan, stored_row
from scheduler.care_plans import plan_facts as facts_from
from scheduler.clinic import Clinic
from scheduler.errors import Refused
from scheduler.library import Shelf, ShelvedProtocol
from scheduler.planning.facts import PlanFacts
from scheduler.planning.patient_plan import PatientPlan, plan_patient
from scheduler.planning.reconcile import Change, Insert
from scheduler.replanning import Progress

PAGE: Final = 20  # plans looked at on one page: planning each takes a few milliseconds
MOST_COUNTED: Final = 1_000  # unsent messages that are counted one by one; beyond that it is enough to say so

OfPlan = TypeVar("OfPlan", Reminder, PlanQuestion, CareEvent, ReminderDecision)


@dataclass(frozen=True, slots=True)
class Outlook:
    """The version plans would go to, and how many run on versions before it, with how many unsent messages: at most
    one more than `MOST_COUNTED`."""

    target: ShelvedProtocol
    plans: int
    unsent: int


@dataclass(slots=True)
class PlanMove:
    """What moving one plan would do to its messages and lines for staff."""

    plan: CarePlan
    patient: Patient
    treated: datetime  # by the clinic's clock
    version: int
    moved: list[Change] = field(default_factory=list)  # to another time
    changed: list[Change] = field(default_factory=list)  # let go or held at the same time
    cancelled: list[Change] = field(default_factory=list)
    new: list[Insert] = field(default_factory=list)
    left_out: list[Insert] = field(default_factory=list)  # new in the version, and their time has passed
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class Moved:
    """How many plans were moved, and how many were left because they had ended or moved meanwhile."""

    plans: int
    left: int


def find_target(shelf: Shelf, key: str) -> ShelvedProtocol | None:
    """The highest approved version of a protocol. Raises `NotFound` for an unknown key."""
    return next((shelved for shelved in reversed(shelf.list_versions(key)) if shelved.approved), None)


def look(session: Session, clinic: Clinic, key: str) -> Outlook:
    """How many plans could be moved. Raises `Refused` while no version is approved."""
    shelf = clinic.library.shelf(session)
    target = _target(shelf, key)
    before = versions_before(shelf, target)
    counts = stored.count_running_plans(session)
    plans = sum(counts.get(version, 0) for version in before)
    return Outlook(target, plans, stored.count_unsent(session, before, MOST_COUNTED + 1) if plans else 0)


def versions_before(shelf: Shelf, target: ShelvedProtocol) -> list[UUID]:
    """The versions whose plans could be moved to this one."""
    versions = shelf.list_versions(target.protocol.key)
    return [shelved.version_id for shelved in versions if shelved.protocol.version < target.protocol.version]


def preview(session: Session, clinic: Clinic, key: str, after: UUID | None = None) -> list[PlanMove]:
    """What moving the next plans would do, each as if alone: at most `PAGE` and one more. Writes nothing."""
    shelf = clinic.library.shelf(session)
    target = _target(shelf, key)
    plans = stored.list_running_plans(session, versions_before(shelf, target), PAGE + 1, after)
    people = open_patients(session, [plan.patient_id for plan in plans])
    loaded = load_many(session, clinic, list(people.values()))
    found = []
    for plan in plans:
        if plan.patient_id in people:
            hers = loaded[plan.patient_id]
            result = _plan_as_moved(clinic, shelf, target, hers, plan, people[plan.patient_id].language)
            version = shelf.get(plan.protocol_version_id).protocol.version
            treated = next(facts.treated for facts in hers.plans if facts.id == plan.id)
            move = PlanMove(plan, people[plan.patient_id], treated.wall, version)
            _count(move, hers, result)
            found.append(move)
    return found


def move(
    clinic: Clinic,
    actor: str,
    key: str,
    target_id: UUID,
    plan_ids: Collection[UUID] | None,
    progress: Progress | None = None,
) -> Moved:
    """Move these plans, or all, to the version that was shown; each patient in a transaction of her own.

    Raises `Refused` when another version was approved meanwhile; what was moved until then stays moved.
    """
    with clinic.store.read() as session:
        shelf = clinic.library.shelf(session)
        target = _target(shelf, key)
        if target.version_id != target_id:
            raise Refused("another version was approved since this was shown; look at it again")
        before = versions_before(shelf, target)
        plans = [
            (plan.id, plan.patient_id)
            for plan in stored.list_running_plans(session, before)
            if plan_ids is None or plan.id in plan_ids
        ]
    by_patient: dict[UUID, list[UUID]] = defaultdict(list)
    for plan_id, patient_id in plans:
        by_patient[patient_id].append(plan_id)
    done = 0
    for place, (patient_id, hers) in enumerate(by_patient.items(), start=1):
        with clinic.store.write(actor, clinic.clock.now()) as session:
            done += _move_hers(session, clinic, patient_id, hers, target_id, before)
        if progress:
            progress(place, len(by_patient))
    return Moved(done, (len(plan_ids) if plan_ids is not None else len(plans)) - done)


def load_many(session: Session, clinic: Clinic, people: Sequence[Patient]) -> dict[UUID, Loaded]:
    """What planning reads of these patients, as `care_plans.load` reads it of one; in a few queries, not locked."""
    ids = [patient.id for patient in people]
    shelf = clinic.library.shelf(session)
    plan_rows = plan_facts.list_plans_of(session, ids)
    plan_ids = [row.id for row in plan_rows]
    rows, questions = reminders.list_rows(session, plan_ids, lock=False), stored_plans.list_questions(session, plan_ids)
    events, decisions = stored_plans.list_events(session, plan_ids), stored_plans.list_decisions(session, plan_ids)
    treatments = plan_facts.list_treatments_of(session, ids)
    contents = plan_facts.list_contents(session, treatments)
    addresses = plan_facts.list_address_states(session, people)
    consent, stopped = patients.list_consent(session, ids), patients.list_stopped(session, ids)
    rows_of, questions_of = _by_plan(rows), _by_plan(questions)
    events_of, decisions_of = _by_plan(events), _by_plan(decisions)
    plans_of: dict[UUID, dict[UUID, CarePlan]] = defaultdict(dict)
    for row in plan_rows:
        plans_of[row.patient_id][row.id] = row
    found = {}
    for patient in people:
        hers = plans_of[patient.id]
        mine = [row for plan_id in hers for row in rows_of[plan_id]]
        asked = [row for plan_id in hers for row in questions_of[plan_id]]
        found[patient.id] = Loaded(
            patient=patient_facts(clinic, patient, addresses[patient.id], consent[patient.id], stopped.get(patient.id)),
            plans=[
                facts_from(
                    row,
                    treatments[row.treatment_id],
                    contents[row.treatment_id],
                    events_of[row.id],
                    decisions_of[row.id],
                    shelf,
                    patient.language,
                )
                for row in hers.values()
            ],
            rows=[stored_row(row) for row in mine],
            questions=[question_of(row) for row in asked],
            plan_rows=hers,
            reminder_rows={row.id: row for row in mine},
            question_rows=asked,
        )
    return found


def _by_plan(rows: Iterable[OfPlan]) -> dict[UUID, list[OfPlan]]:
    """Rows by their care plan, in the order they were read in; looking through all of them for each plan takes long."""
    found: dict[UUID, list[OfPlan]] = defaultdict(list)
    for row in rows:
        found[row.care_plan_id].append(row)
    return found


def _target(shelf: Shelf, key: str) -> ShelvedProtocol:
    target = find_target(shelf, key)
    if target is None:
        raise Refused("no version of this protocol is approved yet")
    return target


def _move_hers(
    session: Session,
    clinic: Clinic,
    patient_id: UUID,
    plan_ids: Sequence[UUID],
    target_id: UUID,
    before: Sequence[UUID],
) -> int:
    """Move one patient's plans that still run on an earlier version; how many."""
    if patients.lock_patient(session, patient_id) is None or patients.find_patient(session, patient_id) is None:
        return 0
    moved = 0
    for plan_id in plan_ids:
        plan = session.get_one(CarePlan, plan_id, populate_existing=True)
        if plan.protocol_version_id in before and plan.status in stored.RUNNING:
            plan.protocol_version_id = target_id
            audit.record(session, "plan.version_moved", "care_plan", plan.id, patient_id, ["protocol_version"])
            moved += 1
    if moved:
        session.flush()
        replan(session, clinic, patient_id)
    return moved


def _plan_as_moved(
    clinic: Clinic, shelf: Shelf, target: ShelvedProtocol, hers: Loaded, plan: CarePlan, language: str
) -> PatientPlan:
    facts = [_on(target, one, shelf, language) if one.id == plan.id else one for one in hers.plans]
    return plan_patient(hers.patient, facts, hers.rows, hers.questions, clinic.clock.now(), clinic.rules)


def _on(target: ShelvedProtocol, facts: PlanFacts, shelf: Shelf, language: str) -> PlanFacts:
    return replace(
        facts,
        protocol=target.protocol,
        approved=target.approved,
        approved_templates=shelf.sendable(target.protocol, language),
    )


def _count(move: PlanMove, hers: Loaded, result: PatientPlan) -> None:
    """Sort what would change of this plan; what would change of her other plans only shares out a day anew."""
    touched = set()
    for change in result.difference.changes:
        if change.row.plan_id != move.plan.id:
            continue
        touched.add(change.row.id)
        if change.verdict.state is ReminderState.CANCELLED:
            move.cancelled.append(change)
        elif change.timing is not None and change.timing.due_at != change.row.due_at:
            move.moved.append(change)
        else:
            move.changed.append(change)
    for new in result.difference.inserts:
        if new.item.plan.id == move.plan.id:
            (move.new if new.verdict.state in LIVE_STATES else move.left_out).append(new)
    move.unchanged = sum(
        1
        for row in hers.reminder_rows.values()
        if row.care_plan_id == move.plan.id and row.id not in touched and row.state in LIVE_STATES
    )
