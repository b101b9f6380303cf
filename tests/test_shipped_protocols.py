"""The four shipped protocols: they load without a finding and hold the facts that a clinic relies on.

How a protocol is read is in `test_protocols`; the words of the messages are held in `test_shipped_texts`.
"""

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from db.states import Audience, EventKind, OnUnknown, Past, Phase, Reason, ReminderState, StepKind, Topic
from scheduler.local_time import to_utc
from scheduler.planning.facts import Event, Moment, PatientFacts, PlanFacts, Rules
from scheduler.planning.patient_plan import plan_patient
from scheduler.planning.protocol import Anchor, FieldType, Protocol, Repeat, ReviewRule, Span, Step, StopOn, When
from scheduler.planning.reconcile import Insert
from scheduler.protocols import list_protocol_files, read_protocol

ROOT = Path(__file__).parents[1]
FILES = list_protocol_files([ROOT / "templates" / "protocols"])
TEMPLATES = frozenset(path.stem for path in (ROOT / "templates" / "email" / "en").glob("*.md"))
PROTOCOLS = {key: read_protocol(path.read_text(encoding="utf-8"), path.name) for key, path in FILES.items()}
TOXIN = PROTOCOLS["vaginismus-toxin"]
SURGERY = ("labiaplasty", "vaginoplasty-perineoplasty")
LONDON = "Europe/London"

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS.keys())


def step_of(protocol: Protocol, key: str) -> Step:
    return next(step for step in protocol.steps if step.key == key)


def moment(wall: str) -> Moment:
    at = datetime.fromisoformat(wall)
    return Moment(at, LONDON, to_utc(at, LONDON))


def planned(
    protocol: Protocol, treated: str, entered: str, *events: tuple[EventKind, str, str | None]
) -> Mapping[tuple[str, int], Insert]:
    """The rows made for her when the treatment and these events (kind, when, review) are entered in one go."""
    now = moment(entered).instant
    facts = tuple(
        Event(UUID(int=place), kind, moment(at), now, review) for place, (kind, at, review) in enumerate(events, 1)
    )
    plan = PlanFacts(id=UUID(int=99), protocol=protocol, treated=moment(treated), entered_at=now, events=facts)
    patient = PatientFacts(
        LONDON,
        consent={Topic.REVIEWS: True, Topic.EXERCISES: True},
        birth_date=datetime(1990, 4, 12, tzinfo=UTC).date(),
    )
    result = plan_patient(patient, [plan], [], [], now, Rules())
    return {(insert.item.step.key, insert.item.occurrence): insert for insert in result.difference.inserts}


def state_of(insert: Insert) -> tuple[ReminderState, Reason | None]:
    return insert.verdict.state, insert.verdict.reason


def test_the_four_protocols_are_there() -> None:
    assert sorted(PROTOCOLS) == ["labiaplasty", "skin-lightening", "vaginismus-toxin", "vaginoplasty-perineoplasty"]


@pytest.mark.parametrize("key", FILES)
def test_every_file_is_a_draft_says_so_and_uses_only_texts_that_exist(key: str) -> None:
    source = FILES[key].read_text(encoding="utf-8")
    assert tomllib.loads(source)["status"] == "draft"
    assert source.startswith("# STARTER CONTENT, not approved")
    assert read_protocol(source, f"{key}.toml", TEMPLATES).version >= 1


@pytest.mark.parametrize("key", FILES)
def test_every_step_has_its_purpose_in_a_comment_above(key: str) -> None:
    lines = FILES[key].read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line == "[[step]]":
            assert lines[number - 1].startswith("# ")


@every_protocol
def test_every_step_for_her_ends_before_the_next_of_its_series_and_every_step_ends(protocol: Protocol) -> None:
    for step in protocol.steps:
        end = step.expires_after.elapsed or timedelta(days=step.expires_after.days)
        assert timedelta(0) < end <= timedelta(days=60)
        if step.audience is Audience.PATIENT:
            assert end <= timedelta(days=14)
        if step.repeat:
            assert end < timedelta(days=step.repeat.every.days)


@every_protocol
def test_nothing_is_repeated_more_often_than_weekly(protocol: Protocol) -> None:
    for step in protocol.steps:
        assert step.repeat is None or (step.repeat.every == Span(days=7) and step.repeat.count <= 6)


@every_protocol
def test_a_booked_visit_is_announced_three_days_and_one_day_before_also_during_a_complication(
    protocol: Protocol,
) -> None:
    reminders = [step for step in protocol.steps if step.anchor is Anchor.REVIEW_BOOKED]
    assert [step.offset for step in reminders] == [Span(days=-3), Span(days=-1)]
    assert [step.template for step in reminders] == ["visit_in_3_days", "visit_tomorrow"]
    for step in reminders:
        assert (step.review, step.when, step.stop_on) == (None, When.REVIEW_BOOKED, frozenset())


@every_protocol
def test_a_visit_s_reminder_ends_before_the_day_of_the_visit(protocol: Protocol) -> None:
    for step in protocol.steps:
        if step.anchor is Anchor.REVIEW_BOOKED:
            assert step.at is not None
            starts = datetime(2026, 11, 20, step.at.hour) + timedelta(days=step.offset.days)
            end = starts + step.expires_after.elapsed + timedelta(days=step.expires_after.days)
            assert end < datetime(2026, 11, 20)


