"""Sealing: what is sealed opens for its patient and place alone; the key file is guarded."""

import json
import os
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select, text

from db.engine import Store
from db.records import Patient, PatientKey, Treatment, TreatmentVersion
from db.sealed import open_bytes, place
from db.states import TreatmentStatus
from db.types import new_id
from db.vault import Erased, KeyFileError, KeyRing, Vault, VaultError, normal, read_key_file, write_key_file
from scheduler.clock import FastClock
from tests.people import CARMEN, DANUTA, ESME, entered

RING = KeyRing.make()
PLACE = place("patients", "email", UUID(int=1))
PATIENT = UUID(int=2)


def fresh(ring: KeyRing = RING, patient: UUID = PATIENT) -> Vault:
    vault = Vault(ring)
    vault.make_data_key(patient)
    return vault


@given(plain=st.binary(max_size=200))
def test_what_is_sealed_opens_again_and_never_seals_the_same_twice(plain: bytes) -> None:
    vault = fresh()
    sealed = vault.seal(PATIENT, PLACE, plain)
    assert vault.open(PATIENT, PLACE, sealed) == plain
    assert vault.seal(PATIENT, PLACE, plain) != sealed
    assert sealed[0] == 1
    assert len(sealed) == 1 + 4 + 12 + len(plain) + 16


@given(plain=st.binary(min_size=1, max_size=40), data=st.data())
def test_any_flipped_bit_is_noticed(plain: bytes, data: st.DataObject) -> None:
    vault = fresh()
    sealed = bytearray(vault.seal(PATIENT, PLACE, plain))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VaultError):
        vault.open(PATIENT, PLACE, bytes(sealed))


@given(cut=st.integers(0, 40))
def test_a_cut_value_is_noticed(cut: int) -> None:
    vault = fresh()
    sealed = vault.seal(PATIENT, PLACE, b"a" * 9)
    with pytest.raises(VaultError):
        vault.open(PATIENT, PLACE, sealed[:cut])


def test_a_value_moved_to_another_row_column_or_patient_does_not_open() -> None:
    vault = fresh()
    other = uuid4()
    vault.make_data_key(other)
    sealed = vault.seal(PATIENT, PLACE, b"x")
    for patient, where in [
        (PATIENT, place("patients", "email", UUID(int=9))),
        (PATIENT, place("patients", "phone", UUID(int=1))),
        (PATIENT, place("treatments", "email", UUID(int=1))),
        (other, PLACE),
        (uuid4(), PLACE),
    ]:
        with pytest.raises(VaultError):
            vault.open(patient, where, sealed)


def test_a_data_key_unwraps_for_its_patient_and_clinic_alone() -> None:
    vault = Vault(RING)
    wrapped = vault.make_data_key(PATIENT)
    sealed = vault.seal(PATIENT, PLACE, b"x")
    again = Vault(RING)
    again.learn(PATIENT, wrapped)
    assert again.open(PATIENT, PLACE, sealed) == b"x"
    with pytest.raises(VaultError, match="changed or moved"):
        Vault(RING).learn(uuid4(), wrapped)
    with pytest.raises(VaultError, match="another database"):
        Vault(KeyRing.make()).learn(PATIENT, wrapped)


def test_a_new_clinic_key_rewraps_data_keys_and_opens_what_was_sealed_before() -> None:
    old = Vault(RING)
    wrapped = old.make_data_key(PATIENT)
    sealed = old.seal(PATIENT, PLACE, b"x")
    newest = KeyRing.make().wrapping[0]
    both = Vault(KeyRing((*RING.wrapping, newest), RING.blind, RING.prefix, RING.audit, RING.tokens))
    rewrapped = both.rewrap(PATIENT, wrapped)
    only_new = Vault(KeyRing((newest,), RING.blind, RING.prefix, RING.audit, RING.tokens))
    only_new.learn(PATIENT, rewrapped)
    assert only_new.open(PATIENT, PLACE, sealed) == b"x"


