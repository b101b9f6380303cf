"""The stop journal: durable before its commit, whole through kills and full disks, and what a release makes of it."""

import json
import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from db import gate
from db import patients as stored_patients
from db.audit import Noted
from db.engine import Store, make_engine
from db.records import PatientStop
from db.states import AttemptOutcome, DecisionKind, EventKind, StopReason
from db.vault import Vault
from scheduler import events, gate_keeper, gate_watch, patients, stop_journal, treatments
from scheduler.stop_facts import FORBIDDING
from scheduler.stop_log import JournalDamaged, StopLog, last_number, path_of, read_journal
from tests.clinic import STAFF, Desk
from tests.conftest import START
from tests.people import AMINA, BEATRIX, CAST
from web.trail_words import WORDS

pytestmark = pytest.mark.both


@pytest.fixture
def journal(desk: Desk) -> Iterator[Path]:
    """The journal of a clinic whose store writes one; its patients are entered by the tests."""
    path = path_of(desk.clinic.settings)
    desk.store.before_commit = StopLog(path, desk.store.vault).note
    yield path
    desk.store.before_commit = None


def facts(path: Path, vault: Vault) -> list[str]:
    """What was noted, in order."""
    found = read_journal(path, vault)
    assert found.problems == []
    return [entry.fact for entry in found.entries]


# what is noted


def test_every_fact_that_forbids_a_message_is_noted_and_no_other(desk: Desk, journal: Path) -> None:
    amina, beatrix = desk.enter(AMINA), desk.enter(BEATRIX)
    assert not journal.exists()  # entering somebody forbids nothing
    treatment = desk.treat(amina).treatment_id
    desk.change(amina, phone="020 7946 0001")
    desk.event(treatment, EventKind.SOLO_STARTED)
    before = facts(journal, desk.store.vault)
    complication = desk.event(treatment, EventKind.COMPLICATION)
    desk.event(treatment, EventKind.COMPLICATION_RESOLVED)
    events.retract(desk.clinic, STAFF, complication, "entered wrongly")
    desk.event(treatment, EventKind.HOLD)
    resumed = desk.event(treatment, EventKind.RESUME)
    events.retract(desk.clinic, STAFF, resumed, "entered wrongly")
    desk.change(amina, email="amina.new@example.org")
    desk.change(amina, consent="none")
    desk.change(amina, consent="all")
    desk.decide(desk.row("next-session", treatment_id=treatment), DecisionKind.CANCEL)
    desk.stop(amina, StopReason.UNSAFE, "He reads her mail.")
    patients.resume(desk.clinic, STAFF, amina, "She said so.")
    desk.event(treatment, EventKind.STOP)
    treatments.cancel(desk.clinic, STAFF, desk.treat(beatrix).treatment_id, "entered wrongly")
    assert before == ["treatment.added"]
    assert facts(journal, desk.store.vault)[1:] == [
        "event.complication",
        "event.retracted",
        "event.hold",
        "event.retracted",
        "patient.changed",
        "consent.recorded",
        "consent.recorded",
        "reminder.cancel",
        "patient.stopped",
        "event.stop",
        "treatment.added",
        "treatment.cancelled",
    ]
    told = journal.read_text()
    assert "He reads" not in told
    assert "example.org" not in told
    assert "unsafe" not in told
    assert journal.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in told.splitlines()]
    assert {frozenset(line) for line in lines} == {frozenset(("number", "at", "patient", "fact", "mac"))}


def test_what_is_called_forbidding_is_an_action_of_the_trail() -> None:
    ahead = {"patient.erased", "patient.merged", "address.bounced", "link.revoked"}  # of use cases still to come
    assert {fact for fact in FORBIDDING if fact not in WORDS} <= ahead


def test_a_stop_is_in_the_file_before_it_is_in_the_database(desk: Desk, journal: Path) -> None:
    patient_id = desk.enter(AMINA)
    note, seen = desk.store.before_commit, []
    assert note is not None

    def look(*told: object) -> None:
        note(*told)  # type: ignore[arg-type]
        engine = make_engine(desk.store.engine.url.render_as_string(hide_password=False))
        with Store(engine, desk.store.vault).read() as session:
            seen.append((facts(journal, desk.store.vault), list(session.scalars(select(PatientStop.id)))))
        engine.dispose()

    desk.store.before_commit = look
    desk.stop(patient_id)
    assert seen == [(["patient.stopped"], [])]


