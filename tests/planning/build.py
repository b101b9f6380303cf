"""An in-memory record of one patient: facts, the rows the planner keeps for them, and what a sender would do to those.

Every replanning here holds the laws that need no second look (`laws`). Protocols for it are in `recipes`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from db.states import (
    LIVE_STATES,
    WAITING_STATES,
    AddressState,
    Audience,
    CarePlanStatus,
    DecisionKind,
    EventKind,
    Reason,
    ReminderState,
    Topic,
)
from scheduler.local_time import to_utc, to_wall
from scheduler.planning.course import first_open_review
from scheduler.planning.facts import Decision, Event, Moment, PatientFacts, PlanFacts, Question, Rules, Stored
from scheduler.planning.patient_plan import PatientPlan, plan_patient
from scheduler.planning.protocol import Protocol
from scheduler.planning.reconcile import Difference, Timing
from tests.planning import laws

LONDON = "Europe/London"
ALL_TOPICS = {Topic.REVIEWS: True, Topic.EXERCISES: True}
NEVER_RUN_OUT = (Reason.UNKNOWN, Reason.FOR_STAFF)  # only a person ends these
_NAMES = UUID(int=7)
_ABOUT_REVIEWS = frozenset(
    {EventKind.REVIEW_BOOKED, EventKind.REVIEW_CANCELLED, EventKind.REVIEW_MISSED, EventKind.REVIEW_COMPLETED}
)


def moment(wall: str, zone: str = LONDON) -> Moment:
    """A local time as entered, like 2026-03-02T10:30."""
    at = datetime.fromisoformat(wall)
    return Moment(at, zone, to_utc(at, zone))


@dataclass
class Record:
    """One patient. Each method records one fact at `now` and replans, as a use case would."""

    now: datetime
    patient: PatientFacts
    rules: Rules = field(default_factory=Rules)
    plans: dict[str, PlanFacts] = field(default_factory=dict)
    rows: list[Stored] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    statuses: dict[str, CarePlanStatus] = field(default_factory=dict)
    made: int = 0
    decided_at: datetime | None = None
    last: PatientPlan | None = None

    # facts

    def treat(self, protocol: Protocol, at: str, plan: str = "a", zone: str = LONDON, **facts: Any) -> None:
        """A treatment was entered."""
        self.plans[plan] = PlanFacts(
            id=uuid5(_NAMES, plan), protocol=protocol, treated=moment(at, zone), entered_at=self.now, **facts
        )
        self.replan()

    def change_plan(self, plan: str = "a", **facts: Any) -> None:
        """Something about a treatment or its plan changed."""
        self.plans[plan] = replace(self.plans[plan], **facts)
        self.replan()

    def move(self, at: str, plan: str = "a") -> None:
        """The treatment's date was corrected."""
        self.change_plan(plan, treated=moment(at))

    def know(self, **facts: Any) -> None:
        """Something about the patient changed."""
        self.patient = replace(self.patient, **facts)
        self.replan()

    def set_rules(self, **rules: Any) -> None:
        """A setting or the holidays changed."""
        self.rules = replace(self.rules, **rules)
        self.replan()

    def event(self, kind: EventKind, at: str | None = None, review: str | None = None, plan: str = "a") -> UUID:
        """A fact about a plan; without a time it happened now."""
        facts = self.plans[plan]
        if kind in _ABOUT_REVIEWS:
            review = review or first_open_review(facts) or facts.protocol.reviews[0].key
        when = moment(at) if at else Moment(to_wall(self.now, LONDON), LONDON, self.now)
        new = Event(self._id(), kind, when, self.now, review)
        self.change_plan(plan, events=(*facts.events, new))
        return new.id

    def retract(self, event_id: UUID, plan: str = "a") -> None:
        """An event was entered wrongly."""
        kept = tuple(event for event in self.plans[plan].events if event.id != event_id)
        self.change_plan(plan, events=kept)

    def decide(self, kind: DecisionKind, step: str, occurrence: int = 1, plan: str = "a") -> None:
        """Staff decided about the latest generation of a reminder."""
        row = self.row(step, occurrence, plan)
        new = Decision(step, occurrence, row.generation, kind, self.now)
        self.plans[plan] = replace(self.plans[plan], decisions=(*self.plans[plan].decisions, new))
        self.replan()
        self.decided_at = self.now

    # planning, as the database stores it

    def compute(self, at: datetime | None = None) -> PatientPlan:
        """What planning would do at an instant; nothing is stored."""
        plans = list(self.plans.values())
        return plan_patient(self.patient, plans, self.rows, self.questions, at or self.now, self.rules)

    def replan(self) -> Difference:
        """Plan and store; holds the laws of one replanning."""
        if self.decided_at == self.now:
            self.now += timedelta(microseconds=1)  # what follows a decision is another transaction, at another instant
        before = list(self.rows)
        result = self.last = self.compute()
        for change in result.difference.changes:
            values: dict[str, Any] = {"state": change.verdict.state, "reason": change.verdict.reason}
            if change.timing is not None:
                values |= _times(change.timing)
            if (change.verdict.state, change.verdict.reason) != (change.row.state, change.row.reason):
                values["changed_at"] = self.now
            if change.basis is not None:
                values["basis"] = change.basis
            self.write(change.row.id, **values)
        for insert in result.difference.inserts:
            item, verdict = insert.item, insert.verdict
            self.rows.append(
                Stored(
                    id=self._id(), plan_id=item.plan.id, step=item.step.key, occurrence=item.occurrence,
                    generation=insert.generation, state=verdict.state, reason=verdict.reason, basis=item.basis,
                    changed_at=self.now, **_times(insert.timing),
                )
            )  # fmt: skip
        answered = list(result.answered)
        self.questions = [replace(one, closed=True) if one in answered else one for one in self.questions]
        self.questions += [replace(one, asked_at=self.now) for one in result.ask]
        self.statuses = {name: result.statuses[plan.id] for name, plan in self.plans.items()}
        laws.one_replanning(before, self.rows, self.now)
        by_id = {plan.id: plan for plan in self.plans.values()}
        timed = {(row.id, row.state, row.ready_at) for row in before}
        new = [row for row in self.rows if (row.id, row.state, row.ready_at) not in timed]
        laws.planned_rows(new, result.items, self.rules, by_id, self.now)
        for later in (timedelta(0), timedelta(hours=3), timedelta(days=5)):
            laws.nothing_left(self.compute(self.now + later))
        return result.difference

    # the sender

    def claim(self, step: str, occurrence: int = 1, plan: str = "a") -> None:
        """A worker takes it."""
        self.write(self.row(step, occurrence, plan).id, state=ReminderState.SENDING, reason=None)

    def open_attempt(self, step: str, occurrence: int = 1, plan: str = "a") -> None:
        """Its content may be on the wire from here."""
        row = self.row(step, occurrence, plan)
        if row.state is not ReminderState.SENDING:
            self.claim(step, occurrence, plan)
        self.write(row.id, open_attempt=True)

    def outcome(
        self,
        state: ReminderState,
        reason: Reason | None,
        step: str,
        occurrence: int = 1,
        plan: str = "a",
        retry_in: timedelta = timedelta(minutes=15),
    ) -> None:
        """The attempt ended; any end but accepted replans."""
        row = self.row(step, occurrence, plan)
        ready_at = self.now + retry_in if state is ReminderState.AWAITING_RETRY else row.ready_at
        self.write(row.id, state=state, reason=reason, open_attempt=False, ready_at=ready_at, changed_at=self.now)
        if state is not ReminderState.SENT:
            self.replan()

    def send(self, step: str, occurrence: int = 1, plan: str = "a") -> None:
        """Claim, hand over, accepted."""
        self.open_attempt(step, occurrence, plan)
        self.outcome(ReminderState.SENT, None, step, occurrence, plan)

    def sweep(self) -> None:
        """What ran out is missed; a due line for staff is shown to them."""
        for row in list(self.rows):
            if row.state not in LIVE_STATES or row.open_attempt:
                continue
            if row.state is ReminderState.SCHEDULED and row.ready_at <= self.now and self._is_for_staff(row):
                self.write(row.id, state=ReminderState.HELD, reason=Reason.FOR_STAFF, changed_at=self.now)
            elif row.expires_at <= self.now and row.reason not in NEVER_RUN_OUT:
                self.write(row.id, state=ReminderState.MISSED, reason=Reason.EXPIRED, changed_at=self.now)

    def wait_until(self, wall: str) -> None:
        """Let time pass with the service running: what is ready is sent, what runs out is missed; then replan."""
        end = to_utc(datetime.fromisoformat(wall), LONDON)
        while True:
            coming = [at for at in self._wakes() if at <= end]
            self.now = max(self.now, min(coming, default=end))
            self.sweep()
            for row in list(self.rows):
                if row.state in WAITING_STATES and row.ready_at <= self.now and not self._is_for_staff(row):
                    self.write(row.id, state=ReminderState.SENT, reason=None, changed_at=self.now)
            if not coming:
                break
        self.replan()

    def sleep_until(self, wall: str) -> None:
        """Let time pass with the service off."""
        self.now = to_utc(datetime.fromisoformat(wall), LONDON)

    # reading

    def row(self, step: str, occurrence: int = 1, plan: str = "a") -> Stored:
        """The latest generation."""
        wanted = (self.plans[plan].id, step, occurrence)
        found = [row for row in self.rows if (row.plan_id, row.step, row.occurrence) == wanted]
        return max(found, key=lambda row: row.generation)

    def table(self, *steps: str, plan: str = "a") -> list[str]:
        """Rows as lines: `step occurrence.generation state[:reason] due_local`, all or of some steps."""
        found = [row for row in self.rows if row.plan_id == self.plans[plan].id and (not steps or row.step in steps)]
        found.sort(key=lambda row: (row.due_local, row.step, row.occurrence, row.generation))
        return [line(row) for row in found]

    def live(self, plan: str | None = None) -> set[tuple[Any, ...]]:
        """What is waiting or held, without what only history explains (ids, generations, grace)."""
        return {
            (row.plan_id, row.step, row.occurrence, row.state, row.reason, row.due_at, row.expires_at, row.basis)
            for row in self.rows
            if row.state in LIVE_STATES and (plan is None or row.plan_id == self.plans[plan].id)
        }  # fmt: skip

    def open_questions(self) -> list[tuple[str, str, int, str, str]]:
        """Open questions: kind, step, generation, what she was told, what is true now."""
        return [(q.kind.value, q.step, q.generation, q.told, q.now_basis) for q in self.questions if not q.closed]

    def write(self, row_id: UUID, **values: Any) -> None:
        """Change one row."""
        self.rows = [replace(row, **values) if row.id == row_id else row for row in self.rows]

    def _wakes(self) -> Iterator[datetime]:
        for row in self.rows:
            if row.state in WAITING_STATES:
                yield row.ready_at
            if row.state in LIVE_STATES and not row.open_attempt and row.reason not in NEVER_RUN_OUT:
                yield row.expires_at

    def _is_for_staff(self, row: Stored) -> bool:
        plan = next(plan for plan in self.plans.values() if plan.id == row.plan_id)
        return any(step.key == row.step and step.audience is Audience.STAFF for step in plan.protocol.steps)

    def _id(self) -> UUID:
        self.made += 1
        return UUID(int=self.made)


def line(row: Stored) -> str:
    """One row as people would say it."""
    state = f"{row.state.value}:{row.reason.value}" if row.reason else row.state.value
    return f"{row.step} {row.occurrence}.{row.generation} {state} {row.due_local[:16]}"


def record(now: str, zone: str = LONDON, rules: Rules | None = None, **patient: Any) -> Record:
    """A patient who agreed to everything and whose address is confirmed, at a clinic's local time."""
    facts: dict[str, Any] = {"consent": dict(ALL_TOPICS), "address": AddressState.CONFIRMED} | patient
    return Record(to_utc(datetime.fromisoformat(now), LONDON), PatientFacts(zone=zone, **facts), rules or Rules())


def _times(timing: Timing) -> dict[str, Any]:
    return {
        "due_at": timing.due_at,
        "due_local": timing.due_local.isoformat(timespec="seconds"),
        "zone": timing.zone,
        "not_before": timing.not_before,
        "ready_at": timing.ready_at,
        "expires_at": timing.expires_at,
    }
