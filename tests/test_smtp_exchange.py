"""Commands that travel in one go (RFC 2920): each gets its own answer, a no in the middle harms nobody else.

One message at a time is in `tests/test_mailer.py`, which runs against a server that takes groups too.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.states import AttemptOutcome
from scheduler.mailer import Connection, RelaySettings
from scheduler.smtp_outcome import Break, Phase, Reply, Verdict
from scheduler.smtp_pipeline import LINE_LIMIT, REPLY_LIMIT, Pipeline
from tests.certificates import Certificate, make_certificate
from tests.people import AMINA, BEATRIX, CARMEN
from tests.smtp_script import CLOSE, Act, Step
from tests.smtp_server import SmtpServer
from tests.test_mailer import PATIENT, SENDER, SHORT

PEOPLE = (AMINA.email, BEATRIX.email, CARMEN.email)
ACCEPTED, UNKNOWN = AttemptOutcome.ACCEPTED, AttemptOutcome.UNKNOWN


def message(number: int) -> bytes:
    """A message of its own, with lines that begin with dots."""
    return f"Message-ID: <{number}@example.org>\r\nSubject: A message\r\n\r\n.\r\n..two\r\nHello.\r\n".encode()


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    """A server that takes groups and does everything right until it is told otherwise."""
    async with SmtpServer() as server:
        yield server


def to(server: SmtpServer) -> Connection:
    """A connection to that server."""
    return Connection(RelaySettings("127.0.0.1", server.port, security="none"), PATIENT)


async def send_in_a_row(connection: Connection, recipients: Sequence[str] = PEOPLE) -> list[Verdict]:
    """One message to each, the envelope of the next with the end of the one before."""
    verdicts = []
    for number, recipient in enumerate(recipients):
        await connection.ensure_open()
        refusal = await connection.envelope(SENDER, recipient)
        following = recipients[number + 1] if number + 1 < len(recipients) else None
        then = (SENDER, following) if following else None
        verdicts.append(refusal or await connection.content(message(number), None, then))
    await connection.close()
    return verdicts


def arrived(server: SmtpServer) -> list[tuple[str, bytes]]:
    """What the server took, in order."""
    return [(accepted.recipient, accepted.content) for accepted in server.accepted]


async def test_the_next_envelope_travels_with_the_content_before_it(server: SmtpServer) -> None:
    verdicts = await send_in_a_row(to(server))
    assert [verdict.outcome for verdict in verdicts] == [ACCEPTED] * 3
    assert arrived(server) == [(recipient, message(number)) for number, recipient in enumerate(PEOPLE)]
    assert server.connections == 1
    assert server.sent_ahead >= len(PEOPLE)  # MAIL before its answer, each time


async def test_a_server_that_takes_no_groups_gets_one_command_after_the_other() -> None:
    async with SmtpServer(pipelining=False) as server:
        verdicts = await send_in_a_row(to(server))
        assert [verdict.outcome for verdict in verdicts] == [ACCEPTED] * 3
        assert arrived(server) == [(recipient, message(number)) for number, recipient in enumerate(PEOPLE)]
        assert server.sent_ahead == 0


async def test_groups_go_encrypted(tmp_path_factory: pytest.TempPathFactory) -> None:
    certificate: Certificate = make_certificate(tmp_path_factory.mktemp("certificate"))
    for implicit in (False, True):
        async with SmtpServer(tls=certificate.server, implicit_tls=implicit) as server:
            relay = RelaySettings("localhost", server.port, "tls" if implicit else "starttls")
            verdicts = await send_in_a_row(Connection(relay, PATIENT, trust=certificate.trust))
            assert [verdict.outcome for verdict in verdicts] == [ACCEPTED] * 3
            assert all(accepted.encrypted for accepted in server.accepted)
            assert server.sent_ahead >= len(PEOPLE)
            assert PEOPLE[0].encode() not in server.received


@pytest.mark.parametrize(
    ("phase", "no", "outcome"),
    [
        ("mail", "451 4.3.0 later", AttemptOutcome.NOT_SENT),
        ("rcpt", "550 5.1.1 no such user", AttemptOutcome.REFUSED),
        ("rcpt", "450 4.2.0 greylisted", AttemptOutcome.PUT_OFF),
        ("data", "554 5.7.0 no", AttemptOutcome.REJECTED),
        ("content", "552 5.2.2 full", AttemptOutcome.REJECTED),
    ],
)
async def test_a_no_to_the_second_is_its_own(phase: Step, no: str, outcome: AttemptOutcome) -> None:
    async with SmtpServer() as server:
        server.next(phase, Act())
        server.next(phase, no)
        verdicts = await send_in_a_row(to(server))
        assert [verdict.outcome for verdict in verdicts] == [ACCEPTED, outcome, ACCEPTED]
        assert verdicts[1].phase == phase
        assert [recipient for recipient, _ in arrived(server)] == [PEOPLE[0], PEOPLE[2]]
        assert server.connections == 1


@pytest.mark.parametrize("no", ["451 4.3.0 later", "554 5.6.0 no"])
async def test_a_no_to_the_content_leaves_the_envelope_behind_it_as_it_is(server: SmtpServer, no: str) -> None:
    server.next("content", no)
    verdicts = await send_in_a_row(to(server), PEOPLE[:2])
    assert [verdict.outcome for verdict in verdicts][1] is ACCEPTED
    assert [recipient for recipient, _ in arrived(server)] == [PEOPLE[1]]


async def test_an_announced_envelope_that_is_not_wanted_any_more_is_taken_back(server: SmtpServer) -> None:
    connection = to(server)
    await connection.ensure_open()
    assert await connection.envelope(SENDER, PEOPLE[0]) is None
    await connection.content(message(0), None, (SENDER, PEOPLE[1]))
    with pytest.raises(ValueError, match="another envelope was announced"):
        await connection.envelope(SENDER, PEOPLE[2])
    await connection.abandon()
    assert await connection.envelope(SENDER, PEOPLE[2]) is None
    await connection.content(message(2))
    await connection.close()
    assert [recipient for recipient, _ in arrived(server)] == [PEOPLE[0], PEOPLE[2]]
    assert server.verbs() == ["EHLO", "MAIL", "RCPT", "DATA", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA", "QUIT"]


@pytest.mark.parametrize(
    ("act", "first"),
    [(CLOSE, UNKNOWN), (Act(say="421 4.3.0 closing", then="close"), AttemptOutcome.PUT_OFF)],
    ids=["closes", "421"],
)
async def test_a_connection_lost_at_the_first_takes_the_announced_one_along_unsent(
    server: SmtpServer, act: Act, first: AttemptOutcome
) -> None:
    server.next("content", act)
    verdicts = await send_in_a_row(to(server))
    assert [verdict.outcome for verdict in verdicts] == [first, ACCEPTED, ACCEPTED]
    assert [recipient for recipient, _ in arrived(server)] == list(PEOPLE[1:])
    assert server.connections == 2


async def test_an_answer_before_its_question_is_not_taken_for_the_next_one(server: SmtpServer) -> None:
    server.next("data", "354 go ahead\n250 2.0.0 already taken")
    connection = to(server)
    await connection.ensure_open()
    assert await connection.envelope(SENDER, PEOPLE[0]) is None
    verdict = await connection.content(message(0))
    assert (verdict.outcome, verdict.phase) == (AttemptOutcome.NOT_SENT, Phase.DATA)
    assert not connection.is_open
    assert arrived(server) == []


async def test_a_word_too_many_while_nothing_was_asked_costs_the_connection_and_no_message(server: SmtpServer) -> None:
    connection = to(server)
    await send(connection, 0)
    server.next("noop", "250 2.0.0 ok\n250 2.0.0 and another")
    await connection._open_exchange.ask_for_life()
    assert not connection.is_open
    assert (await send(connection, 1)).outcome is ACCEPTED
    assert server.connections == 2
    await connection.close()


async def send(connection: Connection, number: int) -> Verdict:
    """One message with nothing behind it."""
    await connection.ensure_open()
    assert await connection.envelope(SENDER, PEOPLE[number]) is None
    return await connection.content(message(number))


# The pipeline alone: any bytes, in any pieces.


class Wire(asyncio.Transport):
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def pieces_of(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """That data, cut anywhere."""
    cuts = st.lists(st.integers(0, len(data)), max_size=8).map(sorted)
    return cuts.map(lambda at: [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)])


REPLIES = b"250-one\r\n250-two\r\n250 three\r\n550 5.1.1 no\r\n354 go\r\n"


@given(pieces_of(REPLIES))
@settings(max_examples=60)
def test_each_command_gets_its_own_answer_however_the_bytes_are_cut(pieces: list[bytes]) -> None:
    async def talk() -> list[Reply | Break]:
        pipe = Pipeline(Wire())
        answers = pipe.send(b"A\r\nB\r\nC\r\n", 10, 10, 10)
        for piece in pieces:
            pipe.data_received(piece)
        return [await answer for answer in answers]

    assert asyncio.run(talk()) == [Reply(250, "one\ntwo\nthree"), Reply(550, "5.1.1 no"), Reply(354, "go")]


@given(st.binary(max_size=200), st.integers(0, 3))
@settings(max_examples=100)
def test_whatever_a_server_says_ends_in_answers_or_breaks(said: bytes, asked: int) -> None:
    async def talk() -> None:
        pipe = Pipeline(Wire())
        answers = pipe.send(b"X\r\n" * asked, *[10.0] * asked)
        pipe.data_received(said)
        pipe.eof_received()
        assert not pipe.is_usable
        for answer in answers:
            seen = await answer
            assert isinstance(seen, Break) or 0 <= seen.code <= 999
        [late] = pipe.send(b"NOOP\r\n", 10)
        assert isinstance(await late, Break)

    asyncio.run(talk())


@pytest.mark.parametrize(
    "said",
    [
        b"what\r\n",
        b"250-a\r\n251 b\r\n",
        b"250 ok\r\n250 more\r\n",
        b"250 " + b"a" * LINE_LIMIT + b"\r\n",
        b"a" * (LINE_LIMIT + 1),
        b"250-ok\r\n" * (REPLY_LIMIT // 6 + 1),
    ],
    ids=["no code", "two codes", "one too many", "a long line", "a line without end", "a reply without end"],
)
async def test_what_is_no_reply_ends_the_conversation(said: bytes) -> None:
    pipe = Pipeline(Wire())
    [answer] = pipe.send(b"NOOP\r\n", 10)
    pipe.data_received(said)
    assert isinstance(await answer, Reply if said.startswith(b"250 ok") else Break)
    assert not pipe.is_usable


async def test_silence_is_a_timeout_for_the_first_and_the_end_for_the_rest() -> None:
    pipe = Pipeline(Wire())
    first, second = pipe.send(b"A\r\nB\r\n", SHORT.command / 10, 10)
    assert await first is Break.TIMEOUT
    assert await second is Break.CLOSED


async def test_a_reply_that_drips_does_not_move_its_limit_on() -> None:
    pipe = Pipeline(Wire())
    [answer] = pipe.send(b"A\r\n", 0.1)
    for _ in range(100):
        pipe.data_received(b"250-a\r\n")
        await asyncio.sleep(0.01)
        if answer.done():
            break
    assert await answer is Break.TIMEOUT
