"""Entering, moving, reassigning and cancelling a treatment on both databases; the plan follows at once."""

from uuid import uuid4

import pytest

from db import care_plans as stored_plans
from db import treatments as stored
from db.follow_up import Reminder
from db.states import CarePlanStatus, EventKind, Past, ReminderState, TreatmentStatus
from scheduler import plan_words, treatments
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.planning.patient_plan import PatientPlan
from scheduler.treatments import TreatmentForm
from tests.clinic import COURSE, STAFF, Desk
from tests.people import AMINA, BEATRIX, ESME

ASKS = COURSE.replace('title = "A course"', 'title = "A course"\non_new_treatment = "ask"')
ADULTS = COURSE.replace('title = "A course"', 'title = "A course"\nminimum_age = 18')


def line(row: Reminder) -> str:
    """What one reminder is, in a line."""
    reason = f":{row.reason.value}" if row.reason else ""
    return f"{row.step} {row.occurrence}.{row.generation} {row.state.value}{reason} {row.due_local}"


def test_a_treatment_starts_its_plan(desk: Desk) -> None:
    patient_id = desk.enter()
    started = desk.treat(patient_id, clinician="Dr Okafor", fields={"lot": "C1234"})
    assert started.notes == []
    assert [line(row) for row in desk.rows()] == [
        "after-visit 1.1 scheduled 2026-11-23T17:00:00",
        "no-review-yet 1.1 scheduled 2026-12-14T09:00:00",
        "next-session 1.1 scheduled 2026-12-21T10:00:00",
    ]
    with desk.store.read() as session:
        content = stored.get_content(session, started.treatment_id)
        assert (content.treated_local, content.treated_zone) == ("2026-11-23T09:30:00", "Europe/London")
        assert (content.clinician, content.fields) == ("Dr Okafor", {"lot": "C1234"})
        plan = treatments.get_plan(session, started.treatment_id)
        assert (plan.status, plan.planned_with) == (CarePlanStatus.ACTIVE, desk.clinic.fingerprint)
        reviews = stored_plans.list_reviews(session, [plan.id])
        assert [(review.key, str(review.due_on), str(review.latest_on), review.open) for review in reviews] == [
            ("two-week", "2026-12-07", "2026-12-10", True),
            ("six-week", "2027-01-04", "2027-01-11", True),
        ]
    desk.nothing_left()


def test_each_reminder_has_a_message_id_that_tells_nothing(desk: Desk) -> None:
    desk.treat(desk.enter())
    found = [row.message_id for row in desk.rows()]
    assert len(set(found)) == len(found)
    for message_id, row in zip(found, desk.rows(), strict=True):
        assert message_id.startswith("<")
        assert message_id.endswith("@example.org>")
        assert row.id.hex[:12] not in message_id.replace("-", "")


def test_the_audit_names_the_treatment_and_the_names_of_its_fields(desk: Desk) -> None:
    patient_id = desk.enter()
    treatment_id = desk.treat(patient_id, fields={"lot": "C1234"}).treatment_id
    (event,) = desk.audit("treatment.added")
    assert event == {
        "actor": STAFF,
        "action": "treatment.added",
        "subject_id": str(treatment_id),
        "patient_id": patient_id,
        "fields": ["lot"],
    }


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (TreatmentForm("cours", "2026-11-23T09:30"), "did you mean course"),
        (TreatmentForm("course", "yesterday"), "not a date and time"),
        (TreatmentForm("course", "2026-11-23"), "has no time"),
        (TreatmentForm("course", "2026-02-30T10:00"), "not a date and time"),
        (TreatmentForm("course", "2026-03-29T01:30"), "does not exist"),
        (TreatmentForm("course", "0001-01-01T00:00+14:00"), "1900"),
        (TreatmentForm("course", "9999-12-31T23:59-12:00"), "1900"),
        (TreatmentForm("course", "1980-01-01T10:00"), "more than 30 years ago"),
        (TreatmentForm("course", "2031-01-01T10:00"), "2 ahead"),
        (TreatmentForm("course", "2026-11-23T09:30", zone="Europe/Nowhere"), "not a time zone"),
        (TreatmentForm("course", "2026-11-23T09:30", zone="Europe"), "not a time zone"),
        (TreatmentForm("course", "2026-11-23T09:30", zone="../../etc/passwd"), "not a time zone"),
        (TreatmentForm("course", "2026-11-23T09:30", fields={"lott": "C1"}), "lott"),
        (TreatmentForm("course", "2026-11-23T09:30", fields={"lot": "C1\x00"}), "control characters"),
        (TreatmentForm("course", "2026-11-23T09:30", clinician="x" * 201), "longer than"),
    ],
)
def test_a_wrong_entry_changes_nothing(desk: Desk, form: TreatmentForm, told: str) -> None:
    patient_id = desk.enter()
    with desk.unchanged(), pytest.raises(InvalidInput, match=told):
        treatments.add(desk.clinic, STAFF, patient_id, form)


