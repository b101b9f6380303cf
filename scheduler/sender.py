"""The sender: dispatcher, recorder and ticker of one process, started and stopped together.

Put together with the web server in `service.py`; what a pass does is in `scheduler.dispatcher`.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.exc import OperationalError

from db import audit, gate, reminders
from db.turns import take_turn
from scheduler import gate_watch, recovery, stop_journal
from scheduler.bounce_mailbox import BounceMailbox
from scheduler.clinic import Clinic
from scheduler.clock import SystemClock
from scheduler.clock_guard import ClockGuard
from scheduler.database_clock import clock_off
from scheduler.dispatcher import Carrier, Dispatcher
from scheduler.errors import Refused
from scheduler.freshness import Freshness
from scheduler.housekeeping import Housekeeper
from scheduler.logs import log
from scheduler.loop_lag import LoopLag
from scheduler.mailer import Connection, Limits, RelaySettings
from scheduler.metrics import SenderSigns
from scheduler.outbox import FolderConnection
from scheduler.recorder import ACTOR, Recorder
from scheduler.ticker import (
    ANCHOR_MINUTES,
    HEARTBEAT_SECONDS,
    HOUSEKEEPING_SECONDS,
    LOOK_SECONDS,
    STATISTICS_HOURS,
    SWEEP_SECONDS,
    Ticker,
)

DRAIN_SECONDS = 30.0  # how long a stop waits for what is on the wire
DATABASE_THREADS = 3  # one for the recorder's stream, two for claims and ticks
TURN_OF_SWEEP = timedelta(seconds=SWEEP_SECONDS - 5)  # one of several processes sweeps in that time, for all
TURN_OF_STATISTICS = timedelta(hours=23)
REPLAN_WAIT = 10.0  # seconds before it is tried again
T = TypeVar("T")


class Sender:
    """Everything that sends in one process.

    `start` lets the ticker say when to look, until `stop`. After `open` whoever holds it says so with `send_due`.
    """

    def __init__(self, clinic: Clinic, limits: Limits | None = None) -> None:
        self._clinic = clinic
        self._limits = limits  # how long each wait for the mail server may last; None: what the RFCs ask for
        self._executor: Executor = ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="database")
        self._ticker = Ticker()
        self._tasks: list[asyncio.Task[None]] = []
        self._worker_id: UUID | None = None
        self._stopping = False
        self._machine = SystemClock()  # a pause of the process is real time, whatever clock the clinic lives by
        self._guard = ClockGuard(clinic.clock)
        self._lag = LoopLag(self._machine.boottime)
        self._fresh = Freshness(self._machine.boottime, lambda: self._guard.find_jump() is None)
        self._mailbox = BounceMailbox(clinic) if clinic.settings.bounce_imap_host else None
        self._recorder: Recorder | None = None
        self._housekeeper = Housekeeper(clinic, relay_of(clinic))
        self.dispatcher: Dispatcher | None = None

    async def open(self) -> None:
        """Register this worker and recover what a dead one left; nothing leaves yet."""
        clinic = self._clinic
        off = await self._run(clock_off, clinic)
        if off:
            raise Refused(
                f"this machine's clock and the database server's differ by {off.total_seconds():.0f} s: set both by "
                "NTP. Processes that share the work judge by the clock whether another is still alive"
            )
        relay = relay_of(clinic)
        await self._run(gate_watch.check_start, clinic, relay is not None)
        await self._run(stop_journal.replay_if_lost, clinic)
        self._worker_id = await self._run(self._register)
        await self._run(recovery.blame_dead, clinic)
        await self._run(recovery.recover, clinic, self._worker_id, clinic.store.is_sqlite)
        recorder = self._recorder = Recorder(clinic, self._executor)

        def make_carrier() -> Carrier:
            return FolderConnection(clinic.settings.outbox) if relay is None else Connection(relay, self._limits)

        self.dispatcher = Dispatcher(
            clinic,
            self._executor,
            recorder,
            self._worker_id,
            make_carrier,
            connections=1 if relay is None else clinic.settings.smtp_connections,
            to_folder=relay is None,
            fresh=self._fresh,
        )
        self._tasks.append(asyncio.create_task(recorder.run(), name="recorder"))
        self._tasks.append(asyncio.create_task(self.dispatcher.run(), name="dispatcher"))

    async def start(self) -> None:
        """Register this worker, recover what a dead one left, and begin to send."""
        await self.open()
        self._tasks.append(asyncio.create_task(self._lag.run(), name="loop lag"))
        self._ticker.every("look", self._look, seconds=LOOK_SECONDS)
        self._ticker.every("heartbeat", self._beat, seconds=HEARTBEAT_SECONDS)
        self._ticker.every("sweep", self._sweep, seconds=SWEEP_SECONDS)
        self._ticker.every("housekeeping", self._housekeeper.look, seconds=HOUSEKEEPING_SECONDS)
        self._ticker.every("anchor", self._anchor, minutes=ANCHOR_MINUTES)
        self._ticker.every("statistics", self._count_rows, hours=STATISTICS_HOURS)
        self._ticker.at("statistics at start", self._machine.now(), self._count_rows)  # beside the rest: ready at once
        if self._mailbox is not None:
            self._ticker.every("mailbox", self._mailbox.look, minutes=self._clinic.settings.bounce_minutes)
            self._ticker.at("mailbox at start", self._machine.now(), self._mailbox.look)
        self._ticker.start()
        await self._sweep()
        self._tasks.append(asyncio.create_task(self._replan(), name="replanning"))

    async def send_due(self) -> None:
        """One sweep, then send all that is due now; returns when nothing of it is on the wire any more.

        Raises what ended a task that must not end.
        """
        await self._run(recovery.sweep, self._clinic)
        await self._run(self._write_beat, True)
        beating = asyncio.create_task(self._keep_beating(), name="heartbeat")
        try:
            if self.dispatcher is not None:
                await self.dispatcher.once()
        finally:
            beating.cancel()
        broken = self.broken()
        if broken is not None:
            raise broken

    async def stop(self) -> None:
        """No new claims; what is on the wire finishes within 30 s; then the worker's orderly end is recorded."""
        self._stopping = True
        self._ticker.stop()
        self._housekeeper.stop()
        if self._mailbox is not None:
            self._mailbox.stop()
        if self.dispatcher is not None:
            self.dispatcher.stop()
            await asyncio.wait(self._tasks[1:2], timeout=DRAIN_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._run(self._end)
        self._executor.shutdown(wait=True)

    async def send_once(self) -> None:
        """One sweep over what is due now, then the end (`send-due`)."""
        await self.open()
        try:
            await self.send_due()
            if self._mailbox is not None:
                await self._mailbox.look()
        finally:
            await self.stop()

    def signs(self) -> SenderSigns | None:
        """What this process knows of itself, None before `open`."""
        if self._recorder is None or self.dispatcher is None:
            return None
        circuit = self.dispatcher.circuit
        return SenderSigns(self._recorder.healthy, circuit.closed_until is None, circuit.alarm is not None)

    @property
    def loop_lag_ms(self) -> int | None:
        """The longest that this process's event loop was kept waiting in the last minute."""
        return self._lag.longest_ms

    def broken(self) -> BaseException | None:
        """The error that ended one of the tasks that must not end, or None."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception():
                return task.exception()
        return None

    async def _look(self) -> None:
        """Wake the dispatcher when something is due, and set the alarm for what will be due next."""
        if self._guard.find_jump() is not None:  # nothing is claimed or handed over any more: say why
            await self._run(self._watch)
        upcoming = await self._run(self._next_ready)
        if upcoming is None or self.dispatcher is None:
            return
        now = self._clinic.clock.now()
        if upcoming <= now:
            self.dispatcher.wake()
        elif isinstance(self._clinic.clock, SystemClock) and upcoming - now < timedelta(seconds=2 * LOOK_SECONDS):
            self._ticker.at("next", upcoming, self._wake)

    async def _wake(self) -> None:
        if self.dispatcher is not None:
            self.dispatcher.wake()

    async def _keep_beating(self) -> None:
        """The heartbeat of one long sweep, where no ticker runs."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._beat()

    async def _beat(self) -> None:
        await self._run(self._write_beat, False)

    async def _sweep(self) -> None:
        await self._run(self._keep_house)
        await self._run(self._write_beat, True)
        self._housekeeper.swept()
        await self._look()

    async def _anchor(self) -> None:
        await self._run(self._write_anchor)

    async def _count_rows(self) -> None:
        await self._run(self._renew_statistics)

    async def _replan(self) -> None:
        """Plan again what was planned with other settings; tried again until the database lets it."""
        while not self._stopping:
            try:
                if await self._run(self._replan_outdated):
                    return
            except OperationalError as error:
                log().warning("replanning_waits", error=type(error).__name__)
            await asyncio.sleep(REPLAN_WAIT)

    def _replan_outdated(self) -> bool:
        """Whether it is done, by this process; False while another is at it."""
        with take_turn(self._clinic.store, "replanning", self._clinic.clock.now()) as ours:
            if not ours:
                return False
            done = recovery.replan_outdated(self._clinic, lambda: not self._stopping)
        if done:
            log().info("replanned", count=done)
        return True

    def _watch(self) -> bool:
        """Close the gate where this process must not go on by itself. False: this machine's clock alone is wrong."""
        jump = self._guard.find_jump()
        if jump is None:
            gate_watch.check_sweep(self._clinic, self._guard.slept())
        elif clock_off(self._clinic):
            return False  # the others go on; this one sends nothing until its clock is right again
        else:
            gate_watch.close_for_clock(self._clinic, jump)
        self._guard.accept()
        return True

    def _keep_house(self) -> None:
        """What every process does for itself, then what one does for all."""
        clinic, now = self._clinic, self._clinic.clock.now()
        if self._worker_id is None or not self._watch():
            return
        recovery.give_back_forgotten(clinic, self._worker_id)
        alone = clinic.store.is_sqlite
        with take_turn(clinic.store, "sweep", now, unless_since=None if alone else now - TURN_OF_SWEEP) as ours:
            if ours:
                recovery.sweep(clinic)
                if not alone:
                    recovery.recover(clinic, self._worker_id, False)

    def _register(self) -> UUID:
        began = self._machine.boottime()
        with self._clinic.store.write(ACTOR, self._clinic.clock.now()) as session:
            worker_id = gate.add_worker(session, f"{socket.gethostname()} {os.getpid()}")
        self._fresh.beaten(began)
        return worker_id

    def _write_beat(self, swept: bool) -> None:
        began = self._machine.boottime()
        off = clock_off(self._clinic)
        if off:  # no heartbeat: soon nothing more is sent, and the others take over
            log().error("clock_differs_from_database", seconds=off.total_seconds())
            return
        if self._worker_id is not None:
            with self._clinic.store.write(ACTOR, self._clinic.clock.now()) as session:
                alarm = self.dispatcher.circuit.alarm if self.dispatcher else None
                gate.beat(session, self._worker_id, swept, alarm, self._lag.longest_ms)
            self._fresh.beaten(began)

    def _write_anchor(self) -> None:
        clinic = self._clinic
        with clinic.store.read() as session:
            audit.write_anchor(session, clinic.settings.anchors_file, clinic.clock.now())

    def _renew_statistics(self) -> None:
        """Once a day, by one process, let the database count its rows: its indexes serve only who knows of them."""
        store, now = self._clinic.store, self._clinic.clock.now()
        with take_turn(store, "statistics", now, unless_since=now - TURN_OF_STATISTICS) as ours:
            if ours:
                store.renew_statistics()

    def _next_ready(self) -> datetime | None:
        with self._clinic.store.read() as session:
            return reminders.find_next_ready(session)

    def _end(self) -> None:
        self._write_anchor()
        gate_watch.note_progress(self._clinic)
        if self._worker_id is not None:
            with self._clinic.store.write(ACTOR, self._clinic.clock.now()) as session:
                gate.stop_worker(session, self._worker_id)

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)


def relay_of(clinic: Clinic) -> RelaySettings | None:
    """The mail server of the settings, None while none is set."""
    settings = clinic.settings
    if settings.smtp_host is None:
        return None
    return RelaySettings(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=settings.smtp_security,
        username=settings.smtp_username,
        password=settings.smtp_password.get_secret_value() if settings.smtp_password else None,
    )
