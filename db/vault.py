"""Keys and sealing: the key file, a data key per patient, AES-256-GCM, and the keyed indexes for searching.

Which columns are sealed is written in the models (`db.sealed`); the key file's making and rotation is here.
"""

import base64
import hashlib
import hmac
import json
import os
import stat
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT = 1  # first byte of every sealed value; a new layout takes a new number
KEY_ID_BYTES = 4
NONCE_BYTES = 12  # NIST SP 800-38D §8.2.2: random 96-bit nonces, well under 2^32 values a key
BLIND_BYTES = 16
PREFIX_BYTES = 8  # cut, so that a hash stands for several prefixes and reveals less
PREFIX_LETTERS = range(2, 11)
CACHED_DATA_KEYS = 20_000  # about 3 MB; a clinic's active patients


class VaultError(Exception):
    """A key is missing or a sealed value does not belong where it was found."""


class KeyFileError(VaultError):
    """The key file is missing, readable by others, or not one of ours."""


class Erased(VaultError):
    """The patient's data key was destroyed; what it sealed cannot be read by anyone."""


@dataclass(frozen=True, slots=True)
class ClinicKey:
    """One clinic key: it wraps patients' data keys and nothing else."""

    id: str  # 8 hex digits
    secret: bytes = field(repr=False)

    @classmethod
    def make(cls) -> "ClinicKey":
        """A fresh random one."""
        return cls(os.urandom(KEY_ID_BYTES).hex(), os.urandom(32))


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All keys of the clinic, one per purpose, so that no value serves two."""

    wrapping: tuple[ClinicKey, ...]  # the last one wraps; all of them unwrap
    blind: bytes = field(repr=False)
    prefix: bytes = field(repr=False)
    audit: bytes = field(repr=False)
    tokens: bytes = field(repr=False)

    @classmethod
    def make(cls) -> "KeyRing":
        """A fresh ring of random 256-bit keys."""
        return cls(
            wrapping=(ClinicKey.make(),),
            blind=os.urandom(32),
            prefix=os.urandom(32),
            audit=os.urandom(32),
            tokens=os.urandom(32),
        )

    def to_json(self) -> str:
        """The key file's text."""

        def text(secret: bytes) -> str:
            return base64.b64encode(secret).decode()

        return json.dumps(
            {
                "what": "Aftercare keys: without this file the record cannot be read. Keep a copy elsewhere.",
                "version": 1,
                "wrapping": [{"id": key.id, "secret": text(key.secret)} for key in self.wrapping],
                **{name: text(getattr(self, name)) for name in ("blind", "prefix", "audit", "tokens")},
            },
            indent=2,
        )

    @classmethod
    def from_json(cls, text: str) -> "KeyRing":
        """Read a key file's text. Raises `KeyFileError` when it is not one."""
        try:
            found = json.loads(text)
            if found["version"] != 1:
                raise KeyFileError("the key file is of a newer version; update Aftercare")
            secrets = {name: base64.b64decode(found[name]) for name in ("blind", "prefix", "audit", "tokens")}
            wrapping = tuple(ClinicKey(key["id"], base64.b64decode(key["secret"])) for key in found["wrapping"])
            ids = [bytes.fromhex(key.id) for key in wrapping]
        except (ValueError, KeyError, TypeError) as wrong:
            raise KeyFileError("the key file is damaged: it is not what Aftercare wrote") from wrong
        sizes = [len(secret) for secret in (*secrets.values(), *(key.secret for key in wrapping))]
        if not wrapping or any(size != 32 for size in sizes) or any(len(found) != KEY_ID_BYTES for found in ids):
            raise KeyFileError("the key file is damaged: a key is missing or has the wrong length")
        return cls(wrapping=wrapping, **secrets)