def test_a_stop_that_cannot_be_noted_is_not_stored(desk: Desk, journal: Path) -> None:
    patient_id = desk.enter(AMINA)
    journal.mkdir(parents=True)  # a folder where the file should be
    with desk.unchanged(), pytest.raises(IsADirectoryError):
        desk.stop(patient_id)
    journal.rmdir()
    desk.stop(patient_id)
    assert facts(journal, desk.store.vault) == ["patient.stopped"]


# the file


@pytest.fixture
def log(tmp_path: Path, vault: Vault) -> StopLog:
    """A journal with three entries."""
    log = StopLog(tmp_path / "stops.log", vault)
    for _ in range(3):
        note(log)
    return log


def note(log: StopLog, times: int = 1) -> None:
    log.note([_stop(uuid4()) for _ in range(times)], START)


def _stop(patient_id: UUID) -> Noted:
    return {"action": "patient.stopped", "subject": None, "subject_id": None, "patient_id": patient_id, "fields": []}


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b'{"number": 4, "at": "2026-11-2')


def test_a_line_that_a_kill_cut_off_is_no_damage_and_gives_way_to_the_next(
    log: StopLog, tmp_path: Path, vault: Vault
) -> None:
    path = tmp_path / "stops.log"
    torn(path)
    assert (len(read_journal(path, vault).entries), read_journal(path, vault).problems) == (3, [])
    note(log, times=2)
    found = read_journal(path, vault)
    assert ([entry.number for entry in found.entries], found.problems) == ([1, 2, 3, 4, 5], [])
    assert last_number(path) == 5


def changed(lines: list[bytes]) -> None:
    lines[1] = lines[1].replace(b"patient.stopped", b"patient.resumed")


def removed(lines: list[bytes]) -> None:
    del lines[1]


def swapped(lines: list[bytes]) -> None:
    lines[0], lines[1] = lines[1], lines[0]


def garbage(lines: list[bytes]) -> None:
    lines[1] = b"\xff not ours\n"


@pytest.mark.parametrize("damage", [changed, removed, swapped, garbage])
def test_damage_in_the_middle_is_reported_and_what_can_be_read_still_counts(
    log: StopLog, tmp_path: Path, vault: Vault, damage: Callable[[list[bytes]], None]
) -> None:
    path = tmp_path / "stops.log"
    lines = path.read_bytes().splitlines(keepends=True)
    damage(lines)
    path.write_bytes(b"".join(lines))
    found = read_journal(path, vault)
    assert found.problems
    assert len(found.entries) >= 2
    note(log)
    assert len(read_journal(path, vault).entries) == len(found.entries) + 1


def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, vault: Vault) -> None:
    path = tmp_path / "stops.log"
    path.write_text("something else\n")
    with pytest.raises(JournalDamaged, match="move it away"):
        note(StopLog(path, vault))
    assert path.read_text() == "something else\n"


def test_only_its_own_keys_make_an_entry(log: StopLog, tmp_path: Path) -> None:
    assert read_journal(tmp_path / "stops.log", Vault(type(log._vault.ring).make())).problems


def test_many_threads_make_one_chain(tmp_path: Path, vault: Vault) -> None:
    path = tmp_path / "stops.log"

    def many() -> None:
        for _ in range(20):
            note(StopLog(path, vault))

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read_journal(path, vault)
    assert ([entry.number for entry in found.entries], found.problems) == (list(range(1, 81)), [])


def test_a_full_disk_leaves_the_file_as_it_was(log: StopLog, tmp_path: Path, vault: Vault) -> None:
    path = tmp_path / "stops.log"
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))  # half a line fits
    try:
        with pytest.raises(OSError, match="File too large"):
            note(log)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    note(log)
    assert read_journal(path, vault).problems == []


