"""Parts of the running service that break or are slow: it says so and ends, or keeps the others from noticing.

Kills are in `tests/test_crash.py`, a full disk in `tests/test_full_disk.py`.
"""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scheduler.clock import FastClock
from scheduler.mailer import Limits
from scheduler.sender import Sender
from scheduler.settings import load_settings
from service import open_clinic, serve
from tests.process import environment, fill, open_folder
from tests.smtp_script import FLOOD, SILENT, Act
from tests.smtp_server import SmtpServer

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class BreakingClock(FastClock):
    """A clock that stands still, and that breaks in the hands of the dispatcher."""

    def now(self) -> datetime:
        """The present instant. Raises `ZeroDivisionError` for the dispatcher."""
        with suppress(RuntimeError):  # a thread has no task
            task = asyncio.current_task()
            if task is not None and task.get_name() == "dispatcher":
                raise ZeroDivisionError("the clock is broken")
        return super().now()


async def test_a_part_that_dies_ends_the_service_with_an_error(sqlite_url: str, tmp_path: Path) -> None:
    env = environment(tmp_path, AFTERCARE_DATABASE_URL=sqlite_url)
    fill(env, NOW - timedelta(seconds=30), 1).store.engine.dispose()
    clinic = open_clinic(load_settings(env), BreakingClock(NOW, speed=0))
    with pytest.raises(ZeroDivisionError, match="the clock is broken"):
        await asyncio.wait_for(serve(clinic, web=False, sending=True), 20)
    clinic.store.engine.dispose()


async def test_no_transaction_is_open_while_the_mail_server_thinks(database_url: str, tmp_path: Path) -> None:
    async with SmtpServer() as server:
        env = environment(tmp_path, server.port, AFTERCARE_DATABASE_URL=database_url, AFTERCARE_SMTP_CONNECTIONS="1")
        fill(env, NOW - timedelta(seconds=30), 1).store.engine.dispose()
        clinic = open_folder(env, NOW)
        server.next("rcpt", Act(delay=0.4))
        server.next("content", Act(delay=0.4))
        sending = asyncio.create_task(Sender(clinic).send_once())
        for step in ("RCPT", "DATA"):
            await server.until(lambda step=step: step in server.verbs(), 20)  # type: ignore[misc]
            await asyncio.sleep(0.2)
            assert clinic.store.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        await sending
        assert len(server.accepted) == 1
        clinic.store.engine.dispose()


@pytest.mark.parametrize("act", [SILENT, FLOOD, Act("250 " + "x" * 90, drip=0.02)])
async def test_a_server_that_does_not_come_to_an_end_leaves_the_loop_free(
    act: Act, sqlite_url: str, tmp_path: Path
) -> None:
    async with SmtpServer() as server:
        env = environment(tmp_path, server.port, AFTERCARE_DATABASE_URL=sqlite_url, AFTERCARE_SMTP_CONNECTIONS="1")
        fill(env, NOW - timedelta(seconds=30), 1).store.engine.dispose()
        clinic = open_folder(env, NOW)
        server.next("content", act)
        sending = asyncio.create_task(Sender(clinic, Limits(final_reply=1.5, quit=0.2)).send_once())
        await server.until(lambda: "DATA" in server.verbs(), 20)
        longest = 0.0
        while not sending.done():
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)
        await sending
        assert longest < 1.0  # a loaded machine takes its time; a loop that waits for the answer takes 1.5 s
        clinic.store.engine.dispose()
