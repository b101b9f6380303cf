"""A batch once it is written: held until it is released, looked at before it is undone; use cases and pages."""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from db import audit
from db import patients as stored_patients
from db.conditions import waiting as db_waiting
from db.follow_up import CarePlan, Reminder
from db.states import CarePlanStatus, EventKind, ReminderState, Role
from db.vault import KeyRing
from scheduler import events, import_batches, imports
from scheduler.care_plans import replan
from scheduler.clinic import Clinic
from scheduler.errors import NotFound, Refused
from scheduler.import_batches import Released, UndoAhead
from scheduler.import_file import parse
from scheduler.import_sheet import Brings, sheet_of
from scheduler.planning.patient_plan import PatientPlan
from tests.clinic import STAFF, Desk
from tests.people import AMINA
from tests.staffed import KEYS, Browser, Staffed, place
from tests.waiting import finished

HEADS = "record_number,given_name,family_name,email,consent,confirmed,protocol,treated_at,review_booked_at"
ROWS = (
    "R1,Amina,Yusuf,amina@example.org,all,yes,course,2026-11-23T08:30,2026-12-07T14:00",
    "R2,Bea,Moor,bea@example.org,all,yes,course,2026-11-22T10:00,",
    "A-1001,,,,,,course,2026-11-23T08:00,",
    "R3,Chloé,Łaska,,,,,,",
)


@pytest.fixture
def keyring() -> KeyRing:
    """The keys that the secrets of the tests' staff are hashed with."""
    return KEYS


def imported(desk: Desk, rows: Sequence[str] = ROWS, hold: bool = True) -> UUID:
    """A batch, with Amina Farouk of the record in it."""
    with desk.store.read() as session:
        known = stored_patients.find_by_record_number(session, "A-1001")
    if known is None:
        desk.enter(AMINA)
    file = parse("\n".join([HEADS, *rows]).encode(), "the file")
    report = imports.run_import(desk.clinic, STAFF, file, hold=hold)
    desk.tick()
    assert report.batch_id is not None
    return report.batch_id


def plan_of(desk: Desk, number: str) -> CarePlan:
    """The one plan of a patient by her record number."""
    with desk.store.read() as session:
        patient = stored_patients.find_by_record_number(session, number)
        assert patient is not None
        return session.scalars(select(CarePlan).where(CarePlan.patient_id == patient.id)).one()


def waiting(desk: Desk, batch_id: UUID) -> int:
    """How many plans wait for the release."""
    with desk.store.read() as session:
        return import_batches.look(session, desk.clinic, batch_id).waiting


def ahead(desk: Desk, batch_id: UUID) -> UndoAhead:
    """What undoing would do."""
    with desk.store.read() as session:
        return import_batches.look_at_undo(session, batch_id)


# Releasing


def test_a_release_resumes_every_plan_each_patient_by_herself(desk: Desk) -> None:
    batch_id = imported(desk)
    assert waiting(desk, batch_id) == 3
    seen: list[tuple[int, int]] = []
    released = import_batches.release(desk.clinic, STAFF, batch_id, lambda done, total: seen.append((done, total)))
    assert (released.plans, seen, waiting(desk, batch_id)) == (3, [(1, 3), (2, 3), (3, 3)], 0)
    assert {row.state for row in desk.rows()} <= {ReminderState.SCHEDULED, ReminderState.MISSED, ReminderState.HELD}
    assert "hold" not in {str(row.reason) for row in desk.rows()}
    desk.nothing_left()
    with desk.store.read() as session:
        actions = [event.action for event in audit.list_events(session)]
        assert audit.verify(session)[1] == []
    assert (actions.count("import.released"), actions.count("event.resume")) == (1, 3)
    assert import_batches.release(desk.clinic, STAFF, batch_id).plans == 0


def test_what_a_person_held_or_resumed_by_hand_stays_as_she_left_it(desk: Desk) -> None:
    batch_id = imported(desk)
    held, resumed = plan_of(desk, "R1"), plan_of(desk, "R2")
    desk.event(held.treatment_id, EventKind.HOLD)
    desk.event(resumed.treatment_id, EventKind.RESUME)
    assert waiting(desk, batch_id) == 1
    assert import_batches.release(desk.clinic, STAFF, batch_id).plans == 1
    assert plan_of(desk, "R1").status is CarePlanStatus.ON_HOLD
    assert plan_of(desk, "R2").status is CarePlanStatus.ACTIVE
    assert import_batches.release(desk.clinic, STAFF, batch_id).plans == 0


