"""What holds up the web server: connections that ask nothing, requests that drip or break off, too many at once.

What an answer holds is in `tests/test_web.py`.
"""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from db.engine import Store
from scheduler.clock import FastClock
from tests.web_parts import make_clinic
from web import forms
from web.app import make_app
from web.connection import Connection
from web.server import WebServer

FORM = (
    b"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nOrigin: http://127.0.0.1:8000\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 40\r\n\r\nlogin=a"
)
HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
SOON = 0.3  # seconds: the limits of these tests


class Served:
    """The pages of an empty clinic on a free port."""

    def __init__(self, server: WebServer, port: int) -> None:
        self.server, self.port = server, port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One connection."""
        return await asyncio.open_connection("127.0.0.1", self.port)


async def serve(store: Store, clock: FastClock, folder: Path) -> Served:
    """Begin to answer."""
    server = WebServer(make_app(make_clinic(store, clock, folder / "var")), "127.0.0.1", 0)
    return Served(server, await server.start())


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether the other side ends it within three seconds."""
    try:
        async with asyncio.timeout(3):
            return await reader.read() == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("begun", [b"", b"GET /health HTTP/1.1\r\nX: ", HEALTH], ids=["nothing", "a head", "another"])
async def test_a_connection_that_asks_nothing_or_drips_its_request_is_ended(
    sqlite_store: Store, clock: FastClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(Connection, "head_seconds", SOON)
    pages = await serve(sqlite_store, clock, tmp_path)
    reader, writer = await pages.connect()
    writer.write(begun)
    if begun == HEALTH:
        await reader.readuntil(b"}")

    async def drip() -> None:
        while begun:
            writer.write(b"X")
            await asyncio.sleep(SOON / 5)

    dripping = asyncio.create_task(drip())
    assert await is_closed(reader)
    dripping.cancel()
    writer.close()
    await pages.server.stop()


async def test_a_form_that_drips_is_answered_and_one_that_breaks_off_is_no_fault_of_ours(
    sqlite_store: Store, clock: FastClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "BODY_SECONDS", SOON)
    pages = await serve(sqlite_store, clock, tmp_path)
    with capture_logs() as told:
        reader, writer = await pages.connect()
        writer.write(FORM)
        async with asyncio.timeout(3):
            assert b" 408 " in await reader.readline()
        writer.close()
        _, writer = await pages.connect()
        writer.write(FORM)
        await writer.drain()
        await asyncio.sleep(SOON / 3)
        writer.close()
        await asyncio.sleep(SOON)
    assert "page_failed" not in [event["event"] for event in told]
    await pages.server.stop()


async def test_beyond_so_many_connections_the_newest_is_refused_and_there_is_room_again(
    sqlite_store: Store, clock: FastClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "most", 3)
    pages = await serve(sqlite_store, clock, tmp_path)
    held = [await pages.connect() for _ in range(3)]
    await asyncio.sleep(0.05)
    late, refused = await pages.connect()
    assert await is_closed(late)
    refused.close()
    held.pop()[1].close()
    await asyncio.sleep(0.05)
    reader, writer = await pages.connect()
    writer.write(HEALTH)
    async with asyncio.timeout(3):
        assert b" 503 " in await reader.readline()  # nothing sends here: that is what it answers
    for _, each in [*held, (reader, writer)]:
        each.close()
    await pages.server.stop()
