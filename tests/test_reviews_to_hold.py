"""Reviews on the staff's list: to book, today, passed, missed and overdue, until somebody wrote them down."""

import pytest

from db.states import EventKind
from scheduler.care_plans import replan
from scheduler.recovery import sweep
from scheduler.worklist import LineKind
from tests.clinic import Desk
from tests.one_database import on_one
from tests.people import AMINA, BEATRIX, CARMEN
from tests.worklist_parts import kinds, only, treated, worklist

K, L = EventKind, LineKind
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


@on_one
def test_visits_of_today_are_those_of_the_clinics_day(desk: Desk) -> None:
    far = desk.with_settings(CLINIC_TIME_ZONE="Pacific/Auckland")  # 23 November, 22:00 there
    treatment_id = far.treat(far.enter(AMINA), at="2026-11-23T21:00").treatment_id
    far.event(treatment_id, K.REVIEW_BOOKED, "2026-11-23T23:30")
    assert len(worklist(far).visits) == 1
    far.event(treatment_id, K.REVIEW_BOOKED, "2026-11-24T00:00")
    assert len(worklist(far).visits) == 0
    far.tick(hours=2)  # just after midnight: it has begun
    assert (len(worklist(far).visits), len(only(far, L.VISIT_PASSED))) == (0, 1)


@on_one
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


@on_one
def test_a_visit_missed_long_before_the_review_is_due_is_on_the_list(desk: Desk) -> None:
    _, treatment_id = treated(desk)
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-11-24T10:00", review="six-week")
    desk.tick(days=1, hours=3)
    desk.event(treatment_id, K.REVIEW_MISSED, review="six-week")
    assert kinds(desk) == ["review_missed"]


@on_one
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


@on_one
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