def test_a_resume_that_was_taken_back_waits_for_the_release_again(desk: Desk) -> None:
    batch_id = imported(desk)
    event_id = desk.event(plan_of(desk, "R1").treatment_id, EventKind.RESUME)
    events.retract(desk.clinic, STAFF, event_id, "the wrong patient")
    desk.tick()
    assert import_batches.release(desk.clinic, STAFF, batch_id).plans == 3


def test_a_release_that_was_cut_short_goes_on_where_it_stopped(desk: Desk) -> None:
    batch_id = imported(desk)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        import_batches.release(desk.clinic, STAFF, batch_id, stop)
    assert waiting(desk, batch_id) == 1
    assert import_batches.release(desk.clinic, STAFF, batch_id).plans == 1


def test_a_patient_whose_plan_cannot_be_made_does_not_stop_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = imported(desk)
    hers = plan_of(desk, "R1").patient_id

    def fail_for_her(session: Session, clinic: Clinic, patient_id: UUID) -> PatientPlan:
        if patient_id == hers:
            raise LookupError("canary")
        return replan(session, clinic, patient_id)

    with monkeypatch.context() as patched:
        patched.setattr("scheduler.import_batches.replan", fail_for_her)
        assert import_batches.release(desk.clinic, STAFF, batch_id) == Released(2, 1)
    assert waiting(desk, batch_id) == 1
    assert plan_of(desk, "R1").status is CarePlanStatus.ON_HOLD
    assert import_batches.release(desk.clinic, STAFF, batch_id) == Released(1, 0)


def test_what_was_not_held_undone_or_never_there_is_not_released(desk: Desk) -> None:
    batch_id = imported(desk, hold=False)
    assert import_batches.release(desk.clinic, STAFF, batch_id).plans == 0
    imports.undo(desk.clinic, STAFF, batch_id)
    with pytest.raises(Refused, match="undone"):
        import_batches.release(desk.clinic, STAFF, batch_id)
    with pytest.raises(NotFound):
        import_batches.release(desk.clinic, STAFF, uuid4())


# Undoing


@pytest.mark.parametrize("released", [False, True])
def test_looking_at_an_undo_tells_what_it_then_does(released: bool, desk: Desk) -> None:
    batch_id = imported(desk)
    if released:
        import_batches.release(desk.clinic, STAFF, batch_id)
        desk.tick()
    with desk.unchanged():
        told = ahead(desk, batch_id)
    undone = imports.undo(desk.clinic, STAFF, batch_id)
    assert told == UndoAhead(undone.cancelled, undone.voided, undone.kept, undone.left)
    assert (undone.voided, undone.kept) == (3, 1)
    desk.tick()
    desk.nothing_left()
    with pytest.raises(Refused):
        ahead(desk, batch_id)


def test_who_got_a_message_or_was_changed_by_hand_stays(desk: Desk) -> None:
    batch_id = imported(desk)
    import_batches.release(desk.clinic, STAFF, batch_id)
    desk.change(plan_of(desk, "R2").patient_id, phone="020 7946 0000")
    desk.tick(hours=8, minutes=5)
    left = desk.send_due()
    told = ahead(desk, batch_id)
    assert told.left == left != []
    undone = imports.undo(desk.clinic, STAFF, batch_id)
    assert told == UndoAhead(undone.cancelled, undone.voided, undone.kept, undone.left)
    assert undone.voided == 1


def test_after_an_import_the_next_message_is_found_by_its_own_index(sqlite_desk: Desk) -> None:
    rows = [f"N{n},Nia,Okoro{n},n{n}@example.org,all,yes,course,2026-11-23T08:30," for n in range(400)]
    imported(sqlite_desk, rows, hold=False)
    with sqlite_desk.store.engine.connect() as connection:
        query = select(Reminder.ready_at).where(db_waiting()).order_by(Reminder.ready_at).limit(1)
        compiled = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").fetchall()
    assert "ix_reminders_ready" in str(plan)


# Samples, and the sheet of a check


def test_samples_are_of_different_texts_and_patients_first(desk: Desk) -> None:
    rows = [
        f"S{n},Nia,Okoro{n},n{n}@example.org,all,yes,course,2026-11-23T08:{n:02},2026-12-07T14:00" for n in range(9)
    ]
    batch_id = imported(desk, rows)
    with desk.store.read() as session:
        state = import_batches.look(session, desk.clinic, batch_id)
    assert len(state.samples) == 5
    texts = {one.row.template for one in state.samples}
    assert texts == {"after_visit", "visit_in_3_days", "choose_next_session"}
    assert len({one.row.patient_id for one in state.samples}) == 5
    assert [one.row.due_at for one in state.samples] == sorted(one.row.due_at for one in state.samples)
    assert state.due_soon == 9
    assert state.messages is not None
    assert sum(state.messages.values()) == 27


