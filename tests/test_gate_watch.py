"""What closes the gate by itself: a backlog, an unset relay, a record that is not what it was. On both databases."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from db import gate
from db.follow_up import Gate, Reminder, Worker
from db.states import GateCause, GateState
from scheduler import gate_keeper, gate_watch, permit, recovery
from scheduler.permit import PermitUnwritable, read_permit, write_permit
from tests.clinic import STAFF, Desk
from tests.people import AMINA, CAST

NO_TIME = timedelta(0)


@pytest.fixture
def patient_id(desk: Desk) -> UUID:
    """Amina, treated this morning; it is 18:00 and one message is due."""
    patient_id = desk.enter(AMINA)
    desk.treat(patient_id)
    desk.tick(hours=9)
    return patient_id


@pytest.fixture
def at_work(desk: Desk, patient_id: UUID) -> Desk:
    """A clinic that has sent: it has a permit that says so."""
    start(desk)
    desk.send_due()
    gate_watch.check_sweep(desk.clinic, NO_TIME)
    return desk


def start(desk: Desk, has_relay: bool = True) -> None:
    """What a start looks at."""
    gate_watch.check_start(desk.clinic, has_relay)


def gate_row(desk: Desk) -> Gate:
    """The gate."""
    with desk.store.read() as session:
        return gate.get_gate(session)


def place(desk: Desk) -> Path:
    """Where the permit is."""
    return permit.path_of(desk.clinic.settings)


def reached(desk: Desk) -> tuple[int, int]:
    """Which attempt and which entry of the trail the permit knows."""
    found = read_permit(place(desk)).permit
    assert found is not None
    return found.attempt, found.event


def backlog(desk: Desk, count: int) -> None:
    """That many due messages, and a worker that was last heard of before they fell due."""
    for person in CAST[:count]:
        desk.treat(desk.enter(person, time_zone="Europe/London"))
    desk.worker("the one before")
    desk.tick(hours=9)


def test_a_backlog_nobody_has_seen_waits_for_a_release(desk: Desk) -> None:
    desk = desk.with_settings(BACKLOG_LIMIT="2")
    backlog(desk, 3)
    start(desk)
    row = gate_row(desk)
    assert (row.state, row.cause) == (GateState.CLOSED, GateCause.BACKLOG)
    assert row.reason == "3 messages fell due while the service was off; look at them and release"
    waiting = gate_keeper.look(desk.clinic)
    assert (waiting.closed, waiting.due, len(waiting.first), waiting.was_put_back) == (True, 3, 3, False)
    assert gate_keeper.release(desk.clinic, STAFF).unknown == 0
    assert gate_row(desk).cause is None
    assert len(desk.claim(desk.worker())) == 3


def test_a_small_backlog_or_a_short_stop_is_sent(desk: Desk) -> None:
    small = desk.with_settings(BACKLOG_LIMIT="3")
    backlog(small, 3)
    start(small)
    assert gate_row(small).state is GateState.OPEN
    short = desk.with_settings(BACKLOG_LIMIT="1")
    with desk.store.write("service", desk.clock.now()) as session:
        session.execute(update(Worker).values(heartbeat_at=desk.clock.now()))
    start(short)
    assert gate_row(short).state is GateState.OPEN


def test_a_machine_that_slept_is_downtime_for_a_running_service_too(desk: Desk) -> None:
    desk = desk.with_settings(BACKLOG_LIMIT="2")
    start(desk)
    backlog(desk, 3)
    gate_watch.check_sweep(desk.clinic, timedelta(seconds=30))
    assert gate_row(desk).state is GateState.OPEN
    gate_watch.check_sweep(desk.clinic, timedelta(hours=9))
    assert gate_row(desk).cause is GateCause.BACKLOG


def test_a_record_that_used_a_relay_never_falls_back_to_the_folder(desk: Desk) -> None:
    start(desk, has_relay=False)
    assert gate_row(desk).state is GateState.OPEN
    start(desk, has_relay=True)
    start(desk, has_relay=False)
    assert gate_row(desk).cause is GateCause.NO_RELAY
    assert "no mail server is set" in (gate_row(desk).reason or "")
    assert [event["action"] for event in desk.audit() if event["action"].startswith("gate")] == ["gate.closed"]


def test_a_closed_gate_stays_closed_with_its_reason(desk: Desk, patient_id: UUID) -> None:
    gate_keeper.close(desk.clinic, STAFF, "Wrong text.")
    start(desk)
    assert gate_row(desk).reason == "Wrong text."
    with desk.store.read() as session:
        assert session.scalars(select(Reminder.worker_id)).first() is None


# the permit


def test_a_new_record_gets_its_permit_once_and_is_never_stopped_for_it(desk: Desk, patient_id: UUID) -> None:
    start(desk)
    first = read_permit(place(desk))
    assert first.is_itself
    assert first.permit is not None
    assert (first.permit.attempt, first.permit.installation_id) == (0, gate_row(desk).installation_id)
    assert place(desk).stat().st_mode & 0o777 == 0o600
    start(desk)
    start(desk.with_settings(CLINIC_NAME="Another name"))
    assert read_permit(place(desk)).permit == first.permit
    assert gate_row(desk).state is GateState.OPEN


def test_a_kill_between_the_permit_and_its_record_stops_nothing(desk: Desk, patient_id: UUID) -> None:
    written = uuid4()
    write_permit(place(desk), written, 0, 0, 0, desk.clock.now())
    start(desk)
    assert (gate_row(desk).state, gate_row(desk).installation_id) == (GateState.OPEN, written)


def test_each_sweep_that_found_something_new_writes_it_on_the_permit_whole(at_work: Desk) -> None:
    assert reached(at_work)[0] == 1
    before = place(at_work).read_bytes(), place(at_work).stat().st_ino
    gate_watch.check_sweep(at_work.clinic, NO_TIME)
    assert (place(at_work).read_bytes(), place(at_work).stat().st_ino) == before  # nothing new: nothing written
    attempt, event = reached(at_work)
    at_work.enter(CAST[1])
    gate_watch.check_sweep(at_work.clinic, NO_TIME)
    assert reached(at_work) > (attempt, event)
    assert [path.name for path in place(at_work).parent.glob("permit*")] == ["permit.json"]
    assert gate_row(at_work).state is GateState.OPEN


def lost(desk: Desk) -> None:
    place(desk).unlink()


def damaged(desk: Desk) -> None:
    place(desk).write_text('{"installation": "cut o')


def copied(desk: Desk) -> None:
    aside = place(desk).with_name("aside")
    aside.write_bytes(place(desk).read_bytes())
    aside.rename(place(desk))


def of_another(desk: Desk) -> None:
    write_permit(place(desk), uuid4(), *reached(desk), 0, desk.clock.now())


def fewer_sends(desk: Desk) -> None:
    write_permit(place(desk), gate_row(desk).installation_id or uuid4(), 7, 0, 0, desk.clock.now())


def fewer_entries(desk: Desk) -> None:
    write_permit(place(desk), gate_row(desk).installation_id or uuid4(), 0, 5_000, 0, desk.clock.now())


FAULTS = [
    (lost, GateCause.MOVED, "is missing and this record has been sent from"),
    (damaged, GateCause.MOVED, "is damaged and this record has been sent from"),
    (copied, GateCause.MOVED, "is a copy: two copies of a record must not both send"),
    (of_another, GateCause.MOVED, "belongs to another installation"),
    (fewer_sends, GateCause.OLDER, "it knows 1 sends and"),
    (fewer_entries, GateCause.OLDER, "there have been 0 and 5000"),
]


@pytest.mark.parametrize(("happens", "cause", "words"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS])
@pytest.mark.parametrize("running", [False, True], ids=["start", "sweep"])
def test_what_is_not_the_record_it_was_must_not_send(
    at_work: Desk, happens: Callable[[Desk], None], cause: GateCause, words: str, running: bool
) -> None:
    happens(at_work)
    left = place(at_work).read_bytes() if place(at_work).exists() else None
    if running:
        gate_watch.check_sweep(at_work.clinic, NO_TIME)
    else:
        start(at_work)
    row = gate_row(at_work)
    assert (row.state, row.cause) == (GateState.CLOSED, cause)
    assert words in (row.reason or "")
    assert (place(at_work).read_bytes() if place(at_work).exists() else None) == left  # it says what is wrong
    assert at_work.claim(at_work.worker()) == []
    gate_keeper.release(at_work.clinic, STAFF, put_back=False)
    found = read_permit(place(at_work))
    assert found.is_itself
    assert found.permit is not None
    assert found.permit.installation_id == gate_row(at_work).installation_id
    gate_watch.check_sweep(at_work.clinic, NO_TIME)
    start(at_work)
    assert gate_row(at_work).state is GateState.OPEN


def test_no_number_of_an_attempt_is_given_out_twice_after_an_older_record_was_put_back(at_work: Desk) -> None:
    fewer_sends(at_work)
    start(at_work)
    gate_keeper.release(at_work.clinic, STAFF)
    assert gate_row(at_work).last_attempt == 7


def test_a_record_from_before_the_permit_that_has_sent_asks_once(desk: Desk, patient_id: UUID) -> None:
    desk.send_due()
    start(desk)
    assert gate_row(desk).cause is GateCause.MOVED
    gate_keeper.release(desk.clinic, STAFF, put_back=False)
    start(desk)
    assert gate_row(desk).state is GateState.OPEN


def test_a_permit_that_cannot_be_written_says_where_and_why(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    elsewhere = desk.with_settings(KEYS_FILE=str(tmp_path / "file" / "keys.json"))
    with pytest.raises((PermitUnwritable, NotADirectoryError), match="file"):
        start(elsewhere)
    with pytest.raises(PermitUnwritable, match="The folder of the keys has to be writable"):
        write_permit(tmp_path / "file" / "permit.json", uuid4(), 0, 0, 0, desk.clock.now())


def test_a_weightier_cause_replaces_a_lighter_and_both_are_told(at_work: Desk) -> None:
    gate_keeper.close(at_work.clinic, STAFF, "Wrong text.")
    lost(at_work)
    start(at_work)
    row = gate_row(at_work)
    assert row.cause is GateCause.MOVED
    assert (row.reason or "").endswith("it was stopped before: Wrong text.")
    gate_keeper.close(at_work.clinic, STAFF, "Still wrong.")
    row = gate_row(at_work)
    assert row.cause is GateCause.MOVED
    assert (row.reason or "").endswith("and also: Still wrong.")


# silence


@pytest.mark.parametrize(("hours", "cause"), [(71, None), (73, GateCause.SILENT)])
def test_after_three_days_of_silence_a_person_says_whether_it_was_off_or_put_back(
    at_work: Desk, hours: int, cause: GateCause | None
) -> None:
    at_work.worker("the one before")
    at_work.tick(hours=hours)
    start(at_work)
    assert gate_row(at_work).cause is cause


def test_a_sign_of_life_that_lies_ahead_tells_of_a_clock_that_was_set_back(at_work: Desk) -> None:
    at_work.worker("the one before")
    at_work.clock.jump(timedelta(days=-1))
    start(at_work)
    assert gate_row(at_work).cause is GateCause.CLOCK


@pytest.mark.parametrize("cause", [cause for cause in GateCause if cause in gate_watch.IN_DOUBT])
def test_nothing_runs_out_while_it_is_in_doubt_what_the_time_is_or_what_has_left(
    desk: Desk, patient_id: UUID, cause: GateCause
) -> None:
    with desk.store.write("service", desk.clock.now()) as session:
        gate.close_gate(session, "why", cause)
    desk.tick(days=400)
    recovery.sweep(desk.clinic)
    assert desk.stands("after-visit") == "scheduled"
    with desk.store.write("service", desk.clock.now()) as session:
        gate.open_gate(session)
    recovery.sweep(desk.clinic)
    assert desk.stands("after-visit") == "missed:expired"


@pytest.mark.parametrize("cause", [GateCause.HOLD, GateCause.BACKLOG, GateCause.NO_RELAY])
def test_what_nobody_doubts_runs_out_behind_a_closed_gate(desk: Desk, patient_id: UUID, cause: GateCause) -> None:
    with desk.store.write("service", desk.clock.now()) as session:
        gate.close_gate(session, "why", cause)
    desk.tick(days=400)
    recovery.sweep(desk.clinic)
    assert desk.stands("after-visit") == "missed:expired"