def test_a_start_looks_at_the_latest_entries_only(log: StopLog, tmp_path: Path, vault: Vault) -> None:
    note(log, times=50)
    found = read_journal(tmp_path / "stops.log", vault, latest=10)
    assert ([entry.number for entry in found.entries], found.problems) == (list(range(44, 54)), [])


# an older record beside a newer journal


@contextmanager
def put_back(desk: Desk, tmp_path: Path) -> Iterator[None]:
    """The database as it was before the block, put back after it, as a copy of its file: journal and permit stay."""
    engine = desk.store.engine
    path = Path(engine.url.database or "")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    shutil.copyfile(path, tmp_path / "older.db")
    yield
    engine.dispose()
    for beside in path.parent.glob(f"{path.name}-*"):
        beside.unlink()
    shutil.copyfile(tmp_path / "older.db", path)


@pytest.fixture
def older(sqlite_desk: Desk) -> Iterator[Desk]:
    """A clinic with a journal and a permit that put its database back to an earlier state."""
    desk = sqlite_desk
    desk.store.before_commit = StopLog(path_of(desk.clinic.settings), desk.store.vault).note
    gate_watch.check_start(desk.clinic, has_relay=True)
    yield desk
    desk.store.before_commit = None


def stop_of(desk: Desk, patient_id: UUID) -> StopReason | None:
    with desk.store.read() as session:
        found = stored_patients.find_stop(session, patient_id)
    return found.reason if found else None


@pytest.mark.parametrize("replayed_before", [False, True])
def test_every_stop_recorded_since_the_backup_holds_after_the_release(
    older: Desk, tmp_path: Path, replayed_before: bool
) -> None:
    ids = [older.enter(person) for person in CAST[:5]]
    plans = [older.treat(patient_id).treatment_id for patient_id in ids]
    unsafe, moved, complication, held, untouched = ids
    before = older.clock.now() - timedelta(seconds=1)  # when the last of them was entered
    with put_back(older, tmp_path):
        older.tick(hours=1)
        older.stop(unsafe, StopReason.UNSAFE)
        older.change(moved, email="new.address@example.org")
        older.event(plans[2], EventKind.COMPLICATION)
        older.decide(older.row("after-visit", treatment_id=plans[3]), DecisionKind.HOLD)
        stranger = older.enter(CAST[5])
        older.stop(stranger, StopReason.OPTED_OUT)
        gate_watch.check_sweep(older.clinic, timedelta(0))
        lost_span = (before, older.clock.now())
    gate_watch.check_sweep(older.clinic, timedelta(0))
    older.tick(hours=9)
    assert older.claim(older.worker()) == []  # nothing before the release
    waiting = gate_keeper.look(older.clinic)
    if replayed_before:  # as `restore` does
        assert set(stop_journal.replay(older.clinic).held) == {unsafe, moved, complication, held}
    assert waiting.was_put_back
    assert (waiting.since, waiting.until) == lost_span
    assert waiting.lost is not None
    assert set(waiting.lost.of_patients) == {unsafe, moved, complication, held}
    assert {entry.patient_id for entry in waiting.lost.strangers} == {stranger}
    assert waiting.upcoming == ()  # the journal knows whom it is about
    done = gate_keeper.release(older.clinic, STAFF)
    assert set(done.replayed.held) == (set() if replayed_before else {unsafe, moved, complication, held})
    assert done.unknown == 5  # each after-visit message may have left
    for patient_id, plan in zip(ids, plans, strict=True):
        found = {row.reason for row in older.rows(plan) if row.state.value == "held"}
        assert ("stop_lost" in {reason.value for reason in found if reason}) is (patient_id != untouched)
        assert older.stands("after-visit", treatment_id=plan) == "held:unknown"
    older.tick(days=60)
    sent = older.claim(older.worker())
    assert {claim.patient_id for claim in sent} <= {untouched}
    older.nothing_left()


def test_a_stop_alone_tells_that_an_older_record_was_put_back(older: Desk, tmp_path: Path) -> None:
    patient_id = older.enter()
    older.treat(patient_id)
    with put_back(older, tmp_path):
        older.stop(patient_id, StopReason.DECEASED)  # and no sweep since: the permit knows nothing of it
    gate_watch.check_start(older.clinic, has_relay=True)
    stop_journal.replay_if_lost(older.clinic)
    assert stop_of(older, patient_id) is StopReason.LOST
    assert older.stands("after-visit") == "held:stop_lost"


