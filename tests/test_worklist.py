"""The staff's list of the day on both databases: what comes on it, in which order, and what takes it off again."""

from uuid import UUID

import pytest

from db import imports as stored_imports
from db.states import AttemptOutcome, DecisionKind, EventKind, Reason, StopReason
from scheduler import events, signing, treatments
from scheduler.care_plans import replan
from scheduler.recovery import sweep
from scheduler.worklist import LineKind, Worklist, read_worklist
from tests.clinic import COURSE, STAFF, Desk
from tests.counted import MOST, counting
from tests.people import AMINA, BEATRIX, CARMEN, DANUTA, ESME, FENG, GRETA

K, D, L = EventKind, DecisionKind, LineKind
# A protocol whose only message leaves on the first day: nothing of its plan is left to wait for.
SHORT = """\
key = "short"
version = 1
title = "Short"

[[review]]
key = "two-week"
after = "P14D"
tolerance = "P3D"

[[step]]
key = "after-visit"
kind = "aftercare"
template = "after_visit"
anchor = "treatment"
offset = "P0D"
at = "17:00"
expires_after = "P1D"
"""


def worklist(desk: Desk) -> Worklist:
    """The list as it is now."""
    with desk.store.read() as session:
        return read_worklist(session, desk.clinic)


def kinds(desk: Desk) -> list[str]:
    """The kinds of its lines in their order, but for records that wait to be signed."""
    return [line.kind.value for line in worklist(desk).lines if line.kind is not L.UNSIGNED]


def only(desk: Desk, kind: LineKind) -> list[UUID]:
    """Whose lines of a kind there are."""
    return [line.patient_id for line in worklist(desk).lines if line.kind is kind]


def treated(desk: Desk, **more: str) -> tuple[UUID, UUID]:
    """Amina and her treatment of 23 November, 09:30."""
    patient_id = desk.enter(AMINA, **more)
    return patient_id, desk.treat(patient_id).treatment_id


def test_a_day_on_which_nothing_needs_a_person_is_empty(desk: Desk) -> None:
    treated(desk)
    found = worklist(desk)
    assert (list(found.lines), found.more, found.counted, list(found.visits)) == ([], frozenset(), {}, [])
    assert [row.step for row in found.leaving] == ["after-visit"]
    assert found.title(found.leaving[0]) != ""


def test_the_most_harmful_comes_first_and_only_what_harms_is_red(desk: Desk) -> None:
    _, amina = treated(desk)
    beatrix = desk.treat(desk.enter(BEATRIX)).treatment_id
    desk.treat(desk.enter(CARMEN, confirmed=None))
    feng = desk.treat(desk.enter(FENG)).treatment_id
    desk.event(feng, K.PARTNER_WANTED)
    desk.event(beatrix, K.COMPLICATION)
    desk.event(amina, K.CALL_REQUESTED)
    found = worklist(desk).lines
    assert [line.kind for line in found] == [L.CALL_ASKED, L.COMPLICATION, L.RELEASE_ASKED, L.ADDRESS_UNCONFIRMED]
    assert [line.level for line in found] == ["red", "red", "amber", "amber"]


def test_a_call_asked_for_stays_until_somebody_rang_also_when_its_treatment_is_cancelled(desk: Desk) -> None:
    patient_id, treatment_id = treated(desk)
    desk.event(treatment_id, K.CALL_REQUESTED)
    treatments.cancel(desk.clinic, STAFF, treatment_id, "It did not take place.")
    assert only(desk, L.CALL_ASKED) == [patient_id]
    desk.tick()
    desk.event(treatment_id, K.CALL_CLOSED, fields={"note": "She is well."})
    assert kinds(desk) == []
    desk.nothing_left()


