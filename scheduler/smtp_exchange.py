"""One message after another over an open connection: envelope, content, and what became of it.

Opening and closing is `scheduler.mailer`'s, bytes and replies are `scheduler.smtp_pipeline`'s, what an answer means is
`scheduler.smtp_outcome`.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scheduler import kill_points
from scheduler.smtp_outcome import Break, Phase, RelayEffect, Reply, Verdict, classify, goes_on
from scheduler.smtp_pipeline import Awaited, Pipeline, Seen
from scheduler.smtp_wire import check_address, wire_form

Envelope = tuple[str, str]  # sender and the one recipient


@dataclass(frozen=True, slots=True)
class _Announced:
    """An envelope that travelled with the content before it, and the answers it waits for."""

    names: Envelope
    answers: Sequence[Awaited]


class Exchange:
    """Hands messages over, one at a time, and knows at every moment how far it came.

    `command_limit` and `final_limit` in seconds. `takes_groups`: the server offers PIPELINING. Once `is_usable` is
    False the connection was dropped, and nothing more is written.
    """

    def __init__(self, pipe: Pipeline, command_limit: float, final_limit: float, takes_groups: bool) -> None:
        self._pipe = pipe
        self._command_limit = command_limit
        self._final_limit = final_limit
        self.takes_groups = takes_groups
        self._announced: _Announced | None = None
        self._loop = asyncio.get_running_loop()
        self._last_used = self._loop.time()

    @property
    def is_usable(self) -> bool:
        """Whether the connection stands as far as this side can know."""
        return self._pipe.is_usable

    @property
    def idle_seconds(self) -> float:
        """Seconds since the server last answered."""
        return self._loop.time() - self._last_used

    async def ask_for_life(self) -> None:
        """Drop the connection unless the server answers."""
        seen = await self._command(b"NOOP\r\n")
        if not isinstance(seen, Reply) or not 200 <= seen.code <= 299:
            self._pipe.drop()

    async def envelope(self, names: Envelope) -> Verdict | None:
        """Name sender and recipient. None: go on with `content`; else the server's no, which is final.

        Raises `ValueError` before anything is written for an address that `check_address` refuses, and when another
        envelope was announced.
        """
        for address in names:
            check_address(address)
        announced, self._announced = self._announced, None
        if announced is not None and announced.names != names:
            raise ValueError("another envelope was announced; abandon it first")
        commands = _commands(names)
        answers: Sequence[Awaited] = announced.answers if announced else ()
        if announced is None and self.takes_groups:
            answers = self._pipe.send(b"".join(commands.values()), *[self._command_limit] * len(commands))
        for place, (phase, command) in enumerate(commands.items()):
            seen = await (self._answer(answers[place]) if answers else self._command(command))
            is_last = place == len(commands) - 1
            if isinstance(seen, Reply) and is_last and not self._pipe.is_idle:
                self._pipe.drop()  # it says more than it was asked: what comes next could not be told apart
                seen = Break.MALFORMED
            if not isinstance(seen, Reply) or not goes_on(phase, seen):
                return await self._refused(phase, seen)
        kill_points.reach("after_rcpt")
        return None

    async def content(
        self, message: bytes, on_354: Callable[[], bool | None] | None = None, then: Envelope | None = None
    ) -> Verdict:
        """Hand the message over and say what became of it.

        `on_354` is a last look before the first byte of content: when it returns False nothing is written, the
        connection is dropped (RFC 5321 §4.1.1.4: without the dot there is no message) and the verdict is `not_sent`.
        What it raises goes through after the same. `then` is the envelope of the next message: where the server takes
        groups it travels with the end of this one, and `envelope` or `abandon` has to follow. Raises `ValueError`
        before DATA if `wire_form` or `check_address` does.
        """
        octets = wire_form(message)
        for address in then or ():
            check_address(address)
        seen = await self._command(b"DATA\r\n")
        if not isinstance(seen, Reply) or not goes_on(Phase.DATA, seen):
            return await self._refused(Phase.DATA, seen)
        kill_points.reach("after_354")
        try:
            if on_354 is not None and on_354() is False:
                self._pipe.drop()
                return classify(Phase.DATA, Break.CANCELLED)
            return await self._hand_over(octets, then if self.takes_groups else None)
        except BaseException:
            self._pipe.drop()
            raise

    async def abandon(self) -> None:
        """Take back an envelope. A server that does not answer well to that loses the connection, nothing else."""
        self._announced = None
        seen = await self._command(b"RSET\r\n")
        if not isinstance(seen, Reply) or not 200 <= seen.code <= 299:
            self._pipe.drop()

    async def _command(self, command: bytes) -> Seen:
        """Send one command; its answer, or why there is none (the connection is dropped then)."""
        seen = await self._answer(self._pipe.send(command, self._command_limit)[0])
        if isinstance(seen, Reply) and not self._pipe.is_idle:
            self._pipe.drop()
            return Break.MALFORMED
        return seen

    async def _answer(self, awaited: Awaited) -> Seen:
        """One answer, or why there is none (the connection is dropped then)."""
        try:
            seen = await awaited
        except BaseException:
            self._pipe.drop()
            raise
        if isinstance(seen, Break):
            self._pipe.drop()
        self._last_used = self._loop.time()
        return seen

    async def _refused(self, phase: Phase, seen: Seen) -> Verdict:
        """The verdict on a no before any content; the envelope is taken back, and the first answer stands."""
        verdict = classify(phase, seen)
        if verdict.relay is RelayEffect.RECONNECT:
            self._pipe.drop()
        else:
            await self.abandon()
        return verdict

    async def _hand_over(self, octets: bytes, then: Envelope | None) -> Verdict:
        if not self._pipe.is_usable:
            return classify(Phase.DATA, Break.CLOSED)
        # From here on the content may have left.
        if kill_points.is_armed("half_content"):
            self._pipe.send(octets[: len(octets) // 2])
            await asyncio.sleep(0)  # a loop may write at its next turn only
            kill_points.reach("half_content")
        following = _commands(then).values() if then is not None else ()
        limits = [self._command_limit] * len(following)
        answers = self._pipe.send(b"".join((octets, *following)), self._final_limit, *limits)
        if kill_points.is_armed("dot_written"):
            await asyncio.sleep(0)
        kill_points.reach("dot_written")
        seen = await self._answer(answers[0])
        verdict = classify(Phase.CONTENT, seen)
        if then is not None:
            self._announced = _Announced(then, answers[1:])
        # A 421, or more than was asked for, ends the connection; the answer that was read stands.
        if verdict.relay is RelayEffect.RECONNECT or not (self._pipe.is_usable if then else self._pipe.is_idle):
            self._pipe.drop()
        return verdict


def _commands(names: Envelope) -> dict[Phase, bytes]:
    sender, recipient = names
    # No SIZE: a message too big for the server is then refused by itself, at the end of its content, and does not look
    # like a refusal of our sender.
    return {
        Phase.MAIL: f"MAIL FROM:<{sender}>\r\n".encode("ascii"),
        Phase.RCPT: f"RCPT TO:<{recipient}>\r\n".encode("ascii"),
    }