def test_an_unknown_patient_is_not_found(desk: Desk) -> None:
    with desk.unchanged(), pytest.raises(NotFound):
        desk.treat(uuid4())


def test_the_same_treatment_is_entered_once(desk: Desk) -> None:
    patient_id = desk.enter()
    desk.treat(patient_id)
    with desk.unchanged(), pytest.raises(Refused, match="entered already"):
        desk.treat(patient_id, "2026-11-23T09:30+00:00")


def test_a_treatment_done_elsewhere_keeps_its_own_time(desk: Desk) -> None:
    treatment_id = desk.treat(desk.enter(), "2026-11-20T18:00", zone="Europe/Istanbul").treatment_id
    with desk.store.read() as session:
        content = stored.get_content(session, treatment_id)
    assert (content.treated_local, content.treated_zone) == ("2026-11-20T18:00:00", "Europe/Istanbul")
    assert content.treated_at.isoformat() == "2026-11-20T15:00:00+00:00"
    assert desk.row("no-review-yet").due_local == "2026-12-11T09:00:00"


@pytest.mark.parametrize(
    ("past", "stands"),
    [
        (None, "missed:past_when_planned"),
        (Past.SEND, "missed:past_when_planned"),
        (Past.ASK, "missed:past_when_planned"),
    ],
)
def test_what_ran_out_before_it_was_entered_is_missed_under_every_rule(desk: Desk, past: Past, stands: str) -> None:
    desk.treat(desk.enter(), "2026-11-02T10:00", past=past)
    assert desk.stands("after-visit") == stands


@pytest.mark.parametrize(
    ("past", "stands"),
    [(None, "scheduled"), (Past.SKIP, "missed:past_when_planned"), (Past.ASK, "held:past_ask")],
)
def test_what_is_late_and_still_of_use_follows_the_rule_given(desk: Desk, past: Past, stands: str) -> None:
    desk.tick(hours=9)  # 18:00, an hour after the message was due
    desk.treat(desk.enter(), past=past)
    assert desk.stands("after-visit") == stands
    desk.nothing_left()


def test_a_draft_is_planned_and_held_and_said_so(draft_desk: Desk) -> None:
    started = draft_desk.treat(draft_desk.enter())
    assert "draft" in started.notes[0]
    assert draft_desk.states() == {(ReminderState.HELD, draft_desk.rows()[0].reason)}
    assert draft_desk.stands("after-visit") == "held:not_approved"
    draft_desk.nothing_left()


def test_a_protocol_file_that_is_wrong_is_told_with_the_entry_that_needs_it(desk: Desk) -> None:
    patient_id = desk.enter()
    desk.write_protocol(COURSE + '\n[[step]]\nkey = "broken"\n')
    started = desk.treat(patient_id)
    assert [note for note in started.notes if note.startswith("course.toml:")]
    (desk.folder / "protocols" / "course.toml").write_bytes(b"key = \xff")
    started = desk.treat(patient_id, "2026-11-23T08:00")
    assert started.notes[-1] == "course.toml: cannot be read: expected a text file in UTF-8"


