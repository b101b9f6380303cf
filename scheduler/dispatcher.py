"""The dispatcher: hands what is ready to a few connections side by side: envelope, mark, content, record.

Claiming and writing is `scheduler.claimer`, when to look is the ticker's; marks and outcomes go through the recorder.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Protocol, TypeVar
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from db import sends
from db.marks import Mark
from db.states import AttemptOutcome
from scheduler import compose, kill_points
from scheduler.claimer import Claimer, Ready
from scheduler.clinic import Clinic
from scheduler.freshness import Freshness
from scheduler.logs import log
from scheduler.mailer import RelayTrouble
from scheduler.outcomes import Ended
from scheduler.pace import Pace
from scheduler.recorder import Recorder
from scheduler.relay_circuit import RelayCircuit
from scheduler.smtp_outcome import Break, Phase, RelayEffect, Verdict, classify

CLAIMS_PER_CONNECTION = 10  # claimed at once: enough to keep connections busy, few enough to give back at a stop
REFILL_BELOW = 4  # messages a connection that are ready: below it the next are claimed while these leave
T = TypeVar("T")


class Carrier(Protocol):
    """What hands messages over: a connection to the mail server, or the outbox folder."""

    @property
    def takes_groups(self) -> bool:
        """Whether an envelope may travel with the content before it."""
        ...

    async def ensure_open(self) -> None:
        """Be ready for the next message. Raises `RelayTrouble`."""
        ...

    async def envelope(self, sender: str, recipient: str) -> Verdict | None:
        """Name sender and recipient; a verdict ends the attempt."""
        ...

    async def content(
        self,
        message: bytes,
        on_354: Callable[[], bool | None] | None = None,
        then: tuple[str, str] | None = None,
    ) -> Verdict:
        """Hand over the marked message; the envelope `then` may travel with its end."""
        ...

    async def abandon(self) -> None:
        """Take the envelope back."""
        ...

    async def close(self) -> None:
        """End politely."""
        ...


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
        self._claimer = Claimer(clinic, worker_id)
        self._queue: asyncio.Queue[Ready] = asyncio.Queue()
        self._free = 0  # connections that wait for a message
        self._in_hand = 0  # claimed and written, and not yet done with
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._low = asyncio.Event()  # few are ready: time to claim more
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
        in_time = True
        try:
            while not self._stopping:
                await self._wake.wait()
                self._wake.clear()
                await self._pass()
                if not self._wake.is_set():
                    self._idle.set()
        except asyncio.CancelledError:
            in_time = False  # a stop waits no longer: what is on the wire stays open, and is unknown at the next start
            raise
        finally:
            while not self._queue.empty():  # claimed and written, but not begun
                await self._give_back(self._queue.get_nowait().claim)
            try:
                if in_time:
                    await self._queue.join()
            finally:
                for line in lines:
                    line.cancel()
                await asyncio.gather(*lines, return_exceptions=True)
                self._claimer.close()
                self._is_over = True
                self._idle.set()  # nobody may wait for a pass that will not come

    async def _pass(self) -> None:
        """Claim and send until nothing more is due, the gate or the relay is closed, or a stop comes."""
        try:
            while not self._stopping and self._recorder.healthy and self._fresh():
                now = self._clinic.clock.now()
                if self.circuit.closed_until is not None and now < self.circuit.closed_until:
                    break
                allowance = self._pace.allowance(self._clinic.clock.boottime())
                if allowance == 0:
                    break
                limit = min(self._connections * CLAIMS_PER_CONNECTION, allowance)
                claims, ready = await self._in_thread(self._claimer.claim, limit)
                for each in ready:
                    self._queue.put_nowait(each)
                self._in_hand += len(ready)
                self._pace.take(len(ready), self._clinic.clock.boottime())
                if not claims and not self._in_hand:
                    break
                await self._until_low(all_of_it=not claims)
        except SQLAlchemyError as error:
            log().error("dispatch_waits", error=type(error).__name__)  # the next tick tries again
        await self._queue.join()

    async def _until_low(self, all_of_it: bool) -> None:
        """Wait until few are ready; until all have ended where that may make others due, or a cap counts what left."""
        if all_of_it or self._clinic.settings.daily_cap:
            await self._queue.join()
        while self._queue.qsize() > self._connections * REFILL_BELOW:
            self._low.clear()
            await self._low.wait()

    async def _line(self) -> None:
        """One connection: takes finished mails from the queue, one at a time, and looks one ahead."""
        line = _Line(self._make_carrier())
        try:
            while True:
                ready = line.following or await self._next()
                line.following = None
                try:
                    await self._send(line, ready)
                except Exception as error:  # noqa: BLE001 (one reminder: the connection goes on with the next)
                    log().error("send_broke", reminder_id=str(ready.claim.reminder_id), error=type(error).__name__)
                    line.announced = False
                    await line.carrier.close()
                    await self._give_back(ready.claim, error=True)
        finally:
            if line.following is not None:
                await self._give_back(line.following.claim)
            await line.carrier.close()

    async def _next(self) -> Ready:
        self._free += 1
        try:
            return await self._queue.get()
        finally:
            self._free -= 1
            self._low.set()

    async def _send(self, line: "_Line", ready: Ready) -> None:
        """1 connect · 2 envelope · 3 mark, durable before the first content byte · 4 content · 5 record."""
        claim, letter, carrier = ready.claim, ready.letter, line.carrier
        announced, line.announced = line.announced, False
        if self._stopping or not self._fresh() or not self.circuit.may_connect(self._clinic.clock.now()):
            if announced:
                await carrier.abandon()
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
            self._record(ready, None, verdict)
            return
        still_ours = self._fresh.from_now()
        number = await self._recorder.mark(
            Mark(claim, self._worker_id, letter.email_version, letter.packed, letter.links)
        )
        if number is None:  # a stop came first, or her address changed: it wins
            await carrier.abandon()
            await self._give_back(claim)
            return
        kill_points.reach("after_mark")
        # A process that was paused here may long be taken for dead: it must not send what another has settled.
        verdict = await self._hand_over(line, letter, still_ours)
        kill_points.reach("reply_read")
        self._tell_circuit(verdict)
        self._record(ready, number, verdict)

    async def _hand_over(self, line: "_Line", letter: compose.Letter, still_ours: Callable[[], bool]) -> Verdict:
        """The verdict of a marked message; whatever breaks down here leaves it unknown, never unrecorded."""
        self._look_ahead(line)
        then = line.following.letter.envelope if line.following is not None else None
        try:
            verdict = await line.carrier.content(letter.content, still_ours, then)
        except Exception as error:  # noqa: BLE001 (its attempt is open: it has to end in an outcome)
            log().error("hand_over_broke", reminder_id=str(letter.reminder_id), error=type(error).__name__)
            return classify(Phase.CONTENT, Break.OTHER)
        line.announced = then is not None
        return verdict

    def _look_ahead(self, line: "_Line") -> None:
        """Take the next message too where its envelope may travel with the end of this one, and no connection is free
        to take it at once: it would wait for this one's answer."""
        wanted = self._queue.qsize() > self._free and not self._stopping and self.circuit.closed_until is None
        if wanted and line.carrier.takes_groups:
            line.following = self._queue.get_nowait()
            self._low.set()

    def _record(self, ready: Ready, number: int | None, verdict: Verdict) -> None:
        """Let the outcome be written; the message is done with once that is durable. Its next mark is written after."""
        recorded = self._recorder.record(self._ended(ready.claim, ready.letter, number, verdict))

        def done(_: object) -> None:
            kill_points.reach("recorded")
            self._finish_one()

        recorded.add_done_callback(done)
        if verdict.outcome is not AttemptOutcome.ACCEPTED:  # what left is counted by the recorder, a line a group
            log().info(
                "attempt_ended",
                reminder_id=str(ready.claim.reminder_id),
                attempt=number,
                outcome=verdict.outcome.value,
                code=verdict.code,
            )

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

    async def _give_back(self, claim: sends.Claim, error: bool = False) -> None:
        try:
            await self._in_thread(self._claimer.give_back, claim, error)
        except SQLAlchemyError as failed:
            self._claimer.keep(claim)
            log().warning("claim_kept", reminder_id=str(claim.reminder_id), error=type(failed).__name__)
        finally:
            self._finish_one()

    def _finish_one(self) -> None:
        self._in_hand -= 1
        self._queue.task_done()

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)


class _Line:
    """One connection and what it works on. `announced`: the envelope of `following` was sent with the content."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.following: Ready | None = None
        self.announced = False
