"""Getting in: sign-in and its throttle, the second factor, known browsers. What a session is: `tests/test_sessions.py`.

Passwords are counted by a spy around `passwords.matches`, which still does all of its work.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pyotp
import pytest

from db import accounts as stored
from db.engine import Store
from db.states import Role
from db.vault import KeyRing
from scheduler.accounts import passwords, staff
from scheduler.accounts.front_door import WRONG, WRONG_CODE, FrontDoor, Opened, SignInAgain
from scheduler.accounts.throttle import PER_ADDRESS, PER_PERSON, TooManyTries
from scheduler.clock import FastClock
from scheduler.errors import AftercareError, Refused
from tests.clinic import Desk, dump
from tests.staffed import KEYS, PASSWORD, Account, Staffed
from tests.web_parts import make_clinic

HERE, ELSEWHERE = "192.0.2.1", "198.51.100.9"


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


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords and PINs that were looked at."""
    seen: list[str] = []
    real = passwords.matches

    def matches(secret: str, kept: str | None, key: bytes) -> bool:
        seen.append(secret)
        return real(secret, kept, key)

    monkeypatch.setattr(passwords, "matches", matches)
    return seen


def sign_in(
    staffed: Staffed, login: str, password: str = PASSWORD, device: str | None = None, address: str = HERE
) -> Opened:
    """Come to the door."""
    return staffed.door.sign_in(login, password, device, address, "Tests")


def refusal(act: Callable[..., object], *with_: object, **more: object) -> str:
    """What is said when it is refused."""
    with pytest.raises(Refused) as refused:
        act(*with_, **more)
    return str(refused.value)


def at_once(act: Callable[[int], object], count: int) -> list[object]:
    """What many get who come at the same time: what they got, or the error."""

    def come(number: int) -> object:
        try:
            return act(number)
        except AftercareError as refused:
            return refused

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(come, range(count)))


# Name and password


def test_name_and_password_open_a_session_that_the_trail_names(both: Staffed) -> None:
    both.hire("mia", Role.RECEPTION)
    opened = sign_in(both, " MIA ")
    present = both.door.who(opened.token)
    assert present is not None
    assert (present.login, present.complete, present.locked) == ("mia", True, False)
    events = sorted(dump(both.clinic.store)["audit_events"])
    assert [(event[2], event[3]) for event in events] == [("staff:mia", "staff.signed_in")]


def test_whatever_is_wrong_the_words_and_the_work_are_the_same(both: Staffed, looks: list[str]) -> None:
    mia, gone = both.hire("mia", Role.RECEPTION), both.hire("gone", Role.RECEPTION)
    staff.disable(both.clinic, "test", gone.id, both.machine.now())
    staff.add(both.clinic, "test", "Invited", [Role.RECEPTION], "invited", None, both.machine.now())
    tries = [
        ("mia", "wrong"), ("mia", ""), ("mia", PASSWORD.upper()), ("gone", PASSWORD), ("invited", ""),
        ("invited", PASSWORD),
        ("nobody", PASSWORD), ("", ""), ("m\x00ia", PASSWORD), ("мia", PASSWORD), ("mia'--", PASSWORD),
    ]  # fmt: skip
    for login, password in tries:
        before = len(looks)
        assert refusal(sign_in, both, login, password) == WRONG
        assert len(looks) == before + 1, login
    events = sorted(dump(both.clinic.store)["audit_events"])
    assert [event[3] for event in events].count("sign_in.refused") == len(tries)
    assert {event[5] for event in events if event[3] == "sign_in.refused"} >= {str(mia.id), str(gone.id), None}
    assert "wrong" not in repr(events)
    assert sign_in(both, "mia").complete


def test_a_name_without_end_is_refused_and_kept_nowhere(staffed: Staffed) -> None:
    for number in range(3):
        assert refusal(sign_in, staffed, "x" * 200_000 + str(number)) == WRONG
    kept = repr(vars(vars(staffed.door)["_throttle"]))
    assert len(kept) < 5_000


# The throttle


def test_a_person_is_tried_five_times_a_minute_and_twenty_an_hour(staffed: Staffed, looks: list[str]) -> None:
    staffed.hire("mia", Role.RECEPTION)
    for _ in range(4):
        for _ in range(5):
            assert refusal(sign_in, staffed, "mia", "wrong") == WRONG
        with pytest.raises(TooManyTries) as many:
            sign_in(staffed, "mia")
        staffed.machine.advance(timedelta(seconds=60))
    assert len(looks) == 20
    with pytest.raises(TooManyTries, match="Wait 56 minutes") as many:
        sign_in(staffed, "mia")
    assert many.value.seconds == 3_600 - 4 * 60
    assert len(looks) == 20
    staffed.machine.advance(timedelta(seconds=many.value.seconds))
    assert sign_in(staffed, "mia").complete


def test_the_right_password_begins_the_count_again(staffed: Staffed) -> None:
    staffed.hire("mia", Role.RECEPTION)
    for _ in range(3):
        for _ in range(4):
            assert refusal(sign_in, staffed, "mia", "wrong") == WRONG
        sign_in(staffed, "mia")