def write_key_file(path: Path, ring: KeyRing) -> None:
    """Write a new key file with mode 0600, durable before it is used. Never replaces one that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_durably(path, ring.to_json(), os.O_EXCL)
    _keep_name(path)


def replace_key_file(path: Path, ring: KeyRing) -> None:
    """Put a ring in the place of the one that is there: whatever ends it, the old file or the new one is whole."""
    arriving = path.with_name(f"{path.name}.arriving")
    _write_durably(arriving, ring.to_json(), os.O_TRUNC)
    arriving.replace(path)
    _keep_name(path)


def _write_durably(path: Path, text: str, how: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _keep_name(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_key_file(path: Path) -> KeyRing:
    """Read the key file. Raises `KeyFileError` when it is missing, damaged, or readable by others."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        raise KeyFileError(f"there is no key file at {path}: put back the copy that belongs to this database") from None
    except OSError as wrong:
        raise KeyFileError(f"the key file {path} cannot be read: {wrong.strerror}") from None
    if mode & 0o077:
        raise KeyFileError(f"the key file {path} can be read by others (mode {mode:04o}): run chmod 600 on it")
    return KeyRing.from_json(text)


def watch_key_file(path: Path) -> Callable[[], KeyRing | None]:
    """What gives the ring again when the file has changed since it was last asked: a rotation, while a service runs.

    Raises `KeyFileError` like `read_key_file`.
    """

    def mark() -> tuple[int, int, int] | None:
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    seen = mark()

    def look() -> KeyRing | None:
        nonlocal seen
        now = mark()
        if now is None or now == seen:
            return None
        ring = read_key_file(path)
        seen = now
        return ring

    return look


