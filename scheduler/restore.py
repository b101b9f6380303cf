"""Putting a backup back: proven in a place of its own, made safe there, and only then put where the record is.

Whatever ends it leaves the old record or the whole new one. What is in a backup is `scheduler.backup_file`.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from sqlalchemy import MetaData, func, make_url, select
from sqlalchemy.exc import DatabaseError

from db import audit
from db.advisory import list_present, nobody_is_present
from db.base import Base
from db.engine import make_engine
from db.migrations import StillAtWork, current, head, upgrade
from db.records import Patient
from db.staff import AuditHead
from db.table_rows import NOT_OURS, digest_table, list_tables, read_rows, snapshot, write_rows
from db.vault import KeyFileError, KeyRing, read_key_file, replace_key_file, write_key_file
from scheduler import gate_keeper, kill_points, stop_journal, stop_log
from scheduler.backup_file import Progress, Unpacked, hash_overlays, unpack, workplace
from scheduler.clinic import Clinic
from scheduler.clock import Clock
from scheduler.erasure import erase_again, erased_file
from scheduler.errors import Refused
from scheduler.sending_lock import SendingLock
from scheduler.settings import Settings

SIDECARS = ("-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Occupant:
    """What a restore would replace; without numbers where the database cannot be read."""

    patients: int | None
    events: int | None


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back, and what a person should look at."""

    found: Unpacked
    kept_aside: tuple[Path, ...]
    files_that_differ: tuple[str, ...]


def find_occupant(settings: Settings) -> Occupant | None:
    """What is in the database of the settings, None when nothing is."""
    if (path := _sqlite_path(settings)) is not None and (not path.exists() or not path.stat().st_size):
        return None
    engine = make_engine(settings.database_url)
    try:
        if current(engine) is None:
            return None
        with engine.connect() as connection:
            patients = connection.execute(select(func.count()).select_from(Patient)).scalar_one()
            events = connection.execute(select(AuditHead.number)).scalar_one()
    except DatabaseError:
        if path is None:
            raise  # PostgreSQL is away, which is no reason to replace what is in it
        return Occupant(None, None)
    finally:
        engine.dispose()
    return Occupant(patients, events) if patients or events else None


def restore(
    settings: Settings,
    clock: Clock,
    open_clinic: Callable[[Settings, Clock], Clinic],
    path: Path,
    ring: KeyRing,
    actor: str,
    stage: Callable[[str], Progress],
) -> Restored:
    """Replace the record by a backup; the gate is closed in it before it is in place.

    1 unpack and prove it · 2 close the gate in it, hold later stops, note it in the trail · 3 keys · 4 in place.
    Raises `VaultError` or `Refused` for a backup that will not do and `AlreadySending` or `StillAtWork` while the
    service runs; until the last step nothing has changed.
    """
    now = clock.now()
    lock = SendingLock(settings.lock_file)
    if _sqlite_path(settings) is not None:
        lock.take(f"restore, process {os.getpid()}")
    try:
        with workplace(settings.data_dir, now.timestamp()) as folder:
            found = unpack(path, ring, folder, stage("reading and proving it"))
            _make_safe(settings, clock, open_clinic, found, ring, actor, folder)
            kill_points.reach("in_restore")
            stamp = _stamp(settings, now)
            aside = [*_put_keys(settings, ring, stamp), *_put_anchors(settings, found, stamp)]
            kill_points.reach("in_restore")
            if _sqlite_path(settings) is not None:
                aside += _put_file(settings, found.database, stamp)
            else:
                _put_rows(settings, found.database, stage("writing it"))
            kill_points.reach("in_restore")
    finally:
        lock.release()
    told, here = found.manifest.overlays, hash_overlays(settings)
    differ = sorted(name for name in {*told, *here} if told.get(name) != here.get(name))
    return Restored(found, tuple(aside), tuple(differ))


def _make_safe(
    settings: Settings,
    clock: Clock,
    open_clinic: Callable[[Settings, Clock], Clinic],
    found: Unpacked,
    ring: KeyRing,
    actor: str,
    folder: Path,
) -> None:
    """Make the copy safe: erased patients, stops, a closed gate, and the trail's word of it."""
    write_key_file(folder / "keys.json", ring)
    if found.journal is not None and not stop_log.path_of(settings).exists():
        shutil.copyfile(found.journal, stop_log.path_of(settings))
    there = {"database_url": f"sqlite:///{found.database}", "keys_file": folder / "keys.json"}
    clinic = open_clinic(settings.model_copy(update=there), clock)
    try:
        at = found.manifest.made_at
        with clinic.store.write(actor, clock.now()) as session:
            gate_keeper.close_after_restore(session, at)
            audit.record(session, "backup.restored", "backup", at.astimezone(UTC).isoformat(timespec="seconds"))
        erase_again(clinic, actor, erased_file(settings))
        stop_journal.replay(clinic, actor)
        with clinic.store.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        clinic.store.engine.dispose()


