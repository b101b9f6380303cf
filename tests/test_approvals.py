"""Approving protocols and texts on both databases: what it shows, refuses, freezes and gives back."""

from uuid import UUID

import pytest
from sqlalchemy import update

from db import library
from db.follow_up import Approval
from db.records import Patient
from db.states import Reason, ReminderState
from scheduler import approvals, compose, first_days, previews
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.library import Shelf
from scheduler.recovery import replan_outdated
from tests.clinic import COURSE, DOCTOR, STAFF, Desk
from tests.people import AMINA, BEATRIX

GERMAN = """\
+++
subject = "Nach Ihrem Termin"
preheader = "Eine kurze Nachricht von uns."
+++
Guten Tag {{ patient.preferred_name }}.

Danke für Ihren Besuch. Auf Ihrem Merkblatt steht alles für die nächsten Tage. Heben Sie es gut auf. Lesen Sie es noch
einmal, wenn Sie Ruhe haben. Sie können uns jederzeit etwas fragen.
"""
NEW_ENGLISH = """\
+++
subject = "After your visit"
preheader = "A short note from us."
+++
Hello {{ patient.preferred_name }}.

It was good to see you. Your care sheet has what you need for the next few days. Keep it safe. Read it again when you
have a quiet moment. You can call us about anything, big or small, on {{ clinic.phone }}.
"""
REVEALING = NEW_ENGLISH.replace("A short note from us", "After your botox")


def shelf(desk: Desk) -> Shelf:
    """The library as stored."""
    with desk.store.read() as session:
        return desk.clinic.library.shelf(session)


def mail(desk: Desk, step: str = "after-visit", treatment_id: UUID | None = None) -> str:
    """The text of a message as it would leave."""
    with desk.store.read() as session:
        return compose.write_letter(session, desk.clinic, desk.row(step, treatment_id=treatment_id)).rendered.text


def test_a_draft_is_planned_and_nothing_of_it_leaves(draft_desk: Desk) -> None:
    draft_desk.treat(draft_desk.enter())
    assert draft_desk.states() == {(ReminderState.HELD, Reason.NOT_APPROVED)}
    draft_desk.tick(hours=9)
    assert draft_desk.send_due() == []


def test_approving_covers_the_protocol_its_texts_and_parts_and_gives_back(draft_desk: Desk) -> None:
    patient_id = draft_desk.enter()
    draft_desk.treat(patient_id)
    done = draft_desk.approve()
    scope = approvals.scope_of(draft_desk.clinic, "course")
    assert (done.protocol, done.replanned, scope.nothing_new) == (True, 1, True)
    assert draft_desk.states() == {(ReminderState.SCHEDULED, None)}
    draft_desk.nothing_left()
    found = shelf(draft_desk)
    assert {key for key, _, _ in found.approved} >= {"after_visit", "plan_week", "urgent_general", "_footer"}
    (event,) = draft_desk.audit("protocol.approved")
    assert (event["actor"], event["subject_id"]) == (STAFF, str(scope.protocol.version_id))
    assert len(draft_desk.audit("template.approved")) == done.texts
    with draft_desk.store.read() as session:
        assert {row.approved_by for row in session.query(Approval)} == {DOCTOR}


def test_what_is_shown_for_approval_is_every_text_not_approved_yet(draft_desk: Desk) -> None:
    approvals.read_files(draft_desk.clinic, STAFF)
    approvals.set_text(draft_desk.clinic, STAFF, "course", "rest_rule", "Rest for a day.")
    texts = approvals.texts_to_approve(draft_desk.clinic, "after_visit", "en")
    approvals.approve_texts(draft_desk.clinic, STAFF, texts, DOCTOR)
    draft_desk.enter(language="de")
    scope = approvals.scope_of(draft_desk.clinic, "course")
    shown = {(text.source.key, text.source.language, text.source.level) for text in scope.texts}
    assert ("after_visit", "en", "general") not in shown
    assert {("after_visit", "de", "general"), ("plan_week", "en", "full"), ("_footer", "en", "general")} <= shown
    assert scope.values == {"rest_rule": "Rest for a day."}


