"""A new clinic key while everything runs, cut off at any row and brought to its end; and the recovery key."""

import shutil
import signal
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from db import key_rotation, patients, recovery_key
from db.engine import Store
from db.recovery_key import open_ring
from db.states import Role
from db.vault import KeyRing, Vault, VaultError, read_key_file, replace_key_file, watch_key_file, write_key_file
from scheduler import keys
from scheduler.accounts.staff import add as add_staff
from scheduler.clock import FastClock
from scheduler.errors import Refused
from tests.clinic import STAFF, Desk
from tests.people import AMINA, BEATRIX, CARMEN, DANUTA
from tests.process import environment, fill, open_folder, quick_command
from tests.terminal import Terminal

LONG_AGO = datetime(2026, 11, 1, 9, tzinfo=UTC)
PASSPHRASE = "five words stand in a row"


@pytest.fixture
def keyed(desk: Desk, keyring: KeyRing) -> Desk:
    """A clinic with three patients, an account, and its key file where it should lie."""
    write_key_file(desk.clinic.settings.keys_file, keyring)
    for person in (AMINA, BEATRIX, CARMEN):
        desk.enter(person)
    return desk


def rotate(desk: Desk) -> keys.Rotated:
    """Rotate; nobody looks at the progress."""
    return keys.rotate(desk.clinic, STAFF, lambda done, total: None)


def wrapped_by(desk: Desk) -> dict[str, int]:
    """How many data keys each clinic key wraps."""
    with desk.store.read() as session:
        return key_rotation.count_by_clinic_key(session)


def names(store: Store) -> list[str]:
    """Everybody's given name, opened."""
    with store.read() as session:
        return sorted(str(row.given_name) for row in patients.list_patients(session))


def keyed_id(store: Store, given_name: str) -> UUID:
    """A patient's id."""
    with store.read() as session:
        return next(row.id for row in patients.list_patients(session) if row.given_name == given_name)


def test_a_new_key_wraps_every_data_key_and_the_old_one_is_kept_for_older_backups(
    keyed: Desk, keyring: KeyRing
) -> None:
    add_staff(keyed.clinic, STAFF, "Mia Stone", [Role.MANAGER], None, None, keyed.clock.now())
    done = rotate(keyed)
    ring = read_key_file(keyed.clinic.settings.keys_file)
    assert (done.wrapped, done.resumed, wrapped_by(keyed)) == (4, False, {done.key_id: 4})
    assert [key.id for key in ring.wrapping] == [keyring.wrapping[0].id, done.key_id]
    fresh = Store(keyed.store.engine, Vault(ring))
    assert names(fresh) == ["Amina", "Beatrix", "Carmen"]
    lacking = Store(keyed.store.engine, Vault(keyring))
    with pytest.raises(VaultError, match=f"lacks clinic key {done.key_id}"):
        names(lacking)
    assert rotate(keyed).resumed is False
    assert len(read_key_file(keyed.clinic.settings.keys_file).wrapping) == 3
    assert len(keyed.audit("keys.rotated")) == 2


def test_a_running_service_follows_a_rotation_and_wraps_nothing_with_the_old_key(keyed: Desk, keyring: KeyRing) -> None:
    file = keyed.clinic.settings.keys_file
    service = Store(keyed.store.engine, Vault(keyring, watch_key_file(file)))
    done = rotate(keyed)
    with service.write(STAFF, keyed.clock.now()) as session:  # before it has opened anything
        patients.add_patient(session, DANUTA.entry())
    assert wrapped_by(keyed) == {done.key_id: 4}
    again = rotate(keyed)
    assert names(Store(keyed.store.engine, service.vault))[0] == "Amina"
    service.vault.forget(keyed_id(service, "Beatrix"))
    assert "Beatrix" in names(service)
    assert wrapped_by(keyed) == {again.key_id: 4}


def test_a_key_file_of_another_record_is_not_taken_for_a_rotation(keyed: Desk, keyring: KeyRing) -> None:
    file = keyed.clinic.settings.keys_file
    service = Vault(keyring, watch_key_file(file))
    replace_key_file(file, KeyRing.make())
    with pytest.raises(VaultError, match="another record"):
        service.make_data_key(UUID(int=1))


def test_patients_who_come_while_keys_are_rotated_are_wrapped_in_the_end(keyed: Desk, keyring: KeyRing) -> None:
    service = Store(keyed.store.engine, Vault(keyring, watch_key_file(keyed.clinic.settings.keys_file)))
    stop, entered, broken = threading.Event(), [0], []

    def work() -> None:
        try:
            while not stop.is_set():
                with service.write(STAFF, keyed.clock.now()) as session:
                    patients.add_patient(session, DANUTA.entry(record_number=f"B-{entered[0]}"))
                entered[0] += 1
                names(service)
        except Exception as error:  # noqa: BLE001 (a thread: its error is told below)
            broken.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        ids = [rotate(keyed).key_id for _ in range(3)]
    finally:
        stop.set()
        thread.join(60)
    assert broken == []
    left = {key_id: count for key_id, count in wrapped_by(keyed).items() if key_id != ids[-1]}
    assert sum(left.values()) <= 1  # one that was being entered as the last pass ended
    assert sum(wrapped_by(keyed).values()) == 3 + entered[0] > 3
    rotate(keyed)
    assert len(wrapped_by(keyed)) == 1


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clinic's folder with three patients, to copy for each crash."""
    folder = tmp_path_factory.mktemp("clinic")
    fill(environment(folder), LONG_AGO, 3).store.engine.dispose()
    return folder


