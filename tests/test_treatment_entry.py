"""Entering a treatment at the desk, on both databases: all of it or nothing, once, and exactly as it was shown before.

Taking an entry back is in `test_entry_undo`, the form in `test_entry_pages`.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db import patients as stored_patients
from db import treatments as stored_treatments
from db.follow_up import CarePlan
from db.records import Patient
from db.states import AddressFactKind, AddressState, EventKind, Past, ReminderState, StopReason
from db.types import new_id
from scheduler.entries import PatientForm
from scheduler.errors import InvalidInput, Refused, ReplaceOrKeep, UnderAge
from scheduler.local_time import to_wall
from scheduler.plan_words import stands
from scheduler.subjects import title_of_row
from scheduler.treatment_entry import Ahead, Doubtful, Entered, Entry, enter, list_alike, look_ahead
from scheduler.treatments import TreatmentForm
from tests.clinic import COURSE, STAFF, Desk
from tests.one_database import on_one
from tests.people import AMINA, BEATRIX, FENG

NOW = "2026-11-23T09:00"
AMINA_FORM = PatientForm("Amina", "Farouk", email="amina@example.org", birth_date="1990-04-12", consent="all")
# The same course for adults, which asks what becomes of a running plan.
ADULT = COURSE.replace('key = "course"', 'key = "adult"').replace(
    'title = "A course"', 'title = "For adults"\nminimum_age = 18\non_new_treatment = "ask"'
)

PLAIN = """\
key = "plain"
version = 1
title = "Plain"