def test_approving_again_changes_nothing(desk: Desk) -> None:
    scope = approvals.scope_of(desk.clinic, "course")
    with desk.unchanged():
        assert approvals.approve_protocol(desk.clinic, STAFF, scope, DOCTOR).replanned == 0


def test_a_required_text_that_is_empty_refuses(draft_desk: Desk) -> None:
    approvals.read_files(draft_desk.clinic, STAFF)
    with draft_desk.unchanged(), pytest.raises(Refused, match='"rest_rule" is empty: protocol text course rest_rule'):
        approvals.scope_of(draft_desk.clinic, "course")


def test_what_is_missing_is_refused_and_changes_nothing(desk: Desk) -> None:
    scope = approvals.scope_of(desk.clinic, "course")
    approvals.set_text(desk.clinic, STAFF, "course", "rest_rule", "Rest for two days.")
    scope = approvals.scope_of(desk.clinic, "course")
    with desk.unchanged():
        with pytest.raises(InvalidInput, match="name of the clinician"):
            approvals.approve_protocol(desk.clinic, STAFF, scope, " ")
        with pytest.raises(NotFound, match="did you mean course"):
            approvals.scope_of(desk.clinic, "cours")
        with pytest.raises(NotFound, match="after_visit"):
            approvals.texts_to_approve(desk.clinic, "after_visits")
        with pytest.raises(NotFound, match="in fr"):
            approvals.texts_to_approve(desk.clinic, "after_visit", "fr")
        with pytest.raises(InvalidInput, match="no text of"):
            approvals.set_text(desk.clinic, STAFF, "course", "rest_rules", "Rest.")
        with pytest.raises(InvalidInput, match="write the text"):
            approvals.set_text(desk.clinic, STAFF, "course", "rest_rule", "  ")
        with pytest.raises(NotFound):
            approvals.set_text(desk.clinic, STAFF, "nothing", "rest_rule", "Rest.")


def test_what_changed_since_it_was_shown_is_not_approved(draft_desk: Desk) -> None:
    approvals.read_files(draft_desk.clinic, STAFF)
    approvals.set_text(draft_desk.clinic, STAFF, "course", "rest_rule", "Rest for a day.")
    scope = approvals.scope_of(draft_desk.clinic, "course")
    draft_desk.tick()
    draft_desk.write_text("after_visit", NEW_ENGLISH)
    approvals.read_files(draft_desk.clinic, STAFF)
    with draft_desk.unchanged(), pytest.raises(Refused, match="changed since it was shown"):
        approvals.approve_protocol(draft_desk.clinic, STAFF, scope, DOCTOR)
    scope = approvals.scope_of(draft_desk.clinic, "course")
    draft_desk.write_protocol(COURSE.replace('at = "17:00"', 'at = "18:00"'))
    approvals.read_files(draft_desk.clinic, STAFF)
    with draft_desk.unchanged(), pytest.raises(Refused, match="changed since it was shown"):
        approvals.approve_protocol(draft_desk.clinic, STAFF, scope, DOCTOR)


def test_a_value_changed_since_it_was_shown_is_not_approved(draft_desk: Desk) -> None:
    approvals.read_files(draft_desk.clinic, STAFF)
    approvals.set_text(draft_desk.clinic, STAFF, "course", "rest_rule", "Rest for a day.")
    scope = approvals.scope_of(draft_desk.clinic, "course")
    draft_desk.tick()
    approvals.set_text(draft_desk.clinic, STAFF, "course", "rest_rule", "Rest for two days.")
    with draft_desk.unchanged(), pytest.raises(Refused, match="changed since it was shown"):
        approvals.approve_protocol(draft_desk.clinic, STAFF, scope, DOCTOR)


# what a file may still change


def test_a_draft_plan_follows_its_file(draft_desk: Desk) -> None:
    for person in (AMINA, BEATRIX):
        draft_desk.treat(draft_desk.enter(person))
    draft_desk.write_protocol(COURSE.replace('at = "17:00"', 'at = "18:00"').replace('"visit-missed"', '"missed-you"'))
    draft_desk.tick()
    draft_desk.treat(draft_desk.enter(BEATRIX, record_number="A-2"), "2026-11-23T08:00")
    assert {row.due_local for row in draft_desk.rows() if row.step == "after-visit"} == {"2026-11-23T18:00:00"}
    draft_desk.nothing_left()
    assert len(draft_desk.audit("protocol.draft_changed")) == 1


