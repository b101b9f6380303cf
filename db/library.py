"""Queries and writes about protocol and text versions, the clinic's own values, and approvals."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import BigInteger, func, select, type_coerce
from sqlalchemy.orm import Session

from db.conditions import live
from db.engine import actor_of, instant_of
from db.follow_up import Approval, CarePlan, LibraryFile, ProtocolText, ProtocolVersion, Reminder, TemplateVersion
from db.states import Approvable, Audience, CarePlanStatus, Origin
from db.types import new_id

RUNNING = (CarePlanStatus.ACTIVE, CarePlanStatus.ON_HOLD)
_PRIME = 999_999_999_989  # below 10**12 microseconds, about eleven days: a million rows still fit a 64-bit sum


@dataclass(frozen=True, slots=True)
class LibraryStamp:
    """Changes whenever anything in the library does: by how many rows there are and when each was written.

    The sum is over remainders, so that it stays small; it shows a row written again while the clock stood earlier.
    """

    counts: tuple[int, ...]
    sums: tuple[int, ...]


def find_stamp(session: Session) -> LibraryStamp:
    """The library's present stamp, in one query."""
    parts = (
        (ProtocolVersion.id, ProtocolVersion.seen_at),
        (TemplateVersion.id, TemplateVersion.seen_at),
        (ProtocolText.id, ProtocolText.recorded_at),
        (Approval.id, Approval.approved_at),
    )
    columns = [
        select(what).scalar_subquery()
        for id_, at in parts
        for what in (func.count(id_), func.coalesce(func.sum(type_coerce(at, BigInteger) % _PRIME), 0))
    ]
    row = [int(number) for number in session.execute(select(*columns)).one()]
    return LibraryStamp(counts=tuple(row[0::2]), sums=tuple(row[1::2]))


def list_protocol_versions(session: Session) -> list[ProtocolVersion]:
    """All protocol versions by key and number."""
    return list(session.scalars(select(ProtocolVersion).order_by(ProtocolVersion.key, ProtocolVersion.number)))


def lock_protocol(session: Session, key: str) -> list[ProtocolVersion]:
    """A protocol's versions, locked: a draft is not rewritten while somebody approves it, nor the other way round."""
    query = select(ProtocolVersion).where(ProtocolVersion.key == key).order_by(ProtocolVersion.number)
    return list(session.scalars(query.with_for_update().execution_options(populate_existing=True)))


def find_approved(session: Session, version_ids: Collection[UUID]) -> set[UUID]:
    """Which of these versions a clinician has approved."""
    return set(session.scalars(select(Approval.version_id).where(Approval.version_id.in_(version_ids))))


def add_protocol_version(
    session: Session,
    key: str,
    number: int,
    source: str,
    content_hash: str,
    origin: Origin = Origin.FILE,
    written_by: str | None = None,
) -> ProtocolVersion:
    """Store a version seen for the first time, or written on the screen."""
    version = ProtocolVersion(
        id=new_id(),
        key=key,
        number=number,
        source=source,
        content_hash=content_hash,
        seen_at=instant_of(session),
        origin=origin,
        written_by=written_by,
    )
    session.add(version)
    session.flush()
    return version


def rewrite_protocol_version(
    session: Session,
    version: ProtocolVersion,
    source: str,
    content_hash: str,
    origin: Origin = Origin.FILE,
    written_by: str | None = None,
) -> None:
    """Give a draft another text. Its instant moves on in any case, so that the library's stamp shows it."""
    version.source, version.content_hash = source, content_hash
    version.origin, version.written_by = origin, written_by
    version.seen_at = _after(version.seen_at, instant_of(session))
    session.flush()


def list_template_versions(session: Session) -> list[TemplateVersion]:
    """All text versions, the first seen first."""
    return list(session.scalars(select(TemplateVersion).order_by(TemplateVersion.seen_at, TemplateVersion.id)))


def add_template_version(
    session: Session,
    key: str,
    language: str,
    level: str,
    source: str,
    content_hash: str,
    origin: Origin = Origin.FILE,
    written_by: str | None = None,
) -> TemplateVersion:
    """Store a text's content seen, or written on the screen, for the first time: it is the newest."""
    version = TemplateVersion(
        id=new_id(),
        key=key,
        language=language,
        level=level,
        source=source,
        content_hash=content_hash,
        seen_at=_newest(session, key, language, level),
        origin=origin,
        written_by=written_by,
    )
    session.add(version)
    session.flush()
    return version


