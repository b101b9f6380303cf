"""Entering, changing, stopping and resuming a patient, on both databases; the plan follows in the same transaction."""

from datetime import UTC, date, datetime
from uuid import uuid4

import pytest

from db import patients as stored
from db.care_plans import list_plans
from db.records import AddressFact, Consent
from db.states import AddressState, CarePlanStatus, Level, ReminderState, StopReason, Topic
from scheduler import patients
from scheduler.entries import PatientForm
from scheduler.errors import InvalidInput, NotFound, Refused
from tests.clinic import STAFF, Desk
from tests.people import AMINA, BEATRIX, ESME


def test_a_patient_is_stored_with_all_that_was_typed(desk: Desk) -> None:
    patient_id = desk.enter(AMINA, preferred_name="Mina", contact_note="After six.", call_safe="yes", level="full")
    with desk.store.read() as session:
        patient = patients.get(session, patient_id)
        assert (patient.given_name, patient.family_name, patient.preferred_name) == ("Amina", "Farouk", "Mina")
        assert (patient.email, patient.phone) == ("amina@example.org", "+44 20 7946 0101")
        assert (patient.birth_date, patient.contact_note) == (date(1990, 4, 12), "After six.")
        assert (patient.level, patient.call_safe.value, patient.time_zone) == (Level.FULL, "yes", "Europe/London")
        assert stored.find_address_state(session, patient) is AddressState.CONFIRMED
        assert stored.list_consent(session, [patient_id])[patient_id] == {
            Topic.REVIEWS: True,
            Topic.EXERCISES: True,
            Topic.FULL_TEXT: True,
        }
        said = session.query(Consent).first()
        assert said is not None
        assert (said.recorded_by, said.wording_version) == (STAFF, "1")


def test_what_nobody_said_is_not_recorded(desk: Desk) -> None:
    patient_id = patients.add(desk.clinic, STAFF, PatientForm(given_name="Ada", family_name="Obi")).patient_id
    with desk.store.read() as session:
        patient = patients.get(session, patient_id)
        assert stored.find_address_state(session, patient) is AddressState.MISSING
        assert stored.list_consent(session, [patient_id])[patient_id] == {}
        assert (patient.level, patient.call_safe.value) == (Level.GENERAL, "ask")


@pytest.mark.parametrize(
    ("consent", "said"),
    [
        ("all", (True, True)),
        ("reviews", (True, False)),
        ("exercises", (False, True)),
        ("none", (False, False)),
    ],
)
def test_consent_is_recorded_by_topic(desk: Desk, consent: str, said: tuple[bool, bool]) -> None:
    patient_id = desk.enter(consent=consent)
    with desk.store.read() as session:
        found = stored.list_consent(session, [patient_id])[patient_id]
    assert (found[Topic.REVIEWS], found[Topic.EXERCISES]) == said


def test_every_wrong_field_is_named_at_once_and_nothing_is_stored(desk: Desk) -> None:
    form = PatientForm(
        given_name="",
        family_name="Fa\x00rouk",
        email="not an address",
        birth_date="2031-01-01",
        phone="call me",
        time_zone="Europe/Nowhere",
        language="English!",
        level="some",
        call_safe="maybe",
        consent="everything",
    )
    with desk.unchanged(), pytest.raises(InvalidInput) as wrong:
        patients.add(desk.clinic, STAFF, form)
    named = {problem.split(":")[0] for problem in wrong.value.problems}
    assert named == {
        "given_name", "family_name", "email", "birth_date", "phone", "time_zone", "language", "level", "call_safe",
        "consent",
    }  # fmt: skip


def test_an_address_cannot_be_confirmed_where_there_is_none(desk: Desk) -> None:
    with desk.unchanged(), pytest.raises(InvalidInput, match="confirmed: there is no e-mail address"):
        patients.add(desk.clinic, STAFF, PatientForm(given_name="Ada", family_name="Obi", confirmed="yes"))
    patient_id = desk.enter(email=None, confirmed=None)
    with desk.unchanged(), pytest.raises(InvalidInput, match="there is no e-mail address to confirm"):
        desk.change(patient_id, confirmed="yes")


def test_a_record_number_belongs_to_one_patient_however_it_is_written(desk: Desk) -> None:
    desk.enter(AMINA)
    with desk.unchanged(), pytest.raises(InvalidInput, match="belongs to another patient"):
        desk.enter(BEATRIX, record_number=" a-1001")
    other = desk.enter(BEATRIX)
    with desk.unchanged(), pytest.raises(InvalidInput, match="belongs to another patient"):
        desk.change(other, record_number="A-1001")
    desk.change(other, record_number="A-1002")  # her own