def test_the_sheet_says_of_each_row_what_it_brings(desk: Desk) -> None:
    desk.enter(AMINA)
    rows = [*ROWS, ROWS[0], "R2,,,,,,course,2026-11-10T10:00,"]
    checked, report = imports.look_at(desk.clinic, STAFF, parse("\n".join([HEADS, *rows]).encode(), "the file"))
    lines = sheet_of(checked, 50)
    assert [(line.line, line.brings, line.of_the_record) for line in lines] == [
        (2, Brings.PATIENT, False),
        (3, Brings.PATIENT, False),
        (4, Brings.TREATMENT, True),
        (5, Brings.PATIENT, False),
        (6, Brings.NOTHING, False),
        (7, Brings.TREATMENT, False),
    ]
    assert (lines[2].name, lines[0].name, lines[5].name) == ("Amina Farouk", "Amina Yusuf", "")
    assert (lines[0].booked_local, lines[0].treatment) == ("2026-12-07T14:00:00", "A course")
    assert (report.patients, report.treatments, report.skipped) == (3, 4, 1)
    assert len(sheet_of(checked, 2)) == 2


def test_what_would_come_out_otherwise_than_shown_is_not_written(desk: Desk, tmp_path: Path) -> None:
    file = parse("\n".join([HEADS, *ROWS[:2]]).encode(), "the file")
    _, shown = imports.look_at(desk.clinic, STAFF, file)
    desk.enter(record_number="R1", given_name="Amina", family_name="Yusuf", email="amina@example.org")
    with pytest.raises(Refused, match="the record changed"):
        imports.run_import(desk.clinic, STAFF, file, shown=shown)
    assert imports.list_batches(desk.clinic) == []


# The pages


@pytest.fixture
def dana(sqlite_desk: Desk) -> Browser:
    """A manager at work."""
    return Staffed(sqlite_desk.clinic).at_work("dana", Role.MANAGER)


async def test_a_batch_is_looked_at_released_and_undone_on_the_screen(sqlite_desk: Desk, dana: Browser) -> None:
    batch_id = imported(sqlite_desk)
    here = f"/import/{batch_id}"
    shown = (await dana.get(here)).text
    for told in ("Release these 3 plans", "held until the plans are released", "mails as they would read"):
        assert told in shown, told
    assert "3 plans wait for the release" in (await dana.get("/import")).text
    assert await finished(dana, await dana.post(f"{here}/release")) == f"{here}?done=import-released"
    shown = (await dana.get(f"{here}?done=import-released")).text
    assert "No plan of this import waits for a release" in shown
    assert "will be sent" in shown
    before = (await dana.get(f"{here}/undo")).text
    assert "<strong>3</strong> patients are taken out of the record" in before
    assert "<strong>1</strong> patient stays" in before
    assert await finished(dana, await dana.post(f"{here}/undo")) == f"{here}?done=import-undone"
    assert "Undone today" in (await dana.get(here)).text
    assert place(await dana.get(f"{here}/undo")) == here
    again = await dana.get(place(await dana.post(f"{here}/undo")))
    assert "was undone on 2026-11-23" in again.text
    assert (await dana.get(f"/import/{uuid4()}")).status_code == 404


async def test_what_mails_say_inside_is_for_clinicians(sqlite_desk: Desk) -> None:
    batch_id = imported(sqlite_desk)
    staffed = Staffed(sqlite_desk.clinic)
    manager = (await staffed.at_work("dana", Role.MANAGER).get(f"/import/{batch_id}")).text
    both = (await staffed.at_work("novak", Role.MANAGER, Role.CLINICIAN).get(f"/import/{batch_id}")).text
    assert "Rest for a day." in both
    assert "Rest for a day." not in manager
    assert "Hello Bea" in both
    assert "Hello Bea" not in manager
    assert "What mails say inside is for clinicians." in manager
    with sqlite_desk.store.read() as session:
        shown = [event for event in audit.list_events(session) if event.action == "message.previewed"]
    assert {event.actor for event in shown} == {"staff:dana", "staff:novak"}
    assert len({event.patient_id for event in shown}) == 3


async def test_a_batch_whose_messages_are_all_past_says_so(sqlite_desk: Desk, dana: Browser) -> None:
    batch_id = imported(sqlite_desk, ["R9,Ola,Berg,ola@example.org,all,yes,course,2025-01-03T10:00,"])
    shown = (await dana.get(f"/import/{batch_id}")).text
    assert "No message of this import is still to come." in shown
    assert "not sent: its time had already passed when it was planned" in shown
