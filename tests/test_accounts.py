"""Accounts: entering, inviting, resetting and disabling staff, joining by a one-time link.

Getting in with them is in `tests/test_front_door.py`; one's own secrets are in `tests/test_own_account.py`.
"""

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from db import accounts as stored
from db.engine import Store
from db.states import Role
from db.vault import KeyRing
from scheduler.accounts import staff
from scheduler.accounts.staff import LinkOver
from scheduler.clock import FastClock
from scheduler.errors import InvalidInput, NotFound, Refused
from tests.account_parts import BOSS, actions, add, join
from tests.clinic import Desk, dump
from tests.staffed import KEYS, PASSWORD, Account, Staffed
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
    with pytest.raises(InvalidInput, match="login: write small letters and digits, at most 40"):
        add(staffed, login=login)


def test_a_name_without_plain_letters_needs_a_sign_in_name(staffed: Staffed) -> None:
    with pytest.raises(InvalidInput, match="login: write small letters and digits, at most 40"):
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


def test_a_link_is_spent_by_one_write(both: Staffed) -> None:
    _, token = add(both)
    now, spent = both.machine.now(), []
    for _ in range(2):
        with both.clinic.store.write(BOSS, both.clinic.clock.now()) as session:
            link = stored.find_link(session, both.clinic.store.vault.token_hash("link", token))
            assert link is not None
            spent.append(stored.use_link(session, link.id, now))
    assert spent == [True, False]


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


def test_a_name_that_another_enters_at_this_moment_is_taken(postgres_desk: Desk) -> None:
    both = Staffed(postgres_desk.clinic)
    with ThreadPoolExecutor(1) as pool:
        with postgres_desk.store.write("cli:other", postgres_desk.clock.now()) as session:
            stored.add_member(session, "dana.novak", "Dana Novak", [Role.RECEPTION], None)
            waits = pool.submit(add, both)
            assert not wait([waits], timeout=0.5).done  # for the other to end
        with pytest.raises(InvalidInput, match=r'login: "dana\.novak" is taken'):
            waits.result()


def test_a_long_name_makes_a_sign_in_name_that_is_short_enough(both: Staffed) -> None:
    staff_id, _ = add(both, "Dr Maria Guadalupe Concepcion Villanueva Ibarra")
    assert [(member.id, member.login) for member in staff.list_members(both.clinic)] == [
        (staff_id, "maria.guadalupe.concepcion.villanueva.ib")
    ]
