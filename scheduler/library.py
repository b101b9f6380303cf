"""The protocols and texts in force: versions from files and screen, frozen by approval; the stored text runs.

Reading the files is in `scheduler.library_files`, the grammar of a protocol in `scheduler.protocols`.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from db import library as stored
from db.follow_up import Approval, TemplateVersion
from db.states import Approvable, Origin
from scheduler.errors import NotFound, Refused
from scheduler.library_files import LibraryFiles, Reading
from scheduler.message_source import Source
from scheduler.planning.protocol import CONFIRM, Protocol
from scheduler.protocols import read_protocol
from scheduler.template_files import TextFinding, TextId, check_text
from scheduler.word_lists import WordList, load_word_list


@dataclass(frozen=True, slots=True)
class GivenApproval:
    """Who approved a content, when, and why alone where she had written it herself."""

    by: str
    at: datetime
    alone_because: str | None


@dataclass(frozen=True, slots=True)
class ShelvedProtocol:
    """One protocol version. `texts` are the clinic's values: frozen with the approval, the latest ones before."""

    version_id: UUID
    protocol: Protocol
    source: str
    content_hash: str
    approval: GivenApproval | None
    texts: Mapping[str, str]
    origin: Origin
    written_by: str | None
    seen_at: datetime

    @property
    def approved(self) -> bool:
        """Whether it may be sent from."""
        return self.approval is not None

    @property
    def approved_by(self) -> str | None:
        """The clinician who approved it."""
        return self.approval.by if self.approval else None


@dataclass(frozen=True, slots=True)
class ShelvedText:
    """One content of a message source. `approval`: the last it was given, whether or not another came after it."""

    version_id: UUID
    source: Source
    content_hash: str
    approval: GivenApproval | None
    origin: Origin
    written_by: str | None
    seen_at: datetime

    @property
    def approved(self) -> bool:
        """Whether a clinician ever approved this content."""
        return self.approval is not None


class MessageTexts(NamedTuple):
    """What one message is made of, all in one language."""

    text: ShelvedText
    urgent: ShelvedText | None  # the question whether an address is hers has neither block nor footer
    footer: ShelvedText | None


@dataclass(frozen=True, slots=True)
class Shelf:
    """The library at one moment. `approved` holds the last approved text of each key, language and level, `latest`
    the one seen last, approved or not, `texts` every content there ever was, the oldest first."""

    protocols: Mapping[UUID, ShelvedProtocol]
    approved: Mapping[tuple[str, str, str], ShelvedText]
    latest: Mapping[tuple[str, str, str], ShelvedText]
    retired: frozenset[str]  # keys whose newest version says so: no new treatments
    default_language: str
    texts: Mapping[UUID, ShelvedText] = field(default_factory=dict)

    def get(self, version_id: UUID) -> ShelvedProtocol:
        """The protocol of a care plan."""
        return self.protocols[version_id]

    def list_versions(self, key: str) -> list[ShelvedProtocol]:
        """All versions of a protocol, the lowest first. Raises `NotFound` for an unknown key."""
        found = [shelved for shelved in self.protocols.values() if shelved.protocol.key == key]
        if not found:
            known = sorted({shelved.protocol.key for shelved in self.protocols.values()})
            near = difflib.get_close_matches(key, known, 1)
            meant = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(known) or 'none'}"
            raise NotFound(f'there is no protocol "{key}"{meant}')
        return sorted(found, key=lambda shelved: shelved.protocol.version)

    def for_new_treatment(self, key: str) -> ShelvedProtocol:
        """What a new treatment takes: the highest approved version, else the highest draft."""
        versions = self.list_versions(key)
        if key in self.retired:
            raise Refused(f'the protocol "{key}" is retired: no new treatments are entered for it')
        return next((shelved for shelved in reversed(versions) if shelved.approved), versions[-1])

    def find_message(
        self, protocol: Protocol, key: str, language: str, level: str, approved_only: bool = True
    ) -> MessageTexts | None:
        """The texts of one message: in her language (`de-at`, then `de`), else in the clinic's; full, else general.

        Urgent block and footer are in the language of the text; a language in which one of the three is not approved
        does not count. Without `approved_only`, where nothing could be sent yet, the newest texts stand in.
        """
        if not approved_only:
            found = self.find_message(protocol, key, language, level)
            if found is not None:
                return found
        levels = (level, "general") if level == "full" else ("general",)
        for tongue in dict.fromkeys((language, language.partition("-")[0], self.default_language)):
            text = self._pick(key, tongue, levels, approved_only)
            if text and key == CONFIRM.template:
                return MessageTexts(text, None, None)
            urgent, footer = (self.find_part(name, tongue, approved_only) for name in (protocol.urgent, "_footer"))
            if text and urgent and footer:
                return MessageTexts(text, urgent, footer)
        return None

    def find_part(self, key: str, language: str, approved_only: bool = True) -> ShelvedText | None:
        """A part of messages or pages, in exactly that language."""
        return self._pick(key, language, ("general",), approved_only)

    def sendable(self, protocol: Protocol, language: str) -> frozenset[str]:
        """Keys of the protocol's texts that may be sent to someone of that language."""
        return frozenset(
            key for key in protocol.templates if self.find_message(protocol, key, language, "general") is not None
        )

    def _pick(self, key: str, language: str, levels: Sequence[str], approved_only: bool) -> ShelvedText | None:
        sources = (self.approved,) if approved_only else (self.approved, self.latest)
        return next(
            (texts[(key, language, level)] for texts in sources for level in levels if (key, language, level) in texts),
            None,
        )