@pytest.mark.parametrize("nth", [1, 2, 4])
def test_a_rotation_cut_off_anywhere_is_brought_to_its_end(nth: int, filled: Path, tmp_path: Path) -> None:
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    env, marker = environment(tmp_path), tmp_path / "marker"
    crashed = quick_command({**env, "AFTERCARE_KILL_POINT": f"in_key_rotation@{nth}:{marker}"}, "keys", "rotate")
    assert (crashed.returncode, marker.exists()) == (-signal.SIGKILL, True), crashed.stderr
    clinic = open_folder(env, LONG_AGO)
    assert len(names(clinic.store)) == 3  # and meanwhile everything can be read
    done = keys.rotate(clinic, STAFF, lambda done, total: None)
    assert (done.resumed, done.wrapped) == (True, 3)
    assert len(read_key_file(clinic.settings.keys_file).wrapping) == 2
    with clinic.store.read() as session:
        assert key_rotation.count_by_clinic_key(session) == {done.key_id: 3}
    clinic.store.engine.dispose()


def test_two_rotations_do_not_meet(keyed: Desk) -> None:
    def meddle(done: int, total: int) -> None:
        rotate(keyed)

    with pytest.raises(Refused, match="another rotation"):
        keys.rotate(keyed.clinic, STAFF, meddle)
    assert rotate(keyed).wrapped == 3  # the first was at its end already, and this is a further one


# On the command line


@pytest.fixture
def terminal(
    tmp_path: Path, clock: FastClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    """A command line over a clinic with one patient, and a passphrase in a file that is stretched little."""
    monkeypatch.setattr(recovery_key, "COST", {"memory_kib": 32, "passes": 1, "lanes": 4})
    (tmp_path / "protocols").mkdir()
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n")
    found = Terminal(environment(tmp_path), clock, monkeypatch, capsys)
    found.ok("patient", "add", "--given-name", "Amina", "--family-name", "Farouk")
    return found


def test_a_lost_machine_comes_back_from_backup_recovery_key_and_passphrase(terminal: Terminal, tmp_path: Path) -> None:
    kept, typed = tmp_path / "recovery.json", tmp_path / "passphrase"
    assert [line["exported_at"] for line in terminal.ok("keys", "list", "--json").json] == [None]
    said = terminal.ok("keys", "export", str(kept), "--passphrase-file", str(typed))
    assert "opens backups with its passphrase" in said.out
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    ring = read_key_file(terminal.var / "keys.json")
    assert open_ring(kept.read_text(), PASSPHRASE) == ring
    terminal.ok("backup", str(tmp_path / "one.backup"))
    shutil.rmtree(terminal.var)
    restore = ("restore", str(tmp_path / "one.backup"))
    lost = terminal.run(*restore).err
    assert "there is no key file" in lost
    assert "name the recovery key: --recovery FILE" in lost
    (tmp_path / "wrong").write_text("six words stand in a row\n")
    wrong = terminal.run(*restore, "--recovery", str(kept), "--passphrase-file", str(tmp_path / "wrong"))
    assert (wrong.code, "passphrase does not open" in wrong.err) == (1, True)
    assert not (terminal.var / "keys.json").exists()
    done = terminal.ok(*restore, "--recovery", str(kept), "--passphrase-file", str(typed))
    assert "1 patient(s)" in done.out
    assert read_key_file(terminal.var / "keys.json") == ring
    assert [row["name"] for row in terminal.ok("patient", "list", "--json").json] == ["Amina Farouk"]
    assert terminal.ok("status", "--json").json["gate"] == "closed"


def test_a_backup_from_before_a_rotation_is_put_back_and_its_keys_are_wrapped_again(
    terminal: Terminal, tmp_path: Path
) -> None:
    terminal.ok("backup", str(tmp_path / "one.backup"))
    terminal.ok("keys", "rotate")
    refused = terminal.run("restore", str(tmp_path / "one.backup"))
    assert (refused.code, "Nothing was changed. Say --yes" in refused.err) == (2, True)
    assert "In place is 1 patient(s)" in refused.err
    terminal.ok("restore", str(tmp_path / "one.backup"), "--yes")
    assert [line["data_keys"] for line in terminal.ok("keys", "list", "--json").json] == [0, 1]
    assert "brought to its end" in terminal.ok("keys", "rotate").out
    assert [line["data_keys"] for line in terminal.ok("keys", "list", "--json").json] == [1, 0]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("keys", "export", "{folder}/passphrase", "--passphrase-file", "{folder}/passphrase"), "is there already"),
        (("keys", "export", "{folder}/new", "--passphrase-file", "{folder}/short"), "shorter than 16 characters"),
        (("keys", "export", "{folder}/new", "--passphrase-file", "{folder}/none"), "cannot be read"),
        (("keys", "export", "{folder}/new"), "a passphrase is needed"),
        (("restore", "{folder}/none"), "there is no file"),
        (("restore", "{folder}/short", "--yes", "--recovery", "{folder}/none"), "--recovery: there is no file"),
        (("restore", "{folder}/short", "--yes"), "is not a sealed file of Aftercare"),
        (("backup", "{folder}/short"), "never replaces another"),
    ],
)
def test_what_will_not_do_is_refused_in_words(
    terminal: Terminal, tmp_path: Path, words: tuple[str, ...], why: str
) -> None:
    (tmp_path / "short").write_text("one two\n")
    said = terminal.run(*(word.format(folder=tmp_path) for word in words))
    assert (said.code, why in said.err) == (1 if "sealed" in why else 2, True), said
    assert not (tmp_path / "new").exists()
