"""The connection against a real server that keeps a ledger and misbehaves on demand.

The meaning of each answer alone is in `tests/test_smtp_outcome.py`; opening it, TLS and AUTH are in
`tests/test_mailer_opening.py`.
"""

import asyncio
from collections.abc import AsyncIterator

import aiosmtplib
import pytest

from db.states import AttemptOutcome
from scheduler.mailer import Connection, Limits, RelaySettings
from scheduler.smtp_outcome import Phase, RelayEffect, Verdict
from tests.people import AMINA, BEATRIX
from tests.smtp_script import CLOSE, FLOOD, RESET, SILENT, Act, Step, needs_a_limit
from tests.smtp_server import SmtpServer

SENDER = "clinic@example.org"
MESSAGE = b"Message-ID: <1@example.org>\r\nSubject: A message\r\n\r\nHello.\r\n"
PATIENT = Limits(connect=10, command=10, final_reply=10, quit=10)  # a busy machine is no fault of the server
SHORT = Limits(connect=0.3, command=0.3, final_reply=0.3, quit=0.3)


def limits_for(act: Act | str) -> Limits:
    """Short ones only where nothing else ends the wait."""
    return SHORT if needs_a_limit(act) else PATIENT


NOT_SENT, PUT_OFF = AttemptOutcome.NOT_SENT, AttemptOutcome.PUT_OFF
REFUSED, REJECTED = AttemptOutcome.REFUSED, AttemptOutcome.REJECTED
ACCEPTED, UNKNOWN = AttemptOutcome.ACCEPTED, AttemptOutcome.UNKNOWN


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    """A server that does everything right until it is told otherwise."""
    async with SmtpServer() as server:
        yield server


@pytest.fixture
async def connection(server: SmtpServer) -> AsyncIterator[Connection]:
    """A connection to it with long limits, not open yet."""
    connection = to(server)
    yield connection
    await connection.close()


def to(server: SmtpServer, limits: Limits = PATIENT) -> Connection:
    """A connection to that server."""
    return Connection(RelaySettings("127.0.0.1", server.port, security="none"), limits)


async def send(connection: Connection, message: bytes = MESSAGE, recipient: str = AMINA.email) -> Verdict:
    """One message through all its steps."""
    await connection.ensure_open()
    refusal = await connection.envelope(SENDER, recipient)
    return refusal if refusal is not None else await connection.content(message)


async def test_a_message_arrives_as_it_was_and_the_connection_stays_open(
    server: SmtpServer, connection: Connection
) -> None:
    verdict = await send(connection)
    assert (verdict.outcome, verdict.code, verdict.enhanced) == (ACCEPTED, 250, "2.0.0")
    [accepted] = server.accepted
    assert (accepted.sender, accepted.recipient, accepted.content) == (SENDER, AMINA.email, MESSAGE)
    assert accepted.message_id == "<1@example.org>"
    assert connection.is_open


async def test_a_hundred_messages_go_over_one_connection(server: SmtpServer, connection: Connection) -> None:
    for number in range(100):
        assert (await send(connection, b"Subject: %d\r\n\r\nHello.\r\n" % number)).outcome is ACCEPTED
    assert server.connections == 1
    assert [accepted.content[9:11].strip() for accepted in server.accepted] == [b"%d" % n for n in range(100)]