def test_setting_a_text_reads_a_changed_draft_for_everyone_on_it(draft_desk: Desk) -> None:
    draft_desk.treat(draft_desk.enter())
    draft_desk.write_protocol(COURSE.replace('at = "17:00"', 'at = "18:00"'))
    approvals.set_text(draft_desk.clinic, STAFF, "course", "rest_rule", "Rest for a day.")
    assert draft_desk.row("after-visit").due_local == "2026-11-23T18:00:00"


def test_an_approved_version_never_changes_and_says_raise_the_version(desk: Desk) -> None:
    treatment_id = desk.treat(desk.enter()).treatment_id
    desk.write_protocol(COURSE.replace('at = "17:00"', 'at = "18:00"'))
    (problem,) = approvals.read_files(desk.clinic, STAFF)
    assert problem == "course.toml: version 1 is approved and its text differs: raise the version"
    assert desk.row("after-visit", treatment_id=treatment_id).due_local == "2026-11-23T17:00:00"
    with pytest.raises(Refused, match="raise the version"):
        approvals.scope_of(desk.clinic, "course", [problem])
    started = desk.treat(desk.enter(BEATRIX))
    assert desk.row("after-visit", treatment_id=started.treatment_id).due_local == "2026-11-23T17:00:00"
    assert problem in started.notes
    desk.nothing_left()


def test_a_new_version_is_for_new_treatments_once_it_is_approved(desk: Desk) -> None:
    first = desk.treat(desk.enter()).treatment_id
    desk.write_protocol(COURSE.replace("version = 1", "version = 2").replace('at = "17:00"', 'at = "18:00"'))
    assert approvals.read_files(desk.clinic, STAFF) == []
    desk.tick()
    second = desk.treat(desk.enter(BEATRIX)).treatment_id
    assert desk.row("after-visit", treatment_id=second).due_local == "2026-11-23T17:00:00"
    scope = approvals.scope_of(desk.clinic, "course")
    assert (scope.protocol.protocol.version, scope.texts) == (2, [])
    approvals.approve_protocol(desk.clinic, STAFF, scope, DOCTOR)
    third = desk.treat(desk.enter(BEATRIX, record_number="A-3"), "2026-11-23T08:00").treatment_id
    due = [desk.row("after-visit", treatment_id=each).due_local[11:13] for each in (first, second, third)]
    assert due == ["17", "17", "18"]
    desk.nothing_left()


def test_a_retired_protocol_takes_no_new_treatments_and_runs_on(desk: Desk) -> None:
    patient_id = desk.enter()
    treatment_id = desk.treat(patient_id).treatment_id
    desk.write_protocol(COURSE.replace('title = "A course"', 'title = "A course"\nstatus = "retired"'))
    assert approvals.read_files(desk.clinic, STAFF) == []
    with desk.unchanged(), pytest.raises(Refused, match="retired"):
        desk.treat(patient_id, "2026-11-23T08:00")
    assert desk.stands("after-visit", treatment_id=treatment_id) == "scheduled"
    desk.nothing_left()
    desk.write_protocol()
    approvals.read_files(desk.clinic, STAFF)
    desk.treat(patient_id, "2026-11-23T08:00")


def test_a_changed_value_is_used_once_it_is_approved_again(desk: Desk) -> None:
    desk.treat(desk.enter())
    approvals.set_text(desk.clinic, STAFF, "course", "rest_rule", "Rest for two days.")
    assert "Rest for a day." in mail(desk)
    scope = approvals.scope_of(desk.clinic, "course")
    assert (scope.covers_protocol, scope.texts) == (True, [])
    approvals.approve_protocol(desk.clinic, STAFF, scope, DOCTOR)
    assert "Rest for two days." in mail(desk)
    assert "Rest for a day." not in mail(desk)


# texts