def test_a_complication_stays_until_it_is_resolved_or_was_never_true(desk: Desk) -> None:
    _, treatment_id = treated(desk)
    reported = desk.event(treatment_id, K.COMPLICATION, fields={"what": "fever"})
    assert kinds(desk) == ["complication"]
    resolved = desk.event(treatment_id, K.COMPLICATION_RESOLVED)
    assert kinds(desk) == []
    events.retract(desk.clinic, STAFF, resolved, "It is not over.")
    assert kinds(desk) == ["complication"]
    desk.tick()
    events.retract(desk.clinic, STAFF, reported, "Another patient.")
    assert kinds(desk) == []
    desk.tick()
    desk.event(treatment_id, K.COMPLICATION)
    treatments.cancel(desk.clinic, STAFF, treatment_id, "It did not take place.")
    assert kinds(desk) == []  # nothing of it is paused any more, and nobody could resolve it


def test_a_complication_entered_late_that_was_over_already_is_no_line(desk: Desk) -> None:
    _, treatment_id = treated(desk)
    desk.tick(hours=5)
    desk.event(treatment_id, K.COMPLICATION, "2026-11-23T10:00")
    over = desk.event(treatment_id, K.COMPLICATION_RESOLVED, "2026-11-23T12:00")
    desk.event(treatment_id, K.COMPLICATION, "2026-11-23T11:00")
    assert kinds(desk) == []
    assert desk.stands("after-visit") == "scheduled"
    events.retract(desk.clinic, STAFF, over, "It is not over.")
    assert kinds(desk) == ["complication", "complication"]


@pytest.mark.parametrize("reason", [StopReason.DECEASED, StopReason.LEFT])
def test_nobody_is_told_to_ring_a_patient_who_has_died_or_left(desk: Desk, reason: StopReason) -> None:
    patient_id, treatment_id = treated(desk)
    desk.event(treatment_id, K.CALL_REQUESTED)
    desk.event(treatment_id, K.COMPLICATION)
    desk.event(treatment_id, K.PARTNER_WANTED)
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-11-23T11:00")
    desk.tick(days=2)
    sweep(desk.clinic)
    assert {L.CALL_ASKED, L.COMPLICATION, L.RELEASE_ASKED, L.VISIT_PASSED} <= {k.kind for k in worklist(desk).lines}
    desk.stop(patient_id, reason)
    assert [line.kind for line in worklist(desk).lines] == [L.UNSIGNED]  # the record is signed all the same
    assert list(worklist(desk).visits) == []


@pytest.mark.parametrize("reason", [StopReason.OPTED_OUT, StopReason.UNSAFE, StopReason.OTHER])
def test_who_wants_no_mails_is_rung_all_the_same(desk: Desk, reason: StopReason) -> None:
    patient_id, treatment_id = treated(desk)
    desk.event(treatment_id, K.CALL_REQUESTED)
    desk.event(treatment_id, K.COMPLICATION)
    desk.stop(patient_id, reason)
    assert kinds(desk) == ["call_asked", "complication"]


def test_an_unknown_a_failed_and_a_missed_message_stay_until_somebody_acts(desk: Desk) -> None:
    treated(desk)
    desk.tick(hours=9)
    desk.send_due(AttemptOutcome.UNKNOWN)
    desk.tick(minutes=10)
    desk.send_due(AttemptOutcome.UNKNOWN)
    assert kinds(desk) == ["unknown"]
    desk.decide(desk.row("after-visit"), D.DONE, "I rang her.")
    assert kinds(desk) == []
    desk.treat(desk.enter(BEATRIX), at="2026-11-23T17:30")
    desk.tick(minutes=15)
    desk.send_due(AttemptOutcome.REFUSED, blames_address=True)
    assert kinds(desk) == ["failed", "address_refused"]
    failed = worklist(desk).lines[0].reminder
    assert failed is not None
    desk.decide(failed, D.DONE)
    assert kinds(desk) == ["address_refused"]
    desk.decide(failed, D.REOPEN)
    assert kinds(desk) == ["failed", "address_refused"]