# What the library alone gets wrong (measured with 5.1): step, what the server does, outcome, phase, still open.
WIRE: dict[str, tuple[Step, Act | str, AttemptOutcome, Phase, bool]] = {
    "drops at DATA, before 354": ("data", CLOSE, NOT_SENT, Phase.DATA, False),
    "resets at DATA, before 354": ("data", RESET, NOT_SENT, Phase.DATA, False),
    "silent at DATA": ("data", SILENT, NOT_SENT, Phase.DATA, False),
    "drops after the dot": ("content", CLOSE, UNKNOWN, Phase.CONTENT, False),
    "resets after the dot": ("content", RESET, UNKNOWN, Phase.CONTENT, False),
    "silent after the dot": ("content", SILENT, UNKNOWN, Phase.CONTENT, False),
    "451 instead of 354": ("data", "451 4.3.0 later", PUT_OFF, Phase.DATA, True),
    "554 instead of 354": ("data", "554 5.5.1 no", REJECTED, Phase.DATA, True),
    "451 after the dot": ("content", "451 4.3.0 later", PUT_OFF, Phase.CONTENT, True),
    "554 after the dot": ("content", "554 5.7.1 spam", REJECTED, Phase.CONTENT, True),
    "550 5.1.1 after the dot": ("content", "550 5.1.1 no such user", REFUSED, Phase.CONTENT, True),
    "421 in reply to DATA": ("data", "421 4.3.2 closing", PUT_OFF, Phase.DATA, False),
    "421 after the dot": ("content", "421 4.3.2 closing", PUT_OFF, Phase.CONTENT, False),
    "421 to MAIL": ("mail", "421 4.4.2 idle", NOT_SENT, Phase.MAIL, False),
    "421 to RCPT": ("rcpt", "421 4.3.2 closing", PUT_OFF, Phase.RCPT, False),
    "251 after the dot": ("content", "251 will forward", ACCEPTED, Phase.CONTENT, True),
    "252 after the dot": ("content", "252 will try", ACCEPTED, Phase.CONTENT, True),
    "two lines after the dot": ("content", "250-2.0.0 well\n250 2.0.0 kept", ACCEPTED, Phase.CONTENT, True),
    "an accepting last word": ("content", Act("250 2.0.0 kept", then="close"), ACCEPTED, Phase.CONTENT, False),
    "garbage after the dot": ("content", "hello?", UNKNOWN, Phase.CONTENT, False),
    "code 999 after the dot": ("content", "999 what", UNKNOWN, Phase.CONTENT, False),
    "bytes that are no text after the dot": ("content", "\udcff\udcfe\udc00", UNKNOWN, Phase.CONTENT, False),
    "354 again after the dot": ("content", "354 go ahead", UNKNOWN, Phase.CONTENT, False),
    "endless lines after the dot": ("content", FLOOD, UNKNOWN, Phase.CONTENT, False),
    "a reply that never ends after the dot": ("content", "250-kept", UNKNOWN, Phase.CONTENT, False),
    "one byte at a time after the dot": ("content", Act("250 " + "x" * 90, drip=0.01), UNKNOWN, Phase.CONTENT, False),
    "drops half way in the content": ("content", Act("", then="close", after_bytes=20), UNKNOWN, Phase.CONTENT, False),
    "451 half way in the content": (
        "content",
        Act("451 4.3.0 enough", then="close", after_bytes=20),
        PUT_OFF,
        Phase.CONTENT,
        False,
    ),
    "garbage to MAIL": ("mail", "hello?", NOT_SENT, Phase.MAIL, False),
    "MAIL refused": ("mail", "550 5.7.1 not your address", NOT_SENT, Phase.MAIL, True),
    "one byte at a time to RCPT": ("rcpt", Act("250 " + "x" * 90, drip=0.01), NOT_SENT, Phase.RCPT, False),
    "endless lines to RCPT": ("rcpt", FLOOD, NOT_SENT, Phase.RCPT, False),
    "RCPT 550 5.1.1, RSET answered": ("rcpt", "550 5.1.1 no such user", REFUSED, Phase.RCPT, True),
    "RCPT 550 5.7.1": ("rcpt", "550 5.7.1 policy", REJECTED, Phase.RCPT, True),
    "RCPT 451": ("rcpt", "451 4.7.1 greylisted", PUT_OFF, Phase.RCPT, True),
    "two answers to one RCPT": ("rcpt", "250 ok\n550 5.1.1 no such user", NOT_SENT, Phase.RCPT, False),
    "an answer sent ahead with 354": ("data", "354 go ahead\n250 kept", NOT_SENT, Phase.DATA, False),
}


