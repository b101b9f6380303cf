"""Whom the rows of an import speak of, what an import rests on, and what it leaves in the record.

What the command promises as a whole is in `tests/test_imports.py`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from db import audit
from db import patients as stored_patients
from db import treatments as stored_treatments
from db.engine import Store
from db.follow_up import CareEvent, CarePlan, Reminder, Review
from db.records import AddressFact, Consent, NamePrefix, Patient, Treatment, TreatmentVersion
from db.states import EventKind, ReminderState
from scheduler import approvals, imports, patients, treatments
from scheduler.entries import PatientForm
from scheduler.errors import InvalidInput, Refused
from scheduler.imports import ImportReport
from scheduler.treatments import TreatmentForm
from tests.clinic import COURSE, STAFF, Desk

TREATED = "course,2026-11-20T10:00"


def write(folder: Path, heads: str, *rows: str) -> Path:
    """A CSV file."""
    path = folder / "patients.csv"
    path.write_text("\n".join([heads, *rows, ""]), encoding="utf-8")
    return path


def bring(desk: Desk, folder: Path, heads: str, *rows: str, **choices: Any) -> ImportReport:
    """Import rows; a little time passes."""
    report = imports.run_import(desk.clinic, STAFF, write(folder, heads, *rows), **choices)
    desk.tick()
    return report


def refused(desk: Desk, folder: Path, heads: str, *rows: str) -> list[str]:
    """What is wrong with rows; nothing is written."""
    treatments_before = len(all_of(desk.store, Treatment))
    people_before = len(all_of(desk.store, Patient))
    with pytest.raises(InvalidInput) as found:
        imports.run_import(desk.clinic, STAFF, write(folder, heads, *rows))
    assert (len(all_of(desk.store, Patient)), len(all_of(desk.store, Treatment))) == (people_before, treatments_before)
    return list(found.value.problems)


def all_of(store: Store, model: Any) -> list[Any]:
    """Every row of a table."""
    with store.read() as session:
        return list(session.scalars(select(model)))


BY_NAME = "given_name,family_name,email,birth_date,protocol,treated_at"


def test_rows_of_one_new_number_are_one_patient_and_fill_each_other_in(sqlite_desk: Desk, tmp_path: Path) -> None:
    heads = f"record_number,{BY_NAME}"
    report = bring(
        sqlite_desk, tmp_path, heads, f"R1,Tara,Quill,,,{TREATED}", "r1,,,tara@example.org,1990-05-31,,", "R1,tara,,,,,"
    )
    assert (report.patients, report.treatments, report.skipped) == (1, 1, 2)
    (tara,) = all_of(sqlite_desk.store, Patient)
    with sqlite_desk.store.read() as session:
        found = session.get_one(Patient, tara.id)
        assert (found.given_name, found.email, str(found.birth_date)) == ("Tara", "tara@example.org", "1990-05-31")


def test_rows_of_one_new_number_that_contradict_each_other_are_bad(sqlite_desk: Desk, tmp_path: Path) -> None:
    heads = "record_number,given_name,family_name,consent"
    assert refused(sqlite_desk, tmp_path, heads, "R1,Tara,Quill,all", "R1,Tara,Vance,none") == [
        "line 3, family_name: differs from what is in line 2; make the rows agree",
        "line 3, consent: differs from what is in line 2; make the rows agree",
    ]


def test_a_known_number_takes_a_treatment_and_empty_or_equal_cells(desk: Desk, tmp_path: Path) -> None:
    amina = desk.enter()
    heads = f"record_number,{BY_NAME}"
    report = bring(desk, tmp_path, heads, f"a-1001,AMINA,,Amina@Example.org,,{TREATED}")
    assert (report.patients, report.treatments) == (0, 1)
    assert [row.patient_id for row in all_of(desk.store, Treatment)] == [amina]
    desk.nothing_left()


def test_a_known_number_never_changes_who_she_is_nor_what_she_agreed_to(sqlite_desk: Desk, tmp_path: Path) -> None:
    amina = sqlite_desk.enter(consent="none")
    heads = f"record_number,{BY_NAME}"
    (problem,) = refused(sqlite_desk, tmp_path, heads, f"A-1001,,,other@example.org,,{TREATED}")
    assert problem == f"line 2, email: differs from what is in the record; use patient set {amina}"
    report = bring(
        sqlite_desk, tmp_path, "record_number,protocol,treated_at,consent,time_zone", f"A-1001,{TREATED},all,Asia/Tokyo"
    )
    assert {warning.partition(":")[0] for warning in report.warnings} == {"line 2, consent", "line 2, time_zone"}
    with sqlite_desk.store.read() as session:
        assert not any(stored_patients.list_consent(session, [amina])[amina].values())
        assert session.get_one(Patient, amina).time_zone == "Europe/London"


@pytest.mark.parametrize(
    "row",
    [
        f"Tara,Quill,tara@example.org,,{TREATED}",
        f"Tara,Quill,tara@example.org,1990-05-31,{TREATED}",
        f"Tara,Quill,,1990-05-31,{TREATED}",
        f"Tara,Quill,,,{TREATED}",
    ],
)
def test_without_a_number_a_file_is_known_again_whatever_staff_changed_since(
    row: str, sqlite_desk: Desk, tmp_path: Path
) -> None:
    desk = sqlite_desk
    bring(desk, tmp_path, BY_NAME, row)
    (tara,) = all_of(desk.store, Patient)
    desk.change(tara.id, email="new@example.org", phone="020 7946 0000", birth_date="1990-05-31")
    (treatment,) = all_of(desk.store, Treatment)
    treatments.move(desk.clinic, STAFF, treatment.id, "2026-11-21T11:00")
    desk.tick()
    with desk.unchanged():
        report = bring(desk, tmp_path, BY_NAME, row)
    assert (report.batch_id, report.skipped) == (None, 1)


def test_the_same_names_with_an_equal_address_are_the_same_patient(sqlite_desk: Desk, tmp_path: Path) -> None:
    amina = sqlite_desk.enter()
    report = bring(sqlite_desk, tmp_path, BY_NAME, f"Amina,Farouk,amina@example.org,,{TREATED}")
    assert (report.patients, report.treatments) == (0, 1)
    assert [row.patient_id for row in all_of(sqlite_desk.store, Treatment)] == [amina]


def test_the_order_of_rows_does_not_decide_who_is_who(sqlite_desk: Desk, tmp_path: Path) -> None:
    heads = f"record_number,{BY_NAME}"
    rows = [f",Tara,Quill,tara@example.org,,{TREATED}", "R1,Tara,Quill,tara@example.org,1990-05-31,,"]
    report = bring(sqlite_desk, tmp_path, heads, *rows)
    assert (report.patients, report.treatments) == (1, 1)


def test_one_who_only_looks_like_another_is_new_and_told(sqlite_desk: Desk, tmp_path: Path) -> None:
    sqlite_desk.enter()
    report = bring(
        sqlite_desk,
        tmp_path,
        BY_NAME,
        "Amina,Farouk,other@example.org,1990-04-12,,",
        "Bea,Lind,other@example.org,1980-01-01,,",
    )
    assert report.patients == 2
    assert report.warnings == [
        "line 2, given_name: looks like a patient in the record; entered as a new one",
        "line 3, email: is the address of another patient in line 2; mails to both will reach it",
    ]


def test_a_name_alone_never_decides_whose_treatment_it_is(sqlite_desk: Desk, tmp_path: Path) -> None:
    sqlite_desk.enter()
    problems = refused(
        sqlite_desk,
        tmp_path,
        BY_NAME,
        f"Amina,Farouk,,,{TREATED}",
        "Uma,Vance,,,course,2026-11-20T10:00",
        "Uma,Vance,,,course,2026-11-21T10:00",
        f"Y,X,,,{TREATED}",
    )
    assert [problem.partition(",")[0] for problem in problems] == ["line 2", "line 4", "line 5"]
    assert "give record_number, email or birth_date" in problems[0]
    assert "in line 3" in problems[1]


def test_two_patients_who_both_fit_ask_for_the_record_number(sqlite_desk: Desk, tmp_path: Path) -> None:
    sqlite_desk.enter()
    sqlite_desk.enter(record_number="A-2")
    (problem,) = refused(sqlite_desk, tmp_path, BY_NAME, f"Amina,Farouk,amina@example.org,,{TREATED}")
    assert problem == "line 2, given_name: 2 patients fit; give the record_number"


def test_times_far_off_and_treatments_cancelled_since_are_told(sqlite_desk: Desk, tmp_path: Path) -> None:
    desk = sqlite_desk
    heads = "record_number,given_name,family_name,protocol,treated_at"
    rows = ["R1,Tara,Quill,course,2027-01-05T10:00", "R2,Uma,Vance,course,2020-01-05T10:00"]
    report = bring(desk, tmp_path, heads, *rows)
    assert report.warnings[:2] == [
        "line 2, treated_at: 2027-01-05T10:00:00 lies in the future",
        "line 3, treated_at: 2020-01-05T10:00:00 is more than two years ago",
    ]
    for row in all_of(desk.store, Treatment):
        treatments.cancel(desk.clinic, STAFF, row.id, "did not take place")
    again = bring(desk, tmp_path, heads, *rows)
    assert (again.batch_id, again.skipped, len(again.warnings)) == (None, 2, 2)
    assert "was cancelled and is not entered again" in again.warnings[0]


def test_what_a_protocol_leaves_to_staff_is_entered_by_hand(sqlite_desk: Desk, tmp_path: Path) -> None:
    text = COURSE.replace('title = "A course"', 'title = "A course"\nminimum_age = 18\non_new_treatment = "ask"')
    sqlite_desk.write_protocol(text.replace('key = "course"', 'key = "asking"'), "asking")
    problems = refused(
        sqlite_desk,
        tmp_path,
        f"record_number,{BY_NAME}",
        "R1,Tara,Quill,,1990-05-31,asking,2026-11-20T10:00",
        "R1,,,,,asking,2026-11-21T10:00",
        "R2,Uma,Vance,,2010-01-01,asking,2026-11-21T10:00",
        "R3,Wren,Young,,,asking,2026-11-21T10:00",
    )
    assert [problem.partition(":")[0] for problem in problems] == ["line 3, protocol", "line 4, birth_date"]
    assert "enter this treatment by hand" in problems[0]


@pytest.mark.parametrize(
    ("heads", "row", "told"),
    [
        ("protocol,treated_at,treated_zone", "course,2026-11-20T10:00,Europe", "line 2, treated_zone"),
        ("protocol,treated_at,field.lott", "course,2026-11-20T10:00,x", "line 2, field.lott"),
        ("protocol,treated_at,field.lot", ",,x", "line 2, protocol"),
        ("protocol,treated_at", "course,2026-03-29T01:30", "line 2, treated_at"),
        ("protocol,treated_at", "course,2026-11-20", "line 2, treated_at"),
        ("protocol,treated_at,review_booked_at", "course,2026-11-20T10:00,7 Dec", "line 2, review_booked_at"),
        (
            "protocol,treated_at,review_booked_at",
            "course,2026-11-20T10:00,2026-11-19T10:00",
            "line 2, review_booked_at",
        ),
        ("confirmed,call_safe", "perhaps,true", "line 2, confirmed"),
        ("confirmed,email", "1,", "line 2, confirmed"),
    ],
)
def test_a_wrong_cell_is_told_by_the_name_of_its_column(
    heads: str, row: str, told: str, sqlite_desk: Desk, tmp_path: Path
) -> None:
    (problem,) = refused(sqlite_desk, tmp_path, f"given_name,family_name,{heads}", f"Tara,Quill,{row}")
    assert problem.startswith(told)


FULL: Mapping[str, str] = {
    "record_number": "R1",
    "given_name": "Tara-Lee",
    "family_name": "Quill",
    "preferred_name": "T",
    "email": "Tara@Example.org",
    "birth_date": "1990-05-31",
    "time_zone": "Asia/Kolkata",
    "language": "en",
    "level": "full",
    "consent": "reviews",
    "confirmed": "yes",
    "phone": "+44 20 7946 0101",
    "call_safe": "no",
    "contact_note": "=only mornings",
}


def test_a_row_leaves_what_entering_by_hand_leaves(desk: Desk, tmp_path: Path) -> None:
    desk.approve()
    patients.add(desk.clinic, STAFF, PatientForm(**FULL))
    (entered,) = all_of(desk.store, Patient)
    form = TreatmentForm("course", "2026-11-22T10:00", None, "Dr Okafor", {"lot": "L1"})
    treatments.add(desk.clinic, STAFF, entered.id, form)
    heads = [*FULL, "protocol", "treated_at", "clinician", "field.lot"]
    cells = [*{**FULL, "record_number": "R2"}.values(), "course", "2026-11-22T10:00", "Dr Okafor", "L1"]
    imports.run_import(desk.clinic, STAFF, write(tmp_path, ",".join(heads), ",".join(cells)))
    with desk.store.read() as session:
        by_hand = stored_patients.find_by_record_number(session, "R1")
        imported = stored_patients.find_by_record_number(session, "R2")
        assert by_hand is not None
        assert imported is not None
        for name in (*stored_patients.SEALED_FIELDS, *stored_patients.PLAIN_FIELDS, "email_version", "email_index"):
            if name not in ("record_number", "birth_date"):
                assert getattr(imported, name) == getattr(by_hand, name), name
        assert imported.birth_date == by_hand.birth_date
        (mine,), (hers,) = (stored_treatments.list_treatments(session, one.id) for one in (imported, by_hand))
        assert stored_treatments.get_content(session, mine.id).fields == {"lot": "L1"}
        assert stored_treatments.get_content(session, hers.id).fields == {"lot": "L1"}
        # Whatever has no place of its own in a row: ids, and what is random or sealed.
        models = (Patient, Consent, AddressFact, NamePrefix, Treatment, TreatmentVersion, CarePlan, Review, Reminder)
        for model in models:
            assert rows_of(session, model, imported.id) == rows_of(session, model, by_hand.id), model.__name__
    desk.nothing_left()
    with desk.store.read() as session:
        assert audit.verify(session)[1] == []


def rows_of(session: Any, model: Any, patient_id: UUID) -> list[dict[str, Any]]:
    """The rows of a patient without what differs from row to row."""
    owner = model.id if model is Patient else model.patient_id
    differing = ("id", "patient_id", "treatment_id", "care_plan_id", "message_id", "import_batch_id", "unsigned_since")
    rows = session.scalars(select(model).where(owner == patient_id))
    found = [
        {
            column.key: getattr(row, column.key)
            for column in model.__mapper__.column_attrs
            if column.key not in (*differing, "record_number_index") and not column.key.endswith("_sealed")
        }
        for row in rows
    ]
    return sorted(found, key=repr)


def test_a_booked_review_is_an_event_at_the_clinics_time(desk: Desk, tmp_path: Path) -> None:
    desk.approve()
    heads = (
        "record_number,given_name,family_name,time_zone,protocol,treated_at,review_booked_at,email,confirmed,consent"
    )
    bring(
        desk, tmp_path, heads, "R1,Tara,Quill,Asia/Tokyo,course,2026-11-20T10:00,2026-12-04T14:00,t@example.org,1,all"
    )
    (event,) = all_of(desk.store, CareEvent)
    assert (event.kind, event.review, event.zone) == (EventKind.REVIEW_BOOKED, "two-week", "Europe/London")
    assert event.occurred_local == "2026-12-04T14:00:00"
    assert desk.stands("visit-in-3-days") == "scheduled"
    desk.nothing_left()


def test_a_second_treatment_in_the_file_takes_over_from_the_first(desk: Desk, tmp_path: Path) -> None:
    desk.approve()
    heads = "record_number,given_name,family_name,email,confirmed,consent,protocol,treated_at"
    person = "R1,Tara,Quill,t@example.org,yes,all"
    bring(desk, tmp_path, heads, f"{person},course,2026-11-20T10:00", f"{person},course,2026-11-22T10:00")
    assert {str(row.reason) for row in desk.rows() if row.state is ReminderState.CANCELLED} == {"superseded"}
    desk.nothing_left()


@pytest.mark.parametrize("change", ["number", "treatment", "patient", "namesake", "protocol"])
def test_a_record_that_changed_under_the_check_is_left_alone(change: str, desk: Desk, tmp_path: Path) -> None:
    amina = desk.enter()
    heads = f"record_number,{BY_NAME}"
    path = write(
        tmp_path,
        heads,
        f"A-1001,,,,,{TREATED}",
        f"R9,Uma,Vance,,,{TREATED}",
        f",Tara,Quill,tara@example.org,,{TREATED}",
    )

    def meanwhile(done: int, total: int) -> None:
        if done < int(0.75 * total):  # checked, planned and sealed: what is left is the write
            return
        desk.tick()
        if change == "number":
            desk.enter(record_number="R9", email="z@example.org", given_name="Zoe")
        elif change == "treatment":
            desk.treat(amina, "2026-11-20T10:00")
        elif change == "patient":
            desk.change(amina, family_name="Farouk-Ali")
        elif change == "namesake":
            desk.enter(record_number="", given_name="Tara", family_name="Quill", email="tara@example.org")
        else:
            desk.write_protocol(COURSE.replace("version = 1", "version = 2"))
            approvals.read_files(desk.clinic, STAFF)

    with pytest.raises(Refused, match="run it again"):
        imports.run_import(desk.clinic, STAFF, path, progress=meanwhile)
    assert imports.list_batches(desk.clinic) == []
    assert not [row for row in all_of(desk.store, Patient) if row.import_batch_id]
    again = imports.run_import(desk.clinic, STAFF, write(tmp_path, heads, f",Nia,Okoro,nia@example.org,,{TREATED}"))
    assert again.patients == 1
