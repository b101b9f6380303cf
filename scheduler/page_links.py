"""The links in a message: their tokens, and the addresses they make. Whose page a token opens is in `private_pages`.

A token is 128 bits that nobody can work out without the key file: keyed from the message's own random Message-ID, so
that a message written again holds the same links. The database keeps only their hashes.
"""

from datetime import timedelta
from typing import Final, NamedTuple

from db.marks import Links
from db.vault import Vault
from scheduler.settings import Settings

TOKEN_BYTES: Final = 16
PAGE_LIVES: Final = timedelta(days=60)  # from when the message left
FIRST_SIGN: Final = "k"  # so that none is a mere number
LINK_SIGNS: Final = "0123456789jkqwxz"
_UNSPEAKABLE: Final = str.maketrans("0123456789abcdef", LINK_SIGNS)
STOP_LIVES: Final = timedelta(days=400)  # a mail that is found later still has to be stoppable


class Tokens(NamedTuple):
    """The two tokens of one message: to read and answer, and to stop."""

    page: str
    stop: str


def tokens_of(vault: Vault, message_id: str) -> Tokens:
    """The tokens of a message."""
    return Tokens(*(_letters(vault.token_hash(f"link {purpose}", message_id)) for purpose in ("page", "stop")))


def links_of(vault: Vault, message_id: str) -> Links:
    """What is stored of them."""
    tokens = tokens_of(vault, message_id)
    return Links(hash_of(vault, "page", tokens.page), hash_of(vault, "stop", tokens.stop))


def hash_of(vault: Vault, purpose: str, token: str) -> bytes:
    """The stored hash of a token for one purpose: no token serves another."""
    return vault.token_hash(f"opens {purpose}", token)


def page_url(settings: Settings, token: str) -> str:
    """Where her private page is. Only with a public address."""
    return f"{(settings.public_url or '').rstrip('/')}/l/{token}"


def stop_url(settings: Settings, token: str) -> str:
    """Where messages of a topic are stopped. Only with a public address."""
    return f"{(settings.public_url or '').rstrip('/')}/u/{token}"


def _letters(found: bytes) -> str:
    """Hex digits with letters of which no language makes words: chance must not spell one that must not be seen."""
    return FIRST_SIGN + found[:TOKEN_BYTES].hex().translate(_UNSPEAKABLE)
