"""Opening the connection against a real server: never a password or an envelope in clear, and every trouble named.

What happens to messages on an open connection is in `tests/test_mailer.py`.
"""

import asyncio
import base64
import ssl
from pathlib import Path

import pytest

from db.states import AttemptOutcome
from scheduler.mailer import Connection, Limits, RelaySettings, RelayTrouble, Security, is_loopback
from scheduler.smtp_outcome import Phase, RelayEffect, Verdict
from tests.certificates import Certificate, Flaw, make_certificate
from tests.people import AMINA
from tests.smtp_script import CLOSE, FLOOD, RESET, SILENT, Act, Step, needs_a_limit
from tests.smtp_server import SmtpServer

SENDER = "clinic@example.org"
MESSAGE = b"Subject: A message\r\n\r\nHello.\r\n"
LOGIN = ("clinic", "a long password")
PATIENT = Limits(connect=10, command=10, final_reply=10, quit=10)  # a busy machine is no fault of the server
SHORT = Limits(connect=0.3, command=0.3, final_reply=0.3, quit=0.3)


def limits_for(act: Act | str) -> Limits:
    """Short ones only where nothing else ends the wait."""
    return SHORT if needs_a_limit(act) else PATIENT


BACK_OFF, ALARM = RelayEffect.BACK_OFF, RelayEffect.ALARM


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate that is right in every respect."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def to(
    server: SmtpServer,
    security: Security,
    trust: ssl.SSLContext | None = None,
    login: tuple[str, str] | None = None,
    limits: Limits = PATIENT,
) -> Connection:
    """A connection to that server."""
    username, password = login or (None, None)
    return Connection(RelaySettings("127.0.0.1", server.port, security, username, password), limits, trust=trust)


async def trouble(connection: Connection) -> Verdict:
    """The verdict of an opening that fails; the connection is closed then, and nothing was sent."""
    with pytest.raises(RelayTrouble) as caught:
        await connection.open()
    verdict = caught.value.verdict
    assert not connection.is_open
    assert verdict.outcome is AttemptOutcome.NOT_SENT
    assert not verdict.blames_address
    await asyncio.sleep(0.01)
    return verdict


def wrote_nothing_secret(server: SmtpServer) -> bool:
    """Whether no login and no envelope came over the wire in clear."""
    return not any(word in bytes(server.received).upper() for word in (b"AUTH", b"MAIL", b"RCPT"))


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("ways", ["PLAIN LOGIN", "LOGIN", "LOGIN PLAIN CRAM-MD5"])
async def test_a_message_goes_encrypted_and_logged_in(certificate: Certificate, security: Security, ways: str) -> None:
    async with SmtpServer(tls=certificate.server, implicit_tls=security == "tls", login=LOGIN, ways=ways) as server:
        connection = to(server, security, certificate.trust, LOGIN)
        await connection.open()
        assert await connection.envelope(SENDER, AMINA.email) is None
        assert (await connection.content(MESSAGE)).outcome is AttemptOutcome.ACCEPTED
        await connection.close()
    [accepted] = server.accepted
    assert accepted.encrypted
    assert accepted.content == MESSAGE
    assert wrote_nothing_secret(server)
    assert server.verbs().count("AUTH") == 1


async def test_starttls_stripped_leaves_no_byte_of_login_or_envelope_on_the_wire(certificate: Certificate) -> None:
    async with SmtpServer(tls=certificate.server, offer_starttls=False, login=LOGIN) as server:
        verdict = await trouble(to(server, "starttls", certificate.trust, LOGIN))
    assert (verdict.phase, verdict.relay) == (Phase.STARTTLS, ALARM)
    assert wrote_nothing_secret(server)
    assert server.verbs() == ["EHLO"]


@pytest.mark.parametrize(
    ("act", "relay"),
    [
        ("454 4.7.0 not now", ALARM),
        ("502 5.5.1 unknown", ALARM),
        ("421 4.3.2 closing", BACK_OFF),
        ("hello?", BACK_OFF),
        (SILENT, BACK_OFF),
        (CLOSE, BACK_OFF),
        (Act("220 go ahead", then="close"), BACK_OFF),
        (FLOOD, BACK_OFF),
    ],
)
async def test_starttls_refused_or_broken_goes_no_further(
    certificate: Certificate, act: Act | str, relay: RelayEffect
) -> None:
    async with SmtpServer(tls=certificate.server, login=LOGIN) as server:
        server.next("starttls", act)
        verdict = await trouble(to(server, "starttls", certificate.trust, LOGIN, limits_for(act)))
    assert (verdict.phase, verdict.relay) == (Phase.STARTTLS, relay)
    assert wrote_nothing_secret(server)