def test_a_value_of_a_newer_layout_is_refused() -> None:
    vault = fresh()
    sealed = vault.seal(PATIENT, PLACE, b"x")
    with pytest.raises(VaultError, match="newer version"):
        vault.open(PATIENT, PLACE, b"\x02" + sealed[1:])


def test_keys_never_show_when_they_are_printed() -> None:
    shown = repr(RING)
    assert RING.blind.hex() not in shown
    assert repr(RING.audit) not in shown
    assert repr(RING.wrapping[0].secret) not in shown


def test_the_key_file_is_for_its_owner_alone_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "var" / "keys.json"
    write_key_file(path, RING)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key_file(path) == RING


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_key_file(path, RING)
    with pytest.raises(FileExistsError):
        write_key_file(path, KeyRing.make())
    assert read_key_file(path) == RING


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.json"
    write_key_file(path, RING)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key_file(path)


def test_a_missing_key_file_says_what_to_put_back(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="put back the copy"):
        read_key_file(tmp_path / "keys.json")


def test_a_folder_is_no_key_file(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(KeyFileError, match="cannot be read"):
        read_key_file(tmp_path)


def _with(**changes: object) -> str:
    return json.dumps({**json.loads(RING.to_json()), **changes})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"[]",
        b"{}",
        RING.to_json()[:-30].encode(),
        _with(version=2).encode(),
        _with(wrapping=[]).encode(),
        _with(wrapping=["x"]).encode(),
        _with(blind="").encode(),
        _with(audit="AAAA").encode(),
        _with(wrapping=[{**json.loads(RING.to_json())["wrapping"][0], "id": "no hex"}]).encode(),
        _with(wrapping=[{**json.loads(RING.to_json())["wrapping"][0], "id": "ab"}]).encode(),
    ],
)
def test_a_damaged_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.json"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(descriptor, content)
    os.close(descriptor)
    with pytest.raises(KeyFileError, match=r"damaged|newer version"):
        read_key_file(path)


def test_a_sealed_column_reads_back_and_the_row_holds_ciphertext(store: Store, clock: FastClock) -> None:
    patient_id = entered(store, CARMEN, clock.now())
    with store.read() as session:
        patient = session.get_one(Patient, patient_id)
        assert (patient.given_name, patient.email) == (CARMEN.given_name, CARMEN.email)
        assert patient.birth_date == CARMEN.birth_date
        assert patient.phone is None
        assert patient.phone_sealed is None
        row = session.execute(select(Patient.given_name_sealed, Patient.email_sealed)).one()
        assert CARMEN.given_name.encode() not in row.given_name_sealed
        assert CARMEN.email.encode() not in row.email_sealed


def test_record_fields_are_sealed_as_one_and_read_back_as_entered(store: Store, clock: FastClock) -> None:
    patient_id = entered(store, CARMEN, clock.now())
    fields = {"lot": "B-1234", "note": "Größe: 5 µg"}
    with store.write("test", clock.now()) as session:
        treatment = Treatment(
            patient_id=patient_id,
            protocol_key="x",
            status=TreatmentStatus.ACTIVE,
            entered_at=clock.now(),
            entered_by="test",
        )
        session.add(treatment)
        session.flush()
        for number, entered_fields in enumerate((fields, {}), start=1):
            version = TreatmentVersion(
                id=new_id(),
                treatment_id=treatment.id,
                patient_id=patient_id,
                number=number,
                treated_at=clock.now(),
                treated_local="2026-11-23T09:00:00",
                treated_zone="Europe/London",
                recorded_at=clock.now(),
                recorded_by="test",
            )
            session.add(version)
            version.fields = entered_fields
    with store.read() as session:
        first, second = session.scalars(select(TreatmentVersion).order_by(TreatmentVersion.number))
        assert (first.fields, second.fields) == (fields, {})
        assert b"B-1234" not in (first.fields_sealed or b"")
        assert second.fields_sealed is None