def normal(text: str) -> str:
    """The form in which values are compared: NFKC, case folded, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class Vault:
    """Seals and opens values with a patient's data key, and makes the keyed hashes that find them again."""

    def __init__(self, ring: KeyRing, changed: Callable[[], KeyRing | None] = lambda: None) -> None:
        self._changed = changed
        self._data_keys: OrderedDict[UUID, tuple[bytes, AESGCM]] = OrderedDict()
        self.ring = ring
        self._clinic = {key.id: AESGCM(key.secret) for key in ring.wrapping}

    def use(self, ring: KeyRing) -> None:
        """Work with a ring that has other clinic keys. Raises `VaultError` when it is another clinic's."""
        if replace(ring, wrapping=self.ring.wrapping) != self.ring:
            raise VaultError("the key file was replaced by one of another record: put back the one that belongs to it")
        self._clinic = {key.id: AESGCM(key.secret) for key in ring.wrapping}
        self.ring = ring

    def _look_again(self) -> None:
        ring = self._changed()
        if ring is not None:
            self.use(ring)

    def make_data_key(self, patient_id: UUID) -> bytes:
        """A new data key for a patient, wrapped by the clinic key: what is stored."""
        self._look_again()  # after a rotation nothing new is wrapped with the old key
        secret = os.urandom(32)
        key_id = os.urandom(KEY_ID_BYTES)
        self._remember(patient_id, key_id, secret)
        return self._wrap(patient_id, key_id + secret)

    def rewrap(self, patient_id: UUID, wrapped: bytes) -> bytes:
        """The same data key wrapped by the newest clinic key."""
        return self._wrap(patient_id, self._unwrap(patient_id, wrapped))

    def knows(self, patient_id: UUID) -> bool:
        """Whether the patient's data key is at hand without asking the database."""
        return patient_id in self._data_keys

    def learn(self, patient_id: UUID, wrapped: bytes) -> None:
        """Unwrap a stored data key and keep it at hand."""
        opened = self._unwrap(patient_id, wrapped)
        self._remember(patient_id, opened[:KEY_ID_BYTES], opened[KEY_ID_BYTES:])

    def forget(self, patient_id: UUID) -> None:
        """Drop a data key from memory (it was destroyed)."""
        self._data_keys.pop(patient_id, None)

    def seal(self, patient_id: UUID, place: str, plain: bytes) -> bytes:
        """Seal bytes for one place (`table|column|row id`) with the patient's data key.

        Layout: version byte, 4 bytes key id, 12 bytes nonce, ciphertext with tag; the place is bound in.
        """
        key_id, key = self._data_key(patient_id)
        nonce = os.urandom(NONCE_BYTES)
        head = bytes([FORMAT]) + key_id
        return head + nonce + key.encrypt(nonce, plain, head + place.encode())

    def open(self, patient_id: UUID, place: str, sealed: bytes) -> bytes:
        """Open what `seal` made for the same patient and place. Raises `VaultError` for anything else."""
        key_id, key = self._data_key(patient_id)
        head, nonce, body = _split(sealed)
        if head[1:] != key_id:
            raise VaultError(f"a sealed value at {place} was made with another key")
        try:
            return key.decrypt(nonce, body, head + place.encode())
        except InvalidTag:
            raise VaultError(f"a sealed value at {place} was changed or moved") from None

    def blind(self, purpose: str, text: str) -> bytes:
        """Blind index (HMAC-SHA-256, cut to 16 bytes) of a value in its normal form, to find equal ones."""
        mac = hmac.new(self.ring.blind, f"{purpose}|{normal(text)}".encode(), hashlib.sha256)
        return mac.digest()[:BLIND_BYTES]

    def blind_lot(self, lot: str) -> bytes:
        """Blind index of a lot number: by its letters and digits alone, so that `C-4711` finds `c 4711`."""
        bare = "".join(sign for sign in normal(lot) if sign.isalnum())
        return self.blind("lot", bare or lot)

    def token_hash(self, purpose: str, token: str) -> bytes:
        """What is stored of a random token: a keyed hash for one purpose, so that no token serves another."""
        return hmac.new(self.ring.tokens, f"{purpose}|{token}".encode(), hashlib.sha256).digest()

    def content_mac(self, purpose: str, content: str) -> bytes:
        """A keyed hash (HMAC-SHA-256) of what somebody signed."""
        return hmac.new(self.ring.audit, f"{purpose}|{content}".encode(), hashlib.sha256).digest()

    def name_prefixes(self, names: Iterable[str]) -> set[bytes]:
        """Keyed hashes of the first 2 to 10 letters of each part of the names."""
        parts = {part for name in names for part in normal(name).replace("-", " ").split()}
        return {self.prefix(part[:length]) for part in parts for length in PREFIX_LETTERS if len(part) >= length}

    def prefix(self, start: str) -> bytes:
        """Keyed hash of the start of a name part, cut to 8 bytes; longer starts are cut to 10 letters."""
        cut = normal(start)[: PREFIX_LETTERS[-1]]
        return hmac.new(self.ring.prefix, cut.encode(), hashlib.sha256).digest()[:PREFIX_BYTES]

    def _wrap(self, patient_id: UUID, opened: bytes) -> bytes:
        newest = self.ring.wrapping[-1].id
        head = bytes([FORMAT]) + bytes.fromhex(newest)
        nonce = os.urandom(NONCE_BYTES)
        return head + nonce + self._clinic[newest].encrypt(nonce, opened, head + patient_id.bytes)

    def _unwrap(self, patient_id: UUID, wrapped: bytes) -> bytes:
        head, nonce, body = _split(wrapped)
        clinic = self._clinic.get(head[1:].hex())
        if clinic is None:
            self._look_again()
            clinic = self._clinic.get(head[1:].hex())
        if clinic is None:
            raise VaultError(f"the key file lacks clinic key {head[1:].hex()}: it belongs to another database")
        try:
            return clinic.decrypt(nonce, body, head + patient_id.bytes)
        except InvalidTag:
            raise VaultError(f"the data key of patient {patient_id} was changed or moved") from None

    def _data_key(self, patient_id: UUID) -> tuple[bytes, AESGCM]:
        found = self._data_keys.get(patient_id)
        if found is None:
            raise VaultError(f"the data key of patient {patient_id} is not at hand")
        return found

    def _remember(self, patient_id: UUID, key_id: bytes, secret: bytes) -> None:
        self._data_keys[patient_id] = (key_id, AESGCM(secret))
        self._data_keys.move_to_end(patient_id)
        while len(self._data_keys) > CACHED_DATA_KEYS:
            self._data_keys.popitem(last=False)


def _split(sealed: bytes) -> tuple[bytes, bytes, bytes]:
    if len(sealed) <= 1 + KEY_ID_BYTES + NONCE_BYTES or sealed[0] != FORMAT:
        raise VaultError("a sealed value is damaged or of a newer version")
    cut = 1 + KEY_ID_BYTES
    return sealed[:cut], sealed[cut : cut + NONCE_BYTES], sealed[cut + NONCE_BYTES :]
