"""Importing a CSV file: all rows or none, twice changes nothing, and the same plan as entering by hand."""

import csv
import json
import signal
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from db import audit, reminders
from db import patients as stored_patients
from db import treatments as stored_treatments
from db.follow_up import Reminder
from db.records import Patient
from db.states import Past, ReminderState, TreatmentStatus
from scheduler import imports
from scheduler.care_plans import replan
from scheduler.errors import InvalidInput, NotFound, Refused
from tests.clinic import STAFF, Desk
from tests.conftest import START
from tests.process import environment, fill, quick_command

HEADS = (
    "record_number,given_name,family_name,email,birth_date,time_zone,consent,confirmed,protocol,treated_at,"
    "review_booked_at,field.lot"
)
ROWS = [
    "R1,Amina,Yusuf,amina@example.org,1990-05-31,,all,yes,course,2026-11-23T08:30,2026-12-07T14:00,C4711",
    'R2,"Beatrix ""Bea""",O\'Hara,bea@example.org,1985-01-02,Asia/Kolkata,reviews,no,course,2026-11-20T10:00,,',
    "R3,=Chloé,Łaska,,,,,,,,,",
]


def write(folder: Path, *rows: str, heads: str = HEADS, encoding: str = "utf-8") -> Path:
    """A CSV file."""
    path = folder / "patients.csv"
    path.write_bytes("\r\n".join([heads, *rows, ""]).encode(encoding))
    return path


def test_rows_become_patients_treatments_and_plans(desk: Desk, tmp_path: Path) -> None:
    report = imports.run_import(desk.clinic, STAFF, write(tmp_path, *ROWS))
    assert (report.patients, report.treatments, report.skipped) == (3, 2, 0)
    assert report.batch_id is not None
    with desk.store.read() as session:
        amina = stored_patients.find_by_record_number(session, "r1")
        assert amina is not None
        assert (amina.given_name, amina.email, str(amina.birth_date)) == ("Amina", "amina@example.org", "1990-05-31")
        (treatment,) = stored_treatments.list_treatments(session, amina.id)
        content = stored_treatments.get_content(session, treatment.id)
        assert (content.treated_local, content.fields) == ("2026-11-23T08:30:00", {"lot": "C4711"})
        formula = stored_patients.find_by_record_number(session, "R3")
        assert formula is not None
        assert formula.given_name == "=Chloé"
        assert [found.id for found in stored_patients.search_patients(session, "łas")] == [formula.id]
        actions = [event.action for event in audit.list_events(session)]
        assert (actions.count("patient.added"), actions.count("treatment.added")) == (3, 2)


def test_an_imported_plan_is_the_plan_that_entering_gives(desk: Desk, tmp_path: Path) -> None:
    imports.run_import(desk.clinic, STAFF, write(tmp_path, *ROWS))
    with desk.store.read() as session:
        patient_ids = list(session.scalars(select(Patient.id)))
        planned = session.scalars(select(Reminder)).all()
    assert {row.state for row in planned} >= {ReminderState.SCHEDULED, ReminderState.HELD}
    with desk.store.write(STAFF, desk.clock.now()) as session:
        differences = [replan(session, desk.clinic, patient_id).difference for patient_id in patient_ids]
    assert not any(differences)


def test_the_same_file_twice_changes_nothing(desk: Desk, tmp_path: Path) -> None:
    path = write(tmp_path, *ROWS, ROWS[0])
    first = imports.run_import(desk.clinic, STAFF, path)
    desk.tick(hours=1)
    again = imports.run_import(desk.clinic, STAFF, path)
    assert (first.skipped, again.patients, again.treatments, again.skipped) == (1, 0, 0, 4)
    assert again.batch_id is None
    assert len(imports.list_batches(desk.clinic)) == 1


