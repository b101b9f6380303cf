"""The history checker: what the mail server took, what the database says, and the promise of docs/guarantees.md.

It knows nothing of how sending works; `tests/test_history.py` shows that it finds each kind of breach. Who makes
histories are the crash, soak and classification tests.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from sqlalchemy import select

from db import marks
from db.engine import Store
from db.follow_up import DeliveryAttempt, Reminder, ReminderDecision
from db.records import Patient
from db.states import DecisionKind

# Both ends read one machine's clock; whole microseconds in the database, fractions of them in the ledger.
SAME_INSTANT = timedelta(milliseconds=1)
SILENT_STATES = {"scheduled", "sending", "sent"}  # every other state has to say why
WAITING_STATES = {"scheduled", "awaiting_retry", "sending"}
CERTAIN_NOS = {"not_sent", "put_off", "refused", "rejected", "stopped"}


@dataclass(frozen=True)
class Taken:
    """One message the server took responsibility for."""

    message_id: str
    recipient: str
    sha256: str
    at: datetime


@dataclass(frozen=True)
class Try:
    """One attempt as the database has it; `sha256` is of its sent copy, None where none was kept."""

    number: int
    outcome: str
    marked_at: datetime
    sha256: str | None = None


@dataclass(frozen=True)
class Story:
    """One reminder at the end, with its attempts in order. `ordered_again`: how often a person said "send again"."""

    message_id: str
    state: str
    reason: str | None
    due_at: datetime
    ready_at: datetime
    expires_at: datetime
    address: str
    on_unknown: str
    is_open: bool
    tries: tuple[Try, ...] = ()
    ordered_again: int = 0


@dataclass(frozen=True)
class Breach:
    """One promise that was not kept."""

    kind: str
    message_id: str
    words: str


@dataclass(frozen=True)
class Circumstances:
    """What the test knows beside ledger and database.

    `now` is the end of the history. `entered` are the messages that were promised to somebody (None: those found),
    `stopped` says when a stop of a message was committed, `in_flight` which attempts were open when the process was
    killed, `broken_off` whose answers the server withheld by script, `late_after` how late a first hand-over may be
    while the service runs all the time.
    """

    now: datetime
    entered: Collection[str] | None = None
    stopped: Mapping[str, datetime] | None = None
    in_flight: Collection[int] | None = None
    broken_off: Collection[str] = ()
    late_after: timedelta | None = None
    may_wait: timedelta = timedelta(minutes=1)


def breaches(stories: Iterable[Story], ledger: Iterable[Taken], around: Circumstances) -> list[Breach]:
    """Everything in this history that the promise excludes; empty is what tests want."""
    told = {story.message_id: story for story in stories}
    taken: defaultdict[str, list[Taken]] = defaultdict(list)
    found: list[Breach] = []
    for line in sorted(ledger, key=lambda line: line.at):
        if line.message_id in told:
            taken[line.message_id].append(line)
        else:
            found.append(Breach("stranger", line.message_id, "taken by the server, unknown to the database"))
    for message_id in set(around.entered or ()) - set(told):
        found.append(Breach("lost", message_id, "entered, and no longer in the database"))
    for story in told.values():
        copies = _by_try(story, taken[story.message_id])
        found += [Breach(kind, story.message_id, words) for kind, words in _of_state(story, copies, around)]
        found += [Breach(kind, story.message_id, words) for kind, words in _of_copies(story, copies)]
        found += [Breach(kind, story.message_id, words) for kind, words in _of_time(story, copies, around)]
        found += [Breach(kind, story.message_id, words) for kind, words in _of_unknowns(story, around)]
    return found


def _by_try(story: Story, taken: list[Taken]) -> dict[int, list[Taken]]:
    """The copies the server took, by place of the attempt they belong to; -1 is before the first mark."""
    copies: dict[int, list[Taken]] = {place: [] for place in range(-1, len(story.tries))}
    for copy in taken:
        begun = [n for n, attempt in enumerate(story.tries) if attempt.marked_at <= copy.at + SAME_INSTANT]
        # An attempt that ended before its mark has no copy, and its row is made with its outcome.
        copies[begun[-1] if begun else -1].append(copy)
    return copies


def _of_state(story: Story, copies: dict[int, list[Taken]], around: Circumstances) -> Iterable[tuple[str, str]]:
    if story.state == "sent" and story.reason is None and not any(copies.values()):
        yield "lost", "sent, says the database; the server never took it"
    if story.state not in SILENT_STATES and story.reason is None:
        yield "lost", f"{story.state} without a reason"
    if story.is_open or story.state == "sending":
        yield "stuck", "still claimed at the end"
    elif story.state in WAITING_STATES and story.ready_at + around.may_wait < around.now:
        yield "lost", f"{story.state} since {story.ready_at}, and nobody sends it"


def _of_copies(story: Story, copies: dict[int, list[Taken]]) -> Iterable[tuple[str, str]]:
    if copies[-1]:
        yield "unmarked", "content left before its mark was durable"
    for place, attempt in enumerate(story.tries):
        if len(copies[place]) > 1:
            yield "doubled", f"{len(copies[place])} copies in attempt {attempt.number}"
        if copies[place] and attempt.outcome in CERTAIN_NOS:
            yield "misread", f"attempt {attempt.number} is recorded as {attempt.outcome}; the server took it"
        if not copies[place] and attempt.outcome == "accepted":
            yield "misread", f"attempt {attempt.number} is recorded as accepted; the server took nothing"
        for copy in copies[place]:
            if attempt.sha256 is not None and copy.sha256 != attempt.sha256:
                yield "altered", f"the copy kept of attempt {attempt.number} is not what the server took"
            if copy.recipient != story.address:
                yield "misdirected", "taken for another address"
    for before, after in pairwise(story.tries):
        if before.outcome == "accepted":
            yield "doubled", f"attempt {after.number} after {before.number} was accepted"


def _of_unknowns(story: Story, around: Circumstances) -> Iterable[tuple[str, str]]:
    unknown = [attempt for attempt in story.tries if attempt.outcome == "unknown"]
    repeated = [attempt for attempt in unknown if attempt is not story.tries[-1]]
    allowed = (1 if story.on_unknown == "resend_once" else 0) + story.ordered_again
    if len(repeated) > allowed:
        yield "doubled", f"repeated after {len(repeated)} lost answers; {allowed} are allowed"
    if around.in_flight is not None and story.message_id not in around.broken_off:
        for attempt in unknown:
            if attempt.number not in around.in_flight:
                yield "unknown", f"attempt {attempt.number} was not between its mark and its record at any kill"


def _of_time(story: Story, copies: dict[int, list[Taken]], around: Circumstances) -> Iterable[tuple[str, str]]:
    stopped_at = (around.stopped or {}).get(story.message_id)
    for place, attempt in enumerate(story.tries):
        for copy in copies[place]:
            if stopped_at is not None and attempt.marked_at > stopped_at:
                yield "cancelled", f"stopped at {stopped_at}, marked at {attempt.marked_at}"
            elif story.state == "cancelled" and attempt.outcome == "accepted":
                yield "cancelled", f"cancelled, says the database; attempt {attempt.number} was accepted"
            if copy.at + SAME_INSTANT < story.due_at:
                yield "early", f"due at {story.due_at}, taken at {copy.at}"
            if attempt.marked_at > story.expires_at:
                yield "late", f"of use until {story.expires_at}, marked at {attempt.marked_at}"
            if around.late_after is not None and place == 0 and copy.at > story.due_at + around.late_after:
                yield "late", f"due at {story.due_at}, taken at {copy.at}"


def read_ledger(ledger: Path) -> list[Taken]:
    """What the server's file says; a line cut off by its end is left out."""
    lines = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    return [
        Taken(line["message_id"], line["recipient"], line["sha256"], datetime.fromtimestamp(line["wall"], UTC))
        for line in lines
    ]


