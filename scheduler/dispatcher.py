"""The dispatcher: claim what is due, write the mails, mark, hand over, record; a few connections side by side.

What is due is in the database, when to look is the ticker's; marks and outcomes go through the recorder.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from db import audit, sends
from db.engine import instant_of
from db.follow_up import Reminder
from db.records import Patient
from db.states import Reason
from scheduler import compose, kill_points, outcomes
from scheduler.clinic import Clinic
from scheduler.freshness import Freshness
from scheduler.local_time import next_allowed, to_utc, to_wall
from scheduler.logs import log
from scheduler.mailer import RelayTrouble
from scheduler.messages import RenderFailed
from scheduler.mime import HeaderRefused
from scheduler.outcomes import Ended
from scheduler.recorder import ACTOR, Recorder
from scheduler.relay_circuit import RelayCircuit
from scheduler.smtp_outcome import Break, Phase, RelayEffect, Verdict, classify

CLAIMS_PER_CONNECTION = 5  # claimed at once: enough to keep connections busy, few enough to give back at a stop
ERRORS_BEFORE_HELD = 3  # a reminder that breaks down this often needs a person
ERROR_WAIT = timedelta(minutes=5)
NO_CAP = 1_000_000
# A reminder is claimed a moment after it was ready; only what waited longer is looked at for the hour again.
SLACK = timedelta(minutes=1)
T = TypeVar("T")


class Carrier(Protocol):
    """What hands messages over: a connection to the mail server, or the outbox folder."""

    async def ensure_open(self) -> None:
        """Be ready for the next message. Raises `RelayTrouble`."""
        ...

    async def envelope(self, sender: str, recipient: str) -> Verdict | None:
        """Name sender and recipient; a verdict ends the attempt."""
        ...

    async def content(self, message: bytes, on_354: Callable[[], bool | None] | None = None) -> Verdict:
        """Hand over the marked message."""
        ...

    async def abandon(self) -> None:
        """Take the envelope back."""
        ...

    async def close(self) -> None:
        """End politely."""
        ...


@dataclass(frozen=True, slots=True)
class _Ready:
    claim: sends.Claim
    letter: compose.Letter


class Dispatcher:
    """Sends what is due until told to stop. One per process."""

    def __init__(
        self,
        clinic: Clinic,
        executor: Executor,
        recorder: Recorder,
        worker_id: UUID,
        make_carrier: Callable[[], Carrier],
        connections: int,
        to_folder: bool,
        fresh: Freshness,
    ) -> None:
        self._clinic = clinic
        self._executor = executor
        self._recorder = recorder
        self._worker_id = worker_id
        self._make_carrier = make_carrier
        self._connections = connections
        self._to_folder = to_folder
        self._fresh = fresh
        self._queue: asyncio.Queue[_Ready] = asyncio.Queue()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._kept: list[sends.Claim] = []  # to be given back as soon as the database is there again
        self._stopping = False
        self._is_over = False
        self._pace = Pace(clinic.settings.smtp_rate_per_minute)
        self.circuit = RelayCircuit()

    def wake(self) -> None:
        """Look again what is due; never lost, whatever runs meanwhile."""
        self._wake.set()

    async def once(self) -> None:
        """Look what is due and return when all of it has been dealt with; at once when `run` has ended."""
        if not self._is_over:
            self._idle.clear()
            self.wake()
            await self._idle.wait()

    def stop(self) -> None:
        """Claim nothing more; what is on the wire finishes."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Send until `stop`; returns when nothing is on the wire any more and all claims are given back."""
        lines = [asyncio.create_task(self._line()) for _ in range(self._connections)]
        try:
            while not self._stopping:
                await self._wake.wait()
                self._wake.clear()
                await self._pass()
                if not self._wake.is_set():
                    self._idle.set()
        finally:
            while not self._queue.empty():  # claimed and written, but not begun
                await self._give_back(self._queue.get_nowait().claim)
                self._queue.task_done()
            await self._queue.join()
            for line in lines:
                line.cancel()
            await asyncio.gather(*lines, return_exceptions=True)
            self._is_over = True
            self._idle.set()  # nobody may wait for a pass that will not come

    async def _pass(self) -> None:
        """Claim and send until nothing more is due, the gate or the relay is closed, or a stop comes."""
        try:
            while not self._stopping and self._recorder.healthy and self._fresh():
                now = self._clinic.clock.now()
                if self.circuit.closed_until is not None and now < self.circuit.closed_until:
                    break
                allowance = self._pace.allowance(now)
                if allowance == 0:
                    break
                limit = min(self._connections * CLAIMS_PER_CONNECTION, allowance)
                claims, ready = await self._in_thread(self._claim_and_write, limit)
                for letter in ready:
                    self._queue.put_nowait(letter)
                self._pace.take(len(ready), now)
                if not claims:
                    break
                await self._queue.join()
        except SQLAlchemyError as error:
            log().error("dispatch_waits", error=type(error).__name__)  # the next tick tries again

    async def _line(self) -> None:
        """One connection: takes finished mails from the queue, one at a time."""
        carrier = self._make_carrier()
        try:
            while True:
                ready = await self._queue.get()
                try:
                    await self._send(carrier, ready)
                except Exception as error:  # noqa: BLE001 (one reminder: the connection goes on with the next)
                    log().error("send_broke", reminder_id=str(ready.claim.reminder_id), error=type(error).__name__)
                    await self._give_back(ready.claim, error=True)
                finally:
                    self._queue.task_done()
        finally:
            await carrier.close()

    async def _send(self, carrier: Carrier, ready: _Ready) -> None:
        """1 connect · 2 envelope · 3 mark, durable before the first content byte · 4 content · 5 record."""
        claim, letter = ready.claim, ready.letter
        now = self._clinic.clock.now()
        if self._stopping or not self._fresh() or not self.circuit.may_connect(now):
            await self._give_back(claim)
            return
        try:
            await carrier.ensure_open()
        except RelayTrouble as trouble:
            self._tell_circuit(trouble.verdict)
            await self._give_back(claim)
            return
        verdict = await carrier.envelope(letter.return_path, letter.email)
        if verdict is not None:
            self._tell_circuit(verdict)
            await self._recorder.record(self._ended(claim, letter, None, verdict))
            return
        still_ours = self._fresh.from_now()
        number = await self._recorder.mark(sends.Mark(claim, self._worker_id, letter.email_version, letter.content))
        if number is None:  # a stop came first, or her address changed: it wins
            await carrier.abandon()
            await self._give_back(claim)
            return
        kill_points.reach("after_mark")
        # A process that was paused here may long be taken for dead: it must not send what another has settled.
        verdict = await self._hand_over(carrier, letter, still_ours)
        kill_points.reach("reply_read")
        self._tell_circuit(verdict)
        await self._recorder.record(self._ended(claim, letter, number, verdict))
        kill_points.reach("recorded")
        log().info(
            "attempt_ended",
            reminder_id=str(claim.reminder_id),
            attempt=number,
            outcome=verdict.outcome.value,
            code=verdict.code,
        )

    async def _hand_over(self, carrier: Carrier, letter: compose.Letter, still_ours: Callable[[], bool]) -> Verdict:
        """The verdict of a marked message; whatever breaks down here leaves it unknown, never unrecorded."""
        try:
            return await carrier.content(letter.content, on_354=still_ours)
        except Exception as error:  # noqa: BLE001 (its attempt is open: it has to end in an outcome)
            log().error("hand_over_broke", reminder_id=str(letter.reminder_id), error=type(error).__name__)
            return classify(Phase.CONTENT, Break.OTHER)

    def _tell_circuit(self, verdict: Verdict) -> None:
        alarm = self.circuit.record(verdict, self._clinic.clock.now())
        if alarm:
            log().error(alarm)
        elif verdict.relay is not RelayEffect.FINE:
            log().warning("relay_trouble", phase=verdict.phase.value, code=verdict.code)

    def _ended(self, claim: sends.Claim, letter: compose.Letter, number: int | None, verdict: Verdict) -> Ended:
        return Ended(
            reminder_id=claim.reminder_id,
            attempt=number,
            worker_id=self._worker_id,
            fence=claim.fence,
            email_version=letter.email_version,
            outcome=verdict.outcome,
            blames_address=verdict.blames_address,
            phase=verdict.phase.value,
            code=verdict.code,
            enhanced=verdict.enhanced,
            reply=verdict.text or None,
            to_folder=self._to_folder,
        )

    def _claim_and_write(self, limit: int) -> tuple[int, list[_Ready]]:
        """In a thread: claim, then write each mail before any attempt exists. How many were claimed, what is ready."""
        clinic = self._clinic
        now = clinic.clock.now()
        kept = list(self._kept)
        with clinic.store.write(ACTOR, now) as session:
            for claim in kept:
                sends.give_back(session, claim)
            limit = min(limit, self._left_today(session, now))
            claims = sends.claim_due(session, self._worker_id, now, limit) if limit > 0 else []
        del self._kept[: len(kept)]
        if claims:
            kill_points.reach("after_claim")
        ready = []
        for claim in claims:
            try:
                letter = self._write(claim, now)
            except OperationalError:
                self._kept += claims
                raise
            if letter is not None:
                ready.append(_Ready(claim, letter))
        if ready:
            kill_points.reach("after_render")
        return len(claims), ready

    def _left_today(self, session: Session, now: datetime) -> int:
        """How many attempts the daily cap leaves, counted from midnight at the clinic."""
        settings = self._clinic.settings
        if not settings.daily_cap:
            return NO_CAP
        today = to_wall(now, settings.clinic_time_zone).replace(hour=0, minute=0, second=0, microsecond=0)
        return settings.daily_cap - sends.count_attempts(session, to_utc(today, settings.clinic_time_zone))

    def _write(self, claim: sends.Claim, now: datetime) -> compose.Letter | None:
        """The finished mail of a claim, or None after the claim was put where it belongs."""
        clinic = self._clinic
        try:
            with clinic.store.read() as session:
                row = session.get_one(Reminder, claim.reminder_id)
                patient = session.get_one(Patient, claim.patient_id)
                allowed = next_allowed(now, patient.time_zone, clinic.rules.window)
                if allowed > now and row.ready_at < now - SLACK:
                    self._put_off(claim, allowed, row.expires_at)
                    return None
                if outcomes.may_be_at_old_address(session, row, patient):
                    self._hold(claim, Reason.UNKNOWN)
                    return None
                return compose.write_letter(session, clinic, row)
        except OperationalError:
            raise  # the database is away: this reminder is not to blame
        except compose.Revealing:
            self._hold(claim, Reason.REVEALING_TEXT)
        except (RenderFailed, compose.NothingToSend, HeaderRefused):
            self._hold(claim, Reason.RENDER_FAILED)
        except Exception as error:  # noqa: BLE001 (one reminder: whatever is wrong with it must not stop the others)
            self._broke(claim, error)
        return None

    def _put_off(self, claim: sends.Claim, until: datetime, expires_at: datetime) -> None:
        """It is night where she is: what was due while nobody could send it waits for the morning, or is missed."""
        with self._clinic.store.write(ACTOR, self._clinic.clock.now()) as session:
            if until >= expires_at:
                sends.miss_claimed(session, claim)
            else:
                sends.give_back(session, claim, ready_at=until)

    def _hold(self, claim: sends.Claim, reason: Reason) -> None:
        log().error("reminder_held", reminder_id=str(claim.reminder_id), reason=reason.value)
        with self._clinic.store.write(ACTOR, self._clinic.clock.now()) as session:
            if sends.hold_claimed(session, claim, reason):
                audit.record(session, f"reminder.held_{reason.value}", "reminder", claim.reminder_id, claim.patient_id)

    def _broke(self, claim: sends.Claim, error: BaseException) -> None:
        log().error("reminder_broke", reminder_id=str(claim.reminder_id), error=type(error).__name__)
        with self._clinic.store.write(ACTOR, self._clinic.clock.now()) as session:
            row = session.get(Reminder, claim.reminder_id)
            if row is not None and row.errors + 1 >= ERRORS_BEFORE_HELD:
                sends.hold_claimed(session, claim, Reason.SEND_FAILED)
            else:
                sends.give_back(session, claim, ready_at=instant_of(session) + ERROR_WAIT, error=True)

    async def _give_back(self, claim: sends.Claim, error: bool = False) -> None:
        def write() -> None:
            if error:
                self._broke(claim, RuntimeError())
                return
            with self._clinic.store.write(ACTOR, self._clinic.clock.now()) as session:
                sends.give_back(session, claim)

        try:
            await self._in_thread(write)
        except SQLAlchemyError as failed:
            self._kept.append(claim)
            log().warning("claim_kept", reminder_id=str(claim.reminder_id), error=type(failed).__name__)

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)


class Pace:
    """At most so many messages a minute; 0 means no cap."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._taken: list[datetime] = []

    def allowance(self, now: datetime) -> int:
        """How many may be claimed now."""
        if not self._per_minute:
            return NO_CAP
        self._taken = [at for at in self._taken if now - at < timedelta(minutes=1)]
        return max(0, self._per_minute - len(self._taken))

    def take(self, count: int, now: datetime) -> None:
        """Note that so many were taken."""
        if self._per_minute:
            self._taken += [now] * count
