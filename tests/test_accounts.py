"""Accounts: entering, inviting, resetting and disabling staff, joining by a one-time link, one's own secrets.

Getting in with them is in `tests/test_front_door.py`; the passwords themselves in `tests/test_passwords.py`.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pyotp
import pytest

from db import accounts as stored
from db.engine import Store
from db.staff import StaffSession
from db.states import Role
from db.vault import KeyRing
from scheduler.accounts import staff
from scheduler.accounts.front_door import Present
from scheduler.accounts.staff import Joining, LinkOver
from scheduler.clock import FastClock
from scheduler.errors import AftercareError, InvalidInput, NotFound, Refused
from tests.clinic import Desk, dump
from tests.staffed import KEYS, PASSWORD, PIN, Account, Staffed
from tests.web_parts import make_clinic

BOSS = "staff:boss"
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


def add(staffed: Staffed, name: str = "Dr Dana Novak", *roles: Role, login: str | None = None) -> tuple[UUID, str]:
    """Enter a person: her id and the token of her link."""
    return staff.add(staffed.clinic, BOSS, name, roles or (Role.RECEPTION,), login, None, staffed.machine.now())


def join(staffed: Staffed, token: str, **more: str) -> UUID:
    """Set the tests' password and PIN behind a link."""
    return staff.join(staffed.door, token, Joining(**({"password": PASSWORD, "pin": PIN} | more)))


def present(staffed: Staffed, staff_id: UUID) -> Present:
    """Her, in a new session."""
    found = staffed.door.who(staffed.door.open_for(staff_id, None, "Tests").token)
    assert found is not None
    return found


def actions(staffed: Staffed) -> list[tuple[str, str]]:
    """Who did what, in order."""
    return [(row[2], row[3]) for row in sorted(dump(staffed.clinic.store)["audit_events"])]


def test_who_is_entered_sets_her_password_behind_a_link_and_signs_in(both: Staffed) -> None:
    staff_id, token = add(both, "Dr Dana Novak", Role.CLINICIAN, Role.AUDITOR)
    with pytest.raises(Refused):
        both.door.sign_in("dana.novak", "", None, "192.0.2.1", "Tests")
    guest = staff.invited(both.door, token)
    assert (guest.staff_id, guest.login, guest.name) == (staff_id, "dana.novak", "Dr Dana Novak")
    assert join(both, token) == staff_id
    opened = both.door.sign_in(" Dana.Novak ", PASSWORD, None, "192.0.2.1", "Tests")
    at_work = both.door.who(opened.token)
    assert at_work is not None
    assert (at_work.staff_id, at_work.roles) == (staff_id, (Role.AUDITOR, Role.CLINICIAN))
    assert ("staff:dana.novak", "staff.joined") in actions(both)
    assert (BOSS, "staff.added") in actions(both)


def test_everything_wrong_with_a_new_account_is_told_at_once(staffed: Staffed) -> None:
    before = dump(staffed.clinic.store)
    with pytest.raises(InvalidInput) as wrong:
        staff.add(staffed.clinic, BOSS, " ", (), "Dana Novak", "dana@", staffed.machine.now())
    assert [problem.partition(":")[0] for problem in wrong.value.problems] == ["name", "login", "email", "role"]
    assert dump(staffed.clinic.store) == before


@pytest.mark.parametrize(
    ("name", "login"),
    [
        ("Dr Dana Novak", "dana.novak"),
        ("Prof. Ada O'Neil-Ray", "ada.oneilray"),
        ("Ms Mia", "mia"),
        ("Zoë Brown", "zoe.brown"),
        ("Prof Dr Kim", "kim"),
    ],
)
def test_a_sign_in_name_is_made_of_the_persons(staffed: Staffed, name: str, login: str) -> None:
    staff_id, _ = add(staffed, name)
    assert staff.find_by_login(staffed.clinic, login).id == staff_id


@pytest.mark.parametrize(
    "login", ["dana novak", "dana_novak", "dana@example.org", ".dana", "dana.", "1dana", "d" * 41, "дана", "a\x00b"]
)
def test_a_sign_in_name_is_of_plain_letters(staffed: Staffed, login: str) -> None:
    with pytest.raises(InvalidInput, match="login: write small letters"):
        add(staffed, login=login)


def test_a_name_without_plain_letters_needs_a_sign_in_name(staffed: Staffed) -> None:
    with pytest.raises(InvalidInput, match="login: write small letters"):
        add(staffed, "Дана Новак")
    add(staffed, "Дана Новак", login="dana")
    assert [member.name for member in staff.list_members(staffed.clinic)] == ["Дана Новак"]


