"""The stop journal's file: every fact that forbids a message, beside the database, durable before its commit.

Which facts those are is in `scheduler.stop_facts`; what becomes of those a database lacks in `stop_journal`.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from db.audit import Noted
from db.vault import Vault
from scheduler.errors import AftercareError
from scheduler.settings import Settings
from scheduler.stop_facts import facts_of

_PURPOSE = "stop journal"
_TAIL = 65_536  # bytes looked at for the last whole line; a line has about 200
ID_LETTERS = 32


def path_of(settings: Settings) -> Path:
    """Where the journal of these settings is."""
    return settings.data_dir / "stops.log"


class JournalDamaged(AftercareError, OSError):
    """The end of the journal is no entry of ours: nothing can be chained to it, and no stop be stored."""


@dataclass(frozen=True, slots=True)
class StopEntry:
    """One fact: about whom, what (an action of the trail), when. No text, no value."""

    number: int
    patient_id: UUID
    fact: str
    at: datetime
    mac: str

    @property
    def told(self) -> tuple[int, datetime, UUID, str]:
        """What its MAC covers beside the one before it."""
        return (self.number, self.at, self.patient_id, self.fact)

    @property
    def id(self) -> str:
        """How the trail names this entry."""
        return self.mac[:ID_LETTERS]


@dataclass(frozen=True, slots=True)
class Journal:
    """What the file holds. `problems`: lines that are not what was written; a last line that was cut off is none."""

    exists: bool
    entries: Sequence[StopEntry] = ()
    problems: Sequence[str] = ()


class StopLog:
    """Appends to the file; several threads and processes of one machine may."""

    def __init__(self, path: Path, vault: Vault) -> None:
        self._path = path
        self._vault = vault

    def note(self, events: Sequence[Noted], at: datetime) -> None:
        """Append those of a transaction's events that forbid a message, with one flush; returns when they are durable.

        Raises `OSError` when they cannot be: the transaction must not commit then.
        """
        facts = facts_of(events)
        if not facts:
            return
        with self._opened() as (descriptor, is_new):
            end, last = _end_of(descriptor)
            number, mac = (last.number, last.mac) if last else (0, "")
            lines = []
            for patient_id, fact in facts:
                number += 1
                mac = _mac(self._vault, mac, number, at, patient_id, fact)
                line = {"number": number, "at": at.isoformat(), "patient": str(patient_id), "fact": fact, "mac": mac}
                lines.append(json.dumps(line) + "\n")
            written = "".join(lines).encode()
            os.ftruncate(descriptor, end)  # a line that a kill cut off was never followed by its commit
            try:
                _write_all(descriptor, written, end)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
            if is_new:
                _flush_folder(self._path.parent)

    @contextmanager
    def _opened(self) -> Iterator[tuple[int, bool]]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor, is_new
        finally:
            os.close(descriptor)


def read_journal(path: Path, vault: Vault, latest: int | None = None) -> Journal:
    """All entries, or the latest so many, each checked against the one before it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Journal(exists=False)
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    entries: list[StopEntry] = []
    problems = []
    first = 1 if latest is None else max(1, len(lines) - latest + 1)
    before: str | None = "" if first == 1 else None
    for place, line in enumerate(lines[first - 1 :], start=first):
        entry = _parse(line)
        if entry is None:
            problems.append(f"line {place} is not an entry")
            continue
        told = before if before is None else _mac(vault, before, *entry.told)
        if told not in (None, entry.mac):
            problems.append(f"line {place} was changed, or a line before it is missing")
        entries.append(entry)  # believed all the same: too many stops only hold
        before = entry.mac
    return Journal(True, entries, problems)


def last_number(path: Path) -> int:
    """The number of the last entry, 0 without one; only the end of the file is read."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        _, last = _end_of(descriptor)
    except JournalDamaged:
        return 0
    finally:
        os.close(descriptor)
    return last.number if last else 0


def _end_of(descriptor: int) -> tuple[int, StopEntry | None]:
    """Where the last whole line ends, and what it says. Raises `JournalDamaged`."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - _TAIL)
    tail = os.pread(descriptor, size - start, start)
    cut = tail.rfind(b"\n") + 1
    for line in reversed(tail[:cut].splitlines()):
        entry = _parse(line)
        if entry is not None:
            return start + cut, entry
    if start + cut:
        raise JournalDamaged("the stop journal ends with lines that are not its own: move it away and start again")
    return 0, None


def _parse(line: bytes) -> StopEntry | None:
    try:
        told: dict[str, Any] = json.loads(line)
        at = datetime.fromisoformat(told["at"])
        entry = StopEntry(int(told["number"]), UUID(told["patient"]), str(told["fact"]), at, str(told["mac"]))
    except (ValueError, KeyError, TypeError):
        return None
    return entry if at.tzinfo is not None else None


def _mac(vault: Vault, before: str, number: int, at: datetime, patient_id: UUID, fact: str) -> str:
    told = json.dumps([before, number, at.isoformat(), str(patient_id), fact])
    return vault.content_mac(_PURPOSE, told).hex()


def _write_all(descriptor: int, content: bytes, at: int) -> None:
    while content:
        written = os.pwrite(descriptor, content, at)
        content, at = content[written:], at + written


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
