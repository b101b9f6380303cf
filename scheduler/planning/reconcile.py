"""The difference between the wanted set and the stored rows, at one instant; final rows are never touched.

`plan_patient` in `patient_plan` puts wanted, spread and this together; `scheduler.care_plans` applies the result.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from db.states import LIVE_STATES, SENDER_HOLDS, Audience, DecisionKind, Past, Reason, ReminderState
from scheduler.local_time import to_wall
from scheduler.planning.facts import Decision, Rules, Stored
from scheduler.planning.history import Forced, History, decided_end, given_back, history, visits_to_announce
from scheduler.planning.protocol import Anchor
from scheduler.planning.verdict import Verdict
from scheduler.planning.wanted import Key, Wanted, allowed, visit_instant


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
    announce = visits_to_announce(items, by_key)
    difference = Difference()
    for item in items:
        known = by_key.pop(item.key, [])
        said = decisions.get(item.key, ())
        if known and known[-1].state in LIVE_STATES:
            change = _settle(item, known[-1], known[:-1], said, announce.get(item.key), now, rules)
            if change:
                difference.changes.append(change)
            continue
        insert = _next_generation(item, known, said, announce.get(item.key), now, rules)
        if insert:
            difference.inserts.append(insert)
    for key, known in by_key.items():
        row = known[-1]
        if row.state in LIVE_STATES and not row.open_attempt:
            end = decided_end(row, decisions.get(key, ()))
            reason = absent.get(key, Reason.NO_LONGER_APPLIES)
            difference.changes.append(Change(row, Verdict(*end) if end else Verdict(ReminderState.CANCELLED, reason)))
    return difference


def _next_generation(
    item: Wanted,
    known: Sequence[Stored],
    said: Sequence[Decision],
    announce_at: datetime | None,
    now: datetime,
    rules: Rules,
) -> Insert | None:
    """The first row of a message, or a new one after a final row, where the facts or a person ask for one."""
    if not known:
        return _born(item, 1, history((), said), None, now, rules)
    if item.verdict.state is ReminderState.CANCELLED:
        return None
    past = history(known, said)
    last, base = known[-1], past.base
    forced = past.forced
    if base is last and forced:  # asked for by a person: inserted whatever becomes of it, so that it shows
        return _born(item, last.generation + 1, past, forced, now, rules)
    if forced is None and base is not None:
        if base.state is ReminderState.SENT:
            if not _names_another_visit(item, base):
                return None
            forced = _announced(item, base, announce_at)
            if forced is None and not _ahead(item, now):
                return None
        elif base is last and not _wanted_after_failing(item, base, said, now):
            return None
    born = _born(item, last.generation + 1, past, forced, now, rules)
    return None if born.verdict == _PAST else born


def _wanted_after_failing(item: Wanted, base: Stored, said: Sequence[Decision], now: datetime) -> bool:
    """Failed and missed messages come back only for a new time that is still ahead; what a person ended does not."""
    if base.state not in (ReminderState.MISSED, ReminderState.FAILED) or decided_end(base, said):
        return False
    return _ahead(item, now) and (item.due_at, item.basis) != (base.due_at, base.basis)


def _ahead(item: Wanted, now: datetime) -> bool:
    return item.due_at > now and not item.useless


def _names_another_visit(item: Wanted, base: Stored) -> bool:
    return item.step.anchor is Anchor.REVIEW_BOOKED and item.basis != base.basis


def _announced(item: Wanted, base: Stored | None, announce_at: datetime | None) -> Forced | None:
    """A visit whose last word to her was another date is told at once."""
    if announce_at is None or base is None or not _names_another_visit(item, base):
        return None
    return Forced(announce_at, by_person=False)


def _born(item: Wanted, generation: int, past: History, forced: Forced | None, now: datetime, rules: Rules) -> Insert:
    timing = _timing(item, forced, now, rules)
    if item.verdict.state is ReminderState.CANCELLED:
        return Insert(item, generation, timing, item.verdict)
    wish = _wish(item, past, forced)
    if past.reopened and item.step.audience is Audience.STAFF:
        return Insert(item, generation, timing, wish)  # a line for staff stays until it is finished, whatever its end
    return Insert(item, generation, timing, _judge_time(timing, wish, _rule(item, past, forced), now))


def _rule(item: Wanted, past: History, forced: Forced | None) -> Past:
    """The past rule for a new row. What a person took back is no longer skipped: it had its time ahead once."""
    if forced:
        return Past.SEND
    rule = _past(item)
    if not past.reopened or (rule is Past.ASK and past.last_word is None):
        return rule
    return Past.SEND


def _timing(item: Wanted, forced: Forced | None, now: datetime, rules: Rules) -> Timing:
    """Times of a new or moved row. A person who says "now" is not made to wait for grace or window."""
    due_at, due_local, expires_at = item.due_at, item.due_local, _end(item, forced)
    if forced:
        due_at, due_local = forced.at, to_wall(forced.at, item.zone)
    if item.step.audience is Audience.STAFF or (forced and forced.by_person):
        return Timing(due_at, due_local, item.zone, None, due_at, expires_at)
    not_before = now + timedelta(minutes=rules.grace_minutes)
    ready_at = allowed(item.step, max(due_at, not_before), item.zone, rules)
    return Timing(due_at, due_local, item.zone, not_before, ready_at, expires_at)


def _end(item: Wanted, forced: Forced | None) -> datetime:
    """When it is of no use any more. A forced time has as long as the step's own; the date of a visit, until then."""
    if forced is None:
        return item.expires_at
    if item.step.anchor is Anchor.REVIEW_BOOKED:
        return max(item.expires_at, visit_instant(item.basis))
    return max(item.expires_at, forced.at + (item.expires_at - item.own_at))


