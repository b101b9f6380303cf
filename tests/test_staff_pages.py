"""Accounts on the screen: adding a person and the link that is shown once, roles, access, resets, the last manager."""

import re
from uuid import uuid4

import pytest

from db import audit
from db.states import Role
from db.vault import KeyRing
from tests.clinic import Desk
from tests.staffed import KEYS, PASSWORD, PIN, Account, Browser, Staffed, place

LINK = re.compile(r'<p class="once code" tabindex="0">(https?)://([^/<]+)/join/([\w-]+)</p>')


@pytest.fixture
def keyring() -> KeyRing:
    """The keys that the secrets of the tests' staff are hashed with."""
    return KEYS


@pytest.fixture
def staffed(sqlite_desk: Desk) -> Staffed:
    """The pages of a clinic at work."""
    return Staffed(sqlite_desk.clinic)


@pytest.fixture
def dana(staffed: Staffed) -> Browser:
    """The manager at work."""
    return staffed.at_work("dana", Role.MANAGER)


@pytest.fixture
def rosa(staffed: Staffed) -> Account:
    """Somebody of the reception."""
    return staffed.hire("rosa", Role.RECEPTION)


async def test_a_person_is_added_and_her_link_is_shown_once(staffed: Staffed, dana: Browser) -> None:
    form = {"name": "Nia Okoro", "role": ["clinician", "manager"], "email": "nia@example.org"}
    answer = await dana.post("/staff", form)
    found = LINK.search(answer.text)
    assert found, answer.text
    assert (found[1], found[2]) == ("http", "127.0.0.1:8000")
    listed = (await dana.get("/staff")).text
    assert "has not used the link yet" in listed
    assert found[3] not in listed
    joined = await staffed.browser().post(f"/join/{found[3]}", {"password": PASSWORD, "pin": PIN})
    assert place(joined)
    assert "has not used the link yet" not in (await dana.get("/staff")).text
    assert (await staffed.browser().get(f"/join/{found[3]}")).status_code == 410


async def test_the_link_leads_to_the_address_by_which_the_page_was_reached(staffed: Staffed, rosa: Account) -> None:
    novak = staffed.hire("novak", Role.MANAGER)
    browser = staffed.browser(encrypted=True)
    browser.take(staffed.door.open_for(novak.id, None, "Tests"))
    found = LINK.search((await browser.post(f"/staff/{rosa.id}/reset")).text)
    assert found
    assert (found[1], found[2]) == ("https", "127.0.0.1:8000")


async def test_what_is_wrong_with_a_new_person_is_told_at_the_field(dana: Browser) -> None:
    answer = await dana.post("/staff", {"name": "", "login": "Dana Novak!", "email": "nobody"})
    assert answer.status_code == 422
    for told in ("Name: is needed", "Sign-in name: write small letters", "E-mail:", "Roles: choose at least one"):
        assert told in answer.text
    taken = await dana.post("/staff", {"name": "Dana", "role": "reception"})
    assert "is taken; choose another" in taken.text
    made_up = await dana.post("/staff", {"name": "Dana Two", "role": "owner"})
    assert "Roles: choose at least one" in made_up.text


async def test_roles_are_changed_and_the_last_manager_stays(staffed: Staffed, dana: Browser, rosa: Account) -> None:
    answer = await dana.post(f"/staff/{rosa.id}/roles", {"role": ["reception", "auditor"]})
    assert place(answer) == "/staff?done=staff-roles-changed"
    assert set(staffed.member(rosa).roles) == {"reception", "auditor"}
    assert "Roles: choose at least one" in (await dana.post(f"/staff/{rosa.id}/roles")).text
    own = (await dana.get("/staff")).text.partition('<span class="tag">you</span>')[0].rpartition("/staff/")[2][:36]
    refused = await dana.post(f"/staff/{own}/roles", {"role": "reception"})
    assert refused.status_code == 409
    assert "is the last manager" in refused.text


async def test_access_ends_and_is_given_back(staffed: Staffed, dana: Browser, rosa: Account) -> None:
    hers = staffed.browser()
    hers.take(staffed.door.open_for(rosa.id, None, "Chrome on Linux"))
    assert "Chrome on Linux" not in (await dana.get("/staff")).text
    assert "Tests" not in (await dana.get(f"/staff/{rosa.id}")).text
    assert "Chrome on Linux, last used today" in (await dana.get(f"/staff/{rosa.id}")).text
    assert place(await dana.post(f"/staff/{rosa.id}/disable")) == f"/staff/{rosa.id}?done=staff-disabled"
    assert (await hers.get("/today")).status_code == 303
    page = (await dana.get(f"/staff/{rosa.id}")).text
    assert "Give access back" in page
    assert "nowhere" in page
    assert (await dana.post(f"/staff/{rosa.id}/reset")).status_code == 409
    assert place(await dana.post(f"/staff/{rosa.id}/enable")).endswith("staff-enabled")
    assert staffed.member(rosa).disabled_at is None


async def test_ones_own_account_is_ended_and_reset_by_another(staffed: Staffed) -> None:
    novak = staffed.hire("novak", Role.MANAGER)
    staffed.hire("other", Role.MANAGER)
    browser = staffed.browser()
    browser.take(staffed.door.open_for(novak.id, None, "Tests"))
    for what in ("disable", "reset"):
        refused = await browser.post(f"/staff/{novak.id}/{what}")
        assert refused.status_code == 409
        assert "This is your own account" in refused.text
    assert "Another manager resets or disables it" in (await browser.get(f"/staff/{novak.id}")).text


async def test_a_reset_and_signing_out_end_what_was_open(
    sqlite_desk: Desk, staffed: Staffed, dana: Browser, rosa: Account
) -> None:
    hers = staffed.browser()
    hers.take(staffed.door.open_for(rosa.id, None, "Tests"))
    assert place(await dana.post(f"/staff/{rosa.id}/sign-out")).endswith("staff-signed-out")
    assert (await hers.get("/today")).status_code == 303
    assert staffed.member(rosa).password_hash is not None
    found = LINK.search((await dana.post(f"/staff/{rosa.id}/reset")).text)
    assert found
    assert staffed.member(rosa).password_hash is None
    with sqlite_desk.store.read() as session:
        events = audit.list_events(session)
    told = {(event.action, event.actor) for event in events}
    assert {("staff.reset", "staff:dana"), ("staff.signed_out_everywhere", "staff:dana")} <= told
    assert all(found[3] not in f"{event.subject_id} {event.fields}" for event in events)


async def test_who_is_not_there_is_not_found(dana: Browser) -> None:
    for path in ("", "/roles", "/disable", "/enable", "/reset", "/sign-out"):
        gone = f"/staff/{uuid4()}{path}"
        form = {"role": "reception"} if path == "/roles" else {}
        answer = await (dana.post(gone, form) if path else dana.get(gone))
        assert answer.status_code == 404, path
