"""The engine: what durability rests on is read back, writers wait instead of failing, readers change nothing."""

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event, select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import Session

from db.engine import Store, UnsafeDatabase, actor_of, check_engine, instant_of, make_engine
from db.follow_up import Gate, Worker
from db.records import Consent
from db.states import GateState, Topic
from db.types import UtcDateTime, Word, new_id
from scheduler.clock import FastClock

DIALECT = sqlite.dialect()
instants = st.datetimes(
    datetime(1900, 1, 1),
    datetime(2200, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=13, minutes=45))]),
)


def test_what_durability_rests_on_is_read_back(store: Store) -> None:
    check_engine(store.engine)


@pytest.mark.parametrize("pragma", ["synchronous=1", "foreign_keys=0", "journal_mode=delete"])
def test_a_sqlite_database_without_it_is_refused(sqlite_url: str, pragma: str) -> None:
    engine = make_engine(sqlite_url)
    event.listen(engine, "connect", lambda connection, record: connection.execute(f"PRAGMA {pragma}").close())
    with pytest.raises(UnsafeDatabase, match=pragma.partition("=")[0]):
        check_engine(engine)
    engine.dispose()


def test_a_postgresql_database_without_it_is_refused(postgres_url: str) -> None:
    engine = make_engine(postgres_url)

    @event.listens_for(engine, "connect")
    def _relaxed(connection: object, record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("SET synchronous_commit = off")
        connection.commit()  # type: ignore[attr-defined]

    with pytest.raises(UnsafeDatabase, match="synchronous_commit"):
        check_engine(engine)
    engine.dispose()


def test_writers_that_read_first_wait_for_each_other(store: Store, clock: FastClock) -> None:
    errors: list[BaseException] = []

    def write() -> None:
        try:
            for _ in range(50):
                with store.write("test", clock.now()) as session:
                    gate = session.scalars(select(Gate).with_for_update()).one()
                    gate.last_attempt += 1
        except BaseException as error:  # noqa: BLE001 (told to the test below)
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with store.read() as session:
        assert session.scalars(select(Gate)).one().last_attempt == 400


def test_a_reading_session_changes_nothing_even_when_it_commits(store: Store, clock: FastClock) -> None:
    with store.read() as session:
        session.scalars(select(Gate)).one().last_attempt = 7
    with store.read() as session:
        session.scalars(select(Gate)).one().last_attempt = 7
        with pytest.raises(DBAPIError, match=r"(?i)read-?only"):
            session.commit()
    with store.write("test", clock.now()) as session:
        assert session.scalars(select(Gate)).one().last_attempt == 0


def test_a_writing_session_is_whole_or_nothing(store: Store, clock: FastClock) -> None:
    def fail(session: Session) -> None:
        session.scalars(select(Gate)).one().last_attempt = 7
        session.flush()
        raise RuntimeError("broke")

    with pytest.raises(RuntimeError, match="broke"), store.write("test", clock.now()) as session:
        fail(session)
    with store.read() as session:
        assert session.scalars(select(Gate)).one().last_attempt == 0


def test_a_writing_session_knows_who_and_when(store: Store, clock: FastClock) -> None:
    with store.write("cli:desk", clock.now()) as session:
        assert (actor_of(session), instant_of(session)) == ("cli:desk", clock.now())


def test_a_reader_sees_one_state_while_others_write(sqlite_store: Store, clock: FastClock) -> None:
    with sqlite_store.read() as reader:
        before = reader.scalars(select(Gate.last_attempt)).one()
        with sqlite_store.write("test", clock.now()) as session:
            session.scalars(select(Gate)).one().last_attempt = 7
        assert reader.scalars(select(Gate.last_attempt)).one() == before


def test_foreign_keys_hold(store: Store, clock: FastClock) -> None:
    with pytest.raises(IntegrityError), store.write("test", clock.now()) as session:
        session.add(
            Consent(
                patient_id=new_id(),
                topic=Topic.REVIEWS,
                granted=True,
                recorded_at=clock.now(),
                recorded_by="test",
                wording_version="1",
            )
        )


def test_there_is_one_gate_and_it_is_open(store: Store, clock: FastClock) -> None:
    with store.read() as session:
        assert session.scalars(select(Gate)).one().state is GateState.OPEN
    with pytest.raises(IntegrityError), store.write("test", clock.now()) as session:
        session.add(Gate(id=2, state=GateState.OPEN, changed_at=clock.now(), changed_by="test"))


def test_values_do_not_show_in_a_database_error(store: Store, clock: FastClock) -> None:
    with pytest.raises(StatementError) as told, store.write("test", clock.now()) as session:
        session.execute(text("INSERT INTO no_such_table VALUES (:value)"), {"value": "amina@example.org"})
    assert "amina" not in str(told.value)


def test_an_instant_reads_back_to_the_microsecond(store: Store, clock: FastClock) -> None:
    at = datetime(2026, 11, 23, 9, 0, 0, 123457, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    with store.write("test", clock.now()) as session:
        session.add(Worker(id=UUID(int=1), name="x", started_at=at, heartbeat_at=at))
    with store.read() as session:
        found = session.get_one(Worker, UUID(int=1)).started_at
    assert found == at
    assert found.tzinfo is UTC


@given(instants)
def test_any_aware_instant_becomes_whole_microseconds_and_back(at: datetime) -> None:
    column = UtcDateTime()
    stored = column.process_bind_param(at, DIALECT)
    assert isinstance(stored, int)
    assert column.process_result_value(stored, DIALECT) == at


@given(instants, instants)
def test_stored_instants_sort_as_they_follow_each_other(one: datetime, other: datetime) -> None:
    column = UtcDateTime()
    first, second = column.process_bind_param(one, DIALECT), column.process_bind_param(other, DIALECT)
    assert first is not None
    assert second is not None
    assert (first < second) == (one < other)


def test_a_naive_time_is_refused(store: Store, clock: FastClock) -> None:
    with pytest.raises(StatementError, match="time zone"), store.write("test", clock.now()) as session:
        session.add(Worker(name="x", started_at=datetime(2026, 1, 1), heartbeat_at=clock.now()))


def test_a_word_that_is_not_in_the_enum_is_an_error(store: Store, clock: FastClock) -> None:
    with pytest.raises(StatementError, match="ajar"), store.write("test", clock.now()) as session:
        session.execute(Gate.__table__.update().values(state="ajar"))  # type: ignore[attr-defined]
    with store.write("test", clock.now()) as session:
        session.execute(text("UPDATE gate SET state = 'ajar'"))
    with store.read() as session, pytest.raises(ValueError, match="ajar"):
        session.scalars(select(Gate)).one()
    assert Word(GateState).process_bind_param(None, DIALECT) is None


def test_an_id_is_a_uuid_of_version_7_and_sorts_by_the_time_it_was_made() -> None:
    ids = [new_id() for _ in range(2_000)]
    assert {found.version for found in ids} == {7}
    assert {found.variant for found in ids} == {"specified in RFC 4122"}
    assert len(set(ids)) == len(ids)
    millis = [found.int >> 80 for found in ids]
    assert millis == sorted(millis)


def test_the_folder_of_a_new_database_is_made(tmp_path: Path) -> None:
    engine: Engine = make_engine(f"sqlite:///{tmp_path}/new/deep/aftercare.db")
    check_engine(engine)
    engine.dispose()
    assert (tmp_path / "new" / "deep" / "aftercare.db").exists()
