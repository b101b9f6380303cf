"""The laws of planning over any history: facts, decisions, the sender and time in any order.

What holds after each single replanning is in `laws`; laws that compare two histories are in `test_histories`.
"""

import itertools
from collections import Counter
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from db.states import (
    FINAL_STATES,
    LIVE_STATES,
    WAITING_STATES,
    DecisionKind,
    EventKind,
    Reason,
    ReminderState,
)
from scheduler.local_time import Window, to_wall
from scheduler.planning.facts import Rules, Stored
from scheduler.planning.protocol import Anchor
from tests.planning import facts_strategy as some
from tests.planning import laws
from tests.planning.build import LONDON, Record, record
from tests.planning.recipes import COURSE, days, protocol, step

OTHER = protocol(step("check-in", days(2)), step("plan", days(8), kind=COURSE.steps[-1].kind), key="other")
OUTCOMES: list[tuple[ReminderState, Reason | None]] = [
    (ReminderState.SENT, None),
    (ReminderState.FAILED, Reason.REFUSED),
    (ReminderState.FAILED, Reason.ATTEMPTS_USED_UP),
    (ReminderState.AWAITING_RETRY, Reason.PUT_OFF),
    (ReminderState.AWAITING_RETRY, Reason.RESEND_ONCE),
    (ReminderState.HELD, Reason.UNKNOWN),
    (ReminderState.HELD, Reason.REFUSED_BY_SERVER),
]
ON_LIVE = [DecisionKind.HOLD, DecisionKind.RESUME, DecisionKind.CANCEL, DecisionKind.SEND_NOW, DecisionKind.DONE]
# What each end allows staff to ask for.
ON_FINAL = {
    ReminderState.SENT: [DecisionKind.SEND_AGAIN, DecisionKind.KEEP],
    ReminderState.FAILED: [DecisionKind.SEND_AGAIN, DecisionKind.RETRY, DecisionKind.REOPEN],
    ReminderState.MISSED: [DecisionKind.SEND_AGAIN, DecisionKind.SEND_NOW, DecisionKind.REOPEN],
    ReminderState.CANCELLED: [DecisionKind.SEND_AGAIN, DecisionKind.REOPEN],
    ReminderState.DONE: [DecisionKind.SEND_AGAIN, DecisionKind.REOPEN],
}


