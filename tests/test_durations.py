"""Durations as protocols write them: what each means, what is refused, and that writing and reading agree.

Which key of a protocol allows which is in `test_protocol_findings`.
"""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.durations import MAX_DAYS, format_span, parse_span
from scheduler.planning.protocol import Span


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("P14D", Span(days=14)),
        ("-P3D", Span(days=-3)),
        ("P2W", Span(days=14)),
        ("P0D", Span()),
        ("PT36H", Span(elapsed=timedelta(hours=36))),
        ("PT90M", Span(elapsed=timedelta(minutes=90))),
        ("PT20S", Span(elapsed=timedelta(seconds=20))),
        ("-PT1H30M", Span(elapsed=-timedelta(minutes=90))),
    ],
)
def test_durations_are_calendar_days_or_elapsed_time(text: str, span: Span) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "14D", "+P1D", "P-1D", "p1d", " P1D", "P1D\n", "P١D", "PT5", "T5S", "P5"]
)
def test_what_is_no_duration_is_told_what_one_looks_like(text: str) -> None:
    with pytest.raises(ValueError, match="expected whole days like P14D"):
        parse_span(text)


SPANS = st.one_of(
    st.integers(-MAX_DAYS, MAX_DAYS).map(lambda days: Span(days=days)),
    st.integers(-MAX_DAYS * 86_400, MAX_DAYS * 86_400).map(lambda count: Span(elapsed=timedelta(seconds=count))),
)


@given(SPANS)
def test_a_duration_written_and_read_again_is_the_same(span: Span) -> None:
    assert parse_span(format_span(span)) == span


@given(st.text(alphabet="-P0123456789DWTHMSY.", max_size=12))
def test_a_text_is_a_duration_or_refused_with_words(text: str) -> None:
    try:
        span = parse_span(text)
    except ValueError:
        return  # that it says something is the table's matter above; here nothing else may be raised
    assert parse_span(format_span(span)) == span
