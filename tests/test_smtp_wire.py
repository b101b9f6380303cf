"""What goes over the wire is what was meant: dots, line ends and addresses, read back by a real server.

How the connection behaves otherwise is in `tests/test_mailer.py`.
"""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.states import AttemptOutcome
from scheduler.mailer import Connection, RelaySettings
from scheduler.smtp_wire import check_address, wire_form
from tests.people import AMINA
from tests.smtp_server import SmtpServer

SENDER = "clinic@example.org"


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    """A server that does everything right."""
    async with SmtpServer() as server:
        yield server


@pytest.fixture
async def connection(server: SmtpServer) -> AsyncIterator[Connection]:
    """An open connection to it."""
    connection = Connection(RelaySettings("127.0.0.1", server.port, security="none"))
    await connection.open()
    yield connection
    await connection.close()


DOTS = [
    b".",
    b"..",
    b".\r\n.",
    b"\r\n.\r\n",
    b"a\r\n.\r\nMAIL FROM:<x@example.org>\r\n",
    b"...three",
    b"a.\r\n.b\r\n..c",
    b"\r\n\r\n.\r\n\r\n",
    b"line\n.\nline\n",
    b"line\r.\rline\r",
    b"mixed\n\r.\r\r\n\n.",
    b"",
    b"no newline at the end",
    b"\x00 and \x7f",
    b"x" * 70_000,
]


@pytest.mark.parametrize("body", DOTS, ids=lambda body: repr(body[:24]))
async def test_what_is_read_after_unstuffing_is_what_was_written(
    server: SmtpServer, connection: Connection, body: bytes
) -> None:
    message = b"Subject: dots\r\n\r\n" + body
    assert await connection.envelope(SENDER, AMINA.email) is None
    assert (await connection.content(message)).outcome is AttemptOutcome.ACCEPTED
    [accepted] = server.accepted
    lines = message.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    expected = b"\r\n".join(lines)
    assert accepted.content == (expected if expected.endswith(b"\r\n") else expected + b"\r\n")
    assert b"\n" not in server.received.replace(b"\r\n", b"")
    assert b"\r" not in server.received.replace(b"\r\n", b"")


async def test_a_message_beyond_ascii_is_refused_before_data(server: SmtpServer, connection: Connection) -> None:
    assert await connection.envelope(SENDER, AMINA.email) is None
    with pytest.raises(ValueError, match="ASCII"):
        await connection.content("Grüße".encode())
    assert "DATA" not in server.verbs()
    with pytest.raises(ValueError, match="ASCII"):
        wire_form(b"\xff")


@pytest.mark.parametrize(
    "address",
    [
        "a@example.org\r\nRSET",
        "a@example.org\nRSET",
        "a\x00@example.org",
        "a@example.org\x7f",
        "a@example.org> SIZE=1",
        "<a@example.org>",
        "a b@example.org",
        '"a b"@example.org',
        "jörg@example.org",
        "a@b@example.org",
        "nobody",
        "@example.org",
        "",
    ],
)
async def test_an_address_that_is_more_than_an_address_never_reaches_the_wire(
    server: SmtpServer, connection: Connection, address: str
) -> None:
    for sender, recipient in ((SENDER, address), (address, AMINA.email)):
        with pytest.raises(ValueError, match="printable ASCII") as refusal:
            await connection.envelope(sender, recipient)
        assert not address or address not in str(refusal.value)
    assert server.verbs() == ["EHLO"]
    assert connection.is_open


@pytest.mark.parametrize(
    "address", ["o'hara+x@example.org", "a.b-c_d=e@sub.example.org", "a!b#c%d@xn--bcher-kva.example"]
)
def test_an_unusual_address_is_still_an_address(address: str) -> None:
    check_address(address)


@given(st.text(alphabet=".\r\na ", max_size=40).map(str.encode))
def test_whatever_the_lines_are_only_the_end_is_a_lone_dot(message: bytes) -> None:
    octets = wire_form(message)
    assert octets.endswith(b"\r\n.\r\n")
    lines = octets.removesuffix(b".\r\n").split(b"\r\n")[:-1]
    assert b"." not in lines
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    read_back = b"\r\n".join(line.removeprefix(b".") for line in lines) + b"\r\n"
    assert wire_form(read_back) == octets
