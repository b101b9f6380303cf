"""What a clinic changes of one step in a form: when it leaves, how long it is of use, its text, who lets it go.

Pure: the step's words go in, the changed TOML text comes out; saving it is in `scheduler.protocol_edits`.
"""

import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from db.states import Past
from scheduler.durations import MAX_DAYS, format_span
from scheduler.errors import InvalidInput, NotFound
from scheduler.planning.protocol import Span, Step
from scheduler.protocol_steps import MAX_REPEATS, Mode
from scheduler.toml_edits import Value, comment_above, remove_key, remove_table, set_value

UNITS: Final = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
BEFORE, AFTER = "before", "after"
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class StepForm:
    """One step as the form holds it: texts as typed. Whole days have a time of day, elapsed time has none.

    `repeat_count` is empty for a step that is sent once.
    """

    amount: str
    unit: str
    side: str
    at: str
    lasts: str
    lasts_unit: str
    template: str
    past: str
    manual: bool
    working_days_only: bool
    repeat_count: str = ""


def form_of(step: Step) -> StepForm:
    """What stands in the form before anybody changes it."""
    amount, unit = _parts(step.offset, is_elapsed=step.at is None)
    lasts, lasts_unit = _parts(step.expires_after, step.expires_after.is_elapsed)
    before = step.offset.days < 0 or step.offset.elapsed < timedelta(0)
    return StepForm(
        amount=str(amount),
        unit=unit,
        side=BEFORE if before else AFTER,
        at=f"{step.at:%H:%M}" if step.at else "",
        lasts=str(lasts),
        lasts_unit=lasts_unit,
        template=step.template,
        past=step.past.value,
        manual=step.manual,
        working_days_only=step.working_days_only,
        repeat_count=str(step.repeat.count) if step.repeat else "",
    )


def edit_step(source: str, step: Step, form: StepForm) -> str:
    """The text with what the form changed of a step; nothing else of it changes.

    Raises `InvalidInput` by field for what cannot be read, `Refused` for a file written in an unusual way. Whether
    the step still makes sense is for `read_protocol` to say.
    """
    problems: list[str] = []
    offset = _read_span("amount", form.amount, form.unit, problems)
    if offset is not None and form.side == BEFORE:
        offset = offset.times(-1)
    lasts = _read_span("lasts", form.lasts, form.lasts_unit, problems)
    elapsed = form.unit in UNITS and form.unit != "days"
    if form.unit == "days" and not _CLOCK.fullmatch(form.at.strip()):
        problems.append("at: write a time of day, like 10:00")
    if elapsed and form.at.strip():
        problems.append("at: only whole days have a time of day; leave it empty, or count in days")
    count = _read_count(form.repeat_count, step, problems)
    if form.past not in {past.value for past in Past}:
        problems.append("past: choose one of the list")
    if problems or offset is None or lasts is None:
        raise InvalidInput(*problems)
    table = ("step", place_of(source, step.key))
    was = form_of(step)
    changes: list[tuple[str, Value | None]] = []
    if offset != step.offset or elapsed is not (step.at is None):
        changes.append(("offset", "PT0S" if elapsed and not offset.is_elapsed else format_span(offset)))
    if form.at.strip() != was.at:
        changes.append(("at", form.at.strip() or None))
    if lasts != step.expires_after:
        changes.append(("expires_after", format_span(lasts)))
    changes += [("template", form.template)] * (form.template != was.template)
    changes += [("past", form.past)] * (form.past != was.past)
    changes += [("mode", (Mode.MANUAL if form.manual else Mode.AUTO).value)] * (form.manual is not was.manual)
    if form.working_days_only is not was.working_days_only:
        changes.append(("working_days_only", form.working_days_only))
    for key, value in changes:
        source = remove_key(source, table, key) if value is None else set_value(source, table, key, value)
    if step.repeat and count != step.repeat.count and count is not None:
        source = set_value(source, (*table, "repeat"), "count", count)
    return source


def remove_step(source: str, key: str) -> str:
    """The text without a step and the comment right above it."""
    return remove_table(source, "step", place_of(source, key))


def why(source: str, key: str) -> str:
    """What the comment right above a step says; empty when there is none."""
    return comment_above(source, ("step", place_of(source, key)))


def place_of(source: str, key: str) -> int:
    """Where a step stands among the steps, from 0. Raises `NotFound`."""
    steps = tomllib.loads(source).get("step", [])
    place = next((place for place, step in enumerate(steps) if step.get("key") == key), None)
    if place is None:
        raise NotFound(f'the protocol has no step "{key}"')
    return place


def _parts(span: Span, is_elapsed: bool) -> tuple[int, str]:
    """A span without its sign as a number of its largest unit."""
    if not is_elapsed:
        return abs(span.days), "days"
    seconds = abs(span.elapsed) // timedelta(seconds=1)
    unit = next(unit for unit, length in UNITS.items() if unit != "days" and seconds % length == 0)
    return seconds // UNITS[unit], unit


def _read_span(field: str, amount: str, unit: str, problems: list[str]) -> Span | None:
    typed = amount.strip()
    if unit not in UNITS:
        problems.append(f"{field}: choose days, hours or minutes")
    elif not _NUMBER.fullmatch(typed) or int(typed) * UNITS[unit] > MAX_DAYS * UNITS["days"]:
        problems.append(f"{field}: write a whole number, at most ten years")
    else:
        return Span(days=int(typed)) if unit == "days" else Span(elapsed=timedelta(seconds=int(typed) * UNITS[unit]))
    return None


def _read_count(typed: str, step: Step, problems: list[str]) -> int | None:
    text = typed.strip()
    if step.repeat is None:
        if text:
            problems.append("repeat_count: this step is sent once; a repeat is added in the whole text")
        return None
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MAX_REPEATS:
        problems.append(f"repeat_count: write a whole number from 1 to {MAX_REPEATS}")
        return None
    return int(text)
