"""A process that stood still may not send what it marked before, even when its heart beats again first."""

from datetime import timedelta

from scheduler.clock import FastClock
from scheduler.freshness import FRESH_SECONDS, Freshness


def test_an_old_heartbeat_sends_nothing(clock: FastClock) -> None:
    fresh = Freshness(clock.boottime)
    clock.advance(timedelta(seconds=FRESH_SECONDS - 1))
    assert fresh()
    clock.advance(timedelta(seconds=1))
    assert not fresh()
    fresh.beaten(clock.boottime())
    assert fresh()


def test_a_heartbeat_after_a_gap_does_not_revive_what_was_marked_before_it(clock: FastClock) -> None:
    fresh = Freshness(clock.boottime)
    before = fresh.from_now()
    clock.advance(timedelta(seconds=FRESH_SECONDS - 1))
    fresh.beaten(clock.boottime())
    assert before()
    clock.advance(timedelta(minutes=5))
    fresh.beaten(clock.boottime())
    assert fresh()
    assert not before()
    assert fresh.from_now()()


def test_a_heartbeat_that_took_long_to_be_written_counts_from_its_beginning(clock: FastClock) -> None:
    fresh = Freshness(clock.boottime)
    began = clock.boottime()
    clock.advance(timedelta(seconds=FRESH_SECONDS))
    fresh.beaten(began)
    assert not fresh()


def test_a_wall_clock_that_was_set_is_not_sent_by() -> None:
    steps = [True]
    fresh = Freshness(lambda: 0.0, in_step=lambda: steps[0])
    still_ours = fresh.from_now()
    assert (fresh(), still_ours()) == (True, True)
    steps[0] = False
    assert (fresh(), still_ours()) == (False, False)