def test_a_sign_in_name_is_one_persons(staffed: Staffed) -> None:
    add(staffed)
    with pytest.raises(InvalidInput, match=r'"dana\.novak" is taken'):
        add(staffed, login="DANA.novak")
    with pytest.raises(NotFound, match="nobody who signs in as"):
        staff.find_by_login(staffed.clinic, "dana")


def test_a_role_given_twice_counts_once(staffed: Staffed) -> None:
    staff_id, _ = add(staffed, "Dana", Role.RECEPTION, Role.RECEPTION)
    assert [member.roles for member in staff.list_members(staffed.clinic)] == [(Role.RECEPTION,)]
    staff.change_roles(staffed.clinic, BOSS, staff_id, [Role.AUDITOR, Role.AUDITOR])
    assert [member.roles for member in staff.list_members(staffed.clinic)] == [(Role.AUDITOR,)]


# One-time links


def test_a_link_works_once(both: Staffed) -> None:
    _, token = add(both)
    join(both, token)
    with pytest.raises(LinkOver):
        join(both, token, password=NEW_PASSWORD)
    with pytest.raises(LinkOver):
        staff.invited(both.door, token)
    both.door.sign_in("dana.novak", PASSWORD, None, "192.0.2.1", "Tests")


def test_a_link_opens_for_one_of_many_who_come_at_once(both: Staffed) -> None:
    _, token = add(both)
    passwords = [f"{PASSWORD} {number}" for number in range(4)]

    def come(password: str) -> bool:
        try:
            join(both, token, password=password)
        except LinkOver:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        got_in = list(pool.map(come, passwords))
    assert got_in.count(True) == 1
    both.door.sign_in("dana.novak", passwords[got_in.index(True)], None, "192.0.2.1", "Tests")


def test_a_link_holds_for_three_days(staffed: Staffed) -> None:
    _, token = add(staffed)
    staffed.machine.advance(timedelta(days=3) - timedelta(seconds=1))
    assert staff.invited(staffed.door, token).login == "dana.novak"
    staffed.machine.advance(timedelta(seconds=1))
    with pytest.raises(LinkOver):
        staff.invited(staffed.door, token)
    with pytest.raises(LinkOver):
        join(staffed, token)


def test_looking_at_a_link_and_a_wrong_form_do_not_spend_it(staffed: Staffed) -> None:
    _, token = add(staffed)
    before = dump(staffed.clinic.store)
    staff.invited(staffed.door, token)
    with pytest.raises(InvalidInput) as wrong:
        join(staffed, token, password="short", pin="1234")
    assert [problem.partition(":")[0] for problem in wrong.value.problems] == ["password", "pin"]
    assert dump(staffed.clinic.store) == before
    join(staffed, token)


def test_a_new_link_ends_the_earlier_one_of_that_person_alone(staffed: Staffed) -> None:
    staff_id, token = add(staffed)
    _, other = add(staffed, "Mia Berg")
    again = staff.reset(staffed.clinic, BOSS, staff_id, staffed.machine.now())
    with pytest.raises(LinkOver):
        staff.invited(staffed.door, token)
    assert staff.invited(staffed.door, again).staff_id == staff_id
    assert staff.invited(staffed.door, other).name == "Mia Berg"


@pytest.mark.parametrize("token", ["", "none", "a" * 10_000, "a\x00b", "../x"])
def test_a_link_that_never_was_is_over(staffed: Staffed, token: str) -> None:
    with pytest.raises(LinkOver):
        staff.invited(staffed.door, token)


def test_a_link_of_a_disabled_person_is_over_for_good(staffed: Staffed) -> None:
    staff_id, token = add(staffed)
    staff.disable(staffed.clinic, BOSS, staff_id, staffed.machine.now())
    with pytest.raises(LinkOver):
        staff.invited(staffed.door, token)
    staff.enable(staffed.clinic, BOSS, staff_id)
    with pytest.raises(LinkOver):
        join(staffed, token)


def test_who_joins_by_an_invitation_chooses_neither_name_nor_roles(staffed: Staffed) -> None:
    _, token = add(staffed)
    join(staffed, token, login="boss", name="The Boss", email="boss@example.org")
    (member,) = staff.list_members(staffed.clinic)
    assert (member.login, member.name, member.roles, member.email) == (
        "dana.novak", "Dr Dana Novak", (Role.RECEPTION,), None
    )  # fmt: skip


# The first account


def test_the_first_account_is_a_clinicians_and_managers_and_there_is_one(both: Staffed) -> None:
    earlier = staff.first_link(both.clinic, both.machine.now())
    token = staff.first_link(both.clinic, both.machine.now())
    assert earlier is not None
    assert token is not None
    with pytest.raises(LinkOver):
        join(both, earlier, name="Somebody Else")
    with pytest.raises(InvalidInput) as wrong:
        join(both, token, name="", login="Dana!", email="dana@")
    assert [problem.partition(":")[0] for problem in wrong.value.problems] == ["name", "login", "email"]
    join(both, token, name="Dr Dana Novak", email="dana@example.org")
    (member,) = staff.list_members(both.clinic)
    assert (member.login, member.roles, member.email, member.joined) == (
        "dana.novak", (Role.CLINICIAN, Role.MANAGER), "dana@example.org", True
    )  # fmt: skip
    assert staff.first_link(both.clinic, both.machine.now()) is None
    with pytest.raises(LinkOver):
        join(both, token, name="Mia Berg")


