"""What a backup holds: one instant of every table row by row, the stop journal, and a manifest that proves it whole.

When one is made and put back is `scheduler.backup` and `scheduler.restore`; sealing is `db.sealed_file`.
"""

import base64
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select
from sqlalchemy.orm import Session

from db import audit
from db.engine import Store, make_engine
from db.follow_up import Gate
from db.migrations import is_known, migrate, revision_in
from db.records import Patient, PatientKey
from db.sealed import learn_keys
from db.sealed_file import SealedFileDamaged, SealedFileWriter, read_sealed_file
from db.staff import AuditHead
from db.table_rows import RowDigest, count_rows, digest_table, list_tables, read_rows, row_line, write_rows
from db.vault import KeyRing, Vault, VaultError
from scheduler import kill_points, stop_log
from scheduler.errors import Refused
from scheduler.settings import SHIPPED, Settings

FORMAT = 1
TELL_EVERY = 500  # rows between two words about progress
SAMPLE = 200  # patients whose sealed names are opened: enough to find keys that do not fit, quick enough for each night
LEFT_BEHIND = timedelta(days=1)  # a workplace this old belongs to a process that was killed
AT_ONCE = 200

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is of: counted and added up while it was written, and again when it is read."""

    schema: str
    made_at: datetime
    highest_attempt: int
    events: int
    columns: dict[str, list[str]] = field(default_factory=dict)  # of each table, in the order of its rows' values
    counts: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    overlays: dict[str, str] = field(default_factory=dict)  # the clinic's own protocol and text files: SHA-256

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {**asdict(self), "made_at": self.made_at.astimezone(UTC).isoformat()}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Manifest":
        """As it was read from a file."""
        return cls(**{**found, "made_at": datetime.fromisoformat(found["made_at"])})


def pack(
    connection: Connection, writer: SealedFileWriter, settings: Settings, at: datetime, progress: Progress
) -> Manifest:
    """Write all that one snapshot shows, and the stop journal, into a sealed file; what was written."""

    def put(value: Any) -> None:
        writer.write(row_line(value) + b"\n")

    schema = revision_in(connection) or ""
    put({"aftercare_backup": FORMAT, "schema": schema, "made_at": at.astimezone(UTC).isoformat()})
    # The journal first: a stop that came after the snapshot is in it, and only holds a message once more.
    journal = stop_log.path_of(settings)
    if journal.exists():
        put({"file": "stop journal", "content": base64.b64encode(journal.read_bytes()).decode()})
    tables = list_tables(connection)
    total = sum(count_rows(connection, table) for table in tables)
    columns, counts, digests, done = {}, {}, {}, 0
    for table in tables:
        columns[table.name] = [column.name for column in table.columns]
        put({"table": table.name, "columns": columns[table.name]})
        digest = RowDigest()
        for row in read_rows(connection, table):
            line = row_line(row)
            digest.add(line)
            writer.write(line + b"\n")
            done += 1
            if done % TELL_EVERY == 0:
                kill_points.reach("in_backup")
                progress(done, total)
        counts[table.name], digests[table.name] = digest.count, digest.hex
        kill_points.reach("in_backup")
    manifest = Manifest(
        schema=schema,
        made_at=at,
        highest_attempt=connection.execute(select(Gate.last_attempt)).scalar_one(),
        events=connection.execute(select(AuditHead.number)).scalar_one(),
        columns=columns,
        counts=counts,
        digests=digests,
        overlays=hash_overlays(settings),
    )
    put({"manifest": manifest.to_json()})
    progress(total, total)
    return manifest


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A backup that was read whole, put into a database of its own, and proven there."""

    manifest: Manifest
    database: Path
    journal: Path | None


def unpack(path: Path, ring: KeyRing, folder: Path, progress: Progress) -> Unpacked:
    """Restore a backup into `folder`, with today's schema, and prove it.

    Looked at: counts, digests, foreign keys, integrity, sealed samples, audit.

    Raises `VaultError` when it does not open or is damaged, `Refused` when a newer program made it.
    """
    database = folder / "aftercare.db"
    engine = make_engine(f"sqlite:///{database}")
    try:
        manifest, journal = _load(read_sealed_file(path, ring), engine, path, folder, progress)
        problems = list(_differences(engine, manifest))
        migrate(engine)  # the models are today's; what was backed up has been compared as it was
        problems += _inner_faults(engine, ring, manifest)
        if problems:
            raise SealedFileDamaged(f"{path.name} does not hold what it should: {'; '.join(problems)}")
    finally:
        engine.dispose()
    return Unpacked(manifest, database, journal)