def test_many_at_once_get_no_more_looks_than_the_limit(staffed: Staffed, looks: list[str]) -> None:
    staffed.hire("mia", Role.RECEPTION)
    got = at_once(lambda number: sign_in(staffed, "mia", f"guess {number}", address=f"198.51.100.{number}"), 24)
    assert len(looks) == PER_PERSON[0].tries == 5
    assert [isinstance(each, TooManyTries) for each in got].count(True) == 19


def test_one_address_gets_no_more_looks_than_the_limit_whatever_names_it_tries(
    staffed: Staffed, looks: list[str]
) -> None:
    at_once(lambda number: sign_in(staffed, f"name{number}", "guess"), 40)
    assert len(looks) == PER_ADDRESS[0].tries == 30
    assert refusal(sign_in, staffed, "mia", address=ELSEWHERE) == WRONG


def test_a_person_is_not_shut_out_of_her_own_browser(staffed: Staffed) -> None:
    staffed.hire("mia", Role.RECEPTION)
    device = sign_in(staffed, "mia").device_token
    for number in range(40):
        refusal(sign_in, staffed, "mia" if number < 6 else f"name{number}", "guess")
    with pytest.raises(TooManyTries):
        sign_in(staffed, "mia")
    assert sign_in(staffed, "mia", device=device).complete


def test_in_a_known_browser_tries_count_too_and_for_each_person(staffed: Staffed) -> None:
    staffed.hire("mia", Role.RECEPTION)
    staffed.hire("tom", Role.RECEPTION)
    device = sign_in(staffed, "mia").device_token
    device = sign_in(staffed, "tom", device=device).device_token
    for _ in range(5):
        assert refusal(sign_in, staffed, "mia", "wrong", device) == WRONG
    with pytest.raises(TooManyTries):
        sign_in(staffed, "mia", device=device)
    assert sign_in(staffed, "tom", device=device).complete
    assert sign_in(staffed, "mia").complete


def test_a_strangers_browser_is_nobodys_home(staffed: Staffed) -> None:
    staffed.hire("mia", Role.RECEPTION)
    staffed.hire("tom", Role.RECEPTION)
    toms = sign_in(staffed, "tom").device_token
    for device in (None, "made up", toms, None, toms):
        assert refusal(sign_in, staffed, "mia", "wrong", device) == WRONG
    for device in (None, "made up", toms):
        with pytest.raises(TooManyTries):
            sign_in(staffed, "mia", device=device)


# Known browsers


def test_a_browsers_secret_changes_at_every_sign_in(staffed: Staffed) -> None:
    staffed.hire("mia", Role.RECEPTION)
    staffed.hire("eve", Role.RECEPTION)
    planted = sign_in(staffed, "eve").device_token
    hers = sign_in(staffed, "mia", device=planted)
    assert hers.device_token != planted
    eve = staffed.door.who(sign_in(staffed, "eve", device=planted).token)
    assert eve is not None
    assert staffed.door.list_others(eve) == []


def test_a_secret_that_nobody_gave_out_is_not_taken_over(staffed: Staffed) -> None:
    mia = staffed.hire("mia", Role.RECEPTION)
    for opened in (sign_in(staffed, "mia", device="planted"), staffed.door.open_for(mia.id, "planted", "Tests")):
        assert opened.device_token != "planted"
    with staffed.clinic.store.read() as session:
        assert stored.find_device(session, staffed.clinic.store.vault.token_hash("device", "planted")) is None


# The second factor


def code_of(account: Account, staffed: Staffed, steps: int = 0) -> str:
    """The code her app shows, or the one it shows some steps later."""
    return pyotp.TOTP(account.totp or "").at(staffed.machine.now() + timedelta(seconds=30 * steps))


def test_the_code_completes_the_session_under_a_new_token(both: Staffed) -> None:
    dana = both.hire("dana", Role.CLINICIAN, totp=True)
    half = sign_in(both, "dana")
    present = both.door.who(half.token)
    assert (half.complete, present and present.complete) == (False, False)
    whole = both.door.give_code(half.token, code_of(dana, both))
    assert both.door.who(half.token) is None
    present = both.door.who(whole.token)
    assert present is not None
    assert present.complete
    assert both.door.form_token(half.token) != both.door.form_token(whole.token)


def test_a_code_counts_once(both: Staffed) -> None:
    dana = both.hire("dana", Role.CLINICIAN, totp=True)
    code = code_of(dana, both)
    both.door.give_code(sign_in(both, "dana").token, code)
    half = sign_in(both, "dana").token
    assert refusal(both.door.give_code, half, code) == WRONG_CODE
    both.machine.advance(timedelta(seconds=30))
    assert refusal(both.door.give_code, half, code) == WRONG_CODE
    earlier = code_of(dana, both, -1)
    assert refusal(both.door.give_code, half, earlier) == WRONG_CODE
    assert both.door.give_code(half, code_of(dana, both)).complete
    events = [event[3] for event in sorted(dump(both.clinic.store)["audit_events"])]
    assert events.count("sign_in.code_refused") == 3


