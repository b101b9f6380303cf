"""One connection for each thread or process, opened at its first message and kept."""

import asyncio
import threading

import aiosmtplib

from bench.peers import letter

_own = threading.local()


def send(port: int, number: int) -> None:
    """Write the message of that patient and hand it over."""
    loop: asyncio.AbstractEventLoop | None = getattr(_own, "loop", None)
    if loop is None:
        loop = _own.loop = asyncio.new_event_loop()
        _own.client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
        loop.run_until_complete(_own.client.connect())
    loop.run_until_complete(_own.client.send_message(letter.write(number)))
