"""What staff type about a patient and about a time: every problem named by its field."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.states import CallSafe, Level, Topic
from scheduler.entries import (
    PatientForm,
    check_change,
    check_email,
    check_moment,
    check_patient,
    clean_text,
    read_reason,
    read_yes_no,
)
from scheduler.errors import InvalidInput
from scheduler.settings import load_settings

TODAY = date(2026, 11, 23)
SETTINGS = load_settings({"AFTERCARE_CLINIC_TIME_ZONE": "Europe/Dublin", "AFTERCARE_CLINIC_COUNTRY": "IE"})


def problems(**typed: str) -> list[str]:
    """What is said about these fields of a patient with a name."""
    form = PatientForm(**{"given_name": "Ada", "family_name": "Obi", **typed})
    try:
        check_patient(form, SETTINGS, TODAY)
    except InvalidInput as wrong:
        return list(wrong.problems)
    return []


def test_what_is_not_typed_is_the_clinics_or_the_careful_answer() -> None:
    entry, said = check_patient(PatientForm(given_name=" Ada ", family_name="Obi"), SETTINGS, TODAY)
    assert (entry.given_name, entry.time_zone, entry.language) == ("Ada", "Europe/Dublin", "en")
    assert (entry.level, entry.call_safe) == (Level.GENERAL, CallSafe.ASK)
    assert (entry.email, entry.birth_date, said.consent, said.confirmed) == (None, None, {}, False)


def test_with_a_private_page_a_notice_is_enough() -> None:
    settings = load_settings({"AFTERCARE_PUBLIC_URL": "https://example.org"})
    entry, _ = check_patient(PatientForm(given_name="Ada", family_name="Obi"), settings, TODAY)
    assert entry.level is Level.NOTICE


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        ("birth_date", "23.11.1990", "birth_date"),
        ("birth_date", "1990-02-30", "birth_date"),
        ("birth_date", "2026-11-24", "lies in the future"),
        ("birth_date", "1900-01-01", "more than 120 years ago"),
        ("phone", "ring her sister", "phone: write digits"),
        ("phone", "123", "phone: write digits"),
        ("time_zone", "London", "time_zone"),
        ("time_zone", "Europe", "time_zone"),
        ("time_zone", "../../etc/passwd", "time_zone"),
        ("language", "english", "language"),
        ("level", "all", 'level: "all" is none of these: notice, general, full'),
        ("call_safe", "perhaps", 'call_safe: "perhaps" is none of these: yes, no, ask'),
        ("consent", "some", 'consent: "some" is none of these: all, reviews, exercises, none'),
        ("confirmed", "perhaps", "neither yes nor no"),
        ("given_name", "  ", "given_name: is needed"),
        ("given_name", "A\x00da", "control characters"),
        ("family_name", "x" * 201, "longer than 200"),
        ("contact_note", "x" * 2001, "longer than 2000"),
        ("record_number", "A\x1b[31m", "control characters"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(field: str, text: str, told: str) -> None:
    found = problems(**{field: text})
    assert len(found) == 1
    assert told in found[0]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("birth_date", "2000-02-29"),
        ("phone", "+44 (0)20 7946-0101"),
        ("time_zone", "Australia/Lord_Howe"),
        ("language", "PT-br"),
        ("email", "a.b+c@Mail.Example.ORG"),
        ("email", "x@bücher.example"),
        ("contact_note", "After six.\nSay it is the library."),
        ("given_name", "Esmé \u202e O'Hara-Łoś"),
    ],
)
def test_an_unusual_value_is_taken(field: str, text: str) -> None:
    assert problems(**{field: text}) == []


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Amina@EXAMPLE.org", "Amina@example.org"),
        (" amina@example.org ", "amina@example.org"),
        ("x@bücher.example", "x@xn--bcher-kva.example"),
    ],
)
def test_an_address_is_stored_as_it_is_sent_to(typed: str, stored: str) -> None:
    assert check_email(typed) == (stored, None)


@pytest.mark.parametrize(
    "typed",
    [
        "amina",
        "amina@",
        "@example.org",
        "a@b@example.org",
        "a b@example.org",
        "amína@example.org",
        "a@example.org\nBcc: b@x",
        "a@example.org, b@example.org",
        "Amina <a@example.org>",
        "a" * 65 + "@example.org",
        '"a b"@example.org',
    ],
)
def test_an_address_that_cannot_be_mailed_is_refused(typed: str) -> None:
    stored, problem = check_email(typed)
    assert (stored, bool(problem)) == ("", True)


@given(st.text(max_size=40))
def test_no_text_makes_an_address_with_a_header_in_it(typed: str) -> None:
    stored, problem = check_email(typed)
    assert problem or (stored.isascii() and stored.isprintable() and stored.count("@") == 1 and " " not in stored)


def test_a_change_names_only_what_was_typed() -> None:
    fields, said = check_change({"phone": "", "consent": "reviews", "confirmed": "yes"}, SETTINGS, TODAY)
    assert fields == {"phone": None}
    assert (said.consent, said.confirmed) == ({Topic.REVIEWS: True, Topic.EXERCISES: False}, True)


@pytest.mark.parametrize("name", ["given_name", "family_name", "time_zone", "language", "level", "call_safe"])
def test_what_everyone_has_cannot_be_emptied(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name}: cannot be empty"):
        check_change({name: ""}, SETTINGS, TODAY)


def test_text_is_stored_in_one_form() -> None:
    assert clean_text(" Esme\u0301 ", "name", 20) == ("Esmé", None)
    assert clean_text("a\tb\nc", "note", 20) == ("a\tb\nc", None)
    assert read_reason(" She asked. ") == "She asked."


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("yes", True),
        ("TRUE", True),
        ("1", True),
        ("no", False),
        ("False", False),
        ("0", False),
        ("", None),
        ("ja", None),
    ],
)
def test_yes_and_no(text: str, truth: bool | None) -> None:
    assert read_yes_no(text) is truth


# times


@pytest.mark.parametrize(
    ("text", "zone", "wall", "instant"),
    [
        ("2026-11-23T10:30", "Europe/London", "2026-11-23T10:30:00", "2026-11-23T10:30:00+00:00"),
        ("2026-11-23 10:30:15", "Europe/London", "2026-11-23T10:30:15", "2026-11-23T10:30:15+00:00"),
        ("2026-07-23T10:30", "Europe/London", "2026-07-23T10:30:00", "2026-07-23T09:30:00+00:00"),
        ("2026-07-23T09:30Z", "Europe/London", "2026-07-23T10:30:00", "2026-07-23T09:30:00+00:00"),
        ("2026-07-23T10:30+02:00", "Asia/Tokyo", "2026-07-23T17:30:00", "2026-07-23T08:30:00+00:00"),
        # The repeated hour: the first, unless its offset says the second.
        ("2026-10-25T01:30", "Europe/London", "2026-10-25T01:30:00", "2026-10-25T00:30:00+00:00"),
        ("2026-10-25T01:30+00:00", "Europe/London", "2026-10-25T01:30:00", "2026-10-25T01:30:00+00:00"),
    ],
)
def test_a_time_is_kept_as_entered_beside_its_instant(text: str, zone: str, wall: str, instant: str) -> None:
    moment = check_moment(text, zone)
    assert (moment.wall.isoformat(), moment.zone, moment.instant.isoformat()) == (wall, zone, instant)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("now", "is not a date and time"),
        ("23.11.2026 10:30", "is not a date and time"),
        ("2026-11-23", "has no time; write 2026-11-23T10:30"),
        ("2026-11-23T24:30", "is not a date and time"),
        ("2026-03-29T01:30", "does not exist in Europe/London"),
        ("0001-01-01T00:00", "from 1900 to 2200"),
        ("9999-12-31T23:59-12:00", "from 1900 to 2200"),
    ],
)
def test_a_time_that_is_none_is_refused(text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        check_moment(text, "Europe/London")


@given(st.datetimes(datetime(1900, 1, 2), datetime(2199, 12, 30)), st.sampled_from(["Europe/London", "Asia/Kathmandu"]))
def test_any_time_reads_back_or_is_refused_as_skipped(wall: datetime, zone: str) -> None:
    try:
        moment = check_moment(wall.isoformat(), zone)
    except InvalidInput as skipped:
        assert "does not exist" in str(skipped)  # noqa: PT017 (either outcome is right, each in its way)
        return
    assert moment.wall == wall
    assert check_moment(moment.instant.isoformat(), zone).instant == moment.instant.astimezone(UTC)
