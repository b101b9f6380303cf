"""One connection to the mail server: open it safely, hand messages over, and know at every moment how far it came.

What an answer means is `scheduler.smtp_outcome`; who connects when is `scheduler.relay_circuit`; messages are written
in `scheduler.messages`, claimed and recorded by the dispatcher.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from typing import Literal, cast

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPException,
    SMTPHeloError,
    SMTPResponse,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from scheduler import kill_points
from scheduler.smtp_exchange import Envelope, Exchange
from scheduler.smtp_outcome import Break, Phase, Reply, Verdict, classify
from scheduler.smtp_pipeline import TEXT_LIMIT, Pipeline

CONNECT_LIMIT = 30.0  # for the connection, and again for the greeting; a dead host must not hold up the rest
COMMAND_LIMIT = 60.0  # for the whole answer to one command, however slowly it drips
FINAL_REPLY_LIMIT = 600.0  # RFC 5321 §4.5.3.2.6: a shorter wait after the dot makes duplicates
QUIT_LIMIT = 5.0  # nothing depends on the answer
IDLE_LIMIT = 30.0  # after this long unused, a connection is asked whether it still lives

Security = Literal["starttls", "tls", "none"]


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """Which mail server, and how. Raises `ValueError` for `none` to a host that is not this machine."""

    host: str
    port: int
    security: Security = "starttls"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    helo_name: str | None = None  # None: our address as a literal, which names no machine (RFC 5321 §4.1.3)

    def __post_init__(self) -> None:
        if self.security == "none" and not is_loopback(self.host):
            raise ValueError("mail goes unencrypted to this machine only; use starttls or tls")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long each wait may last, in seconds."""

    connect: float = CONNECT_LIMIT
    command: float = COMMAND_LIMIT
    final_reply: float = FINAL_REPLY_LIMIT
    quit: float = QUIT_LIMIT
    idle: float = IDLE_LIMIT


class RelayTrouble(Exception):
    """No usable connection could be made; `verdict` says what that means. Nothing was sent."""

    def __init__(self, verdict: Verdict) -> None:
        code = verdict.code if verdict.code is not None else "no answer"
        super().__init__(f"the mail server cannot be used: {verdict.phase}, {code}")
        self.verdict = verdict


def is_loopback(host: str) -> bool:
    """Whether that name or address is this machine, without asking a name server."""
    if host.lower() == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return False


