"""Every route of the table against everybody who might come: who gets in, and what a forged or wrong form gets.

All of it is generated from `web.app.ROUTES`, so that a new page is held to it from its first day. A new path parameter
needs a sample in `tests/door_world.py`; a new right, a line in `MAY`.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
import pytest

from db.states import Role
from scheduler.accounts import rights
from scheduler.accounts.rights import NEEDS_SECOND_FACTOR, RIGHTS, Right
from tests.conftest import opened
from tests.door_world import HALF_IN, NOBODY, World, make_world
from tests.staffed import HOST, Browser
from web.app import ROUTES
from web.doors import Open, Route

# What each role may do, written down a second time: whoever changes the program's table changes this one on purpose.
MAY: Final[Mapping[Role, frozenset[Right]]] = {
    Role.RECEPTION: frozenset({Right.OWN, Right.DESK, Right.LIBRARY}),
    Role.CLINICIAN: frozenset(
        {
            *(Right.OWN, Right.DESK, Right.RECORD, Right.APPROVE, Right.LIBRARY, Right.WRITE_TEXTS),
            *(Right.STOP_SENDING, Right.LOTS, Right.FIGURES),
        }
    ),
    Role.MANAGER: frozenset(
        {
            *(Right.OWN, Right.DESK, Right.LIBRARY, Right.WRITE_TEXTS, Right.STOP_SENDING, Right.IMPORT, Right.LOTS),
            *(Right.FIGURES, Right.STAFF, Right.TRAIL),
        }
    ),
    Role.AUDITOR: frozenset({Right.OWN, Right.LIBRARY, Right.TRAIL}),
}
EVERYBODY: Final = (NOBODY, HALF_IN, *(role.value for role in Role))
IN, SIGN_IN, CODE, LOCKED, NOT_ALLOWED = "in", "to the sign-in page", "to the second factor", "locked", "not allowed"
FORGED, NOT_ENCRYPTED = "forged", "not encrypted"
READS: Final = [route for route in ROUTES if route.method == "GET"]
WRITES: Final = [route for route in ROUTES if route.method == "POST"]
CHANGED_BY_READING: Final = {"audit_events", "audit_head"}


@pytest.fixture(scope="module")
def world(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One clinic for all of these tests: what one of them changes is of no matter to who may come in."""
    folder = tmp_path_factory.mktemp("doors")
    (folder / "aftercare.db").write_bytes(sqlite_template.read_bytes())
    with opened(f"sqlite:///{folder / 'aftercare.db'}") as engine:
        yield make_world(engine, folder / "clinic")


def named(route: Route) -> str:
    """A route as tests are named."""
    return f"{route.method} {route.path}"


def every(routes: list[Route]) -> pytest.MarkDecorator:
    """The test once for each route."""
    return pytest.mark.parametrize("route", routes, ids=named)


def expected(route: Route, who: str, may: Mapping[Role, frozenset[Right]] = MAY) -> str:
    """What the route's permission says to that person."""
    if route.permission in (Open.ANYONE, Open.AT_THE_DOOR):
        return IN
    if who == NOBODY:
        return SIGN_IN
    if who == HALF_IN:
        return IN if route.permission is Open.HALF_IN else CODE
    if route.permission is Open.HALF_IN or route.permission in may[Role(who)]:
        return IN
    return NOT_ALLOWED


def found(answer: httpx.Response, route: Route) -> str:
    """What the guard said, as its answer tells; `IN` when the page itself answered, whatever it said."""
    place = answer.headers.get("location", "")
    if (
        answer.status_code == 303
        and re.fullmatch(r"/sign-in(\?next=.*)?", place)
        and route.path not in ("/", "/sign-in")
    ):
        return SIGN_IN
    if answer.status_code == 303 and place.startswith("/sign-in/code") and not route.path.startswith("/sign-in"):
        return CODE
    if answer.status_code == 423 and route.path != "/unlock":
        return LOCKED
    told = {
        "Not for your account": NOT_ALLOWED,
        "not sent from a page of this session": FORGED,
        "not encrypted": NOT_ENCRYPTED,
    }
    if answer.status_code == 403:
        return next((word for sentence, word in told.items() if sentence in answer.text), IN)
    return str(answer.status_code) if answer.status_code in (401, 500) else IN