_PAST = Verdict(ReminderState.MISSED, Reason.PAST_WHEN_PLANNED)


def _judge_time(timing: Timing, verdict: Verdict, past: Past, now: datetime) -> Verdict:
    """The past rule and the end, judged when a row is born, moved or given back."""
    if now >= timing.expires_at:
        return _PAST
    if timing.due_at < now and past is Past.SKIP:
        return _PAST
    if timing.ready_at >= timing.expires_at:
        return Verdict(ReminderState.MISSED, Reason.OUTSIDE_WINDOW)
    if timing.due_at < now and past is Past.ASK and verdict.state is ReminderState.SCHEDULED:
        return Verdict(ReminderState.HELD, Reason.PAST_ASK)
    return verdict


def _past(item: Wanted) -> Past:
    return item.plan.past_override or item.step.past


def _wish(item: Wanted, past: History, forced: Forced | None) -> Verdict:
    """The verdict of the facts with what staff decided about this very message."""
    if item.verdict.state is ReminderState.HELD:
        return item.verdict
    if past.last_word is DecisionKind.HOLD:
        return Verdict(ReminderState.HELD, Reason.HOLD)
    if item.step.manual and past.last_word is None and forced is None:
        return Verdict(ReminderState.HELD, Reason.AWAITING_RELEASE)
    return Verdict(ReminderState.SCHEDULED)


