"""One connection to the web server: so many at once, and none that lets us wait for its request without end.

The server itself is in `web.server`; how long a form may take to arrive is in `web.forms`.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST: Final = 256  # at once; each is an open file, and the sender needs some of those that a process may have
HEAD_SECONDS: Final = 20.0  # for a request's head to come whole; a browser sends it at once


class Connection(H11Protocol):
    """uvicorn's connection with the two limits it does not have: it waits for ever for a request that does not come."""

    most = MOST
    head_seconds = HEAD_SECONDS
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Between two requests wait only so long, however many bytes drip in meanwhile."""
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]
            self._stop_waiting()
        elif self._waiting is None and not self.transport.is_closing():
            self._waiting = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