def test_replaying_twice_changes_nothing_and_a_person_ends_it(older: Desk, tmp_path: Path) -> None:
    patient_id = older.enter()
    older.treat(patient_id)
    with put_back(older, tmp_path):
        older.stop(patient_id)
    first = stop_journal.replay(older.clinic)
    assert (list(first.held), first.lost.strangers) == ([patient_id], [])
    assert first.lost.span is not None
    with older.unchanged():
        assert stop_journal.replay(older.clinic).held == []
        stop_journal.replay_if_lost(older.clinic)
    older.tick()
    patients.resume(older.clinic, STAFF, patient_id, "It was about another.")
    assert older.stands("after-visit") == "scheduled"
    with older.unchanged():
        stop_journal.replay(older.clinic)
    assert [event["fields"] for event in older.audit("stop.replayed")] == [["patient.stopped"]]


def test_what_is_stopped_anyway_stays_stopped_for_its_own_reason(older: Desk, tmp_path: Path) -> None:
    patient_id = older.enter()
    older.stop(patient_id, StopReason.DECEASED)
    with put_back(older, tmp_path):
        older.change(patient_id, email="another@example.org")
    replayed = stop_journal.replay(older.clinic)
    assert (replayed.held, replayed.stopped_already) == ([], [patient_id])
    assert stop_of(older, patient_id) is StopReason.DECEASED


def test_a_stop_whose_commit_failed_only_holds(desk: Desk, journal: Path) -> None:
    patient_id = desk.enter(AMINA)
    desk.treat(patient_id)
    note = desk.store.before_commit
    assert note is not None

    def die(*told: object) -> None:
        note(*told)  # type: ignore[arg-type]
        raise ConnectionError("the database went away")

    desk.store.before_commit = die
    with pytest.raises(ConnectionError):
        desk.stop(patient_id)
    desk.store.before_commit = note
    assert stop_journal.replay(desk.clinic).held == [patient_id]
    assert desk.stands("after-visit") == "held:stop_lost"
    desk.nothing_left()


def test_a_known_stop_holds_nobody(desk: Desk, journal: Path) -> None:
    patient_id = desk.enter(AMINA)
    treatment = desk.treat(patient_id).treatment_id
    desk.event(treatment, EventKind.HOLD)
    desk.event(treatment, EventKind.RESUME)
    with desk.unchanged():
        replayed = stop_journal.replay(desk.clinic)
    assert (replayed.held, replayed.lost.of_patients) == ([], {})
    assert desk.stands("after-visit") == "scheduled"


def test_without_a_journal_a_release_lists_who_gets_a_message_in_two_weeks(desk: Desk) -> None:
    soon, late = desk.enter(AMINA), desk.enter(BEATRIX)
    desk.treat(soon)
    desk.treat(late, at="2027-02-01T10:00")
    with desk.store.write("service", desk.clock.now()) as session:
        gate_keeper.close_after_restore(session, desk.clock.now() - timedelta(days=1))
    waiting = gate_keeper.look(desk.clinic)
    assert waiting.reason == (
        "a backup of 2026-11-22 09:00 UTC was put back: what was entered or sent since is not in it"
    )
    assert waiting.since == desk.clock.now() - timedelta(days=1)
    assert waiting.upcoming == [(soon, "2026-11-23T17:00:00")]
    gate_keeper.release(desk.clinic, STAFF)
    with desk.store.read() as session:
        assert gate.get_gate(session).restored_from is None


def test_an_address_that_the_mail_server_refused_is_noted_with_its_outcome(desk: Desk, journal: Path) -> None:
    patient_id = desk.enter(AMINA)
    desk.treat(patient_id)
    desk.tick(hours=9)
    worker = desk.worker()
    (claim,) = desk.claim(worker)
    desk.end(worker, claim, desk.mark(worker, claim), AttemptOutcome.REFUSED, blames_address=True)
    assert facts(journal, desk.store.vault)[-1] == "address.refused"
