"""One's own account as its person sees it: second factor, secrets, sessions; what others change counts at once."""

import re
from pathlib import Path

import pyotp
import pytest

from db.engine import Store
from db.states import Role
from db.vault import KeyRing
from scheduler.accounts import staff
from scheduler.clock import FastClock
from tests.clinic import dump
from tests.staffed import KEYS, PASSWORD, Staffed, place, sign_in
from tests.web_parts import make_clinic


@pytest.fixture
def keyring() -> KeyRing:
    """The keys that the secrets of the tests' staff are hashed with."""
    return KEYS


@pytest.fixture
def staffed(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> Staffed:
    """A clinic whose door asks for second factors."""
    return Staffed(make_clinic(sqlite_store, clock, tmp_path / "var"), asks_second_factor=True)


async def test_a_new_second_factor_is_shown_once_with_its_codes_and_the_page_speaks_for_the_new_token(
    staffed: Staffed,
) -> None:
    dana = staffed.hire("dana", Role.CLINICIAN)
    browser = staffed.browser()
    await sign_in(browser, "dana")
    half_token = browser.session
    page = (await browser.get("/account/second-factor")).text
    secret = (re.search(r'<code class="key">([A-Z2-7 ]+)</code>', page) or [""] * 2)[1].replace(" ", "")
    assert (await browser.post("/account/second-factor", {"code": "000000"})).status_code == 422
    assert secret in (await browser.get("/account/second-factor")).text.replace(" ", "")
    code = pyotp.TOTP(secret).at(staffed.machine.now())
    shown = await browser.post("/account/second-factor", {"code": code})
    assert len(re.findall(r"<li><code>[a-z2-9]{5}-[a-z2-9]{5}</code></li>", shown.text)) == 10
    assert browser.session != half_token
    assert f'name="form-token" content="{browser.token}"' in shown.text
    assert (await browser.get("/account")).status_code == 200
    assert place(await browser.get("/account/second-factor")) == "/account"
    assert staffed.member(dana).totp_confirmed


async def test_recovery_codes_are_renewed_with_the_password_and_the_earlier_ones_end(staffed: Staffed) -> None:
    dana = staffed.hire("dana", Role.CLINICIAN, totp=True)
    browser = staffed.browser()
    await sign_in(browser, "dana")
    await browser.post("/sign-in/code", {"code": staffed.code(dana)})
    found = []
    for _ in range(2):
        shown = await browser.post("/account/recovery-codes", {"old_password": PASSWORD})
        found.append(re.findall(r"<code>([a-z2-9]{5}-[a-z2-9]{5})</code>", shown.text))
    assert [len(codes) for codes in found] == [10, 10]
    wrong = await browser.post("/account/recovery-codes", {"old_password": "my guess"})
    assert wrong.status_code == 422
    assert "This is not your present password." in wrong.text
    assert "10 recovery codes are left" in wrong.text
    earlier, later = found[0][0], found[1][0]
    elsewhere = staffed.browser()
    await sign_in(elsewhere, "dana")
    assert (await elsewhere.post("/sign-in/code", {"code": earlier})).status_code == 403
    assert place(await elsewhere.post("/sign-in/code", {"code": later})) == "/today"
    mia = staffed.at_work("mia", Role.RECEPTION)
    refused = await mia.post("/account/recovery-codes", {"old_password": PASSWORD})
    assert refused.status_code == 422


async def test_ones_own_session_may_be_ended_and_anothers_is_not_found(staffed: Staffed) -> None:
    mia = staffed.at_work("mia", Role.RECEPTION)
    boss = staffed.at_work("boss", Role.MANAGER)
    elsewhere = staffed.browser()
    await sign_in(elsewhere, "mia")
    page = (await mia.get("/account")).text
    (hers,) = re.findall(r'action="(/account/sessions/[^"]+/end)"', page)
    present = staffed.door.who(elsewhere.session)
    assert present is not None
    assert hers == f"/account/sessions/{present.session_id}/end"
    tom = staffed.at_work("tom", Role.RECEPTION)
    for path in (hers, hers.replace(str(present.session_id), "0" * 32)):
        before = dump(staffed.clinic.store)
        assert (await tom.post(path)).status_code == 404
        assert dump(staffed.clinic.store) == before
    assert (await mia.post("/account/sessions/none/end")).status_code == 404
    assert place(await boss.get("/account")).startswith("/sign-in/code")
    assert place(await mia.post(hers)) == "/account?done=session-ended"
    assert staffed.door.who(elsewhere.session) is None
    assert staffed.door.who(mia.session) is not None


async def test_signing_out_leaves_no_session_and_no_page_in_the_browser(staffed: Staffed) -> None:
    browser = staffed.at_work("mia", Role.RECEPTION)
    token = browser.session
    answer = await browser.post("/sign-out")
    assert place(answer) == "/sign-in?done=signed-out"
    assert answer.headers["clear-site-data"] == '"cache"'
    assert (browser.session, staffed.door.who(token)) == (None, None)
    assert "aftercare-device" in browser.cookies


async def test_signing_out_everywhere_ends_the_sessions_of_other_browsers(staffed: Staffed) -> None:
    mia, elsewhere = staffed.at_work("mia", Role.RECEPTION), staffed.browser()
    await sign_in(elsewhere, "mia")
    assert place(await mia.post("/account/sign-out-everywhere")).startswith("/sign-in")
    assert place(await elsewhere.get("/account")).startswith("/sign-in")


async def test_secrets_are_changed_on_ones_own_page_and_never_shown(staffed: Staffed) -> None:
    mia = staffed.at_work("mia", Role.RECEPTION)
    wrong = await mia.post("/account/secrets", {"old_password": "my guess", "password": "four grey rivers rising"})
    assert wrong.status_code == 422
    assert "Is not your present password" in wrong.text
    assert "my guess" not in wrong.text
    assert "four grey" not in wrong.text
    done = await mia.post("/account/secrets", {"old_password": PASSWORD, "password": "four grey rivers rising"})
    assert place(done) == "/account?done=secrets-changed"
    assert "Changed. Your sessions" in (await mia.get(place(done))).text
    assert (await sign_in(staffed.browser(), "mia")).status_code == 403


async def test_disabling_and_other_roles_count_from_the_next_page_on(staffed: Staffed) -> None:
    account = staffed.hire("mia", Role.AUDITOR)
    browser = staffed.browser()
    await sign_in(browser, "mia")
    assert (await browser.get("/outbox")).status_code == 403
    staff.change_roles(staffed.clinic, "test", account.id, [Role.CLINICIAN])
    assert place(await browser.get("/outbox")) == "/sign-in/code"
    staff.change_roles(staffed.clinic, "test", account.id, [Role.RECEPTION])
    assert (await browser.get("/account")).status_code == 200
    staff.disable(staffed.clinic, "test", account.id, staffed.machine.now())
    assert place(await browser.get("/account")).startswith("/sign-in")
