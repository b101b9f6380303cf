"""A small IMAP server of the tests: enough of IMAP4rev1 (RFC 3501) for one mailbox, and what may go wrong with it.

Its certificates are in `tests/certificates.py`; the messages in it in `tests/returned_mails.py`.
"""

import asyncio
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Self

Fault = Literal["close", "half", "garbage", "silent", "drip", "huge", "flood", "no"]
LOGIN = ("bounces", 'se"cret \\ word')


@dataclass
class ImapServer:
    """One folder. `faults` says what goes wrong at a command (or "GREETING"), once or, with `for_ever`, each time."""

    tls: ssl.SSLContext | None = None
    starttls: ssl.SSLContext | None = None
    mails: dict[int, bytes] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    validity: int = 7
    faults: dict[str, Fault] = field(default_factory=dict)
    for_ever: bool = False
    said: list[str] = field(default_factory=list)  # the commands, without their arguments' secrets
    encrypted_login: bool | None = None
    port: int = 0
    _talks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Condition()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def until(self, verb: str) -> None:
        """Return once that command has come; a test that waits in vain fails by its own limit."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: verb in self.said)

    def count(self, verb: str) -> int:
        """How often a command came."""
        return self.said.count(verb)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self._talks.add(talk)
        try:
            with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
                await self._talk(reader, writer)
        finally:
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await self._goes_wrong("GREETING", writer):
            return
        writer.write(b"* OK ready\r\n")
        encrypted = self.tls is not None
        while line := await reader.readline():
            tag, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
            verb, _, arguments = rest.partition(" ")
            verb = verb.upper()
            if verb == "UID":
                verb, _, arguments = arguments.partition(" ")
                verb = verb.upper()
            self.said.append(verb)
            async with self._changed:
                self._changed.notify_all()
            if self.faults.get(verb) == "no":
                del self.faults[verb]
                writer.write(f"{tag} NO not now\r\n".encode())
                continue
            if await self._goes_wrong(verb, writer):
                return
            if verb == "LOGIN":
                self.encrypted_login = encrypted
            answer, end = self._answer(verb, arguments)
            writer.write(b"".join(answer) + f"{tag} {end}\r\n".encode())
            await writer.drain()
            if verb == "STARTTLS" and self.starttls is not None:
                await writer.start_tls(self.starttls)
                encrypted = True
            if verb == "LOGOUT":
                return

    def _answer(self, verb: str, arguments: str) -> tuple[list[bytes], str]:
        match verb:
            case "CAPABILITY":
                return [b"* CAPABILITY IMAP4rev1" + (b" STARTTLS" if self.starttls else b"") + b"\r\n"], "OK done"
            case "LOGIN":
                given = tuple(re.sub(r"\\(.)", r"\1", part) for part in re.findall(r'"((?:[^"\\]|\\.)*)"', arguments))
                name = arguments.split(" ")[0].strip('"')
                return [], "OK in" if (name, given[-1:]) == (LOGIN[0], LOGIN[1:]) else "NO wrong name or password"
            case "SELECT":
                if arguments != '"INBOX"':
                    return [], "NO no such folder"
                told = f"* {len(self.mails)} EXISTS\r\n* OK [UIDVALIDITY {self.validity}] valid\r\n"
                return [told.encode()], "OK [READ-WRITE] selected"
            case "SEARCH":
                unseen = " ".join(str(uid) for uid in sorted(set(self.mails) - self.seen))
                return [f"* SEARCH {unseen}".rstrip().encode() + b"\r\n"], "OK done"
            case "FETCH":
                return self._fetched(arguments), "OK done"
            case "STORE":
                assert arguments.endswith(r"+FLAGS.SILENT (\Seen)"), arguments
                self.seen.add(int(arguments.split(" ")[0]))
                return [], "OK done"
            case "LOGOUT":
                return [b"* BYE\r\n"], "OK done"
            case _:
                return [], "OK done" if verb in ("STARTTLS", "NOOP") else "BAD unknown"

    def _fetched(self, arguments: str) -> list[bytes]:
        found = re.fullmatch(r"(\d+) \(BODY\.PEEK\[\]<0\.(\d+)>\)", arguments)
        assert found, arguments
        uid, most = int(found[1]), int(found[2])
        if uid not in self.mails:
            return []
        part = self.mails[uid][:most]
        return [f"* 1 FETCH (UID {uid} BODY[]<0> {{{len(part)}}}\r\n".encode(), part, b")\r\n"]

    async def _goes_wrong(self, verb: str, writer: asyncio.StreamWriter) -> bool:
        """Do what is to go wrong here. True: nothing more is said on this connection."""
        fault = self.faults.get(verb) if self.for_ever else self.faults.pop(verb, None)
        match fault:
            case "half":
                writer.write(b"* 1 FETCH (UID 1 BODY[]<0> {5000}\r\nReturn-Path: <>\r\n")
            case "garbage":
                writer.write(b"\x00\xff{{{}\r\n* * *\r\n)(\r\n" * 20)
            case "silent":
                await asyncio.sleep(60)
            case "drip":
                with suppress(OSError):
                    while True:
                        writer.write(b"*")
                        await writer.drain()
                        await asyncio.sleep(0.05)
            case "huge":
                writer.write(b"* 1 FETCH (UID 1 BODY[]<0> {4000000000}\r\n" + b"x" * 100_000)
                await asyncio.sleep(60)
            case "flood":
                with suppress(OSError):
                    while True:
                        writer.write(b"* 1 FETCH (FLAGS (" + b"x" * 60_000 + b"))\r\n")
                        await writer.drain()
            case "close":
                pass
            case _:
                return False
        with suppress(OSError):
            await writer.drain()
        return True
