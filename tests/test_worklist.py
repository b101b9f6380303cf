"""The staff's list of the day: what comes on it, in which order, and what takes it off again.

Each of its queries is asked on both databases; what follows from the same rows, on one.
"""

import pytest

from db import imports as stored_imports
from db.states import AttemptOutcome, DecisionKind, EventKind, Reason, StopReason
from scheduler import events, signing, treatments
from scheduler.recovery import sweep
from scheduler.worklist import LineKind
from tests.clinic import COURSE, STAFF, Desk
from tests.counted import MOST, counting
from tests.one_database import on_one
from tests.people import AMINA, BEATRIX, CARMEN, DANUTA, ESME, FENG, GRETA
from tests.worklist_parts import kinds, only, treated, worklist

K, D, L = EventKind, DecisionKind, LineKind


@on_one
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


@on_one
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


@on_one
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


@on_one
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


@on_one
def test_a_new_address_takes_its_refusals_off_the_list(desk: Desk) -> None:
    patient_id, _ = treated(desk)
    desk.tick(hours=9)
    desk.send_due(AttemptOutcome.REFUSED, blames_address=True)
    assert kinds(desk) == ["failed", "address_refused"]
    desk.change(patient_id, email="amina.new@example.org")
    assert kinds(desk) == ["address_unconfirmed"]
    desk.change(patient_id, confirmed="yes")
    assert kinds(desk) == []


@on_one
def test_what_is_not_known_of_her_is_one_line_a_patient_about_the_first_message(desk: Desk) -> None:
    patient_id = desk.enter(AMINA, email=None, confirmed=None, consent=None)
    desk.treat(patient_id)
    (line,) = [line for line in worklist(desk).lines if line.kind is not L.UNSIGNED]
    assert (line.kind, line.at) == (L.CONSENT_MISSING, desk.row("after-visit").due_at)
    desk.change(patient_id, consent="all")
    assert kinds(desk) == ["address_missing"]
    desk.change(patient_id, email="amina@example.org")
    assert kinds(desk) == ["address_unconfirmed"]


@on_one
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


@on_one
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


@on_one
def test_calls_beyond_the_limit_are_said_to_be_there(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.worklist.MOST", 2)
    patient_id = desk.enter(AMINA)
    for number in range(3):
        treatment_id = desk.treat(patient_id, at=f"2026-11-20T09:{number:02}", replaces=False).treatment_id
        desk.event(treatment_id, K.CALL_REQUESTED)
    found = worklist(desk)
    assert len(only(desk, L.CALL_ASKED)) == 2
    assert found.more >= {L.CALL_ASKED}
