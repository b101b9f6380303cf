"""The figures drawn, as numbers: where the points of counts by month and of pain by weeks lie.

The SVG is made of them by the template `plots/figures.html`; a count that may not be shown has no point.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Final

from scheduler.follow_up_counts import WORST, Became, WeekOfPain
from scheduler.small_counts import LEAST, Published

WIDTH: Final = 528
HEIGHT: Final = 200
LEFT, RIGHT, TOP, BOTTOM = 32, 12, 12, 26
# What is drawn, in its colour: each has a shape of its own too (`plots/figures.html`). What is open is in the table.
DRAWN: Final = ((Became.WITHIN, "green"), (Became.OUTSIDE, "amber"), (Became.LOST, "red"))
_APART: Final = 3.0  # between marks of the same month, so that equal counts do not hide each other


@dataclass(frozen=True, slots=True)
class Dot:
    """One point: its place, and what it says."""

    x: float
    y: float
    words: str


@dataclass(frozen=True, slots=True)
class Series:
    """The points of one thing. `lines`: the points that are joined, as SVG takes them."""

    level: str
    dots: Sequence[Dot]
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class CountsPlot:
    """Counts by month. `floor`: the y under which nothing is drawn; `rules`: lines with their numbers."""

    series: Sequence[Series]
    rules: Sequence[tuple[int, float]]
    ticks: Sequence[tuple[float, str]]
    floor: float
    words: str


@dataclass(frozen=True, slots=True)
class Spread:
    """Pain of one week: the median's place, from where to where the quartiles reach, and what it says."""

    x: float
    y: float
    upper: float
    lower: float
    words: str


@dataclass(frozen=True, slots=True)
class SpreadPlot:
    """Pain from 0 to 10 by weeks since the treatment."""

    weeks: Sequence[Spread]
    line: str
    rules: Sequence[tuple[int, float]]
    ticks: Sequence[tuple[float, str]]
    words: str


def plot_counts(months: Sequence[date], counts: Published, names: dict[Became, str]) -> CountsPlot | None:
    """Counts of each month of which one may be shown; None when there are none. `names`: what each is called."""
    order = list(Became)
    shown = {
        became: [(place, exact) for place, exact in enumerate(_exact(counts, order.index(became))) if exact is not None]
        for became, _ in DRAWN
    }
    if not any(shown.values()):
        return None
    highest = _round_up(max(count for points in shown.values() for _, count in points))
    between = (WIDTH - LEFT - RIGHT) / len(months)

    def y_of(count: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - count / highest)

    def x_of(place: int) -> float:
        return LEFT + between * (place + 0.5)

    series = []
    for number, (became, level) in enumerate(DRAWN):
        dots = {
            place: Dot(
                x_of(place) + (number - 1) * _APART, y_of(count), f"{_month(months[place])}: {count} {names[became]}"
            )
            for place, count in shown[became]
        }
        series.append(Series(level, list(dots.values()), _joined(dots)))
    every = 6 if len(months) > 12 else 3
    ticks = [(x_of(place), f"{months[place]:%b %Y}") for place in range(every - 1, len(months), every)]
    drawn = " and ".join(names[became] for became, _ in DRAWN if shown[became])
    return CountsPlot(
        series,
        [(count, y_of(count)) for count in (0, highest // 2, highest)],
        ticks,
        y_of(LEAST),
        f"Treatments by month whose review was {drawn}; the table says the same",
    )


def plot_spread(weeks: Sequence[WeekOfPain]) -> SpreadPlot | None:
    """Median and quartiles of each week; None without any."""
    if not weeks:
        return None
    last = max(weeks[-1].week, 4)

    def x_of(week: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (week + 0.5) / (last + 1)

    def y_of(score: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - score / WORST)

    spreads = [
        Spread(
            x_of(week.week),
            y_of(week.median),
            y_of(week.upper),
            y_of(week.lower),
            f"Week {week.week}: median {week.median:g}, quartiles {week.lower:g} to {week.upper:g}",
        )
        for week in weeks
    ]
    step = next(step for step in (1, 2, 4, 8, 13, 26) if last / step <= 9)
    return SpreadPlot(
        spreads,
        " ".join(f"{spread.x:.1f},{spread.y:.1f}" for spread in spreads),
        [(score, y_of(score)) for score in (0, 5, WORST)],
        [(x_of(week), f"week {week}" if week == 0 else str(week)) for week in range(0, last + 1, step)],
        f"Pain from 0 to 10 by weeks since the treatment, {len(weeks)} weeks; the table says the same",
    )


def _exact(counts: Published, part: int) -> list[int | None]:
    return [row.parts[part].exact for row in counts.rows]


def _joined(dots: dict[int, Dot]) -> list[str]:
    """Lines between neighbouring months only: over a month that is not shown nothing is known."""
    return [f"{dots[a].x:.1f},{dots[a].y:.1f} {dots[b].x:.1f},{dots[b].y:.1f}" for a, b in pairwise(dots) if b == a + 1]


def _round_up(count: int) -> int:
    """The next number that has an even half: 10, 20, 40, 60 … 100, 200 …"""
    step = 10
    while count > step * 10:
        step *= 10
    return -(-count // step) * step if count > step else step


def _month(month: date) -> str:
    return f"{month:%B %Y}"
