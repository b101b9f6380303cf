"""Every kind of event on both databases: stored, planned, audited, and planned again in vain."""

from uuid import UUID, uuid4

import pytest

from db import care_plans as stored
from db import treatments as stored_treatments
from db.states import CarePlanStatus, EventKind, ReviewStatus
from scheduler import events, treatments
from scheduler.errors import InvalidInput, NotFound, Refused
from tests.clinic import STAFF, Desk
from tests.people import AMINA

K = EventKind


def plan_status(desk: Desk, treatment_id: UUID) -> CarePlanStatus:
    """How the care plan stands."""
    with desk.store.read() as session:
        return treatments.get_plan(session, treatment_id).status


def review_status(desk: Desk, treatment_id: UUID, key: str = "two-week") -> tuple[ReviewStatus, bool]:
    """How one review stands, and whether somebody still has to book it or to write it down."""
    with desk.store.read() as session:
        plan = treatments.get_plan(session, treatment_id)
        row = next(row for row in stored.list_reviews(session, [plan.id]) if row.key == key)
        return row.status, row.open


@pytest.fixture
def treatment_id(desk: Desk) -> UUID:
    """Amina's treatment of 23 November, 09:30."""
    return desk.treat(desk.enter(AMINA), fields={"lot": "C1234"}).treatment_id


def test_every_kind_of_event_is_stored_audited_and_planned(desk: Desk, treatment_id: UUID) -> None:
    course: list[tuple[EventKind, str | None]] = [
        (K.COMPLICATION, None),
        (K.COMPLICATION_RESOLVED, None),
        (K.HOLD, None),
        (K.RESUME, None),
        (K.REVIEW_BOOKED, "2026-12-08T14:00"),
        (K.REVIEW_CANCELLED, None),
        (K.REVIEW_BOOKED, "2026-12-09T14:00"),
        (K.REVIEW_MISSED, None),
        (K.REVIEW_COMPLETED, None),
        (K.SOLO_STARTED, None),
        (K.CALL_REQUESTED, None),
        (K.CALL_CLOSED, None),
        (K.PARTNER_NOT_WANTED, None),
        (K.PARTNER_WANTED, None),
        (K.PARTNER_RELEASED, None),
        (K.PARTNER_REVOKED, None),
        (K.HEALING_CLEARED, None),
        (K.SESSION_BOOKED, "2026-12-20T10:00"),
        (K.EXERCISE_SET, None),
        (K.CHECKED_IN, None),
        (K.STEPPED_BACK, None),
        (K.PAUSED, "2026-12-20T10:00"),
        (K.UNPAUSED, None),
        (K.VISIT_CONFIRMED, None),
        (K.QUESTIONS_ANSWERED, None),
        (K.COMPLETE, None),
        (K.STOP, None),
    ]
    assert {kind for kind, _ in course} == set(EventKind)
    recorded = []
    for kind, at in course:
        recorded.append(desk.event(treatment_id, kind, at))
        desk.nothing_left()
    with desk.store.read() as session:
        plan = treatments.get_plan(session, treatment_id)
        found = stored.list_events(session, [plan.id])
    assert [(event.id, event.kind) for event in found] == [
        (event_id, kind) for event_id, (kind, _) in zip(recorded, course, strict=True)
    ]
    assert {event.recorded_by for event in found} == {STAFF}
    told = [event for event in desk.audit() if event["action"].startswith("event.")]
    assert [event["action"] for event in told] == [f"event.{kind.value}" for kind, _ in course]
    assert [event["subject_id"] for event in told] == [str(event_id) for event_id in recorded]


def test_taking_every_event_back_leads_back_to_the_first_plan(desk: Desk, treatment_id: UUID) -> None:
    def live() -> list[tuple[object, ...]]:
        return [(r.step, r.occurrence, r.state, r.due_at, r.basis) for r in desk.rows() if r.state == "scheduled"]

    before = live()
    made = [
        desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-08T14:00"),
        desk.event(treatment_id, K.SOLO_STARTED),
        desk.event(treatment_id, K.PARTNER_RELEASED),
        desk.event(treatment_id, K.COMPLICATION, fields={"what": "fever"}),
        desk.event(treatment_id, K.STOP),
    ]
    assert live() == []
    for event_id in reversed(made):
        events.retract(desk.clinic, STAFF, event_id, "Entered for someone else.")
        desk.tick()
        desk.nothing_left()
    assert live() == before


