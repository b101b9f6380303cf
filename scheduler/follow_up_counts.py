"""What became of reviews, counted by month, and pain by weeks since the treatment: the arithmetic of the figures.

Pure: no clock, no database. What of it may be shown is in `scheduler.small_counts`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from statistics import quantiles
from typing import Final
from uuid import UUID

from scheduler.small_counts import LEAST

WORST: Final = 10


class Became(StrEnum):
    """What became of a review that has come due; each is exactly one of these."""

    WITHIN = "within"  # held within its tolerance
    OUTSIDE = "outside"  # held earlier or later
    LOST = "lost"  # its tolerance has passed, it was not held, and no visit is booked
    OPEN = "open"  # within its tolerance still, or a visit is booked that nobody has written down


@dataclass(frozen=True, slots=True)
class DueReview:
    """One review of one treatment. `tolerance` on both sides of `due_on`, as the protocol says.

    `ended_on`: since when nobody was to hold it (the plan was stopped or completed, the patient died); `replaced`: a
    later treatment took its plan's place; `history`: it lay so far back when the treatment was entered that nobody was
    asked for it.
    """

    treatment_type: str
    key: str
    treated_on: date
    due_on: date
    tolerance: timedelta
    held_on: date | None = None
    booked: bool = False
    replaced: bool = False
    history: bool = False
    ended_on: date | None = None


@dataclass(frozen=True, slots=True)
class PainTold:
    """The pain, 0 to 10, that a patient told on a day after a treatment."""

    treatment_type: str
    patient_id: UUID
    treated_on: date
    told_on: date
    score: int


@dataclass(frozen=True, slots=True)
class WeekOfPain:
    """What at least five patients told in one week since their treatments: their median and quartiles."""

    week: int
    patients: int
    lower: float
    median: float
    upper: float

    @property
    def at_least(self) -> int:
        """How many patients, rounded down to fives: beside the counts of reviews the number itself would say more."""
        return self.patients // LEAST * LEAST


def months_until(last: date, count: int) -> list[date]:
    """The first days of so many months, the last of them that of a day."""
    numbers = range(last.year * 12 + last.month - count, last.year * 12 + last.month)
    return [date(number // 12, number % 12 + 1, 1) for number in numbers]


def what_became(review: DueReview, today: date) -> Became | None:
    """What became of a review as of a day; None when it is not due yet, or was not to be held any more."""
    if review.due_on > today:
        return None
    if review.held_on is not None:
        return Became.WITHIN if abs(review.held_on - review.due_on) <= review.tolerance else Became.OUTSIDE
    if review.replaced or review.history or (review.ended_on is not None and review.ended_on <= review.due_on):
        return None
    is_open = review.booked or today <= review.due_on + review.tolerance
    return Became.OPEN if is_open else Became.LOST


def count_by_month(
    reviews: Iterable[DueReview], months: Sequence[date], today: date
) -> Mapping[tuple[str, str], list[list[int]]]:
    """By treatment type and review: a row of counts for each month of treatment, its parts in the order of `Became`."""
    places = {month: place for place, month in enumerate(months)}
    order = {became: place for place, became in enumerate(Became)}
    counts: dict[tuple[str, str], list[list[int]]] = {}
    for review in reviews:
        became, place = what_became(review, today), places.get(review.treated_on.replace(day=1))
        if became is None or place is None:
            continue
        kind = (review.treatment_type, review.key)
        if kind not in counts:
            counts[kind] = [[0] * len(order) for _ in months]
        counts[kind][place][order[became]] += 1
    return counts


def week_since(treated_on: date, told_on: date) -> int:
    """The nearest week since a treatment: days 11 to 17 are week 2."""
    return ((told_on - treated_on).days + 3) // 7


def pain_by_week(told: Iterable[PainTold]) -> Mapping[str, list[WeekOfPain]]:
    """By treatment type, the weeks in which at least five patients told their pain; each counts once with her worst.

    Quartiles are those of the values as they are (`inclusive`: R-7, as spreadsheets have it).
    """
    worst: dict[tuple[str, int], dict[UUID, int]] = defaultdict(dict)
    for one in told:
        if one.told_on < one.treated_on or not 0 <= one.score <= WORST:
            continue
        of_week = worst[one.treatment_type, week_since(one.treated_on, one.told_on)]
        of_week[one.patient_id] = max(one.score, of_week.get(one.patient_id, 0))
    found: dict[str, list[WeekOfPain]] = defaultdict(list)
    for (treatment_type, week), scores in sorted(worst.items(), key=lambda item: item[0]):
        if len(scores) >= LEAST:
            lower, median, upper = quantiles(scores.values(), n=4, method="inclusive")
            found[treatment_type].append(WeekOfPain(week, len(scores), lower, median, upper))
    return found
