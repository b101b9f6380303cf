"""Where all senders of the bench send to: Postfix's `smtp-sink` where there is one, else a small sink of our own.

Both count what they accepted, and the count is read here: no sender is believed about its own work.
"""

import asyncio
import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import cast

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 20.0
COUNT_SECONDS = 0.01  # how often our own sink tells its count
_ROOM = 1 << 20  # bytes of counts that may wait to be read: a sink must never stand still over its own count
_COUNTED = re.compile(rb"mesg=(\d+)\r")


class Sink:
    """One sink, counting; a context manager. `own`: ours also where Postfix has one."""

    def __init__(self, own: bool = False) -> None:
        self.port = free_port()
        self.is_postfix = shutil.which("smtp-sink") is not None and not own
        told, telling = os.pipe()
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            fcntl.fcntl(told, fcntl.F_SETPIPE_SZ, _ROOM)
        os.set_blocking(told, False)
        self._process = subprocess.Popen(self._words(), stdout=telling, stderr=subprocess.DEVNULL, cwd=ROOT)  # noqa: S603
        os.close(telling)
        self._told = os.fdopen(told, "rb", buffering=0)
        self._count, self._rest = 0, b""

    def _words(self) -> list[str]:
        if self.is_postfix:
            as_root = ["-u", "root"] if os.geteuid() == 0 else []
            return ["smtp-sink", *as_root, "-c", f"127.0.0.1:{self.port}", "1000"]
        return [sys.executable, "-m", "bench.sink", str(self.port)]

    def __enter__(self) -> "Sink":
        wait_for_port(self.port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._told.close()

    def count(self) -> int:
        """How many messages were accepted since it started; to be asked often while there is traffic."""
        while told := self._told.read(_ROOM):
            found = _COUNTED.findall(self._rest + told)
            self._rest = (self._rest + told)[-64:]
            if found:
                self._count = int(found[-1])
        return self._count


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    """Return when something listens there. Raises `TimeoutError`."""
    patience = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > patience:
                raise TimeoutError(f"nothing listens on port {port} of this machine") from None
            time.sleep(0.02)


class _Session(asyncio.Protocol):
    """One connection: takes every message, and commands in groups (RFC 2920)."""

    accepted = 0  # by all of them

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._waiting, self._in_text = b"", False
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        answers = b""
        while True:
            if self._in_text:
                _text, end, rest = self._waiting.partition(b"\r\n.\r\n")
                if not end:
                    break
                self._waiting, self._in_text = rest, False
                _Session.accepted += 1
                answers += b"250 2.0.0 Ok\r\n"
                continue
            line, end, rest = self._waiting.partition(b"\r\n")
            if not end:
                break
            self._waiting = rest
            answers += self._answer(line[:4].upper())
        self._transport.write(answers)
        if answers.startswith(b"221"):
            self._transport.close()

    def _answer(self, verb: bytes) -> bytes:
        match verb:
            case b"EHLO":
                return b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
            case b"DATA":
                # The end may be the first line: then no line break stands before the dot.
                self._in_text, self._waiting = True, b"\r\n" + self._waiting
                return b"354 End data with <CR><LF>.<CR><LF>\r\n"
            case b"QUIT":
                return b"221 2.0.0 Bye\r\n"
            case _:
                return b"250 2.0.0 Ok\r\n"


async def _serve(port: int) -> None:
    await asyncio.get_running_loop().create_server(_Session, "127.0.0.1", port, backlog=1000)
    told = -1
    while True:
        await asyncio.sleep(COUNT_SECONDS)
        if _Session.accepted != told:
            told = _Session.accepted
            sys.stdout.write(f"mesg={told}\r")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