def test_a_sealed_value_is_not_in_the_database_file(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> None:
    entered(sqlite_store, ESME, clock.now())
    files = list((tmp_path / "var").iterdir())
    assert len(files) >= 2  # the database and its WAL
    for value in (ESME.given_name, ESME.family_name, ESME.email, ESME.record_number, str(ESME.birth_date)):
        assert [path.name for path in files if value.encode() in path.read_bytes()] == []


def test_a_ciphertext_copied_to_another_row_does_not_open(store: Store, clock: FastClock) -> None:
    first, second = entered(store, CARMEN, clock.now()), entered(store, DANUTA, clock.now())
    with store.write("test", clock.now()) as session:
        stolen = session.get_one(Patient, first).email_sealed
        session.get_one(Patient, second).email_sealed = stolen
    with store.read() as session, pytest.raises(VaultError):
        _ = session.get_one(Patient, second).email


def test_another_process_with_the_same_keys_reads_the_record(store: Store, clock: FastClock) -> None:
    patient_id = entered(store, CARMEN, clock.now())
    with Store(store.engine, Vault(store.vault.ring)).read() as session:
        assert session.get_one(Patient, patient_id).family_name == CARMEN.family_name
    with Store(store.engine, Vault(KeyRing.make())).read() as session, pytest.raises(VaultError):
        _ = session.get_one(Patient, patient_id).family_name


def test_a_patient_whose_key_was_destroyed_cannot_be_read_by_anyone(store: Store, clock: FastClock) -> None:
    patient_id = entered(store, CARMEN, clock.now())
    with store.write("test", clock.now()) as session:
        session.execute(delete(PatientKey).where(PatientKey.patient_id == patient_id))
        store.vault.forget(patient_id)
    with store.read() as session, pytest.raises(Erased, match="was erased"):
        _ = session.get_one(Patient, patient_id).given_name


def test_a_row_outside_a_session_has_no_sealed_values() -> None:
    with pytest.raises(VaultError, match="add the row to a session"):
        Patient(id=new_id()).given_name = "x"


def test_a_session_without_keys_opens_nothing(store: Store, clock: FastClock) -> None:
    entered(store, CARMEN, clock.now())
    with store.read() as session:
        session.info.pop("vault")
        with pytest.raises(VaultError, match="without keys"):
            open_bytes(session, PATIENT, PLACE, b"x")


def test_equal_values_are_found_whatever_their_case_width_and_spaces() -> None:
    vault = Vault(RING)
    assert vault.blind("email", "Ａmina@Example.org ") == vault.blind("email", "amina@example.org")
    assert vault.blind("email", "x") != vault.blind("record_number", "x")
    assert vault.blind("email", "x") != Vault(KeyRing.make()).blind("email", "x")
    assert len(vault.blind("email", "x")) == 16


def test_a_name_is_found_by_two_to_ten_letters_of_each_of_its_parts() -> None:
    vault = Vault(RING)
    found = vault.name_prefixes([CARMEN.given_name, CARMEN.family_name])
    for start in ("ca", "CARM", "carmen", "ib", "ibarra", "so", "Soto"):
        assert vault.prefix(start) in found
    for start in ("c", "armen", "carmena", "ibarra-soto"):
        assert vault.prefix(start) not in found
    long = vault.name_prefixes(["Wolfeschlegelsteinhausen"])
    assert vault.prefix("wolfeschlegelst") in long
    assert {len(each) for each in long} == {8}


@given(st.text(max_size=30))
def test_the_normal_form_is_stable(typed: str) -> None:
    assert normal(normal(typed)) == normal(typed)


def test_no_table_has_a_plain_column_for_what_is_sealed(store: Store) -> None:
    with store.read() as session:
        found = session.execute(text("SELECT * FROM patients")).keys()
    assert not {"given_name", "family_name", "email", "phone", "birth_date", "contact_note"} & set(found)