class Library:
    """Reads the files into the database and keeps the shelf at hand while nothing in it changes."""

    def __init__(
        self, protocol_folders: Sequence[Path], template_folders: Sequence[Path], default_language: str
    ) -> None:
        self._files = LibraryFiles(protocol_folders, template_folders)
        self._template_folders = template_folders
        self._default_language = default_language
        self._shelf: tuple[stored.LibraryStamp, Shelf] | None = None
        self._words: dict[str, WordList] = {}

    def shelf(self, session: Session) -> Shelf:
        """The library as stored. A reading session sees one snapshot: it is looked for once there."""
        kept = session.info.get("shelf")
        if isinstance(kept, Shelf):
            return kept
        stamp = stored.find_stamp(session)
        if self._shelf is None or self._shelf[0] != stamp:
            self._shelf = (stamp, self._read_shelf(session))
        if "actor" not in session.info:
            session.info["shelf"] = self._shelf[1]
        return self._shelf[1]

    def words(self, language: str) -> WordList:
        """The words that must not be seen, in a language; read once."""
        if language not in self._words:
            self._words[language] = load_word_list(language, self._template_folders)
        return self._words[language]

    def read_files(self, session: Session) -> Reading:
        """Bring what changed in the files since they were last read into the database."""
        reading = self._files.read(session)
        if reading.wrote:
            self.forget()
        return reading

    def findings(self, source: Source, sources: Mapping[TextId, Source]) -> Sequence[TextFinding]:
        """What `check_text` says of a stored text, which is asked for again and again and takes 15 ms."""
        parts = (sources.get((name, source.language, "general")) for name in ("urgent_general", "_footer"))
        return _check_once(source, *parts, words=self.words(source.language))

    def forget(self) -> None:
        """Read the shelf anew next time: a change within the stamp's own instant would not show in it."""
        self._shelf = None

    def _read_shelf(self, session: Session) -> Shelf:
        values = stored.list_texts(session)
        given = stored.list_approvals(session)
        by_version = {row.version_id: row for row in given}
        protocols = {}
        retired: dict[str, bool] = {}
        for version in stored.list_protocol_versions(session):
            retired[version.key] = version.retired
            approval = by_version.get(version.id)
            protocols[version.id] = ShelvedProtocol(
                version_id=version.id,
                protocol=_read_once(version.source, version.key),
                source=version.source,
                content_hash=version.content_hash,
                approval=_given(approval),
                texts=approval.texts if approval else values.get(version.key, {}),
                origin=version.origin,
                written_by=version.written_by,
                seen_at=version.seen_at,
            )
        texts = {row.id: _shelved(row, by_version.get(row.id)) for row in stored.list_template_versions(session)}
        latest = {_text_id(text): text for text in texts.values()}
        approved = {}
        for approval in given:
            if approval.what is Approvable.TEMPLATE:
                approved[_text_id(texts[approval.version_id])] = texts[approval.version_id]
        gone = frozenset(key for key, is_retired in retired.items() if is_retired)
        return Shelf(protocols, approved, latest, gone, self._default_language, texts)


@lru_cache(maxsize=256)
def _read_once(source: str, key: str) -> Protocol:
    return read_protocol(source, f"{key}.toml")


@lru_cache(maxsize=1024)
def _check_once(source: Source, *parts: Source | None, words: WordList) -> tuple[TextFinding, ...]:
    sources = {(part.key, part.language, part.level): part for part in parts if part is not None}
    return tuple(check_text(source, sources, words))


def _given(approval: Approval | None) -> GivenApproval | None:
    if approval is None:
        return None
    return GivenApproval(approval.approved_by, approval.approved_at, approval.alone_because)


def _shelved(row: TemplateVersion, approval: Approval | None) -> ShelvedText:
    source = Source(row.key, row.language, row.level, row.source)
    return ShelvedText(row.id, source, row.content_hash, _given(approval), row.origin, row.written_by, row.seen_at)


def _text_id(text: ShelvedText) -> TextId:
    return text.source.key, text.source.language, text.source.level