def test_a_code_counts_once_for_many_who_come_at_once(both: Staffed) -> None:
    dana = both.hire("dana", Role.CLINICIAN, totp=True)
    halves = [sign_in(both, "dana").token for _ in range(4)]
    code = code_of(dana, both)
    got = at_once(lambda number: both.door.give_code(halves[number], code), 4)
    assert [isinstance(each, Opened) for each in got].count(True) == 1


def test_a_recovery_code_counts_once_and_is_in_the_trail(both: Staffed) -> None:
    dana = both.hire("dana", Role.CLINICIAN)
    half = sign_in(both, "dana")
    present = both.door.who(half.token)
    assert present is not None
    secret = staff.offer_second_factor(both.clinic, present)
    codes = staff.confirm_second_factor(both.door, present, pyotp.TOTP(secret).at(both.machine.now()))
    other = both.hire("tom", Role.CLINICIAN, totp=True)
    assert refusal(both.door.give_code, sign_in(both, other.login).token, codes[0]) == WRONG_CODE
    typed = f" {codes[0].upper().replace('-', ' ')} "
    assert both.door.give_code(sign_in(both, "dana").token, typed).complete
    again = sign_in(both, "dana").token
    assert refusal(both.door.give_code, again, codes[0]) == WRONG_CODE
    assert both.door.give_code(again, codes[9]).complete
    events = [event[3] for event in sorted(dump(both.clinic.store)["audit_events"])]
    assert events.count("sign_in.recovery_code") == 2
    with both.clinic.store.read() as session:
        assert stored.count_recovery_codes(session, dana.id) == 8


def test_codes_are_tried_five_times_a_minute_over_all_sessions_of_a_person(staffed: Staffed) -> None:
    dana = staffed.hire("dana", Role.CLINICIAN, totp=True)
    halves = [sign_in(staffed, "dana").token for _ in range(2)]
    for number in range(5):
        assert refusal(staffed.door.give_code, halves[number % 2], "000000") == WRONG_CODE
    for half in halves:
        with pytest.raises(TooManyTries):
            staffed.door.give_code(half, code_of(dana, staffed))
    staffed.machine.advance(timedelta(seconds=60))
    assert staffed.door.give_code(halves[0], code_of(dana, staffed)).complete


def test_a_browser_is_trusted_with_one_persons_second_factor_for_twelve_hours(staffed: Staffed) -> None:
    dana, tom = (staffed.hire(login, Role.CLINICIAN, totp=True) for login in ("dana", "tom"))
    half = sign_in(staffed, "dana")
    staffed.door.give_code(half.token, code_of(dana, staffed))
    device = half.device_token
    assert not sign_in(staffed, "dana").complete
    toms = sign_in(staffed, "tom", device=device)
    assert not toms.complete
    staffed.machine.advance(timedelta(hours=12) - timedelta(seconds=1))
    hers = sign_in(staffed, "dana", device=toms.device_token)
    assert hers.complete
    staffed.machine.advance(timedelta(seconds=1))
    assert not sign_in(staffed, "dana", device=hers.device_token).complete
    assert tom.totp is not None


@pytest.mark.parametrize(
    ("roles", "totp", "asked"),
    [
        ([Role.RECEPTION], False, False),
        ([Role.AUDITOR], False, False),
        ([Role.RECEPTION], True, True),
        ([Role.CLINICIAN], False, True),
        ([Role.MANAGER], False, True),
        ([Role.RECEPTION, Role.MANAGER], False, True),
    ],
)
def test_a_second_factor_is_asked_of_those_who_can_do_most_and_of_those_who_have_one(
    staffed: Staffed, roles: list[Role], totp: bool, asked: bool
) -> None:
    staffed.hire("mia", *roles, totp=totp)
    assert sign_in(staffed, "mia").complete is not asked
    without = FrontDoor(staffed.clinic, staffed.machine, asks_second_factor=False)
    assert without.sign_in("mia", PASSWORD, None, HERE, "Tests").complete


def test_setting_up_the_second_factor_completes_the_session_under_a_new_token(staffed: Staffed) -> None:
    staffed.hire("dana", Role.CLINICIAN)
    half = sign_in(staffed, "dana")
    assert "no second factor yet" in refusal(staffed.door.give_code, half.token, "000000")
    present = staffed.door.who(half.token)
    assert present is not None
    code = pyotp.TOTP(staff.offer_second_factor(staffed.clinic, present)).at(staffed.machine.now())
    staff.confirm_second_factor(staffed.door, present, code)
    whole = staffed.door.finish_second_factor(present)
    assert staffed.door.who(half.token) is None
    found = staffed.door.who(whole.token)
    assert found is not None
    assert found.complete
    again = sign_in(staffed, "dana").token
    assert refusal(staffed.door.give_code, again, code) == WRONG_CODE


def test_a_code_opens_nothing_without_a_session(staffed: Staffed) -> None:
    dana = staffed.hire("dana", Role.CLINICIAN, totp=True)
    for token in ("", "made up", "a" * 10_000):
        with pytest.raises(SignInAgain):
            staffed.door.give_code(token, code_of(dana, staffed))
