"""The envelope's sender: a token per message and address that says nothing, and that nobody else can make."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.vault import KeyRing, Vault
from scheduler.errors import InvalidSettings
from scheduler.mime import make_message_id
from scheduler.return_path import RANDOM_SIGNS, TOKEN_SIGNS, is_ours, read_tokens, return_path
from scheduler.sender import Sender
from scheduler.settings import Settings, load_settings
from tests.process import environment, fill, open_folder
from tests.smtp_server import SmtpServer

BOUNCES = {"AFTERCARE_BOUNCE_ADDRESS": "bounces@example.org", "AFTERCARE_BOUNCE_TOKENS": "on"}
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
VAULT = Vault(KeyRing.make())


def settings(**more: str) -> Settings:
    """Settings with a mailbox that takes tokens."""
    return load_settings({**BOUNCES, **{f"AFTERCARE_{name}": value for name, value in more.items()}})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"BOUNCE_TOKENS": "on"}, "BOUNCE_ADDRESS is not set: expected with AFTERCARE_BOUNCE_TOKENS"),
        ({"BOUNCE_ADDRESS": "no address"}, "BOUNCE_ADDRESS is 'no address': expected an e-mail address"),
        (
            {"BOUNCE_ADDRESS": f"{'b' * 22}@example.org", "BOUNCE_TOKENS": "on"},
            "expected at most 21 signs before the @",
        ),
        ({"BOUNCE_TOKENS": "maybe"}, "BOUNCE_TOKENS is 'maybe': expected on or off"),
        (
            {"BOUNCE_IMAP_HOST": "mail.example.org"},
            "BOUNCE_ADDRESS is not set: expected with AFTERCARE_BOUNCE_IMAP_HOST",
        ),
        ({"BOUNCE_IMAP_HOST": "mail.example.org"}, "BOUNCE_IMAP_USERNAME is not set"),
        ({"BOUNCE_IMAP_HOST": "mail.example.org"}, "BOUNCE_IMAP_PASSWORD is not set"),
        (
            {"BOUNCE_IMAP_HOST": "mail.example.org", "BOUNCE_IMAP_SECURITY": "none"},
            "BOUNCE_IMAP_SECURITY is 'none': expected tls or starttls",
        ),
        ({"BOUNCE_IMAP_FOLDER": "In\r\nbox"}, "BOUNCE_IMAP_FOLDER"),
    ],
)
def test_what_does_not_go_together_is_told(values: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load_settings({f"AFTERCARE_{name}": value for name, value in values.items()})
    assert told in "\n".join(refused.value.problems)


def test_without_a_mailbox_the_sender_stands_in_the_envelope() -> None:
    message_id = make_message_id("example.org")
    assert return_path(load_settings({}), VAULT, message_id, 1) == "clinic@example.org"
    plain = load_settings({"AFTERCARE_BOUNCE_ADDRESS": "bounces@example.org"})
    assert return_path(plain, VAULT, message_id, 1) == "bounces@example.org"


@given(st.binary(min_size=16, max_size=16), st.integers(1, 10_000))
def test_a_token_leads_back_to_its_message_and_to_that_version_of_the_address_alone(
    random: bytes, version: int
) -> None:
    message_id = f"<{random.hex()}@example.org>"
    path = return_path(settings(), VAULT, message_id, version)
    local, _, domain = path.partition("@")
    assert (domain, len(local) <= 64, path.isascii()) == ("example.org", True, True)
    for shown in (path, path.upper(), f"Bounces <{path}>", f"<{path}>, other@example.org"):
        ((token, found),) = read_tokens(settings(), [shown])
        assert found == message_id
        assert is_ours(VAULT, token, found, version)
        assert not is_ours(VAULT, token, found, version + 1)
        assert not is_ours(Vault(KeyRing.make()), token, found, version)


def test_a_changed_sign_anywhere_makes_it_another_message_or_none_of_ours() -> None:
    message_id = make_message_id("example.org")
    path = return_path(settings(), VAULT, message_id, 1)
    start = path.index("+") + 1
    for place in range(TOKEN_SIGNS):
        sign = "a" if path[start + place] != "a" else "b"
        changed = path[: start + place] + sign + path[start + place + 1 :]
        for token, found in read_tokens(settings(), [changed]):
            assert found != message_id or not is_ours(VAULT, token, found, 1)


def test_what_only_looks_like_a_token_is_none() -> None:
    path = return_path(settings(), VAULT, make_message_id("example.org"), 1)
    for text in (f"x{path}", f"{path}.evil.example", path.replace("+", "-"), path.replace("@", "a@"), "bounces+@", ""):
        assert list(read_tokens(settings(), [text])) == []
    many = [f"bounces+{sign * TOKEN_SIGNS}@example.org" for sign in "aeimquy"]
    many += [f"bounces+{'a' * RANDOM_SIGNS}{sign * (TOKEN_SIGNS - RANDOM_SIGNS)}@example.org" for sign in "bcdefgh"]
    assert len(list(read_tokens(settings(), many * 100))) == 10


async def test_the_envelope_carries_the_token_and_the_message_does_not(tmp_path: Path, sqlite_url: str) -> None:
    async with SmtpServer() as server:
        env = environment(tmp_path, server.port, AFTERCARE_DATABASE_URL=sqlite_url, **BOUNCES)
        fill(env, NOW - timedelta(seconds=30), 1).store.engine.dispose()
        clinic = open_folder(env, NOW)
        await Sender(clinic).send_once()
        (mail,) = server.accepted
        ((token, message_id),) = read_tokens(clinic.settings, [mail.sender])
        assert mail.message_id == message_id
        assert is_ours(clinic.store.vault, token, message_id, 1)
        assert b"post@example.org" in mail.content
        assert b"bounces" not in mail.content
        clinic.store.engine.dispose()