class History(RuleBasedStateMachine):
    """One patient's weeks in any order; `Record.replan` checks the laws of one replanning at every fact."""

    case: Record
    kept: dict[object, Stored]

    @initialize(zone=st.sampled_from(some.ZONES), hour=st.integers(8, 20), has_pages=st.booleans())
    def treated(self, zone: str, hour: int, has_pages: bool) -> None:
        self.case = record(f"2026-03-02T{hour:02}:00", zone, Rules(has_pages=has_pages), email_version=1)
        self.kept = {}
        self.case.treat(COURSE, "2026-03-02T08:30")

    @rule(
        fact=st.one_of(
            some.bookings,
            some.bookings,
            some.plain_events,
            some.review_events,
            some.corrections,
            some.zones,
            some.addresses,
            some.consents,
            some.settings_facts,
            some.approvals,
            some.pauses,
            some.likes,
            some.new_addresses,
            some.by_notice,
        )
    )
    def fact(self, fact: some.Fact) -> None:
        fact.apply(self.case)

    @rule(fact=some.stops)
    def stopped_or_back(self, fact: some.Fact) -> None:
        fact.apply(self.case)

    @precondition(lambda self: self.case.plans["a"].events)
    @rule(data=st.data())
    def retracted(self, data: st.DataObject) -> None:
        events = [event.id for event in self.case.plans["a"].events]
        self.case.retract(data.draw(st.sampled_from(events)))

    @precondition(lambda self: len(self.case.plans) < 3)
    @rule(kind=st.sampled_from([COURSE, OTHER]), day=st.integers(0, 40))
    def another_treatment(self, kind: object, day: int) -> None:
        name = f"p{len(self.case.plans)}"
        self.case.treat(COURSE if kind is COURSE else OTHER, some.visit(day, 9), name)

    @rule(closes=st.sampled_from([11, 19, 24]), free=st.sets(st.integers(1, 31), max_size=4))
    def settings_changed(self, closes: int, free: set[int]) -> None:
        holidays = frozenset(to_wall(self.case.now, LONDON).date() + timedelta(days=day) for day in free)
        self.case.set_rules(window=Window(8 * 60, closes * 60), holidays=holidays)

    @rule(hours=st.sampled_from([1, 5, 24, 24, 49, 170]))
    def time_passes(self, hours: int) -> None:
        wall = to_wall(self.case.now + timedelta(hours=hours), LONDON)
        self.case.wait_until(wall.isoformat())

    @rule(minutes=st.integers(1, 3000))
    def service_is_off(self, minutes: int) -> None:
        self.case.now += timedelta(minutes=minutes)

    @rule()
    def swept(self) -> None:
        self.case.sweep()

    @rule(data=st.data())
    def staff_decide_about_a_live_row(self, data: st.DataObject) -> None:
        live = [row for row in self._latest() if row.state in LIVE_STATES]
        if live:
            row = data.draw(st.sampled_from(live))
            kinds = ON_LIVE
            if row.reason is Reason.UNKNOWN:
                kinds = [
                    DecisionKind.RESOLVE_RECEIVED,
                    DecisionKind.RESOLVE_RESEND,
                    DecisionKind.DONE,
                    DecisionKind.HOLD,
                    DecisionKind.RESUME,
                ]
            self._decide(row, data.draw(st.sampled_from(kinds)))

    @rule(data=st.data())
    def staff_decide_about_a_final_row(self, data: st.DataObject) -> None:
        final = [row for row in self._latest() if row.state in FINAL_STATES]
        if final:
            row = data.draw(st.sampled_from(final))
            self.case.now += timedelta(minutes=1)
            self._decide(row, data.draw(st.sampled_from(ON_FINAL[row.state])))

    @rule(data=st.data())
    def sender_works(self, data: st.DataObject) -> None:
        due = [row for row in self._latest() if row.state in WAITING_STATES and row.ready_at <= self.case.now]
        under_way = [row for row in self._latest() if row.state is ReminderState.SENDING]
        if due and not self.case._is_for_staff(due[0]):
            self.case.write(due[0].id, state=ReminderState.SENDING, reason=None)
        for row in under_way:
            if not row.open_attempt and data.draw(st.booleans()):
                self.case.write(row.id, open_attempt=True)
            elif row.open_attempt:
                state, reason = data.draw(st.sampled_from(OUTCOMES))
                self.case.outcome(state, reason, row.step, row.occurrence, self._plan(row))

    @invariant()
    def final_rows_never_change(self) -> None:
        for row in self.case.rows if hasattr(self, "case") else ():
            if row.id in self.kept:
                assert self.kept[row.id] == row
            elif row.state in FINAL_STATES:
                self.kept[row.id] = row

    @invariant()
    def a_stop_reaches_every_message(self) -> None:
        if hasattr(self, "case") and self.case.patient.stopped:
            plans = {plan.id: plan for plan in self.case.plans.values()}
            laws.nothing_reaches_her(self.case.patient.stopped, self.case.rows, plans)

    @invariant()
    def partner_messages_live_only_while_released(self) -> None:
        for name, plan in self.case.plans.items() if hasattr(self, "case") else ():
            partner = [event for event in plan.events if event.kind.name.startswith("PARTNER_")]
            partner.sort(key=lambda event: (event.at.instant, event.recorded_at, event.id))
            if not partner or partner[-1].kind is not EventKind.PARTNER_RELEASED:
                rows = [row for row in self.case.rows if row.plan_id == self.case.plans[name].id]
                live = [row.step for row in rows if row.state in LIVE_STATES and not row.open_attempt]
                assert not {"partner", "partner-ready"} & set(live)

    @invariant()
    def what_a_person_ended_stays_ended_until_asked_again(self) -> None:
        for row in self.case.rows if hasattr(self, "case") else ():
            if (row.state, row.reason) in (
                (ReminderState.CANCELLED, Reason.BY_STAFF),
                (ReminderState.DONE, Reason.DONE_BY_STAFF),
            ):
                later = [
                    other
                    for other in self.case.rows
                    if (other.plan_id, other.step, other.occurrence) == (row.plan_id, row.step, row.occurrence)
                    and other.generation > row.generation
                ]
                asked = {DecisionKind.SEND_AGAIN, DecisionKind.REOPEN} & set(self._kinds(row, row.generation))
                assert not later or asked

    @invariant()
    def nothing_is_sent_twice_unasked(self) -> None:
        if not hasattr(self, "case"):
            return
        sent = Counter(
            (row.plan_id, row.step, row.occurrence) for row in self.case.rows if row.state is ReminderState.SENT
        )
        for row in self.case.rows:
            count = sent[(row.plan_id, row.step, row.occurrence)]
            if count > 1:
                rows = [
                    other
                    for other in self.case.rows
                    if (other.plan_id, other.step, other.occurrence) == (row.plan_id, row.step, row.occurrence)
                    and other.state is ReminderState.SENT
                ]
                asked = self._kinds(row).count(DecisionKind.SEND_AGAIN)
                step = self.case.plans[self._plan(row)].protocol.find_step(row.step)
                visits = [other.basis for other in sorted(rows, key=lambda other: other.generation)]
                moved = sum(before != after for before, after in itertools.pairwise(visits))
                assert count - 1 <= asked + (moved if step is not None and step.anchor is Anchor.REVIEW_BOOKED else 0)

    def _latest(self) -> list[Stored]:
        latest = {(row.plan_id, row.step, row.occurrence): row for row in self.case.rows}
        return list(latest.values())

    def _plan(self, row: Stored) -> str:
        return next(name for name, plan in self.case.plans.items() if plan.id == row.plan_id)

    def _decide(self, row: Stored, kind: DecisionKind) -> None:
        self.case.decide(kind, row.step, row.occurrence, self._plan(row))

    def _kinds(self, row: Stored, generation: int | None = None) -> list[DecisionKind]:
        plan = self.case.plans[self._plan(row)]
        return [
            decision.kind
            for decision in plan.decisions
            if (decision.step, decision.occurrence) == (row.step, row.occurrence)
            and generation in (None, decision.generation)
        ]


TestHistory = History.TestCase
TestHistory.settings = settings(suppress_health_check=[HealthCheck.too_slow])  # a rule is a whole replanning
