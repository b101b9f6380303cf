"""SMTP over a connection that another has opened: several commands may travel in one go (RFC 2920).

Connecting, encrypting and logging in are `scheduler.mailer`'s, which lends the transport and takes it back for QUIT;
what an answer means is `scheduler.smtp_outcome`.
"""

import asyncio
from collections import deque
from typing import Final

from scheduler.smtp_outcome import Break, Reply

LINE_LIMIT: Final = 4_096  # octets of one line of a reply; RFC 5321 §4.5.3.1.5 allows 512, servers say more
REPLY_LIMIT: Final = 65_536  # octets of one whole reply
TEXT_LIMIT: Final = 1_000  # characters of a reply that are kept

Seen = Reply | Break
Awaited = asyncio.Future[Seen]


class Pipeline(asyncio.Protocol):
    """Writes commands and gives each the reply that answers it, in order.

    A reply nobody waits for, a line that is none, silence beyond a limit or the end of the stream ends it: whoever
    waits sees the `Break`, and so does every later one. Only `drop` ends the transport.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._awaited: deque[tuple[Awaited, float]] = deque()
        self._rest = b""  # the beginning of a line whose end has not come
        self._lines: list[bytes] = []  # of a reply that is not complete
        self._size = 0
        self._ended: Break | None = None
        self._deadline = 0.0  # of the reply that is awaited first
        self._timer: asyncio.TimerHandle | None = None  # at or before that; it looks again when it comes too early

    @property
    def is_usable(self) -> bool:
        """Whether the next command would get its own answer, as far as this side can know."""
        return self._ended is None and not self._transport.is_closing()

    @property
    def is_idle(self) -> bool:
        """Whether every command was answered and nothing more was said."""
        return self.is_usable and not self._awaited and not self._lines and not self._rest

    def send(self, octets: bytes, *limits: float) -> list[Awaited]:
        """Write one or more commands in one go. `limits`: for each reply, seconds from the reply before it."""
        waiting: list[Awaited] = [self._loop.create_future() for _ in limits]
        if not self.is_usable:
            for future in waiting:
                future.set_result(self._ended or Break.CLOSED)
            return waiting
        begins = not self._awaited
        self._awaited.extend(zip(waiting, limits, strict=True))
        if begins:
            self._set_timer()
        self._transport.write(octets)
        return waiting

    def drop(self) -> None:
        """End it now. Abort, not close: a closing transport goes on writing what is buffered."""
        self._transport.abort()
        self._end(Break.CLOSED)

    def data_received(self, data: bytes) -> None:
        """Take in what the server says."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line.removesuffix(b"\r"))
            if self._ended is not None:
                return
        if len(self._rest) > LINE_LIMIT:
            self._end(Break.MALFORMED)

    def eof_received(self) -> bool:
        """The server says nothing more."""
        self._end(Break.CLOSED)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._end(Break.CLOSED)

    def _take(self, line: bytes) -> None:
        self._size += len(line)
        code, mark = line[:3], line[3:4]
        fits = code.isdigit() and mark in (b" ", b"-", b"") and (not self._lines or self._lines[0][:3] == code)
        if not fits or len(line) > LINE_LIMIT or self._size > REPLY_LIMIT:
            self._end(Break.MALFORMED)
            return
        self._lines.append(line)
        if mark == b"-":
            return
        reply = _reply(self._lines)
        self._lines, self._size = [], 0
        if not self._awaited:
            self._end(Break.MALFORMED)  # it would be taken for the answer to what comes next
            return
        future, _ = self._awaited.popleft()
        if not future.done():
            future.set_result(reply)
        self._set_timer()

    def _set_timer(self) -> None:
        """The whole reply has to come within its limit, however slowly it drips."""
        if not self._awaited:
            return  # the timer finds nothing to do; one a reply would cost more than all the rest
        self._deadline = self._loop.time() + self._awaited[0][1]
        if self._timer is None or self._timer.when() > self._deadline:
            self._drop_timer()
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._awaited:
            return
        if self._loop.time() >= self._deadline:
            self._end(Break.TIMEOUT)
        else:
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, seen: Break) -> None:
        if self._ended is None:
            self._ended = seen
        while self._awaited:
            future, _ = self._awaited.popleft()
            if not future.done():
                future.set_result(seen)
            seen = Break.CLOSED  # the first one met it; the others were never answered
        self._drop_timer()


def _reply(lines: list[bytes]) -> Reply:
    text = b"\n".join(line[4:] for line in lines) if len(lines) > 1 else lines[0][4:]
    return Reply(int(lines[0][:3]), text.decode("utf-8", "replace")[:TEXT_LIMIT])
