"""A patient takes all that is kept about her with her, and is erased when her record need not be kept any more."""

import io
import json
import zipfile
from datetime import date
from uuid import UUID

import pytest
from sqlalchemy import select

from db import audit, patients
from db.base import Base
from db.erasure import is_erased
from db.records import Patient
from db.states import ReminderState
from db.treatments import add_note
from db.vault import KeyRing, Vault, VaultError, write_key_file
from scheduler import backup, erasure, patient_export, recovery, restore
from scheduler.errors import NotFound, Refused
from service import open_clinic
from tests.clinic import STAFF, Desk
from tests.people import AMINA, BEATRIX


def treated(desk: Desk) -> UUID:
    """A patient with a treatment, a note and a message that was sent; and another one beside her."""
    patient_id = desk.enter(AMINA)
    desk.treat(patient_id, fields={"lot": "C-4711"})
    desk.treat(desk.enter(BEATRIX))
    with desk.store.write(STAFF, desk.clock.now()) as session:
        add_note(session, patient_id, "She prefers mornings.")
    desk.tick(hours=9)
    desk.send_due()
    return patient_id


def unpacked(desk: Desk, patient_id: UUID) -> tuple[dict[str, bytes], dict[str, list[dict[str, object]]]]:
    """The files of an export, and the record in it."""
    with zipfile.ZipFile(io.BytesIO(patient_export.export(desk.clinic, STAFF, patient_id))) as files:
        found = {name: files.read(name) for name in files.namelist()}
    return found, json.loads(found["record.json"])


def test_an_export_holds_everything_about_her_and_nothing_about_another(desk: Desk) -> None:
    patient_id = treated(desk)
    files, record = unpacked(desk, patient_id)
    mail, *rest = sorted(files)  # which of two due at one instant was tried first is the database's choice
    assert mail in ("messages/attempt-1.eml", "messages/attempt-2.eml")
    assert rest == ["record.html", "record.json"]
    assert (record["patients"][0]["given_name"], record["patients"][0]["birth_date"]) == ("Amina", "1990-04-12")
    assert record["clinical_notes"][0]["text"] == "She prefers mornings."
    assert record["treatment_versions"][0]["fields"] == {"lot": "C-4711"}
    assert b"To: amina@example.org" in files[mail]
    assert "She prefers mornings." in files["record.html"].decode()
    assert {event["action"] for event in record["audit_events"]} >= {"patient.added", "treatment.added"}
    owned = {name for name, table in Base.metadata.tables.items() if "patient_id" in table.columns}
    assert owned - {"patient_keys", "name_prefixes", "sent_copies"} <= set(record)
    assert not any(told in content for content in files.values() for told in (b"Beatrix", b"beatrix@", b"_sealed"))
    assert len(desk.audit("patient.exported")) == 1


def test_a_record_that_has_to_be_kept_is_not_erased(desk: Desk) -> None:
    patient_id = treated(desk)
    with desk.unchanged(), pytest.raises(Refused, match="has to be kept until 2034-11-23"):
        erasure.erase(desk.clinic, STAFF, patient_id)
    with desk.store.read() as session:
        assert erasure.find_retention(session, desk.clinic, patient_id).until == date(2034, 11, 23)


def test_the_record_of_a_minor_is_kept_until_she_is_25(desk: Desk) -> None:
    patient_id = desk.enter(AMINA, birth_date="2012-02-29")
    desk.treat(patient_id)
    with desk.store.read() as session:
        assert erasure.find_retention(session, desk.clinic, patient_id).until == date(2037, 3, 1)


def test_after_an_erasure_nothing_of_her_can_be_read_by_anyone(desk: Desk, keyring: KeyRing) -> None:
    patient_id = treated(desk)
    with desk.store.read() as session:
        before = {row.id: (row.given_name_sealed, row.family_name_sealed) for row in session.scalars(select(Patient))}
    desk.tick(days=9 * 366)
    recovery.sweep(desk.clinic)  # what the service has long done by then
    erasure.erase(desk.clinic, STAFF, patient_id)
    with desk.store.read() as session:
        for table in Base.metadata.sorted_tables:
            owner = table.columns.get("id" if table.name == "patients" else "patient_id")
            if owner is None:
                continue
            sealed = [column for column in table.columns if column.name.endswith(("_sealed", "_index"))]
            for row in session.execute(select(*sealed).where(owner == patient_id)).all() if sealed else ():
                left = {column.name for column, value in zip(sealed, row, strict=True) if value is not None}
                assert left <= {"given_name_sealed", "family_name_sealed"}, table.name
        assert patients.find_patient(session, patient_id) is None
        assert patients.search_patients(session, "Amina") == []
        assert [row.given_name for row in patients.list_patients(session)] == ["Beatrix"]
        assert is_erased(session, patient_id)
        assert audit.verify(session)[1] == []
    with pytest.raises(NotFound):
        patient_export.export(desk.clinic, STAFF, patient_id)
    assert {row.state for row in desk.rows() if row.patient_id == patient_id} <= {
        ReminderState.SENT, ReminderState.CANCELLED, ReminderState.MISSED, ReminderState.DONE
    }  # fmt: skip
    fresh = Vault(keyring)  # with all keys that there are
    with desk.store.read() as session:
        wrapped = session.execute(select(Base.metadata.tables["patient_keys"].c.wrapped).where(
            Base.metadata.tables["patient_keys"].c.patient_id == patient_id)).scalar_one()  # fmt: skip
    fresh.learn(patient_id, wrapped)
    with pytest.raises(VaultError, match="made with another key"):
        fresh.open(patient_id, f"patients|given_name|{patient_id.hex}", before[patient_id][0] or b"")


def test_a_patient_without_a_treatment_is_erased_at_once_and_again_after_a_restore(
    sqlite_desk: Desk, keyring: KeyRing, sqlite_url: str
) -> None:
    desk = sqlite_desk
    settings = desk.clinic.settings
    write_key_file(settings.keys_file, keyring)
    patient_id = desk.enter(AMINA)
    desk.enter(BEATRIX)
    made = backup.make(desk.clinic, STAFF, desk.folder, lambda label: lambda done, total: None)
    erasure.erase(desk.clinic, STAFF, patient_id)
    there = settings.model_copy(update={"database_url": sqlite_url})
    restore.restore(there, desk.clock, open_clinic, made.path, keyring, STAFF, lambda label: lambda done, total: None)
    clinic = open_clinic(there, desk.clock)
    with clinic.store.read() as session:
        assert is_erased(session, patient_id)
        assert [row.given_name for row in patients.list_patients(session)] == ["Beatrix"]
    clinic.store.engine.dispose()