def test_after_an_outage_one_line_a_patient_gathers_what_was_missed(desk: Desk) -> None:
    amina, _ = treated(desk)
    beatrix = desk.enter(BEATRIX)
    desk.treat(beatrix)
    desk.tick(days=40)
    sweep(desk.clinic)
    found = [line for line in worklist(desk).lines if line.kind is L.MISSED]
    assert {line.patient_id for line in found} == {amina, beatrix}
    assert [len(line.others) for line in found] == [1, 1]
    first = found[0]
    assert first.reminder is not None
    desk.decide(first.reminder, D.DONE)
    (again,) = [line for line in worklist(desk).lines if line.patient_id == first.patient_id and line.kind is L.MISSED]
    assert again.reminder is not None
    assert (again.reminder.id, len(again.others)) == (first.others[0].id, 0)


def test_a_new_address_takes_its_refusals_off_the_list(desk: Desk) -> None:
    patient_id, _ = treated(desk)
    desk.tick(hours=9)
    desk.send_due(AttemptOutcome.REFUSED, blames_address=True)
    assert kinds(desk) == ["failed", "address_refused"]
    desk.change(patient_id, email="amina.new@example.org")
    assert kinds(desk) == ["address_unconfirmed"]
    desk.change(patient_id, confirmed="yes")
    assert kinds(desk) == []


def test_what_is_not_known_of_her_is_one_line_a_patient_about_the_first_message(desk: Desk) -> None:
    patient_id = desk.enter(AMINA, email=None, confirmed=None, consent=None)
    desk.treat(patient_id)
    (line,) = [line for line in worklist(desk).lines if line.kind is not L.UNSIGNED]
    assert (line.kind, line.at) == (L.CONSENT_MISSING, desk.row("after-visit").due_at)
    desk.change(patient_id, consent="all")
    assert kinds(desk) == ["address_missing"]
    desk.change(patient_id, email="amina@example.org")
    assert kinds(desk) == ["address_unconfirmed"]


def test_a_question_is_asked_until_it_is_answered(desk: Desk) -> None:
    _, treatment_id = treated(desk)
    desk.tick(hours=9)
    desk.send_due()
    treatments.move(desk.clinic, STAFF, treatment_id, "2026-11-24T10:00")
    desk.tick()
    assert kinds(desk) == ["question"]
    found = worklist(desk)
    question = found.lines[0].question
    assert question is not None
    assert found.title(question) != ""
    desk.decide(desk.row("after-visit"), D.KEEP)
    assert kinds(desk) == []


def test_a_visit_is_todays_until_it_starts_and_then_asked_about_until_it_is_written_down(desk: Desk) -> None:
    patient_id, treatment_id = treated(desk)
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-08T14:00")
    desk.tick(days=14)  # 7 December, 09:00
    assert (list(worklist(desk).visits), kinds(desk)) == ([], [])
    desk.tick(days=1, hours=5)
    assert [line.patient_id for line in worklist(desk).visits] + only(desk, L.VISIT_PASSED) == [patient_id]
    desk.tick(minutes=1)
    assert (list(worklist(desk).visits), only(desk, L.VISIT_PASSED)) == ([], [patient_id])
    desk.tick(days=30)
    assert only(desk, L.VISIT_PASSED) == [patient_id]  # never inferred
    desk.event(treatment_id, K.REVIEW_COMPLETED)
    assert only(desk, L.VISIT_PASSED) == []


def test_visits_of_today_are_those_of_the_clinics_day(desk: Desk) -> None:
    far = desk.with_settings(CLINIC_TIME_ZONE="Pacific/Auckland")  # 23 November, 22:00 there
    treatment_id = far.treat(far.enter(AMINA), at="2026-11-23T21:00").treatment_id
    far.event(treatment_id, K.REVIEW_BOOKED, "2026-11-23T23:30")
    assert len(worklist(far).visits) == 1
    far.event(treatment_id, K.REVIEW_BOOKED, "2026-11-24T00:00")
    assert len(worklist(far).visits) == 0
    far.tick(hours=2)  # just after midnight: it has begun
    assert (len(worklist(far).visits), len(only(far, L.VISIT_PASSED))) == (0, 1)


