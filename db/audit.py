"""The audit chain: recording events, verifying the chain, and anchors kept outside the database.

An event's MAC covers its number, the MAC before it and all its columns, keyed by the audit key, so a
changed, removed, inserted or reordered row shows. A cut tail shows against the head and the last anchor.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy import Select, and_, exists, insert, select, true, update
from sqlalchemy.orm import Session

from db.sealed import vault_of
from db.staff import AuditEvent, AuditHead

LATEST = 20_000  # events a day's list looks back over; a busy clinic makes fewer in a day
TELL_EVERY = 2_000  # events between two words about progress, and loaded at once
FIRST_MAC = b"\0" * 32


class Noted(TypedDict):
    """An event noted in a session, before it is chained."""

    action: str
    subject: str | None
    subject_id: str | None
    patient_id: UUID | None
    fields: list[str]


@dataclass(frozen=True, slots=True)
class ChainFinding:
    """One place where the chain does not hold; `number` is the event's."""

    number: int
    problem: str


def record(
    session: Session,
    action: str,
    subject: str | None = None,
    subject_id: UUID | str | None = None,
    patient_id: UUID | None = None,
    fields: Iterable[str] = (),
) -> None:
    """Note an event of this session's actor; it is chained when the transaction commits.

    `fields` are names of what changed or was shown, never values.
    """
    session.info.setdefault("audit", []).append(
        {
            "action": action,
            "subject": subject,
            "subject_id": None if subject_id is None else str(subject_id),
            "patient_id": patient_id,
            "fields": sorted(fields),
        }
    )


def list_pending(session: Session) -> list[Noted]:
    """The events noted in this session and not chained yet."""
    pending: list[Noted] = session.info.get("audit", [])
    return pending


def append_pending(session: Session) -> None:
    """Chain the events noted in this session, locking the head last."""
    pending = list_pending(session)
    session.info.pop("audit", None)
    if not pending:
        return
    key = vault_of(session).ring.audit
    number, mac = session.execute(select(AuditHead.number, AuditHead.mac).with_for_update()).one()
    rows = []
    for event in pending:
        number += 1
        row = {**event, "number": number, "at": session.info["at"], "actor": session.info["actor"], "previous_mac": mac}
        mac = _mac(key, row)
        rows.append({**row, "mac": mac})
    session.execute(insert(AuditEvent), rows)
    session.execute(update(AuditHead).values(number=number, mac=mac))


def list_events(session: Session, patient_id: UUID | None = None, limit: int = 200) -> list[AuditEvent]:
    """The newest events first, of one patient or of all."""
    query = select(AuditEvent).order_by(AuditEvent.number.desc()).limit(limit)
    if patient_id is not None:
        query = query.where(AuditEvent.patient_id == patient_id)
    return list(session.scalars(query))


def find_latest(session: Session, action: str) -> AuditEvent | None:
    """The newest event of an action, or None."""
    query = select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.number.desc())
    return session.scalar(query.limit(1))


def find_known(session: Session, told: Sequence[tuple[UUID, datetime, str]]) -> set[tuple[UUID, datetime, str]]:
    """Of these (patient, instant, action) those that the trail has."""
    query = select(AuditEvent.patient_id, AuditEvent.at, AuditEvent.action).where(
        AuditEvent.patient_id.in_({one[0] for one in told}), AuditEvent.at.in_({one[1] for one in told})
    )
    return {(row[0], row[1], row[2]) for row in session.execute(query) if row[0] is not None} & set(told)


def find_subjects(session: Session, action: str, subject_ids: Sequence[str]) -> set[str]:
    """Of these subjects those of which the trail has an event with that action."""
    query = select(AuditEvent.subject_id).where(AuditEvent.action == action, AuditEvent.subject_id.in_(subject_ids))
    return {found for found in session.scalars(query) if found is not None}


def find_last(session: Session) -> AuditEvent | None:
    """The newest event, or None."""
    return session.scalar(select(AuditEvent).order_by(AuditEvent.number.desc()).limit(1))


def latest_of(actions: Sequence[str]) -> Select[Any]:
    """Which of these actions was the last: a part of a query."""
    query = select(AuditEvent.action).where(AuditEvent.action.in_(actions))
    return query.order_by(AuditEvent.number.desc()).limit(1)


def list_of_action(session: Session, action: str) -> list[AuditEvent]:
    """All events of an action that is rare, the first first."""
    query = select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.number)
    return list(session.scalars(query))


def find_happened(session: Session, *actions: tuple[str, str | None]) -> list[bool]:
    """Whether each action happened at all, about that subject where one is named: one query."""
    asked = [
        exists().where(AuditEvent.action == action, *([AuditEvent.subject_id == subject] if subject else []))
        for action, subject in actions
    ]
    return [bool(answer) for answer in session.execute(select(*asked)).one()]


def count_events(session: Session) -> int:
    """How many events there are, as the head says."""
    return session.scalar(select(AuditHead.number)) or 0


def list_since(
    session: Session, since: datetime, actions: Iterable[str], limit: int, but_with: str | None = None
) -> list[AuditEvent]:
    """The newest events of these actions since an instant, the newest first; none of a transaction of which `but_with`
    is an event: what one import wrote has the instant of the import.

    Numbers rise with time, so only the end of the trail is looked at, however long it is.
    """
    head = select(AuditHead.number).scalar_subquery()
    recent = and_(AuditEvent.number > head - LATEST, AuditEvent.at >= since)
    query = select(AuditEvent).where(recent, AuditEvent.action.in_(list(actions)))
    if but_with is not None:
        query = query.where(AuditEvent.at.not_in(select(AuditEvent.at).where(recent, AuditEvent.action == but_with)))
    return list(session.scalars(query.order_by(AuditEvent.number.desc()).limit(limit)))


