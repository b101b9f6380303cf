"""Getting in and staying in as browsers do it: cookies, where forms lead, the lock over a form.

One's own account is in `tests/test_account_pages.py`.
"""

from datetime import timedelta
from pathlib import Path

import pytest

from db.engine import Store
from db.states import Role
from db.vault import KeyRing
from scheduler.accounts import staff
from scheduler.accounts.front_door import WRONG
from scheduler.clock import FastClock
from tests.clinic import dump
from tests.staffed import KEYS, PASSWORD, PIN, Browser, Staffed, kept, place, sign_in
from tests.web_parts import make_clinic

SCRIPT = {"X-Asked-By": "script"}
ELSEWHERE = [
    "https://evil.example.org",
    "//evil.example.org",
    "///evil.example.org",
    "/\\evil.example.org",
    "\\\\evil.example.org",
    "/\t/evil.example.org",
    "/\n/evil.example.org",
    " //evil.example.org",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.example.org",
    "http:evil.example.org",
    "//[",
    "/today\r\nSet-Cookie: a=b",
    "/\u2028/evil.example.org",
    "",
]
OURS = ["/today", "/account?a=1&b=2", "/patients/x#y", "/search//x", "/@evil.example.org"]


@pytest.fixture
def keyring() -> KeyRing:
    """The keys that the secrets of the tests' staff are hashed with."""
    return KEYS


