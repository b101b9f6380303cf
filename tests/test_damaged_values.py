"""One damaged value of one patient: staff's pages say where it is and go on; nothing is written over it or sent."""

from uuid import UUID

import pytest
from sqlalchemy import update

from db.records import Patient, PatientKey, TreatmentVersion
from db.sealed import UNREADABLE
from db.vault import VaultError
from tests.clinic import Desk
from tests.page_parts import AtWork, seen, words
from tests.people import AMINA, BEATRIX

PAGES = ("/today", "/patients", "/patients?q=far", "/reminders")


@pytest.fixture
def work(sqlite_desk: Desk) -> AtWork:
    return AtWork(sqlite_desk)


def broken(work: AtWork, **columns: bytes) -> UUID:
    """Amina and Beatrix under treatment; some of what is sealed of Amina was changed outside."""
    amina = work.desk.enter(AMINA, phone="020 7946 0101", call_safe="yes")
    work.desk.treat(amina)
    work.desk.treat(work.desk.enter(BEATRIX))
    if columns:
        with work.desk.store.write("outside", work.desk.clock.now()) as session:
            session.execute(update(Patient).where(Patient.id == amina).values(columns))
    return amina


@pytest.mark.parametrize("column", ["family_name", "given_name", "birth_date", "phone", "record_number", "email"])
async def test_pages_name_what_does_not_open_and_show_all_the_rest(work: AtWork, column: str) -> None:
    amina = broken(work, **{f"{column}_sealed": b"\x01" * 60})
    places: list[str] = []
    work.desk.store.on_damage = places.extend
    for path in PAGES:
        assert "Beatrix" in await seen(work.rosa, path) or "far" in path, path
    hers = await seen(work.dana, f"/patients/{amina}")
    assert (UNREADABLE in hers) == (column not in ("birth_date", "email"))  # no page shows these
    assert ("Amina" in hers) == (column != "given_name")
    assert set(places) == ({f"patients|{column}|{amina.hex}"} if column != "email" else set())


async def test_a_key_that_was_damaged_hides_one_patient_and_no_other(work: AtWork) -> None:
    amina = broken(work)
    with work.desk.store.write("outside", work.desk.clock.now()) as session:
        session.execute(update(PatientKey).where(PatientKey.patient_id == amina).values(wrapped=b"\x01" * 60))
    work.desk.store.vault.forget(amina)
    for path in PAGES:
        told = await seen(work.rosa, path)
        assert "Beatrix" in told or "far" in path
        assert "Amina" not in told
    assert f"{UNREADABLE} {UNREADABLE}" in await seen(work.dana, f"/patients/{amina}")


async def test_a_form_is_not_filled_with_it_and_nothing_is_stored_over_it(work: AtWork) -> None:
    amina = broken(work, family_name_sealed=b"\x01" * 60)
    for answer in (
        await work.dana.get(f"/patients/{amina}/edit"),
        await work.dana.post(f"/patients/{amina}/edit", {"given_name": "Amina", "family_name": "Far"}),
    ):
        assert answer.status_code == 500
        assert "A part of this record cannot be opened" in words(answer)
    with work.desk.store.read() as session, pytest.raises(VaultError):
        _ = session.get_one(Patient, amina).family_name


async def test_a_damaged_record_is_not_amended_and_the_pages_around_it_go_on(work: AtWork) -> None:
    amina = work.desk.enter(AMINA)
    treatment = work.desk.treat(amina, fields={"lot": "C4711"}).treatment_id
    with work.desk.store.write("outside", work.desk.clock.now()) as session:
        session.execute(update(TreatmentVersion).values(fields_sealed=b"\x01" * 60))
    for path in (f"/patients/{amina}", f"/patients/{amina}/print", f"/treatments/{treatment}"):
        assert "Amina" in await seen(work.dana, path)
    answer = await work.dana.get(f"/treatments/{treatment}/record")
    assert (answer.status_code, "cannot be opened" in words(answer)) == (500, True)