def _load(
    lines: Iterator[bytes], engine: Engine, path: Path, folder: Path, progress: Progress
) -> tuple[Manifest, Path | None]:
    head = json.loads(next(lines))
    schema = str(head.get("schema", ""))
    if head.get("aftercare_backup") != FORMAT or not is_known(schema):
        raise Refused(f"{path.name} was made by a newer Aftercare (schema {schema}); update this program first")
    migrate(engine, to=schema)
    journal: Path | None = None
    done = 0

    def rows() -> Iterator[list[Any]]:
        nonlocal done
        for line in lines:
            if not line.startswith(b"["):
                pending.append(line)
                return
            done += 1
            if done % TELL_EVERY == 0:
                progress(done, done)
            yield json.loads(line)

    with engine.execution_options(writes=True).begin() as connection:
        tables = {table.name: table for table in list_tables(connection)}
        for table in reversed(tables.values()):
            connection.execute(table.delete())
        pending: list[bytes] = []
        while line := (pending.pop() if pending else next(lines, b"")):
            found = json.loads(line)
            if "table" in found:
                write_rows(connection, tables[found["table"]], found["columns"], rows())
            elif "file" in found:
                journal = folder / "stop journal"
                journal.write_bytes(base64.b64decode(found["content"]))
            elif "manifest" in found:
                return Manifest.from_json(found["manifest"]), journal
    raise SealedFileDamaged(f"{path.name} has no manifest")


def _differences(engine: Engine, manifest: Manifest) -> Iterator[str]:
    with engine.connect() as connection:
        for table in list_tables(connection):
            digest = digest_table(connection, table, manifest.columns[table.name])
            told = (manifest.counts.get(table.name), manifest.digests.get(table.name))
            if (digest.count, digest.hex) != told:
                yield f"{table.name}: {digest.count} rows that are not the {told[0]} that were backed up"


def _inner_faults(engine: Engine, ring: KeyRing, manifest: Manifest) -> Iterator[str]:
    with engine.connect() as connection:
        if connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar() != "ok":
            yield "the restored database fails SQLite's integrity_check"
        if connection.exec_driver_sql("PRAGMA foreign_key_check").fetchone():
            yield "rows point at rows that are not there"
    with Store(engine, Vault(ring)).read() as session:
        try:
            open_samples(session, SAMPLE)
        except VaultError as wrong:
            yield str(wrong)
        count, findings = audit.verify(session)
        if findings or count != manifest.events:
            yield f"the audit chain breaks at event {findings[0].number if findings else count}"


def open_samples(session: Session, limit: int) -> int:
    """Open the names of patients spread over the record; how many. Raises `VaultError` where one does not open."""
    ids = list(session.scalars(select(PatientKey.patient_id).order_by(PatientKey.patient_id)))
    chosen = ids[:: max(1, len(ids) // limit)] if ids else []
    opened = 0
    for start in range(0, len(chosen), AT_ONCE):
        part = chosen[start : start + AT_ONCE]
        learn_keys(session, part)
        for patient in session.scalars(select(Patient).where(Patient.id.in_(part))):
            opened += patient.family_name is not None
    return opened


def hash_overlays(settings: Settings) -> dict[str, str]:
    """The clinic's own protocol and text files, with the SHA-256 of each; the shipped ones come with the program."""
    found = {}
    for name, folder, pattern in (
        ("protocols", settings.protocols_dir, "*.toml"),
        ("templates", settings.templates_dir, "email/**/*.md"),
    ):
        if SHIPPED in (folder.resolve(), folder.resolve().parent):
            continue
        for path in sorted(folder.glob(pattern)):
            found[f"{name}/{path.relative_to(folder).as_posix()}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@contextmanager
def workplace(data_dir: Path, now: float) -> Iterator[Path]:
    """A folder in the data folder for a restored copy, gone at the end; what a killed process left a day ago goes too.

    `now` in seconds since 1970. It holds what the database holds: names and texts stay sealed in it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    for left in data_dir.glob("restoring-*"):
        if now - left.stat().st_mtime > LEFT_BEHIND.total_seconds():
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="restoring-", dir=data_dir) as folder:
        yield Path(folder)
