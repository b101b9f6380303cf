"""What an SMTP answer, or the lack of one, means for a message, its address and the mail server; how long to wait then.

Pure: the connection that sees the answers is `scheduler.mailer`, what is stored about them is `scheduler.recorder`.
"""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from db.states import AttemptOutcome


class Phase(StrEnum):
    """How far a conversation with the mail server had come."""

    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # DATA was sent, 354 was not read: no content has left
    CONTENT = "content"  # the first byte of content may have left
    QUIT = "quit"  # a 2xx for the content was read


class Break(StrEnum):
    """What was seen instead of an answer."""

    TIMEOUT = "timeout"
    CLOSED = "closed"  # end of stream, or reset
    MALFORMED = "malformed"  # bytes that are no SMTP reply, or too many of them
    DNS = "dns"
    REFUSED = "refused"  # no connection to that host and port
    TLS = "tls"  # the handshake failed, or the certificate is wrong
    MISSING = "missing"  # the server does not offer what we insist on: STARTTLS, a way to log in
    CANCELLED = "cancelled"  # we stopped it ourselves
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply. `text` is without codes and may repeat the patient's address: it is never logged."""

    code: int
    text: str = field(default="", repr=False)


class RelayEffect(StrEnum):
    """What an answer says about the mail server and the connection to it."""

    FINE = "fine"
    RECONNECT = "reconnect"  # this connection must be closed; another may be opened
    BACK_OFF = "back_off"  # the mail server is in trouble: nobody connects for a while
    ALARM = "alarm"  # only a person can mend it: closed, and said loudly


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one answer means.

    `code` and `enhanced` (RFC 3463, such as "5.1.1") are None where none was read. `text` is the server's wording; it
    may repeat the address, so it is stored sealed and left out of logs.
    """

    outcome: AttemptOutcome
    blames_address: bool
    relay: RelayEffect
    phase: Phase
    code: int | None = None
    enhanced: str | None = None
    text: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: in one of these phases, seeing one of these (words parted by `|`)."""

    phases: frozenset[Phase]
    seen: frozenset[str]
    outcome: AttemptOutcome
    relay: RelayEffect
    blames_address: bool = False


def _row(phases: str, seen: str, outcome: AttemptOutcome, relay: RelayEffect, *, blames_address: bool = False) -> Row:
    words = frozenset(word.strip() for word in seen.split("|"))
    return Row(frozenset(map(Phase, phases.split())), words, outcome, relay, blames_address)


_ACCEPTED, _UNKNOWN = AttemptOutcome.ACCEPTED, AttemptOutcome.UNKNOWN
_NOT_SENT, _PUT_OFF = AttemptOutcome.NOT_SENT, AttemptOutcome.PUT_OFF
_REFUSED, _REJECTED = AttemptOutcome.REFUSED, AttemptOutcome.REJECTED
_FINE, _RECONNECT = RelayEffect.FINE, RelayEffect.RECONNECT
_BACK_OFF, _ALARM = RelayEffect.BACK_OFF, RelayEffect.ALARM

# The first row that fits decides. "4xx" and "5xx" mean the class of the enhanced code where there is one, else of the
# basic code; "550" is the basic code itself; "bare 550" is one without an enhanced code.
TABLE: tuple[Row, ...] = (
    # Before the envelope nothing is about a message or an address.
    _row("connect greeting ehlo starttls", "tls | missing", _NOT_SENT, _ALARM),
    _row("starttls", "421", _NOT_SENT, _BACK_OFF),
    _row("starttls", "4xx | 5xx", _NOT_SENT, _ALARM),
    _row("auth", "530 | 534 | 535 | 5xx | missing", _NOT_SENT, _ALARM),
    _row("connect greeting ehlo starttls auth", "any", _NOT_SENT, _BACK_OFF),
    # MAIL names only us: a refusal would meet every message alike. A connection that had gone stale shows here first.
    _row("mail", "421", _NOT_SENT, _RECONNECT),
    _row("mail", "4xx", _NOT_SENT, _BACK_OFF),
    _row("mail", "5xx", _NOT_SENT, _ALARM),
    _row("mail", "any", _NOT_SENT, _RECONNECT),
    # 421 speaks of the connection, whatever enhanced code follows it.
    _row("rcpt data content", "421", _PUT_OFF, _RECONNECT),
    # X.1.7 and X.1.8 are the *sender's* address (RFC 3463 §3.2). Postfix says so at RCPT (smtpd_delay_reject); taken
    # for the recipient's, one wrong setting of ours would mark every patient's address unreachable.
    _row("rcpt data content", "4.1.7 | 4.1.8", _NOT_SENT, _BACK_OFF),
    _row("rcpt data content", "5.1.7 | 5.1.8", _NOT_SENT, _ALARM),
    _row("rcpt data content", "4xx", _PUT_OFF, _FINE),
    _row("rcpt content", "5.1.x", _REFUSED, _FINE, blames_address=True),
    _row("rcpt", "bare 550 | bare 551 | bare 553", _REFUSED, _FINE, blames_address=True),
    _row("rcpt data content", "5xx", _REJECTED, _FINE),
    _row("rcpt data", "any", _NOT_SENT, _RECONNECT),
    _row("content", "2xx", _ACCEPTED, _FINE),
    # Anything else once content may have left: it may have arrived, and it may not.
    _row("content", "any", _UNKNOWN, _RECONNECT),
    _row("quit", "any", _ACCEPTED, _RECONNECT),
)

