"""What was done today at the desk, on both databases: who did what, and the one way to take it back."""

from pathlib import Path
from uuid import UUID

from db import imports as stored_imports
from db.states import AttemptOutcome, DecisionKind, EventKind
from scheduler import decisions, events, imports
from scheduler.done_today import SHOWN, Done, read_done
from scheduler.recovery import sweep
from tests.clinic import STAFF, Desk
from tests.counted import MOST, counting
from tests.one_database import on_one
from tests.people import AMINA, BEATRIX

K, D = EventKind, DecisionKind
IMPORT = """\
record_number,given_name,family_name,email,confirmed,consent,protocol,treated_at,review_booked_at
I-1,Ines,Moreau,ines@example.org,yes,all,course,2026-11-20T09:00,2026-12-04T09:00
"""


def done(desk: Desk) -> list[Done]:
    """The list, the last first."""
    with desk.store.read() as session:
        return list(read_done(session, desk.clinic).lines)


def told(desk: Desk) -> list[tuple[str, bool]]:
    """What was done, and whether it can be taken back."""
    found = []
    for line in done(desk):
        kind = line.event or line.decision
        assert kind is not None
        found.append((kind.value, bool(line.event_id or line.reminder_id)))
    return found


def treated(desk: Desk) -> UUID:
    """Amina's treatment of 23 November, 09:30."""
    return desk.treat(desk.enter(AMINA)).treatment_id


def test_events_and_decisions_are_told_with_their_way_back_and_taken_back_they_are_gone(desk: Desk) -> None:
    treatment_id = treated(desk)
    complication = desk.event(treatment_id, K.COMPLICATION)
    desk.event(treatment_id, K.COMPLICATION_RESOLVED)
    desk.decide(desk.row("after-visit"), D.HOLD)
    desk.decide(desk.row("next-session"), D.CANCEL)
    assert told(desk) == [
        ("cancel", True),
        ("hold", False),
        ("complication_resolved", True),
        ("complication", True),
    ]
    assert {line.actor for line in done(desk)} == {STAFF}
    desk.decide(desk.row("next-session"), D.REOPEN)
    events.retract(desk.clinic, STAFF, complication, "A mistake.")
    assert told(desk) == [("hold", False), ("complication_resolved", True)]


@on_one
def test_ended_and_taken_back_and_ended_again_it_is_told_once(desk: Desk) -> None:
    treated(desk)
    for _ in range(2):
        desk.decide(desk.row("next-session"), D.DONE)
        desk.decide(desk.row("next-session"), D.REOPEN)
    assert told(desk) == []
    desk.decide(desk.row("next-session"), D.DONE)
    assert told(desk) == [("done", True)]


@on_one
def test_only_the_last_word_about_a_message_can_be_taken_back(desk: Desk) -> None:
    treated(desk)
    desk.tick(days=3)
    sweep(desk.clinic)
    missed = desk.row("after-visit")
    desk.decide(missed, D.DONE)
    desk.decide(missed, D.REOPEN)
    desk.decide(missed, D.RETRY)
    assert told(desk) == [("retry", False)]
    desk.decide(desk.row("after-visit"), D.CANCEL)
    assert told(desk) == [("cancel", True), ("retry", False)]
    desk.decide(desk.row("after-visit"), D.SEND_AGAIN)
    assert told(desk) == [("send_again", False), ("cancel", False), ("retry", False)]


@on_one
def test_what_may_have_arrived_is_not_offered_to_come_back(desk: Desk) -> None:
    treated(desk)
    desk.tick(hours=9)
    desk.send_due(AttemptOutcome.UNKNOWN)
    desk.decide(desk.row("after-visit"), D.DONE, "I rang her.")
    assert told(desk) == [("done", False)]


@on_one
def test_the_day_is_the_clinics(desk: Desk) -> None:
    far = desk.with_settings(CLINIC_TIME_ZONE="Pacific/Auckland")  # 23 November, 22:00 there
    treatment_id = far.treat(far.enter(AMINA), at="2026-11-23T21:00").treatment_id
    far.event(treatment_id, K.HOLD)
    assert told(far) == [("hold", True)]
    far.tick(hours=2)  # 00:00 there, 11:00 in London
    assert told(far) == []
    assert told(desk) == [("hold", True)]


def test_an_import_and_an_undone_entry_are_not_the_desks_doing(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "import.csv"
    file.write_text(IMPORT, encoding="utf-8")
    imports.run_import(desk.clinic, STAFF, file)
    desk.tick()
    assert len(desk.audit("event.review_booked")) == 1
    assert told(desk) == []
    patient_id = desk.enter(BEATRIX)
    desk.event(desk.treat(patient_id).treatment_id, K.HOLD)
    desk.decide(desk.row("next-session", treatment_id=None), D.CANCEL)
    with desk.store.write("test", desk.clock.now()) as session:
        stored_imports.void(session, [patient_id])
    assert [line for line in done(desk) if line.patient_id == patient_id] == []


def test_however_much_was_done_the_list_is_short_and_takes_the_same_queries(desk: Desk) -> None:
    treatment_id = treated(desk)
    desk.event(treatment_id, K.CALL_REQUESTED)
    desk.decide(desk.row("next-session"), D.DONE)
    done(desk)  # the shelf is read
    with counting(desk.store) as few:
        done(desk)
    row = desk.row("after-visit")
    for _ in range(SHOWN // 2 + 1):
        decisions.decide(desk.clinic, STAFF, row.id, D.HOLD)
        decisions.decide(desk.clinic, STAFF, row.id, D.RESUME)
        desk.tick()
    with counting(desk.store) as many:
        assert len(done(desk)) == SHOWN
    assert len(many) == len(few) <= MOST // 3
