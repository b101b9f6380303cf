"""A treatment's record on both databases: filled in, signed, amended; what was signed stays, a change of it shows."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import text

from db import treatments as stored
from scheduler import signing, treatments
from scheduler.errors import InvalidInput, Refused
from scheduler.signing import SignedVersion, fill_in, missing_for_signing, sign
from tests.clinic import COURSE, STAFF, Desk
from tests.one_database import on_one
from tests.people import AMINA

DOCTOR = "staff:okafor"
FIELDS = {"lot": "C1234", "units": "100"}
# The course with a field that a record cannot be signed without, and one that may stay empty.
RECORDED = COURSE.replace('label = "Lot"\ntype = "text"\n', 'label = "Lot"\ntype = "text"\nrequired = true\n').replace(
    "[[review]]", '[[field]]\nkey = "units"\nlabel = "Units"\ntype = "number"\n\n[[review]]', 1
)


def treated(desk: Desk, at: str = "2026-11-23T08:30") -> UUID:
    """A treatment under the protocol with the fields above."""
    desk.write_protocol(RECORDED.replace("version = 1", "version = 2"))
    desk.approve_unseen()
    return desk.treat(desk.enter(AMINA), at).treatment_id


def versions(desk: Desk, treatment_id: UUID) -> list[SignedVersion]:
    """Every version of the record."""
    with desk.store.read() as session:
        return signing.list_signed_versions(session, treatment_id)


def is_signed(desk: Desk, treatment_id: UUID) -> bool:
    """Whether nothing of it waits to be signed, as lists and pages say."""
    with desk.store.read() as session:
        return treatments.get(session, treatment_id).unsigned_since is None


def fill(desk: Desk, treatment_id: UUID, fields: dict[str, str], clinician: str = "Dr Okafor", **more: object) -> None:
    """Write the record as a clinician."""
    fill_in(desk.clinic, DOCTOR, treatment_id, fields, clinician, **more)  # type: ignore[arg-type]
    desk.tick()


def test_a_record_is_filled_in_as_a_draft_and_signed_as_it_stands(desk: Desk) -> None:
    treatment_id = treated(desk)
    fill(desk, treatment_id, {"units": "50"})
    fill(desk, treatment_id, FIELDS)
    sign(desk.clinic, DOCTOR, treatment_id)
    first, draft, final = versions(desk, treatment_id)
    assert (first.fields, first.signed_at, draft.reason, draft.signed_by) == ({}, None, None, None)
    assert (final.number, final.fields, final.signed_by, final.signed_at, final.holds) == (
        3,
        FIELDS,
        DOCTOR,
        desk.clock.now(),
        True,
    )
    assert is_signed(desk, treatment_id)
    told = [(event["action"], event["fields"]) for event in desk.audit() if event["actor"] == DOCTOR]
    assert told == [
        ("treatment.filled_in", ["units"]),
        ("treatment.filled_in", ["lot", "units"]),
        ("treatment.signed", ["signature"]),
    ]
    with desk.unchanged(), pytest.raises(Refused, match="signed already"):
        sign(desk.clinic, DOCTOR, treatment_id)
    with desk.unchanged():
        fill(desk, treatment_id, FIELDS)  # nothing is different


@on_one
def test_what_is_missing_is_named_and_nothing_is_signed(desk: Desk) -> None:
    treatment_id = treated(desk)
    with desk.unchanged(), pytest.raises(InvalidInput) as wrong:
        sign(desk.clinic, DOCTOR, treatment_id)
    assert list(wrong.value.problems) == ["clinician: is needed before signing", "field lot: is needed before signing"]
    with desk.unchanged(), pytest.raises(InvalidInput):  # written and signed, or neither
        fill(desk, treatment_id, {"units": "50"}, signs=True)
    with desk.store.read() as session:
        protocol = signing.protocol_of(session, desk.clinic, treatments.get(session, treatment_id))
    assert missing_for_signing(protocol, {"units": "50"}, None) == ["Clinician", "Lot"]
    assert missing_for_signing(protocol, FIELDS, "Dr Okafor") == []
    fill(desk, treatment_id, FIELDS, signs=True)
    assert is_signed(desk, treatment_id)


def test_a_wrong_value_is_told_and_nothing_is_written(sqlite_desk: Desk) -> None:
    treatment_id = treated(sqlite_desk)
    for fields, clinician, told in (
        ({"units": "many"}, "Dr Okafor", "field units: "),
        ({"lots": "C1"}, "Dr Okafor", "field lots: "),
        ({"lot": "C\x001"}, "Dr Okafor", "field lot: contains control characters"),
        ({"lot": "C1"}, "D" * 201, "clinician: is longer"),
    ):
        with sqlite_desk.unchanged(), pytest.raises(InvalidInput) as wrong:
            fill(sqlite_desk, treatment_id, fields, clinician)
        assert wrong.value.problems[0].startswith(told)


def test_what_was_signed_is_amended_with_a_reason_signed_by_who_writes_it(desk: Desk) -> None:
    treatment_id = treated(desk)
    fill(desk, treatment_id, FIELDS, signs=True)
    changed = {**FIELDS, "units": "90"}
    for reason in ("", "  \n"):
        with desk.unchanged(), pytest.raises(InvalidInput, match="reason: say why"):
            fill(desk, treatment_id, changed, reason=reason)
    with desk.unchanged(), pytest.raises(InvalidInput, match="field lot: is needed"):
        fill(desk, treatment_id, {"units": "90"}, reason="A slip.")
    fill_in(desk.clinic, "staff:novak", treatment_id, changed, "Dr Okafor", "A slip of the pen.")
    before, after = versions(desk, treatment_id)[1:]
    assert (before.fields, before.signed_by, before.holds) == (FIELDS, DOCTOR, True)
    assert (after.fields, after.signed_by, after.reason, after.holds) == (
        changed,
        "staff:novak",
        "A slip of the pen.",
        True,
    )
    assert [event["fields"] for event in desk.audit("treatment.amended")] == [["units"]]
    assert is_signed(desk, treatment_id)


@on_one
def test_a_corrected_date_has_to_be_signed_again(desk: Desk) -> None:
    treatment_id = treated(desk)
    fill(desk, treatment_id, FIELDS, signs=True)
    treatments.move(desk.clinic, STAFF, treatment_id, "2026-11-22T08:30", reason="The day before.")
    desk.tick()
    assert not is_signed(desk, treatment_id)
    moved = versions(desk, treatment_id)[-1]
    assert (moved.treated_local, moved.fields, moved.signed_at) == ("2026-11-22T08:30:00", FIELDS, None)
    fill(desk, treatment_id, FIELDS, signs=True)  # as it stands: nothing is different, so it needs no reason
    assert is_signed(desk, treatment_id)
    assert versions(desk, treatment_id)[-1].signed_by == DOCTOR


@on_one
def test_what_is_still_to_be_done_cannot_be_signed_and_what_was_cancelled_stays(desk: Desk) -> None:
    treatment_id = treated(desk, "2026-11-25T08:30")
    fill(desk, treatment_id, FIELDS)
    with desk.unchanged(), pytest.raises(Refused, match="still to be done"):
        sign(desk.clinic, DOCTOR, treatment_id)
    with desk.unchanged(), pytest.raises(Refused, match="still to be done"):
        fill(desk, treatment_id, {**FIELDS, "units": "80"}, signs=True)
    treatments.cancel(desk.clinic, STAFF, treatment_id, "She did not come.")
    with desk.unchanged(), pytest.raises(Refused, match="cancelled: its record stays"):
        sign(desk.clinic, DOCTOR, treatment_id)
    with desk.unchanged(), pytest.raises(Refused, match="cancelled: its record stays"):
        fill(desk, treatment_id, {})


@on_one
def test_who_writes_over_what_another_has_written_meanwhile_is_told(desk: Desk) -> None:
    treatment_id = treated(desk)
    fill(desk, treatment_id, {"lot": "C1"}, seen=1)
    with desk.unchanged(), pytest.raises(Refused, match="changed this record meanwhile"):
        fill(desk, treatment_id, {"units": "100"}, seen=1)
    fill(desk, treatment_id, FIELDS, seen=2)
    assert versions(desk, treatment_id)[-1].fields == FIELDS


def test_signed_twice_at_the_same_moment_it_is_signed_once(desk: Desk) -> None:
    treatment_id = treated(desk)

    def both(_: int) -> bool:
        try:
            fill_in(desk.clinic, DOCTOR, treatment_id, FIELDS, "Dr Okafor", seen=1, signs=True)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(both, range(4))) == [False, False, False, True]
    assert len(desk.audit("treatment.signed")) == 1
    with desk.store.read() as session:
        assert len(stored.list_signatures(session, treatment_id)) == 1


TAMPERED = (
    "treatment_versions SET clinician = 'Dr Nobody'",
    "treatment_versions SET treated_local = '2026-11-21T08:30:00'",
    "treatment_versions SET treated_zone = 'Europe/Paris'",
    "treatment_versions SET treated_at = treated_at - 60000000",
    "treatment_versions SET fields_sealed = NULL",
    "treatment_signatures SET signed_by = 'staff:nobody'",
    "treatment_signatures SET signed_at = signed_at - 60000000",
    "treatment_signatures SET content_mac = x'00'",
)


def test_what_was_changed_outside_after_it_was_signed_shows(sqlite_desk: Desk) -> None:
    treated(sqlite_desk)
    amina = sqlite_desk.rows()[0].patient_id
    for number, change in enumerate(TAMPERED):
        treatment_id = sqlite_desk.treat(amina, f"2026-11-22T08:{number:02}", replaces=False).treatment_id
        fill(sqlite_desk, treatment_id, FIELDS, signs=True)
        fill(sqlite_desk, treatment_id, {**FIELDS, "units": "90"}, reason="A slip.")
        assert [version.holds for version in versions(sqlite_desk, treatment_id)] == [True, True, True]
        which = "number" if "versions SET" in change else "version"
        with sqlite_desk.store.engine.execution_options(writes=True).begin() as connection:
            statement = f"UPDATE {change} WHERE {which} = 2 AND treatment_id = '{treatment_id.hex}'"
            connection.execute(text(statement))
        assert [version.holds for version in versions(sqlite_desk, treatment_id)] == [True, False, True], change
