"""The return path: the envelope's sender, where the mail servers on the way report what they could not deliver.

It carries a token by which a report is known to be about a message of ours; what a report does is in
`scheduler.returned_mail`. The header From stays as it is.
"""

import base64
import hmac
import re
from collections.abc import Iterable, Iterator
from typing import Final

from db.vault import Vault
from scheduler.settings import Settings

_PURPOSE: Final = "return path"
_RANDOM_BYTES: Final = 16  # the random part of a Message-ID, which stands open in the message anyway
_MAC_BYTES: Final = 10  # 80 bits: nobody guesses one, and the whole stays within the 64 signs of a local part
RANDOM_SIGNS: Final = 26  # base32 of 16 bytes, without its padding
_MAC_SIGNS: Final = 16
TOKEN_SIGNS: Final = RANDOM_SIGNS + _MAC_SIGNS
_MESSAGE_ID = re.compile(rf"<([0-9a-f]{{{2 * _RANDOM_BYTES}}})@")
_MOST_TOKENS: Final = 10  # of one received message: each is looked up


def return_path(settings: Settings, vault: Vault, message_id: str, email_version: int) -> str:
    """The envelope's sender for one message to one version of an address.

    Without BOUNCE_ADDRESS the sender's own address, without BOUNCE_TOKENS the plain one.
    """
    plain = return_address(settings)
    found = _MESSAGE_ID.match(message_id)
    if not settings.bounce_tokens or found is None:
        return plain
    local, _, domain = plain.rpartition("@")
    random = _letters(bytes.fromhex(found[1]))
    return f"{local}+{random}{_mac(vault, message_id, email_version)}@{domain}"


def return_address(settings: Settings) -> str:
    """Where undeliverable mail returns, without a token."""
    return settings.bounce_address or settings.sender_address


def read_tokens(settings: Settings, addressed_to: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The tokens in the addresses that a received message went to, each with the Message-ID it speaks of.

    Nothing is believed yet: that is what `is_ours` is for.
    """
    local, _, domain = return_address(settings).lower().rpartition("@")
    pattern = re.compile(
        rf"(?<![a-z0-9._+-]){re.escape(local)}\+([a-z2-7]{{{TOKEN_SIGNS}}})@{re.escape(domain)}(?![a-z0-9.-])"
    )
    seen: dict[str, None] = {}
    for text in addressed_to:
        for found in pattern.finditer(text.lower()):  # mail servers may change the case of a local part
            seen[found[1]] = None
            if len(seen) == _MOST_TOKENS:
                break
    for token in list(seen)[:_MOST_TOKENS]:
        random = base64.b32decode(token[:RANDOM_SIGNS].upper() + "=" * (-RANDOM_SIGNS % 8))
        if _letters(random) != token[:RANDOM_SIGNS]:  # its last sign has bits to spare; only one way of writing is ours
            continue
        yield token, f"<{random.hex()}@{settings.message_domain}>"


def is_ours(vault: Vault, token: str, message_id: str, email_version: int) -> bool:
    """Whether a token was made here, for this message to this version of its patient's address."""
    return hmac.compare_digest(token[RANDOM_SIGNS:], _mac(vault, message_id, email_version))


def _mac(vault: Vault, message_id: str, email_version: int) -> str:
    # By the random part alone: the domain of Message-IDs follows a setting.
    return _letters(vault.token_hash(_PURPOSE, f"{message_id.partition('@')[0]} {email_version}")[:_MAC_BYTES])


def _letters(content: bytes) -> str:
    return base64.b32encode(content).decode("ascii").rstrip("=").lower()
