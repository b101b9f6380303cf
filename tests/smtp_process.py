"""The SMTP server of the tests as a process of its own, so that a crash of ours cannot touch its ledger.

In a test: `with smtp_process(folder) as (port, ledger)`. The server itself is `tests/smtp_server.py`.
"""

import argparse
import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


@contextmanager
def smtp_process(folder: Path, *options: str) -> Iterator[tuple[int, Path]]:
    """Start the server with its files in `folder`, give its port and its ledger (JSON lines), stop it at the end.

    `options` are further options of the process, such as `"--port", "2525"`.
    """
    ledger, port_file = folder / "ledger.jsonl", folder / "port"
    port_file.unlink(missing_ok=True)
    ledger.touch()
    files = ("--ledger", str(ledger), "--port-file", str(port_file))
    with subprocess.Popen([sys.executable, __file__, *files, *options]) as process:
        try:
            patience = time.monotonic() + 15
            while not port_file.exists():
                if process.poll() is not None or time.monotonic() > patience:
                    raise RuntimeError("the SMTP server of the tests did not start")
                time.sleep(0.02)
            yield int(port_file.read_text(encoding="ascii")), ledger
        finally:
            process.terminate()


def main() -> None:
    """Run until SIGTERM; the port is in the port file as soon as the server listens."""
    parser = argparse.ArgumentParser(description="An SMTP server for tests.")
    parser.add_argument("--ledger", type=Path, required=True, help="one JSON line a message, on disk before the 250")
    parser.add_argument("--port-file", type=Path, required=True, help="where the port is written")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--folder", type=Path, help="where the messages themselves are kept")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer to content")
    parser.add_argument("--greylist", type=int, default=0, help="how often each recipient is put off first")
    parser.add_argument("--no-pipelining", action="store_true", help="do not offer PIPELINING (RFC 2920)")
    parser.add_argument("--unsynced", action="store_true", help="the ledger's lines may wait in the system's memory")
    given = parser.parse_args()
    asyncio.run(_serve(given))


async def _serve(given: argparse.Namespace) -> None:
    from tests.smtp_server import SmtpServer

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = SmtpServer(
        ledger=given.ledger,
        synced=not given.unsynced,
        folder=given.folder,
        delay=given.delay,
        greylist=given.greylist,
        pipelining=not given.no_pipelining,
    )
    await server.start(given.port)
    half = given.port_file.with_suffix(".half")
    half.write_text(str(server.port), encoding="ascii")
    half.replace(given.port_file)  # a reader sees the whole number or no file
    await stop.wait()
    await server.stop()


if __name__ == "__main__":
    # An installed package brings a `tests` of its own, which would be found instead of this folder.
    package = ModuleType("tests")
    package.__path__ = [str(Path(__file__).parent)]
    sys.modules["tests"] = package
    main()
