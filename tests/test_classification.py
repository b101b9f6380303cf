"""Every row of the classification table, end to end, on both databases: from a due row to all that follows from it.

What an answer means by itself is in `test_smtp_outcome.py`, what the connection sees in `test_mailer.py`. Here a real
server says it to the whole chain, and what is looked at is what staff can see.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from uuid import UUID

from sqlalchemy import select
from structlog.testing import capture_logs

from db import patients as stored_patients
from db import sends
from db.follow_up import Reminder
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from scheduler.mailer import Limits
from scheduler.sender import Sender
from scheduler.settings import load_settings
from service import open_clinic
from tests.certificates import make_certificate
from tests.history import Circumstances, Taken, breaches, read_stories
from tests.process import address, enter, environment, fill
from tests.smtp_script import CLOSE, RESET, SILENT, Act, Step
from tests.smtp_server import SmtpServer

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
LOGIN = ("clinic", "a long password")
PATIENT = Limits(connect=20, command=20, final_reply=20, quit=1)
HASTY = Limits(connect=0.6, command=0.6, final_reply=0.6, quit=0.2)

Circuit = Literal["open", "backs off", "alarm"]
Way = Literal["plain", "hasty", "tls", "nowhere", "nameless"]
STAYING: tuple[Way, ...] = ("plain", "hasty")
ELSEWHERE: dict[Way, dict[str, str]] = {
    "tls": {"AFTERCARE_SMTP_SECURITY": "starttls"},
    "nowhere": {"AFTERCARE_SMTP_PORT": "1"},
    "nameless": {"AFTERCARE_SMTP_HOST": "x" * 64 + ".example.org", "AFTERCARE_SMTP_SECURITY": "starttls"},
}


@dataclass(frozen=True)
class Row:
    """What the server does and what must follow.

    `outcome` is the class of the attempt, None where nobody was charged one; `state` and `reason` are the reminder's,
    `wait` the minutes until it may be tried again, `ends` what it is once the server does everything right, `copies`
    how often the server took it in all.
    """

    words: str
    script: tuple[tuple[Step, Act | str], ...]
    outcome: str | None
    state: str
    reason: str | None = None
    wait: float | None = None
    ends: str = "sent"
    copies: int = 1
    refused: bool = False
    circuit: Circuit = "open"
    way: Way = "plain"


def trouble(words: str, *script: tuple[Step, Act | str], circuit: Circuit = "backs off", way: Way = "plain") -> Row:
    """The mail server's own trouble: nobody is charged, and nobody connects for a while."""
    return Row(words, script, None, "scheduled", circuit=circuit, way=way)


def sender_trouble(words: str, answer: str, circuit: Circuit, step: Step = "mail") -> Row:
    """Our sender is refused: not sent, tried again, and the relay closed to all."""
    return Row(words, ((step, answer),), "not_sent", "awaiting_retry", "not_handed_over", wait=1, circuit=circuit)


def put_off(words: str, step: Step, answer: Act | str) -> Row:
    """Certainly not yet."""
    return Row(words, ((step, answer),), "put_off", "awaiting_retry", "put_off", wait=15)


def broke(words: str, step: Step, act: Act | str, way: Way = "plain") -> Row:
    """The connection broke before any content."""
    return Row(words, ((step, act),), "not_sent", "awaiting_retry", "not_handed_over", wait=1, way=way)


def refused(words: str, step: Step, answer: str, *more: tuple[Step, Act | str], way: Way = "plain") -> Row:
    """The address is refused for good."""
    script = ((step, answer), *more)
    return Row(words, script, "refused", "failed", "refused", ends="failed", copies=0, refused=True, way=way)


def rejected(words: str, step: Step, answer: str) -> Row:
    """This message is refused; the address is not blamed."""
    return Row(words, ((step, answer),), "rejected", "held", "refused_by_server", ends="held", copies=0)


def unknown(words: str, act: Act | str, copies: int = 1, way: Way = "plain") -> Row:
    """The answer is lost; sent once more by the step's rule."""
    return Row(words, (("content", act),), "unknown", "awaiting_retry", "resend_once", wait=5, copies=copies, way=way)


def accepted(words: str, *script: tuple[Step, Act | str], way: Way = "plain") -> Row:
    """Sent."""
    return Row(words, script, "accepted", "sent", way=way)