def test_many_visits_that_nobody_wrote_down_do_not_hide_those_of_today(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.worklist.EACH", 2)
    patient_id = desk.enter(AMINA)
    for number in range(5):
        treatment_id = desk.treat(patient_id, at=f"2026-11-20T09:{number:02}", replaces=False).treatment_id
        desk.event(treatment_id, K.REVIEW_BOOKED, "2026-11-22T10:00")
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-11-23T16:00", review="six-week")
    found = worklist(desk)
    assert len([line for line in found.lines if line.kind is L.VISIT_PASSED]) == 2
    assert found.more >= {L.VISIT_PASSED}
    assert [line.patient_id for line in found.visits] == [patient_id]


def test_a_review_is_to_book_then_overdue_and_a_missed_one_is_told_at_once(desk: Desk) -> None:
    _, treatment_id = treated(desk)
    desk.tick(days=6, hours=14)
    assert kinds(desk) == []
    desk.tick(hours=10)  # 30 November: a week before it is due
    assert only(desk, L.REVIEW_TO_BOOK) != []
    desk.tick(days=10)  # its tolerance ends on 10 December
    assert only(desk, L.REVIEW_TO_BOOK) != []
    desk.tick(days=1)
    assert (only(desk, L.REVIEW_TO_BOOK), len(only(desk, L.REVIEW_OVERDUE))) == ([], 1)
    desk.event(treatment_id, K.REVIEW_COMPLETED)
    assert only(desk, L.REVIEW_OVERDUE) == []


def test_a_visit_missed_long_before_the_review_is_due_is_on_the_list(desk: Desk) -> None:
    _, treatment_id = treated(desk)
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-11-24T10:00", review="six-week")
    desk.tick(days=1, hours=3)
    desk.event(treatment_id, K.REVIEW_MISSED, review="six-week")
    assert kinds(desk) == ["review_missed"]


def test_a_review_is_not_forgotten_when_no_message_of_its_plan_is_left(desk: Desk) -> None:
    desk.write_protocol(SHORT, "short")
    desk.approve_unseen()
    patient_id = desk.enter(AMINA)
    treatment_id = desk.treat(patient_id, protocol="short").treatment_id
    desk.tick(hours=9)
    desk.send_due()
    desk.tick(days=9)
    sweep(desk.clinic)
    assert kinds(desk) == ["review_to_book"]
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-08T10:00")
    desk.tick(days=6)
    assert kinds(desk) == ["visit_passed"]
    desk.event(treatment_id, K.REVIEW_MISSED)
    assert kinds(desk) == ["review_missed"]
    desk.event(treatment_id, K.COMPLETE)
    assert kinds(desk) == []
    with desk.store.write("test", desk.clock.now()) as session:
        replan(session, desk.clinic, patient_id)
    assert kinds(desk) == []


def test_who_agreed_to_no_message_has_her_review_all_the_same_and_history_is_not_asked_for(desk: Desk) -> None:
    desk.write_protocol(SHORT, "short")
    desk.approve_unseen()
    none = desk.enter(BEATRIX, consent="none")
    desk.treat(none, protocol="short")
    old = desk.enter(CARMEN)
    desk.treat(old, at="2026-03-02T09:00", protocol="short")
    desk.tick(days=10)
    assert only(desk, L.REVIEW_TO_BOOK) == [none]
    assert kinds(desk) == ["review_to_book"]


def test_a_line_for_staff_comes_with_the_sweep_and_comes_back_when_its_end_was_a_mistake(desk: Desk) -> None:
    treated(desk)
    desk.tick(days=21)
    sweep(desk.clinic)
    assert L.FOR_STAFF in {line.kind for line in worklist(desk).lines}
    desk.decide(desk.row("no-review-yet"), D.DONE, "She comes on Friday.")
    assert only(desk, L.FOR_STAFF) == []
    desk.decide(desk.row("no-review-yet"), D.REOPEN)
    sweep(desk.clinic)
    assert len(only(desk, L.FOR_STAFF)) == 1


def test_a_record_waits_to_be_signed_a_day_after_it_was_written_or_the_treatment_done(desk: Desk) -> None:
    patient_id, treatment_id = treated(desk)
    ahead = desk.treat(desk.enter(ESME), at="2026-11-26T09:00").treatment_id
    desk.tick(hours=23)
    assert only(desk, L.UNSIGNED) == []
    desk.tick(hours=2)
    assert only(desk, L.UNSIGNED) == [patient_id]
    signing.fill_in(desk.clinic, STAFF, treatment_id, {}, "Dr Novak")
    assert only(desk, L.UNSIGNED) == []  # written just now
    signing.sign(desk.clinic, STAFF, treatment_id)
    desk.tick(days=3)
    assert len(only(desk, L.UNSIGNED)) == 1
    treatments.cancel(desk.clinic, STAFF, ahead, "She did not come.")
    assert only(desk, L.UNSIGNED) == []


def test_what_nobody_settles_one_by_one_is_counted(draft_desk: Desk) -> None:
    desk = draft_desk
    patient_id = desk.enter(AMINA)
    desk.treat(patient_id)
    assert worklist(desk).counted == {Reason.NOT_APPROVED: len(desk.rows())}
    assert kinds(desk) == []


def test_an_undone_import_leaves_no_line(desk: Desk) -> None:
    patient_id, treatment_id = treated(desk)
    desk.event(treatment_id, K.CALL_REQUESTED)
    with desk.store.write("test", desk.clock.now()) as session:
        stored_imports.void(session, [patient_id])
    assert (kinds(desk), list(worklist(desk).leaving)) == ([], [])


def test_with_three_hundred_held_messages_the_list_keeps_its_limits_and_its_queries(desk: Desk) -> None:
    week = COURSE.replace('anchor = "solo_started"', 'anchor = "treatment"').replace("count = 3", "count = 40")
    desk.write_protocol(week.replace("version = 1", "version = 2"))
    desk.approve_unseen()
    for person in (AMINA, BEATRIX, CARMEN, DANUTA, ESME, GRETA, FENG):
        desk.treat(desk.enter(person, confirmed=None))
    few = counted(desk)
    patient_id = desk.enter(AMINA, record_number=None, confirmed=None)
    for hour in range(8, 12):
        desk.treat(patient_id, at=f"2026-11-23T{hour:02}:00", replaces=False)
    assert len([row for row in desk.rows() if row.reason is Reason.ADDRESS_UNCONFIRMED]) > 300
    many = counted(desk)
    assert few == many <= MOST
    found = worklist(desk)
    assert len(only(desk, L.ADDRESS_UNCONFIRMED)) == 8
    assert L.ADDRESS_UNCONFIRMED in found.more  # so many rows that a patient may be missing: the board lists all


def counted(desk: Desk) -> int:
    """How many queries the list takes."""
    worklist(desk)  # the shelf is read
    with counting(desk.store) as sent:
        worklist(desk)
    return len(sent)


def test_calls_beyond_the_limit_are_said_to_be_there(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.worklist.EACH", 2)
    patient_id = desk.enter(AMINA)
    for number in range(3):
        treatment_id = desk.treat(patient_id, at=f"2026-11-20T09:{number:02}", replaces=False).treatment_id
        desk.event(treatment_id, K.CALL_REQUESTED)
    found = worklist(desk)
    assert len(only(desk, L.CALL_ASKED)) == 2
    assert found.more >= {L.CALL_ASKED}
