"""The bounds: how fast this machine's sink can be fed by senders that have nothing else to do."""

import shutil
from pathlib import Path

from bench.contestant import Contestant, Kind, LeftOut
from bench.peer_programs import peer_words

SESSIONS = 20
BYTES = 3_300
CONNECTIONS = 10


def list_bounds(messages: int, port: int) -> list[Contestant | LeftOut]:
    """Postfix's own generator, and the library we connect with, given finished bytes."""
    name = f"smtp-source, {SESSIONS} sessions"
    source: Contestant | LeftOut = LeftOut(name, "there is no smtp-source (Postfix)")
    if shutil.which("smtp-source"):
        words = ["smtp-source", "-d", "-s", str(SESSIONS), "-m", str(messages), "-l", str(BYTES)]
        words += ["-f", "post@example.org", "-t", "someone@example.org", f"127.0.0.1:{port}"]
        source = Contestant(name, Kind.BOUND, lambda turn: words)
    bare = ["--port", str(port), "--messages", str(messages), "--connections", str(CONNECTIONS)]

    def prepare(turn: Path) -> list[str]:
        return peer_words("ready_bytes", *bare)

    return [source, Contestant(f"bare aiosmtplib, {CONNECTIONS} connections, ready bytes", Kind.BOUND, prepare)]
