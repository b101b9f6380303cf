"""Which counts of a table may be shown: none under five, and none that would let one under five be computed back.

Pure. What is counted is in `scheduler.follow_up_counts`; how a count reads is in `scheduler.figures`.

The rule. A part of a row (a cell) is shown when it is five or more; zero is under five too, for "none of three" says
something about each of the three. A row's sum is never more than the sum of what is shown: it is exact only when all
parts are, else a span. Of a column, the sum over all rows is exact only when all its parts are shown, or when what is
not shown adds up to five or more and at most four times one less than the number of hidden parts. All else is a span
that follows from what is shown already.

Why nothing can be computed back, not even knowing the rule. A hidden part stands in no sum but its column's. When that
is exact, the others of the column can make up for any value from 0 to 4 of the hidden one; when it is not, the column
might as well hold that value and nothing else that is hidden. `tests/test_small_counts.py` states this as a law. What
it does not cover: two tables of different days, from which the change between them can be seen, and what somebody
concludes who knows from elsewhere that two tables are about the same people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LEAST: Final = 5  # the smallest count that is shown
_MOST_HIDDEN: Final = LEAST - 1


@dataclass(frozen=True, slots=True)
class Span:
    """What may be known of a count: that it is one of `low` to `high`; exactly it when they are the same."""

    low: int
    high: int

    @property
    def exact(self) -> int | None:
        """The count, when it is shown."""
        return self.low if self.low == self.high else None

    @property
    def is_small(self) -> bool:
        """Whether nothing is known but that it is under five."""
        return (self.low, self.high) == (0, _MOST_HIDDEN)


HIDDEN: Final = Span(0, _MOST_HIDDEN)


@dataclass(frozen=True, slots=True)
class Row:
    """The parts of one row and their sum, as they may be shown."""

    parts: tuple[Span, ...]
    total: Span

    @property
    def is_hidden(self) -> bool:
        """Whether none of its parts is shown."""
        return all(part.is_small for part in self.parts)


@dataclass(frozen=True, slots=True)
class Published:
    """A table as it may be shown: its rows, and the sums of its columns."""

    rows: tuple[Row, ...]
    whole: Row

    @property
    def is_hidden(self) -> bool:
        """Whether no part of any row is shown, nor any sum of a column."""
        return all(row.is_hidden for row in self.rows) and all(part.exact is None for part in self.whole.parts)


def publish(counts: Sequence[Sequence[int]]) -> Published:
    """What may be shown of a table of counts, each row with the same parts."""
    rows = tuple(_row([_part(count) for count in row]) for row in counts)
    return Published(rows, _row([_column(column) for column in zip(*counts, strict=True)]))


def _part(count: int) -> Span:
    return Span(count, count) if count >= LEAST else HIDDEN


def _row(parts: Sequence[Span]) -> Row:
    return Row(tuple(parts), Span(sum(part.low for part in parts), sum(part.high for part in parts)))


def _column(counts: Sequence[int]) -> Span:
    hidden = [count for count in counts if count < LEAST]
    shown, rest = sum(counts) - sum(hidden), sum(hidden)
    if not hidden or LEAST <= rest <= _MOST_HIDDEN * (len(hidden) - 1):
        return Span(shown + rest, shown + rest)
    return Span(shown, shown + _MOST_HIDDEN * len(hidden))