@pytest.fixture
def staffed(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> Staffed:
    """A clinic whose door asks for second factors."""
    return Staffed(make_clinic(sqlite_store, clock, tmp_path / "var"), asks_second_factor=True)


# Cookies


async def test_cookies_are_kept_from_scripts_and_other_sites(staffed: Staffed) -> None:
    staffed.hire("mia", Role.RECEPTION)
    answer = await sign_in(staffed.browser(), "mia")
    session, device = answer.headers.get_list("set-cookie")
    assert session.startswith("aftercare-session=")
    assert device.startswith("aftercare-device=")
    for line in (session, device):
        assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(line.split("; "))
        assert "Secure" not in line
        assert "Domain" not in line
    assert "Max-Age" not in session
    assert "Max-Age=34560000" in device


async def test_behind_tls_cookies_are_secure_and_of_this_host_alone(staffed: Staffed) -> None:
    staffed.hire("mia", Role.RECEPTION)
    browser = staffed.browser(encrypted=True)
    answer = await sign_in(browser, "mia")
    for line in answer.headers.get_list("set-cookie"):
        assert line.startswith("__Host-aftercare-")
        assert {"HttpOnly", "Path=/", "SameSite=strict", "Secure"} <= set(line.split("; "))
        assert "Domain" not in line
    assert (await browser.get("/account")).status_code == 200
    plain = staffed.browser(encrypted=True)
    plain.cookies = {name.removeprefix("__Host-"): value for name, value in browser.cookies.items()}
    assert place(await plain.get("/account")).startswith("/sign-in")
    out = await browser.post("/sign-out")
    assert "Secure" in out.headers["set-cookie"]
    assert browser.session is None


async def test_a_planted_cookie_never_becomes_a_session(staffed: Staffed) -> None:
    dana = staffed.hire("dana", Role.CLINICIAN, totp=True)
    browser, thief = staffed.browser(), staffed.browser()
    browser.cookies = {"aftercare-session": "planted", "aftercare-device": "planted"}
    half = await sign_in(browser, "dana")
    half_token = browser.session
    whole = await browser.post("/sign-in/code", {"code": staffed.code(dana)})
    assert [place(half), place(whole)] == ["/sign-in/code", "/today"]
    assert len({"planted", half_token, browser.session}) == 3
    assert browser.cookies["aftercare-device"] != "planted"
    for token in ("planted", half_token or ""):
        thief.cookies = {"aftercare-session": token}
        assert place(await thief.get("/account")) == "/sign-in?next=/account"
    assert (await browser.get("/account")).status_code == 200


# Where forms lead


async def test_no_form_of_the_door_leads_to_another_host(staffed: Staffed) -> None:
    dana = staffed.hire("dana", Role.CLINICIAN, totp=True)
    browser, wanted = staffed.browser(), ELSEWHERE[0]
    assert place(await sign_in(browser, "dana", next=wanted)) == "/sign-in/code"
    assert place(await browser.post("/sign-in/code", {"code": staffed.code(dana), "next": wanted})) == "/today"
    assert place(await browser.post("/unlock", {"unlock_pin": PIN, "next": wanted})) == "/today"
    for wanted in ELSEWHERE:
        assert place(await browser.send("GET", "/sign-in", params={"next": wanted})) == "/today", wanted


@pytest.mark.parametrize("wanted", OURS)
async def test_who_has_signed_in_goes_on_to_where_she_wanted(staffed: Staffed, wanted: str) -> None:
    dana = staffed.hire("dana", Role.CLINICIAN, totp=True)
    browser = staffed.browser()
    page = await browser.send("GET", "/sign-in", params={"next": wanted})
    half = await sign_in(browser, "dana", **kept(page, "/sign-in"))
    page = await browser.get(place(half))
    whole = await browser.post("/sign-in/code", {"code": staffed.code(dana), **kept(page, "/sign-in/code")})
    assert place(whole) == wanted


async def test_who_comes_without_a_session_is_led_back_after_signing_in(staffed: Staffed) -> None:
    browser = staffed.browser()
    assert place(await browser.get("/account?done=x&a=b")) == "/sign-in?next=/account%3Fdone%3Dx%26a%3Db"
    assert place(await browser.get("/today")) == place(await browser.get("/")) == "/sign-in"
    assert place(await browser.post("/account/secrets")) == "/sign-in"


async def test_an_auditor_begins_with_the_trail(staffed: Staffed) -> None:
    staffed.hire("ada", Role.AUDITOR)
    browser = staffed.browser()
    assert place(await sign_in(browser, "ada")) == "/audit"
    assert place(await browser.get("/")) == place(await browser.get("/sign-in")) == "/audit"
    refused = await browser.get("/today")
    assert (refused.status_code, "To Today" in refused.text) == (403, False)


async def test_a_wrong_sign_in_shows_neither_the_password_nor_what_was_wrong(staffed: Staffed) -> None:
    staffed.hire("mia", Role.RECEPTION)
    shown = [await sign_in(staffed.browser(), login, "wrong but secret") for login in ("mia", "nobody")]
    assert [answer.status_code for answer in shown] == [403, 403]
    assert shown[0].text == shown[1].text.replace('value="nobody"', 'value="mia"')
    assert WRONG in shown[0].text
    assert "wrong but secret" not in shown[0].text
    assert all("set-cookie" not in answer.headers for answer in shown)


async def test_too_many_tries_are_told_with_the_time_to_wait(staffed: Staffed) -> None:
    for _ in range(5):
        assert (await sign_in(staffed.browser(), "mia", "wrong")).status_code == 403
    answer = await sign_in(staffed.browser(), "mia", "wrong")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert "too many tries. Wait a minute" in answer.text


async def test_tries_count_against_whom_the_nearest_proxy_names(staffed: Staffed) -> None:
    for number in range(31):
        answer = await staffed.browser().post(
            "/sign-in",
            {"login": f"name{number}", "password": "guess"},
            headers={"X-Forwarded-Proto": "https", "Origin": "https://127.0.0.1:8000"}
            | {"X-Forwarded-For": f"10.0.0.{number}, 2001:db8::{number:x}"},
        )
    assert answer.status_code == 429
    fine = await staffed.browser().post("/sign-in", {"login": "mia", "password": "guess"})
    assert fine.status_code == 403


# Joining


async def test_the_first_account_is_made_behind_its_link(staffed: Staffed) -> None:
    token = staff.first_link(staffed.clinic, staffed.machine.now())
    browser = staffed.browser()
    assert "The first account" in (await browser.get(f"/join/{token}")).text
    wrong = await browser.post(f"/join/{token}", {"name": "Dr Dana Novak", "password": "canary", "pin": "1234"})
    assert wrong.status_code == 422
    assert 'value="Dr Dana Novak"' in wrong.text
    assert "canary" not in wrong.text
    done = await browser.post(f"/join/{token}", {"name": "Dr Dana Novak", "password": PASSWORD, "pin": PIN})
    assert place(done) == "/sign-in/code?next=/today%3Fdone%3Djoined"
    assert place(await browser.get("/sign-in/code")) == "/account/second-factor"
    for answer in (await browser.get(f"/join/{token}"), await browser.post(f"/join/{token}", {"password": PASSWORD})):
        assert answer.status_code == 410
        assert "This link is used up" in answer.text


# The lock


async def locked_at(browser: Browser, staffed: Staffed) -> None:
    """Let a quarter of an hour pass in which nobody is there."""
    assert (await browser.get("/account")).status_code == 200
    staffed.machine.advance(timedelta(minutes=15, seconds=1))


async def test_a_page_that_asks_by_itself_keeps_nobody_in(staffed: Staffed) -> None:
    browser = staffed.at_work("mia", Role.RECEPTION)
    for _ in range(16):
        assert (await browser.get("/pulse")).status_code == 200
        staffed.machine.advance(timedelta(minutes=1))
    shown = await browser.get("/account?a=1")
    assert shown.status_code == 423
    assert "Signs in as" not in shown.text
    assert (await browser.get("/pulse")).status_code == 200
    assert kept(shown, "/unlock")["next"] == "/account?a=1"
    opened = await browser.post("/unlock", {**kept(shown, "/unlock"), "unlock_pin": PIN})
    assert place(opened) == "/account?a=1"
    assert (await browser.get("/account")).status_code == 200


async def test_what_was_sent_from_behind_the_lock_is_kept_and_done_once_with_the_pin(staffed: Staffed) -> None:
    browser = staffed.at_work("mia", Role.RECEPTION)
    await locked_at(browser, staffed)
    before = dump(staffed.clinic.store)
    typed = {"email": "o'neil&mia@example.org"}
    sent = await browser.post("/account/address", typed)
    assert sent.status_code == 423
    assert "What you typed is kept" in sent.text
    assert dump(staffed.clinic.store) == before
    again = kept(sent, "/account/address")
    assert again == {**typed, "form_token": browser.token}
    wrong = await browser.post("/account/address", {**again, "unlock_pin": "0000"})
    assert (wrong.status_code, kept(wrong, "/account/address")) == (423, again)
    assert "This PIN is not right" in wrong.text
    assert (
        place(await browser.post("/account/address", {**again, "unlock_pin": PIN})) == "/account?done=address-changed"
    )
    events = [row[3] for row in sorted(dump(staffed.clinic.store)["audit_events"])]
    assert events.count("staff.address_changed") == 1
    assert (await browser.get("/account")).status_code == 200


async def test_a_form_sent_with_the_pin_may_still_be_wrong_and_then_its_page_locks_again(staffed: Staffed) -> None:
    browser = staffed.at_work("mia", Role.RECEPTION)
    await locked_at(browser, staffed)
    shown = await browser.post("/account/address", {"email": "mia@", "unlock_pin": PIN})
    assert shown.status_code == 422
    assert 'value="mia@"' in shown.text
    assert 'id="lock"' in shown.text


async def test_the_lock_keeps_no_secret_that_was_typed(staffed: Staffed) -> None:
    browser = staffed.at_work("mia", Role.RECEPTION)
    await locked_at(browser, staffed)
    secrets = {"old_password": PASSWORD, "password": "four grey rivers rising", "pin": "9173"}
    sent = await browser.post("/account/secrets", secrets)
    assert sent.status_code == 423
    assert not any(secret in sent.text for secret in secrets.values())


async def test_the_fifth_wrong_pin_leads_to_the_sign_in_page(staffed: Staffed) -> None:
    browser = staffed.at_work("mia", Role.RECEPTION)
    await browser.post("/lock")
    for _ in range(4):
        assert (await browser.post("/unlock", {"unlock_pin": "0000"})).status_code == 423
    assert place(await browser.post("/unlock", {"unlock_pin": "0000"})) == "/sign-in"
    assert browser.session is None


async def test_the_script_locks_and_opens_with_words_instead_of_pages(staffed: Staffed) -> None:
    browser = staffed.at_work("mia", Role.RECEPTION)
    asked = {**SCRIPT, "X-Form-Token": browser.token}
    assert (await browser.post("/lock", token=False, headers=asked)).status_code == 204
    wrong = await browser.post("/unlock", {"unlock_pin": "0000"}, token=False, headers=asked)
    assert (wrong.status_code, wrong.text) == (403, "This PIN is not right.")
    right = await browser.post("/unlock", {"unlock_pin": PIN}, token=False, headers=asked)
    assert (right.status_code, right.text) == (204, "")
    for _ in range(4):
        await browser.post("/unlock", {"unlock_pin": "0000"}, headers=SCRIPT)
    assert (await browser.post("/unlock", {"unlock_pin": "0000"}, headers=SCRIPT)).status_code == 401


async def test_people_at_one_desk_take_turns_with_their_pins(staffed: Staffed) -> None:
    browser = staffed.at_work("mia", Role.RECEPTION)
    staffed.hire("tom", Role.RECEPTION)
    assert place(await sign_in(browser, "tom")) == "/today"
    page = await browser.get("/switch")
    assert "Go on as Mia" in page.text
    fields = kept(page, "/unlock")
    assert (await browser.post("/unlock", {**fields, "session": "none", "unlock_pin": PIN})).status_code == 400
    before = browser.cookies["aftercare-device"]
    assert place(await browser.post("/unlock", {**fields, "unlock_pin": PIN})) == "/today"
    assert "Signs in as <strong>mia</strong>" in (await browser.get("/account")).text
    assert browser.cookies["aftercare-device"] == before
    assert "Go on as Tom" in (await browser.get("/switch")).text
