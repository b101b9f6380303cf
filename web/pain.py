"""Pain as it was scored, 0 to 10 by situation: before the treatment, at reviews, and by the patient on her page.

The drawing is in `web.plots`; what a review writes down is checked in `scheduler.reviews`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from db.follow_up import CareEvent
from db.states import EventKind, TreatmentStatus
from scheduler.local_time import to_wall
from scheduler.signing import SignedVersion
from scheduler.timeline import Timeline
from web.times import Say

SITUATIONS: Final = (
    ("pain_at_rest", "At rest"),
    ("pain_on_touch", "On touch"),
    ("pain_on_insertion", "On insertion"),
    ("pain_with_partner", "With a partner"),
)
WORST: Final = 10
EARLIER: Final = 4  # columns of a trend before the answers
_BY_HER: Final = frozenset({EventKind.CHECKED_IN, EventKind.QUESTIONS_ANSWERED})
_SCORED: Final = _BY_HER | {EventKind.REVIEW_COMPLETED}


@dataclass(frozen=True, slots=True)
class Trend:
    """Scores side by side: `columns` are a heading and its scores by situation, the first one first."""

    columns: Sequence[tuple[str, Mapping[str, int]]]
    rows: Sequence[tuple[str, str]]  # the situations that any column speaks of


@dataclass(frozen=True, slots=True)
class Answered:
    """What a patient answered before a review: when, pain by situation, what was noticed, and the questions."""

    when: str
    pains: Mapping[str, int]
    noticed: str
    words: str


def pain_scores(line: Timeline) -> list[tuple[date, int, str]]:
    """Every score of a patient: the record's own fields first in time, then reviews and what was told between."""
    found: list[tuple[date, int, str]] = []
    for happened in line.past:
        event = happened.event
        if event is None or happened.retraction is not None or event.kind not in _SCORED:
            continue
        what = ", told by the patient" if event.kind in _BY_HER else ""
        found += [
            (_day(event), score, f"{_situation(key)}{what}".removeprefix(", "))
            for key, score in scores_in(event.fields).items()
        ]
    for treatment in line.treatments:
        if treatment.status is TreatmentStatus.ACTIVE:
            version = line.contents[treatment.id][-1]
            found += [
                (_treated(version), score, _situation(key)) for key, score in scores_in(dict(version.fields)).items()
            ]
    return found


def scores_in(fields: Mapping[str, str]) -> dict[str, int]:
    """The scores among the fields of an event or a record: those whose key begins with `pain`."""
    return {
        key: int(text)
        for key, text in fields.items()
        if key.startswith("pain") and text.isascii() and text.isdigit() and int(text) <= WORST
    }


def trend_of(record: Mapping[str, str], treated_local: str, events: Iterable[CareEvent], say: Say) -> Trend | None:
    """How pain went from before the treatment over the reviews held so far; None while nothing was scored."""
    columns = [(f"Before, {say.on(date.fromisoformat(treated_local[:10]))}", scores_in(record))]
    held = [event for event in events if event.kind is EventKind.REVIEW_COMPLETED]
    for event in held[-EARLIER:]:
        name = (event.review or "review").replace("_", " ")
        columns.append((f"{name}, {say.on(_day(event))}", scores_in(event.fields)))
    columns = [(heading, scores) for heading, scores in columns if scores]
    keys = {key for _, scores in columns for key in scores}
    known = [(key, words) for key, words in SITUATIONS if key in keys]
    others = [(key, _situation(key).capitalize() or "Pain") for key in sorted(keys - {key for key, _ in SITUATIONS})]
    return Trend(columns, [*known, *others]) if columns else None


def answered_before(review: str, events: Sequence[CareEvent], say: Say) -> Answered | None:
    """The last answers to the questions before a review, or None."""
    asked = [event for event in events if event.kind is EventKind.QUESTIONS_ANSWERED and event.review == review]
    if not asked:
        return None
    fields = asked[-1].fields
    return Answered(
        when=say.day(asked[-1].recorded_at),
        pains=scores_in(fields),
        noticed=fields.get("noticed", ""),
        words=fields.get("words", ""),
    )


def _day(event: CareEvent) -> date:
    if event.kind in _BY_HER:
        return to_wall(event.recorded_at, event.zone).date()
    return datetime.fromisoformat(event.occurred_local).date()


def _treated(version: SignedVersion) -> date:
    return datetime.fromisoformat(version.treated_local).date()


def _situation(key: str) -> str:
    return key.removeprefix("pain").replace("_", " ").strip()
