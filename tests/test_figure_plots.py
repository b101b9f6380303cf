"""The figures as drawings: every point inside, none for a count that is not shown, lines between neighbours only."""

from datetime import date
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from scheduler.follow_up_counts import Became, WeekOfPain, months_until
from scheduler.small_counts import LEAST, publish
from web.figure_plots import BOTTOM, DRAWN, HEIGHT, LEFT, RIGHT, TOP, WIDTH, plot_counts, plot_spread

MONTHS = months_until(date(2026, 11, 23), 24)
NAMES = {became: became.value for became in Became}
tables = st.lists(st.lists(st.integers(0, 300), min_size=4, max_size=4), min_size=24, max_size=24)
small = st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=4), min_size=24, max_size=24)


@given(table=st.one_of(tables, small))
def test_every_count_that_is_shown_has_its_point_inside_and_no_other(table: list[list[int]]) -> None:
    plot = plot_counts(MONTHS, publish(table), NAMES)
    expected = [[row[part] for row in table if row[part] >= LEAST] for part in range(len(DRAWN))]
    if not any(expected):
        assert plot is None
        return
    assert plot is not None
    assert [[int(dot.words.split()[2]) for dot in series.dots] for series in plot.series] == expected
    for series in plot.series:
        assert all(LEFT <= dot.x <= WIDTH - RIGHT and TOP <= dot.y <= plot.floor for dot in series.dots)
        assert [dot.x for dot in series.dots] == sorted(dot.x for dot in series.dots)
    assert all(TOP <= y <= HEIGHT - BOTTOM for _, y in plot.rules)
    assert plot.ticks[-1][1] == "Nov 2026"


def test_a_month_that_is_not_shown_breaks_the_line() -> None:
    table = [[0, 0, 0, 0] for _ in MONTHS]
    for place, count in ((3, 6), (4, 7), (6, 8), (7, 9), (8, 10)):
        table[place][0] = count
    plot = plot_counts(MONTHS, publish(table), NAMES)
    assert plot is not None
    within = plot.series[0]
    ends = [f"{a.x:.1f},{a.y:.1f} {b.x:.1f},{b.y:.1f}" for a, b in pairwise(within.dots)]
    assert list(within.lines) == [ends[0], ends[2], ends[3]]
    assert plot.words.startswith("Treatments by month whose review was within;")


weeks = st.builds(
    lambda week, scores: WeekOfPain(week, 5, *sorted(scores)),
    st.integers(0, 104),
    st.tuples(*[st.integers(0, 10)] * 3),
)


@given(some=st.lists(weeks, max_size=12, unique_by=lambda week: week.week))
def test_pain_lies_inside_the_quartiles_around_the_median(some: list[WeekOfPain]) -> None:
    ordered = sorted(some, key=lambda week: week.week)
    plot = plot_spread(ordered)
    if not ordered:
        assert plot is None
        return
    assert plot is not None
    assert len(plot.weeks) == len(ordered) == len(plot.line.split())
    for drawn in plot.weeks:
        assert LEFT <= drawn.x <= WIDTH - RIGHT
        assert TOP <= drawn.upper <= drawn.y <= drawn.lower <= HEIGHT - BOTTOM
    assert 2 <= len(plot.ticks) <= 10
