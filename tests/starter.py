"""Starts of the real program that cost little: it is imported once, and each start is a fork of that process.

For tests with very many starts: an import costs a second of one core, a fork some hundredths. From there on it is the
whole program with its own environment, arguments and log; `tests/process.py` starts it from nothing.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class Starter:
    """One program at a time, started as often as wanted; a context manager."""

    def __init__(self) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, __file__], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._unread = b""
        self.pid: int | None = None  # of the program that runs now

    def __enter__(self) -> "Starter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pid is not None:
            self.signal(signal.SIGKILL)
            self.wait(20)
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.wait(60)  # it may still be importing
        self._parent.stdout.close()

    def start(
        self, env: Mapping[str, str], log: Path, *words: str, at: datetime | None = None, errors: Path | None = None
    ) -> int:
        """Start the program with these words; its output goes to the end of `log`. Returns its process id.

        `at` is what its wall clock says at that moment; None: what the machine's says. `errors` gets standard error.
        """
        assert self.pid is None, "one after the other"
        order = {"env": dict(env), "words": words, "at": at.isoformat() if at else None}
        order |= {"log": str(log), "errors": str(errors or log)}
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps(order).encode() + b"\n")
        self.pid = int(self._line(60))
        return self.pid

    def wait(self, seconds: float) -> int:
        """Its exit code, negative for a signal. Raises `TimeoutError` when it still runs after that time."""
        code = int(self._line(seconds))
        self.pid = None
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal. It stays our grandchild until `wait`, so its id belongs to nobody else."""
        assert self.pid is not None
        os.kill(self.pid, number)

    def _line(self, seconds: float) -> bytes:
        assert self._parent.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._parent.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the program {self.pid} still runs after {seconds} s")
            piece = os.read(self._parent.stdout.fileno(), 100)
            if not piece:
                raise RuntimeError("what starts the program has ended")
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        return line


def main() -> None:
    """Import the program, then fork it for each order on stdin; tell its process id, and its exit code."""
    sys.path[0] = str(ROOT)
    import alembic.command  # noqa: F401

    import service
    import web.app
    import web.server  # noqa: F401  (what `run` imports late)

    service.make_app()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _be_the_program(service, order)
        _tell(pid)
        _, status = os.waitpid(pid, 0)
        _tell(os.waitstatus_to_exitcode(status))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _be_the_program(service: Any, order: dict[str, Any]) -> None:
    log, errors = (os.open(order[file], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) for file in ("log", "errors"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    for place, file in enumerate((nothing, log, errors)):
        os.dup2(file, place)
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = ["service.py", *order["words"]]
    if order["at"] is not None:
        from scheduler.clock import FastClock

        started_at = datetime.fromisoformat(order["at"])
        service.SystemClock = lambda: FastClock(started_at, speed=1)
    code: Any = 1
    try:
        service.main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