@pytest.mark.parametrize(("step", "act", "outcome", "phase", "stays_open"), WIRE.values(), ids=WIRE.keys())
async def test_what_the_server_does_is_told_apart_by_its_phase(
    server: SmtpServer,
    step: Step,
    act: Act | str,
    outcome: AttemptOutcome,
    phase: Phase,
    stays_open: bool,
) -> None:
    connection = to(server, limits_for(act))
    server.next(step, act)
    verdict = await send(connection)
    await asyncio.sleep(0.01)  # an end of stream behind the answer arrives
    assert (verdict.outcome, verdict.phase) == (outcome, phase)
    assert connection.is_open is stays_open
    taken_in_truth = len(server.accepted)
    if outcome is not UNKNOWN:
        assert taken_in_truth == (1 if outcome is ACCEPTED else 0)
    # Whatever happened, the next message goes through and no answer is taken for another.
    assert (await send(connection, recipient=BEATRIX.email)).outcome is ACCEPTED
    assert len(server.accepted) == taken_in_truth + 1
    assert server.accepted[-1].recipient == BEATRIX.email
    await connection.close()


@pytest.mark.parametrize("rset", [SILENT, CLOSE, RESET, "421 closing", "502 what?", "hello?"])
@pytest.mark.parametrize(
    ("step", "answer", "outcome"),
    [("rcpt", "550 5.1.1 no such user", REFUSED), ("data", "451 4.3.0 later", PUT_OFF)],
)
async def test_a_refusal_stands_whatever_rset_does(
    server: SmtpServer, rset: Act | str, step: Step, answer: str, outcome: AttemptOutcome
) -> None:
    server.next(step, answer)
    server.next("rset", rset)
    connection = to(server, limits_for(rset))
    assert (await send(connection)).outcome is outcome
    assert "RSET" in server.verbs()
    assert not connection.is_open


async def test_a_definite_no_after_the_dot_needs_no_rset(server: SmtpServer, connection: Connection) -> None:
    server.next("content", "451 4.3.0 later")
    server.always("rset", SILENT)
    assert (await send(connection)).outcome is PUT_OFF
    assert "RSET" not in server.verbs()


@pytest.mark.parametrize("keeps", [True, False])
async def test_an_answer_lost_after_the_dot_is_unknown_whatever_the_server_did(
    server: SmtpServer, connection: Connection, keeps: bool
) -> None:
    server.next("content", Act("", then="reset", keeps=keeps))
    assert (await send(connection)).outcome is UNKNOWN
    assert len(server.accepted) == keeps


async def test_a_message_that_was_given_up_is_not_written_on_behind_our_back(server: SmtpServer) -> None:
    server.next("content", Act("", delay=0.6, after_bytes=10))  # reads no more until the client has given up
    connection = to(server, Limits(final_reply=0.3))
    verdict = await send(connection, b"\r\n".join([b"x" * 100_000] * 240))
    assert verdict.outcome is UNKNOWN
    assert not connection.is_open
    await server.until(lambda: server.open_connections == 0)
    assert server.accepted == []


async def test_the_final_answer_may_take_longer_than_a_command(server: SmtpServer) -> None:
    server.next("content", Act(delay=0.5))
    connection = to(server, Limits(command=0.3, final_reply=10))
    assert (await send(connection)).outcome is ACCEPTED
    await connection.close()


@pytest.mark.parametrize("act", [SILENT, CLOSE, RESET, "421 no", "hello?", FLOOD])
async def test_quit_cannot_take_an_accepted_message_back(server: SmtpServer, act: Act | str) -> None:
    server.next("quit", act)
    connection = to(server, limits_for(act))
    assert (await send(connection)).outcome is ACCEPTED
    await asyncio.wait_for(connection.close(), 5)
    assert not connection.is_open
    assert server.verbs()[-1] == "QUIT"
    await connection.close()


