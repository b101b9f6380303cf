"""The technical mailbox, read by IMAP in a thread of its own: what is new there is taken in once, whatever breaks when.

What a message is and leads to is in `scheduler.returned_mail`. The only file that imports imaplib.
"""

import asyncio
import imaplib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from db.returned_mail import list_noted
from db.turns import take_turn
from scheduler.clinic import Clinic
from scheduler.clock import SystemClock
from scheduler.errors import AftercareError
from scheduler.logs import log
from scheduler.received_parts import READ_BYTES
from scheduler.returned_mail import Taken, take
from scheduler.settings import Settings

ANSWER_SECONDS: Final = 30.0  # how long any one answer may take
LOOK_SECONDS: Final = 120.0  # how long one look may take in all: a server that drips keeps nobody for ever
MOST_AT_ONCE: Final = 100  # messages taken in during one look; the next look goes on
MOST_BYTES: Final = 2 * MOST_AT_ONCE * READ_BYTES  # read from the server during one look, whatever it sends
LONGEST_WAIT: Final = 3600.0  # seconds between looks while the mailbox cannot be read
ALARM_AFTER: Final = 3  # looks in a row that failed: one may be the server's restart
_ASKED_AT_ONCE: Final = 500  # numbers of messages in one query
# What imaplib raises for a connection that breaks, or for an answer that is no IMAP.
_BROKEN: Final = (imaplib.IMAP4.error, OSError, ValueError, LookupError, TypeError, AttributeError)


class MailboxTrouble(AftercareError):
    """The mailbox could not be read; the message says in which step, never what the server wrote."""