def test_a_dry_run_writes_nothing_and_says_what_it_would(desk: Desk, tmp_path: Path) -> None:
    path = write(tmp_path, *ROWS)
    would = imports.run_import(desk.clinic, STAFF, path, dry_run=True)
    with desk.store.read() as session:
        assert stored_patients.count_patients(session) == 0
    done = imports.run_import(desk.clinic, STAFF, path)
    assert (would.patients, would.treatments, would.reminders) == (done.patients, done.treatments, done.reminders)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("R9,,Quill,q@example.org,,,,,,,,", "line 3, given_name"),
        ("R9,Tara,Quill,not an address,,,,,,,,", "line 3, email"),
        ("R9,Tara,Quill,,03/04/1990,,,,,,,", "line 3, birth_date"),
        ("R9,Tara,Quill,,,Mars/Olympus,,,,,,", "line 3, time_zone"),
        ("R9,Tara,Quill,,,,maybe,,,,,", "line 3, consent"),
        ("R9,Tara,Quill,,,,,,course,03/04/2026,,", "line 3, treated_at"),
        ("R9,Tara,Quill,,,,,,coarse,2026-11-20T10:00,,", "line 3, protocol"),
        ("R9,Tara,Quill,,,,,,course,,,", "line 3, treated_at"),
        ("R1,Amara,Yusuf,,,,,,course,2026-11-22T10:00,,", "line 3, given_name"),
        ("R9,Tara,Quill", "line 3"),
    ],
)
def test_one_bad_row_is_named_and_nothing_is_written(row: str, told: str, desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        imports.run_import(desk.clinic, STAFF, write(tmp_path, ROWS[0], row))
    assert told in str(refused.value)
    with desk.store.read() as session:
        assert stored_patients.count_patients(session) == 0


@pytest.mark.parametrize(
    ("encoding", "semicolons"), [("utf-8", False), ("utf-8-sig", False), ("utf-8", True), ("utf-8-sig", True)]
)
def test_spreadsheets_in_any_usual_form_are_read(
    encoding: str, semicolons: bool, sqlite_desk: Desk, tmp_path: Path
) -> None:
    lines = [line.replace(",", ";") if semicolons else line for line in (HEADS, *ROWS)]
    path = write(tmp_path, *lines[1:], heads=lines[0], encoding=encoding)
    assert imports.run_import(sqlite_desk.clinic, STAFF, path).patients == 3


@pytest.mark.parametrize("content", [b"\xff\xfeg\x00", b"given_name,family_name\r\nTa\x00ra,Quill\r\n", b""])
def test_what_is_no_csv_file_is_refused_in_words(content: bytes, sqlite_desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInput):
        imports.run_import(sqlite_desk.clinic, STAFF, path)


def test_an_offset_is_converted_to_the_zone_of_the_treatment(sqlite_desk: Desk, tmp_path: Path) -> None:
    heads = "given_name,family_name,protocol,treated_at,treated_zone"
    row = "Tara,Quill,course,2026-11-20T10:00:00+05:30,Asia/Kolkata"
    imports.run_import(sqlite_desk.clinic, STAFF, write(tmp_path, row, heads=heads))
    with sqlite_desk.store.read() as session:
        (treatment,) = stored_treatments.list_treatments(session)
        content = stored_treatments.get_content(session, treatment.id)
    assert (content.treated_local, content.treated_zone) == ("2026-11-20T10:00:00", "Asia/Kolkata")


def test_held_plans_wait_until_staff_resume_them(desk: Desk, tmp_path: Path) -> None:
    imports.run_import(desk.clinic, STAFF, write(tmp_path, ROWS[0]), hold=True)
    reasons = {(row.state.value, str(row.reason)) for row in desk.rows() if row.state is not ReminderState.MISSED}
    assert reasons == {("held", "hold")}


def test_past_overrides_every_steps_rule(desk: Desk, tmp_path: Path) -> None:
    imports.run_import(desk.clinic, STAFF, write(tmp_path, ROWS[0].replace("11-23T08", "11-22T08")), past=Past.ASK)
    asked = [row for row in desk.rows() if row.due_at < desk.clock.now() < row.expires_at]
    assert {str(row.reason) for row in asked} <= {"past_ask"}


def test_undo_voids_what_nothing_else_touched_and_keeps_the_rest(desk: Desk, tmp_path: Path) -> None:
    report = imports.run_import(desk.clinic, STAFF, write(tmp_path, *ROWS))
    assert report.batch_id is not None
    with desk.store.read() as session:
        bea = stored_patients.find_by_record_number(session, "R2")
        assert bea is not None
    desk.tick(hours=1)
    desk.treat(bea.id, "2026-11-21T10:00")
    undone = imports.undo(desk.clinic, STAFF, report.batch_id)
    assert (undone.voided, undone.kept, list(undone.left)) == (2, 1, [])
    with desk.store.read() as session:
        assert stored_patients.find_by_record_number(session, "R1") is None
        assert stored_patients.find_by_record_number(session, "R2") is not None
        left = {row.state for row, _ in reminders.list_reminders(session) if row.patient_id != bea.id}
    assert left <= {ReminderState.CANCELLED, ReminderState.MISSED}
    with pytest.raises(Refused):
        imports.undo(desk.clinic, STAFF, report.batch_id)


def test_a_kill_in_the_middle_of_the_write_leaves_nothing(tmp_path: Path) -> None:
    env = environment(tmp_path)
    fill(env, START, 0).store.engine.dispose()
    path = write(tmp_path, "Tara,Quill,seconds,2026-11-20T10:00", heads="given_name,family_name,protocol,treated_at")
    marker = tmp_path / "marker"
    crashed = quick_command({**env, "AFTERCARE_KILL_POINT": f"in_import:{marker}"}, "import", str(path))
    assert crashed.returncode == -signal.SIGKILL, crashed.stderr
    assert marker.exists()
    assert json.loads(quick_command(env, "patient", "list", "--json").stdout) == []
    assert quick_command(env, "import", str(path)).returncode == 0
    assert len(json.loads(quick_command(env, "patient", "list", "--json").stdout)) == 1
    assert quick_command(env, "audit", "verify").returncode == 0


@pytest.mark.long
def test_two_thousand_rows_are_written_whole(sqlite_desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["record_number", "given_name", "family_name", "protocol", "treated_at"])
        lines.writerows([f"N{n}", "Tara", f"Quill{n}", "course", "2026-11-23T08:30"] for n in range(2_000))
    seen: list[tuple[int, int]] = []
    report = imports.run_import(
        sqlite_desk.clinic, STAFF, path, progress=lambda done, total: seen.append((done, total))
    )
    assert (report.patients, report.treatments) == (2_000, 2_000)
    assert seen[-1][0] == seen[-1][1]
    with sqlite_desk.store.read() as session:
        assert stored_patients.count_patients(session) == 2_000


def test_an_undone_file_may_be_imported_again(desk: Desk, tmp_path: Path) -> None:
    amina = desk.enter()
    heads = "record_number,given_name,family_name,protocol,treated_at"
    rows = ["R1,Tara,Quill,course,2026-11-20T10:00", "A-1001,,,course,2026-11-20T10:00"]
    first = imports.run_import(desk.clinic, STAFF, write(tmp_path, *rows, heads=heads))
    assert first.batch_id is not None
    desk.tick()
    undone = imports.undo(desk.clinic, STAFF, first.batch_id)
    assert (undone.voided, undone.kept) == (1, 1)
    assert undone.cancelled == first.reminders
    desk.tick()
    desk.nothing_left()
    again = imports.run_import(desk.clinic, STAFF, write(tmp_path, *rows, heads=heads))
    assert (again.patients, again.treatments, again.skipped) == (1, 2, 0)
    with desk.store.read() as session:
        hers = stored_treatments.list_treatments(session, amina)
        assert [row.status for row in hers] == [TreatmentStatus.ACTIVE, TreatmentStatus.CANCELLED]
        assert audit.verify(session)[1] == []


def test_undoing_lists_what_left_and_keeps_whom_it_reached(desk: Desk, tmp_path: Path) -> None:
    desk.approve()
    heads = "record_number,given_name,family_name,email,confirmed,consent,protocol,treated_at"
    path = write(tmp_path, "R1,Tara,Quill,t@example.org,yes,all,course,2026-11-23T08:00", heads=heads)
    report = imports.run_import(desk.clinic, STAFF, path)
    assert report.batch_id is not None
    desk.clock.advance(timedelta(hours=9))
    (left,) = desk.send_due()
    undone = imports.undo(desk.clinic, STAFF, report.batch_id)
    assert (list(undone.left), undone.voided, undone.kept) == ([left], 0, 1)
    assert undone.cancelled == sum(row.state is ReminderState.CANCELLED for row in desk.rows()) > 0
    desk.nothing_left()


def test_a_batch_that_is_not_there_cannot_be_undone(sqlite_desk: Desk) -> None:
    with sqlite_desk.unchanged(), pytest.raises(NotFound, match="import list shows them"):
        imports.undo(sqlite_desk.clinic, STAFF, UUID(int=7))
