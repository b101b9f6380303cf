"""A backup holds one instant of everything and is proven before it has a name; what is put back is it, and silent."""

import base64
import shutil
import signal
import stat
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from db import audit, gate, patients
from db.base import Base
from db.engine import Store, make_engine
from db.sealed_file import SealedFileDamaged, SealedFileWriter, read_sealed_file
from db.states import GateState, StopReason
from db.vault import KeyRing, Vault, VaultError, write_key_file
from scheduler import backup, backup_file, restore, stop_log
from scheduler.backup_file import Progress
from scheduler.clinic import Clinic
from scheduler.clock import Clock, FastClock
from scheduler.entries import PatientForm
from scheduler.errors import InvalidInput, Refused
from scheduler.patients import add as add_patient
from scheduler.settings import Settings
from service import open_clinic
from tests.clinic import STAFF, Desk, dump
from tests.people import AMINA, BEATRIX, CARMEN
from tests.process import environment, fill, open_folder, quick_command

LONG_AGO = datetime(2026, 11, 1, 9, tzinfo=UTC)  # nothing of it is due any more


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clinic's folder with two patients, to copy for each crash."""
    folder = tmp_path_factory.mktemp("clinic")
    fill(environment(folder), LONG_AGO, 2).store.engine.dispose()
    return folder


def copied(filled: Path, folder: Path) -> dict[str, str]:
    """The environment of a copy of that clinic."""
    shutil.copytree(filled, folder, dirs_exist_ok=True)
    return environment(folder)


def quiet(label: str) -> Progress:
    """Nobody looks at the progress."""
    return lambda done, total: None


@pytest.fixture
def worked(desk: Desk, keyring: KeyRing) -> Desk:
    """A clinic with patients, plans and what was sent; its key file and a stop journal lie where they should."""
    settings = desk.clinic.settings
    write_key_file(settings.keys_file, keyring)
    desk.store.before_commit = stop_log.StopLog(stop_log.path_of(settings), desk.store.vault).note
    desk.treat(desk.enter(AMINA))
    desk.treat(desk.enter(BEATRIX))
    desk.tick(hours=9)
    desk.send_due()
    return desk


def make(desk: Desk, name: str = "one.backup") -> backup.Made:
    """A backup in the clinic's folder."""
    return backup.make(desk.clinic, STAFF, desk.folder / name, quiet)


def named(desk: Desk, given_name: str) -> UUID:
    """A patient's id."""
    with desk.store.read() as session:
        return next(row.id for row in patients.list_patients(session) if row.given_name == given_name)


def at(url: str, desk: Desk) -> Settings:
    """The clinic's settings with another database, in a data folder that is empty but for the keys."""
    there = desk.folder / "elsewhere"
    found = desk.clinic.settings.model_copy(update={"database_url": url, "data_dir": there})
    there.mkdir(exist_ok=True)
    return found


def put_back(settings: Settings, path: Path, ring: KeyRing, clock: Clock) -> restore.Restored:
    """Restore a backup."""
    return restore.restore(settings, clock, open_clinic, path, ring, STAFF, quiet)


def read(settings: Settings, ring: KeyRing) -> dict[str, list[object]]:
    """Every row of what was put back, but for the gate and the trail."""
    engine = make_engine(settings.database_url)
    found = dump(Store(engine, Vault(ring)))
    engine.dispose()
    return {name: list(rows) for name, rows in found.items() if name not in ("gate", "audit_events", "audit_head")}


def test_a_backup_is_put_back_into_either_database_as_it_was_with_the_gate_closed(
    worked: Desk, keyring: KeyRing, clock: FastClock, request: pytest.FixtureRequest
) -> None:
    made = make(worked)
    before = {name: list(rows) for name, rows in dump(worked.store).items()}
    worked.enter(CARMEN)  # later than the backup
    for kind in ("postgres_url", "sqlite_url"):
        settings = at(str(request.getfixturevalue(kind)), worked)
        done = put_back(settings, made.path, keyring, clock)
        assert done.found.manifest == made.manifest
        after = read(settings, keyring)
        assert after == {name: before[name] for name in after}
        clinic = open_clinic(settings, clock)
        with clinic.store.read() as session:
            row = gate.get_gate(session)
            assert (row.state, "was put back" in str(row.reason)) == (GateState.CLOSED, True)
            assert backup_file.open_samples(session, 10) == 2
        clinic.store.engine.dispose()
    assert made.manifest.counts["patients"] == 2
    assert made.manifest.highest_attempt == 2


def test_a_stop_that_came_after_the_backup_holds_after_it_was_put_back(
    worked: Desk, keyring: KeyRing, clock: FastClock, sqlite_url: str
) -> None:
    made = make(worked)
    worked.stop(stopped := named(worked, "Amina"))
    settings = at(sqlite_url, worked)
    shutil.copyfile(stop_log.path_of(worked.clinic.settings), stop_log.path_of(settings))
    put_back(settings, made.path, keyring, clock)
    assert _stopped(settings, clock) == {stopped: StopReason.LOST}


