"""Small counts in tables: none under five is shown, and none can be computed back from what is, by any sum or rule."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.small_counts import HIDDEN, LEAST, Published, Span, publish

Table = list[list[int]]
counts = st.one_of(st.integers(0, 7), st.integers(0, 60))


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Tables of up to eight rows, mostly of small counts."""
    width = draw(st.integers(1, 4))
    return draw(st.lists(st.lists(counts, min_size=width, max_size=width), min_size=1, max_size=8))


def spans(shown: Published) -> list[Span]:
    """Everything that is shown of a table."""
    return [span for row in (*shown.rows, shown.whole) for span in (*row.parts, row.total)]


def truths(table: Table) -> list[int]:
    """What each of it is, in the same order."""
    whole = [sum(column) for column in zip(*table, strict=True)]
    return [count for row in (*table, whole) for count in (*row, sum(row))]


def another(table: Table, row: int, column: int, value: int) -> Table:
    """A table that shows the same, with another value in a hidden cell, made as the rule's reason says."""
    shown = publish(table).whole.parts[column].exact is not None
    others = [place for place, counts in enumerate(table) if counts[column] < LEAST and place != row]
    rest = sum(table[place][column] for place in [row, *others]) - value if shown else 0
    made = [list(counts) for counts in table]
    made[row][column] = value
    for place in others:
        made[place][column] = min(rest, LEAST - 1)
        rest -= made[place][column]
    assert rest == 0
    return made


@given(table=tables())
def test_no_count_under_five_is_shown_and_nothing_that_is_shown_is_false(table: Table) -> None:
    for span, truth in zip(spans(publish(table)), truths(table), strict=True):
        assert span.low <= truth <= span.high
        assert span.exact is None or span.exact >= LEAST


@given(table=tables(), data=st.data())
def test_every_hidden_count_might_be_any_from_none_to_four(table: Table, data: st.DataObject) -> None:
    shown = publish(table)
    hidden = [(r, c) for r, row in enumerate(shown.rows) for c, part in enumerate(row.parts) if part == HIDDEN]
    assert set(hidden) == {(r, c) for r, row in enumerate(table) for c, count in enumerate(row) if count < LEAST}
    for row, column in hidden:
        for value in range(LEAST):
            assert publish(another(table, row, column, value)) == shown
    if hidden:  # and two of them at once say no more of each other than their column's sum
        row, column = data.draw(st.sampled_from(hidden))
        made = another(table, row, column, data.draw(st.integers(0, LEAST - 1)))
        assert publish(made) == shown


@given(table=tables())
def test_a_sum_of_a_row_tells_no_more_than_its_parts(table: Table) -> None:
    for row, counts in zip(publish(table).rows, table, strict=True):
        assert (row.total.exact is not None) is all(count >= LEAST for count in counts)
        assert row.total.low == sum(count for count in counts if count >= LEAST)


@pytest.mark.parametrize(
    ("table", "rows", "whole"),
    [
        ([[12, 5]], [["12", "5", "=17"]], ["12", "5", "=17"]),
        ([[12, 4]], [["12", "<5", "=12-16"]], ["12", "<5", "=12-16"]),  # the only one hidden: no sum gives it away
        ([[12, 0]], [["12", "<5", "=12-16"]], ["12", "<5", "=12-16"]),  # "none" says something about each of them
        ([[3, 1]], [["<5", "<5", "=0-8"]], ["<5", "<5", "=0-8"]),
        ([[20], [4]], [["20", "=20"], ["<5", "=<5"]], ["20-24", "=20-24"]),  # the only one of its column
        ([[20], [4], [1]], [["20", "=20"], ["<5", "=<5"], ["<5", "=<5"]], ["20-28", "=20-28"]),  # 5 > 4: one is 1 to 4
        ([[20], [4], [1], [0]], [["20", "=20"], *[["<5", "=<5"]] * 3], ["25", "=25"]),
        ([[20], [1], [0], [0]], [["20", "=20"], *[["<5", "=<5"]] * 3], ["20-32", "=20-32"]),  # four or less in all
        ([[4], [4], [4]], [["<5", "=<5"]] * 3, ["0-12", "=0-12"]),  # twelve of three: each would be four
        ([[4], [4], [0]], [["<5", "=<5"]] * 3, ["8", "=8"]),
        ([[2], [1]], [["<5", "=<5"]] * 2, ["0-8", "=0-8"]),  # a sum under five is one too
    ],
)
def test_what_is_shown_of_tables(table: Table, rows: list[list[str]], whole: list[str]) -> None:
    shown = publish(table)
    told = [[*map(words, row.parts), f"={words(row.total)}"] for row in (*shown.rows, shown.whole)]
    assert told == [*rows, whole]


def words(span: Span) -> str:
    """`12`, `<5`, `10-22`."""
    if span.exact is not None:
        return str(span.exact)
    return "<5" if span.is_small else f"{span.low}-{span.high}"


@pytest.mark.parametrize(("table", "hidden"), [([[1, 2], [3, 0]], True), ([[1, 5]], False), ([[3], [2], [3]], False)])
def test_a_table_of_which_nothing_is_shown_says_so(table: Sequence[Sequence[int]], hidden: bool) -> None:
    assert publish(table).is_hidden is hidden
