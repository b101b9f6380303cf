"""Cancelled yet sent: never, on either database, whoever comes first. The long form is `make races`."""

import os

import pytest

from tests import races
from tests.clinic import Desk

pytestmark = pytest.mark.both

COUNT = int(os.environ.get("AFTERCARE_RACES", "25"))  # on each database


def test_a_stop_that_was_committed_before_the_mark_was_begun_always_wins(desk: Desk) -> None:
    tally = races.run(desk, COUNT, seed=1)
    assert tally.broken == []
    assert tally.races == COUNT
    assert min(tally.stopped, tally.sent) >= 3, tally  # both sides came first: it was a race