def test_the_last_approved_text_is_sent_while_a_new_one_waits(desk: Desk) -> None:
    treatment_id = desk.treat(desk.enter()).treatment_id
    before = mail(desk)
    desk.tick()
    desk.write_text("after_visit", NEW_ENGLISH)
    approvals.read_files(desk.clinic, STAFF)
    assert mail(desk) == before
    assert previews.preview(desk.clinic, STAFF, treatment_id, "after-visit").rendered.text == before
    texts = approvals.texts_to_approve(desk.clinic, "after_visit")
    assert [text.source.text for text in texts] == [NEW_ENGLISH]
    approvals.approve_texts(desk.clinic, STAFF, texts, DOCTOR)
    assert "It was good to see you" in mail(desk)
    assert approvals.texts_to_approve(desk.clinic, "after_visit") == []
    desk.tick()
    (desk.folder / "email" / "en" / "after_visit.md").unlink()  # back to the shipped one: approved before, not the last
    approvals.read_files(desk.clinic, STAFF)
    assert "It was good to see you" in mail(desk)
    assert len(approvals.texts_to_approve(desk.clinic, "after_visit")) == 1


def test_a_text_with_a_revealing_word_cannot_be_approved(desk: Desk) -> None:
    desk.write_text("after_visit", REVEALING)
    approvals.read_files(desk.clinic, STAFF)
    with desk.unchanged():
        with pytest.raises(Refused, match="botox"):
            approvals.texts_to_approve(desk.clinic, "after_visit")
        with pytest.raises(Refused, match="botox"):
            approvals.scope_of(desk.clinic, "course")
    assert approvals.texts_to_approve(desk.clinic, "plan_week") == []


def test_a_text_that_is_none_is_told_and_left_out(desk: Desk) -> None:
    desk.write_text("after_visit", "no front matter\n")
    problems = approvals.read_files(desk.clinic, STAFF)
    assert problems
    assert all("after_visit" in problem for problem in problems)
    desk.treat(desk.enter())
    assert "Thank you for coming" in mail(desk)


def test_texts_in_a_language_that_no_patient_reads_are_not_approved_with_the_protocol(draft_desk: Desk) -> None:
    desk = draft_desk
    approvals.read_files(desk.clinic, STAFF)
    approvals.set_text(desk.clinic, STAFF, "course", "rest_rule", "Rest for a day.")
    desk.write_text("after_visit", "no front matter", "de")  # what stands in its way is not in ours
    approvals.read_files(desk.clinic, STAFF)
    scope = approvals.scope_of(desk.clinic, "course")
    assert ({text.source.language for text in scope.texts}, scope.left_out) == ({"en"}, ("de",))
    approvals.approve_protocol(desk.clinic, STAFF, scope, DOCTOR)
    assert approvals.scope_of(desk.clinic, "course").nothing_new
    austrian = desk.treat(desk.enter(language="de-AT")).treatment_id
    # What she gets is in English until somebody has read and approved the German.
    assert desk.stands("after-visit", treatment_id=austrian) == "scheduled"
    scope = approvals.scope_of(desk.clinic, "course")
    assert ({text.source.language for text in scope.texts}, scope.left_out) == ({"de"}, ())


def test_the_first_patient_who_reads_another_language_puts_its_texts_on_the_list(draft_desk: Desk) -> None:
    desk = draft_desk

    def asked() -> list[str]:
        with desk.store.read() as session:
            steps = first_days.list_open_steps(session, desk.clinic)
        return [step.words for step in steps if step.words.startswith("Read and approve the texts")]

    def approve() -> None:
        approvals.read_files(desk.clinic, STAFF)
        approvals.approve_protocol(desk.clinic, STAFF, approvals.scope_of(desk.clinic, "course"), DOCTOR)

    approvals.read_files(desk.clinic, STAFF)
    approvals.set_text(desk.clinic, STAFF, "course", "rest_rule", "Rest for a day.")
    desk.enter(BEATRIX, language="de-AT")
    assert asked() == []  # nothing is approved yet: that is asked for first
    with desk.store.write(STAFF, desk.clock.now()) as session:
        session.execute(update(Patient).values(language="en"))
    approve()
    assert asked() == []
    with desk.store.write(STAFF, desk.clock.now()) as session:
        session.execute(update(Patient).values(language="de-AT"))
    assert asked() == ["Read and approve the texts in German"]
    approve()
    assert asked() == []