def _settle(
    item: Wanted,
    row: Stored,
    before: Sequence[Stored],
    said: Sequence[Decision],
    announce_at: datetime | None,
    now: datetime,
    rules: Rules,
) -> Change | None:
    """What a live row of a wanted message becomes; None when nothing changes."""
    if row.open_attempt:
        return None  # its content may be on the wire: the sender's, until the outcome is recorded
    end = decided_end(row, said)
    if end:
        return Change(row, Verdict(*end))
    if item.verdict.state is ReminderState.CANCELLED:
        return Change(row, item.verdict)
    past = history(before, said)
    forced = past.forced or _announced(item, past.base, announce_at)
    back = given_back(row, past.words)
    if row.reason is Reason.UNKNOWN and not back:
        return None
    if past.forced is None and _already_told(item, past.base):
        return Change(row, Verdict(ReminderState.CANCELLED, Reason.NO_LONGER_APPLIES))
    wish = _wish(item, past, forced)
    basis = item.basis if item.basis != row.basis else None
    if _moves(item, row, forced, wish, now):
        timing = _timing(item, forced, now, rules)
        return Change(row, _after_move(item, row, timing, wish, forced, back, now), timing, basis)
    returned = None
    if row.state is ReminderState.HELD:
        returned = _given_back_timing(item, row, forced, now, rules)
        verdict = _while_held(row, returned, wish, Past.SEND if forced or back else _past(item), back, now)
    else:
        verdict = wish if wish.state is ReminderState.HELD else Verdict(row.state, row.reason)
    if (verdict.state, verdict.reason) == (row.state, row.reason) and basis is None:
        return None
    return Change(row, verdict, returned if verdict.state is ReminderState.SCHEDULED else None, basis)


def _already_told(item: Wanted, base: Stored | None) -> bool:
    """The visit went back to the very date she was told."""
    return (
        item.step.anchor is Anchor.REVIEW_BOOKED
        and base is not None
        and base.state is ReminderState.SENT
        and base.basis == item.basis
    )


def _moves(item: Wanted, row: Stored, forced: Forced | None, wish: Verdict, now: datetime) -> bool:
    due_at, expires_at = forced.at if forced else item.due_at, _end(item, forced)
    if (due_at, item.zone, expires_at) == (row.due_at, row.zone, row.expires_at):
        return False
    if item.basis != row.basis:
        return True
    if forced and forced.by_person and due_at != row.due_at:
        return True  # "now" is not made to wait for the next try
    if row.state is ReminderState.AWAITING_RETRY and wish.state is not ReminderState.HELD:
        # Tried for this very date and put off: only a time still ahead, not a day shared out anew, restarts it.
        return (item.zone, expires_at) != (row.zone, row.expires_at) and due_at > now
    return True


def _after_move(
    item: Wanted, row: Stored, timing: Timing, wish: Verdict, forced: Forced | None, back: bool, now: datetime
) -> Verdict:
    keeps = Verdict(row.state, row.reason)
    if row.reason in SENDER_HOLDS and not back:
        return keeps
    if row.reason is Reason.FOR_STAFF and timing.due_at <= now < timing.expires_at:
        return keeps
    # A new zone, or a day shared out anew: the date stands, so a message that still waits is not lost by it.
    own_time_stands = item.basis == row.basis and timing.expires_at == row.expires_at
    date_stands = own_time_stands or (item.basis == row.basis and item.zone != row.zone)
    if row.reason is Reason.PAST_ASK and own_time_stands and not back:
        return keeps
    waits = row.state is not ReminderState.HELD or wish.state is ReminderState.HELD
    rule = Past.SEND if forced or (date_stands and waits) else _past(item)
    return _judge_time(timing, wish, rule, now)


def _while_held(row: Stored, returned: Timing, wish: Verdict, rule: Past, back: bool, now: datetime) -> Verdict:
    keeps = Verdict(row.state, row.reason)
    if row.reason in SENDER_HOLDS and not back:
        return keeps
    if wish.state is ReminderState.HELD:
        # A line that is due for staff stays one under a hold of the plan.
        return keeps if row.reason is Reason.FOR_STAFF else wish
    if row.reason is Reason.FOR_STAFF or (row.reason is Reason.PAST_ASK and not back):
        return keeps
    return _judge_time(returned, wish, rule, now)


def _given_back_timing(item: Wanted, row: Stored, forced: Forced | None, now: datetime, rules: Rules) -> Timing:
    ready_at = max(row.due_at, row.not_before or row.due_at)
    if item.step.audience is Audience.PATIENT and not (forced and forced.by_person):
        ready_at = allowed(item.step, max(ready_at, now) if row.due_at < now else ready_at, row.zone, rules)
    local = datetime.fromisoformat(row.due_local)
    return Timing(row.due_at, local, row.zone, row.not_before, ready_at, row.expires_at)