def renew_template_version(session: Session, version: TemplateVersion) -> None:
    """Let an earlier content of a text be the newest again."""
    version.seen_at = _newest(session, version.key, version.language, version.level)
    session.flush()


def _newest(session: Session, key: str, language: str, level: str) -> datetime:
    """An instant that makes a content the newest of its text, even with the clock set back."""
    last = session.scalar(
        select(func.max(TemplateVersion.seen_at)).where(
            TemplateVersion.key == key, TemplateVersion.language == language, TemplateVersion.level == level
        )
    )
    return _after(last, instant_of(session))


def _after(last: datetime | None, now: datetime) -> datetime:
    return now if last is None else max(now, last + timedelta(microseconds=1))


def list_running_plans(
    session: Session,
    version_ids: Collection[UUID],
    limit: int | None = None,
    after: UUID | None = None,
    newest_first: bool = False,
) -> list[CarePlan]:
    """Running care plans on these protocol versions by id, which is the order in which they were made."""
    query = select(CarePlan).where(CarePlan.protocol_version_id.in_(version_ids), CarePlan.status.in_(RUNNING))
    if after is not None:
        query = query.where(CarePlan.id > after)
    order = CarePlan.id.desc() if newest_first else CarePlan.id
    return list(session.scalars(query.order_by(order).limit(limit)))


def count_running_plans(session: Session) -> dict[UUID, int]:
    """How many running care plans follow each protocol version; versions without any are not there."""
    query = select(CarePlan.protocol_version_id, func.count()).where(CarePlan.status.in_(RUNNING))
    return {row[0]: row[1] for row in session.execute(query.group_by(CarePlan.protocol_version_id))}


def count_unsent(session: Session, version_ids: Collection[UUID], most: int) -> int:
    """How many messages of running care plans on these versions have not left; not counted further than `most`."""
    found = (
        select(Reminder.id)
        .join(CarePlan, CarePlan.id == Reminder.care_plan_id)
        .where(CarePlan.protocol_version_id.in_(version_ids), CarePlan.status.in_(RUNNING), live())
        .where(Reminder.audience == Audience.PATIENT)
        .limit(most)
    )
    return session.scalar(select(func.count()).select_from(found.subquery())) or 0


def list_files(session: Session) -> dict[str, str]:
    """What each file said when it was last read: path -> hash of its content."""
    return {row.path: row.content_hash for row in session.scalars(select(LibraryFile))}


def note_file(session: Session, path: str, content_hash: str) -> None:
    """Note what a file says now that it was read."""
    session.merge(LibraryFile(path=path, content_hash=content_hash, read_at=instant_of(session)))


def list_approvals(session: Session) -> list[Approval]:
    """All approvals in the order given."""
    return list(session.scalars(select(Approval).order_by(Approval.approved_at, Approval.id)))


def add_approval(
    session: Session,
    what: Approvable,
    version_id: UUID,
    content_hash: str,
    texts: Mapping[str, str],
    by: str,
    alone_because: str | None = None,
) -> None:
    """Record an approval of one content. `alone_because`: why no second person gave it."""
    session.add(
        Approval(
            id=new_id(),
            what=what,
            version_id=version_id,
            content_hash=content_hash,
            texts=dict(texts),
            approved_by=by,
            approved_at=instant_of(session),
            alone_because=alone_because,
        )
    )
    session.flush()


def set_text(session: Session, protocol_key: str, name: str, value: str) -> None:
    """Record a value that only the clinic can give."""
    session.add(
        ProtocolText(
            id=new_id(),
            protocol_key=protocol_key,
            name=name,
            value=value,
            recorded_at=instant_of(session),
            recorded_by=actor_of(session),
        )
    )
    session.flush()


def list_text_rows(session: Session) -> dict[str, dict[str, ProtocolText]]:
    """The latest row of each text of each protocol: its value, and who gave it."""
    latest: dict[str, dict[str, ProtocolText]] = {}
    for row in session.scalars(select(ProtocolText).order_by(ProtocolText.recorded_at, ProtocolText.id)):
        latest.setdefault(row.protocol_key, {})[row.name] = row
    return latest


def list_texts(session: Session) -> dict[str, dict[str, str]]:
    """The latest value of each text of each protocol."""
    rows = list_text_rows(session)
    return {key: {name: row.value for name, row in by_name.items()} for key, by_name in rows.items()}
