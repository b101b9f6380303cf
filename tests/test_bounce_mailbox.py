"""The technical mailbox over IMAP, against a real server: what is taken in, what stays, and whatever may go wrong."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

from db.returned_mail import DeliveryReport, MailboxLetter
from db.turns import find_turn
from scheduler import bounce_mailbox, returned_mail
from scheduler.bounce_mailbox import BounceMailbox, MailboxTrouble
from scheduler.checks import check
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from scheduler.returned_mail import Taken
from scheduler.sender import Sender
from tests import returned_mails as shapes
from tests.certificates import Certificate, make_certificate
from tests.clinic import Desk
from tests.imap_server import LOGIN, Fault, ImapServer
from tests.process import environment, open_folder
from tests.returned_mails import filled
from tests.test_returned_mail import path_of, sent_to_amina

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A good certificate for this machine."""
    return make_certificate(tmp_path_factory.mktemp("imap"))


def reading(desk: Desk, server: ImapServer, security: str = "none", **more: str) -> Desk:
    """The same clinic with this mailbox."""
    return desk.with_settings(
        BOUNCE_ADDRESS="bounces@example.org",
        BOUNCE_TOKENS="on",
        BOUNCE_IMAP_HOST="127.0.0.1",
        BOUNCE_IMAP_PORT=str(server.port),
        BOUNCE_IMAP_USERNAME=LOGIN[0],
        BOUNCE_IMAP_PASSWORD=LOGIN[1],
        BOUNCE_IMAP_SECURITY=security,
        **more,
    )


async def take_in(desk: Desk, certificate: Certificate | None = None) -> dict[Taken, int]:
    """One look; what was there."""
    mailbox = BounceMailbox(desk.clinic, certificate.trust if certificate else None)
    found = await asyncio.to_thread(mailbox.take_in)
    return {kind: count for kind, count in found.items() if count}


def stored(clinic: Clinic) -> tuple[int, int]:
    """How many reports and letters."""
    with clinic.store.read() as session:
        counts = [session.scalar(select(func.count()).select_from(table)) for table in (DeliveryReport, MailboxLetter)]
    return counts[0] or 0, counts[1] or 0


async def test_each_message_is_taken_in_once_and_letters_stay_unread(desk: Desk) -> None:
    async with ImapServer() as server:
        desk = reading(desk, server)
        sent_to_amina(desk)
        server.mails = {
            3: filled(shapes.POSTFIX, to=path_of(desk)),
            5: filled(shapes.VACATION, to=path_of(desk)),
            8: filled(shapes.LETTER),
            13: filled(shapes.POSTFIX),
        }
        found = await take_in(desk)
        assert found == {Taken.REPORT: 1, Taken.AUTOMATIC: 1, Taken.LETTER: 1, Taken.NOT_OURS: 1}
        assert server.seen == {3, 5, 13}
        assert stored(desk.clinic) == (1, 1)
        assert desk.stands("next-session") == "held:address_refused"
        assert (await take_in(desk), server.count("FETCH")) == ({}, 4)  # the letter is not even fetched again
        server.validity = 8  # the mailbox is numbered anew
        server.mails = {1: filled(shapes.LETTER)}
        server.seen.clear()
        assert (await take_in(desk), await take_in(desk)) == ({Taken.LETTER: 1}, {})
        assert (server.seen, stored(desk.clinic)) == (set(), (1, 1))
        assert server.said[-1] == "LOGOUT"


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_the_password_leaves_over_tls_alone(sqlite_desk: Desk, certificate: Certificate, security: str) -> None:
    server = ImapServer(mails={1: filled(shapes.LETTER)})
    setattr(server, security, certificate.server)
    async with server:
        desk = reading(sqlite_desk, server, security)
        assert await take_in(desk, certificate) == {Taken.LETTER: 1}
        assert server.encrypted_login
        server.encrypted_login = None
        with pytest.raises(MailboxTrouble, match=r"could not (connect|STARTTLS)"):
            await take_in(desk)  # a certificate that nobody vouches for
        assert server.encrypted_login is None


async def test_without_starttls_nobody_logs_in(sqlite_desk: Desk) -> None:
    async with ImapServer() as server:
        with pytest.raises(MailboxTrouble, match="could not STARTTLS"):
            await take_in(reading(sqlite_desk, server, "starttls"))
        assert "LOGIN" not in server.said