def test_the_first_link_makes_no_second_first_account(staffed: Staffed) -> None:
    token = staff.first_link(staffed.clinic, staffed.machine.now())
    assert token is not None
    add(staffed, "Mia Berg")
    with pytest.raises(LinkOver):
        join(staffed, token, name="Dr Dana Novak")
    assert [member.name for member in staff.list_members(staffed.clinic)] == ["Mia Berg"]


# Resetting, disabling, roles


def test_a_reset_leaves_nothing_she_could_come_in_with(both: Staffed) -> None:
    dana = both.hire("dana", Role.CLINICIAN, totp=True)
    opened = both.door.sign_in("dana", PASSWORD, None, "192.0.2.1", "Tests")
    whole = both.door.give_code(opened.token, both.code(dana))
    token = staff.reset(both.clinic, BOSS, dana.id, both.machine.now())
    assert both.door.who(whole.token) is None
    member = both.member(dana)
    assert (member.password_hash, member.pin_hash, member.totp_sealed, member.totp_confirmed) == (
        None, None, None, False
    )  # fmt: skip
    for password in (PASSWORD, ""):
        with pytest.raises(Refused):
            both.door.sign_in("dana", password, opened.device_token, "192.0.2.1", "Tests")
    join(both, token, password=NEW_PASSWORD, pin=NEW_PIN)
    again = both.door.sign_in("dana", NEW_PASSWORD, opened.device_token, "192.0.2.1", "Tests")
    assert not again.complete
    with pytest.raises(Refused, match="no second factor yet"):
        both.door.give_code(again.token, both.code(dana))


def test_what_was_done_twice_is_said(staffed: Staffed) -> None:
    now = staffed.machine.now()
    dana = staffed.hire("dana", Role.RECEPTION)
    with pytest.raises(Refused, match="is not disabled"):
        staff.enable(staffed.clinic, BOSS, dana.id)
    staff.disable(staffed.clinic, BOSS, dana.id, now)
    with pytest.raises(Refused, match="is disabled already"):
        staff.disable(staffed.clinic, BOSS, dana.id, now)
    with pytest.raises(Refused, match="enable it first"):
        staff.reset(staffed.clinic, BOSS, dana.id, now)
    nobody = UUID(int=0)
    for act in (
        lambda: staff.enable(staffed.clinic, BOSS, nobody),
        lambda: staff.disable(staffed.clinic, BOSS, nobody, now),
        lambda: staff.reset(staffed.clinic, BOSS, nobody, now),
        lambda: staff.change_roles(staffed.clinic, BOSS, nobody, [Role.AUDITOR]),
    ):
        with pytest.raises(NotFound):
            act()


def test_the_last_manager_who_can_sign_in_stays_one(both: Staffed) -> None:
    now = both.machine.now()
    boss, deputy = both.hire("boss", Role.MANAGER, Role.CLINICIAN), both.hire("deputy", Role.MANAGER)
    staff.disable(both.clinic, BOSS, deputy.id, now)
    add(both, "Invited Only", Role.MANAGER)
    before = dump(both.clinic.store)
    with pytest.raises(Refused, match="Boss is the last manager"):
        staff.disable(both.clinic, BOSS, boss.id, now)
    with pytest.raises(Refused, match="Boss is the last manager"):
        staff.change_roles(both.clinic, BOSS, boss.id, [Role.CLINICIAN])
    assert dump(both.clinic.store) == before
    staff.change_roles(both.clinic, BOSS, boss.id, [Role.MANAGER])
    staff.enable(both.clinic, BOSS, deputy.id)
    staff.disable(both.clinic, BOSS, boss.id, now)
    with pytest.raises(InvalidInput, match="role: choose at least one of reception"):
        staff.change_roles(both.clinic, BOSS, deputy.id, [])


def test_two_managers_who_disable_each_other_at_once_leave_one(both: Staffed) -> None:
    managers = [both.hire(name, Role.MANAGER) for name in ("ada", "bea", "cleo", "dora")]

    def disable(manager: Account) -> bool:
        try:
            staff.disable(both.clinic, BOSS, manager.id, both.machine.now())
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(disable, managers))
    assert done.count(True) == 3
    assert [member.disabled_at for member in staff.list_members(both.clinic)].count(None) == 1


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
