"""Moving running plans to a new version, on both databases: what is shown before is what happens, and nothing else."""

from uuid import UUID

import pytest
from sqlalchemy import event as sql_event

from db import library as stored
from db.follow_up import CarePlan, Reminder
from db.records import Patient
from db.states import EventKind, OnUnknown, ReminderState, StepKind
from scheduler import approvals, protocol_edits, version_moves
from scheduler.care_plans import load
from scheduler.errors import NotFound, Refused
from scheduler.protocols import ProtocolInvalid
from scheduler.version_moves import Moved, PlanMove
from tests.clinic import COURSE, DOCTOR, STAFF, Desk
from tests.people import AMINA, BEATRIX, CARMEN

DANA = "staff:dana"
NEW_STEP = """
[[step]]
key = "how-are-you"
kind = "aftercare"
template = "how_are_you"
anchor = "treatment"
offset = "P3D"
at = "10:00"
expires_after = "P1D"
"""
# One message at another time, one gone, one new, one with another text and rule.
SECOND = (
    COURSE.replace('at = "17:00"', 'at = "18:00"')
    .replace('key = "next-session"', 'key = "next-session-at-last"')
    .replace('template = "visit_in_3_days"', 'template = "visit_tomorrow"')
    .replace('on_unknown = "ask"', 'on_unknown = "resend_once"')
    + NEW_STEP
)


def approve_second(desk: Desk, source: str = SECOND) -> UUID:
    """Write a new version on the screen and approve it; its id."""
    with desk.store.read() as session:
        newest = desk.clinic.library.shelf(session).list_versions("course")[-1]
    saved = protocol_edits.save(desk.clinic, DANA, "course", source, newest.content_hash)
    desk.tick()
    approvals.approve_protocol(desk.clinic, STAFF, approvals.scope_of(desk.clinic, "course"), DOCTOR)
    desk.tick()
    return saved.version_id


def preview(desk: Desk, after: UUID | None = None) -> list[PlanMove]:
    """What moving the plans would do."""
    with desk.store.read() as session:
        return version_moves.preview(session, desk.clinic, "course", after)


def plan_of(desk: Desk, treatment_id: UUID) -> CarePlan:
    """The care plan of a treatment."""
    with desk.store.read() as session:
        return session.query(CarePlan).filter_by(treatment_id=treatment_id).one()


def move(desk: Desk, target: UUID, *plans: UUID) -> Moved:
    """Move these plans, or all."""
    return version_moves.move(desk.clinic, DANA, "course", target, set(plans) or None)


def test_what_is_shown_is_what_happens(desk: Desk) -> None:
    treatment_id = desk.treat(desk.enter()).treatment_id
    desk.event(treatment_id, EventKind.REVIEW_BOOKED, "2026-12-07T10:00")
    target = approve_second(desk)
    with desk.unchanged():
        (shown,) = preview(desk)
    assert [change.row.step for change in shown.moved] == ["after-visit"]
    assert [change.row.step for change in shown.cancelled] == ["next-session"]
    assert {new.item.step.key for new in shown.new} == {"how-are-you", "next-session-at-last"}
    assert (shown.changed, shown.unchanged, shown.version) == ([], 2, 1)
    assert desk.row("after-visit").due_local == "2026-11-23T17:00:00", "a newer version moves nothing by itself"
    assert move(desk, target) == Moved(1, 0)
    assert desk.row("after-visit").due_local == "2026-11-23T18:00:00"
    assert desk.stands("next-session") == "cancelled:no_longer_applies"
    assert desk.stands("how-are-you") == "scheduled"
    assert [(event["actor"], event["fields"]) for event in desk.audit("plan.version_moved")] == [
        (DANA, ["protocol_version"])
    ]
    desk.nothing_left()
    assert preview(desk) == []
    assert move(desk, target) == Moved(0, 0)


def test_what_a_row_keeps_of_its_step_follows(desk: Desk) -> None:
    treatment_id = desk.treat(desk.enter()).treatment_id
    desk.event(treatment_id, EventKind.REVIEW_BOOKED, "2026-12-07T10:00")
    target = approve_second(desk)
    assert desk.row("visit-in-3-days").on_unknown is OnUnknown.ASK
    move(desk, target)
    row = desk.row("visit-in-3-days")
    assert (row.template, row.on_unknown, row.kind) == ("visit_tomorrow", OnUnknown.RESEND_ONCE, StepKind.REVIEW)


def test_what_was_sent_stays(desk: Desk) -> None:
    treatment_id = desk.treat(desk.enter()).treatment_id
    desk.tick(hours=9)
    (sent,) = desk.send_due()
    target = approve_second(desk)
    (shown,) = preview(desk)
    assert shown.moved == []
    move(desk, target)
    with desk.store.read() as session:
        row = session.get_one(Reminder, sent)
        assert (row.state, row.due_local) == (ReminderState.SENT, "2026-11-23T17:00:00")
    assert len([row for row in desk.rows(treatment_id) if row.step == "after-visit"]) == 1
    desk.nothing_left()


