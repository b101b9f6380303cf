"""The recovery key: a clinic's whole key ring in one file, under a passphrase that people keep elsewhere.

The key file of the running service is `db.vault`'s; a backup names the clinic key it needs (`db.sealed_file`).
"""

import base64
import json
import os
import unicodedata
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from db.vault import KeyFileError, KeyRing

SHORTEST_PASSPHRASE = 16  # characters; the file can be tried against word lists for years
# RFC 9106 §4, the second recommended choice, with four times its memory: it is made and opened a few times a year.
COST = {"memory_kib": 256 * 1024, "passes": 3, "lanes": 4}
_MOST = {"memory_kib": 4 * 1024 * 1024, "passes": 64, "lanes": 64}  # a forged file must not make us work for ever
_ABOUT = b"aftercare recovery key 1"
_WHAT = "Aftercare recovery key: with its passphrase it opens every backup made until now. Keep both, apart."


class PassphraseWrong(KeyFileError):
    """The passphrase does not open this recovery key."""


def seal_ring(ring: KeyRing, passphrase: str, cost: dict[str, int] | None = None) -> str:
    """The text of a recovery key file: AES-256-GCM under Argon2id of the passphrase."""
    used = cost or COST
    salt, nonce = os.urandom(16), os.urandom(12)
    sealed = AESGCM(_stretch(passphrase, salt, used)).encrypt(nonce, ring.to_json().encode(), _ABOUT)
    told = {"salt": salt, "nonce": nonce, "sealed": sealed}
    return json.dumps(
        {
            "what": _WHAT,
            "version": 1,
            "newest_key": ring.wrapping[-1].id,
            "argon2id": used,
            **{name: base64.b64encode(value).decode() for name, value in told.items()},
        },
        indent=2,
    )


def open_ring(text: str, passphrase: str) -> KeyRing:
    """The key ring of a recovery key file. Raises `PassphraseWrong`, or `KeyFileError` when it is not one."""
    try:
        found: dict[str, Any] = json.loads(text)
        cost = {name: int(found["argon2id"][name]) for name in COST}
        salt, nonce, sealed = (base64.b64decode(found[name]) for name in ("salt", "nonce", "sealed"))
        if found["version"] != 1 or any(not 1 <= cost[name] <= most for name, most in _MOST.items()):
            raise ValueError
        key = _stretch(passphrase, salt, cost)
    except (ValueError, KeyError, TypeError):
        raise KeyFileError("this is not a recovery key of Aftercare, or it is damaged") from None
    try:
        return KeyRing.from_json(AESGCM(key).decrypt(nonce, sealed, _ABOUT).decode())
    except InvalidTag:
        raise PassphraseWrong("the passphrase does not open this recovery key") from None


def _stretch(passphrase: str, salt: bytes, cost: dict[str, int]) -> bytes:
    typed = unicodedata.normalize("NFKC", passphrase).encode(errors="replace")
    kdf = Argon2id(salt=salt, length=32, iterations=cost["passes"], lanes=cost["lanes"], memory_cost=cost["memory_kib"])
    return kdf.derive(typed)