async def test_an_abandoned_envelope_leaves_the_connection_for_the_next_message(
    server: SmtpServer, connection: Connection
) -> None:
    await connection.ensure_open()
    assert await connection.envelope(SENDER, AMINA.email) is None
    await connection.abandon()
    assert (await send(connection, recipient=BEATRIX.email)).outcome is ACCEPTED
    assert [accepted.recipient for accepted in server.accepted] == [BEATRIX.email]
    assert server.connections == 1


async def test_greylisting_puts_off_until_it_lets_through() -> None:
    async with SmtpServer(greylist=2) as server:
        connection = to(server)
        outcomes = [(await send(connection)).outcome for _ in range(3)]
        await connection.close()
    assert outcomes == [PUT_OFF, PUT_OFF, ACCEPTED]


async def test_a_last_look_that_says_no_leaves_nothing_on_the_wire(server: SmtpServer, connection: Connection) -> None:
    await connection.ensure_open()
    assert await connection.envelope(SENDER, AMINA.email) is None
    verdict = await connection.content(MESSAGE, on_354=lambda: False)
    assert (verdict.outcome, verdict.phase, verdict.relay) == (NOT_SENT, Phase.DATA, RelayEffect.RECONNECT)
    await asyncio.sleep(0.02)
    assert b"Hello." not in server.received
    assert server.accepted == []
    assert not connection.is_open


async def test_a_last_look_that_fails_leaves_nothing_on_the_wire(server: SmtpServer, connection: Connection) -> None:
    def look() -> bool:
        raise RuntimeError("the heartbeat is old")

    await connection.ensure_open()
    assert await connection.envelope(SENDER, AMINA.email) is None
    with pytest.raises(RuntimeError, match="heartbeat"):
        await connection.content(MESSAGE, on_354=look)
    await asyncio.sleep(0.02)
    assert b"Hello." not in server.received
    assert not connection.is_open


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "content"])
async def test_a_cancelled_send_goes_through_and_drops_the_connection(server: SmtpServer, step: Step) -> None:
    server.next(step, SILENT)
    connection = to(server, Limits())
    sending = asyncio.create_task(send(connection))
    await server.until(lambda: {"content": "DATA"}.get(step, step.upper()) in server.verbs())
    await asyncio.sleep(0.02)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not connection.is_open
    assert (await send(connection)).outcome is ACCEPTED
    await connection.close()


async def test_a_connection_that_died_while_idle_costs_no_attempt(server: SmtpServer) -> None:
    connection = to(server, Limits(command=0.3, idle=0.0))
    assert (await send(connection)).outcome is ACCEPTED
    for way_to_die in (CLOSE, SILENT, RESET, Act("421 4.4.2 idle"), Act("hello?")):
        server.next("noop", way_to_die)
        before = server.connections
        assert (await send(connection)).outcome is ACCEPTED
        assert server.connections == before + 1
    assert (await send(connection)).outcome is ACCEPTED
    assert server.verbs()[-4:] == ["NOOP", "MAIL", "RCPT", "DATA"]
    await connection.close()


async def test_a_fresh_connection_is_not_asked_whether_it_lives(server: SmtpServer, connection: Connection) -> None:
    await send(connection)
    await send(connection)
    assert "NOOP" not in server.verbs()
    assert 0 <= connection.idle_seconds < 1


async def test_a_relay_that_goes_away_and_comes_back_is_found_again(server: SmtpServer, connection: Connection) -> None:
    await send(connection)
    await server.stop()
    await server.start(server.port)
    assert (await send(connection)).outcome is ACCEPTED


async def test_only_these_private_parts_of_the_library_are_used(server: SmtpServer) -> None:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=server.port, start_tls=False, local_hostname="localhost")
    server.next("ehlo", "250 mail.example.org\n250 too much")
    await client.connect()
    assert client.protocol is not None
    await client.ehlo()
    assert bytes(client.protocol._buffer) == b"250 too much\r\n"
    assert client.transport is client.protocol.transport
    client.close()
    await asyncio.sleep(0)