def test_a_shared_address_is_a_warning(desk: Desk) -> None:
    desk.enter(AMINA)
    form = PatientForm(given_name="Beatrix", family_name="Lindqvist", email="AMINA@example.org")
    entered = patients.add(desk.clinic, STAFF, form)
    assert len(entered.warnings) == 1
    assert "amina" not in entered.warnings[0].lower()


def test_an_unknown_patient_is_not_found(desk: Desk) -> None:
    nobody = uuid4()
    with desk.unchanged():
        with pytest.raises(NotFound):
            desk.change(nobody, given_name="Ada")
        with pytest.raises(NotFound):
            desk.stop(nobody)
        with pytest.raises(NotFound):
            patients.resume(desk.clinic, STAFF, nobody, "a reason")


def test_nothing_to_change_is_refused(desk: Desk) -> None:
    patient_id = desk.enter()
    with desk.unchanged(), pytest.raises(InvalidInput, match="nothing to change"):
        desk.change(patient_id)


def test_an_empty_text_removes_an_optional_value_and_no_other(desk: Desk) -> None:
    patient_id = desk.enter(AMINA)
    desk.change(patient_id, phone="", birth_date="")
    with desk.store.read() as session:
        patient = patients.get(session, patient_id)
        assert (patient.phone, patient.birth_date, patient.email) == (None, None, "amina@example.org")
    with desk.unchanged(), pytest.raises(InvalidInput) as wrong:
        desk.change(patient_id, given_name="", time_zone="", level="", call_safe="", language="", family_name="")
    assert len(wrong.value.problems) == 6


def test_a_new_name_is_found_and_the_old_one_no_more(desk: Desk) -> None:
    patient_id = desk.enter(AMINA)
    desk.change(patient_id, family_name="Osei")
    with desk.store.read() as session:
        assert [patient.id for patient in stored.search_patients(session, "am ose")] == [patient_id]
        assert stored.search_patients(session, "farouk") == []
        assert [patient.id for patient in stored.search_patients(session, "a-1001")] == [patient_id]


# the plan follows


def test_a_new_address_holds_everything_until_it_is_confirmed(desk: Desk) -> None:
    patient_id = desk.enter()
    treatment_id = desk.treat(patient_id).treatment_id
    assert desk.stands("after-visit") == "scheduled"
    desk.change(patient_id, email="new@example.org")
    assert desk.stands("after-visit") == "held:address_unconfirmed"
    assert desk.stands("no-review-yet") == "scheduled"  # a line for staff needs no address
    desk.nothing_left()
    desk.change(patient_id, confirmed="yes")
    assert desk.stands("after-visit") == "scheduled"
    desk.change(patient_id, email="")
    assert desk.stands("after-visit", treatment_id=treatment_id) == "held:address_missing"
    desk.nothing_left()


def test_the_same_address_typed_again_stays_confirmed(desk: Desk) -> None:
    patient_id = desk.enter()
    desk.treat(patient_id)
    desk.change(patient_id, email="Amina@EXAMPLE.org")
    with desk.store.read() as session:
        version = patients.get(session, patient_id).email_version
    desk.change(patient_id, email="Amina@example.org")
    with desk.store.read() as session:
        assert patients.get(session, patient_id).email_version == version


def test_a_new_address_read_back_at_once_holds_nothing(desk: Desk) -> None:
    patient_id = desk.enter()
    desk.treat(patient_id)
    desk.change(patient_id, email="new@example.org", confirmed="yes")
    assert desk.stands("after-visit") == "scheduled"


def test_consent_withdrawn_cancels_and_given_again_plans_what_is_ahead(desk: Desk) -> None:
    patient_id = desk.enter()
    desk.treat(patient_id)
    desk.change(patient_id, consent="none")
    assert desk.stands("after-visit") == "cancelled:consent_withdrawn"
    assert desk.stands("no-review-yet") == "scheduled"
    desk.nothing_left()
    desk.change(patient_id, consent="all")
    assert desk.stands("after-visit") == "scheduled"
    assert desk.row("after-visit").generation == 2
    desk.nothing_left()


def test_messages_wait_while_nobody_recorded_what_she_agreed_to(desk: Desk) -> None:
    patient_id = desk.enter(consent=None)
    desk.treat(patient_id)
    assert desk.stands("after-visit") == "held:consent_missing"


def test_a_new_zone_moves_what_is_unsent_and_not_the_treatment(desk: Desk) -> None:
    patient_id = desk.enter()
    desk.treat(patient_id)
    before = desk.row("next-session")
    desk.change(patient_id, time_zone="America/New_York")
    after = desk.row("next-session")
    assert (before.due_local, before.zone) == ("2026-12-21T10:00:00", "Europe/London")
    assert (after.id, after.due_local, after.zone) == (before.id, "2026-12-21T10:00:00", "America/New_York")
    assert after.due_at == datetime(2026, 12, 21, 15, 0, tzinfo=UTC)
    desk.nothing_left()