def read_stories(store: Store, with_copies: bool = True) -> list[Story]:
    """What the database says, with the sent copies opened and hashed where wanted."""
    with store.read() as session:
        tries: defaultdict[object, list[Try]] = defaultdict(list)
        for attempt in session.scalars(select(DeliveryAttempt).order_by(DeliveryAttempt.number)):
            copy = marks.read_copy(session, attempt.number) if with_copies else None
            sha256 = hashlib.sha256(copy).hexdigest() if copy is not None else None
            tries[attempt.reminder_id].append(Try(attempt.number, attempt.outcome.value, attempt.marked_at, sha256))
        again = Counter(
            (decision.care_plan_id, decision.step, decision.occurrence, decision.generation)
            for decision in session.scalars(select(ReminderDecision))
            if decision.kind is DecisionKind.RESOLVE_RESEND
        )
        addresses = {patient.id: patient.email or "" for patient in session.scalars(select(Patient))}
        return [
            Story(
                message_id=row.message_id,
                state=row.state.value,
                reason=row.reason.value if row.reason else None,
                due_at=row.due_at,
                ready_at=row.ready_at,
                expires_at=row.expires_at,
                address=addresses[row.patient_id],
                on_unknown=row.on_unknown.value,
                is_open=row.open_attempt is not None,
                tries=tuple(tries[row.id]),
                ordered_again=again[row.care_plan_id, row.step, row.occurrence, row.generation],
            )
            for row in session.scalars(select(Reminder).order_by(Reminder.due_at))
        ]