def test_a_second_treatment_replaces_the_running_plan(desk: Desk) -> None:
    patient_id = desk.enter()
    first = desk.treat(patient_id).treatment_id
    desk.event(first, EventKind.REVIEW_BOOKED, "2026-12-08T14:00")
    desk.tick(days=3)
    started = desk.treat(patient_id, "2026-11-26T08:30")
    assert "had a visit booked for 2026-12-08 14:00 (two-week)" in started.notes[0]
    assert desk.stands("no-review-yet", treatment_id=first) == "cancelled:superseded"
    assert desk.stands("no-review-yet", treatment_id=started.treatment_id) == "scheduled"
    with desk.store.read() as session:
        assert treatments.get_plan(session, first).status is CarePlanStatus.REVOKED
    desk.nothing_left()


def test_a_second_treatment_may_keep_the_running_plan(desk: Desk) -> None:
    patient_id = desk.enter()
    first = desk.treat(patient_id).treatment_id
    desk.treat(patient_id, "2026-11-23T08:00", replaces=False)
    assert desk.stands("no-review-yet", treatment_id=first) == "scheduled"


def test_a_protocol_that_asks_needs_an_answer_only_when_a_plan_runs(draft_desk: Desk) -> None:
    draft_desk.write_protocol(ASKS)
    patient_id = draft_desk.enter()
    draft_desk.treat(patient_id)
    with draft_desk.unchanged(), pytest.raises(InvalidInput, match="--replace or --keep"):
        draft_desk.treat(patient_id, "2026-11-23T08:00")
    draft_desk.treat(patient_id, "2026-11-23T08:00", replaces=True)


def test_a_minimum_age_is_held_to_and_a_clinician_may_override_it(draft_desk: Desk) -> None:
    draft_desk.write_protocol(ADULTS)
    child = draft_desk.enter(ESME, birth_date="2009-05-01")
    draft_desk.treat(draft_desk.enter(AMINA))  # the file is read
    with draft_desk.unchanged(), pytest.raises(Refused, match="was 17"):
        draft_desk.treat(child)
    draft_desk.treat(child, age_override="Seen with her mother; indicated.")
    assert not [row for row in draft_desk.rows() if row.reason and row.reason.value == "under_age"]
    unknown = draft_desk.enter(BEATRIX, birth_date=None)
    treatment_id = draft_desk.treat(unknown).treatment_id
    assert draft_desk.stands("after-visit", treatment_id=treatment_id) == "held:birth_date_missing"