@pytest.mark.parametrize("password", ["wrong", "pässword"])
async def test_a_refused_login_tells_the_step_and_no_secret(sqlite_desk: Desk, password: str) -> None:
    async with ImapServer() as server:
        desk = reading(sqlite_desk, server)
        desk = desk.with_settings(
            **{
                "BOUNCE_ADDRESS": "bounces@example.org",
                "BOUNCE_IMAP_HOST": "127.0.0.1",
                "BOUNCE_IMAP_PORT": str(server.port),
                "BOUNCE_IMAP_USERNAME": "bounces",
                "BOUNCE_IMAP_PASSWORD": password,
                "BOUNCE_IMAP_SECURITY": "none",
            }
        )
        with pytest.raises(MailboxTrouble, match=r"^could not log in: \w+$"):
            await take_in(desk)


@pytest.mark.sweep(0.4)
@pytest.mark.parametrize("fault", ["close", "half", "garbage", "silent", "drip", "huge", "no"])
async def test_whatever_goes_wrong_ends_in_time_and_the_next_look_goes_on(
    sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(bounce_mailbox, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(bounce_mailbox, "LOOK_SECONDS", 0.4)
    letters = {uid: filled(shapes.LETTER, her=f"her{uid}@example.org") for uid in (1, 2)}
    for verb in ("GREETING", "LOGIN", "SELECT", "SEARCH", "FETCH", "STORE"):
        if (fault, verb) == ("no", "GREETING"):
            continue
        async with ImapServer(mails={**letters, 3: filled(shapes.READING_RECEIPT)}, faults={verb: fault}) as server:
            server.validity = sum(verb.encode())  # each time another mailbox
            desk = reading(sqlite_desk, server)
            began = time.monotonic()
            (told,) = await asyncio.gather(take_in(desk), return_exceptions=True)
            assert time.monotonic() - began < 20
            assert server.faults == {}
            assert isinstance(told, MailboxTrouble), (verb, told)
            await take_in(desk)
            assert (stored(desk.clinic), server.seen) == ((0, 2), {3})


async def test_a_server_that_never_ends_is_cut_off(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounce_mailbox._Bounded, "left", 3_000_000)
    async with ImapServer(faults={"SEARCH": "flood"}) as server:
        with pytest.raises(MailboxTrouble, match="the connection broke: abort"):
            await take_in(reading(sqlite_desk, server))


async def test_a_message_that_cannot_be_stored_stays_unread_and_holds_up_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounce_mailbox, "MOST_AT_ONCE", 1)
    async with ImapServer() as server:
        desk = reading(desk, server)
        server.mails = {uid: filled(shapes.LETTER, her=f"her{uid}@example.org") for uid in (1, 2, 3)}
        broken = filled(shapes.LETTER, her="her1@example.org")
        usual = returned_mail.take

        def take(clinic: Clinic, raw: bytes, *place: int) -> Taken:
            if raw == broken:  # what a database says to a row it cannot store
                with clinic.store.write("test", clinic.clock.now()) as session:
                    session.add(MailboxLetter(fingerprint=b"x", found_at=None))
            return usual(clinic, raw, *place)

        monkeypatch.setattr(bounce_mailbox, "take", take)
        mailbox = BounceMailbox(desk.clinic)
        taken = [(await asyncio.to_thread(mailbox.take_in))[Taken.LETTER] for _ in range(3)]
        assert taken == [0, 1, 1]  # the broken one comes last from then on
        assert stored(desk.clinic) == (0, 2)
        monkeypatch.setattr(bounce_mailbox, "take", usual)
        assert (await asyncio.to_thread(mailbox.take_in))[Taken.LETTER] == 1


async def test_a_large_message_is_read_to_its_limit(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounce_mailbox._Bounded, "left", 600_000)
    async with ImapServer() as server:
        desk = reading(sqlite_desk, server)
        sent_to_amina(desk)
        server.mails = {1: filled(shapes.POSTFIX, to=path_of(desk)) + b"x" * 5_000_000}
        assert await take_in(desk) == {Taken.REPORT: 1}


# the service


async def test_the_check_tells_what_is_wrong_with_the_mailbox(sqlite_desk: Desk) -> None:
    def found(desk: Desk) -> dict[str, str]:
        desk.clinic.settings.keys_file.parent.mkdir(parents=True, exist_ok=True)
        desk.clinic.settings.keys_file.touch(mode=0o600)
        return {each.id: each.severity for each in check(desk.clinic) if each.id.startswith("bounce")}

    async with ImapServer(mails={1: filled(shapes.LETTER)}) as server:
        desk = reading(sqlite_desk, server)
        assert await asyncio.to_thread(found, desk) == {}
        server.faults = {"SELECT": "no"}
        assert await asyncio.to_thread(found, desk) == {"bounce-mailbox": "fail"}
        assert (server.seen, stored(desk.clinic)) == (set(), (0, 0))
    assert found(desk) == {"bounce-mailbox": "fail"}
    shared = sqlite_desk.with_settings(BOUNCE_ADDRESS="Clinic@example.org")
    assert found(shared) == {"bounce-address-shared": "fail", "bounce-tokens-off": "warn"}


async def test_one_look_at_a_time_with_one_alarm_and_longer_and_longer_waits(sqlite_desk: Desk) -> None:
    async with ImapServer(faults={"LOGIN": "close"}, for_ever=True) as server:
        desk = reading(sqlite_desk, server)
        mailbox = BounceMailbox(desk.clinic)
        with capture_logs() as logs:
            await mailbox.look()
            await mailbox.look()
            assert server.count("LOGIN") == 1  # too early for another
            waits = []
            for _ in range(8):
                mailbox._not_before = 0.0
                await mailbox.look()
                waits.append(logs[-1]["seconds"])
            assert waits == [600, 1200, 2400, 3600, 3600, 3600, 3600, 3600]
            assert [entry["log_level"] for entry in logs].count("error") == 1
            server.faults.clear()
            mailbox._not_before = 0.0
            await mailbox.look()
        assert logs[-1]["event"] == "bounce_mailbox_read_again"
        with desk.store.read() as session:
            assert find_turn(session, "bounces") == desk.clock.now()
        before = server.count("LOGIN")
        await mailbox.look()
        assert server.count("LOGIN") == before  # another process has just looked
        desk.tick(minutes=5)
        await mailbox.look()
        assert server.count("LOGIN") == before + 1


async def test_of_several_processes_one_looks(postgres_desk: Desk) -> None:
    async with ImapServer(mails={1: filled(shapes.LETTER)}) as server:
        desk = reading(postgres_desk, server)
        await asyncio.gather(*(BounceMailbox(desk.clinic).look() for _ in range(4)))
        assert (server.count("LOGIN"), stored(desk.clinic)) == (1, (0, 1))


async def test_a_stop_does_not_wait_for_the_mailbox(sqlite_desk: Desk) -> None:
    async with ImapServer(faults={"SEARCH": "silent"}) as server:
        mailbox = BounceMailbox(reading(sqlite_desk, server).clinic)
        look = asyncio.create_task(mailbox.look())
        await server.until("SEARCH")
        mailbox.stop()
        await asyncio.wait_for(look, 5)
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "mailbox")
        await mailbox.look()
        assert server.count("LOGIN") == 1


