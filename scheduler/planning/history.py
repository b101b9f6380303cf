"""What the rows and staff decisions of one message add up to: what has ended it, what a person's word still asks.

What becomes of the message is decided in `reconcile`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from db.states import DecisionKind, Reason, ReminderState
from scheduler.planning.facts import Decision, Stored
from scheduler.planning.protocol import Anchor
from scheduler.planning.wanted import Key, Wanted, visit_instant

SENDS = frozenset({DecisionKind.SEND_NOW, DecisionKind.RETRY, DecisionKind.RESOLVE_RESEND, DecisionKind.SEND_AGAIN})
GIVES_BACK = SENDS | {DecisionKind.RESUME}
_WORDS = GIVES_BACK | {DecisionKind.HOLD}
_ENDS = {
    DecisionKind.CANCEL: (ReminderState.CANCELLED, Reason.BY_STAFF),
    DecisionKind.DONE: (ReminderState.DONE, Reason.DONE_BY_STAFF),
}


@dataclass(frozen=True, slots=True)
class Forced:
    """A time that stands instead of the step's own: a person's "now", or a moved visit that is told at once."""

    at: datetime
    by_person: bool


@dataclass(frozen=True, slots=True)
class History:
    """One message up to the generation in question, which is live or about to be inserted.

    `base` is the last generation that ended for good: the ones after it were cancelled by facts that may turn back, or
    a person took back that she had ended them, so what was said about those still stands. `words` are the decisions
    that count, in the order recorded.
    """

    base: Stored | None
    words: Sequence[Decision]

    @property
    def forced(self) -> Forced | None:
        """The time a person gave it; the same at every replanning."""
        sends = [decision.at for decision in self.words if decision.kind in SENDS]
        return Forced(sends[-1], by_person=True) if sends else None

    @property
    def reopened(self) -> bool:
        """Whether a person took back that it was done or cancelled."""
        return any(decision.kind is DecisionKind.REOPEN for decision in self.words)

    @property
    def last_word(self) -> DecisionKind | None:
        """Whether a person last held it or gave it back."""
        return next((decision.kind for decision in reversed(self.words) if decision.kind in _WORDS), None)


def history(before: Sequence[Stored], said: Sequence[Decision]) -> History:
    """The history behind one generation. `before`: the final rows of the generations before it, oldest first."""
    base = next((row for row in reversed(before) if not _cancelled_by_facts(row) and not _taken_back(row, said)), None)
    if base is None:
        return History(None, said)
    return History(
        base,
        [
            decision
            for decision in said
            if decision.generation > base.generation
            or (decision.generation == base.generation and _asks_again(decision, base))
        ],
    )


def decided_end(row: Stored, said: Iterable[Decision]) -> tuple[ReminderState, Reason] | None:
    """How a person ended this row, unless she took it back."""
    end = None
    for decision in said:
        if decision.generation == row.generation:
            end = _ENDS.get(decision.kind, None if decision.kind is DecisionKind.REOPEN else end)
    return end


def had_arrived(row: Stored, said: Iterable[Decision]) -> bool:
    """Whether staff found that a message with an unknown outcome had arrived."""
    return (
        row.reason is Reason.UNKNOWN
        and not row.open_attempt
        and any(d.generation == row.generation and d.kind is DecisionKind.RESOLVE_RECEIVED for d in said)
    )


def given_back(row: Stored, words: Iterable[Decision]) -> bool:
    """Whether a person gave a held row back since it was held. An unknown one only by saying: send it again."""
    enough = {DecisionKind.RESOLVE_RESEND} if row.reason is Reason.UNKNOWN else GIVES_BACK
    return any(decision.kind in enough and decision.at >= row.changed_at for decision in words)


def visits_to_announce(items: Sequence[Wanted], by_key: Mapping[Key, Sequence[Stored]]) -> dict[Key, datetime]:
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


def _cancelled_by_facts(row: Stored) -> bool:
    return row.state is ReminderState.CANCELLED and row.reason is not Reason.BY_STAFF


def _taken_back(row: Stored, said: Iterable[Decision]) -> bool:
    return row.state in (ReminderState.DONE, ReminderState.CANCELLED) and any(
        decision.kind is DecisionKind.REOPEN and decision.generation == row.generation and decision.at >= row.changed_at
        for decision in said
    )


def _asks_again(decision: Decision, base: Stored) -> bool:
    """Whether a decision about an ended row asks for another one, rather than having led to that end.

    After a message was sent, done by hand or cancelled by a person, only "send again" does.
    """
    if decision.kind is DecisionKind.SEND_AGAIN:
        return True
    if base.state not in (ReminderState.FAILED, ReminderState.MISSED):
        return False
    if decision.kind is DecisionKind.RETRY:
        return decision.at >= base.changed_at
    return decision.kind is DecisionKind.SEND_NOW and decision.at > base.changed_at
