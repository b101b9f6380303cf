"""Turns: one process at a time, not twice in the same time, and never lost with the process that had one."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from db.advisory import Presence, list_present
from db.engine import Store, make_engine
from db.migrations import StillAtWork, migrate
from db.turns import take_turn
from scheduler.clock import FastClock
from tests.instances import cut_connections

pytestmark = pytest.mark.both


def test_a_turn_is_one_processs_at_a_time(postgres_store: Store, clock: FastClock) -> None:
    with take_turn(postgres_store, "sweep", clock.now()) as first:
        assert first
        with (
            take_turn(postgres_store, "sweep", clock.now()) as second,
            take_turn(postgres_store, "digest", clock.now()) as another,
        ):
            assert (second, another) == (False, True)
    with take_turn(postgres_store, "sweep", clock.now()) as again:
        assert again


def test_what_was_done_is_not_done_again_too_soon(store: Store, clock: FastClock) -> None:
    def asks() -> bool:
        now = clock.now()
        with take_turn(store, "digest", now, unless_since=now - timedelta(hours=20)) as ours:
            return ours

    assert [asks(), asks()] == [True, False]
    clock.advance(timedelta(hours=21))
    assert [asks(), asks()] == [True, False]
    clock.jump(-timedelta(days=400))  # a clock that was wrong must not silence it for a year
    assert asks()


def test_a_turn_that_broke_down_was_not_done(store: Store, clock: FastClock) -> None:
    since = clock.now() - timedelta(hours=1)
    with pytest.raises(RuntimeError), take_turn(store, "digest", clock.now(), since):
        raise RuntimeError
    with take_turn(store, "digest", clock.now(), since) as ours:
        assert ours


def test_a_turn_goes_with_the_connection_of_its_process(postgres_store: Store, clock: FastClock) -> None:
    with take_turn(postgres_store, "sweep", clock.now()) as first:
        assert first
        cut_connections(postgres_store.engine)
        with take_turn(postgres_store, "sweep", clock.now()) as second:
            assert second


def test_nobody_migrates_while_a_service_is_at_work(postgres_store: Store) -> None:
    engine = postgres_store.engine
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))
        connection.execute(text("DROP TABLE turns"))
    presence = Presence(engine)
    assert presence.keep() is True
    assert presence.keep() is False
    with pytest.raises(StillAtWork, match=r"aftercare, process \d+ on .*Stop it everywhere"):
        migrate(engine)
    presence.release()
    with engine.connect() as connection:
        assert list_present(connection) == []


def test_a_presence_that_was_cut_is_noticed_and_taken_again(postgres_store: Store) -> None:
    presence, looker = Presence(postgres_store.engine), make_engine(str(postgres_store.engine.url))
    presence.keep()
    cut_connections(looker)
    with pytest.raises(Exception, match="terminating connection"):
        presence.keep()
    assert presence.keep() is True  # new: the schema has to be looked at
    presence.release()
    looker.dispose()
