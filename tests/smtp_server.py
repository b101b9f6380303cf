"""A real SMTP server for the tests: it keeps a ledger of what it accepted, and misbehaves where its script says so.

In a test: `async with SmtpServer() as server`, or `with running(SmtpServer())` where no loop runs; as a process
of its own: `tests/smtp_process.py`. What it can be told is in `tests/smtp_script.py`.
"""

import asyncio
import base64
import binascii
import hashlib
import os
import re
import ssl
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from tests.smtp_script import Accepted, Act, Step, as_act, is_positive


class SmtpServer:
    """One server on a free port of 127.0.0.1.

    `accepted`, `commands` (connection, line) and `received` (every byte before TLS) are what it saw.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        offer_starttls: bool = True,
        login: tuple[str, str] | None = None,
        ways: str = "PLAIN LOGIN",
        pipelining: bool = True,
        offers: tuple[str, ...] = (),
        greylist: int = 0,
        delay: float = 0.0,
        ledger: Path | None = None,
        synced: bool = True,
        folder: Path | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.tls, self.implicit_tls, self.offer_starttls = tls, implicit_tls, offer_starttls
        self.login, self.ways = login, ways
        self.pipelining = pipelining  # False: not offered, and who sends commands ahead all the same is cut off
        self.offers = offers  # further lines of EHLO's answer, such as "SMTPUTF8"
        self.greylist = greylist  # how often each recipient is put off first
        self.delay = delay  # seconds before every answer to content
        self.ledger, self.folder = ledger, folder
        self.synced = synced  # whether a ledger line is on the disk before the 250: slow, and only for kills of ours
        self.now = now  # seconds since 1970, for a clinic that lives by another clock
        self.port = 0
        self.connections = 0
        self.open_connections = 0
        self.accepted: list[Accepted] = []
        self.commands: list[tuple[int, str]] = []
        self.received = bytearray()
        self.tries: Counter[str] = Counter()  # RCPT by recipient
        self.sent_ahead = 0  # commands that were followed by more before their answer
        self._for_one: defaultdict[tuple[str, Step], deque[Act]] = defaultdict(deque)
        self._once: defaultdict[str, deque[Act]] = defaultdict(deque)
        self._always: dict[str, Act] = {}
        self._sessions: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._stirred = asyncio.Event()

    async def until(self, holds: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait until that holds; looked at after each command, message and end. Raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while not holds():
                self._stirred.clear()
                await self._stirred.wait()

    def next(self, step: Step, act: Act | str, times: int = 1) -> None:
        """Let the next visits of that step, over all connections, be answered so."""
        self._once[step].extend([as_act(act)] * times)

    def next_for(self, recipient: str, step: Step, act: Act | str, times: int = 1) -> None:
        """The same for one recipient's RCPT, DATA and content, whatever goes on beside it."""
        self._for_one[recipient, step].extend([as_act(act)] * times)

    def always(self, step: Step, act: Act | str | None) -> None:
        """Let every visit of that step be answered so, after what `next` lined up; None: as usual again."""
        if act is None:
            self._always.pop(step, None)
        else:
            self._always[step] = as_act(act)

    def forget_script(self) -> None:
        """Do everything right from now on."""
        self._for_one.clear()
        self._once.clear()
        self._always.clear()

    def take_act(self, step: Step, recipients: Iterable[str] = ()) -> Act:
        """What to do at this visit of a step."""
        for recipient in recipients:
            if self._for_one[recipient, step]:
                return self._for_one[recipient, step].popleft()
        if self._once[step]:
            return self._once[step].popleft()
        return self._always.get(step, Act())

    def verbs(self, connection: int | None = None) -> list[str]:
        """The first words of all commands, or of those of one connection (from 1)."""
        return [line.partition(" ")[0].upper() for number, line in self.commands if connection in (None, number)]

    async def start(self, port: int = 0) -> Self:
        """Listen; `port` then tells where. Stopping and starting again on the same port is an outage."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", port, ssl=self.tls if self.implicit_tls else None, limit=2**20
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is None:
            return
        self._server.close()
        await self.hang_up()
        self._server = None

    async def hang_up(self) -> None:
        """Cut every connection; who connects again is served."""
        for session in tuple(self._sessions):
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._sessions.add(task)
        self.connections += 1
        self.open_connections += 1
        try:
            await Session(self, reader, writer, self.connections).talk()
        except (OSError, EOFError, asyncio.CancelledError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self.open_connections -= 1
            self._stirred.set()
            self._sessions.discard(task)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    def note(self, connection: int, line: str) -> None:
        """Remember a command."""
        self.commands.append((connection, line))
        self._stirred.set()

    def keep(self, message: Accepted) -> None:
        """Take responsibility: the ledger line is on the disk before the client hears of it."""
        self.accepted.append(message)
        self._stirred.set()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / f"{len(self.accepted):06}.eml").write_bytes(message.content)
        if self.ledger is not None:
            with self.ledger.open("a", encoding="utf-8") as ledger:
                ledger.write(message.ledger_line() + "\n")
                ledger.flush()
                if self.synced:
                    os.fsync(ledger.fileno())


class Session:
    """One connection of a client."""

    def __init__(
        self, server: SmtpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self.server, self.reader, self.writer, self.number = server, reader, writer, number
        self.encrypted = server.implicit_tls
        self.greeted = False
        self.sender: str | None = None
        self.recipients: list[str] = []

    async def talk(self) -> None:
        """Greet, then answer line by line until one side closes. Commands sent ahead wait in the reader."""
        if not await self._answer("greeting", "220 mail.example.org ESMTP"):
            return
        while True:
            line = (await self._read(b"\r\n")).decode("utf-8", "replace").removesuffix("\r\n")
            self.server.note(self.number, line)
            if self.reader._buffer:  # type: ignore[attr-defined]  # nothing public tells what has come already
                self.server.sent_ahead += 1
                if not self.server.pipelining:
                    await self._write("503 5.5.0 improper command pipelining")
                    return
            verb, _, rest = line.partition(" ")
            if not await self._obey(verb.upper(), rest):
                return

    async def _obey(self, verb: str, rest: str) -> bool:
        match verb:
            case "EHLO":
                self.greeted = True
                return await self._answer("ehlo", self._capabilities())
            case "HELO":
                self.greeted = True
                return await self._answer("helo", "250 mail.example.org")
            case "STARTTLS":
                return await self._starttls()
            case "AUTH":
                return await self._auth(rest)
            case "MAIL":
                return await self._mail(rest)
            case "RCPT":
                return await self._rcpt(rest)
            case "DATA":
                return await self._data()
            case "RSET":
                self.sender, self.recipients = None, []
                return await self._answer("rset", "250 2.0.0 ok")
            case "NOOP":
                return await self._answer("noop", "250 2.0.0 ok")
            case "QUIT":
                await self._answer("quit", "221 2.0.0 bye")
                return False
            case _:
                await self._write("500 5.5.2 what?")
                return True

    def _capabilities(self) -> str:
        lines = ["mail.example.org", "8BITMIME", "ENHANCEDSTATUSCODES", *self.server.offers]
        if self.server.pipelining:
            lines.append("PIPELINING")
        if self.server.tls is not None and self.server.offer_starttls and not self.encrypted:
            lines.append("STARTTLS")
        if self.server.login is not None:
            lines.append(f"AUTH {self.server.ways}")
        return "\n".join([f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"])

    async def _starttls(self) -> bool:
        usual = "220 2.0.0 go ahead" if self.server.tls is not None else "502 5.5.1 not here"
        act = self.server.take_act("starttls")
        if not await self._perform(act, usual):
            return False
        if self.server.tls is not None and (usual if act.say is None else act.say).startswith("220"):
            await self.writer.start_tls(self.server.tls)
            self.encrypted, self.greeted = True, False
        return True

    async def _auth(self, rest: str) -> bool:
        act = self.server.take_act("auth")
        if act != Act():
            return await self._perform(act, "")
        way, _, initial = rest.partition(" ")
        given = (await self._credential(initial, "334 ")).removeprefix("\0").split("\0")
        if way.upper() == "LOGIN":
            given = [*given, await self._credential("", "334 UGFzc3dvcmQ6")]
        right = tuple(given) == self.server.login
        return await self._write("235 2.7.0 welcome" if right else "535 5.7.8 wrong name or password")

    async def _credential(self, initial: str, prompt: str) -> str:
        if not initial:
            await self._write(prompt)
            initial = (await self._read(b"\r\n")).decode("ascii", "replace").strip()
        with suppress(binascii.Error):
            return base64.b64decode(initial).decode("utf-8", "replace")
        return ""

    async def _mail(self, rest: str) -> bool:
        path = re.fullmatch(r"FROM:<([^>]*)>.*", rest, re.IGNORECASE)
        usual = "250 2.1.0 ok"
        if path is None:
            usual = "501 5.5.4 MAIL FROM:<address>"
        elif not self.greeted or self.sender is not None:
            usual = "503 5.5.1 not now"
        act = self.server.take_act("mail")
        if path is not None and is_positive(act, usual):
            self.sender, self.recipients = path[1], []
        return await self._perform(act, usual)

    async def _rcpt(self, rest: str) -> bool:
        path = re.fullmatch(r"TO:<([^>]+)>.*", rest, re.IGNORECASE)
        usual = "250 2.1.5 ok"
        if path is None:
            usual = "501 5.5.4 RCPT TO:<address>"
        elif self.sender is None:
            usual = "503 5.5.1 MAIL first"
        else:
            self.server.tries[path[1]] += 1
            if self.server.tries[path[1]] <= self.server.greylist:
                usual = "451 4.7.1 greylisted, come back later"
        act = self.server.take_act("rcpt", path.groups() if path else ())
        if path is not None and is_positive(act, usual):
            self.recipients.append(path[1])
        return await self._perform(act, usual)

    async def _data(self) -> bool:
        usual = "354 go ahead" if self.recipients else "503 5.5.1 RCPT first"
        act = self.server.take_act("data", self.recipients)
        if not await self._perform(act, usual):
            return False
        if not (usual if act.say is None else act.say).startswith("354"):
            return True
        act = self.server.take_act("content", self.recipients)
        if act.after_bytes is not None:
            self.server.received += await self.reader.readexactly(act.after_bytes)
            goes_on = await self._perform(act, "451 4.3.0 enough")
            if act.say != "" or not goes_on:
                return goes_on
            act = Act()
        content = await self._content()
        usual = "250 2.0.0 kept"
        keeps = is_positive(act, usual) if act.keeps is None else act.keeps
        if self.server.delay:
            await asyncio.sleep(self.server.delay)
        if keeps:
            for recipient in self.recipients:
                self.server.keep(self._accepted(content, recipient))
        self.sender, self.recipients = None, []
        return await self._perform(act, usual)

    async def _content(self) -> bytes:
        lines = []
        while (line := await self._read(b"\r\n")) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    def _accepted(self, content: bytes, recipient: str) -> Accepted:
        header = re.search(rb"(?im)^Message-ID:\s*(<[^>]*>)", content.partition(b"\r\n\r\n")[0])
        return Accepted(
            message_id=header[1].decode("ascii", "replace") if header else "",
            sender=self.sender or "",
            recipient=recipient,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            monotonic=time.monotonic(),
            wall=self.server.now(),
            encrypted=self.encrypted,
            connection=self.number,
            content=content,
        )

    async def _read(self, end: bytes) -> bytes:
        line = await self.reader.readuntil(end)
        if not self.encrypted:
            self.server.received += line
        return line

    async def _answer(self, step: Step, usual: str) -> bool:
        return await self._perform(self.server.take_act(step), usual)

    async def _perform(self, act: Act, usual: str) -> bool:
        """Answer as the act says. False: the connection is over."""
        await asyncio.sleep(act.delay)
        text = usual if act.say is None else act.say
        if text:
            await self._write(text, act.drip)
        match act.then:
            case "flood":
                while True:
                    await self._write("250-and")
            case "reset":
                self.writer.transport.abort()
        return act.then == "go on"

    async def _write(self, text: str, drip: float = 0.0) -> bool:
        octets = b"".join(line.encode("utf-8", "surrogateescape") + b"\r\n" for line in text.split("\n"))
        for piece in (bytes([octet]) for octet in octets) if drip else (octets,):
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(drip)
        return True


@contextmanager
def running(server: SmtpServer) -> Iterator[SmtpServer]:
    """Run the server in a thread with a loop of its own, for tests that have none."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="smtp-server")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        yield server
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
