"""The laws that every replanning of the tests has to keep, as checks over stored rows.

Who calls them after each fact is `build`; laws that compare two histories are in `test_laws`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from db.states import (
    ALLOWED_TRANSITIONS,
    FINAL_STATES,
    LIVE_STATES,
    REASONS,
    Audience,
    Reason,
    ReminderState,
    StopReason,
)
from scheduler.local_time import next_allowed, to_utc, to_wall
from scheduler.planning.facts import PlanFacts, Rules, Stored
from scheduler.planning.patient_plan import PatientPlan
from scheduler.planning.protocol import CONFIRM, Step
from scheduler.planning.wanted import Wanted

NEEDS_NO_REASON = frozenset({ReminderState.SCHEDULED, ReminderState.SENDING, ReminderState.SENT})


def nothing_left(again: PatientPlan) -> None:
    """Planning again, at the same or a later instant, changes no row and asks nothing new."""
    assert again.difference.inserts == []
    assert again.difference.changes == []
    assert again.ask == []


def one_replanning(before: Sequence[Stored], after: Sequence[Stored], now: datetime) -> None:
    """What a replanning may do to the rows that were there, and what the rows look like together."""
    now_by_id = {row.id: row for row in after}
    for old in before:
        new = now_by_id[old.id]
        if old.state in FINAL_STATES or old.open_attempt:
            assert new == old
        elif new.state is not old.state:
            assert new.state in ALLOWED_TRANSITIONS[old.state]
    by_key = defaultdict(list)
    for row in after:
        assert row.state in NEEDS_NO_REASON or row.reason is not None
        assert row.reason is None or row.reason in REASONS[row.state]
        assert row.ready_at >= row.due_at
        by_key[(row.plan_id, row.step, row.occurrence)].append(row)
    for rows in by_key.values():
        assert sorted(row.generation for row in rows) == list(range(1, len(rows) + 1))
        live = [row for row in rows if row.state in LIVE_STATES]
        assert len(live) <= 1
        assert not live or live[0].generation == len(rows)
        assert [row for row in rows if row.id not in {old.id for old in before} and row.changed_at != now] == []


def planned_rows(
    rows: Iterable[Stored], items: Sequence[Wanted], rules: Rules, plans: Mapping[UUID, PlanFacts], now: datetime
) -> None:
    """Times of what is wanted and of the rows just timed, and one message a day among those that could wait."""
    for item in items:
        assert item.due_at >= item.own_at
        expected = _own_end(item)
        assert item.expires_at == expected
        if item.step.audience is Audience.PATIENT:
            _at_an_allowed_time(item.due_at, item.zone, item.step, rules)
    for row in rows:
        step = plans[row.plan_id].protocol.find_step(row.step)
        person = any((d.step, d.occurrence) == (row.step, row.occurrence) for d in plans[row.plan_id].decisions)
        ahead = row.state is ReminderState.SCHEDULED and row.ready_at > now
        if step and step.audience is Audience.PATIENT and ahead and not person:
            _at_an_allowed_time(row.ready_at, row.zone, step, rules)
    _one_a_day(items, rules)


def _own_end(item: Wanted) -> datetime:
    after = item.step.expires_after
    if after.is_elapsed:
        return item.own_at + after.elapsed
    wall = to_wall(item.own_at, item.zone)
    if item.step.at is not None:  # the time of day the step names, also where its own day skips it
        wall = datetime.combine(wall.date(), item.step.at)
    return to_utc(wall + timedelta(days=after.days), item.zone)


def _at_an_allowed_time(instant: datetime, zone: str, step: Step, rules: Rules) -> None:
    wall = to_wall(instant, zone)
    assert next_allowed(instant, zone, rules.window) == instant
    assert not (step.working_days_only and rules.is_free_day(wall.date()))


def _one_a_day(items: Sequence[Wanted], rules: Rules) -> None:
    """On a shared day every message but the first is one that may not wait, or whose next moment is past its end."""
    rank = {"review": 0, "aftercare": 1, "administrative": 2, "exercise": 3}
    crowds = defaultdict(list)
    for place, item in enumerate(items):
        # The question whether an address is hers shares no day: all the others wait for its answer.
        to_her = item.step.audience is Audience.PATIENT and item.step is not CONFIRM
        takes_part = to_her and item.verdict.state is not ReminderState.CANCELLED
        if takes_part and item.due_at < item.expires_at:
            crowds[item.due_local.date()].append((rank[item.step.kind.value], item.due_local.time(), place, item))
    for day, crowd in crowds.items():
        for *_, item in sorted(crowd, key=lambda one: one[:3])[1:]:
            if not item.step.may_wait or item.step.at is None:
                continue
            next_wall = datetime.combine(day + timedelta(days=1), item.step.at)
            free = rules.is_free_day if item.step.working_days_only else None
            assert next_allowed(to_utc(next_wall, item.zone), item.zone, rules.window, free) >= item.expires_at


def nothing_reaches_her(stopped: StopReason, rows: Iterable[Stored], plans: Mapping[UUID, PlanFacts]) -> None:
    """After a stop no message to the patient is live, but for one whose content may be on the wire.

    Of a stop that this database lost nothing is cancelled, only held, until somebody has looked.
    """
    holding = {Reason.STOP_LOST, Reason.UNKNOWN} if stopped is StopReason.LOST else set()
    for row in rows:
        step = plans[row.plan_id].protocol.find_step(row.step)
        if row.state in LIVE_STATES and (step is None or step.audience is Audience.PATIENT):
            waits = row.state is ReminderState.HELD and row.reason in holding
            assert row.open_attempt or waits, f"{row.step} lives after a stop"