async def test_answers_put_in_before_the_encryption_are_not_believed(certificate: Certificate) -> None:
    async with SmtpServer(tls=certificate.server, login=LOGIN) as server:
        server.next("starttls", "220 go ahead\n250-mail.example.org\n250 AUTH PLAIN X-INJECTED")
        connection = to(server, "starttls", certificate.trust, LOGIN)
        await connection.open()
        assert await connection.envelope(SENDER, AMINA.email) is None
        assert (await connection.content(MESSAGE)).outcome is AttemptOutcome.ACCEPTED
        await connection.close()
    assert server.accepted[0].encrypted
    assert server.verbs()[:3] == ["EHLO", "STARTTLS", "EHLO"]
    assert wrote_nothing_secret(server)


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("flaw", ["wrong name", "expired", "not yet valid", "self-signed", "unknown authority"])
async def test_a_certificate_that_is_wrong_or_not_trusted_ends_it(
    tmp_path: Path, security: Security, flaw: Flaw
) -> None:
    certificate = make_certificate(tmp_path, flaw)
    async with SmtpServer(tls=certificate.server, implicit_tls=security == "tls", login=LOGIN) as server:
        verdict = await trouble(to(server, security, certificate.trust, LOGIN))
    assert verdict.relay is ALARM
    assert verdict.phase is (Phase.CONNECT if security == "tls" else Phase.STARTTLS)
    assert wrote_nothing_secret(server)
    assert "AUTH" not in server.verbs()


async def test_a_server_without_encryption_where_it_was_expected_ends_it() -> None:
    async with SmtpServer(login=LOGIN) as server:
        assert (await trouble(to(server, "tls", login=LOGIN))).relay is ALARM
        server.next("greeting", SILENT)
        silent = await trouble(to(server, "tls", login=LOGIN, limits=SHORT))
    assert (silent.phase, silent.relay) == (Phase.CONNECT, BACK_OFF)
    assert wrote_nothing_secret(server)


# AUTH: what is answered, effect, how many tries
AUTH: list[tuple[Act | str, RelayEffect, int]] = [
    ("535 5.7.8 wrong", ALARM, 1),
    ("534 5.7.9 too weak", ALARM, 1),
    ("530 5.7.0 not yet", ALARM, 1),
    ("504 5.5.4 not that way", ALARM, 2),
    ("454 4.7.0 later", BACK_OFF, 1),
    ("421 4.7.0 too many", BACK_OFF, 1),
    ("334 what", BACK_OFF, 1),
    ("hello?", BACK_OFF, 1),
    (SILENT, BACK_OFF, 1),
    (CLOSE, BACK_OFF, 1),
    (RESET, BACK_OFF, 1),
]


@pytest.mark.parametrize(("act", "relay", "tries"), AUTH)
async def test_a_login_that_fails_is_tried_once_and_closes(
    certificate: Certificate, act: Act | str, relay: RelayEffect, tries: int
) -> None:
    async with SmtpServer(tls=certificate.server, login=LOGIN) as server:
        server.always("auth", act)
        verdict = await trouble(to(server, "starttls", certificate.trust, LOGIN, limits_for(act)))
    assert (verdict.phase, verdict.relay) == (Phase.AUTH, relay)
    assert server.verbs().count("AUTH") == tries
    assert "MAIL" not in server.verbs()


async def test_a_wrong_password_is_said_once(certificate: Certificate) -> None:
    async with SmtpServer(tls=certificate.server, login=LOGIN, ways="PLAIN LOGIN CRAM-MD5") as server:
        verdict = await trouble(to(server, "starttls", certificate.trust, ("clinic", "a wrong one")))
    assert (verdict.code, verdict.enhanced, verdict.relay) == (535, "5.7.8", ALARM)
    assert server.verbs().count("AUTH") == 1


async def test_a_second_way_is_tried_where_the_first_is_not_known(certificate: Certificate) -> None:
    async with SmtpServer(tls=certificate.server, login=LOGIN) as server:
        server.next("auth", "504 5.5.4 not that way")
        connection = to(server, "starttls", certificate.trust, LOGIN)
        await connection.open()
        await connection.close()
    ways = [line.split()[1] for _, line in server.commands if line.startswith("AUTH")]
    assert ways == ["PLAIN", "LOGIN"]


@pytest.mark.parametrize("ways", ["", "GSSAPI"])
async def test_a_server_that_knows_no_login_of_ours_is_an_alarm(certificate: Certificate, ways: str) -> None:
    async with SmtpServer(tls=certificate.server, login=LOGIN, ways=ways) as server:
        verdict = await trouble(to(server, "starttls", certificate.trust, LOGIN))
    assert (verdict.phase, verdict.relay) == (Phase.AUTH, ALARM)
    assert "AUTH" not in server.verbs()