class _Bounded(imaplib.IMAP4):
    """A connection that reads no more than `MOST_BYTES` in all, whatever sizes the server announces."""

    left = MOST_BYTES
    timer: threading.Timer | None = None

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        super().open(host, port, timeout)
        # Each answer has its own limit, which a server that sends a sign now and then never reaches.
        self.timer = threading.Timer(LOOK_SECONDS, _cut, [self])
        self.timer.daemon = True
        self.timer.start()

    def shutdown(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        super().shutdown()

    def read(self, size: int) -> bytes:
        self._spend(size)
        return super().read(size)

    def readline(self) -> bytes:
        line = super().readline()
        self._spend(len(line))
        return line

    def _spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise self.abort("more than a look may read")


class _BoundedTls(_Bounded, imaplib.IMAP4_SSL):  # type: ignore[misc]  # its default port is another
    """The same, encrypted from its first byte."""


class BounceMailbox:
    """Looks into the mailbox at each tick, of all processes one; waits ever longer while it cannot be read."""

    def __init__(self, clinic: Clinic, trust: ssl.SSLContext | None = None) -> None:
        self._clinic = clinic
        self._trust = trust
        self._machine = SystemClock()
        self._failures = 0
        self._not_before = 0.0
        self._broke: set[int] = set()
        self._open: imaplib.IMAP4 | None = None
        self._stopping = False

    async def look(self) -> None:
        """Take in what is new, unless somebody else does or it is too early after a failure. Never raises."""
        if self._stopping or self._machine.boottime() < self._not_before:
            return
        try:
            await _in_daemon(self._in_turn)
        except Exception as trouble:  # noqa: BLE001 (one look: whatever a server does must not stop the service)
            self._failed(trouble)
        else:
            if self._failures >= ALARM_AFTER:
                log().info("bounce_mailbox_read_again")
            self._failures = 0

    def stop(self) -> None:
        """End a look that is under way: what it has taken in is stored, the rest stays unread."""
        self._stopping = True
        _cut(self._open)

    def take_in(self) -> dict[Taken, int]:
        """One look, in this thread: how many messages there were of each kind. Raises `MailboxTrouble`."""
        counts = dict.fromkeys(Taken, 0)
        with self._connected() as connection:
            mailbox, uids = _unseen(connection, self._clinic.settings.bounce_imap_folder)
            for uid in islice(self._to_take(mailbox, uids), MOST_AT_ONCE):
                if self._stopping:
                    break
                raw = _fetch(connection, uid)
                if raw is None:  # somebody else has removed it
                    continue
                try:
                    taken = take(self._clinic, raw, mailbox, uid)
                except SQLAlchemyError as error:  # this one stays unread, and is tried last the next time
                    log().error("report_not_recorded", error=type(error).__name__)
                    self._broke.add(uid)
                    continue
                counts[taken] += 1
                self._broke.discard(uid)
                if taken is not Taken.LETTER:
                    # After our commit: when this does not happen, the message comes again and is known.
                    _ask(connection, "STORE", str(uid), "+FLAGS.SILENT", r"(\Seen)")
        return counts

    def _in_turn(self) -> None:
        clinic = self._clinic
        now = clinic.clock.now()
        # A little less than the interval, so that a tick that comes early still finds its turn.
        since = now - timedelta(minutes=clinic.settings.bounce_minutes) * 0.8
        with take_turn(clinic.store, "bounces", now, since) as mine:
            if mine:
                counts = self.take_in()
                if any(counts.values()):
                    log().info("bounce_mailbox_read", count=sum(counts.values()), unknown=counts[Taken.NOT_OURS])

    def _failed(self, trouble: Exception) -> None:
        self._failures += 1
        wait = min(LONGEST_WAIT, self._clinic.settings.bounce_minutes * 60.0 * 2.0 ** min(self._failures - 1, 10))
        self._not_before = self._machine.boottime() + wait
        told = log().error if self._failures == ALARM_AFTER else log().warning
        step = str(trouble) if isinstance(trouble, MailboxTrouble) else type(trouble).__name__
        told("bounce_mailbox_unreadable", error=step, count=self._failures, seconds=wait)

    def _to_take(self, mailbox: int, uids: Sequence[int]) -> Iterator[int]:
        """The messages not looked at yet: without the letters that stay there, those that broke down last."""
        ordered = sorted(uids, key=lambda uid: (uid in self._broke, uid))
        for start in range(0, len(ordered), _ASKED_AT_ONCE):
            some = ordered[start : start + _ASKED_AT_ONCE]
            noted = self._noted(mailbox, some)
            yield from (uid for uid in some if uid not in noted)

    def _noted(self, mailbox: int, uids: Collection[int]) -> set[int]:
        with self._clinic.store.read() as session:
            return list_noted(session, mailbox, uids)

    @contextmanager
    def _connected(self) -> Iterator[imaplib.IMAP4]:
        connection = open_mailbox(self._clinic.settings, self._trust)
        self._open = connection
        try:
            yield connection
            with suppress(*_BROKEN):
                connection.logout()
        except _BROKEN as broken:
            raise MailboxTrouble(f"the connection broke: {type(broken).__name__}") from None
        finally:
            self._open = None
            with suppress(OSError):
                connection.shutdown()


def open_mailbox(settings: Settings, trust: ssl.SSLContext | None = None) -> imaplib.IMAP4:
    """A connection that is logged in. Raises `MailboxTrouble`. A password leaves only over TLS, or to this machine."""
    host, password = settings.bounce_imap_host, settings.bounce_imap_password
    if host is None or password is None:
        raise MailboxTrouble("no mailbox is set")
    trust = trust or ssl.create_default_context()
    step = "connect"
    connection: imaplib.IMAP4 | None = None
    try:
        if settings.bounce_imap_security == "tls":
            connection = _BoundedTls(host, settings.bounce_imap_port, ssl_context=trust, timeout=ANSWER_SECONDS)
        else:
            connection = _Bounded(host, settings.bounce_imap_port, timeout=ANSWER_SECONDS)
        if settings.bounce_imap_security == "starttls":
            step = "STARTTLS"
            connection.starttls(trust)
        step = "log in"
        connection.login(settings.bounce_imap_username or "", password.get_secret_value())
    except Exception as broken:  # noqa: BLE001 (imaplib raises nearly anything for what is no IMAP)
        if connection is not None:
            with suppress(OSError):
                connection.shutdown()
        raise MailboxTrouble(f"could not {step}: {type(broken).__name__}") from None
    return connection


def look_at_folder(settings: Settings) -> int:
    """Log in and count what is unread; changes nothing. Raises `MailboxTrouble`."""
    connection = open_mailbox(settings)
    try:
        return len(_unseen(connection, settings.bounce_imap_folder)[1])
    except _BROKEN as broken:
        raise MailboxTrouble(f"the connection broke: {type(broken).__name__}") from None
    finally:
        with suppress(OSError):
            connection.shutdown()


def _unseen(connection: imaplib.IMAP4, folder: str) -> tuple[int, list[int]]:
    """The number of the mailbox (UIDVALIDITY, RFC 3501 §2.3.1.1) and of the messages nobody has read."""
    quoted = '"' + folder.replace("\\", "\\\\").replace('"', '\\"') + '"'
    kind, _ = connection.select(quoted)
    _, told = connection.response("UIDVALIDITY")
    if kind != "OK" or not told or not told[0] or not bytes(told[0]).isdigit():
        raise MailboxTrouble("could not open the folder")
    found = _ask(connection, "SEARCH", "UNSEEN")
    numbers = b" ".join(part for part in found if isinstance(part, bytes)).split()
    return int(bytes(told[0])), [int(number) for number in numbers if number.isdigit() and len(number) < 11]


def _fetch(connection: imaplib.IMAP4, uid: int) -> bytes | None:
    """The first bytes of a message, left unread; None when it is gone."""
    for part in _ask(connection, "FETCH", str(uid), f"(BODY.PEEK[]<0.{READ_BYTES}>)"):
        if isinstance(part, tuple) and len(part) > 1 and _is_about(part[0], uid):
            return bytes(part[1])[:READ_BYTES]
    return None


def _is_about(head: bytes, uid: int) -> bool:
    found = re.search(rb"\bUID (\d{1,10})\b", head)  # not told before the body: then the server answers in order
    return found is None or int(found[1]) == uid


def _ask(connection: imaplib.IMAP4, *command: str) -> list[Any]:
    kind, found = connection.uid(*command)
    if kind != "OK":
        raise MailboxTrouble(f"the server refused {command[0]}")
    return found


async def _in_daemon(work: Callable[[], None]) -> None:
    """Run `work` in a thread that a stop of the program does not wait for; raises what it raises."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: Exception | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(None)

    def run() -> None:
        error: Exception | None = None
        try:
            work()
        except Exception as raised:  # noqa: BLE001 (it is raised again, where it is waited for)
            error = raised
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, name="mailbox", daemon=True).start()
    await done


def _cut(connection: imaplib.IMAP4 | None) -> None:
    """Break a connection from another thread: whoever waits for it wakes."""
    if connection is not None:
        with suppress(OSError, AttributeError):
            socket.socket.shutdown(connection.socket(), socket.SHUT_RDWR)
