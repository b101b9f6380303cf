"""One step of a protocol file: its keys, and the rules between them that keep it meaningful and reachable.

The rest of the file is read in `scheduler.protocols`; when a step is wanted is in `scheduler.planning.wanted`.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final

from db.states import Audience, OnUnknown, Past, Phase, StepKind
from scheduler.durations import MAX_DAYS, is_elapsed_text
from scheduler.message_source import PART_PREFIXES
from scheduler.planning.protocol import CONFIRM, REVIEW_WHENS, Anchor, Repeat, Span, Step, StopOn, When
from scheduler.table_reader import DASHED_KEY, PLAIN_KEY, Findings, TableReader, nearest

MAX_REPEATS: Final = 400  # a year of daily steps; more is a slip of the keyboard

_REQUIRED: Final = ("key", "kind", "template", "anchor", "offset", "expires_after")
STEP_KEYS: Final = (
    *_REQUIRED,
    "at",
    "review",
    "phase",
    "when",
    "past",
    "on_unknown",
    "mode",
    "working_days_only",
    "stop_on",
    "audience",
    "may_wait",
    "repeat",
)
_MAY_WAIT_BY_DEFAULT: Final = frozenset({StepKind.EXERCISE, StepKind.ADMINISTRATIVE})

# What cannot be true together, with the reason a person is told. A visit is booked only while it is neither missed
# nor held; "not wanted" and "released" undo each other; what an anchor waits for must not be what stops the step.
_NEVER: Final[tuple[tuple[Anchor | Phase | When, When | StopOn | Phase, str], ...]] = (
    (Anchor.REVIEW_BOOKED, When.REVIEW_UNBOOKED, "while a visit is booked it is not unbooked"),
    (Anchor.REVIEW_MISSED, When.REVIEW_BOOKED, "after a missed visit none is booked; a new booking ends this step"),
    (Anchor.REVIEW_COMPLETED, When.REVIEW_UNBOOKED, "a completed review is not waiting to be booked"),
    (Anchor.REVIEW_COMPLETED, When.REVIEW_BOOKED, "a completed review is not booked any more"),
    (Anchor.REVIEW_COMPLETED, When.UNTIL_REVIEW_DONE, "the step would start when its review is done and end then too"),
    (Anchor.REVIEW_COMPLETED, StopOn.REVIEW_COMPLETED, "the anchor itself would stop the step"),
    (Anchor.PARTNER_RELEASED, Phase.SOLO, "the solo phase comes before the release; expected partner"),
    (Anchor.PARTNER_RELEASED, When.PARTNER_NOT_WANTED, "the phase is not released while it is not wanted"),
    (Anchor.PARTNER_RELEASED, StopOn.PARTNER_RELEASED, "the anchor itself would stop the step"),
    (Anchor.HEALING_CLEARED, StopOn.HEALING_CLEARED, "the anchor itself would stop the step"),
    (Phase.PARTNER, When.PARTNER_NOT_WANTED, "partner steps exist only while the phase is wanted"),
    (Phase.PARTNER, StopOn.PARTNER_RELEASED, "partner steps exist only once it is released, which would stop them"),
    (When.HEALING_CLEARED, StopOn.HEALING_CLEARED, "the condition itself would stop the step"),
)


class Mode(StrEnum):
    """Whether a step leaves by itself or waits until staff resume it."""

    AUTO = "auto"
    MANUAL = "manual"


def read_step(
    reader: TableReader, order: int, reviews: Sequence[str], templates: Collection[str] | None, findings: Findings
) -> Step | None:
    """One step; None when a required key is missing or wrong, which is then among the findings."""
    reader.only(STEP_KEYS, required=_REQUIRED)
    key = reader.name("key", DASHED_KEY)
    if key == CONFIRM.key:
        reader.wrong("key", "this is the program's own question about an address; expected another")
    kind = reader.word("kind", StepKind, StepKind.AFTERCARE)
    audience = reader.word("audience", Audience, Audience.PATIENT)
    template = _template(reader, audience, templates)
    anchor = reader.word("anchor", Anchor, Anchor.TREATMENT)
    when = reader.word("when", When, When.ALWAYS)
    phase = reader.word("phase", Phase, Phase.ANY)
    stop_on = reader.words("stop_on", StopOn, (StopOn.COMPLICATION,))
    review = reader.name("review", DASHED_KEY)
    offset = reader.span("offset")
    elapsed = offset is not None and is_elapsed_text(str(reader.table["offset"]))
    at = reader.clock_time("at")
    expires_after = reader.span("expires_after", "positive")
    if offset is not None:
        _check_time_of_day(reader, elapsed)
    repeat = _repeat(reader, offset, elapsed, findings)
    if all(reader.knows(*pair) for pair in (("anchor", Anchor), ("when", When), ("phase", Phase))):
        _check_reachable(reader, anchor, when, phase, stop_on)
        _check_review(reader, reviews, anchor, when, stop_on, review)
    may_wait = reader.flag("may_wait", default=kind in _MAY_WAIT_BY_DEFAULT and not elapsed)
    if may_wait and elapsed:
        reader.add("may_wait: a step that counts elapsed time cannot move to another day", "may_wait")
    step_past = reader.word("past", Past, Past.SKIP)
    on_unknown = reader.word("on_unknown", OnUnknown, OnUnknown.RESEND_ONCE)
    manual = reader.word("mode", Mode, Mode.AUTO) is Mode.MANUAL
    working_days_only = reader.flag("working_days_only", default=False)
    if key is None or template is None or offset is None or expires_after is None:
        return None
    return Step(
        key=key,
        order=order,
        kind=kind,
        template=template,
        anchor=anchor,
        offset=offset,
        at=at,
        expires_after=expires_after,
        review=review,
        phase=phase,
        when=when,
        past=step_past,
        on_unknown=on_unknown,
        manual=manual,
        working_days_only=working_days_only,
        stop_on=stop_on,
        audience=audience,
        may_wait=may_wait,
        repeat=repeat,
    )


def _template(reader: TableReader, audience: Audience, templates: Collection[str] | None) -> str | None:
    template = reader.name("template", PLAIN_KEY)
    if template is None or audience is Audience.STAFF:  # for staff it names a line on their list, not a text file
        return template
    if template.startswith("urgent_"):
        reader.wrong("template", "urgent blocks are added to every message; expected a message of its own")
    elif templates is not None and template not in templates:
        messages = sorted(key for key in templates if not key.startswith(PART_PREFIXES))
        reader.wrong("template", f"there is no such text; {nearest(template, messages)}")
    return template


def _check_time_of_day(reader: TableReader, elapsed: bool) -> None:
    offset = reader.table["offset"]
    if elapsed and reader.has("at"):
        reader.wrong("at", f'offset "{offset}" is elapsed time and has no time of day; expected no at, or whole days')
    elif not elapsed and not reader.has("at"):
        reader.wrong("offset", 'whole days need the local time to send: add at = "10:00"')


def _repeat(reader: TableReader, offset: Span | None, elapsed: bool, findings: Findings) -> Repeat | None:
    if not reader.has("repeat"):
        return None
    table = reader.table["repeat"]
    if not isinstance(table, dict):
        reader.add("repeat: expected a table [step.repeat] with every and count", "repeat")
        return None
    inner = TableReader(findings, (*reader.path, "repeat"), table, f"{reader.what}: repeat")
    inner.only(("every", "count"), required=("every", "count"))
    every = inner.span("every", "positive")
    count = inner.number("count", 1, MAX_REPEATS)
    if every is None or count is None or offset is None:
        return None
    if is_elapsed_text(str(table["every"])) is not elapsed:
        kind = "elapsed time, like PT36H" if elapsed else "whole days, like P7D"
        inner.wrong("every", f'it has to count as offset "{reader.table["offset"]}" does: expected {kind}')
        return None
    last = offset.plus(every.times(count - 1))
    if last.days > MAX_DAYS or last.elapsed > timedelta(days=MAX_DAYS):
        inner.add(f"count {count}: the last one would lie more than ten years ahead; expected fewer", "count")
        return None
    return Repeat(every, count)


def _check_reachable(reader: TableReader, anchor: Anchor, when: When, phase: Phase, stop_on: frozenset[StopOn]) -> None:
    said = [("anchor", anchor), ("when", when), ("phase", phase), *(("stop_on", stop) for stop in stop_on)]
    for one, other, why in _NEVER:
        # By identity: the same word in two enums is equal as a text.
        first = next((name for name, word in said if word is one), None)
        second = next((name for name, word in said if word is other), None)
        if first and second:
            reader.add(f'{second} "{other}" with {first} "{one}" is never reached: {why}', second)


def _check_review(
    reader: TableReader,
    reviews: Sequence[str],
    anchor: Anchor,
    when: When,
    stop_on: frozenset[StopOn],
    review: str | None,
) -> None:
    anchored = anchor.startswith("review_")
    conditional = when in REVIEW_WHENS
    stopped = StopOn.REVIEW_COMPLETED in stop_on
    if not reviews:
        spoken = ("anchor", anchor) if anchored else ("when", when) if conditional else ("stop_on", "review_completed")
        if anchored or conditional or stopped:
            reader.add(f'{spoken[0]} "{spoken[1]}" is never reached: the protocol has no [[review]]', spoken[0])
    elif review is not None and review not in reviews:
        reader.wrong("review", f"there is no such [[review]]; {nearest(review, reviews)}")
    if review is not None and not (anchored or conditional or stopped):
        reader.wrong("review", "neither anchor, when nor stop_on speaks of a review; expected no review here")
    if reader.has("repeat") and (anchored or conditional) and not reader.has("review"):
        reader.add("repeat: a step for every review cannot repeat too; add review = the key of one review", "repeat")