def test_an_error_before_the_commit_leaves_neither_treatment_nor_plan(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient_id = desk.enter()
    treatment_id = desk.treat(patient_id).treatment_id

    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("scheduler.care_plans.reach", full_disk)  # the last line of a replanning
    with desk.unchanged():
        with pytest.raises(OSError, match="no space"):
            desk.treat(patient_id, "2026-11-22T09:00")
        with pytest.raises(OSError, match="no space"):
            treatments.move(desk.clinic, STAFF, treatment_id, "2026-11-22T09:00")
        with pytest.raises(OSError, match="no space"):
            treatments.cancel(desk.clinic, STAFF, treatment_id, "a reason")


# moving


def changes(desk: Desk, result: PatientPlan) -> list[str]:
    """What a replanning changes, in words."""
    with desk.store.read() as session:
        return plan_words.changes(session, desk.clinic, result)


def test_moving_shows_what_will_change_and_then_does_just_that(desk: Desk) -> None:
    patient_id = desk.enter()
    treatment_id = desk.treat(patient_id).treatment_id
    before = {row.step: row for row in desk.rows()}
    with desk.unchanged():
        shown = changes(desk, treatments.preview_move(desk.clinic, treatment_id, "2026-11-24T11:00"))
    assert shown == [
        "“After your visit”: from Mon 23 November, 17:00 to Tue 24 November, 17:00",
        "Ring her: from Mon 14 December, 09:00 to Tue 15 December, 09:00",
        "“Please choose a time”: from Mon 21 December, 10:00 to Tue 22 December, 10:00",
    ]
    done = treatments.move(desk.clinic, STAFF, treatment_id, "2026-11-24T11:00", reason="Read from the wrong line.")
    assert changes(desk, done) == shown
    after = {row.step: row for row in desk.rows()}
    assert {step: (row.id, row.message_id, row.generation) for step, row in after.items()} == {
        step: (row.id, row.message_id, row.generation) for step, row in before.items()
    }
    with desk.store.read() as session:
        first, second = stored.list_versions(session, treatment_id)
        assert (first.treated_local, second.treated_local) == ("2026-11-23T09:30:00", "2026-11-24T11:00:00")
        assert (second.number, second.correction_reason) == (2, "Read from the wrong line.")
    (event,) = desk.audit("treatment.moved")
    assert (event["subject_id"], event["fields"]) == (str(treatment_id), ["treated_at"])
    desk.nothing_left()


def test_a_date_corrected_after_a_message_left_opens_a_question(desk: Desk) -> None:
    patient_id = desk.enter()
    treatment_id = desk.treat(patient_id).treatment_id
    desk.tick(hours=9)
    sent = desk.send_due()
    assert sent == [desk.row("after-visit").id]
    treatments.move(desk.clinic, STAFF, treatment_id, "2026-11-24T11:00")
    assert desk.stands("after-visit") == "sent"
    assert desk.row("after-visit").due_local == "2026-11-23T17:00:00"
    with desk.store.read() as session:
        (question,) = stored_plans.list_open_questions(session)
        assert (question.kind.value, question.step, question.told) == (
            "date_moved",
            "after-visit",
            desk.row("after-visit").basis,
        )
    desk.nothing_left()


def test_moving_what_is_wrong_or_gone_changes_nothing(desk: Desk) -> None:
    treatment_id = desk.treat(desk.enter()).treatment_id
    desk.treat(desk.enter(BEATRIX))
    with desk.unchanged():
        for wrong in ("tomorrow", "1970-01-01T10:00", "2026-03-29T01:30"):
            with pytest.raises(InvalidInput):
                treatments.move(desk.clinic, STAFF, treatment_id, wrong)
            with pytest.raises(InvalidInput):
                treatments.preview_move(desk.clinic, treatment_id, wrong)
        with pytest.raises(InvalidInput, match="reason"):
            treatments.move(desk.clinic, STAFF, treatment_id, "2026-11-24T11:00", reason=" ")
        with pytest.raises(NotFound):
            treatments.move(desk.clinic, STAFF, uuid4(), "2026-11-24T11:00")
    treatments.cancel(desk.clinic, STAFF, treatment_id, "Did not take place.")
    with desk.unchanged():
        with pytest.raises(Refused, match="cancelled"):
            treatments.preview_move(desk.clinic, treatment_id, "2026-11-24T11:00")
        with pytest.raises(Refused, match="cancelled"):
            treatments.move(desk.clinic, STAFF, treatment_id, "2026-11-24T11:00")


# cancelling


def test_cancelling_ends_what_is_unsent_and_keeps_what_was_said(desk: Desk) -> None:
    patient_id = desk.enter()
    treatment_id = desk.treat(patient_id).treatment_id
    treatments.cancel(desk.clinic, STAFF, treatment_id, "She changed her mind.")
    assert {row.state for row in desk.rows()} == {ReminderState.CANCELLED}
    assert desk.stands("after-visit") == "cancelled:treatment_cancelled"
    desk.nothing_left()
    with desk.store.read() as session:
        assert treatments.get(session, treatment_id).status is TreatmentStatus.CANCELLED
        assert treatments.get_plan(session, treatment_id).status is CarePlanStatus.REVOKED
        assert [note.text for note in stored.list_notes(session, patient_id)] == [
            "Treatment cancelled: She changed her mind."
        ]
    with desk.unchanged():
        with pytest.raises(Refused, match="already"):
            treatments.cancel(desk.clinic, STAFF, treatment_id, "again")
        with pytest.raises(InvalidInput, match="reason"):
            treatments.cancel(desk.clinic, STAFF, treatment_id, "")


# entered under the wrong patient


def test_a_treatment_goes_to_the_patient_it_belongs_to(desk: Desk) -> None:
    wrong, right = desk.enter(AMINA), desk.enter(BEATRIX)
    treatment_id = desk.treat(wrong, fields={"lot": "C1234"}).treatment_id
    moved = treatments.reassign(desk.clinic, STAFF, treatment_id, right, "Same initials.")
    assert moved.disclosed == 0
    assert desk.stands("after-visit", treatment_id=treatment_id) == "cancelled:reassigned"
    assert desk.stands("after-visit", treatment_id=moved.treatment_id) == "scheduled"
    with desk.store.read() as session:
        old, new = (treatments.get(session, each) for each in (treatment_id, moved.treatment_id))
        assert (old.reassigned_to_id, new.patient_id) == (new.id, right)
        assert stored.get_content(session, new.id).fields == {"lot": "C1234"}
    assert [event["patient_id"] for event in desk.audit("treatment.reassigned")] == [wrong]
    desk.nothing_left()


def test_what_had_left_to_the_wrong_patient_is_counted_and_noted(desk: Desk) -> None:
    wrong, right = desk.enter(AMINA), desk.enter(BEATRIX)
    treatment_id = desk.treat(wrong).treatment_id
    desk.tick(hours=9)
    desk.send_due()
    moved = treatments.reassign(desk.clinic, STAFF, treatment_id, right, "Same initials.")
    assert moved.disclosed == 1
    with desk.store.read() as session:
        (note,) = stored.list_notes(session, wrong)
        assert note.text == (
            "Treatment reassigned to another patient: Same initials. Disclosure: 1 message(s) had left to this patient."
        )
    assert [event["patient_id"] for event in desk.audit("disclosure.noted")] == [wrong]
    desk.nothing_left()


def test_a_reassignment_that_cannot_be_changes_nothing(desk: Desk) -> None:
    wrong, right = desk.enter(AMINA), desk.enter(BEATRIX)
    treatment_id = desk.treat(wrong).treatment_id
    desk.treat(right)
    with desk.unchanged():
        with pytest.raises(Refused, match="has this treatment already"):
            treatments.reassign(desk.clinic, STAFF, treatment_id, right, "Same initials.")
        with pytest.raises(InvalidInput, match="that patient already"):
            treatments.reassign(desk.clinic, STAFF, treatment_id, wrong, "Same initials.")
        with pytest.raises(NotFound):
            treatments.reassign(desk.clinic, STAFF, treatment_id, uuid4(), "Same initials.")
        with pytest.raises(InvalidInput, match="reason"):
            treatments.reassign(desk.clinic, STAFF, treatment_id, right, " ")
    treatments.cancel(desk.clinic, STAFF, treatment_id, "Did not take place.")
    with desk.unchanged(), pytest.raises(Refused, match="cancelled already"):
        treatments.reassign(desk.clinic, STAFF, treatment_id, right, "Same initials.")


def test_a_reassignment_can_be_told_what_a_treatment_can(draft_desk: Desk) -> None:
    draft_desk.write_protocol(ASKS.replace("[[text]]", "minimum_age = 18\n\n[[text]]", 1))
    wrong, right = draft_desk.enter(AMINA), draft_desk.enter(ESME, birth_date="2009-05-01")
    draft_desk.treat(right, "2026-11-20T10:00", age_override="Indicated.")
    treatment_id = draft_desk.treat(wrong).treatment_id
    with draft_desk.unchanged():
        with pytest.raises(Refused, match="--age-override"):
            treatments.reassign(draft_desk.clinic, STAFF, treatment_id, right, "Same initials.")
        with pytest.raises(InvalidInput, match="--replace or --keep"):
            treatments.reassign(
                draft_desk.clinic, STAFF, treatment_id, right, "Same initials.", age_override="Indicated."
            )
    treatments.reassign(
        draft_desk.clinic, STAFF, treatment_id, right, "Same initials.", replaces=True, age_override="Indicated."
    )
