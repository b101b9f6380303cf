"""Use cases about the clinic's keys: a new one while everything runs, the recovery key, and which there are.

How values are sealed is `db.vault`; the keys of a backup are told in `docs/operations.md`.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from db import audit, key_rotation
from db.recovery_key import SHORTEST_PASSPHRASE, open_ring, seal_ring
from db.vault import ClinicKey, read_key_file, replace_key_file
from scheduler import kill_points
from scheduler.clinic import Clinic
from scheduler.errors import InvalidInput, Refused

BATCH = 200  # data keys in one transaction: some milliseconds, so that staff and sender do not wait


@dataclass(frozen=True, slots=True)
class Rotated:
    """A rotation that was brought to its end; `resumed`: an earlier one was cut off, and no further key was made."""

    key_id: str
    wrapped: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One clinic key: how many data keys it wraps, and when a recovery key with it was made."""

    id: str
    newest: bool
    data_keys: int
    exported_at: datetime | None


def rotate(clinic: Clinic, actor: str, progress: Callable[[int, int], None]) -> Rotated:
    """Make a new clinic key and wrap every data key with it, while the service runs; goes on where one was cut off.

    1 the key file has the new key, durable · 2 data keys are wrapped anew, batch by batch · 3 again until none is left.
    The older keys stay in the file: older backups need them. Raises `Refused` while another rotation runs.
    """
    file, vault = clinic.settings.keys_file, clinic.store.vault
    with _alone(file):
        ring = read_key_file(file)
        with clinic.store.read() as session:
            counts = key_rotation.count_by_clinic_key(session)
        resumed = any(key_id != ring.wrapping[-1].id for key_id in counts)
        if not resumed:
            ring = replace(ring, wrapping=(*ring.wrapping, ClinicKey.make()))
            replace_key_file(file, ring)
            kill_points.reach("in_key_rotation")
        vault.use(ring)
        newest, total, done = ring.wrapping[-1].id, sum(counts.values()) - counts.get(ring.wrapping[-1].id, 0), 0
        while True:
            with clinic.store.write(actor, clinic.clock.now()) as session:
                some = key_rotation.wrap_anew(session, BATCH, lambda: kill_points.reach("in_key_rotation"))
                done += some
                if not some:
                    audit.record(session, "keys.rotated", "keys", newest)
            if not some:
                return Rotated(newest, done, resumed)
            progress(done, max(done, total))


def export(clinic: Clinic, actor: str, target: Path, passphrase: str) -> str:
    """Write the recovery key: all keys under a passphrase; the newest clinic key's id. Opens it again to be sure.

    Raises `InvalidInput` for a passphrase that is too short or a file that is there already.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise InvalidInput(
            f"the passphrase is shorter than {SHORTEST_PASSPHRASE} characters: five words in a row make a good one"
        )
    ring = read_key_file(clinic.settings.keys_file)
    text = seal_ring(ring, passphrase)
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InvalidInput(f"{target} is there already: name a new file") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if open_ring(target.read_text(), passphrase) != ring:
        raise Refused(f"{target} does not give back what was written: the disk is failing")
    newest = ring.wrapping[-1].id
    with clinic.store.write(actor, clinic.clock.now()) as session:
        audit.record(session, "keys.exported", "keys", newest)
    return newest


def list_keys(clinic: Clinic) -> list[KeyLine]:
    """The clinic keys of the key file, the newest first."""
    ring = read_key_file(clinic.settings.keys_file)
    with clinic.store.read() as session:
        counts = key_rotation.count_by_clinic_key(session)
        exported_at = find_exports(session)
    lines = [
        KeyLine(key.id, key is ring.wrapping[-1], counts.get(key.id, 0), exported_at.get(key.id))
        for key in ring.wrapping
    ]
    return lines[::-1]


def find_exports(session: Session) -> dict[str, datetime]:
    """When a recovery key was last made for each clinic key that was the newest then."""
    return {str(event.subject_id): event.at for event in audit.list_of_action(session, "keys.exported")}


@contextmanager
def _alone(keys_file: Path) -> Iterator[None]:
    """One rotation at a time: the kernel lets go of the lock however it ends."""
    lock = keys_file.with_name(f"{keys_file.name}.lock")
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused("another rotation of the keys is at work; wait for its end") from None
        yield
