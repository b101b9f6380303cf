"""Values of record fields as staff type them, one by one and together.

That the shipped protocols have the fields a clinic needs is in `test_shipped_protocols`.
"""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.planning.protocol import Field, FieldType, Protocol
from scheduler.record_fields import check_field_value, check_fields, missing_required, normalise_value, read_sites

TREATED_ON = date(2026, 11, 23)


def field(kind: FieldType, key: str = "x") -> Field:
    return Field(key, "X", kind, choices=("none", "local", "EMG") if kind is FieldType.CHOICE else ())


PROTOCOL = Protocol(
    key="check-up",
    version=1,
    title="Check-up",
    steps=(),
    fields=(
        Field("lot", "Lot", FieldType.TEXT, required=True),
        Field("expiry", "Expiry", FieldType.DATE, required=True),
        Field("units_by_site", "Units", FieldType.SITES, unit="units"),
        Field("ml_by_side", "Volume", FieldType.SITES, unit="ml"),
        Field("total_units", "Total", FieldType.NUMBER, unit="units"),
    ),
)


@pytest.mark.parametrize(
    ("kind", "typed", "stored"),
    [
        (FieldType.TEXT, "  C4012-A ", "C4012-A"),
        (FieldType.TEXT, "two\nlines", "two\nlines"),
        (FieldType.NUMBER, "2.50", "2.50"),
        (FieldType.NUMBER, " 100 ", "100"),
        (FieldType.DATE, "2027-12-31", "2027-12-31"),
        (FieldType.CHOICE, "emg", "EMG"),
        (FieldType.YES_NO, "Yes", "yes"),
        (FieldType.YES_NO, "true", "yes"),
        (FieldType.YES_NO, "1", "yes"),
        (FieldType.YES_NO, "FALSE", "no"),
        (FieldType.YES_NO, "0", "no"),
        (FieldType.SITES, "left=25,right = 25", "left=25, right=25"),
        (FieldType.SITES, "left levator=12.5; right levator=12.5", "left levator=12.5, right levator=12.5"),
        (FieldType.NUMBER, "  ", ""),
    ],
)
def test_a_value_is_stored_in_one_spelling(kind: FieldType, typed: str, stored: str) -> None:
    assert check_field_value(field(kind), typed) is None
    assert normalise_value(field(kind), typed) == stored
    assert normalise_value(field(kind), stored) == stored


@pytest.mark.parametrize(
    ("kind", "typed", "words"),
    [
        (FieldType.TEXT, "a\x07b", "without control characters"),
        (FieldType.TEXT, "x" * 2_001, "at most 2000"),
        (FieldType.NUMBER, "2,5", '"2,5": expected a number like 100 or 2.5'),
        (FieldType.NUMBER, "25 units", "without a unit"),
        (FieldType.NUMBER, "-1", "expected a number"),
        (FieldType.NUMBER, "1e3", "expected a number"),
        (FieldType.NUMBER, "NaN", "expected a number"),
        (FieldType.NUMBER, "٣", "expected a number"),
        (FieldType.DATE, "31.12.2027", "expected a date like 2027-12-31"),
        (FieldType.DATE, "20271231", "expected a date"),
        (FieldType.DATE, "2027-02-29", "expected a date"),
        (FieldType.CHOICE, "lokal", "did you mean local? expected one of: none, local, EMG"),
        (FieldType.YES_NO, "y", "expected yes or no"),
        (FieldType.SITES, "25", "expected sites and amounts like left=25, right=25"),
        (FieldType.SITES, "left=25,", "expected sites and amounts"),
        (FieldType.SITES, "left=12,5", "expected sites and amounts"),
        (FieldType.SITES, "left=x", '"x": expected a number'),
        (FieldType.SITES, "left=25, Left=25", "named twice"),
        (FieldType.SITES, "left=0", "has 0"),
    ],
)
def test_a_wrong_value_is_told_what_is_expected(kind: FieldType, typed: str, words: str) -> None:
    assert words in (check_field_value(field(kind), typed) or "")


def test_a_long_wrong_value_is_cut_where_it_is_quoted() -> None:
    assert len(check_field_value(field(FieldType.DATE), "9" * 5_000) or "") < 100


def test_good_fields_have_no_problems() -> None:
    values = {"lot": "C4012", "expiry": "2026-11-23", "units_by_site": "left=25, right=25", "total_units": "50.0"}
    assert check_fields(PROTOCOL, values, TREATED_ON) == []


def test_the_total_has_to_be_the_sum_of_the_sites_of_its_unit() -> None:
    values = {"units_by_site": "left=25, right=30", "ml_by_side": "left=1", "total_units": "50"}
    problems = check_fields(PROTOCOL, values, TREATED_ON)
    assert problems == ["field total_units: 50 is not the sum of units_by_site; expected 55"]


@pytest.mark.parametrize("values", [{"total_units": "50"}, {"total_units": "50", "ml_by_side": "left=1"}])
def test_a_total_without_sites_of_its_unit_is_not_checked(values: dict[str, str]) -> None:
    assert check_fields(PROTOCOL, values, TREATED_ON) == []


def test_a_product_that_expired_before_the_treatment_is_told() -> None:
    problems = check_fields(PROTOCOL, {"expiry": "2026-11-22"}, TREATED_ON)
    assert problems == ["field expiry: 2026-11-22 lies before the treatment on 2026-11-23; expected that day or later"]


def test_every_problem_is_told_at_once_with_its_key() -> None:
    values = {"lto": "C4012", "expiry": "soon", "total_units": "many"}
    problems = check_fields(PROTOCOL, values, TREATED_ON)
    assert [problem.split(":")[0] for problem in problems] == ["field lto", "field expiry", "field total_units"]
    assert "did you mean lot?" in problems[0]


def test_empty_values_are_not_known_and_never_wrong() -> None:
    assert (
        check_fields(PROTOCOL, dict.fromkeys(("lot", "expiry", "units_by_site", "total_units"), " "), TREATED_ON) == []
    )


def test_required_fields_without_a_value_are_named_in_the_protocol_s_order() -> None:
    assert missing_required(PROTOCOL, {"expiry": " "}) == ["lot", "expiry"]
    assert missing_required(PROTOCOL, {"lot": "C4012", "expiry": "2027-01-01"}) == []


def test_the_names_of_the_checked_fields_mean_nothing_in_another_type() -> None:
    texts = tuple(replace(field, type=FieldType.TEXT) for field in PROTOCOL.fields)
    values = {"expiry": "end of 2026", "total_units": "about 50", "units_by_site": "left=25"}
    assert check_fields(replace(PROTOCOL, fields=texts), values, TREATED_ON) == []


SITES = st.dictionaries(
    st.text("abcdefgh ", min_size=1, max_size=8).map(str.strip).filter(bool),
    st.decimals("0.01", "500", places=2),
    min_size=1,
    max_size=6,
)


@given(SITES)
def test_sites_written_and_read_again_are_the_same_and_sum_exactly(sites: dict[str, Decimal]) -> None:
    typed = "; ".join(f"{site} = {amount}" for site, amount in sites.items())
    stored = normalise_value(field(FieldType.SITES), typed)
    assert read_sites(stored) == sites
    values = {"units_by_site": stored, "total_units": str(sum(sites.values()))}
    assert check_fields(PROTOCOL, values, TREATED_ON) == []