def test_a_new_machine_gets_the_stop_journal_of_the_backup(
    worked: Desk, keyring: KeyRing, clock: FastClock, sqlite_url: str
) -> None:
    worked.stop(stopped := named(worked, "Beatrix"))
    made = make(worked)
    settings = at(sqlite_url, worked)
    put_back(settings, made.path, keyring, clock)
    assert stop_log.path_of(settings).read_bytes() == stop_log.path_of(worked.clinic.settings).read_bytes()
    assert _stopped(settings, clock) == {stopped: StopReason.OPTED_OUT}


def test_it_is_put_back_again_within_the_same_second_and_what_was_there_is_kept_each_time(
    worked: Desk, keyring: KeyRing, clock: FastClock, sqlite_url: str
) -> None:
    made = make(worked)
    settings = at(sqlite_url, worked)
    kept = [path for _ in range(3) for path in put_back(settings, made.path, keyring, clock).kept_aside]
    assert len(set(kept)) == len(kept)
    assert len([path for path in kept if path.name.startswith("aftercare.db")]) == 3
    assert all(path.exists() for path in kept)


def _stopped(settings: Settings, clock: Clock) -> dict[UUID, StopReason]:
    clinic = open_clinic(settings, clock)
    with clinic.store.read() as session:
        found = patients.list_stopped(session, [row.id for row in patients.list_patients(session)])
    clinic.store.engine.dispose()
    return found


def test_a_backup_holds_no_name_no_address_and_no_key(worked: Desk, keyring: KeyRing) -> None:
    made = make(worked)
    content = made.path.read_bytes()
    lines = b"\n".join(read_sealed_file(made.path, keyring))
    assert b"patient_keys" in lines
    assert b"patient_keys" not in content
    for secret in (keyring.wrapping[0].secret, keyring.audit, keyring.tokens):
        for spelled in (secret, base64.b64encode(secret), secret.hex().encode()):
            assert spelled not in content
            assert spelled not in lines
    for name in (b"Amina", b"Farouk", b"amina@example.org"):
        assert name not in lines
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600


def test_a_backup_is_named_by_its_time_in_a_folder_and_never_replaces_another(worked: Desk) -> None:
    made = make(worked, ".")
    assert made.path.name == f"aftercare-{worked.clock.now():%Y%m%dT%H%M%SZ}.backup"
    with pytest.raises(InvalidInput, match="never replaces another"):
        make(worked, made.path.name)
    with pytest.raises(InvalidInput, match="there is no folder"):
        make(worked, "nowhere/one.backup")
    with worked.store.read() as session:
        assert backup.find_last_backup(session) == worked.clock.now()


def test_a_backup_that_cannot_be_restored_gets_no_name(worked: Desk) -> None:
    with worked.store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("UPDATE audit_events SET actor = 'nobody' WHERE number = 2"))
    with pytest.raises(SealedFileDamaged, match="the audit chain breaks at event 2"):
        make(worked)
    assert list(worked.folder.glob("one.backup*")) == []
    assert list(worked.clinic.settings.data_dir.glob("restoring-*")) == []


def test_a_backup_whose_sealed_values_do_not_open_gets_no_name(worked: Desk) -> None:
    with worked.store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("UPDATE patients SET family_name_sealed = given_name_sealed"))
    with pytest.raises(SealedFileDamaged, match="was changed or moved"):
        make(worked)
    assert list(worked.folder.glob("one.backup*")) == []


def forge(made: backup.Made, ring: KeyRing, change: dict[bytes, bytes]) -> Path:
    """A backup that opens, with bytes of its lines changed: what an error of our own would look like."""
    forged = made.path.with_name("forged.backup")
    with forged.open("wb") as file:
        writer = SealedFileWriter(file, ring)
        for line in read_sealed_file(made.path, ring):
            for old, new in change.items():
                line = line.replace(old, new)
            writer.write(line + b"\n" if line else b"")
        writer.finish()
    return forged


def test_nothing_is_touched_by_a_backup_that_does_not_hold_what_it_should(
    worked: Desk, keyring: KeyRing, clock: FastClock, sqlite_url: str
) -> None:
    made = make(worked)
    settings = at(sqlite_url, worked)
    for change, why in (
        ({b"Europe/London": b"Europe/Paris"}, "rows that are not the"),
        ({b'"schema":"' + made.manifest.schema.encode(): b'"schema":"9999'}, "made by a newer Aftercare"),
        ({b'{"manifest"': b'{"other"'}, "has no manifest"),
    ):
        with pytest.raises((VaultError, Refused), match=why):
            put_back(settings, forge(made, keyring, change), keyring, clock)
    with pytest.raises(VaultError, match="which these keys have not got"):
        put_back(settings, made.path, KeyRing.make(), clock)
    assert restore.find_occupant(settings) is None
    assert [path.name for path in settings.data_dir.iterdir()] == ["sending.lock"]