def test_a_booked_visit_is_announced_and_a_new_booking_replaces_it(desk: Desk, treatment_id: UUID) -> None:
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-08T14:00", fields={"place": "Room 2"})
    row = desk.row("visit-in-3-days")
    assert (row.state, row.due_local, row.occurrence) == ("scheduled", "2026-12-05T10:00:00", 1)
    assert review_status(desk, treatment_id) == (ReviewStatus.BOOKED, True)
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-10T14:00")
    moved = desk.row("visit-in-3-days")
    assert (moved.id, moved.due_local) == (row.id, "2026-12-07T10:00:00")
    desk.event(treatment_id, K.REVIEW_CANCELLED)
    assert desk.stands("visit-in-3-days") == "cancelled:no_longer_applies"
    assert review_status(desk, treatment_id) == (ReviewStatus.DUE, True)


def test_an_event_is_about_the_first_review_not_completed(desk: Desk, treatment_id: UUID) -> None:
    desk.event(treatment_id, K.REVIEW_COMPLETED)
    desk.event(treatment_id, K.REVIEW_BOOKED, "2027-01-04T14:00")
    assert desk.row("visit-in-3-days", occurrence=2).state == "scheduled"
    assert desk.stands("no-review-yet") == "cancelled:review_completed"
    desk.event(treatment_id, K.REVIEW_COMPLETED)
    with desk.unchanged(), pytest.raises(InvalidInput, match="all reviews are completed"):
        desk.event(treatment_id, K.REVIEW_COMPLETED)
    desk.event(treatment_id, K.REVIEW_COMPLETED, review="six-week")  # named: a correction


def test_a_missed_visit_is_followed_without_a_wait(desk: Desk, treatment_id: UUID) -> None:
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-08T14:00")
    desk.tick(days=15, hours=6)
    desk.event(treatment_id, K.REVIEW_MISSED)
    assert desk.row("visit-missed").due_local == "2026-12-09T10:00:00"
    assert review_status(desk, treatment_id) == (ReviewStatus.MISSED, True)


def test_the_part_with_a_partner_exists_only_after_its_release(desk: Desk, treatment_id: UUID) -> None:
    def partner() -> list[str]:
        return [row.state.value for row in desk.rows() if row.step == "next-part"]

    desk.event(treatment_id, K.SOLO_STARTED)
    assert partner() == []
    desk.event(treatment_id, K.PARTNER_RELEASED)
    assert partner() == ["scheduled"]
    assert desk.stands("alone", occurrence=1) == "cancelled:partner_released"
    desk.event(treatment_id, K.PARTNER_REVOKED)
    assert partner() == ["cancelled"]
    assert desk.stands("next-part") == "cancelled:partner_revoked"
    assert desk.stands("alone", occurrence=1) == "scheduled"


def test_a_complication_holds_and_its_end_gives_back(desk: Desk, treatment_id: UUID) -> None:
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-08T14:00")
    event_id = desk.event(treatment_id, K.COMPLICATION, fields={"what": "fever", "since": "Sunday"})
    assert desk.stands("after-visit") == "held:complication"
    assert desk.stands("visit-in-3-days") == "scheduled"  # about her visit, it goes on
    with desk.store.read() as session:
        (found,) = stored_treatments.list_adverse_events(session, desk.row("after-visit").patient_id)
        assert (found.fields, found.reported_by_event_id) == ({"what": "fever", "since": "Sunday"}, event_id)
        assert found.lot_index == stored_treatments.get_content(session, treatment_id).lot_index
    resolved = desk.event(treatment_id, K.COMPLICATION_RESOLVED)
    assert desk.stands("after-visit") == "scheduled"
    with desk.store.read() as session:
        (found,) = stored_treatments.list_adverse_events(session, desk.row("after-visit").patient_id)
        assert found.resolved_by_event_id == resolved
    events.retract(desk.clinic, STAFF, resolved, "It is not over.")
    assert desk.stands("after-visit") == "held:complication"
    with desk.store.read() as session:
        (found,) = stored_treatments.list_adverse_events(session, desk.row("after-visit").patient_id)
        assert found.resolved_by_event_id is None


def test_a_plan_is_held_resumed_stopped_and_completed(desk: Desk, treatment_id: UUID) -> None:
    desk.event(treatment_id, K.HOLD)
    assert (plan_status(desk, treatment_id), desk.stands("after-visit")) == (CarePlanStatus.ON_HOLD, "held:hold")
    desk.event(treatment_id, K.RESUME)
    assert (plan_status(desk, treatment_id), desk.stands("after-visit")) == (CarePlanStatus.ACTIVE, "scheduled")
    completed = desk.event(treatment_id, K.COMPLETE)
    assert plan_status(desk, treatment_id) is CarePlanStatus.COMPLETED
    assert desk.stands("no-review-yet") == "cancelled:plan_completed"
    assert review_status(desk, treatment_id) == (ReviewStatus.DUE, False)
    events.retract(desk.clinic, STAFF, completed, "Too early.")
    desk.tick()
    assert (plan_status(desk, treatment_id), desk.stands("after-visit")) == (CarePlanStatus.ACTIVE, "scheduled")
    desk.event(treatment_id, K.STOP)
    assert plan_status(desk, treatment_id) is CarePlanStatus.REVOKED
    assert desk.stands("after-visit") == "cancelled:plan_stopped"


