"""Passwords and PINs: what is accepted, and how they are kept: Argon2id over a keyed hash, so that a stolen table alone
can never be tried against word lists (the key is in the key file).
"""

import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Final

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from db.vault import normal

SHORTEST_PASSWORD: Final = 12  # ASVS 5.0 §6.2.1 asks for 8 and advises 15; twelve with the second factor
LONGEST_PASSWORD: Final = 200
PIN_DIGITS: Final = range(4, 9)  # opens only a locked session of a known browser, five tries (`front_door`)

# OWASP password storage: Argon2id with 19 MiB, 2 passes, 1 lane. More memory would be felt on a small machine.
_HASHER: Final = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1),))

# What people choose when a length is asked for; what is left of a password without these words and all digits and
# signs has to be something.
_KNOWN_WORDS: Final = (
    "password passwort passwords mypassword thepassword letmeinplease letmein qwertyuiop qwerty qwertz asdfghjkl "
    "administrator admin adminadmin welcome welcometo iloveyou football baseball superman sunshine princess dragon "
    "monkey trustno changeme changemenow default secret topsecret abcdefghijkl abcdefgh abcabcabcabc passphrase "
    "correcthorsebatterystaple clinic theclinic myclinic doctor nurse reception aftercare hospital december november"
)
_KNOWN: Final = tuple(_KNOWN_WORDS.split())


def password_problem(password: str, login: str, name: str) -> str | None:
    """Why a password is not accepted, in words; None when it is."""
    if len(password) < SHORTEST_PASSWORD:
        return f"password: is shorter than {SHORTEST_PASSWORD} characters; four words in a row make a good one"
    if len(password) > LONGEST_PASSWORD:
        return f"password: is longer than {LONGEST_PASSWORD} characters"
    plain = normal(password)
    own = [part for part in re.split(r"\W+", normal(f"{name} {login}")) if len(part) >= 3]
    letters = "".join(letter for letter in plain if letter.isalpha())
    if letters and not _without(own, letters):
        return "password: is made of your own name; choose another"
    if len(set(plain)) < 5 or not _without([*_KNOWN, *own], letters):
        return "password: is among the first that are guessed; choose another"
    return None


def _without(words: Iterable[str], letters: str) -> str:
    for word in sorted(words, key=len, reverse=True):  # a short one must not break a longer one apart
        letters = letters.replace(word, "")
    return letters


def pin_problem(pin: str) -> str | None:
    """Why a PIN is not accepted, in words; None when it is."""
    if not (pin.isascii() and pin.isdigit()) or len(pin) not in PIN_DIGITS:
        return f"pin: write {PIN_DIGITS[0]} to {PIN_DIGITS[-1]} digits"
    steps = {int(after) - int(before) for before, after in pairwise(pin)}
    if len(set(pin)) < 3 or steps in ({1}, {-1}):
        return "pin: is among the first that are guessed; choose another"
    return None


def keep(secret: str, key: bytes) -> str:
    """What is stored of a password or PIN."""
    return _HASHER.hash(_keyed(secret, key))


def matches(secret: str, stored: str | None, key: bytes) -> bool:
    """Whether it is the one stored. Takes as long when nothing is stored, so that nobody learns who has an account."""
    right = _HASHER.verify(_keyed(secret, key), stored or _nobodys())
    return right and stored is not None


def _keyed(secret: str, key: bytes) -> str:
    """The same letters however a keyboard composes them (NIST SP 800-63B §3.1.1.2), bound to the key file."""
    typed = unicodedata.normalize("NFKC", secret).encode(errors="replace")
    return hmac.new(key, b"password|" + typed, hashlib.sha256).hexdigest()


@lru_cache(maxsize=1)
def _nobodys() -> str:
    return _HASHER.hash(secrets.token_hex(16))
