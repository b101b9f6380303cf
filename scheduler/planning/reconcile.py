"""The difference between the wanted set and the stored rows, at one instant; final rows are never touched.

`plan_patient` in `patient_plan` puts wanted, spread and this together; `scheduler.care_plans` applies the result.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from db.states import (
    LIVE_STATES,
    SENDER_HOLDS,
    Audience,
    DecisionKind,
    Past,
    Reason,
    ReminderState,
)
from scheduler.local_time import to_wall
from scheduler.planning.facts import Decision, Rules, Stored
from scheduler.planning.protocol import Anchor
from scheduler.planning.verdict import Verdict
from scheduler.planning.wanted import Key, Wanted, allowed, visit_instant

_SENDS = frozenset({DecisionKind.SEND_NOW, DecisionKind.RETRY, DecisionKind.RESOLVE_RESEND, DecisionKind.SEND_AGAIN})
_GIVES_BACK = _SENDS | {DecisionKind.RESUME}
_ASKS_AGAIN = frozenset({DecisionKind.SEND_AGAIN, DecisionKind.RETRY, DecisionKind.SEND_NOW})


@dataclass(frozen=True, slots=True)
class Forced:
    """A time that stands instead of the step's own: a person's "now", or a moved visit that is told at once."""

    at: datetime
    by_person: bool


@dataclass(frozen=True, slots=True)
class Timing:
    """When a row is due, from when the sender may take it, and when it is of no use any more."""

    due_at: datetime
    due_local: datetime
    zone: str
    not_before: datetime | None
    ready_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row."""

    item: Wanted
    generation: int
    timing: Timing
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a live row in place; `timing` and `basis` only when its time changed."""

    row: Stored
    verdict: Verdict
    timing: Timing | None = None
    basis: str | None = None


@dataclass(slots=True)
class Difference:
    """What has to change; applied in the transaction of the fact that caused it."""

    inserts: list[Insert] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.inserts or self.changes)


def reconcile(
    items: Sequence[Wanted],
    rows: Iterable[Stored],
    decisions: Mapping[Key, Sequence[Decision]],
    absent: Mapping[Key, Reason],
    now: datetime,
    rules: Rules,
) -> Difference:
    """Compare the wanted set of one patient with her rows.

    `decisions` are in the order recorded; `absent` names why a key that has rows is not wanted at all.
    """
    by_key: dict[Key, list[Stored]] = defaultdict(list)
    for row in rows:
        by_key[(row.plan_id, row.step, row.occurrence)].append(row)
    for known in by_key.values():
        known.sort(key=lambda row: row.generation)
    announce_first = _visits_to_announce(items, by_key)
    difference = Difference()
    for item in items:
        known = by_key.pop(item.key, [])
        said = decisions.get(item.key, ())
        if known and known[-1].state in LIVE_STATES:
            at_once = announce_first.get(item.key) if len(known) > 1 else None
            change = _settle(item, known[-1], said, at_once, now, rules)
            if change:
                difference.changes.append(change)
            continue
        insert = _want_again(item, known[-1], said, announce_first.get(item.key), now, rules) if known else None
        if not known:
            insert = _born(item, 1, None, now, rules)
        if insert:
            difference.inserts.append(insert)
    for key, known in by_key.items():
        row = known[-1]
        if row.state in LIVE_STATES and not row.open_attempt:
            verdict = _decided_end(row, decisions.get(key, ())) or Verdict(
                ReminderState.CANCELLED, absent.get(key, Reason.NO_LONGER_APPLIES)
            )
            difference.changes.append(Change(row, verdict))
    return difference


def _born(item: Wanted, generation: int, forced: Forced | None, now: datetime, rules: Rules) -> Insert:
    timing = _timing(item, forced, now, rules)
    verdict = item.verdict
    if verdict.state is not ReminderState.CANCELLED:
        verdict = _judge_time(timing, verdict, Past.SEND if forced else _past(item), now)
    if verdict.state is ReminderState.SCHEDULED and item.step.manual and not forced:
        verdict = Verdict(ReminderState.HELD, Reason.AWAITING_RELEASE)
    return Insert(item, generation, timing, verdict)


def _timing(item: Wanted, forced: Forced | None, now: datetime, rules: Rules) -> Timing:
    """Times of a new or moved row. A person who says "now" is not made to wait for grace or window."""
    due_at, due_local, expires_at = item.due_at, item.due_local, item.expires_at
    if forced:
        due_at, due_local = forced.at, to_wall(forced.at, item.zone)
        if item.step.anchor is not Anchor.REVIEW_BOOKED:  # a visit's message ends with the visit, whoever sends it
            expires_at = max(expires_at, due_at + (expires_at - item.due_at))
    if item.step.audience is Audience.STAFF or (forced and forced.by_person):
        return Timing(due_at, due_local, item.zone, None, due_at, expires_at)
    not_before = (forced.at if forced else now) + timedelta(minutes=rules.grace_minutes)
    ready_at = allowed(item.step, max(due_at, not_before), item.zone, rules)
    return Timing(due_at, due_local, item.zone, not_before, ready_at, expires_at)


def _judge_time(timing: Timing, verdict: Verdict, past: Past, now: datetime) -> Verdict:
    """The past rule and the end, judged when a row is born, moved or given back."""
    if now >= timing.expires_at:
        return Verdict(ReminderState.MISSED, Reason.PAST_WHEN_PLANNED)
    if timing.due_at < now and past is Past.SKIP:
        return Verdict(ReminderState.MISSED, Reason.PAST_WHEN_PLANNED)
    if timing.ready_at >= timing.expires_at:
        return Verdict(ReminderState.MISSED, Reason.OUTSIDE_WINDOW)
    if timing.due_at < now and past is Past.ASK and verdict.state is ReminderState.SCHEDULED:
        return Verdict(ReminderState.HELD, Reason.PAST_ASK)
    return verdict


def _past(item: Wanted) -> Past:
    return item.plan.past_override or item.step.past


def _settle(
    item: Wanted,
    row: Stored,
    said: Sequence[Decision],
    at_once: datetime | None,
    now: datetime,
    rules: Rules,
) -> Change | None:
    """What a live row of a wanted message becomes; None when nothing changes."""
    if row.open_attempt:
        return None  # its content may be on the wire: the sender's, until the outcome is recorded
    end = _decided_end(row, said)
    if end:
        return Change(row, end)
    if item.verdict.state is ReminderState.CANCELLED:
        return Change(row, item.verdict)
    own = [decision for decision in said if decision.generation == row.generation]
    forced = _forced(row, said, at_once)
    given_back = any(d.kind in _GIVES_BACK and d.at >= row.changed_at for d in own)
    if row.reason is Reason.UNKNOWN and not given_back:
        return None
    due_at = forced.at if forced else item.due_at
    moved = (due_at, item.zone) != (row.due_at, row.zone) or (forced is None and item.expires_at != row.expires_at)
    if moved and row.state is ReminderState.AWAITING_RETRY and forced is None and item.basis == row.basis:
        # Tried for this very date and put off: a day shared out anew does not restart it.
        moved = (item.zone, item.expires_at) != (row.zone, row.expires_at)
    wish = _wish(item, row, own)
    if moved:
        timing = _timing(item, forced, now, rules)
        past = Past.SEND if forced else _past(item)
        verdict = _judge_time(timing, wish, past, now)
        if row.reason in SENDER_HOLDS and not given_back and verdict.state is not ReminderState.MISSED:
            verdict = Verdict(row.state, row.reason)
        return Change(row, verdict, timing, item.basis)
    basis = item.basis if item.basis != row.basis else None
    verdict = _unmoved(item, row, wish, own, given_back, now, rules)
    if (verdict.state, verdict.reason) == (row.state, row.reason) and basis is None:
        return None
    timing_given_back = None
    if row.state is ReminderState.HELD and verdict.state is ReminderState.SCHEDULED:
        timing_given_back = _given_back_timing(item, row, own, now, rules)
    return Change(row, verdict, timing_given_back, basis)


def _forced(row: Stored, said: Sequence[Decision], at_once: datetime | None) -> Forced | None:
    """The time that a person or a moved visit gave this generation; the same at every replanning."""
    own = [d.at for d in said if d.generation == row.generation and d.kind in _SENDS]
    before = [d.at for d in said if d.generation == row.generation - 1 and d.kind in _ASKS_AGAIN]
    if own or before:
        return Forced((own or before)[-1], by_person=True)
    return Forced(at_once, by_person=False) if at_once else None


def _decided_end(row: Stored, said: Sequence[Decision]) -> Verdict | None:
    for decision in said:
        if decision.generation != row.generation:
            continue
        if decision.kind is DecisionKind.CANCEL:
            return Verdict(ReminderState.CANCELLED, Reason.BY_STAFF)
        if decision.kind is DecisionKind.DONE:
            return Verdict(ReminderState.DONE, Reason.DONE_BY_STAFF)
        if decision.kind is DecisionKind.RESOLVE_RECEIVED and row.reason is Reason.UNKNOWN:
            return Verdict(ReminderState.SENT, Reason.RESOLVED_RECEIVED)
    return None


def _wish(item: Wanted, row: Stored, own: Sequence[Decision]) -> Verdict:
    """The verdict of the facts with what staff decided about this very reminder."""
    if item.verdict.state is ReminderState.HELD:
        return item.verdict
    last = next((d.kind for d in reversed(own) if d.kind is DecisionKind.HOLD or d.kind in _GIVES_BACK), None)
    if last is DecisionKind.HOLD:
        return Verdict(ReminderState.HELD, Reason.HOLD)
    if item.step.manual and last is None:
        return Verdict(ReminderState.HELD, Reason.AWAITING_RELEASE)
    return Verdict(ReminderState.SCHEDULED)


def _unmoved(
    item: Wanted,
    row: Stored,
    wish: Verdict,
    own: Sequence[Decision],
    given_back: bool,
    now: datetime,
    rules: Rules,
) -> Verdict:
    keeps = Verdict(row.state, row.reason)
    if row.state is not ReminderState.HELD:
        if wish.state is ReminderState.HELD:
            return wish
            return keeps
    if row.reason in SENDER_HOLDS and not given_back:
        return keeps
    if wish.state is ReminderState.HELD:
        # A line that is due for staff stays one under a hold of the plan.
        return keeps if row.reason is Reason.FOR_STAFF else wish
    if row.reason is Reason.FOR_STAFF or (row.reason is Reason.PAST_ASK and not given_back):
        return keeps
    person = any(d.kind in _GIVES_BACK for d in own)
    timing = _given_back_timing(item, row, own, now, rules)
    return _judge_time(timing, wish, Past.SEND if person else _past(item), now)


def _given_back_timing(item: Wanted, row: Stored, own: Sequence[Decision], now: datetime, rules: Rules) -> Timing:
    ready_at = max(row.due_at, row.not_before or row.due_at)
    if not any(d.kind in _SENDS for d in own) and item.step.audience is Audience.PATIENT:
        ready_at = allowed(item.step, max(ready_at, now) if row.due_at < now else ready_at, row.zone, rules)
    local = datetime.fromisoformat(row.due_local)
    return Timing(row.due_at, local, row.zone, row.not_before, ready_at, row.expires_at)


def _want_again(
    item: Wanted, last: Stored, said: Sequence[Decision], announce_at: datetime | None, now: datetime, rules: Rules
) -> Insert | None:
    """A new generation after a final row, where the facts or a person ask for one."""
    if item.verdict.state is ReminderState.CANCELLED:
        return None
    again = [d.at for d in said if d.generation == last.generation and d.kind in _ASKS_AGAIN]
    if again:
        return _born(item, last.generation + 1, Forced(again[-1], by_person=True), now, rules)
    ahead = item.due_at > now and not item.useless
    if last.state is ReminderState.SENT:
        if item.step.anchor is not Anchor.REVIEW_BOOKED or item.basis == last.basis:
            return None
        if announce_at is None and not ahead:
            return None
        announced = Forced(announce_at, by_person=False) if announce_at else None
        return _born(item, last.generation + 1, announced, now, rules)
    if last.state is ReminderState.CANCELLED and last.reason is not Reason.BY_STAFF:
        born = _born(item, last.generation + 1, None, now, rules)
        return None if born.verdict.state is ReminderState.MISSED else born
    moved = (item.due_at, item.basis) != (last.due_at, last.basis)
    if last.state in (ReminderState.MISSED, ReminderState.FAILED) and ahead and moved:
        return _born(item, last.generation + 1, None, now, rules)
    return None


def _visits_to_announce(items: Sequence[Wanted], by_key: Mapping[Key, Sequence[Stored]]) -> dict[Key, datetime]:
    """Visits that were moved while a mail with the old date was in her hand: which step says so, and since when.

    One message announces it: the first step that had named the old visit. Once one was sent for the new visit, the
    others keep their own times.
    """
    candidates: dict[tuple[object, str], tuple[Wanted, datetime]] = {}
    told: set[tuple[object, str]] = set()
    for item in items:
        if item.step.anchor is not Anchor.REVIEW_BOOKED or item.review is None or item.review.booking is None:
            continue
        visit = (item.plan.id, item.review.rule.key)
        sent = [row for row in by_key.get(item.key, ()) if row.state is ReminderState.SENT]
        if not sent:
            continue
        if sent[-1].basis == item.basis:
            told.add(visit)
        elif visit not in candidates and visit_instant(sent[-1].basis) > item.review.booking.recorded_at:
            candidates[visit] = (item, item.review.booking.recorded_at)
    return {item.key: since for visit, (item, since) in candidates.items() if visit not in told}