@pytest.mark.parametrize(
    ("step", "act"),
    [
        ("greeting", "421 4.3.2 busy"),
        ("greeting", "450 4.3.2 busy"),
        ("greeting", "554 5.7.1 no"),
        ("greeting", "hello?"),
        ("greeting", SILENT),
        ("greeting", CLOSE),
        ("greeting", RESET),
        ("greeting", FLOOD),
        ("greeting", Act("220 " + "x" * 90, drip=0.01)),
        ("greeting", "220 one\n220 two"),
        ("ehlo", "550 5.7.1 who are you"),
        ("ehlo", "421 4.3.2 busy"),
        ("ehlo", "hello?"),
        ("ehlo", SILENT),
        ("ehlo", CLOSE),
        ("ehlo", FLOOD),
        ("ehlo", "250 mail.example.org\n250 twice"),
    ],
)
async def test_a_server_in_trouble_at_the_door_is_left_alone_for_a_while(step: Step, act: Act | str) -> None:
    async with SmtpServer() as server:
        server.next(step, act)
        verdict = await asyncio.wait_for(trouble(to(server, "none", limits=limits_for(act))), 12)
        assert (verdict.phase, verdict.relay) == (Phase(step), BACK_OFF)
        await server.until(lambda: server.open_connections == 0)


async def test_nobody_listening_and_no_such_name_are_trouble_with_the_relay() -> None:
    async with SmtpServer() as server:
        port = server.port
    refused = await trouble(Connection(RelaySettings("127.0.0.1", port, "none"), PATIENT))
    nameless = await trouble(Connection(RelaySettings("x" * 64 + ".example.org", port), PATIENT))
    for verdict in (refused, nameless):
        assert (verdict.phase, verdict.relay, verdict.code) == (Phase.CONNECT, BACK_OFF, None)


async def test_an_old_server_that_knows_only_helo_is_spoken_to_in_helo() -> None:
    async with SmtpServer() as server:
        server.next("ehlo", "502 5.5.1 what?")
        connection = to(server, "none")
        await connection.open()
        assert await connection.envelope(SENDER, AMINA.email) is None
        assert (await connection.content(MESSAGE)).outcome is AttemptOutcome.ACCEPTED
        await connection.close()
    assert server.verbs()[:3] == ["EHLO", "HELO", "MAIL"]


async def test_an_old_server_cannot_talk_us_out_of_encryption(certificate: Certificate) -> None:
    async with SmtpServer(tls=certificate.server, login=LOGIN) as server:
        server.next("ehlo", "502 5.5.1 what?")
        verdict = await trouble(to(server, "starttls", certificate.trust, LOGIN))
    assert (verdict.phase, verdict.relay) == (Phase.STARTTLS, ALARM)
    assert wrote_nothing_secret(server)


async def test_we_give_the_name_that_was_set_and_else_none_of_this_machine() -> None:
    async with SmtpServer() as server:
        for name in (None, "mail.clinic.example.org"):
            connection = Connection(RelaySettings("127.0.0.1", server.port, "none", helo_name=name), PATIENT)
            await connection.open()
            await connection.close()
    said = [line for _, line in server.commands if line.startswith("EHLO")]
    assert said == ["EHLO [127.0.0.1]", "EHLO mail.clinic.example.org"]


async def test_an_opening_that_is_cancelled_leaves_no_connection() -> None:
    async with SmtpServer() as server:
        server.next("ehlo", SILENT)
        connection = Connection(RelaySettings("127.0.0.1", server.port, "none"))
        opening = asyncio.create_task(connection.open())
        await server.until(lambda: "EHLO" in server.verbs())
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert not connection.is_open
        await server.until(lambda: server.open_connections == 0)


@pytest.mark.parametrize("host", ["mail.example.org", "192.0.2.1", "localhost.example.org", "2001:db8::1"])
def test_unencrypted_mail_to_another_machine_is_refused_before_anything_is_opened(host: str) -> None:
    with pytest.raises(ValueError, match="unencrypted"):
        RelaySettings(host, 25, "none")
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1"])
def test_this_machine_is_known_by_all_its_names(host: str) -> None:
    assert RelaySettings(host, 25, "none").host == host


async def test_neither_password_nor_the_servers_words_are_in_what_is_printed(certificate: Certificate) -> None:
    settings = RelaySettings("mail.example.org", 587, "starttls", *LOGIN)
    assert LOGIN[1] not in repr(settings)
    async with SmtpServer(tls=certificate.server, login=LOGIN) as server:
        server.next("auth", f"535 5.7.8 {AMINA.email} {base64.b64encode(LOGIN[1].encode()).decode()}")
        with pytest.raises(RelayTrouble) as caught:
            await to(server, "starttls", certificate.trust, LOGIN).open()
    assert str(caught.value) == "the mail server cannot be used: auth, 535"
    assert AMINA.email not in repr(caught.value.verdict)
    assert caught.value.__suppress_context__
