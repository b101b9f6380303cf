"""The web server and the envelope of its answers: start and stop, headers, who may connect, faults, files by hash.

Which role may open which page is in `tests/test_doors.py`.
"""

import asyncio
import hashlib
import re
import signal
from pathlib import Path
from uuid import UUID

import pytest
from fastapi import Request
from structlog.testing import capture_logs

from db.engine import Store
from db.states import Role
from db.vault import KeyRing
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from tests.staffed import HOST, KEYS, Browser, Staffed
from tests.web_parts import asked_from, beating, make_clinic, served, written
from web.app import ROUTES, PermissionMissing, make_app
from web.assets import FOLDER, HTMX_SHA256, asset_path
from web.doors import Open, Route
from web.server import CannotListen, WebServer

STRANGER = "192.0.2.7"
FIXED_PATHS = sorted({route.path for route in ROUTES if "{" not in route.path})
READ_PATHS = sorted({route.path for route in ROUTES if "{" not in route.path and route.method == "GET"})
FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "X-Forwarded-Proto")
FILES = ("aftercare.css", "aftercare.js", "htmx.js", "icon.svg")
TLS = ("X-Forwarded-Proto", "https")
# What a proxy that adds no header of its own passes on, and a page of another site whose name leads here.
ELSEWHERE = ("records.example.org", "127.0.0.1.example.org:8000", "localhost.example.org", "192.0.2.7:8000", "")


@pytest.fixture
def keyring() -> KeyRing:
    """The keys that the secrets of the tests' staff are hashed with."""
    return KEYS


