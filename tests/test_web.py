"""The doors of the web server over real HTTP: who may see what, what every answer carries, start and stop."""

import asyncio
import signal
from pathlib import Path

import pytest
from fastapi import Request

from db.engine import Store
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from tests.web_parts import asked_from, beating, make_clinic, served, written
from web.app import ROUTES, PermissionMissing, make_app
from web.doors import Permission, Route
from web.server import CannotListen, WebServer

STRANGER = "192.0.2.7"
FIXED_PATHS = sorted(route.path for route in ROUTES if "{" not in route.path)
OWN_NAMES = ("127.0.0.1", "127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]", "[::1]:8000")
OTHER_NAMES = ("evil.example.org", "127.0.0.1.example.org", "localhost.", "127.0.0.1@example.org", "", "[::2]", "::1")
FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")


@pytest.fixture
def clinic(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> Clinic:
    """A clinic without a mail server."""
    return make_clinic(sqlite_store, clock, tmp_path / "var")


async def test_only_this_machine_by_its_own_name_sees_pages(clinic: Clinic) -> None:
    name = written(clinic)
    pages = [*(path for path in FIXED_PATHS if path != "/health"), f"/outbox/{name}", f"/outbox/{name}/html"]
    app = make_app(clinic)
    async with served(app) as client:
        for path in pages:
            for host in OWN_NAMES:
                assert (await client.get(path, headers={"Host": host})).status_code == 200, (path, host)
            for host in OTHER_NAMES:
                assert (await client.get(path, headers={"Host": host})).status_code == 404, (path, host)
            for header in FORWARDED:
                assert (await client.get(path, headers={header: "127.0.0.1"})).status_code == 404, (path, header)
    for path in pages:
        assert (await asked_from(app, STRANGER, path)).status_code == 404
        assert (await asked_from(app, STRANGER, path, "POST")).status_code in (404, 405)
    assert (await asked_from(app, STRANGER, "/", "POST")).status_code == 404
    assert (await asked_from(app, "::ffff:127.0.0.1", "/")).status_code == 200


async def test_health_answers_anyone_under_any_name(clinic: Clinic) -> None:
    beating(clinic)
    app = make_app(clinic)
    assert (await asked_from(app, STRANGER, "/health")).status_code == 200
    async with served(app) as client:
        assert (await client.get("/health", headers={"Host": "aftercare.example.org"})).status_code == 200


async def test_what_a_stranger_gets_does_not_tell_what_is_there(clinic: Clinic) -> None:
    app = make_app(clinic)
    real, invented = await asked_from(app, STRANGER, "/"), await asked_from(app, STRANGER, "/nothing-here")
    assert (real.status_code, real.text, dict(real.headers)) == (404, invented.text, dict(invented.headers))
    for word in ("aftercare", "traceback", "mail", "detail"):
        assert word not in real.text.lower()


async def test_every_answer_carries_the_safety_headers(clinic: Clinic) -> None:
    name = written(clinic)
    paths = [*FIXED_PATHS, f"/outbox/{name}", f"/outbox/{name}/html", "/nothing-here", "/docs", "/openapi.json"]
    async with served(make_app(clinic)) as client:
        for path in paths:
            for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
                answer = await client.request(method, path)
                policy = answer.headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "script" not in policy
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["referrer-policy"] == "no-referrer"
                assert answer.headers["cache-control"] == "no-store"
                assert "server" not in answer.headers
                if not path.endswith("/html") or answer.status_code != 200:
                    assert "frame-ancestors 'none'" in policy
                    assert "unsafe-inline" not in policy


async def test_pages_can_only_be_read(clinic: Clinic) -> None:
    async with served(make_app(clinic)) as client:
        for path in FIXED_PATHS:
            expected = (await client.get(path)).status_code
            head = await client.head(path)
            assert (head.status_code, head.content) == (expected, b"")
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                refused = await client.request(method, path)
                assert (refused.status_code, set(refused.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})


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
async def test_a_name_that_is_no_mail_of_the_folder_is_not_found(clinic: Clinic, name: str) -> None:
    (clinic.settings.data_dir / "keys.json").write_text("secret")
    written(clinic)
    async with served(make_app(clinic)) as client:
        for end in ("", "/html"):
            answer = await client.get(f"/outbox/{name}{end}")
            assert answer.status_code == 404
            assert "secret" not in answer.text


async def test_a_fault_in_a_page_shows_nothing_of_the_inside(clinic: Clinic) -> None:
    def broken(request: Request) -> None:
        raise RuntimeError("canary of the inside")

    app = make_app(clinic, [Route("/", "GET", Permission.THIS_MACHINE, broken)])
    async with served(app) as client:
        answer = await client.get("/")
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