def test_only_chosen_plans_move_and_what_ended_meanwhile_is_left(desk: Desk) -> None:
    treatments = [desk.treat(desk.enter(person)).treatment_id for person in (AMINA, BEATRIX, CARMEN)]
    target = approve_second(desk)
    plans = [plan_of(desk, treatment_id).id for treatment_id in treatments]
    desk.event(treatments[1], EventKind.STOP)
    assert move(desk, target, *plans[:2]) == Moved(1, 1)
    moved = [plan_of(desk, treatment_id).protocol_version_id == target for treatment_id in treatments]
    assert moved == [True, False, False]
    assert [shown.plan.id for shown in preview(desk)] == [plans[2]]
    desk.nothing_left()


def test_plans_on_a_draft_that_was_overtaken_are_let_go(draft_desk: Desk) -> None:
    desk = draft_desk
    approvals.read_files(desk.clinic, STAFF)
    desk.treat(desk.enter())
    desk.write_protocol(COURSE.replace("version = 1", "version = 2"))
    desk.approve()
    assert desk.stands("after-visit") == "held:not_approved"
    (shown,) = preview(desk)
    assert {change.row.step for change in shown.changed} == {"after-visit", "next-session", "no-review-yet"}
    with desk.store.read() as session:
        outlook = version_moves.look(session, desk.clinic, "course")
    assert (outlook.plans, outlook.unsent) == (1, 2)
    move(desk, outlook.target.version_id)
    assert desk.stands("after-visit") == "scheduled"
    desk.nothing_left()


def test_another_version_approved_meanwhile_is_not_moved_to(desk: Desk) -> None:
    desk.treat(desk.enter())
    target = approve_second(desk)
    approve_second(desk, SECOND.replace("18:00", "16:00"))
    with desk.unchanged(), pytest.raises(Refused, match="another version was approved"):
        move(desk, target)


def test_without_an_approved_version_there_is_nowhere_to_go(draft_desk: Desk) -> None:
    approvals.read_files(draft_desk.clinic, STAFF)
    with draft_desk.store.read() as session:
        with pytest.raises(Refused, match="no version of this protocol is approved"):
            version_moves.look(session, draft_desk.clinic, "course")
        with pytest.raises(NotFound):
            version_moves.look(session, draft_desk.clinic, "corse")


def test_many_are_read_as_each_alone_in_a_few_queries(desk: Desk) -> None:
    for person in (AMINA, BEATRIX, CARMEN):
        treatment_id = desk.treat(desk.enter(person, consent="reviews" if person is CARMEN else "all")).treatment_id
        desk.event(treatment_id, EventKind.REVIEW_BOOKED, "2026-12-07T10:00")
        desk.event(treatment_id, EventKind.HOLD)
    desk.stop(desk.enter(BEATRIX, record_number="B-2"))
    approve_second(desk)
    with desk.store.read() as session:
        people = session.query(Patient).all()
        many = version_moves.load_many(session, desk.clinic, people)
        for patient in people:
            alone = load(session, desk.clinic, patient, lock=False)
            hers = many[patient.id]
            assert (hers.patient, hers.plans) == (alone.patient, alone.plans)
            assert sorted(hers.rows, key=repr) == sorted(alone.rows, key=repr)
            assert hers.questions == alone.questions
    statements = []
    with desk.store.read() as session:
        sql_event.listen(session.get_bind(), "before_cursor_execute", lambda *found: statements.append(found[2]))
        version_moves.preview(session, desk.clinic, "course")
    assert len(statements) <= 20, statements


def test_plans_are_shown_page_by_page(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_moves, "PAGE", 1)
    for person in (AMINA, BEATRIX):
        desk.treat(desk.enter(person))
    approve_second(desk)
    first, more = preview(desk)
    (last,) = preview(desk, first.plan.id)
    assert last.plan.id == more.plan.id
    with desk.store.read() as session:
        assert [stored.count_unsent(session, [first.plan.protocol_version_id], most) for most in (3, 9)] == [3, 4]


def test_a_mail_does_not_become_a_line_for_staff_under_the_same_key(desk: Desk) -> None:
    changed = COURSE.replace('template = "visit_missed"', 'template = "visit_missed"\naudience = "staff"')
    with desk.unchanged(), pytest.raises(ProtocolInvalid, match='its audience was "patient" in version 1'):
        approve_second(desk, changed)
    desk.write_protocol(changed.replace("version = 1", "version = 2"))
    (problem,) = approvals.read_files(desk.clinic, STAFF)
    assert problem.startswith("course.toml:49: ")