@pytest.fixture
def clinic(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> Clinic:
    """A clinic without a mail server."""
    return make_clinic(sqlite_store, clock, tmp_path / "var")


@pytest.fixture
def staffed(clinic: Clinic) -> Staffed:
    """Its pages."""
    return Staffed(clinic)


@pytest.fixture
def doctor(staffed: Staffed) -> Browser:
    """A clinician at work."""
    return staffed.at_work("novak", Role.CLINICIAN)


async def test_every_answer_carries_the_safety_headers(staffed: Staffed, doctor: Browser) -> None:
    name = written(staffed.clinic)
    paths = [*FIXED_PATHS, f"/outbox/{name}", f"/outbox/{name}/html", "/join/none", "/nothing-here", "/docs"]
    async with served(staffed.app) as client:
        for path in paths:
            for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
                answer = await client.request(
                    method, path, headers={"Cookie": f"aftercare-session={doctor.session}"}, follow_redirects=False
                )
                policy = dict(
                    each.partition(" ")[::2] for each in answer.headers["content-security-policy"].split("; ")
                )
                assert policy["default-src"] == "'none'"
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["referrer-policy"] == "same-origin"
                assert answer.headers["cross-origin-opener-policy"] == "same-origin"
                assert answer.headers["cross-origin-resource-policy"] == "same-origin"
                assert answer.headers["cache-control"] == "no-store"
                assert "server" not in answer.headers
                if path.endswith("/html") and answer.status_code == 200:
                    assert "script-src" not in policy
                    assert "sandbox" in policy
                else:
                    assert {value for name, value in policy.items() if name.endswith("-src")} == {"'none'", "'self'"}
                    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
                    assert policy["form-action"] == "'self'"


async def test_health_answers_anyone_under_any_name(clinic: Clinic) -> None:
    beating(clinic)
    app = make_app(clinic)
    assert (await asked_from(app, STRANGER, "/health")).status_code == 200
    assert (await asked_from(app, STRANGER, "/health", "HEAD")).status_code == 200
    async with served(app) as client:
        for headers in ({"Host": "aftercare.example.org"}, {"X-Forwarded-Proto": "http"}):
            assert (await client.get("/health", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("address", "headers", "private"),
    [
        ("127.0.0.1", [], True),
        ("127.8.8.8", [], True),
        ("::1", [], True),
        ("::ffff:127.0.0.1", [], True),
        (STRANGER, [], False),
        ("::ffff:192.0.2.7", [], False),
        ("unix socket", [], False),
        *[("127.0.0.1", [(name, "127.0.0.1")], False) for name in FORWARDED],
        *[("127.0.0.1", [("Host", name)], True) for name in ("localhost:8000", "LOCALHOST", "[::1]:8000", "127.0.0.2")],
        *[("127.0.0.1", [("Host", name)], False) for name in ELSEWHERE],
        ("127.0.0.1", [("Host", "records.example.org"), TLS], True),
        ("127.0.0.1", [TLS], True),
        ("127.0.0.1", [("X-Forwarded-For", STRANGER), TLS], True),
        (STRANGER, [TLS], True),
        ("127.0.0.1", [("X-Forwarded-Proto", "http")], False),
        ("127.0.0.1", [TLS, ("X-Forwarded-Proto", "http")], False),
        ("127.0.0.1", [("X-Forwarded-Proto", "https, http")], False),
    ],
)
async def test_what_others_could_read_on_the_way_is_refused(
    address: str, headers: list[tuple[str, str]], private: bool, staffed: Staffed, doctor: Browser
) -> None:
    known = "__Host-aftercare-session" if TLS in headers else "aftercare-session"
    sent = [*headers, ("Cookie", f"{known}={doctor.session}"), ("Origin", f"http://{HOST}")]
    for path, method in (("/account", "GET"), ("/sign-in", "GET"), ("/sign-in", "POST"), ("/lock", "POST")):
        answer = await asked_from(staffed.app, address, path, method, sent)
        refused = answer.status_code == 403 and "This connection is not encrypted" in answer.text
        assert refused is not private, (path, method)
        assert refused or "Novak" in answer.text or path != "/account"


async def test_a_refused_connection_shows_nothing_of_anybody(staffed: Staffed, doctor: Browser) -> None:
    written(staffed.clinic)
    cookie = [("Cookie", f"aftercare-session={doctor.session}")]
    answers = [await asked_from(staffed.app, STRANGER, path, headers=cookie) for path in ("/outbox", "/account")]
    assert {answer.status_code for answer in answers} == {403}
    assert not any(word in answer.text for answer in answers for word in ("Danuta", "Novak", "novak"))


async def test_what_is_only_read_answers_head_alike_and_other_methods_not(staffed: Staffed, doctor: Browser) -> None:
    anybody = staffed.at_work("anybody", *Role)
    for path in READ_PATHS:
        page = await anybody.get(path)
        head = await anybody.send("HEAD", path)
        assert (head.status_code, head.content) == (page.status_code, b""), path
        for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
            refused = await anybody.send(method, path)
            assert refused.status_code == 404
            assert "allow" not in refused.headers
    written_only = {route.path for route in ROUTES if "{" not in route.path} - set(READ_PATHS)
    for path in written_only:
        assert (await anybody.get(path)).status_code == 404, path
    # Who may not import is told so of everything below it, whether it is there or not.
    for name in ("enter", "nothing", str(UUID(int=1))):
        refused = await doctor.get(f"/import/{name}")
        assert (refused.status_code, "Not for your account" in refused.text) == (403, True), name


@pytest.mark.parametrize(
    "name",
    [
        "../keys.json",
        "..%2fkeys.json",
        "%2e%2e%2fkeys.json",
        "..%2f..%2f..%2fetc%2fpasswd",
        "keys.json",
        "0123456789abcdef0123.eml%00",
        "0123456789abcdef0123.eml%0a",
        "0123456789ABCDEF0123.eml",
        "0123456789abcdef012.eml",
        ".0123456789abcdef0123.part",
        "0123456789abcdef0123.eml",
        "０123456789abcdef0123.eml",
    ],
)
async def test_a_name_that_is_no_mail_of_the_folder_is_not_found(clinic: Clinic, doctor: Browser, name: str) -> None:
    (clinic.settings.data_dir / "keys.json").write_text("secret")
    written(clinic)
    for end in ("", "/html"):
        answer = await doctor.get(f"/outbox/{name}{end}")
        assert answer.status_code == 404
        assert "secret" not in answer.text


async def test_a_fault_in_a_page_shows_nothing_of_the_inside(clinic: Clinic) -> None:
    def broken(request: Request) -> None:
        raise RuntimeError("canary of the inside")

    async with served(make_app(clinic, [Route("/broken", "GET", Open.ANYONE, broken)])) as client:
        with capture_logs() as told:
            answer = await client.get("/broken")
    assert [event["event"] for event in told] == ["page_failed"]
    assert answer.status_code == 500
    assert "canary" not in answer.text
    assert "Traceback" not in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_a_route_without_a_permission_stops_the_start(clinic: Clinic) -> None:
    open_door = Route("/open", "GET", None, lambda request: None)
    with pytest.raises(PermissionMissing, match="GET /open"):
        make_app(clinic, [*ROUTES, open_door])


def test_the_app_answers_nothing_that_is_not_in_the_table(clinic: Clinic) -> None:
    paths = {getattr(route, "path", repr(route)) for route in make_app(clinic).routes}
    assert paths == {route.path for route in ROUTES}


def test_the_shipped_htmx_is_the_one_published() -> None:
    (found,) = (FOLDER / "vendor").glob("htmx-*.js")
    assert hashlib.sha256(found.read_bytes()).hexdigest() == HTMX_SHA256


async def test_files_are_kept_by_browsers_under_their_hash_alone(clinic: Clinic) -> None:
    app = make_app(clinic)
    for name in FILES:
        path = asset_path(name)
        kept = await asked_from(app, STRANGER, path)
        assert kept.status_code == 200
        assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert hashlib.sha256(kept.content).hexdigest().startswith(path.split("/")[2])
        old = await asked_from(app, STRANGER, f"/static/000000000000/{name}")
        assert (old.content, old.headers["cache-control"]) == (kept.content, "no-store")
    for name in ("frame.html", "nothing.js", "vendor%2fhtmx-LICENSE.txt", "..%2fapp.py", "aftercare.css%00"):
        assert (await asked_from(app, STRANGER, f"/static/0/{name}")).status_code == 404, name


async def test_pages_ask_for_our_own_files_only(doctor: Browser) -> None:
    shown = (await doctor.get("/account")).text
    asked = re.findall(r'<(?:script|link|img)\b[^>]*\b(?:src|href)="([^"]*)"', shown)
    assert set(asked) == {asset_path(name) for name in FILES}


async def test_a_taken_address_is_named(clinic: Clinic) -> None:
    first = WebServer(make_app(clinic), "127.0.0.1", 0)
    port = await first.start()
    second = WebServer(make_app(clinic), "127.0.0.1", port)
    try:
        with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1:{port}: another program"):
            await second.start()
        await second.stop()
    finally:
        await first.stop()


async def test_an_address_that_does_not_exist_is_named(clinic: Clinic) -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on 192\.0\.2\.1:8000: this machine does not have"):
        await WebServer(make_app(clinic), "192.0.2.1", 8000).start()


async def test_the_server_stops_quickly_under_an_open_connection_and_can_start_again(clinic: Clinic) -> None:
    before = signal.getsignal(signal.SIGTERM)
    server = WebServer(make_app(clinic), "127.0.0.1", 0)
    port = await server.start()
    reader, connection = await asyncio.open_connection("127.0.0.1", port)
    connection.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 503 " in await reader.readline()
    async with asyncio.timeout(1.5):
        await server.stop()
    connection.close()
    await connection.wait_closed()
    again = WebServer(make_app(clinic), "127.0.0.1", port)
    assert await again.start() == port
    await again.stop()
    assert signal.getsignal(signal.SIGTERM) is before
