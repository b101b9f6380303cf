"""Queries and writes about protocol and text versions, the clinic's own values, and approvals."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import BigInteger, func, select, type_coerce
from sqlalchemy.orm import Session

from db.engine import actor_of, instant_of
from db.follow_up import Approval, ProtocolText, ProtocolVersion, TemplateVersion
from db.states import Approvable
from db.types import new_id

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


def add_protocol_version(session: Session, key: str, number: int, source: str, content_hash: str) -> ProtocolVersion:
    """Store a version seen for the first time."""
    version = ProtocolVersion(
        id=new_id(), key=key, number=number, source=source, content_hash=content_hash, seen_at=instant_of(session)
    )
    session.add(version)
    session.flush()
    return version


def list_template_versions(session: Session) -> list[TemplateVersion]:
    """All text versions, the first seen first."""
    return list(session.scalars(select(TemplateVersion).order_by(TemplateVersion.seen_at, TemplateVersion.id)))


def add_template_version(
    session: Session, key: str, language: str, level: str, source: str, content_hash: str
) -> TemplateVersion:
    """Store a text's content seen for the first time."""
    version = TemplateVersion(
        id=new_id(),
        key=key,
        language=language,
        level=level,
        source=source,
        content_hash=content_hash,
        seen_at=instant_of(session),
    )
    session.add(version)
    session.flush()
    return version


def list_approvals(session: Session) -> list[Approval]:
    """All approvals in the order given."""
    return list(session.scalars(select(Approval).order_by(Approval.approved_at, Approval.id)))


def add_approval(
    session: Session, what: Approvable, version_id: UUID, content_hash: str, texts: Mapping[str, str], by: str
) -> None:
    """Record an approval of one content."""
    session.add(
        Approval(
            id=new_id(),
            what=what,
            version_id=version_id,
            content_hash=content_hash,
            texts=dict(texts),
            approved_by=by,
            approved_at=instant_of(session),
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


def list_texts(session: Session) -> dict[str, dict[str, str]]:
    """The latest value of each text of each protocol."""
    latest: dict[str, dict[str, str]] = {}
    for row in session.scalars(select(ProtocolText).order_by(ProtocolText.recorded_at, ProtocolText.id)):
        latest.setdefault(row.protocol_key, {})[row.name] = row.value
    return latest