def test_a_damaged_sqlite_file_is_kept_aside_and_replaced(
    sqlite_desk: Desk, keyring: KeyRing, clock: FastClock, sqlite_url: str
) -> None:
    write_key_file(sqlite_desk.clinic.settings.keys_file, keyring)
    sqlite_desk.enter()
    made = make(sqlite_desk)
    settings = at(sqlite_url, sqlite_desk)
    place = Path(sqlite_url.removeprefix("sqlite:///"))
    place.write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    assert restore.find_occupant(settings) == restore.Occupant(None, None)
    done = put_back(settings, made.path, keyring, clock)
    assert [kept.read_bytes()[:20] for kept in done.kept_aside] == [b"SQLite format 3\0" + b"\xff" * 4]
    assert restore.find_occupant(settings) == restore.Occupant(1, made.manifest.events + 2)


def test_anchors_of_what_is_lost_are_kept_aside_and_the_trail_holds(
    sqlite_desk: Desk, keyring: KeyRing, clock: FastClock, sqlite_url: str
) -> None:
    settings = at(sqlite_url, sqlite_desk)
    write_key_file(sqlite_desk.clinic.settings.keys_file, keyring)
    sqlite_desk.enter()
    made = make(sqlite_desk)
    with sqlite_desk.store.read() as session:
        audit.write_anchor(session, settings.anchors_file, clock.now())
    sqlite_desk.enter(BEATRIX)
    with sqlite_desk.store.read() as session:
        audit.write_anchor(session, settings.anchors_file, clock.now())
    done = put_back(settings, made.path, keyring, clock)
    assert [kept.name.partition(".before")[0] for kept in done.kept_aside] == ["audit-anchors.jsonl", "aftercare.db"]
    clinic: Clinic = open_clinic(settings, clock)
    with clinic.store.read() as session:
        assert audit.verify(session, settings.anchors_file) == (made.manifest.events + 2, [])
    clinic.store.engine.dispose()


@pytest.mark.parametrize("nth", [3, len(Base.metadata.tables) + 1, len(Base.metadata.tables) + 2])
def test_a_kill_while_a_backup_is_made_leaves_no_backup_and_the_next_is_made(
    nth: int, filled: Path, tmp_path: Path
) -> None:
    env = copied(filled, tmp_path)
    marker, path = tmp_path / "marker", tmp_path / "one.backup"
    crashed = quick_command({**env, "AFTERCARE_KILL_POINT": f"in_backup@{nth}:{marker}"}, "backup", str(path))
    assert (crashed.returncode, marker.read_text()) == (-signal.SIGKILL, "in_backup\n"), crashed.stderr
    assert not path.exists()
    clinic = open_folder(env, LONG_AGO)
    assert backup.make(clinic, STAFF, path, quiet).manifest.counts["patients"] == 2
    clinic.store.engine.dispose()
    assert [found.name for found in tmp_path.glob("one.backup*")] == ["one.backup"]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_kill_while_a_backup_is_put_back_leaves_the_old_or_the_new_record_whole(
    nth: int, filled: Path, tmp_path: Path
) -> None:
    env = copied(filled, tmp_path)
    clinic = open_folder(env, LONG_AGO)
    path = backup.make(clinic, STAFF, tmp_path / "one.backup", quiet).path
    add_patient(clinic, STAFF, PatientForm(given_name="Late", family_name="Comer"))
    clinic.store.engine.dispose()
    marker = tmp_path / "marker"
    words = ("restore", str(path), "--yes")
    crashed = quick_command({**env, "AFTERCARE_KILL_POINT": f"in_restore@{nth}:{marker}"}, *words)
    assert (crashed.returncode, marker.exists()) == (-signal.SIGKILL, True), crashed.stderr
    assert _look(env) == ((2, GateState.CLOSED) if nth == 3 else (3, GateState.OPEN))
    again = quick_command(env, *words)
    assert (again.returncode, "Nothing is sent" in again.stdout or "nothing is sent" in again.stdout) == (0, True), (
        again
    )
    assert _look(env) == (2, GateState.CLOSED)


def _look(env: dict[str, str]) -> tuple[int, GateState]:
    """How many patients there are and how the gate stands; the trail holds."""
    clinic = open_folder(env, LONG_AGO)
    with clinic.store.read() as session:
        assert audit.verify(session, clinic.settings.anchors_file)[1] == []
        found = patients.count_patients(session), gate.get_gate(session).state
    clinic.store.engine.dispose()
    return found