def verify(
    session: Session, anchors: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> tuple[int, list[ChainFinding]]:
    """Check the whole chain, its head and the anchors: how many events, and every place where it breaks.

    `progress` is told now and then how many events of how many were looked at.
    """
    total = count_events(session) if progress else 0
    key = vault_of(session).ring.audit
    findings: list[ChainFinding] = []
    anchored = _read_anchors(key, anchors, findings) if anchors is not None else {}
    expected, mac, count = 1, FIRST_MAC, 0
    before: bytes | None = mac  # None behind an event that cannot be read: nobody knows what followed it
    for number, event in _each(session):
        count += 1
        if progress and count % TELL_EVERY == 0:
            progress(count, max(count, total))
        if number != expected:
            findings.append(ChainFinding(expected, "is missing"))
        elif event is not None and before is not None and event.previous_mac != before:
            findings.append(ChainFinding(number, "does not follow the event before it"))
        if event is None or not _is_as_written(key, event):
            findings.append(ChainFinding(number, "was changed after it was written"))
        if event is not None and number in anchored and anchored.pop(number) != event.mac:
            findings.append(ChainFinding(number, "differs from the anchor kept outside the database"))
        anchored.pop(number, None)
        before = None if event is None else event.mac
        expected, mac = number + 1, b"" if event is None else event.mac
    try:
        head = session.execute(select(AuditHead.number, AuditHead.mac)).one_or_none()
    except _NO_VALUE:
        head = None
    if head is None:
        findings.append(ChainFinding(expected, "the chain has no head"))
    elif head.number >= expected:
        findings.append(ChainFinding(head.number, "is missing: the end of the chain was cut off"))
    elif (head.number, head.mac) != (expected - 1, mac):
        findings.append(ChainFinding(expected - 1, "is not what the chain's head says"))
    findings += [ChainFinding(number, "was anchored outside the database and is missing") for number in anchored]
    return count, findings


def write_anchor(session: Session, path: Path, at: datetime) -> bool:
    """Append the chain's head to the anchor file, durable. False when the head is anchored already."""
    key = vault_of(session).ring.audit
    head = session.execute(select(AuditHead.number, AuditHead.mac)).one()
    if head.number == 0 or any(number == head.number for number, _ in _anchor_lines(path)):
        return False
    entry = {"number": head.number, "mac": head.mac.hex(), "at": at.isoformat()}
    entry["seal"] = _seal_anchor(key, entry)
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return True


_COLUMNS = [column for column in AuditEvent.__mapper__.column_attrs if column.key != "mac"]
# What a column raises that was changed into no value of its kind: SQLite takes any into any column.
_NO_VALUE = (ValueError, TypeError, OverflowError)


def _each(session: Session) -> Iterator[tuple[int, AuditEvent | None]]:
    """All events with their numbers, the first first; None for one that cannot be read."""
    numbers = select(AuditEvent.number).order_by(AuditEvent.number).limit(TELL_EVERY)
    events = select(AuditEvent).order_by(AuditEvent.number).limit(TELL_EVERY)
    last: int | None = None
    while True:
        after = AuditEvent.number > last if last is not None else true()
        try:
            found: list[tuple[int, AuditEvent | None]] = [(e.number, e) for e in session.scalars(events.where(after))]
        except _NO_VALUE:
            found = [(number, _readable(session, number)) for number in list(session.scalars(numbers.where(after)))]
        if not found:
            return
        yield from found
        last = found[-1][0]


def _readable(session: Session, number: int) -> AuditEvent | None:
    try:
        return session.scalar(select(AuditEvent).where(AuditEvent.number == number))
    except _NO_VALUE:
        return None


def _is_as_written(key: bytes, event: AuditEvent) -> bool:
    try:
        return hmac.compare_digest(event.mac, _mac(key, {c.key: getattr(event, c.key) for c in _COLUMNS}))
    except _NO_VALUE:
        return False


def _mac(key: bytes, row: dict[str, Any]) -> bytes:
    at: datetime = row["at"]
    told = [
        row["number"],
        at.isoformat(timespec="microseconds"),
        row["actor"],
        row["action"],
        row["subject"],
        row["subject_id"],
        None if row["patient_id"] is None else str(row["patient_id"]),
        list(row["fields"]),
        bytes(row["previous_mac"]).hex(),
    ]
    return hmac.new(key, json.dumps(told, ensure_ascii=False).encode(), hashlib.sha256).digest()


def anchored_number(line: str) -> int:
    """The number of the event that a line of the anchor file is about; -1 when it is no such line."""
    try:
        return int(json.loads(line)["number"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return -1


def _anchor_lines(path: Path) -> Iterator[tuple[int, str]]:
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            yield anchored_number(line), line


def _read_anchors(key: bytes, path: Path, findings: list[ChainFinding]) -> dict[int, bytes]:
    anchored: dict[int, bytes] = {}
    for number, line in _anchor_lines(path):
        entry: dict[str, Any] = json.loads(line) if number >= 0 else {}
        seal = str(entry.pop("seal", ""))
        if not hmac.compare_digest(seal.encode(errors="replace"), _seal_anchor(key, entry).encode()):
            findings.append(ChainFinding(max(number, 0), "has an anchor that was changed"))
        else:
            anchored[number] = bytes.fromhex(entry["mac"])
    return anchored


def _seal_anchor(key: bytes, entry: dict[str, Any]) -> str:
    return hmac.new(key, json.dumps(["anchor", entry], sort_keys=True).encode(), hashlib.sha256).hexdigest()