[[step]]
key = "after-visit"
kind = "aftercare"
template = "after_visit"
anchor = "treatment"
offset = "P0D"
at = "17:00"
expires_after = "P1D"
"""


def entry(at: str = NOW, **changes: Any) -> Entry:
    """Amina entered as a new patient, with a treatment at that time."""
    treatment = {name: changes.pop(name) for name in list(changes) if name in TreatmentForm.__dataclass_fields__}
    form = TreatmentForm(**{"protocol": "course", "at": at, "clinician": "Dr Novak", **treatment})
    values: dict[str, Any] = {"patient": AMINA_FORM, "address_confirmed": True, **changes}
    return Entry(new_id(), form, **values)


def entered(desk: Desk, what: Entry, **more: Any) -> Entered:
    """Enter it as staff."""
    found = enter(desk.clinic, STAFF, what, **more)
    desk.tick()
    return found


def problems(desk: Desk, what: Entry, **more: Any) -> list[str]:
    """What is wrong with an entry, which then changes nothing."""
    with desk.unchanged(), pytest.raises(InvalidInput) as wrong:
        enter(desk.clinic, STAFF, what, **more)
    return list(wrong.value.problems)


def address(desk: Desk, patient_id: UUID) -> AddressState:
    """What is known of her address."""
    with desk.store.read() as session:
        return stored_patients.find_address_state(session, session.get_one(Patient, patient_id))


def test_a_new_patient_her_treatment_and_her_visit_are_entered_in_one_go(desk: Desk) -> None:
    found = entered(desk, entry(fields={"lot": "C1234"}, booked_at="2026-12-08T14:00"))
    with desk.store.read() as session:
        patient = session.get_one(Patient, found.patient_id)
        who = (patient.given_name, patient.email, patient.birth_date_text)
        assert who == ("Amina", "amina@example.org", "1990-04-12")
        content = stored_treatments.get_content(session, found.treatment_id)
        kept = (content.clinician, content.fields, content.treated_local)
        assert kept == ("Dr Novak", {"lot": "C1234"}, f"{NOW}:00")
    assert (address(desk, found.patient_id), desk.stands("after-visit")) == (AddressState.CONFIRMED, "scheduled")
    assert desk.row("visit-in-3-days").due_local == "2026-12-05T10:00:00"
    told = [(event["action"], event["fields"]) for event in desk.audit() if event["patient_id"] == found.patient_id]
    assert told == [
        ("patient.added", ["birth_date", "confirmed", "consent", "email", "family_name", "given_name"]),
        ("consent.recorded", ["exercises", "reviews"]),
        ("treatment.added", ["lot"]),
        ("event.review_booked", []),
    ]
    desk.nothing_left()


def test_everything_that_is_wrong_is_told_at_once_and_nothing_is_stored(desk: Desk) -> None:
    form = PatientForm(given_name="Amina", email="amina@", birth_date="2990-04-12", record_number="A\x00")
    told = problems(desk, entry("2027-03-28T01:30", patient=form, address_confirmed=False, booked_at="2026-12-08"))
    assert [problem.partition(":")[0] for problem in told] == [
        "email",
        "birth_date",
        "record_number",
        "family_name",
        "consent",
        "at",
        "booked_at",
    ]
    assert "the clocks go forward over it" in told[5]
    assert problems(desk, entry(protocol="")) == ["protocol: choose the treatment"]
    assert problems(desk, entry(protocol="corse")) == ['there is no protocol "corse"; did you mean course?']
    assert problems(desk, entry(fields={"lott": "x"}))[0].startswith("field lott: ")
    assert problems(desk, entry(patient_id=new_id(), patient=None))[0].startswith("there is no patient ")


@on_one
def test_a_visit_of_a_protocol_without_reviews_undoes_the_whole_entry(desk: Desk) -> None:
    desk.write_protocol(PLAIN, "plain")
    desk.approve_unseen()
    told = problems(desk, entry(protocol="plain", booked_at="2026-12-08T14:00"))
    assert told == ['review: the protocol "plain" has no reviews']


@on_one
@pytest.mark.parametrize(("hours", "is_late"), [(24, False), (25, True)])
def test_an_entry_more_than_a_day_late_says_why(desk: Desk, hours: int, is_late: bool) -> None:
    at = to_wall(desk.clock.now() - timedelta(hours=hours), "Europe/London").isoformat(timespec="seconds")
    if is_late:
        assert [told.partition(":")[0] for told in problems(desk, entry(at))] == ["late_reason"]
        assert problems(desk, entry(at, late_reason=" \n"))[0].startswith("late_reason")
    found = entered(desk, entry(at, late_reason="The system was down." if is_late else None))
    with desk.store.read() as session:
        reason = stored_treatments.get_content(session, found.treatment_id).correction_reason
    assert reason == ("The system was down." if is_late else None)


@on_one
def test_a_treatment_ahead_is_entered_without_a_reason(desk: Desk) -> None:
    entered(desk, entry("2026-12-01T10:00"))
    assert desk.row("after-visit").due_local == "2026-12-01T17:00:00"
    assert problems(desk, entry("2029-12-01T10:00", sure=True))[0].startswith("at: ")


@on_one
def test_under_the_protocols_age_only_a_clinician_treats_with_a_reason(desk: Desk) -> None:
    desk.write_protocol(ADULT, "adult")
    desk.approve_unseen()
    child = replace(AMINA_FORM, birth_date="2009-01-01")
    with desk.unchanged(), pytest.raises(UnderAge):
        enter(desk.clinic, STAFF, entry(patient=child, protocol="adult"))
    override = entry(patient=child, protocol="adult", age_override="Indicated; seen with her mother.")
    assert problems(desk, override)[0].startswith("age_override: only a clinician")
    entered(desk, override, may_override_age=True)
    assert desk.stands("after-visit") == "scheduled"
    grown = entry(patient=replace(AMINA_FORM, birth_date="2008-11-23"), protocol="adult", sure=True)
    entered(desk, grown)  # 18 on the day itself


# The same person twice


def test_the_same_name_or_address_has_to_be_looked_at_once_more(desk: Desk) -> None:
    known = desk.enter(AMINA)
    for form, shares, named in (
        (AMINA_FORM, True, True),
        (replace(AMINA_FORM, email="other@example.org"), False, True),
        (replace(AMINA_FORM, email=None, birth_date=None), False, True),
        (replace(AMINA_FORM, given_name="Nadia", family_name="Aziz"), True, False),
        (replace(AMINA_FORM, given_name="AMINA", email=" AMINA@example.org ", birth_date="1990-04-13"), True, False),
    ):
        with desk.unchanged(), pytest.raises(Doubtful) as doubt:
            enter(desk.clinic, STAFF, entry(patient=form, address_confirmed=False))
        (alike,) = doubt.value.alike
        assert (alike.patient_id, alike.shares_address, alike.same_name) == (known, shares, named)
    found = entered(desk, entry(sure=True))
    assert found.patient_id != known


@on_one
@pytest.mark.parametrize(
    "form",
    [
        replace(AMINA_FORM, email="other@example.org", birth_date="1990-04-13"),  # another birth date
        replace(AMINA_FORM, email="other@example.org", given_name="Ami", family_name="Far"),  # begins like hers
        replace(AMINA_FORM, email="other@example.org", given_name="Farouk", family_name="Ahmed"),
    ],
)
def test_another_person_is_entered_without_a_question(desk: Desk, form: PatientForm) -> None:
    desk.enter(AMINA)
    entered(desk, entry(patient=form))


@on_one
def test_while_she_is_typed_names_that_begin_alike_are_shown(desk: Desk) -> None:
    known = desk.enter(AMINA)
    with desk.store.read() as session:
        found = list_alike(session, PatientForm(given_name="Ami", family_name="Far"))
        assert [(each.patient_id, each.same_name) for each in found] == [(known, True)]
        assert list_alike(session, PatientForm(given_name="Ami")) == []
        assert list_alike(session, PatientForm()) == []


@on_one
def test_a_form_sent_again_enters_nothing_more(desk: Desk) -> None:
    once = entry()
    first = entered(desk, once)
    with desk.unchanged():
        assert enter(desk.clinic, STAFF, once) == first


@pytest.mark.parametrize("is_new", [True, False])
def test_a_form_sent_twice_at_the_same_moment_enters_once(desk: Desk, is_new: bool) -> None:
    once = entry() if is_new else entry(patient_id=desk.enter(AMINA), patient=None)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: enter(desk.clinic, STAFF, once), range(4)))
    assert {each.treatment_id for each in found} == {once.treatment_id}
    assert len({each.patient_id for each in found}) == 1
    assert len(desk.audit("treatment.added")) == len(desk.audit("patient.added")) == 1


@on_one
def test_the_same_treatment_on_another_form_is_refused(desk: Desk) -> None:
    known = desk.enter(AMINA)
    entered(desk, entry(patient_id=known, patient=None))
    with desk.unchanged(), pytest.raises(Refused, match="entered already"):
        enter(desk.clinic, STAFF, entry(patient_id=known, patient=None))


def test_the_address_of_a_known_patient_is_confirmed_with_the_entry(desk: Desk) -> None:
    for person, state in ((AMINA, AddressState.UNCONFIRMED), (BEATRIX, AddressState.REFUSED)):
        known = desk.enter(person, confirmed=None)
        if state is AddressState.REFUSED:
            with desk.store.write(STAFF, desk.clock.now()) as session:
                patient = session.get_one(Patient, known)
                stored_patients.add_address_fact(session, patient, AddressFactKind.REFUSED)
        desk.tick()
        assert address(desk, known) is state
        entered(desk, entry(patient_id=known, patient=None))
        assert address(desk, known) is AddressState.CONFIRMED
    assert [event["fields"] for event in desk.audit("patient.changed")] == [["confirmed"], ["confirmed"]]
    without = desk.enter(FENG, email=None, confirmed=None)
    assert problems(desk, entry(patient_id=without, patient=None)) == [
        "confirmed: there is no e-mail address to confirm"
    ]
    found = entered(desk, entry(patient_id=without, patient=None, address_confirmed=False))
    assert desk.stands("after-visit", treatment_id=found.treatment_id) == "held:address_missing"


# What was shown is what is stored


def shown(ahead: Ahead) -> Counter[tuple[object, ...]]:
    """The lines of a plan before it is stored."""
    return Counter(
        (line.step, line.template, line.due_local.isoformat(timespec="seconds"), line.title, line.stands, line.past)
        for line in ahead.lines
    )


def stored(desk: Desk, treatment_id: UUID) -> Counter[tuple[object, ...]]:
    """The same of the stored plan."""
    with desk.store.read() as session:
        shelf = desk.clinic.library.shelf(session)
        found: Counter[tuple[object, ...]] = Counter()
        for row in desk.rows(treatment_id):
            plan = session.get_one(CarePlan, row.care_plan_id)
            language = session.get_one(Patient, row.patient_id).language
            title = title_of_row(shelf, plan, row, language)
            found[(row.step, row.template, row.due_local, title, stands(row), row.due_at < desk.clock.now())] += 1
        return found


def superseded(desk: Desk) -> int:
    """How many messages were cancelled for a later plan."""
    return sum(row.state is ReminderState.CANCELLED and row.reason == "superseded" for row in desk.rows())


times = st.builds(
    lambda days, hour: (datetime(2026, 11, 23, hour) + timedelta(days=days)).isoformat(timespec="minutes"),
    st.integers(-45, 45),
    st.sampled_from([0, 2, 8, 9, 16, 23]),
)
FACTS: dict[str, Any] = {
    "nothing": lambda desk, *about: None,
    "held": lambda desk, patient_id, treatment_id: desk.event(treatment_id, EventKind.HOLD),
    "complication": lambda desk, patient_id, treatment_id: desk.event(treatment_id, EventKind.COMPLICATION),
    "a call": lambda desk, patient_id, treatment_id: desk.event(treatment_id, EventKind.CALL_REQUESTED),
    "on her own": lambda desk, patient_id, treatment_id: desk.event(treatment_id, EventKind.SOLO_STARTED),
    "booked": lambda desk, _, treatment_id: desk.event(treatment_id, EventKind.REVIEW_BOOKED, "2026-12-08T14:00"),
    "stopped": lambda desk, patient_id, treatment_id: desk.stop(patient_id, StopReason.UNSAFE),
    "elsewhere": lambda desk, patient_id, treatment_id: desk.change(patient_id, time_zone="America/New_York"),
    "new address": lambda desk, patient_id, treatment_id: desk.change(patient_id, email="new@example.org"),
    "no exercises": lambda desk, patient_id, treatment_id: desk.change(patient_id, consent="reviews"),
}


@on_one
@settings(max_examples=15)
@given(
    at=times,
    earlier=st.lists(st.tuples(times, st.sampled_from(sorted(FACTS))), max_size=2, unique_by=lambda one: one[0]),
    key=st.sampled_from(["course", "adult"]),
    past=st.sampled_from([None, *Past]),
    replaces=st.booleans(),
    booked=st.sampled_from(["", "2026-12-08T14:00", "2026-11-20T14:00"]),
    confirmed=st.booleans(),
    patient=st.builds(
        PatientForm,
        given_name=st.just("Amina"),
        family_name=st.just("Farouk"),
        email=st.sampled_from([None, "amina@example.org"]),
        birth_date=st.sampled_from([None, "1990-04-12"]),
        consent=st.sampled_from(["all", "reviews", "exercises", "none"]),
    ),
)
def test_the_plan_shown_beside_the_form_is_the_plan_that_saving_stores(
    desk: Desk,
    at: str,
    earlier: list[tuple[str, str]],
    key: str,
    past: Past | None,
    replaces: bool,
    booked: str,
    confirmed: bool,
    patient: PatientForm,
) -> None:
    if not (desk.folder / "protocols" / "adult.toml").exists():
        desk.write_protocol(ADULT, "adult")
        desk.approve_unseen()
    known = None
    for before, fact in earlier:
        known = known or desk.enter(AMINA, record_number=None)
        treatment_id = desk.treat(known, before, key, replaces=False).treatment_id
        FACTS[fact](desk, known, treatment_id)
    new = entry(
        at, protocol=key, past=past, replaces=replaces, late_reason="Late.", booked_at=booked, sure=True,
        patient_id=known, patient=None if known else patient,
        address_confirmed=confirmed and (known is not None or patient.email is not None),
    )  # fmt: skip
    if at in {before for before, _ in earlier}:
        return
    ahead = look_ahead(desk.clinic, new)
    before_it = superseded(desk)
    enter(desk.clinic, STAFF, new)
    assert shown(ahead) == stored(desk, new.treatment_id)
    ended = superseded(desk) - before_it
    replaced = [note for note in ahead.notes if note.startswith("It replaces the running plan")]
    assert [note.split(":")[1].split()[0] for note in replaced] == ([str(ended)] if ended else [])
    assert ahead.has_past is any(line.past for line in ahead.lines)
    desk.tick()


@on_one
def test_what_the_form_has_not_said_yet_counts_as_it_usually_is(desk: Desk) -> None:
    half = Entry(new_id(), TreatmentForm("course", NOW), patient=PatientForm(email="a"))
    with desk.unchanged():
        assert {line.stands for line in look_ahead(desk.clinic, half).lines} == {
            "held: The address has not been confirmed yet.",
            "will be shown to staff",
        }
    for wrong, told in (("course", ""), ("corse", NOW)):
        with pytest.raises((InvalidInput, Refused)):
            look_ahead(desk.clinic, Entry(new_id(), TreatmentForm(wrong, told)))


@on_one
def test_a_visit_booked_in_the_plan_it_replaces_is_not_lost_in_silence(desk: Desk) -> None:
    known = desk.enter(AMINA)
    treatment_id = desk.treat(known).treatment_id
    desk.event(treatment_id, EventKind.REVIEW_BOOKED, "2026-12-08T14:00")
    again = entry("2026-11-23T09:45", patient_id=known, patient=None)
    assert look_ahead(desk.clinic, again).notes == [
        "A visit is booked for Tue 8 December, 14:00 in the plan it replaces: book it here if it stands.",
        "It replaces the running plan: 4 unsent messages of it will be cancelled.",
    ]
    kept = entry("2026-11-23T09:45", patient_id=known, patient=None, replaces=False)
    assert look_ahead(desk.clinic, kept).notes == []


@on_one
def test_staff_say_what_becomes_of_a_running_plan_where_the_protocol_asks(desk: Desk) -> None:
    desk.write_protocol(ADULT, "adult")
    desk.approve_unseen()
    known = desk.enter(AMINA)
    desk.treat(known, protocol="adult")
    asked = entry("2026-11-23T09:45", protocol="adult", patient_id=known, patient=None)
    assert look_ahead(desk.clinic, asked).notes == []  # until they have said it nothing is taken away
    with desk.unchanged(), pytest.raises(ReplaceOrKeep):
        enter(desk.clinic, STAFF, asked)
    entered(desk, replace(asked, treatment=replace(asked.treatment, replaces=True)))
    assert superseded(desk) > 0