async def ask(browser: Browser, route: Route, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """The page, or its form sent empty."""
    if route.method == "GET":
        return await browser.send("GET", path, headers=headers)
    return await browser.post(path, headers=dict(headers or {}))


async def come(world: World, route: Route, who: str, locked: bool = False) -> str:
    """What that person gets, who has just come in."""
    browser = world.come_in(who, locked)
    return found(await ask(browser, route, world.path(route, who)), route)


def who_may(route: Route) -> str:
    """Somebody whom the route lets in."""
    if route.permission in (Open.ANYONE, Open.AT_THE_DOOR):
        return NOBODY
    if route.permission is Open.HALF_IN:
        return HALF_IN
    return next(role.value for role, held in MAY.items() if route.permission in held)


def test_the_table_of_rights_is_the_one_written_here() -> None:
    assert dict(RIGHTS) == dict(MAY)
    assert frozenset().union(*MAY.values()) == set(Right)
    assert {Role.CLINICIAN, Role.MANAGER} == NEEDS_SECOND_FACTOR


@every(list(ROUTES))
async def test_a_route_lets_in_whom_its_permission_names(route: Route, world: World) -> None:
    got = {who: await come(world, route, who) for who in EVERYBODY}
    assert got == {who: expected(route, who) for who in EVERYBODY}


@every(list(ROUTES))
async def test_behind_the_lock_nothing_is_shown_and_nothing_done(route: Route, world: World) -> None:
    stays_open = route.while_locked or route.permission in (Open.ANYONE, Open.AT_THE_DOOR)
    may = who_may(route) if isinstance(route.permission, Right) else Role.RECEPTION.value
    for who in {may, Role.RECEPTION.value}:
        got = await come(world, route, who, locked=True)
        assert got == (expected(route, who) if stays_open else LOCKED), who


async def test_a_changed_table_of_rights_does_not_pass(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = {**RIGHTS, Role.RECEPTION: frozenset(Right)}
    record = [route for route in READS if route.permission is Right.RECORD]
    assert record
    for route in record:
        assert await come(world, route, Role.RECEPTION.value) != expected(route, Role.RECEPTION.value, everything)
    monkeypatch.setattr(rights, "RIGHTS", everything)
    for route in record:
        assert await come(world, route, Role.RECEPTION.value) != expected(route, Role.RECEPTION.value)


def test_a_path_parameter_without_a_sample_says_what_to_do(world: World) -> None:
    with pytest.raises(AssertionError, match=r"add a sample for \{colour\}"):
        world.path(Route("/paint/{colour}", "GET", Right.DESK, lambda: None), NOBODY)


@every([route for route in ROUTES if isinstance(route.permission, Right)])
async def test_a_part_of_a_page_is_told_where_to_go(route: Route, world: World) -> None:
    answers = {}
    for who, locked in ((NOBODY, False), (HALF_IN, False), (who_may(route), True)):
        browser = world.come_in(who, locked)
        answers[who] = await ask(browser, route, world.path(route, who), headers={"HX-Request": "true"})
    nobody, half_in, behind_the_lock = answers.values()
    assert nobody.status_code == half_in.status_code == 401
    assert nobody.headers["hx-redirect"].startswith("/sign-in")
    assert half_in.headers["hx-redirect"].startswith("/sign-in/code")
    if not route.while_locked:
        assert (behind_the_lock.status_code, behind_the_lock.text) == (423, "")


# What reading changes


def without_reading(world: World) -> dict[str, list[dict[str, object]]]:
    """Every table as it is, but for the trail and the last sign of who is at work."""
    tables = world.stored(but=CHANGED_BY_READING)
    for row in tables["staff_sessions"]:
        del row["seen_at"]
    return tables


def seen_at(world: World) -> list[object]:
    """When each session was last used."""
    return [row["seen_at"] for row in world.stored()["staff_sessions"]]


@every(READS)
async def test_reading_changes_nothing_but_the_trail(route: Route, world: World) -> None:
    who = who_may(route)
    browser, path = world.come_in(who), world.path(route, who)
    world.staffed.machine.advance(timedelta(minutes=1))
    world.strict.machine.advance(timedelta(minutes=1))
    before, seen_before = without_reading(world), seen_at(world)
    page = await browser.get(path)
    head = await browser.send("HEAD", path)
    assert page.status_code in (200, 204, 303), "the sample has to be a real one"
    assert (head.status_code, head.content) == (page.status_code, b"")
    assert without_reading(world) == before
    shows_presence = not route.passive and route.permission not in (Open.ANYONE, Open.AT_THE_DOOR)
    assert (seen_at(world) != seen_before) is shows_presence
    if "sandbox" not in page.headers["content-security-policy"]:
        assert inline(page.text) == []


def inline(html: str) -> list[str]:
    """What the policy of our pages would keep a browser from obeying."""
    patterns = (r"<style\b", r"<script\b(?![^>]*\bsrc=)", r"<[^>]+\sstyle=", r"<[^>]+\son\w+=", r"javascript:")
    return [match[0] for pattern in patterns for match in re.finditer(pattern, html, re.IGNORECASE)]


# What a wrong or forged form changes: each route with what matters most, one of them with every kind

OTHER_SITES: Final = (
    {"Origin": "https://evil.example.org"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Origin": "null"},
    {"Origin": f"https://{HOST}"},
    {"Origin": f"http://{HOST}.example.org"},
    {"Origin": f"http://{HOST[:-1]}"},
    {"Origin": "http://["},
    {"Sec-Fetch-Site": "same-site"},
)
ONE: Final = next(route for route in WRITES if route.path == "/account/address")
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


@every(WRITES)
async def test_a_forged_or_wrong_form_is_refused_and_changes_nothing(route: Route, world: World) -> None:
    browser, path = world.come_in(who_may(route)), world.path(route, who_may(route))
    before = world.stored()
    if browser.session:
        assert found(await browser.post(path, token=False), route) == FORGED
    for headers in OTHER_SITES[:2]:
        assert found(await browser.post(path, headers=headers), route) == FORGED, headers
    unexpected = await browser.post(path, {"is_manager": "1"})
    assert unexpected.status_code == 400, "read the form by its model before anything else"
    ours = {"Origin": f"http://{HOST}", "X-Form-Token": browser.token, **FORM}
    large = {"Content-Length": str(route.most_bytes + 1), **ours}
    assert (await browser.send("POST", path, headers=large, content=b"a=b")).status_code == 413
    assert world.stored() == before


async def test_no_other_site_and_no_other_session_sends_a_form(world: World) -> None:
    browser, another = world.come_in(Role.RECEPTION.value), world.come_in(Role.AUDITOR.value)
    before = world.stored()
    for headers in OTHER_SITES:
        assert found(await browser.post(ONE.path, headers=headers), ONE) == FORGED, headers
    for token in ("", "0" * 32, browser.session or "", another.token, browser.token.upper()):
        assert found(await browser.post(ONE.path, {"form_token": token}), ONE) == FORGED, token
    for named in ({}, {"Referer": f"http://{HOST}/today"}):  # a browser that says neither where the form came from
        nameless = await browser.send("POST", ONE.path, data={"form_token": browser.token}, headers=named)
        assert found(nameless, ONE) == FORGED, named
    assert world.stored() == before


async def test_a_body_that_is_none_of_a_form_is_refused_unread(world: World) -> None:
    browser = world.come_in(Role.RECEPTION.value)
    before = world.stored()
    ours = {"Origin": f"http://{HOST}", "X-Form-Token": browser.token}
    for headers, status in (
        ({"Content-Length": "9" * 30, **FORM}, 413),
        ({"Content-Length": "-1", **FORM}, 411),
        ({"Content-Type": "application/json"}, 415),
        ({"Content-Type": "text/plain"}, 415),
    ):
        answer = await browser.send("POST", ONE.path, headers={**ours, **headers}, content=b"email=")
        assert answer.status_code == status, headers
    pieces = await browser.send("POST", ONE.path, headers={**ours, **FORM}, content=in_pieces())
    assert pieces.status_code == 411
    assert world.stored() == before


async def in_pieces() -> AsyncIterator[bytes]:
    """A body whose length nobody said."""
    yield b"a=b"


async def test_a_limit_holds_for_what_really_comes(world: World) -> None:
    browser = world.come_in(Role.RECEPTION.value)
    over = await browser.post("/account/address", {"email": "x" * 256 * 1024})
    many = await browser.post("/account/address", {f"field{number}": "" for number in range(1_300)})
    assert (over.status_code, many.status_code) == (413, 400)
    files = await browser.send(
        "POST",
        "/account/address",
        headers={"Origin": f"http://{HOST}", "X-Form-Token": browser.token},
        files={"email": ("a.txt", b"x")},
    )
    assert files.status_code == 400


async def test_who_is_not_in_cannot_make_the_server_read_a_large_file(world: World) -> None:
    large = next((route for route in WRITES if route.most_bytes > 1024 * 1024), None)
    path = world.path(large, NOBODY) if large else "/account/address"
    answer = await world.come_in(NOBODY).send(
        "POST", path, headers={"Origin": f"http://{HOST}", "Content-Length": str(10**12)}, content=b"a=b"
    )
    assert (answer.status_code, answer.headers.get("location")) == (303, "/sign-in")
