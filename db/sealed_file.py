"""A file that only the clinic's keys open: compressed, cut into pieces, each sealed with AES-256-GCM.

What a backup holds is `scheduler.backup`'s business; key files are `db.vault` and `db.recovery_key`.
"""

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from db.vault import ClinicKey, KeyRing, VaultError

MAGIC = b"Aftercare sealed file 1\n"
PIECE = 256 * 1024  # bytes sealed together: what a reader has to hold before it may trust it
LENGTH_BYTES = 4
NONCE_BYTES = 12
LAST = 1 << 95  # marks the nonce of the last piece, so that a file whose end was cut off does not open


class SealedFileDamaged(VaultError):
    """The file is not one of ours, or was cut off or changed."""


class SealedFileWriter:
    """Writes one sealed file. Without `finish` it does not open: a writer that died leaves nothing that looks whole.

    Each file has a key of its own, wrapped by a key derived from the newest clinic key; the pieces are numbered in
    their nonces (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015).
    """

    def __init__(self, file: IO[bytes], ring: KeyRing) -> None:
        self._file = file
        secret = os.urandom(32)
        newest = ring.wrapping[-1]
        nonce = os.urandom(NONCE_BYTES)
        wrapped = nonce + AESGCM(_file_key(newest)).encrypt(nonce, secret, MAGIC)
        head = json.dumps({"key": newest.id, "wrapped": base64.b64encode(wrapped).decode()}).encode()
        self._key = AESGCM(secret)
        self._about = hashlib.sha256(MAGIC + head).digest()
        self._squeeze = zlib.compressobj(level=1)
        self._waiting = bytearray()
        self._number = 0
        file.write(MAGIC + len(head).to_bytes(LENGTH_BYTES) + head)

    def write(self, plain: bytes) -> None:
        """Add bytes."""
        self._waiting += self._squeeze.compress(plain)
        while len(self._waiting) > PIECE:  # never all of it: the last piece is sealed as the last
            self._seal(bytes(self._waiting[:PIECE]), last=False)
            del self._waiting[:PIECE]

    def finish(self) -> None:
        """Seal the rest and make the file durable."""
        self._waiting += self._squeeze.flush()
        while len(self._waiting) > PIECE:
            self._seal(bytes(self._waiting[:PIECE]), last=False)
            del self._waiting[:PIECE]
        self._seal(bytes(self._waiting), last=True)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _seal(self, piece: bytes, last: bool) -> None:
        sealed = self._key.encrypt(_nonce(self._number, last), piece, self._about)
        self._file.write(len(sealed).to_bytes(LENGTH_BYTES) + sealed)
        self._number += 1


def read_sealed_file(path: Path, ring: KeyRing) -> Iterator[bytes]:
    """The lines of a sealed file, without their ends. A line is given only after the piece it came in was proven.

    Raises `SealedFileDamaged` for a file that was cut off or changed, `VaultError` when the ring lacks its key.
    """
    with path.open("rb") as file:
        key, about = _open_head(file, path, ring)
        loose = zlib.decompressobj()
        rest = b""
        for piece in _pieces(file, path, key, about):
            lines = (rest + loose.decompress(piece)).split(b"\n")
            rest = lines.pop()
            yield from lines
        rest += loose.flush()
        if rest:
            yield from rest.split(b"\n")


def _open_head(file: IO[bytes], path: Path, ring: KeyRing) -> tuple[AESGCM, bytes]:
    if file.read(len(MAGIC)) != MAGIC:
        raise SealedFileDamaged(f"{path.name} is not a sealed file of Aftercare")
    head = file.read(int.from_bytes(file.read(LENGTH_BYTES)))
    try:
        found = json.loads(head)
        wrapped = base64.b64decode(found["wrapped"])
        key_id = str(found["key"])
    except (ValueError, KeyError, TypeError):
        raise _damaged(path) from None
    clinic = next((key for key in ring.wrapping if key.id == key_id), None)
    if clinic is None:
        raise VaultError(
            f"{path.name} was sealed with clinic key {key_id}, which these keys have not got: "
            "use the key file or the recovery key that belongs to it"
        )
    try:
        secret = AESGCM(_file_key(clinic)).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], MAGIC)
    except InvalidTag:
        raise _damaged(path) from None
    return AESGCM(secret), hashlib.sha256(MAGIC + head).digest()


def _pieces(file: IO[bytes], path: Path, key: AESGCM, about: bytes) -> Iterator[bytes]:
    number = 0
    length = file.read(LENGTH_BYTES)
    while length:
        sealed = file.read(int.from_bytes(length))
        length = file.read(LENGTH_BYTES)
        try:
            yield key.decrypt(_nonce(number, last=not length), sealed, about)
        except InvalidTag:
            raise _damaged(path) from None
        number += 1
    if not number:
        raise _damaged(path)


def _nonce(number: int, last: bool) -> bytes:
    return (number | (LAST if last else 0)).to_bytes(NONCE_BYTES)


def _file_key(clinic: ClinicKey) -> bytes:
    # A key of its own for this purpose: a clinic key wraps patients' data keys and nothing else.
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"aftercare sealed file").derive(clinic.secret)


def _damaged(path: Path) -> SealedFileDamaged:
    return SealedFileDamaged(f"{path.name} is damaged: it was cut off or changed after it was written")