@pytest.mark.parametrize("reason", [reason for reason in StopReason if reason is not StopReason.LOST])
def test_a_stop_cancels_all_messages_at_once(desk: Desk, reason: StopReason) -> None:
    patient_id = desk.enter()
    desk.treat(patient_id)
    desk.stop(patient_id, reason, "Her sister rang.")
    expected = reason.value.replace("-", "_")
    assert desk.stands("after-visit") == f"cancelled:{expected}"
    staff_too = reason in (StopReason.DECEASED, StopReason.LEFT)
    assert desk.stands("no-review-yet") == (f"cancelled:{expected}" if staff_too else "scheduled")
    desk.nothing_left()
    with desk.store.read() as session:
        stop = stored.find_stop(session, patient_id)
        assert stop is not None
        assert (stop.reason, stop.note) == (reason, "Her sister rang.")


def test_that_a_stop_is_lost_is_for_the_program_to_say(desk: Desk) -> None:
    patient_id = desk.enter()
    with pytest.raises(InvalidInput, match="say deceased, opted-out, unsafe, left or other"):
        desk.stop(patient_id, StopReason.LOST)


def test_resuming_plans_what_is_still_ahead(desk: Desk) -> None:
    patient_id = desk.enter()
    treatment_id = desk.treat(patient_id).treatment_id
    desk.stop(patient_id)
    desk.tick(days=2)
    patients.resume(desk.clinic, STAFF, patient_id, "She asked for them again.")
    assert desk.stands("after-visit") == "cancelled:opted_out"
    assert desk.stands("next-session") == "scheduled"
    assert desk.row("next-session").generation == 2
    desk.nothing_left()
    with desk.store.read() as session:
        plans = list_plans(session, patient_id)
    assert [(plan.treatment_id, plan.status) for plan in plans] == [(treatment_id, CarePlanStatus.ACTIVE)]


def test_messages_that_were_never_stopped_are_not_resumed(desk: Desk) -> None:
    patient_id = desk.enter()
    with desk.unchanged():
        with pytest.raises(Refused, match="not stopped"):
            patients.resume(desk.clinic, STAFF, patient_id, "a reason")
        with pytest.raises(InvalidInput, match="reason"):
            patients.resume(desk.clinic, STAFF, patient_id, "  ")


def test_a_patient_entered_while_stopped_has_a_plan_that_sends_nothing(desk: Desk) -> None:
    patient_id = desk.enter(ESME)
    desk.stop(patient_id, StopReason.UNSAFE)
    desk.treat(patient_id)
    assert {row.state for row in desk.rows() if row.audience == "patient"} == {ReminderState.CANCELLED}


# what is written beside it


def test_the_audit_names_fields_and_never_values(desk: Desk) -> None:
    patient_id = desk.enter(AMINA)
    desk.change(patient_id, email="new@example.org", phone="020 7946 0000", consent="reviews")
    desk.stop(patient_id, StopReason.UNSAFE, "He reads her mail.")
    patients.resume(desk.clinic, STAFF, patient_id, "She has left him.")
    hers = [event for event in desk.audit() if event["patient_id"] == patient_id]
    assert [event["action"] for event in hers] == [
        "patient.added",
        "consent.recorded",
        "patient.changed",
        "consent.recorded",
        "patient.stopped",
        "patient.resumed",
    ]
    assert {event["actor"] for event in hers} == {STAFF}
    assert hers[2]["fields"] == ["consent", "email", "phone"]
    told = repr(hers).lower()
    assert not [word for word in ("amina", "farouk", "@", "7946", "mail.", "left him") if word in told]


def test_an_error_before_the_commit_leaves_neither_fact_nor_plan(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    patient_id = desk.enter()
    desk.treat(patient_id)

    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("db.audit.append_pending", full_disk)
    with desk.unchanged():
        with pytest.raises(OSError, match="no space"):
            desk.stop(patient_id)
        with pytest.raises(OSError, match="no space"):
            desk.change(patient_id, email="new@example.org")
        with pytest.raises(OSError, match="no space"):
            desk.enter(BEATRIX)


def test_facts_of_one_instant_are_in_the_order_recorded(desk: Desk) -> None:
    patient_id = desk.enter(confirmed=None)
    with desk.store.write(STAFF, desk.clock.now()) as session:
        patient = patients.get(session, patient_id)
        for granted in (True, False) * 10:
            stored.add_consent(session, patient.id, Topic.REVIEWS, granted, "1")
            session.flush()
    with desk.store.read() as session:
        assert stored.list_consent(session, [patient_id])[patient_id][Topic.REVIEWS] is False
        assert session.query(AddressFact).count() == 0
