"""The server of the tests itself: its ledger as a process, and commands that were sent ahead, with refusals in between.

Everything else about it is shown by the tests that use it.
"""

import asyncio
import hashlib
import json
from pathlib import Path

from scheduler.mailer import Connection, RelaySettings
from tests.people import AMINA, BEATRIX
from tests.smtp_process import smtp_process
from tests.smtp_script import Act
from tests.smtp_server import SmtpServer, running

MESSAGE = b"Message-ID: <7@example.org>\r\n\r\n.dots\r\n"


def _envelope(recipient: str) -> bytes:
    return b"MAIL FROM:<clinic@example.org>\r\nRCPT TO:<%s>\r\n" % recipient.encode()


async def test_the_ledger_of_the_process_holds_each_message_before_its_250(tmp_path: Path) -> None:
    with smtp_process(tmp_path, "--folder", str(tmp_path / "mails")) as (port, ledger):
        connection = Connection(RelaySettings("127.0.0.1", port, "none"))
        await connection.open()
        for recipient in (AMINA.email, BEATRIX.email):
            assert await connection.envelope("clinic@example.org", recipient) is None
            await connection.content(MESSAGE)
            assert json.loads(ledger.read_text().splitlines()[-1])["recipient"] == recipient
        await connection.close()
    first = json.loads(ledger.read_text().splitlines()[0])
    assert first["message_id"] == "<7@example.org>"
    assert (first["size"], first["sha256"]) == (len(MESSAGE), hashlib.sha256(MESSAGE).hexdigest())
    assert (tmp_path / "mails" / "000001.eml").read_bytes() == MESSAGE


async def test_commands_sent_ahead_are_obeyed_one_after_the_other() -> None:
    async with SmtpServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        envelope = b"MAIL FROM:<clinic@example.org>\r\nRCPT TO:<amina@example.org>\r\n"
        writer.write(b"EHLO [127.0.0.1]\r\n" + envelope + b"DATA\r\n" + MESSAGE.replace(b".dots", b"..dots"))
        writer.write(b".\r\nRCPT TO:<beatrix@example.org>\r\n" + envelope + b"RSET\r\nQUIT\r\n")
        answers = (await reader.read()).decode().splitlines()
        writer.close()
        await writer.wait_closed()
    codes = [line[:3] for line in answers if line[3:4] == " "]
    assert codes == ["220", "250", "250", "250", "354", "250", "503", "250", "250", "250", "221"]
    assert [accepted.content for accepted in server.accepted] == [MESSAGE]


async def test_a_refusal_in_the_middle_of_a_group_is_answered_in_its_place() -> None:
    async with SmtpServer() as server:
        server.next_for(AMINA.email, "rcpt", "550 5.1.1 no such user")
        server.next_for(BEATRIX.email, "content", "451 4.3.0 later")
        server.next_for(BEATRIX.email, "data", Act(delay=0.01))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"EHLO [127.0.0.1]\r\n")
        await reader.readuntil(b"250 PIPELINING\r\n")
        writer.write(_envelope(AMINA.email) + b"DATA\r\nRSET\r\n" + _envelope(BEATRIX.email) + b"DATA\r\n" + MESSAGE)
        writer.write(b".\r\n" + _envelope(BEATRIX.email) + b"DATA\r\n" + MESSAGE + b".\r\nQUIT\r\n")
        answers = (await reader.read()).decode().split("\r\n")[:-1]
        writer.close()
        await writer.wait_closed()
    codes = [line[:3] for line in answers]
    assert codes == ["250", "550", "503", "250", "250", "250", "354", "451", "250", "250", "354", "250", "221"]
    assert [accepted.recipient for accepted in server.accepted] == [BEATRIX.email]
    assert server.sent_ahead > 0


async def test_who_sends_ahead_uninvited_is_cut_off_and_who_waits_is_not() -> None:
    async with SmtpServer(pipelining=False, offers=("SMTPUTF8",)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"EHLO [127.0.0.1]\r\n")
        offered = await reader.readuntil(b"250 SMTPUTF8\r\n")
        writer.write(_envelope(AMINA.email))
        assert b"503 5.5.0 improper" in await reader.read()
        writer.close()
        await writer.wait_closed()
        assert b"PIPELINING" not in offered
        connection = Connection(RelaySettings("127.0.0.1", server.port, "none"))
        await connection.open()
        for recipient in (AMINA.email, BEATRIX.email):
            assert await connection.envelope("clinic@example.org", recipient) is None
            await connection.content(MESSAGE)
        await connection.close()
    assert [accepted.recipient for accepted in server.accepted] == [AMINA.email, BEATRIX.email]
    assert server.sent_ahead == 1


def test_it_serves_tests_that_have_no_loop() -> None:
    async def send(port: int) -> None:
        connection = Connection(RelaySettings("127.0.0.1", port, "none"))
        await connection.open()
        assert await connection.envelope("clinic@example.org", AMINA.email) is None
        await connection.content(MESSAGE)
        await connection.close()

    with running(SmtpServer()) as server:
        asyncio.run(send(server.port))
        assert [accepted.recipient for accepted in server.accepted] == [AMINA.email]
