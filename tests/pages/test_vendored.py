"""What is vendored for the tests is what was published."""

import hashlib

from tests.live import AXE


def test_axe_is_the_one_published() -> None:
    digest = hashlib.sha256(AXE.read_bytes()).hexdigest()
    assert digest == "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
