"""Whether the mail server may be asked at all: open, or closed with a wait that doubles and one alarm.

Time and chance are passed in; what an answer means is `scheduler.smtp_outcome`, the connections are `scheduler.mailer`.
"""

from collections.abc import Callable
from datetime import datetime
from random import SystemRandom

from scheduler.smtp_outcome import Phase, RelayEffect, Verdict, relay_wait

_chance = SystemRandom()

BREAKS_IN_A_ROW = 3  # lost connections before they count as the mail server's trouble and no longer as chance
ALARM_AFTER = 6  # back-offs in a row, about 16 minutes: longer than a restart, soon enough for a working day


class RelayCircuit:
    """What all connections to one mail server know together. Not for several threads."""

    def __init__(self, draw: Callable[[], float] = _chance.random) -> None:
        self._draw = draw
        self._failures = 0
        self._breaks = 0
        self._trying = False
        self.closed_until: datetime | None = None  # None: anyone may connect
        self.alarm: str | None = None  # what staff must know, until a message goes through again

    def may_connect(self, now: datetime) -> bool:
        """Whether a connection may be opened. After a wait exactly one may try; the next only after another wait."""
        if self.closed_until is None:
            return True
        if now < self.closed_until:
            return False
        # Moving the wait on here, not when the try has ended, keeps the others away and survives a try nobody reports.
        self.closed_until = now + relay_wait(max(1, self._failures), self._draw())
        self._trying = True
        return True

    def record(self, verdict: Verdict, now: datetime) -> str | None:
        """Take one verdict into account. Returns the alarm if it was raised just now, so that it is told once."""
        match verdict.relay:
            case RelayEffect.FINE:
                self._failures = self._breaks = 0
                self._trying = False
                self.closed_until = self.alarm = None
                return None
            case RelayEffect.RECONNECT:
                self._breaks += 1
                if self._breaks < BREAKS_IN_A_ROW:
                    return None
        return self._close(verdict, now)

    def _close(self, verdict: Verdict, now: datetime) -> str | None:
        # Several connections fail together over one cause: only the first of them lengthens the wait.
        if self.closed_until is None or self._trying:
            self._trying = False
            self._failures += 1
            self.closed_until = now + relay_wait(self._failures, self._draw())
        if self.alarm is not None:
            return None
        if verdict.relay is RelayEffect.ALARM:
            self.alarm = f"{_WHAT_TO_MEND.get(verdict.phase, _SENDER)}{_codes(verdict)} Nothing is lost; messages wait."
        elif self._failures >= ALARM_AFTER:
            self.alarm = f"The mail server cannot be reached or turns us away ({verdict.phase})." + _codes(verdict)
        return self.alarm


_SENDER = "The mail server refuses our sender address: check SENDER_ADDRESS and the account's permissions."
_NO_TLS = "The mail server offers no trustworthy encryption: check SMTP_HOST, SMTP_SECURITY and its certificate."
_WHAT_TO_MEND = {
    Phase.CONNECT: _NO_TLS,
    Phase.GREETING: _NO_TLS,
    Phase.EHLO: _NO_TLS,
    Phase.STARTTLS: _NO_TLS,
    Phase.AUTH: "The mail server refuses our login: check SMTP_USERNAME and SMTP_PASSWORD.",
}


def _codes(verdict: Verdict) -> str:
    # Never the server's words: they may repeat an address.
    codes = [str(code) for code in (verdict.code, verdict.enhanced) if code is not None]
    return f" It said {' '.join(codes)}." if codes else ""