NO_SUCH_USER = "550 5.1.1 no such user"
ROWS = [
    trouble("DNS failure", way="nameless"),
    trouble("connection refused", way="nowhere"),
    trouble("greeting timeout", ("greeting", SILENT), way="hasty"),
    trouble("greeting 4xx", ("greeting", "450 4.3.2 busy")),
    trouble("greeting 421", ("greeting", "421 4.3.2 busy")),
    trouble("greeting 5xx", ("greeting", "554 5.7.1 no")),
    trouble("greeting is garbage", ("greeting", "hello?")),
    trouble("greeting breaks", ("greeting", CLOSE)),
    trouble("EHLO refused", ("ehlo", "550 5.7.1 who are you")),
    trouble("STARTTLS missing", ("ehlo", "250 mail.example.org"), circuit="alarm", way="tls"),
    trouble("STARTTLS refused", ("starttls", "454 4.7.0 not now"), circuit="alarm", way="tls"),
    trouble("bad certificate", circuit="alarm", way="tls"),
    trouble("AUTH 535", ("auth", "535 5.7.8 wrong"), circuit="alarm"),
    trouble("AUTH 534", ("auth", "534 5.7.9 too weak"), circuit="alarm"),
    trouble("AUTH 530", ("auth", "530 5.7.0 not yet"), circuit="alarm"),
    trouble("AUTH 4xx", ("auth", "454 4.7.0 later")),
    trouble("AUTH breaks", ("auth", RESET)),
    sender_trouble("MAIL FROM 4xx", "450 4.7.1 later", "backs off"),
    sender_trouble("MAIL FROM 5xx", "550 5.7.1 not you", "alarm"),
    sender_trouble("RCPT blames our sender", "550 5.1.8 sender's domain not found", "alarm", step="rcpt"),
    broke("MAIL FROM 421 on a stale connection", "mail", "421 4.4.2 idle"),
    broke("MAIL FROM breaks", "mail", CLOSE),
    put_off("RCPT 421", "rcpt", "421 4.3.2 closing"),
    put_off("RCPT 450", "rcpt", "450 4.2.0 greylisted"),
    put_off("RCPT 451", "rcpt", "451 4.7.1 greylisted"),
    put_off("RCPT 452", "rcpt", "452 4.2.2 full for now"),
    put_off("RCPT 550 with an enhanced 4.x", "rcpt", "550 4.2.1 come back"),
    refused("RCPT 5.1.1", "rcpt", NO_SUCH_USER),
    refused("RCPT 450 with an enhanced 5.1.1", "rcpt", "450 5.1.1 no such user"),
    refused("RCPT bare 550", "rcpt", "550 no such user"),
    refused("RCPT bare 551", "rcpt", "551 not local"),
    refused("RCPT bare 553", "rcpt", "553 bad mailbox"),
    refused("RCPT 5.1.1, then a silent RSET", "rcpt", NO_SUCH_USER, ("rset", SILENT), way="hasty"),
    rejected("RCPT 5.7.1", "rcpt", "550 5.7.1 policy"),
    rejected("RCPT 5.2.2", "rcpt", "552 5.2.2 mailbox full"),
    rejected("RCPT bare 552", "rcpt", "552 full"),
    rejected("RCPT any other 5xx", "rcpt", "554 no"),
    broke("RCPT breaks", "rcpt", CLOSE),
    broke("RCPT silent", "rcpt", SILENT, way="hasty"),
    put_off("DATA 4xx", "data", "451 4.3.0 later"),
    put_off("DATA 421", "data", "421 4.3.2 closing"),
    rejected("DATA 5xx", "data", "554 5.5.1 no"),
    broke("lost before 354", "data", CLOSE),
    accepted("250 after the dot"),
    accepted("251 after the dot", ("content", "251 will forward")),
    accepted("252 after the dot", ("content", "252 will try")),
    put_off("4xx after the dot", "content", "451 4.3.0 later"),
    put_off("421 after the dot", "content", "421 4.3.2 closing"),
    rejected("5xx after the dot", "content", "554 5.6.0 content"),
    rejected("bare 550 after the dot", "content", "550 no"),
    refused("5.1.1 after the dot", "content", NO_SUCH_USER),
    unknown("end of stream after the dot, not taken", CLOSE),
    unknown("reset after the dot, taken", Act("", then="reset", keeps=True), copies=2),
    unknown("half of the content", Act("", then="close", after_bytes=200)),
    unknown("malformed after the dot, taken", Act("what?", keeps=True), copies=2),
    unknown("code 999 after the dot", "999 what"),
    unknown("354 again after the dot", "354 go ahead"),
    unknown("timeout after the dot", SILENT, way="hasty"),
    unknown("a dripping reply", Act("250 " + "x" * 90, drip=0.02, keeps=True), copies=2, way="hasty"),
    accepted("250, then QUIT hangs", ("quit", SILENT), way="hasty"),
]


