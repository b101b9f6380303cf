"""For tests of a desk that ask nothing of the database which another has not asked on both kinds: they run on one."""

from typing import Final

import pytest

on_one: Final = pytest.mark.parametrize("draft_desk", ["sqlite"], indirect=True)
