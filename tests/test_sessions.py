"""Staying in: the idle lock and its PIN, the end after twelve hours, another person at the same desk, signing out.

How a session begins is in `tests/test_front_door.py`; how its cookies travel in `tests/test_door_pages.py`.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from db import accounts as stored
from db.engine import Store
from db.staff import StaffSession
from db.states import Role
from db.vault import KeyRing
from scheduler.accounts import passwords, staff
from scheduler.accounts.front_door import TOO_MANY_PINS, WRONG_PIN, Opened, Present, SignInAgain
from scheduler.accounts.rights import Right
from scheduler.clock import FastClock
from scheduler.errors import Refused
from tests.clinic import Desk, dump
from tests.staffed import KEYS, PASSWORD, PIN, Account, Staffed
from tests.web_parts import make_clinic

IDLE = timedelta(minutes=15)
SECOND = timedelta(seconds=1)


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


def come_in(staffed: Staffed, login: str, *roles: Role, device: str | None = None) -> tuple[Account, Opened]:
    """A new person, signed in; in a browser that others use when its secret is given."""
    account = staffed.hire(login, *(roles or (Role.RECEPTION,)))
    return account, staffed.door.open_for(account.id, device, "Tests")


def seen(staffed: Staffed, opened: Opened) -> Present:
    """Her, who is still in."""
    present = staffed.door.who(opened.token)
    assert present is not None
    return present


def row(staffed: Staffed, present: Present) -> StaffSession:
    """What is stored of her session."""
    with staffed.clinic.store.read() as session:
        return session.get_one(StaffSession, present.session_id)


# The lock


def test_after_fifteen_minutes_without_a_sign_of_her_the_session_is_locked(staffed: Staffed) -> None:
    _, opened = come_in(staffed, "mia")
    staffed.machine.advance(IDLE)
    assert not seen(staffed, opened).locked
    staffed.machine.advance(SECOND)
    assert seen(staffed, opened).locked
    staffed.door.unlock(seen(staffed, opened), PIN)
    assert not seen(staffed, opened).locked


def test_a_sign_of_her_keeps_it_open_and_is_written_twice_a_minute_at_most(staffed: Staffed) -> None:
    _, opened = come_in(staffed, "mia")
    staffed.machine.advance(timedelta(seconds=30))
    before = dump(staffed.clinic.store)
    staffed.door.touch(seen(staffed, opened))
    assert dump(staffed.clinic.store) == before
    for _ in range(4):
        staffed.machine.advance(IDLE)
        staffed.door.touch(seen(staffed, opened))
    assert not seen(staffed, opened).locked
    assert row(staffed, seen(staffed, opened)).seen_at == staffed.machine.now()


def test_who_locks_her_session_opens_it_with_her_pin_alone(both: Staffed) -> None:
    _, opened = come_in(both, "mia")
    both.door.lock(seen(both, opened))
    for wrong in ("", "2847", PASSWORD, f" {PIN}"):
        assert refusal(both.door.unlock, seen(both, opened), wrong) == WRONG_PIN
    assert seen(both, opened).locked
    both.door.unlock(seen(both, opened), PIN)
    assert not seen(both, opened).locked
    assert row(both, seen(both, opened)).pin_failures == 0


def test_the_fifth_wrong_pin_ends_the_session(both: Staffed) -> None:
    account, opened = come_in(both, "mia")
    elsewhere = both.door.open_for(account.id, None, "Tests")
    locked = seen(both, opened)
    both.door.lock(locked)
    for _ in range(4):
        assert refusal(both.door.unlock, locked, "0000") == WRONG_PIN
    with pytest.raises(SignInAgain, match=TOO_MANY_PINS):
        both.door.unlock(locked, "0000")
    assert both.door.who(opened.token) is None
    with pytest.raises(SignInAgain):
        both.door.unlock(locked, PIN)
    assert both.door.who(opened.token) is None
    assert both.door.who(elsewhere.token) is not None


def test_many_pins_at_once_get_five_looks(both: Staffed, monkeypatch: pytest.MonkeyPatch) -> None:
    _, opened = come_in(both, "mia")
    locked = seen(both, opened)
    both.door.lock(locked)
    looks, real = [], passwords.matches

    def matches(secret: str, kept: str | None, key: bytes) -> bool:
        looks.append(secret)
        return real(secret, kept, key)

    monkeypatch.setattr(passwords, "matches", matches)

    def guess(number: int) -> str:
        return refusal(both.door.unlock, locked, f"{number:04}")

    with ThreadPoolExecutor(12) as pool:
        said = list(pool.map(guess, range(12)))
    assert len(looks) == 5
    assert said.count(WRONG_PIN) == 4
    assert both.door.who(opened.token) is None


def test_without_a_pin_nothing_opens(staffed: Staffed) -> None:
    account, opened = come_in(staffed, "mia")
    with staffed.clinic.store.write("test", staffed.clinic.clock.now()) as session:
        member = stored.find_member(session, account.id)
        assert member is not None
        member.pin_hash = None
    staffed.door.lock(seen(staffed, opened))
    for pin in ("", PIN):
        assert refusal(staffed.door.unlock, seen(staffed, opened), pin) == WRONG_PIN


def refusal(act: Callable[..., object], *with_: object) -> str:
    """What is said when it is refused."""
    with pytest.raises(Refused) as refused:
        act(*with_)
    return str(refused.value)


# The end


def test_a_session_ends_after_twelve_hours_whoever_is_there(staffed: Staffed) -> None:
    _, opened = come_in(staffed, "mia")
    for _ in range(12 * 6 - 1):
        staffed.machine.advance(timedelta(minutes=10))
        staffed.door.touch(seen(staffed, opened))
    staffed.machine.advance(timedelta(minutes=10) - SECOND)
    assert not seen(staffed, opened).locked
    staffed.machine.advance(SECOND)
    assert staffed.door.who(opened.token) is None


def test_a_pin_does_not_make_a_session_last_longer(staffed: Staffed) -> None:
    _, opened = come_in(staffed, "mia")
    staffed.machine.advance(timedelta(hours=12) - SECOND)
    staffed.door.unlock(seen(staffed, opened), PIN)
    staffed.machine.advance(SECOND)
    assert staffed.door.who(opened.token) is None


def test_half_in_is_over_after_fifteen_minutes(staffed: Staffed) -> None:
    dana = staffed.hire("dana", Role.CLINICIAN, totp=True)
    half = staffed.door.open_for(dana.id, None, "Tests")
    staffed.machine.advance(IDLE + SECOND)
    assert staffed.door.who(half.token) is None
    with pytest.raises(SignInAgain):
        staffed.door.give_code(half.token, staffed.code(dana))


def test_who_signs_out_is_out_here_and_stays_in_elsewhere(staffed: Staffed) -> None:
    account, here = come_in(staffed, "mia")
    elsewhere = staffed.door.open_for(account.id, None, "Tests")
    staffed.door.sign_out(seen(staffed, here))
    assert staffed.door.who(here.token) is None
    assert staffed.door.who(elsewhere.token) is not None


def test_who_signs_out_everywhere_is_out_everywhere_and_gives_her_second_factor_again(both: Staffed) -> None:
    dana, tom = (both.hire(login, Role.CLINICIAN, totp=True) for login in ("dana", "tom"))
    half = both.door.open_for(dana.id, None, "Tests")
    here = both.door.give_code(half.token, both.code(dana))
    toms = both.door.open_for(tom.id, half.device_token, "Tests")
    elsewhere = both.door.open_for(dana.id, None, "Tests")
    assert both.door.sign_out_everywhere(seen(both, here)) == 2
    assert both.door.who(here.token) is None
    assert both.door.who(elsewhere.token) is None
    assert both.door.who(toms.token) is not None
    assert not both.door.open_for(dana.id, toms.device_token, "Tests").complete


def test_a_manager_signs_another_person_out_everywhere(staffed: Staffed) -> None:
    account, mias = come_in(staffed, "mia")
    _, bosses = come_in(staffed, "boss")
    assert staffed.door.sign_out_everywhere(seen(staffed, bosses), account.id) == 1
    assert staffed.door.who(mias.token) is None
    assert staffed.door.who(bosses.token) is not None


def test_a_person_has_one_session_in_a_browser(staffed: Staffed) -> None:
    account, first = come_in(staffed, "mia")
    second = staffed.door.open_for(account.id, first.device_token, "Tests")
    third = staffed.door.open_for(account.id, None, "Tests")
    assert staffed.door.who(first.token) is None
    assert staffed.door.who(second.token) is not None
    assert staffed.door.who(third.token) is not None


def test_sessions_that_ended_long_ago_are_forgotten(staffed: Staffed) -> None:
    account, opened = come_in(staffed, "mia")
    session_id = seen(staffed, opened).session_id
    for days, kept in ((30, True), (1, False)):
        staffed.machine.advance(timedelta(days=days))
        staffed.door.open_for(account.id, None, "Tests")
        ids = [found[0] for found in dump(staffed.clinic.store)["staff_sessions"]]
        assert (session_id in ids) is kept


@pytest.mark.parametrize("token", [None, "", "made up", "x" * 100_000, "a\x00b"])
def test_a_token_that_was_never_given_is_nobodys(staffed: Staffed, token: str | None) -> None:
    come_in(staffed, "mia")
    assert staffed.door.who(token) is None


# What changes about her account


def test_who_is_disabled_is_out_at_her_next_page_and_enabling_brings_no_session_back(both: Staffed) -> None:
    account, opened = come_in(both, "mia")
    staff.disable(both.clinic, "test", account.id, both.machine.now())
    assert both.door.who(opened.token) is None
    staff.enable(both.clinic, "test", account.id)
    assert both.door.who(opened.token) is None
    assert both.door.sign_in("mia", PASSWORD, opened.device_token, "192.0.2.1", "Tests").complete


def test_no_session_of_a_disabled_person_counts_however_she_was_disabled(staffed: Staffed) -> None:
    account, opened = come_in(staffed, "mia")
    with staffed.clinic.store.write("test", staffed.clinic.clock.now()) as session:
        member = stored.find_member(session, account.id)
        assert member is not None
        member.disabled_at = staffed.machine.now()
    assert staffed.door.who(opened.token) is None


def test_another_role_counts_from_her_next_page_on(both: Staffed) -> None:
    account, opened = come_in(both, "mia")
    assert seen(both, opened).may(Right.DESK)
    staff.change_roles(both.clinic, "test", account.id, [Role.AUDITOR])
    assert not seen(both, opened).may(Right.DESK)
    assert seen(both, opened).may(Right.TRAIL)


def test_a_role_that_asks_for_a_second_factor_asks_for_it_in_open_sessions_too(staffed: Staffed) -> None:
    account, opened = come_in(staffed, "mia")
    _, toms = come_in(staffed, "tom", device=opened.device_token)
    assert seen(staffed, opened).complete
    staff.change_roles(staffed.clinic, "test", account.id, [Role.RECEPTION, Role.CLINICIAN])
    assert not seen(staffed, opened).complete
    assert staffed.door.list_others(seen(staffed, toms)) == []
    staff.change_roles(staffed.clinic, "test", account.id, [Role.RECEPTION])
    assert seen(staffed, opened).complete


# Another person at the same desk


def test_another_person_of_this_browser_takes_over_with_her_pin(both: Staffed) -> None:
    _, mias = come_in(both, "mia")
    _, toms = come_in(both, "tom", device=mias.device_token)
    come_in(both, "far")
    tom = seen(both, toms)
    (other,) = both.door.list_others(tom)
    assert other.login == "mia"
    again = both.door.switch(tom, other.session_id, PIN)
    assert (seen(both, again).login, seen(both, again).locked) == ("mia", False)
    assert both.door.who(mias.token) is None
    assert seen(both, toms).locked
    assert (again.device_token, again.complete) == ("", True)
    back = both.door.switch(seen(both, again), tom.session_id, PIN)
    assert (seen(both, back).login, seen(both, again).locked) == ("tom", True)


def test_a_wrong_pin_of_another_person_counts_against_her_session_alone(staffed: Staffed) -> None:
    _, mias = come_in(staffed, "mia")
    _, toms = come_in(staffed, "tom", device=mias.device_token)
    mia, tom = seen(staffed, mias), seen(staffed, toms)
    for _ in range(4):
        assert refusal(staffed.door.switch, tom, mia.session_id, "0000") == WRONG_PIN
    assert not seen(staffed, toms).locked
    with pytest.raises(SignInAgain):
        staffed.door.switch(tom, mia.session_id, "0000")
    assert staffed.door.who(mias.token) is None
    assert staffed.door.list_others(tom) == []
    assert seen(staffed, toms).complete


def test_nobody_takes_over_what_is_not_of_this_browser_not_whole_or_over(staffed: Staffed) -> None:
    _, toms = come_in(staffed, "tom")
    tom = seen(staffed, toms)
    _, far = come_in(staffed, "far")
    _, half = come_in(staffed, "half", Role.CLINICIAN, device=toms.device_token)
    gone, opened = come_in(staffed, "gone", device=half.device_token)
    _, ended = come_in(staffed, "ended", device=opened.device_token)
    others = [seen(staffed, each) for each in (far, half, opened, ended)]
    staff.disable(staffed.clinic, "test", gone.id, staffed.machine.now())
    staffed.door.sign_out(others[-1])
    assert staffed.door.list_others(tom) == []
    for other in (*others, tom):
        with pytest.raises(SignInAgain, match="not signed in here"):
            staffed.door.switch(tom, other.session_id, PIN)
    assert not seen(staffed, toms).locked


def test_every_session_has_a_form_token_of_its_own(staffed: Staffed) -> None:
    account, first = come_in(staffed, "mia")
    second = staffed.door.open_for(account.id, None, "Tests")
    tokens = {staffed.door.form_token(each.token) for each in (first, second)}
    assert len(tokens) == 2
    assert all(first.token not in token and len(token) == 32 for token in tokens)


def test_comings_and_goings_are_in_the_trail(staffed: Staffed) -> None:
    account, opened = come_in(staffed, "mia")
    staffed.door.sign_out(seen(staffed, opened))
    again = staffed.door.open_for(account.id, None, "Tests")
    staffed.door.sign_out_everywhere(seen(staffed, again))
    events = [(event[2], event[3]) for event in sorted(dump(staffed.clinic.store)["audit_events"])]
    assert events == [
        ("staff:mia", "staff.signed_in"),
        ("staff:mia", "staff.signed_out"),
        ("staff:mia", "staff.signed_in"),
        ("staff:mia", "staff.signed_out_everywhere"),
    ]