class Connection:
    """One connection, used by one task at a time, for any number of messages.

    For each message: `ensure_open`, `envelope`, then either `content` or `abandon`; at the end `close`. The library
    connects, encrypts, logs in and says QUIT; in between its transport is lent to a `Pipeline`. A cancellation
    goes through after the connection was dropped; the caller treats a message whose `content` was under way as unknown,
    because its mark is durable and no verdict came.
    """

    def __init__(
        self, relay: RelaySettings, limits: Limits | None = None, *, trust: ssl.SSLContext | None = None
    ) -> None:
        self._relay = relay
        self._limits = limits or Limits()
        self._trust = trust
        self._smtp = self._client()
        self._exchange: Exchange | None = None

    def _client(self) -> SMTP:
        # start_tls=False stops the library from upgrading, or not, by itself: open() insists on it step by step.
        return SMTP(
            hostname=self._relay.host,
            port=self._relay.port,
            local_hostname=self._relay.helo_name or "localhost",
            use_tls=self._relay.security == "tls",
            start_tls=False,
            tls_context=None if self._relay.security == "none" else self._trust or _public_authorities(),
            timeout=self._limits.connect,
        )

    @property
    def is_open(self) -> bool:
        """Whether the connection stands as far as this side can know."""
        return self._exchange is not None and self._exchange.is_usable

    @property
    def takes_groups(self) -> bool:
        """Whether the server lets commands travel in one go: only then is an envelope announced."""
        return self._exchange is not None and self._exchange.takes_groups

    @property
    def idle_seconds(self) -> float:
        """Seconds since the server last answered; 0 while nothing is open."""
        return self._exchange.idle_seconds if self._exchange is not None else 0.0

    async def ensure_open(self) -> None:
        """Make the connection usable for the next message; a stale one is replaced and costs no attempt.

        Raises `RelayTrouble` like `open`.
        """
        if self.is_open and self.idle_seconds > self._limits.idle:
            await self._open_exchange.ask_for_life()
        if not self.is_open:
            await self.open()

    async def open(self) -> None:
        """Connect, greet, encrypt and log in, in this order and never further without the step before.

        Raises `RelayTrouble`; the connection is closed then.
        """
        self._drop()
        self._smtp = self._client()
        await self._connect()
        kill_points.reach("connected")
        await self._greet()
        if self._relay.security == "starttls":
            if not self._smtp.supports_extension("starttls"):
                raise self._trouble(Phase.STARTTLS, Break.MISSING)
            await self._step(Phase.STARTTLS, self._smtp.starttls(timeout=self._limits.command))
            await self._greet()
        if self._relay.username is not None:
            await self._log_in(self._relay.username, self._relay.password or "")
        self._lend()
        kill_points.reach("after_auth")

    async def envelope(self, sender: str, recipient: str) -> Verdict | None:
        """Name sender and the one recipient. None: go on with `content`; else the server's no, which is final.

        Raises `ValueError` before anything is written for an address that `check_address` refuses.
        """
        return await self._open_exchange.envelope((sender, recipient))

    async def content(
        self, message: bytes, on_354: Callable[[], bool | None] | None = None, then: Envelope | None = None
    ) -> Verdict:
        """Hand the message over and say what became of it: see `Exchange.content`."""
        return await self._open_exchange.content(message, on_354, then)

    async def abandon(self) -> None:
        """Take back an envelope. A server that does not answer well to that loses the connection, nothing else."""
        if self.is_open:
            await self._open_exchange.abandon()

    async def close(self) -> None:
        """Say QUIT and close; what the server does about it changes nothing."""
        try:
            if self.is_open:
                kill_points.reach("in_quit")
                self._take_back()
                with suppress(SMTPException, OSError):
                    await self._smtp.quit(timeout=self._limits.quit)
        finally:
            self._drop()

    async def _connect(self) -> None:
        try:
            await self._smtp.connect()
        except (SMTPException, OSError, UnicodeError) as error:
            # The library raises one class for both halves; only the cause tells whether a greeting was waited for.
            cause = error.__cause__
            before = isinstance(error, SMTPConnectError) and not isinstance(cause, SMTPException)
            before = before and not isinstance(error, SMTPResponseException)
            phase = Phase.CONNECT if before or isinstance(error, UnicodeError) else Phase.GREETING
            raise self._trouble(phase, _seen(error)) from None
        self._check_in_step(Phase.GREETING)

    async def _greet(self) -> None:
        if self._relay.helo_name is None:
            self._smtp.local_hostname = _literal(self._smtp.get_transport_info("sockname")[0])
        await self._step(Phase.EHLO, self._say_hello())

    async def _say_hello(self) -> None:
        try:
            await self._smtp.ehlo(timeout=self._limits.command)
        except SMTPHeloError as error:
            if error.code not in (500, 502, 504) or not self._smtp.is_connected:
                raise
            await self._smtp.helo(timeout=self._limits.command)

    async def _log_in(self, username: str, password: str) -> None:
        """Try one way of logging in; a second only where the server did not know the first.

        `SMTP.login` tries every way it can after a wrong password: three strikes for one, and accounts get locked.
        """
        ways = {
            "plain": self._smtp.auth_plain,
            "login": self._smtp.auth_login,
            "cram-md5": self._smtp.auth_crammd5,
        }
        offered = [way for way in ways if way in self._smtp.server_auth_methods]
        if not offered:
            raise self._trouble(Phase.AUTH, Break.MISSING)

        async def try_in_turn() -> None:
            for way in offered:
                try:
                    await ways[way](username, password, timeout=self._limits.command)
                except SMTPAuthenticationError as error:
                    if error.code != 504 or way == offered[-1]:
                        raise
                else:
                    return

        await self._step(Phase.AUTH, try_in_turn())

    async def _step(self, phase: Phase, step: Awaitable[object]) -> None:
        """Await one step of opening. Raises `RelayTrouble` after dropping the connection."""
        try:
            await step
        except (SMTPException, OSError) as error:
            raise self._trouble(phase, _seen(error)) from None
        except BaseException:
            self._drop()
            raise
        self._check_in_step(phase)

    def _check_in_step(self, phase: Phase) -> None:
        if self._has_left_over():
            raise self._trouble(phase, Break.MALFORMED)

    def _trouble(self, phase: Phase, seen: Reply | Break) -> RelayTrouble:
        self._drop()
        return RelayTrouble(classify(phase, seen))

    @property
    def _transport(self) -> asyncio.Transport | None:
        # By its methods, not by its class: a loop may bring transports of its own.
        return cast("asyncio.Transport | None", self._smtp.transport)

    @property
    def _open_exchange(self) -> Exchange:
        if self._exchange is None:
            raise RuntimeError("the connection is not open")
        return self._exchange

    def _lend(self) -> None:
        """Let an exchange speak and hear from here on; the library only holds the transport."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise self._trouble(Phase.EHLO, Break.CLOSED)
        pipe = Pipeline(transport)
        transport.set_protocol(pipe)
        groups = self._smtp.supports_extension("pipelining")
        self._exchange = Exchange(pipe, self._limits.command, self._limits.final_reply, groups)

    def _take_back(self) -> None:
        """Let the library speak again, to say QUIT."""
        transport, protocol = self._transport, self._smtp.protocol
        if transport is not None and protocol is not None:
            transport.set_protocol(protocol)
        self._exchange = None

    def _has_left_over(self) -> bool:
        """Whether the server said more than it was asked: the library would take that for its next answer."""
        protocol = self._smtp.protocol
        return protocol is not None and bool(protocol._buffer)

    def _drop(self) -> None:
        # Abort, not close: a closing transport goes on writing what is buffered, and waits for the peer to read it.
        if self._transport is not None:
            self._transport.abort()
        self._exchange = None
        self._smtp.close()


@cache
def _public_authorities() -> ssl.SSLContext:
    return ssl.create_default_context()


def _literal(address: str) -> str:
    """Our own address as EHLO wants it when there is no name to give (RFC 5321 §4.1.3)."""
    return f"[IPv6:{address.partition('%')[0]}]" if ":" in address else f"[{address}]"


def _reply(response: SMTPResponse) -> Reply:
    # The library decodes with surrogateescape; what is stored must be text.
    text = response.message.encode("utf-8", "replace").decode("utf-8")
    return Reply(response.code, text[:TEXT_LIMIT])


def _seen(error: Exception) -> Reply | Break:
    """What an exception of the library or the network says was seen."""
    if isinstance(error, SMTPResponseException):
        return Break.MALFORMED if error.code == -1 else _reply(SMTPResponse(error.code, error.message))
    cause = error.__cause__ if isinstance(error, SMTPConnectError) and error.__cause__ else error
    match cause:
        case ssl.SSLError():
            return Break.TLS
        case socket.gaierror() | UnicodeError():
            return Break.DNS
        case SMTPTimeoutError() | TimeoutError():
            return Break.TIMEOUT
        case SMTPServerDisconnected() | ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            return Break.CLOSED
        case OSError() if isinstance(error, SMTPConnectError):
            return Break.REFUSED
        case _:
            return Break.OTHER
