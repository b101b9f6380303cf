"""The drawings of pain and of a plan: every point inside, in its order, and the same said in words."""

import itertools
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from web.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, plot_pain, plot_plan

DAY = date(2026, 11, 23)
days = st.integers(-4000, 4000).map(lambda later: DAY + timedelta(days=later))


def test_without_anything_nothing_is_drawn() -> None:
    assert plot_pain([]) is None
    assert plot_plan([], DAY) is None


def test_one_score_stands_in_the_middle_and_is_said() -> None:
    plot = plot_pain([(DAY, 7, "on touch")])
    assert plot is not None
    (point,) = plot.points
    assert (point.x, point.words) == ((LEFT + WIDTH - RIGHT) / 2, "23 November: 7 of 10 on touch")
    assert (plot.ends, plot.words) == (
        ("23 Nov 2026", ""),
        "Pain from 0 to 10 over time: 23 November 2026: 7 on touch",
    )


def test_pain_is_drawn_by_day_from_nothing_below_to_the_worst_above() -> None:
    plot = plot_pain([(DAY, 0, ""), (DAY - timedelta(days=14), 10, "at rest")])
    assert plot is not None
    worst, none = plot.points
    assert (worst.x, worst.y, none.x, none.y) == (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    assert plot.lines == []  # pain in one situation is not joined with pain in another
    assert plot.rules == [(0, 116), (5, 63), (10, 10)]
    assert plot.ends == ("9 Nov 2026", "23 Nov 2026")
    assert plot.words.endswith("9 November 2026: 10 at rest; 23 November 2026: 0")


def test_the_scores_of_each_situation_are_joined_by_a_line_of_their_own() -> None:
    later = DAY + timedelta(days=14)
    scores = [(DAY, 10, "at rest"), (DAY, 5, "on touch"), (later, 0, "at rest, told by the patient"), (later, 2, "")]
    plot = plot_pain(scores)
    assert plot is not None
    assert plot.lines == ["24.0,10.0 312.0,116.0"]


@given(scores=st.lists(st.tuples(days, st.integers(0, 10), st.sampled_from(["", "on touch"])), min_size=1, max_size=30))
def test_every_score_lies_inside_and_none_is_left_out(scores: list[tuple[date, int, str]]) -> None:
    plot = plot_pain(scores)
    assert plot is not None
    assert len(plot.points) == len(scores) == plot.words.count(";") + 1
    assert all(LEFT <= point.x <= WIDTH - RIGHT and TOP <= point.y <= HEIGHT - BOTTOM for point in plot.points)
    assert [point.x for point in plot.points] == sorted(point.x for point in plot.points)


def test_messages_of_one_day_stand_above_each_other_and_today_is_marked() -> None:
    items = [
        (DAY, "green", "first", False),
        (DAY, "quiet", "second", True),
        (DAY + timedelta(days=13), "amber", "x", True),
    ]
    plot = plot_plan(items, DAY + timedelta(days=6))
    assert plot is not None
    assert [(mark.lane, mark.level, mark.words, mark.ahead) for mark in plot.marks] == [
        (0, "green", "first", False),
        (1, "quiet", "second", True),
        (0, "amber", "x", True),
    ]
    assert plot.lanes == 2
    assert plot.today_x is not None
    assert plot.marks[0].x < plot.today_x < plot.marks[2].x
    assert [day for _, day in plot.weeks] == ["23 Nov", "30 Nov"]


def test_a_day_outside_the_plan_is_not_marked() -> None:
    plan = [(DAY, "quiet", "only", True)]
    for today, is_marked in ((DAY - timedelta(days=1), False), (DAY, True), (DAY + timedelta(days=8), False)):
        plot = plot_plan(plan, today)
        assert plot is not None
        assert (plot.today_x is not None) is is_marked


@given(
    items=st.lists(st.tuples(days, st.just("quiet"), st.just("x"), st.booleans()), min_size=1, max_size=40), today=days
)
def test_every_message_lies_inside_and_no_two_of_a_lane_touch(
    items: list[tuple[date, str, str, bool]], today: date
) -> None:
    plot = plot_plan(items, today)
    assert plot is not None
    assert len(plot.marks) == len(items)
    assert all(LEFT - 0.01 <= mark.x <= plot.width - LEFT + 0.01 for mark in plot.marks)
    assert all(LEFT - 0.01 <= x <= plot.width - LEFT + 0.01 for x, _ in plot.weeks)
    assert len(plot.weeks) <= 12  # their days can be read
    for lane in range(plot.lanes):
        places = [mark.x for mark in plot.marks if mark.lane == lane]
        assert all(after - before >= 14 for before, after in itertools.pairwise(places))
