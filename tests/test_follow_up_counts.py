"""What became of reviews, by month of treatment, and pain by weeks: the arithmetic, as tables of invented cases."""

from collections import Counter
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.follow_up_counts import (
    Became,
    DueReview,
    PainTold,
    count_by_month,
    months_until,
    pain_by_week,
    week_since,
    what_became,
)
from scheduler.small_counts import LEAST

TREATED = date(2026, 11, 2)
DUE = date(2026, 11, 16)
B = Became


def a_review(**values: Any) -> DueReview:
    """A review due two weeks after the treatment, give or take three days."""
    known: dict[str, Any] = {"treatment_type": "course", "key": "two-week", "treated_on": TREATED, "due_on": DUE}
    return DueReview(**known | values)


def day(of_november: int) -> date:
    """A day of that month; the 31st is the first of the next."""
    return date(2026, 10, 31) + timedelta(days=of_november)


@pytest.mark.parametrize(
    ("today", "facts", "became"),
    [
        (15, {}, None),  # not due yet
        (15, {"held_on": day(14)}, None),
        (16, {}, B.OPEN),
        (16, {"held_on": day(14)}, B.WITHIN),
        (19, {}, B.OPEN),  # the last day of its tolerance
        (20, {}, B.LOST),
        (20, {"booked": True}, B.OPEN),
        (40, {"booked": True}, B.OPEN),  # nobody wrote down whether she came: never inferred
        (40, {"held_on": day(12)}, B.OUTSIDE),
        (40, {"held_on": day(13)}, B.WITHIN),
        (40, {"held_on": day(19)}, B.WITHIN),
        (40, {"held_on": day(20)}, B.OUTSIDE),
        (
            40,
            {"held_on": day(20), "replaced": True, "ended_on": day(3), "history": True},
            B.OUTSIDE,
        ),  # held all the same
        (40, {"replaced": True}, None),
        (40, {"history": True}, None),
        (40, {"ended_on": day(16)}, None),
        (40, {"ended_on": day(17)}, B.LOST),  # it had come due: stopping the plan does not make it held
        (40, {"tolerance": timedelta(0), "held_on": day(17)}, B.OUTSIDE),
        (17, {"tolerance": timedelta(0)}, B.LOST),
    ],
)
def test_what_became_of_a_review(today: int, facts: dict[str, Any], became: Became | None) -> None:
    assert what_became(a_review(**{"tolerance": timedelta(days=3)} | facts), day(today)) is became


reviews = st.builds(
    DueReview,
    treatment_type=st.sampled_from(["course", "laser"]),
    key=st.sampled_from(["two-week", "six-week"]),
    treated_on=st.dates(date(2026, 6, 1), date(2026, 11, 30)),
    due_on=st.dates(date(2026, 6, 15), date(2026, 12, 20)),
    tolerance=st.integers(0, 7).map(lambda days: timedelta(days=days)),
    held_on=st.none() | st.dates(date(2026, 6, 1), date(2026, 12, 20)),
    booked=st.booleans(),
    replaced=st.booleans(),
    history=st.booleans(),
    ended_on=st.none() | st.dates(date(2026, 6, 1), date(2026, 12, 20)),
)


@given(given_reviews=st.lists(reviews, max_size=60), today=st.dates(date(2026, 6, 1), date(2026, 12, 20)))
def test_every_review_that_counts_is_counted_once_in_its_month(given_reviews: list[DueReview], today: date) -> None:
    months = months_until(date(2026, 11, 23), 4)  # August to November
    counted = count_by_month(given_reviews, months, today)
    expected = Counter(
        (review.treatment_type, review.key, review.treated_on.replace(day=1), what_became(review, today))
        for review in given_reviews
        if review.treated_on >= months[0] and what_became(review, today) is not None
    )
    found = {
        (*kind, month, became): count
        for kind, rows in counted.items()
        for month, row in zip(months, rows, strict=True)
        for became, count in zip(Became, row, strict=True)
        if count
    }
    assert found == dict(expected)


def test_months_end_with_that_of_the_day_and_cross_the_year() -> None:
    assert months_until(date(2026, 2, 28), 3) == [date(2025, 12, 1), date(2026, 1, 1), date(2026, 2, 1)]
    assert months_until(date(2026, 12, 31), 1) == [date(2026, 12, 1)]
    assert len(set(months_until(date(2026, 11, 23), 24))) == 24


@pytest.mark.parametrize(("days", "week"), [(0, 0), (3, 0), (4, 1), (10, 1), (11, 2), (14, 2), (17, 2), (18, 3)])
def test_a_day_belongs_to_the_nearest_week(days: int, week: int) -> None:
    assert week_since(TREATED, TREATED + timedelta(days=days)) == week


def told(patient: int, days: int, score: int, treatment_type: str = "course") -> PainTold:
    """What a patient told so many days after her treatment."""
    return PainTold(treatment_type, UUID(int=patient), TREATED, TREATED + timedelta(days=days), score)


def test_a_week_has_the_median_and_the_quartiles_of_its_patients_worst() -> None:
    (week,) = pain_by_week([told(n, 14, score) for n, score in enumerate([2, 8, 4, 6, 10])])["course"]
    assert (week.week, week.patients, week.lower, week.median, week.upper) == (2, 5, 4, 6, 8)
    said_less_too = [told(n, 14, 0) for n in range(5)] + [told(n, 12, 3) for n in range(5)]
    (week,) = pain_by_week(said_less_too)["course"]
    assert (week.patients, week.lower, week.median, week.upper) == (5, 3, 3, 3)


@pytest.mark.parametrize(("patients", "at_least"), [(5, 5), (9, 5), (10, 10), (24, 20)])
def test_how_many_patients_told_it_is_rounded_down_to_fives(patients: int, at_least: int) -> None:
    (week,) = pain_by_week([told(n, 14, 3) for n in range(patients)])["course"]
    assert week.at_least == at_least


def test_fewer_than_five_patients_are_left_out_however_much_they_told() -> None:
    assert pain_by_week([told(n, 13 + more, 5) for n in range(4) for more in range(3)]) == {}
    mixed = [told(n, 14, 5) for n in range(3)] + [told(n, 14, 5, "laser") for n in range(3, 6)]
    assert pain_by_week(mixed) == {}


def test_pain_before_the_treatment_and_what_is_none_does_not_count() -> None:
    before = [told(n, -1, 5) for n in range(5)]
    wrong = [told(n, 14, 11) for n in range(5)]
    assert pain_by_week([*before, *wrong]) == {}


@given(
    many=st.lists(
        st.builds(
            told, st.integers(0, 12), st.integers(-5, 60), st.integers(0, 10), st.sampled_from(["course", "laser"])
        ),
        max_size=120,
    )
)
def test_every_week_that_is_shown_rests_on_five_patients_and_stays_between_none_and_worst(many: list[PainTold]) -> None:
    for treatment_type, weeks in pain_by_week(many).items():
        assert [week.week for week in weeks] == sorted({week.week for week in weeks})
        for week in weeks:
            patients = {
                one.patient_id
                for one in many
                if one.treatment_type == treatment_type
                and one.told_on >= TREATED
                and week_since(TREATED, one.told_on) == week.week
            }
            assert week.patients == len(patients) >= LEAST
            assert 0 <= week.lower <= week.median <= week.upper <= 10
