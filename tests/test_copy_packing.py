"""Sent copies come back to the byte, whatever they hold, and those of earlier programs too."""

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as some

from db import copy_packing
from db.copy_packing import pack_copy, unpack_copy


@given(some.one_of(some.binary(max_size=20_000), some.text(max_size=5_000).map(str.encode)))
def test_any_bytes_come_back_exactly(content: bytes) -> None:
    assert unpack_copy(pack_copy(content)) == content


def test_what_was_packed_without_a_dictionary_is_still_read() -> None:
    assert unpack_copy(zlib.compress(b"as it left", 1)) == b"as it left"


def test_the_dictionary_is_the_one_it_was() -> None:
    """With another, no copy that was made with it could be read any more."""
    known = hashlib.sha256(copy_packing._dictionary()).hexdigest()
    assert known == "bbe44a9cddc5d41626c81d81fb7f5c0d41a1e79b56b423d4257eaefb37507311"


@pytest.mark.parametrize("missing", [1, 4, 30])
def test_a_copy_that_is_cut_off_is_refused(missing: int) -> None:
    with pytest.raises(ValueError, match="copy"):
        unpack_copy(pack_copy(b"From: post@example.org\r\n" * 9)[:-missing])
