"""One's own account: password, PIN, address and second factor; and that nothing of them is stored in clear.

The passwords themselves are in `tests/test_passwords.py`.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyotp
import pytest

from db import accounts as stored
from db.engine import Store
from db.staff import StaffSession
from db.states import Role
from db.vault import KeyRing
from scheduler.accounts import staff
from scheduler.clock import FastClock
from scheduler.errors import AftercareError, InvalidInput, Refused
from tests.account_parts import BOSS, actions, add, join, present
from tests.clinic import Desk, dump
from tests.staffed import KEYS, PASSWORD, PIN, Account, Staffed
from tests.web_parts import make_clinic

NEW_PASSWORD = "four grey rivers rising"
NEW_PIN = "9173"


@pytest.fixture
def keyring() -> KeyRing:
    """The keys that the secrets of the tests' staff are hashed with."""
    return KEYS


@pytest.fixture
def staffed(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> Staffed:
    """A clinic whose door asks for second factors."""
    return Staffed(make_clinic(sqlite_store, clock, tmp_path / "var"), asks_second_factor=True)


@pytest.fixture
def both(draft_desk: Desk) -> Staffed:
    """The same, on both kinds of database."""
    return Staffed(draft_desk.clinic, asks_second_factor=True)


# One's own secrets


def test_who_changes_her_password_gives_the_present_one_and_ends_her_other_sessions(staffed: Staffed) -> None:
    dana = staffed.hire("dana", Role.RECEPTION)
    here, elsewhere = present(staffed, dana.id), staffed.door.open_for(dana.id, None, "Tests")
    with pytest.raises(InvalidInput, match="old_password: is not your present password"):
        staff.change_secrets(staffed.door, here, "wrong", NEW_PASSWORD, "")
    staff.change_secrets(staffed.door, here, PASSWORD, NEW_PASSWORD, "")
    assert staffed.door.who(elsewhere.token) is None
    assert [row.ended_at for row in sessions_of(staffed, dana)] == [None]
    with pytest.raises(Refused):
        staffed.door.sign_in("dana", PASSWORD, None, "192.0.2.1", "Tests")
    staffed.door.sign_in("dana", NEW_PASSWORD, None, "192.0.2.1", "Tests")


def sessions_of(staffed: Staffed, account: Account) -> list[StaffSession]:
    """Her sessions that go on."""
    with staffed.clinic.store.read() as session:
        return [row for row, _, _ in stored.list_sessions(session, staffed.machine.now(), staff_id=account.id)]


def test_who_changes_her_pin_keeps_her_sessions(staffed: Staffed) -> None:
    dana = staffed.hire("dana", Role.RECEPTION)
    here, elsewhere = present(staffed, dana.id), staffed.door.open_for(dana.id, None, "Tests")
    staff.change_secrets(staffed.door, here, PASSWORD, "", NEW_PIN)
    staffed.door.lock(here)
    with pytest.raises(Refused):
        staffed.door.unlock(here, PIN)
    staffed.door.unlock(here, NEW_PIN)
    assert staffed.door.who(elsewhere.token) is not None


@pytest.mark.parametrize(
    ("password", "pin", "told"),
    [
        ("", "", "password: write a new"),
        ("short", "1", "password: is shorter.*\npin: write"),
        ("dana dana dana", "", "own"),
    ],
)
def test_a_bad_new_secret_changes_nothing(staffed: Staffed, password: str, pin: str, told: str) -> None:
    here = present(staffed, staffed.hire("dana", Role.RECEPTION).id)
    before = dump(staffed.clinic.store)
    with pytest.raises(InvalidInput, match=f"(?s){told}"):
        staff.change_secrets(staffed.door, here, PASSWORD, password, pin)
    assert dump(staffed.clinic.store) == before


def test_the_present_password_cannot_be_guessed_in_an_open_session(staffed: Staffed) -> None:
    here = present(staffed, staffed.hire("dana", Role.RECEPTION).id)
    for _ in range(5):
        with pytest.raises(InvalidInput):
            staff.change_secrets(staffed.door, here, "wrong", NEW_PASSWORD, "")
    with pytest.raises(Refused, match="too many tries"):
        staff.change_secrets(staffed.door, here, PASSWORD, NEW_PASSWORD, "")


def test_ones_own_address_is_checked_and_may_be_empty(staffed: Staffed) -> None:
    dana = staffed.hire("dana", Role.RECEPTION)
    here = present(staffed, dana.id)
    staff.change_address(staffed.clinic, here, "dana@EXAMPLE.org")
    assert staffed.member(dana).email == "dana@example.org"
    with pytest.raises(InvalidInput, match="email: is not a usable address"):
        staff.change_address(staffed.clinic, here, "dana@")
    staff.change_address(staffed.clinic, here, " ")
    assert staffed.member(dana).email is None


# The second factor


def test_a_second_factor_is_stored_when_it_is_confirmed_and_not_before(both: Staffed) -> None:
    dana = both.hire("dana", Role.CLINICIAN)
    here = present(both, dana.id)
    before = dump(both.clinic.store)
    secret = staff.offer_second_factor(both.clinic, here)
    assert staff.offer_second_factor(both.clinic, here) == secret
    assert staff.offer_second_factor(both.clinic, present(both, dana.id)) != secret
    assert dump(both.clinic.store)["staff_members"] == before["staff_members"]
    with pytest.raises(Refused, match="code is not right"):
        staff.confirm_second_factor(both.door, here, "000000")
    assert not both.member(dana).totp_confirmed
    codes = staff.confirm_second_factor(both.door, here, pyotp.TOTP(secret).at(both.machine.now()))
    assert len(set(codes)) == 10
    assert all(re.fullmatch(r"[a-z2-9]{5}-[a-z2-9]{5}", code) for code in codes)
    with both.clinic.store.read() as session:
        assert stored.open_totp(session, both.member(dana)) == secret
    for again in (staff.offer_second_factor, lambda *_: staff.confirm_second_factor(both.door, here, "000000")):
        with pytest.raises(Refused, match="You have a second factor"):
            again(both.clinic, here)


def test_confirming_twice_at_once_gives_one_set_of_recovery_codes(both: Staffed) -> None:
    dana = both.hire("dana", Role.CLINICIAN)
    here = present(both, dana.id)
    code = pyotp.TOTP(staff.offer_second_factor(both.clinic, here)).at(both.machine.now())

    def confirm(_: int) -> list[str]:
        try:
            return staff.confirm_second_factor(both.door, here, code)
        except AftercareError:
            return []

    with ThreadPoolExecutor(4) as pool:
        told = [codes for codes in pool.map(confirm, range(4)) if codes]
    assert len(told) == 1
    assert both.door.give_code(both.door.open_for(dana.id, None, "Tests").token, told[0][0]).complete


# What is stored


def test_nothing_that_opens_a_door_is_stored_in_clear(staffed: Staffed, tmp_path: Path) -> None:
    staff_id, link = add(staffed, "Dr Dana Novak", Role.CLINICIAN)
    join(staffed, link)
    opened = staffed.door.sign_in("dana.novak", PASSWORD, None, "192.0.2.1", "Tests")
    here = staffed.door.who(opened.token)
    assert here is not None
    secret = staff.offer_second_factor(staffed.clinic, here)
    codes = staff.confirm_second_factor(staffed.door, here, pyotp.TOTP(secret).at(staffed.machine.now()))
    whole = staffed.door.finish_second_factor(here)
    again = staff.reset(staffed.clinic, BOSS, staff_id, staffed.machine.now())
    secrets = [PASSWORD, secret, *codes, link, again, opened.token, opened.device_token, whole.token]
    files = b"".join(path.read_bytes() for path in (tmp_path / "var").iterdir() if path.is_file())
    assert b"Dr Dana Novak" in files
    assert [each for each in secrets if each.encode() in files] == []
    told = repr(dump(staffed.clinic.store))
    assert [each for each in secrets if each in told] == []


def test_a_stolen_table_is_of_no_use_with_other_keys(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> None:
    staffed = Staffed(make_clinic(sqlite_store, clock, tmp_path / "var"), asks_second_factor=True)
    dana = staffed.hire("dana", Role.CLINICIAN, totp=True)
    opened = staffed.door.open_for(dana.id, None, "Tests")
    thief = Staffed(
        make_clinic(Store(sqlite_store.engine, type(sqlite_store.vault)(KeyRing.make())), clock, tmp_path / "var")
    )
    assert thief.door.who(opened.token) is None
    with pytest.raises(Refused):
        thief.door.sign_in("dana", PASSWORD, None, "192.0.2.1", "Tests")
    assert staffed.door.who(opened.token) is not None


def test_every_change_of_an_account_is_in_the_trail_without_values(staffed: Staffed) -> None:
    now = staffed.machine.now()
    staffed.hire("boss", Role.MANAGER)
    staff_id, token = add(staffed)
    join(staffed, token)
    here = present(staffed, staff_id)
    acts: list[Callable[[], object]] = [
        lambda: staff.change_secrets(staffed.door, here, PASSWORD, NEW_PASSWORD, NEW_PIN),
        lambda: staff.change_address(staffed.clinic, here, "dana@example.org"),
        lambda: staff.change_roles(staffed.clinic, BOSS, staff_id, [Role.AUDITOR]),
        lambda: staff.reset(staffed.clinic, BOSS, staff_id, now),
        lambda: staff.disable(staffed.clinic, BOSS, staff_id, now),
        lambda: staff.enable(staffed.clinic, BOSS, staff_id),
    ]
    for act in acts:
        act()
    assert actions(staffed) == [
        (BOSS, "staff.added"),
        ("staff:dana.novak", "staff.joined"),
        ("staff:dana.novak", "staff.signed_in"),
        ("staff:dana.novak", "staff.secrets_changed"),
        ("staff:dana.novak", "staff.address_changed"),
        (BOSS, "staff.roles_changed"),
        (BOSS, "staff.reset"),
        (BOSS, "staff.disabled"),
        (BOSS, "staff.enabled"),
    ]
    told = repr(dump(staffed.clinic.store)["audit_events"])
    assert not any(value in told for value in ("dana@example.org", "auditor", "reception", NEW_PIN, "Dana"))
