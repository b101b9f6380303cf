"""Nothing slow runs on the event loop: a slow query keeps no connection, no page and no heartbeat waiting."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from scheduler.clock import SystemClock
from scheduler.loop_lag import LOOK_SECONDS, LoopLag
from scheduler.sender import Sender
from tests.process import environment, fill, open_folder
from tests.smtp_server import SmtpServer
from tests.web_parts import served
from web.app import make_app

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SLOW = 0.6  # seconds that each statement takes, in whatever thread it runs; a loop would lag by as much
BOUND_MS = 400  # far above what a loaded machine needs to switch threads


async def test_a_blocked_loop_is_measured() -> None:
    at = 0.0
    lag = LoopLag(lambda: at)
    measuring = asyncio.create_task(lag.run())
    await asyncio.sleep(0)
    at = LOOK_SECONDS + 0.3  # it wakes 0.3 s late
    await asyncio.sleep(LOOK_SECONDS + 0.1)
    found = lag.longest_ms
    measuring.cancel()
    assert found == 300


@pytest.mark.long
async def test_slow_queries_block_neither_sending_nor_pages(tmp_path: Path) -> None:
    async with SmtpServer() as server:
        env = environment(tmp_path, server.port)
        fill(env, NOW - timedelta(seconds=30), 2).store.engine.dispose()
        clinic = open_folder(env, NOW)
        sender = Sender(clinic)
        pages = LoopLag(SystemClock().boottime)
        measuring, is_slow = asyncio.create_task(pages.run()), False

        def wait(*_: object) -> None:
            if is_slow:
                time.sleep(SLOW)

        event.listen(clinic.store.engine, "before_cursor_execute", wait)
        async with served(make_app(clinic)) as client:
            await sender.start()
            is_slow = True
            answer = await client.get("/health")
            await asyncio.sleep(2)
            is_slow = False
            assert answer.status_code == 200
            await server.until(lambda: len(server.accepted) == 2, seconds=30)
            lags = sender.loop_lag_ms, pages.longest_ms
            await sender.stop()
        measuring.cancel()
        assert all(lag is not None and lag < BOUND_MS for lag in lags), lags
        clinic.store.engine.dispose()
