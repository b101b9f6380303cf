"""The web server inside our event loop: binds, answers, stops quickly. Signals stay with `service.py`."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Generator
from typing import Final

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from starlette.types import ASGIApp

from scheduler.errors import Refused
from web.connection import Connection

STOP_SECONDS: Final = 2  # answers under way may finish within this; a page takes milliseconds
THREADS: Final = 4  # the sender shares the pool of database connections: many readers must not keep it waiting
BACKLOG: Final = 128
TICK_SECONDS: Final = 1.0
_REASONS: Final = {
    errno.EADDRINUSE: "another program listens there already",
    errno.EACCES: "this user may not listen there; ports below 1024 need special rights",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
}


class CannotListen(Refused):
    """The address of the pages cannot be had. The message names it and says what would help."""


class _Server(uvicorn.Server):
    """uvicorn without its hold on signals: it would raise SIGTERM again after its end and cut the drain short."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.leaving = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """Look once a second in place of ten times, and at once when asked to leave: an idle service does little."""
        while not await self.on_tick(0):  # tick 0 is the one that renews the date of the answers
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.leaving.wait(), TICK_SECONDS)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class WebServer:
    """One address and the app that answers there. `start`, then `stop`."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self.app = app
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen and answer; the bound port (0 asked for any free one). Raises `CannotListen`."""
        listener = _bind(self._host, self._port)
        current_default_thread_limiter().total_tokens = THREADS
        self._server = _Server(
            uvicorn.Config(
                self.app,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,  # whoever connects is who asks: a header must not make a stranger local
                server_header=False,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="web server")
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait((ready, self._task), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            listener.close()
            await self._task  # raises what ended it
        port: int = listener.getsockname()[1]
        return port

    async def stop(self) -> None:
        """Take no new requests, let answers under way finish, close; nothing to do when it never started."""
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        self._server.leaving.set()
        await self._task
        self._server = self._task = None


def _bind(host: str, port: int) -> socket.socket:
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError:
        raise CannotListen(_sentence(shown, "this host name is not known")) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections
        listener.bind(address)
        listener.listen(BACKLOG)  # two sockets can be bound with SO_REUSEADDR; only one can listen
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        reason = _REASONS.get(error.errno or 0, os.strerror(error.errno or 0))
        raise CannotListen(_sentence(shown, reason)) from None
    return listener


def _sentence(shown: str, reason: str) -> str:
    return f"cannot listen on {shown}: {reason}; AFTERCARE_LISTEN, or AFTERCARE_PATIENT_LISTEN, sets another address"