def test_healing_and_the_next_session_have_their_own_messages(desk: Desk, treatment_id: UUID) -> None:
    desk.event(treatment_id, K.HEALING_CLEARED)
    assert desk.row("cleared").due_local == "2026-11-24T10:00:00"
    desk.event(treatment_id, K.SESSION_BOOKED, "2026-12-20T10:00")
    assert desk.stands("next-session") == "cancelled:no_longer_applies"


def test_a_plan_with_nothing_left_is_completed_by_itself(desk: Desk, treatment_id: UUID) -> None:
    desk.event(treatment_id, K.SESSION_BOOKED)
    desk.event(treatment_id, K.REVIEW_COMPLETED)
    assert plan_status(desk, treatment_id) is CarePlanStatus.ACTIVE
    desk.tick(hours=9)
    desk.send_due()
    assert plan_status(desk, treatment_id) is CarePlanStatus.COMPLETED
    assert review_status(desk, treatment_id, "six-week") == (ReviewStatus.DUE, True)  # it is still to be held
    desk.nothing_left()
    desk.event(treatment_id, K.REVIEW_BOOKED, "2027-01-04T14:00")  # a fact wakes it
    assert plan_status(desk, treatment_id) is CarePlanStatus.ACTIVE


def test_a_wrong_event_changes_nothing(desk: Desk, treatment_id: UUID) -> None:
    wrong: list[tuple[EventKind, str | None, dict[str, object], str]] = [
        (K.REVIEW_BOOKED, None, {}, "say when it is"),
        (K.REVIEW_BOOKED, "2026-12-08", {}, "has no time"),
        (K.REVIEW_BOOKED, "2036-12-08T14:00", {}, "ahead"),
        (K.REVIEW_BOOKED, "9999-12-08T14:00", {}, "1900 to 2200"),
        (K.REVIEW_BOOKED, "2027-03-28T01:30", {}, "does not exist"),
        (K.REVIEW_BOOKED, "2026-12-08T14:00", {"review": "three-week"}, "none of two-week, six-week"),
        (K.COMPLICATION, None, {"review": "two-week"}, "not about a review"),
        (K.COMPLICATION, "2026-11-24T10:00", {}, "lies in the future"),
        (K.REVIEW_COMPLETED, "2026-12-08T14:00", {}, "lies in the future"),
        (K.COMPLICATION, "1990-11-24T10:00", {}, "30 years ago"),
        (K.COMPLICATION, None, {"fields": {"what": "a\x00b"}}, "control characters"),
        (K.COMPLICATION, None, {"fields": {"Amina Farouk": "fever"}}, "small letters"),
    ]
    with desk.unchanged():
        for kind, at, more, told in wrong:
            with pytest.raises(InvalidInput, match=told) as found:
                desk.event(treatment_id, kind, at, **more)
            assert "Farouk" not in str(found.value)
        with pytest.raises(NotFound):
            desk.event(uuid4(), K.HOLD)
        with pytest.raises(NotFound):
            events.retract(desk.clinic, STAFF, uuid4(), "a reason")


def test_a_clock_that_runs_a_little_ahead_is_forgiven(desk: Desk, treatment_id: UUID) -> None:
    desk.event(treatment_id, K.HEALING_CLEARED, "2026-11-23T09:04")


def test_an_event_is_retracted_once_and_with_a_reason(desk: Desk, treatment_id: UUID) -> None:
    event_id = desk.event(treatment_id, K.HOLD)
    with desk.unchanged(), pytest.raises(InvalidInput, match="reason"):
        events.retract(desk.clinic, STAFF, event_id, "\n")
    events.retract(desk.clinic, STAFF, event_id, "Wrong plan.")
    with desk.unchanged(), pytest.raises(Refused, match="retracted already"):
        events.retract(desk.clinic, STAFF, event_id, "Wrong plan.")
    with desk.store.read() as session:
        plan = treatments.get_plan(session, treatment_id)
        assert stored.list_events(session, [plan.id]) == []
        assert [event.id for event in stored.list_events(session, [plan.id], with_retracted=True)] == [event_id]


def test_nothing_more_is_recorded_for_a_cancelled_treatment(desk: Desk, treatment_id: UUID) -> None:
    treatments.cancel(desk.clinic, STAFF, treatment_id, "Did not take place.")
    with desk.unchanged(), pytest.raises(Refused, match="cancelled"):
        desk.event(treatment_id, K.HOLD)