def test_a_german_patient_gets_german_where_it_is_approved_and_english_else(draft_desk: Desk) -> None:
    draft_desk.write_protocol(COURSE.replace('"choose_next_session"', '"come_again"'))
    draft_desk.write_text("come_again", NEW_ENGLISH)  # the clinic's own, in English only
    draft_desk.approve()
    treatment_id = draft_desk.treat(draft_desk.enter(language="de")).treatment_id
    austrian = draft_desk.treat(draft_desk.enter(BEATRIX, language="de-AT")).treatment_id
    assert "Guten Tag Amina." in mail(draft_desk, treatment_id=treatment_id)
    assert "am 23. November" in mail(draft_desk, treatment_id=treatment_id)
    assert "Guten Tag Beatrix." in mail(draft_desk, treatment_id=austrian)
    assert "Hello Amina." in mail(draft_desk, "next-session", treatment_id=treatment_id)
    draft_desk.tick()
    draft_desk.write_text("after_visit", GERMAN, "de")
    approvals.read_files(draft_desk.clinic, STAFF)
    assert "Danke, dass Sie am" in mail(draft_desk, treatment_id=treatment_id)  # the approved one


def test_german_without_its_urgent_block_is_not_german_enough(draft_desk: Desk) -> None:
    approvals.read_files(draft_desk.clinic, STAFF)
    approvals.set_text(draft_desk.clinic, STAFF, "course", "rest_rule", "Rest for a day.")
    draft_desk.treat(draft_desk.enter(language="de"))
    for key in ("after_visit", "_footer"):
        texts = approvals.texts_to_approve(draft_desk.clinic, key)
        approvals.approve_texts(draft_desk.clinic, STAFF, texts, DOCTOR)
        draft_desk.tick()
    texts = approvals.texts_to_approve(draft_desk.clinic, "urgent_general", "en")
    approvals.approve_texts(draft_desk.clinic, STAFF, texts, DOCTOR)
    with draft_desk.store.read() as session:
        found = draft_desk.clinic.library.shelf(session).find_message(
            approvals.scope_of(draft_desk.clinic, "course").protocol.protocol, "after_visit", "de", "general"
        )
    assert found is not None
    assert [part.source.language for part in found if part] == ["en"] * 3


def test_the_full_text_is_only_for_who_asked_for_it(desk: Desk) -> None:
    asked = desk.treat(desk.enter(AMINA, level="full")).treatment_id
    other = desk.treat(desk.enter(BEATRIX)).treatment_id
    full, general = (mail(desk, treatment_id=each) for each in (asked, other))
    assert full != general.replace("Beatrix", "Amina")
    assert mail(desk, "next-session", treatment_id=asked).replace("Amina", "Beatrix") == mail(
        desk, "next-session", treatment_id=other
    )  # where there is no full text the general one is sent


def test_what_a_crash_left_unplanned_is_planned_at_the_next_start(
    draft_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft_desk.treat(draft_desk.enter())
    approvals.set_text(draft_desk.clinic, STAFF, "course", "rest_rule", "Rest for a day.")
    scope = approvals.scope_of(draft_desk.clinic, "course")

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as crash:
        crash.setattr("scheduler.approvals.replan_each", killed)
        with pytest.raises(KeyboardInterrupt):
            approvals.approve_protocol(draft_desk.clinic, STAFF, scope, DOCTOR)
    assert draft_desk.stands("after-visit") == "held:not_approved"
    assert replan_outdated(draft_desk.clinic) == 1
    assert draft_desk.stands("after-visit") == "scheduled"
    draft_desk.nothing_left()


def test_a_clinics_own_value_with_a_listed_word_is_refused_before_it_can_hold_every_mail(draft_desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="tampons"):
        draft_desk.approve(rest_rule="Please use no tampons for a week.")
    with draft_desk.store.read() as session:
        assert library.list_texts(session) == {}
