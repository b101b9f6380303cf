"""The outside ping: a web address fetched after each completed sweep, so that somebody elsewhere notices silence.

Whatever happens to it harms no message: it runs in a thread of its own, waits ten seconds at most, and is only logged.
"""

import asyncio
import urllib.error
import urllib.request
from email.message import Message
from http.client import HTTPException
from typing import IO, Final

from scheduler.logs import log

LONGEST_SECONDS: Final = 10.0
MOST_BYTES: Final = 1_000  # of an answer that nobody reads


class OutsidePing:
    """One address and what became of the last ping."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._under_way: asyncio.Task[None] | None = None
        self.failures = 0  # in a row

    def send(self) -> None:
        """Begin a ping and return at once; while one is under way there is no other."""
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.create_task(self._ping(), name="outside ping")

    async def finished(self) -> None:
        """Return when no ping is under way."""
        if self._under_way is not None:
            await self._under_way

    async def _ping(self) -> None:
        try:
            await asyncio.to_thread(_fetch, self._url)
        except (OSError, HTTPException, ValueError) as failed:
            self.failures += 1
            # Never the address: it is a secret that lets others say that we live.
            log().warning("outside_ping_failed", error=type(failed).__name__, count=self.failures)
        else:
            self.failures = 0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The settings name the address; an answer may not send us to another one."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


def _fetch(url: str) -> None:
    # No proxy of the environment: settings alone say where we connect.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    request = urllib.request.Request(url, headers={"User-Agent": "aftercare"})  # noqa: S310 (`setting_values.ping`)
    with opener.open(request, timeout=LONGEST_SECONDS) as answer:
        answer.read(MOST_BYTES)
