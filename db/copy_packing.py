"""How sent copies are made small before they are sealed: zlib, with a message of ours as its dictionary.

Most of a message is its page, and that is in `copy_dictionary.eml`. Without that very file no copy can be read, so it
is never edited: a better one would be a second file beside it.
"""

import zlib
from functools import cache
from pathlib import Path
from typing import Final

LEVEL: Final = 1  # a third of the time of the usual 6, for copies a seventh larger


def pack_copy(content: bytes) -> bytes:
    """A message as it is kept: compressed, before it is sealed."""
    packer = zlib.compressobj(LEVEL, zdict=_dictionary())
    return packer.compress(content) + packer.flush()


def unpack_copy(packed: bytes) -> bytes:
    """The exact bytes that were packed, with the dictionary or, long ago, without. Raises `ValueError`."""
    unpacker = zlib.decompressobj(zdict=_dictionary())
    try:
        content = unpacker.decompress(packed)
    except zlib.error as error:
        raise ValueError(f"a sent copy cannot be unpacked: {error}") from None
    if not unpacker.eof:  # the check over the whole content comes last
        raise ValueError("a sent copy is cut off")
    return content


@cache
def _dictionary() -> bytes:
    return Path(__file__).with_name("copy_dictionary.eml").read_bytes()
