"""A full disk, a read-only database: nothing leaves that cannot be written down, and sending goes on by itself."""

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from db import reminders
from db.states import ReminderState
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from scheduler.sender import Sender
from tests.process import environment, fill, ledger_lines, open_folder, running, wait_until
from tests.smtp_process import smtp_process
from tests.smtp_server import SmtpServer

COUNT = 12
MARKED_ALREADY = 2  # with one connection: what is on the wire, and with pipelining the next
PAGE = 4096  # no write beyond it: neither a page of the database nor a frame of its log


def sent(clinic: Clinic) -> int:
    """How many messages are recorded as sent."""
    with clinic.store.read() as session:
        return reminders.count_by_state(session)[ReminderState.SENT]


@pytest.mark.long
def test_a_disk_that_fills_up_stops_before_the_hand_over_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    with smtp_process(tmp_path, "--delay", "0.4") as (port, ledger):
        env = environment(tmp_path, port, AFTERCARE_SMTP_CONNECTIONS="1")
        fill(env, datetime.now(UTC) - timedelta(seconds=30), COUNT).store.engine.dispose()
        with running(env, "--no-web") as process:
            assert wait_until(lambda: len(ledger_lines(ledger)) >= 2, 20)
            soft, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (PAGE, hard))
            full_with = len(ledger_lines(ledger))
            time.sleep(3)
            assert process.poll() is None  # the service lives on, its log on the same full disk
            stopped_with = len(ledger_lines(ledger))
            assert stopped_with <= full_with + MARKED_ALREADY
            assert stopped_with < COUNT
            time.sleep(1)
            assert len(ledger_lines(ledger)) == stopped_with
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (soft, hard))
            assert wait_until(lambda: len(ledger_lines(ledger)) >= COUNT, 60)
        clinic = open_folder(env, datetime.now(UTC))
        assert sent(clinic) == COUNT
        assert set(Counter(str(line["message_id"]) for line in ledger_lines(ledger)).values()) == {1}
        clinic.store.engine.dispose()


@pytest.mark.long
async def test_a_database_that_turns_read_only_lets_nothing_leave_until_it_can_be_written(tmp_path: Path) -> None:
    now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    async with SmtpServer() as server:
        env = environment(tmp_path, server.port)
        fill(env, now, 3, first=60).store.engine.dispose()
        clinic = open_folder(env, now)
        clock, sender, read_only = clinic.clock, Sender(clinic), False
        assert isinstance(clock, FastClock)

        def refuse(connection: Connection) -> None:
            if read_only:
                connection.exec_driver_sql("PRAGMA query_only=1")

        event.listen(clinic.store.engine, "begin", refuse)
        await sender.start()
        read_only = True
        clock.advance(timedelta(seconds=61))
        await asyncio.sleep(2)
        assert server.accepted == []
        assert sender.broken() is None
        read_only = False
        await server.until(lambda: len(server.accepted) == 3, seconds=20)
        await sender.stop()
        assert sent(clinic) == 3
        assert len({message.message_id for message in server.accepted}) == 3
        clinic.store.engine.dispose()


def test_a_log_on_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    code = "from scheduler.logs import log, setup_logs; setup_logs(); log().error('told'); print('alive')"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stderr=full, stdout=subprocess.PIPE, text=True, check=False, env=os.environ
        )
    assert done.stdout == "alive\n"