@every_protocol
def test_an_unbooked_review_is_asked_for_before_it_is_due(protocol: Protocol) -> None:
    step = step_of(protocol, "choose-a-time")
    assert (step.template, step.anchor, step.when) == ("choose_a_time", Anchor.REVIEW_DUE, When.REVIEW_UNBOOKED)
    assert (step.offset, step.expires_after, step.review) == (Span(days=-5), Span(days=5), None)


@every_protocol
def test_a_missed_visit_brings_a_kind_message_then_a_call_then_a_decision(protocol: Protocol) -> None:
    missed = [step for step in protocol.steps if step.anchor is Anchor.REVIEW_MISSED]
    assert [(step.template, step.audience, step.offset.days) for step in missed] == [
        ("visit_missed", Audience.PATIENT, 1),
        ("staff_call_missed", Audience.STAFF, 3),
        ("staff_decide_missed", Audience.STAFF, 14),
    ]
    assert missed[0].on_unknown is OnUnknown.ASK


@every_protocol
def test_lines_for_staff_go_on_during_a_complication_and_wait_for_a_working_day(protocol: Protocol) -> None:
    for step in protocol.steps:
        if step.audience is Audience.STAFF:
            assert (step.stop_on, step.past, step.working_days_only) == (frozenset(), Past.SEND, True)


@every_protocol
def test_the_clinic_has_to_give_its_rest_rule(protocol: Protocol) -> None:
    assert [(text.key, text.required) for text in protocol.texts] == [("rest_rule", True)]


@every_protocol
def test_only_adults_unless_a_clinician_decides_otherwise(protocol: Protocol) -> None:
    assert protocol.minimum_age == 18


@every_protocol
def test_what_a_recall_needs_can_be_recorded_and_adverse_events_are_asked(protocol: Protocol) -> None:
    fields = {field.key: field for field in protocol.fields}
    assert {"product", "manufacturer", "lot", "expiry", "anaesthesia", "adverse_events"} <= set(fields)
    assert fields["expiry"].type is FieldType.DATE
    for key in ("adverse_events_asked", "consent_form", "consent_signed_on", "aftercare_sheet", "anaesthesia"):
        assert fields[key].required, key


def test_each_protocol_has_the_urgent_block_of_its_treatment() -> None:
    assert {key: protocol.urgent for key, protocol in PROTOCOLS.items()} == {
        "labiaplasty": "urgent_surgery",
        "skin-lightening": "urgent_skin",
        "vaginismus-toxin": "urgent_toxin",
        "vaginoplasty-perineoplasty": "urgent_surgery_clots",
    }


def test_the_reviews_of_each_protocol() -> None:
    def days(review: ReviewRule) -> tuple[str, int, int]:
        return review.key, review.after.days, review.tolerance.days

    assert {key: [days(review) for review in protocol.reviews] for key, protocol in PROTOCOLS.items()} == {
        "vaginismus-toxin": [
            ("two-week", 14, 3),
            ("six-week", 42, 7),
            ("three-month", 91, 14),
            ("six-month", 182, 21),
            ("twelve-month", 365, 30),
        ],
        "labiaplasty": [("one-week", 7, 3), ("six-week", 42, 7), ("six-month", 182, 21)],
        "vaginoplasty-perineoplasty": [("one-week", 7, 3), ("six-week", 42, 7), ("three-month", 91, 14)],
        "skin-lightening": [("result", 35, 7)],
    }


def test_toxin_records_units_by_site_with_a_total_and_the_product() -> None:
    fields = {field.key: field for field in TOXIN.fields}
    assert (fields["units_by_site"].type, fields["units_by_site"].unit) == (FieldType.SITES, "units")
    assert (fields["total_units"].type, fields["total_units"].unit) == (FieldType.NUMBER, "units")
    for key in ("product", "manufacturer", "lot", "expiry", "dilution_ml", "units_by_site", "total_units"):
        assert fields[key].required, key


def test_staff_ring_at_three_weeks_while_the_two_week_review_was_not_held() -> None:
    step = step_of(TOXIN, "call-two-week")
    assert (step.audience, step.anchor, step.offset, step.at) == (
        Audience.STAFF,
        Anchor.TREATMENT,
        Span(days=21),
        time(9),
    )
    assert (step.review, step.when) == ("two-week", When.UNTIL_REVIEW_DONE)


def test_solo_steps_count_from_the_clinician_s_start_weekly_and_make_way_for_the_next_phase() -> None:
    step = step_of(TOXIN, "solo-week")
    assert (step.anchor, step.phase, step.repeat) == (Anchor.SOLO_STARTED, Phase.SOLO, Repeat(Span(days=7), 6))
    assert step.stop_on == {StopOn.COMPLICATION, StopOn.PARTNER_RELEASED}


