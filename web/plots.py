"""Small drawings as numbers: where the points and marks of a plot lie. The SVG is made of them by the templates
`plots/pain.html` and `plots/plan.html`, so that every value is escaped and no script or style is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

WIDTH: Final = 320
HEIGHT: Final = 140
LEFT, RIGHT, TOP, BOTTOM = 24, 8, 10, 24
WORST: Final = 10


@dataclass(frozen=True, slots=True)
class Point:
    """A pain score at its place: x and y in the drawing's units, and what it says."""

    x: float
    y: float
    words: str
    situation: str = ""


@dataclass(frozen=True, slots=True)
class PainPlot:
    """Pain from 0 to 10 over time. `rules`: the y of the lines for 0, 5 and 10; `ends`: first and last day."""

    points: Sequence[Point]
    rules: Sequence[tuple[int, float]]
    ends: tuple[str, str]
    words: str  # the same as a sentence, for who cannot see it

    @property
    def lines(self) -> list[str]:
        """The points of each situation as SVG takes them: pain in one is not joined with pain in another."""
        by_situation: dict[str, list[str]] = {}
        for point in self.points:
            by_situation.setdefault(point.situation, []).append(f"{point.x:.1f},{point.y:.1f}")
        return [" ".join(places) for places in by_situation.values() if len(places) > 1]


@dataclass(frozen=True, slots=True)
class Mark:
    """A message on the drawn plan. `lane` keeps marks of nearby days apart."""

    x: float
    lane: int
    level: str
    words: str
    ahead: bool


@dataclass(frozen=True, slots=True)
class PlanPlot:
    """A plan as a line of days: its messages, its visits, and where today is."""

    width: int
    marks: Sequence[Mark]
    weeks: Sequence[tuple[float, str]]
    today_x: float | None
    lanes: int


def plot_pain(scores: Sequence[tuple[date, int, str]]) -> PainPlot | None:
    """The plot of pain scores (day, 0 to 10, situation); None while there are none."""
    if not scores:
        return None
    ordered = sorted(scores, key=lambda score: score[0])
    first, last = ordered[0][0], ordered[-1][0]
    span = max((last - first).days, 1)

    def x_of(day: date) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ((day - first).days / span if last > first else 0.5)

    def y_of(score: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - score / WORST)

    points = [
        Point(x_of(day), y_of(score), f"{day.day} {day:%B}: {score} of 10 {what}".strip(), what.partition(",")[0])
        for day, score, what in ordered
    ]
    told = "; ".join(f"{day.day} {day:%B %Y}: {score} {what}".strip() for day, score, what in ordered)
    return PainPlot(
        points,
        [(score, y_of(score)) for score in (0, 5, WORST)],
        (_short(first, True), _short(last, True) if last > first else ""),
        f"Pain from 0 to 10 over time: {told}",
    )


def _short(day: date, with_year: bool = False) -> str:
    return f"{day.day} {day:%b %Y}" if with_year else f"{day.day} {day:%b}"


def plot_plan(items: Sequence[tuple[date, str, str, bool]], today: date) -> PlanPlot | None:
    """The drawn plan of items (day, level, words, still ahead); None without any."""
    if not items:
        return None
    ordered = sorted(items, key=lambda item: item[0])
    first, last = ordered[0][0], ordered[-1][0]
    days = max((last - first).days, 7)
    width = 720
    per_day = (width - 2 * LEFT) / days
    marks: list[Mark] = []
    ends: list[float] = []  # where the last mark of each lane lies
    for day, level, words, ahead in ordered:
        x = LEFT + (day - first).days * per_day
        lane = next((place for place, end in enumerate(ends) if x - end >= 14), len(ends))
        ends[lane : lane + 1] = [x]
        marks.append(Mark(x, lane, level, words, ahead))
    step = max(1, -(-days // 70)) * 7
    weeks = [(LEFT + offset * per_day, _short(first + timedelta(days=offset))) for offset in range(0, days + 1, step)]
    inside = first <= today <= first + timedelta(days=days)
    return PlanPlot(width, marks, weeks, LEFT + (today - first).days * per_day if inside else None, len(ends))
