"""What the SMTP server of the tests can be told to do, and what it says it accepted.

The server that obeys is `tests/smtp_server.py`.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

Step = Literal[
    "greeting", "ehlo", "helo", "starttls", "auth", "mail", "rcpt", "data", "content", "rset", "noop", "quit"
]


@dataclass(frozen=True)
class Act:
    """One answer in place of the usual one.

    `say` holds whole lines with their codes, parted by newlines: None is the usual answer, "" is silence. The server
    waits `delay` seconds before it, pauses `drip` seconds after each byte, and `then` goes on, closes, resets, or never
    stops talking. Only for content: `after_bytes` acts in the middle of it (silence is a pause in reading there), and
    `keeps` says whether the message counts as accepted whatever is answered (None: as the answer says).
    """

    say: str | None = None
    delay: float = 0.0
    drip: float = 0.0
    then: Literal["go on", "close", "reset", "flood"] = "go on"
    keeps: bool | None = None
    after_bytes: int | None = None


SILENT = Act(say="")
CLOSE = Act(say="", then="close")
RESET = Act(say="", then="reset")
FLOOD = Act(say="", then="flood")


@dataclass(frozen=True)
class Accepted:
    """One message this server took; times in seconds, monotonic and since 1970."""

    message_id: str
    sender: str
    recipient: str
    size: int
    sha256: str
    monotonic: float
    wall: float
    encrypted: bool
    connection: int
    content: bytes = field(repr=False)

    def ledger_line(self) -> str:
        """One JSON object without the content."""
        return json.dumps({key: value for key, value in asdict(self).items() if key != "content"})


def as_act(act: Act | str) -> Act:
    """An act as it is; a text is the answer of an otherwise usual one."""
    return Act(say=act) if isinstance(act, str) else act


def needs_a_limit(act: Act | str) -> bool:
    """Whether a client gets no whole answer, and no end of stream, until its own limit ends the wait."""
    act = as_act(act)
    unfinished = act.say is not None and (act.say.rpartition("\n")[2][3:4] == "-" or not act.say)
    return bool(act.drip) or act.then == "flood" or (unfinished and act.then == "go on")


def is_positive(act: Act, usual: str) -> bool:
    """Whether the answer begins with 2."""
    return (usual if act.say is None else act.say).startswith("2")