class House:
    """One clinic with its server, and a sender for each way in which a row is tried."""

    def __init__(self, folder: Path, url: str, server: SmtpServer, clock: FastClock) -> None:
        self.server, self.clock = server, clock
        self.env = environment(
            folder,
            server.port,
            AFTERCARE_DATABASE_URL=url,
            AFTERCARE_SMTP_CONNECTIONS="1",
            AFTERCARE_SMTP_USERNAME=LOGIN[0],
            AFTERCARE_SMTP_PASSWORD=LOGIN[1],
        )
        fill(self.env, START, 0).store.engine.dispose()
        self.clinic = self._open()
        due = [moment for number in range(len(ROWS)) for moment in moments(number)[:2]]
        enter(self.clinic, [moment - timedelta(seconds=20) for moment in due])
        self.senders: dict[Way, Sender] = {}

    def _open(self, **more: str) -> Clinic:
        return open_clinic(load_settings({**self.env, **more}), self.clock)

    @asynccontextmanager
    async def sender(self, way: Way) -> AsyncIterator[Sender]:
        """The sender of one way; those that cannot connect are made anew, so that each raises its own alarm."""
        if way in self.senders:
            yield self.senders[way]
            return
        clinic = self._open(**ELSEWHERE[way]) if way in ELSEWHERE else self.clinic
        sender = Sender(clinic, HASTY if way == "hasty" else PATIENT)
        await sender.open()
        try:
            yield sender
        finally:
            await sender.stop()
            if clinic is not self.clinic:
                clinic.store.engine.dispose()

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the senders that stay; they close with the stack."""
        stack.callback(self.clinic.store.engine.dispose)
        for way in STAYING:
            self.senders[way] = await stack.enter_async_context(self.sender(way))

    def row_due(self, moment: datetime) -> Reminder:
        """The one reminder that was due at that moment."""
        with self.clinic.store.read() as session:
            return session.scalars(select(Reminder).where(Reminder.due_at == moment)).one()

    def address_state(self, patient_id: UUID) -> str:
        """What is known of her address."""
        with self.clinic.store.read() as session:
            patient = stored_patients.find_patient(session, patient_id)
            assert patient is not None
            return stored_patients.find_address_state(session, patient).value

    def last_outcome(self, reminder_id: UUID) -> str | None:
        """How her last attempt ended, None without one."""
        with self.clinic.store.read() as session:
            attempts = sends.list_attempts(session, reminder_id)
            return attempts[-1].outcome.value if attempts else None


def moments(number: int) -> tuple[datetime, datetime, datetime]:
    """Of a row by its place: when its message is due, when the next is, and when the server has long been well."""
    due = START + HOUR * number
    return due, due + timedelta(seconds=10), due + timedelta(minutes=40)


async def differences(house: House, number: int) -> list[str]:
    """Try one row; everything that did not come out as it says."""
    row, email = ROWS[number], address(2 * number)
    due, next_due, well = moments(number)
    server, clock = house.server, house.clock
    found: list[str] = []

    def expect(what: str, seen: object, wanted: object) -> None:
        if seen != wanted:
            found.append(f"{row.words}: {what} is {seen}, not {wanted}")

    await server.hang_up()
    server.forget_script()
    clock.set(due)
    for step, act in row.script:
        server.always(step, act)
    with capture_logs() as logged:
        async with house.sender(row.way) as sender:
            await sender.send_due()
    reminder = house.row_due(due)
    expect("its attempt", house.last_outcome(reminder.id), row.outcome)
    expect("the reminder", (reminder.state.value, reminder.reason and reminder.reason.value), (row.state, row.reason))
    if row.wait is not None:
        waits = (reminder.ready_at - clock.now()).total_seconds() / 60
        expect("its wait", row.wait <= waits <= row.wait * 1.3, True)
    expect("her address", house.address_state(reminder.patient_id), "refused" if row.refused else "confirmed")
    alarms = [line["event"] for line in logged if "mail server" in line["event"]]
    expect("the alarm", len(alarms), 1 if row.circuit == "alarm" else 0)
    # Whether the next message finds the way open, though the server does everything right by now.
    server.forget_script()
    clock.set(next_due)
    if row.way in house.senders:
        await house.senders[row.way].send_due()
        took = [message for message in server.accepted if message.recipient == address(2 * number + 1)]
        expect("the way of the next", "open" if took else "closed", "open" if row.circuit == "open" else "closed")
    clock.set(well)
    await house.senders["plain"].send_due()
    expect("its end", house.row_due(due).state.value, row.ends)
    expect("the copies", sum(message.recipient == email for message in server.accepted), row.copies)
    return found


async def test_every_row_of_the_table_comes_out_as_it_says(database_url: str, tmp_path: Path) -> None:
    clock = FastClock(START, speed=0)
    wall: Callable[[], float] = lambda: clock.now().timestamp()  # noqa: E731
    certificate = make_certificate(tmp_path)
    async with AsyncExitStack() as stack:
        # What an answer means does not depend on how it was asked for: one database by groups of commands, one without.
        groups = database_url.startswith("sqlite")
        server = await stack.enter_async_context(
            SmtpServer(tls=certificate.server, login=LOGIN, now=wall, pipelining=groups)
        )
        house = House(tmp_path, database_url, server, clock)
        await house.open(stack)
        wrong = [difference for number in range(len(ROWS)) for difference in await differences(house, number)]
        assert wrong == []
        assert bool(server.sent_ahead) is groups
        stories = read_stories(house.clinic.store)
        withheld = {story.message_id for story in stories if any(t.outcome == "unknown" for t in story.tries)}
        assert len(withheld) == sum(row.outcome == "unknown" for row in ROWS)
        ledger = [
            Taken(m.message_id, m.recipient, m.sha256, datetime.fromtimestamp(m.wall, UTC)) for m in server.accepted
        ]
        around = Circumstances(clock.now(), in_flight=set(), broken_off=withheld)
        assert breaches(stories, ledger, around) == []