def _stamp(settings: Settings, now: datetime) -> str:
    """What the files put aside are named by: the second, with a number where a restore of that second took it."""
    files = settings.keys_file, settings.anchors_file, _sqlite_path(settings)
    places = {file.parent for file in files if file is not None}
    first = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    names = (first if number == 1 else f"{first}-{number}" for number in count(1))
    return next(name for name in names if not any([*place.glob(f"*.before-restore-{name}*")] for place in places))


def _put_keys(settings: Settings, ring: KeyRing, stamp: str) -> list[Path]:
    """Let the key file hold the keys of the backup: no key that it has is lost."""
    file = settings.keys_file
    if not file.exists():
        write_key_file(file, ring)
        return []
    try:
        here: KeyRing | None = read_key_file(file)
    except KeyFileError:
        here = None
    if here is not None and replace(here, wrapping=ring.wrapping) == ring:
        missing = tuple(key for key in ring.wrapping if key not in here.wrapping)
        if missing:
            replace_key_file(file, replace(here, wrapping=(*missing, *here.wrapping)))
        return []
    aside = file.with_name(f"{file.name}.before-restore-{stamp}")
    file.rename(aside)
    write_key_file(file, ring)
    return [aside]


def _put_anchors(settings: Settings, found: Unpacked, stamp: str) -> list[Path]:
    """Keep the anchors of events that the backup holds; those of the lost end stay aside, as evidence."""
    file = settings.anchors_file
    if not file.exists():
        return []
    lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if audit.anchored_number(line) <= found.manifest.events]
    if len(kept) == len(lines):
        return []
    aside = file.with_name(f"{file.name}.before-restore-{stamp}")
    shutil.copyfile(file, aside)
    file.write_text("".join(kept))
    return [aside]


def _put_file(settings: Settings, database: Path, stamp: str) -> list[Path]:
    """SQLite: the old file keeps a second name, then the new one takes its place in one step."""
    place = _sqlite_path(settings)
    if place is None:
        raise Refused("the settings name no SQLite file")
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = []
    if place.exists():
        _empty_log(place)
        for name in ("", *SIDECARS[:1]):
            old = place.with_name(place.name + name)
            if old.exists():
                aside.append(place.with_name(f"{place.name}.before-restore-{stamp}{name}"))
                os.link(old, aside[-1])
        for name in SIDECARS:  # a log of the old file beside the new one would be played into it
            place.with_name(place.name + name).unlink(missing_ok=True)
    with database.open("rb") as file:
        os.fsync(file.fileno())
    database.chmod(0o600)
    # A workplace lies in the data folder; where the database does not, a rename may not reach.
    arriving = place.with_name(f"{place.name}.arriving")
    shutil.move(database, arriving)
    arriving.replace(place)
    folder = os.open(place.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    return aside


def _empty_log(place: Path) -> None:
    """Bring the old file's write-ahead log into it, where it can still be read."""
    engine = make_engine(f"sqlite:///{place}")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    except DatabaseError:
        return  # damaged: its log is kept aside with it
    finally:
        engine.dispose()


def _put_rows(settings: Settings, database: Path, progress: Progress) -> None:
    """PostgreSQL: old tables, new tables and all rows in one transaction, compared before it ends."""
    source, target = make_engine(f"sqlite:///{database}"), make_engine(settings.database_url)
    try:
        with snapshot(source) as reading, target.begin() as writing:
            if not nobody_is_present(writing):
                raise StillAtWork(f"the service still runs on this database: {'; '.join(list_present(writing))}")
            there = MetaData()
            there.reflect(writing, only=lambda name, _: name in {*Base.metadata.tables, NOT_OURS})
            there.drop_all(writing)
            upgrade(writing, head())
            tables = {table.name: table for table in list_tables(writing) if table.name in Base.metadata.tables}
            for table in reversed(tables.values()):
                writing.execute(table.delete())
            everything = list_tables(reading)
            for number, table in enumerate(everything):
                columns = [column.name for column in table.columns]
                write_rows(writing, tables[table.name], columns, read_rows(reading, table))
                before, after = (
                    digest_table(reading, table, columns),
                    digest_table(writing, tables[table.name], columns),
                )
                if before.hex != after.hex:
                    raise Refused(f"PostgreSQL did not keep the rows of {table.name} as they are; nothing was changed")
                kill_points.reach("in_restore")
                progress(number + 1, len(everything))
    finally:
        source.dispose()
        target.dispose()


def _sqlite_path(settings: Settings) -> Path | None:
    url = make_url(settings.database_url)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None
