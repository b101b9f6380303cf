"""Passwords, PINs and second factors by themselves: what is accepted, how it is kept, which codes count when."""

import time
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.accounts import passwords, second_factor
from scheduler.accounts.passwords import password_problem, pin_problem

KEY = b"k" * 32
PASSWORD = "seven wet green umbrellas"
GUESSED, OWN, SHORT, LONG = "first that are guessed", "your own name", "shorter than 12", "longer than 200"
# The secret and the codes of RFC 6238 appendix B (SHA-1), as the six digits that apps show.
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
RFC_CODES = [
    (59, "287082"),
    (1111111109, "081804"),
    (1111111111, "050471"),
    (1234567890, "005924"),
    (20000000000, "353130"),
]


@pytest.fixture(autouse=True)
def quick_hashes() -> Iterator[None]:
    """Here hashing is as slow as it is for people; also for nobody's password, which is made once."""
    passwords._nobodys.cache_clear()
    yield
    passwords._nobodys.cache_clear()


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        (PASSWORD, None),
        ("correct horse stapler", None),
        ("kaffee mit milch und zucker", None),
        ("доброе утро страна", None),
        ("tK9#vQ2!xL7@", None),
        ("dana likes grey rivers", None),
        ("a" * 6 + "bcdef" + "g", None),
        ("", SHORT),
        ("elevenchars", SHORT),
        ("x y" * 67, LONG),
        ("x" * 100_000, LONG),
        ("password1234", GUESSED),
        ("Password!Password!", GUESSED),
        ("Passwort2026!!", GUESSED),
        ("qwertyuiop1234", GUESSED),
        ("1q2w3e4r5t6y7", GUESSED),
        ("TrustNo1TrustNo1", GUESSED),
        ("welcome welcome", GUESSED),
        ("123456789012", GUESSED),
        ("918273645546", GUESSED),
        ("aaaaaaaaaaaaaaa", GUESSED),
        ("abababababab", GUESSED),
        ("!!!!!!!!!!!!!!", GUESSED),
        ("clinicpassword2026", GUESSED),
        ("dananovak1234", OWN),
        ("Dana.Novak.2026", OWN),
        ("novaknovak2026", OWN),
        ("dnovak dnovak", OWN),
        ("danapassword1", GUESSED),
    ],
)
def test_a_password_is_long_and_not_among_the_first_guessed(password: str, problem: str | None) -> None:
    found = password_problem(password, "dnovak", "Dr Dana Novak")
    assert (found is None) if problem is None else problem in (found or ""), found


def test_a_long_password_is_judged_at_once() -> None:
    began = time.process_time()
    for word in ("admin", "ab", "password", "dana"):
        password_problem(word * (200 // len(word)), "dana", "Dana")
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize(
    ("pin", "accepted"),
    [
        ("2846", True), ("19580423", True), ("1357", True), ("1123", True),
        ("", False), ("284", False), ("284628462", False), ("28 46", False), ("abcd", False), ("٢٨٤٦", False),
        ("0000", False), ("1212", False), ("1122", False), ("1234", False), ("4321", False), ("56789", False),
    ],
)  # fmt: skip
def test_a_pin_is_of_digits_and_not_among_the_first_guessed(pin: str, accepted: bool) -> None:
    assert (pin_problem(pin) is None) is accepted


def test_a_secret_is_kept_by_argon2id_as_owasp_asks_each_with_its_own_salt() -> None:
    first, second = passwords.keep(PASSWORD, KEY), passwords.keep(PASSWORD, KEY)
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert passwords.matches(PASSWORD, first, KEY)
    assert passwords.matches(PASSWORD, second, KEY)


def test_a_secret_matches_only_itself_under_its_own_keys() -> None:
    kept = passwords.keep(PASSWORD, KEY)
    assert not passwords.matches(PASSWORD.upper(), kept, KEY)
    assert not passwords.matches(PASSWORD + " ", kept, KEY)
    assert not passwords.matches("", kept, KEY)
    assert not passwords.matches(PASSWORD, kept, b"j" * 32)
    assert not passwords.matches(PASSWORD, None, KEY)


def test_a_password_is_the_same_however_a_keyboard_composes_its_letters() -> None:
    composed, apart = (unicodedata.normalize(form, "Ärzte grüßen früh") for form in ("NFC", "NFD"))
    assert composed != apart
    assert passwords.matches(apart, passwords.keep(composed, KEY), KEY)
    assert not passwords.matches("\ud800", passwords.keep(composed, KEY), KEY)


def test_looking_at_nobodys_password_takes_as_long_as_at_somebodys() -> None:
    kept = passwords.keep(PASSWORD, KEY)
    passwords.matches("warm", None, KEY)

    def fastest(stored: str | None) -> float:
        times = []
        for _ in range(5):
            began = time.process_time()
            passwords.matches("wrong", stored, KEY)
            times.append(time.process_time() - began)
        return min(times)

    somebody, nobody = fastest(kept), fastest(None)
    assert nobody > 0.6 * somebody


@pytest.mark.parametrize(("seconds", "code"), RFC_CODES)
def test_codes_are_those_of_rfc_6238(seconds: int, code: str) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert second_factor.matching_step(RFC_SECRET, code, at) == seconds // 30


@pytest.mark.parametrize(("off", "counts"), [(-61, False), (-30, True), (0, True), (30, True), (61, False)])
def test_a_clock_may_be_half_a_minute_off(off: int, counts: bool) -> None:
    at = datetime.fromtimestamp(1111111110, UTC) + timedelta(seconds=off)  # the first second of its step
    assert (second_factor.matching_step(RFC_SECRET, "050471", at) == 1111111110 // 30) is counts


@pytest.mark.parametrize("code", ["", "05047", "0504711", "05047a", "٠٥٠٤٧١", "-50471", "0504.1", "\x00" * 6])
def test_what_is_no_code_matches_nothing(code: str) -> None:
    assert second_factor.matching_step(RFC_SECRET, code, datetime.fromtimestamp(1111111111, UTC)) is None


def test_a_code_may_be_typed_in_groups() -> None:
    at = datetime.fromtimestamp(1111111111, UTC)
    assert second_factor.matching_step(RFC_SECRET, " 050 471\t", at) is not None


def test_recovery_codes_are_ten_hard_to_guess_and_easy_to_type() -> None:
    codes = second_factor.make_recovery_codes()
    assert len(set(codes)) == 10
    assert not set("".join(codes)) & set("ilo01")
    assert {second_factor.normal_recovery_code(f" {code.upper().replace('-', '')} ") for code in codes} == set(codes)


def test_the_picture_of_a_secret_runs_nothing_and_the_text_is_the_same_secret() -> None:
    secret = second_factor.secret_of(bytes(range(32)))
    assert secret == "AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT"
    picture = second_factor.qr_code(secret, "dana.novak")
    assert picture.startswith("<svg")
    assert not any(word in picture for word in ("<script", "style=", "href", secret))
    assert second_factor.spaced(secret).replace(" ", "") == secret
