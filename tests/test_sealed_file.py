"""Sealed files and the recovery key: only the clinic's keys open them, and no cut or change goes unnoticed."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db import sealed_file
from db.recovery_key import PassphraseWrong, open_ring, seal_ring
from db.sealed_file import SealedFileDamaged, SealedFileWriter, read_sealed_file
from db.vault import ClinicKey, KeyFileError, KeyRing, VaultError

QUICK = {"memory_kib": 32, "passes": 1, "lanes": 4}
LINES = [os.urandom(30).hex().encode() for _ in range(200)]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces so small that a short file has many."""
    monkeypatch.setattr(sealed_file, "PIECE", 512)


@pytest.fixture
def path(tmp_path: Path, keyring: KeyRing, small_pieces: None) -> Path:
    """A sealed file of many pieces."""
    path = tmp_path / "sealed"
    write(path, keyring, LINES)
    return path


def write(path: Path, ring: KeyRing, lines: list[bytes]) -> None:
    """Seal lines into a file."""
    with path.open("wb") as file:
        writer = SealedFileWriter(file, ring)
        for line in lines:
            writer.write(line + b"\n")
        writer.finish()


def test_what_was_written_is_read_and_is_not_in_the_file(path: Path, keyring: KeyRing) -> None:
    assert list(read_sealed_file(path, keyring)) == LINES
    content = path.read_bytes()
    assert [line for line in LINES if line in content] == []


@settings(max_examples=15)
@given(lines=st.lists(st.binary(max_size=1500).map(lambda line: line.replace(b"\n", b"")), max_size=12))
def test_any_lines_come_back(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    ring, path = KeyRing.make(), tmp_path_factory.mktemp("any") / "sealed"
    write(path, ring, lines)
    assert list(read_sealed_file(path, ring)) == lines


def test_a_file_that_was_cut_off_does_not_open_wherever_it_was_cut(path: Path, keyring: KeyRing) -> None:
    whole = path.read_bytes()
    head = whole.index(b"}") + 1
    cuts = {head, head + 4, *range(head + 100, len(whole), 97)}
    place = head
    while place < len(whole):  # and at the very end of each piece
        cuts.add(place)
        place += 4 + int.from_bytes(whole[place : place + 4])
    assert len(cuts) > 20
    for cut in cuts:
        path.write_bytes(whole[:cut])
        with pytest.raises(SealedFileDamaged, match="cut off or changed"):
            list(read_sealed_file(path, keyring))


def test_a_changed_byte_anywhere_does_not_open(path: Path, keyring: KeyRing) -> None:
    whole = path.read_bytes()
    for place in range(0, len(whole), 61):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(VaultError):
            list(read_sealed_file(path, keyring))


def test_pieces_cannot_change_places(path: Path, keyring: KeyRing) -> None:
    whole = path.read_bytes()
    start = whole.index(b"}") + 1
    size = 4 + int.from_bytes(whole[start : start + 4])
    first, second = whole[start : start + size], whole[start + size : start + 2 * size]
    path.write_bytes(whole[:start] + second + first + whole[start + 2 * size :])
    with pytest.raises(SealedFileDamaged):
        list(read_sealed_file(path, keyring))


def test_a_newer_ring_that_kept_the_old_key_opens_it_and_another_ring_says_which_it_lacks(
    path: Path, keyring: KeyRing
) -> None:
    newer = KeyRing(
        wrapping=(*keyring.wrapping, ClinicKey("00c0ffee", os.urandom(32))),
        blind=keyring.blind,
        prefix=keyring.prefix,
        audit=keyring.audit,
        tokens=keyring.tokens,
    )
    assert list(read_sealed_file(path, newer)) == LINES
    with pytest.raises(VaultError, match=f"sealed with clinic key {keyring.wrapping[0].id}"):
        list(read_sealed_file(path, KeyRing.make()))


def test_another_file_is_not_taken_for_one(tmp_path: Path, keyring: KeyRing) -> None:
    (tmp_path / "other").write_text("a letter\n")
    with pytest.raises(SealedFileDamaged, match="is not a sealed file"):
        list(read_sealed_file(tmp_path / "other", keyring))


def test_the_recovery_key_opens_with_its_passphrase_alone(keyring: KeyRing) -> None:
    text = seal_ring(keyring, "four words in a row", QUICK)
    assert open_ring(text, "four words in a row") == keyring
    assert (
        open_ring(seal_ring(keyring, "Stra\u00dfe n\u00fctzt vielen", QUICK), "Stra\u00dfe nu\u0308tzt vielen")
        == keyring
    )
    with pytest.raises(PassphraseWrong):
        open_ring(text, "four words in a Row")
    secrets = [keyring.audit, keyring.blind, keyring.wrapping[0].secret]
    assert [secret for secret in secrets if secret.hex() in text or repr(secret) in text] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"version": 1}',
        "nothing",
        '{"version":1,"argon2id":{"memory_kib":9999999999,"passes":1,"lanes":1}}',
    ],
)
def test_what_is_no_recovery_key_is_said_to_be_none(text: str) -> None:
    with pytest.raises(KeyFileError, match="not a recovery key"):
        open_ring(text, "four words in a row")


def test_the_recovery_key_costs_what_it_should_by_default(keyring: KeyRing) -> None:
    text = seal_ring(keyring, "four words in a row")
    assert '"memory_kib": 262144' in text
    assert open_ring(text, "four words in a row") == keyring