def test_everything_about_the_partner_phase_waits_for_its_release() -> None:
    partner = [step for step in TOXIN.steps if step.anchor is Anchor.PARTNER_RELEASED]
    assert [(step.template, step.phase) for step in partner] == [
        ("next_part_ready", Phase.PARTNER),
        ("checking_in", Phase.PARTNER),
    ]
    rows = planned(TOXIN, "2026-11-23T10:30", "2026-11-23T11:00", (EventKind.SOLO_STARTED, "2026-11-23T11:00", None))
    assert not any(key in ("next-part-ready", "partner-week") for key, _ in rows)


def test_a_release_entered_in_the_afternoon_goes_out_that_afternoon() -> None:
    rows = planned(
        TOXIN, "2026-11-02T10:30", "2026-11-23T15:00", (EventKind.PARTNER_RELEASED, "2026-11-23T15:00", None)
    )
    row = rows[("next-part-ready", 1)]
    assert state_of(row) == (ReminderState.SCHEDULED, None)
    assert row.timing.ready_at == moment("2026-11-23T15:10").instant


def test_who_wants_no_partner_phase_gets_an_ending_of_her_own_once() -> None:
    started = (EventKind.SOLO_STARTED, "2026-11-23T11:00", None)
    without = planned(TOXIN, "2026-11-23T10:30", "2026-11-23T11:00", started)
    assert ("own-pace", 1) not in without
    not_wanted = (EventKind.PARTNER_NOT_WANTED, "2026-11-23T11:00", None)
    rows = planned(TOXIN, "2026-11-23T10:30", "2026-11-23T11:00", started, not_wanted)
    assert rows[("own-pace", 1)].timing.due_local == datetime(2027, 1, 11, 10)


@pytest.mark.parametrize("key", SURGERY)
def test_waiting_notes_end_and_the_next_step_begins_with_the_clearance(key: str) -> None:
    protocol = PROTOCOLS[key]
    waiting = [step for step in protocol.steps if step.template == "plan_waiting"]
    assert waiting
    assert all(StopOn.HEALING_CLEARED in step.stop_on for step in waiting)
    assert step_of(protocol, "activities-cleared").anchor is Anchor.HEALING_CLEARED
    call = step_of(protocol, "call-six-week")
    assert (call.review, call.offset, call.when) == ("six-week", Span(days=56), When.UNTIL_REVIEW_DONE)


def test_the_next_session_is_asked_for_once_while_it_is_unbooked() -> None:
    step = step_of(PROTOCOLS["skin-lightening"], "choose-next-session")
    assert (step.kind, step.offset, step.when) == (StepKind.ADMINISTRATIVE, Span(days=14), When.SESSION_UNBOOKED)


@every_protocol
@pytest.mark.parametrize(
    ("entered", "leaves"),
    [
        ("2026-11-23T11:00", "2026-11-23T17:00"),
        ("2026-11-23T18:30", "2026-11-23T18:40"),
        ("2026-11-23T18:50", "2026-11-24T08:00"),
        ("2026-11-23T23:55", "2026-11-24T08:00"),
        ("2026-11-24T08:30", "2026-11-24T08:40"),
    ],
)
def test_the_after_visit_message_still_leaves_when_the_treatment_is_entered_late(
    protocol: Protocol, entered: str, leaves: str
) -> None:
    row = planned(protocol, "2026-11-23T10:30", entered)[("after-visit", 1)]
    assert state_of(row) == (ReminderState.SCHEDULED, None)
    assert row.timing.ready_at == moment(leaves).instant


@every_protocol
def test_the_after_visit_message_never_leaves_on_the_next_afternoon(protocol: Protocol) -> None:
    row = planned(protocol, "2026-11-23T10:30", "2026-11-24T13:00")[("after-visit", 1)]
    assert state_of(row) == (ReminderState.MISSED, Reason.PAST_WHEN_PLANNED)


@every_protocol
def test_a_visit_booked_on_the_day_before_is_announced_at_once(protocol: Protocol) -> None:
    review = protocol.reviews[0].key
    booked = (EventKind.REVIEW_BOOKED, "2026-12-08T14:00", review)
    rows = planned(protocol, "2026-11-23T10:30", "2026-12-07T14:00", booked)
    assert rows[("visit-tomorrow", 1)].timing.ready_at == moment("2026-12-07T14:10").instant
    assert state_of(rows[("visit-in-3-days", 1)]) == (ReminderState.MISSED, Reason.PAST_WHEN_PLANNED)


@every_protocol
def test_a_course_with_every_visit_booked_on_time_never_has_two_messages_on_a_day(protocol: Protocol) -> None:
    treated = datetime(2026, 11, 23, 10, 30)
    booked = [
        (EventKind.REVIEW_BOOKED, (treated + timedelta(days=rule.after.days)).isoformat(), rule.key)
        for rule in protocol.reviews
    ]
    started = (EventKind.SOLO_STARTED, "2026-11-23T11:00", None)
    rows = planned(protocol, treated.isoformat(), "2026-11-23T11:00", started, *booked)
    days = [
        insert.timing.due_local.date()
        for insert in rows.values()
        if insert.item.step.audience is Audience.PATIENT and insert.verdict.state is ReminderState.SCHEDULED
    ]
    assert len(days) == len(set(days))