# At the start (RFC 2034), or behind a number sign anywhere, as qmail and others write it.
_ENHANCED = re.compile(r"(?:^|#)([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")


def enhanced_code(text: str) -> str | None:
    """The enhanced status code of a reply's text (RFC 3463), or None."""
    found = _ENHANCED.search(text)
    return ".".join(found.groups()) if found else None


def goes_on(phase: Phase, reply: Reply) -> bool:
    """Whether this is the answer that lets the conversation continue: there is then nothing to classify yet."""
    match phase:
        case Phase.CONTENT | Phase.QUIT:
            return False
        case Phase.DATA:
            return reply.code == 354
        case _:
            return 200 <= reply.code <= 299


def classify(phase: Phase, seen: Reply | Break) -> Verdict:
    """What `seen` in `phase` means, by the first fitting row of the table.

    Raises `ValueError` for an answer that `goes_on`: it decides nothing.
    """
    if isinstance(seen, Reply) and not 200 <= seen.code <= 599:
        seen = Break.MALFORMED
    if isinstance(seen, Break):
        code, enhanced, text = None, None, ""
    elif goes_on(phase, seen):
        raise ValueError(f"{seen.code} in phase {phase} lets the conversation go on")
    else:
        code, enhanced, text = seen.code, enhanced_code(seen.text), seen.text
    words = _words(seen, enhanced)
    row = next(row for row in TABLE if phase in row.phases and not words.isdisjoint(row.seen))
    return Verdict(row.outcome, row.blames_address, row.relay, phase, code, enhanced, text)


def _words(seen: Reply | Break, enhanced: str | None) -> set[str]:
    """Every word of the table that fits what was seen."""
    if isinstance(seen, Break):
        return {seen.value, "any"}
    words = {str(seen.code), "any"}
    if seen.code < 400 or enhanced is None or enhanced.startswith("2"):
        return words | {f"bare {seen.code}", f"{seen.code // 100}xx"}
    return words | {enhanced, f"{enhanced.rpartition('.')[0]}.x", f"{enhanced[0]}xx"}


FIRST_RETRY = timedelta(minutes=15)  # greylisting servers want at least this much
LONGEST_RETRY = timedelta(hours=6)  # four looks a day: a server that is back is found while the message is of use
GIVE_UP_AFTER = timedelta(days=4)  # RFC 5321 §4.5.4.1 asks for at least 4-5 days before mail is given up
RETRY_NOT_SENT = timedelta(minutes=1)  # the connection broke before 354: nothing is charged, nothing is in doubt

# 30 s outlasts the restart of a mail server. 30 min bounds how late the first message is after a long outage, and keeps
# a wrong password at two logins an hour, below what providers lock an account for.
FIRST_RELAY_WAIT = timedelta(seconds=30)
LONGEST_RELAY_WAIT = timedelta(minutes=30)

_JITTER_SHARE = 0.25  # what failed together does not come back together


def retry_wait(attempt: int, jitter: float) -> timedelta:
    """How long a message waits after its `attempt`-th (from 1) "not yet"; `jitter` from 0 to 1 stretches it."""
    return _doubled(FIRST_RETRY, LONGEST_RETRY, attempt, jitter)


def relay_wait(failures: int, jitter: float) -> timedelta:
    """How long nobody connects after `failures` (from 1) in a row; `jitter` from 0 to 1 stretches it."""
    return _doubled(FIRST_RELAY_WAIT, LONGEST_RELAY_WAIT, failures, jitter)


def _doubled(first: timedelta, longest: timedelta, count: int, jitter: float) -> timedelta:
    if count < 1 or not 0 <= jitter <= 1:
        raise ValueError("counts start at 1, jitter lies between 0 and 1")
    doublings = min(count - 1, 16)  # far beyond either limit, and small enough to multiply
    return min(longest, first * ((1 << doublings) * (1 + _JITTER_SHARE * jitter)))