async def test_the_service_looks_at_its_start_and_ends_without_waiting(tmp_path: Path, sqlite_url: str) -> None:
    async with ImapServer(mails={1: filled(shapes.READING_RECEIPT)}) as server:
        env = environment(
            tmp_path,
            AFTERCARE_DATABASE_URL=sqlite_url,
            AFTERCARE_BOUNCE_ADDRESS="bounces@example.org",
            AFTERCARE_BOUNCE_IMAP_HOST="127.0.0.1",
            AFTERCARE_BOUNCE_IMAP_PORT=str(server.port),
            AFTERCARE_BOUNCE_IMAP_USERNAME=LOGIN[0],
            AFTERCARE_BOUNCE_IMAP_PASSWORD=LOGIN[1],
            AFTERCARE_BOUNCE_IMAP_SECURITY="none",
        )
        (tmp_path / "protocols").mkdir()
        clinic = open_folder(env, START)
        sender = Sender(clinic)
        await sender.start()
        await server.until("STORE")
        await sender.stop()
        assert server.seen == {1}
        assert isinstance(clinic.clock, FastClock)
        clinic.clock.advance(timedelta(minutes=5))
        server.seen.clear()
        await Sender(clinic).send_once()  # where a timer starts `send-due`, it looks too
        assert server.seen == {1}
        clinic.store.engine.dispose()
