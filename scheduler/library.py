"""The protocols and texts in force: files are read into versions, approval freezes them, the stored text runs.

Reading one protocol file is in `scheduler.protocols`, one text in `scheduler.message_source`.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit
from db import library as stored
from db.engine import instant_of
from db.states import Approvable
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.message_source import Source, parse_source
from scheduler.planning.protocol import Protocol
from scheduler.protocols import ProtocolInvalid, content_hash, list_protocol_files, read_protocol
from scheduler.template_files import list_templates, read_source
from scheduler.word_lists import WordList, load_word_list


@dataclass(frozen=True, slots=True)
class ShelvedProtocol:
    """One protocol version. `texts` are the clinic's values: frozen with the approval, the latest ones before."""

    version_id: UUID
    protocol: Protocol
    source: str
    content_hash: str
    approved: bool
    approved_by: str | None
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ShelvedText:
    """One content of a message source."""

    version_id: UUID
    source: Source
    content_hash: str
    approved: bool


class MessageTexts(NamedTuple):
    """What one message is made of, all in one language."""

    text: ShelvedText
    urgent: ShelvedText
    footer: ShelvedText


@dataclass(frozen=True, slots=True)
class Shelf:
    """The library at one moment. `approved` holds the last approved text of each key, language and level, `latest`
    the one seen last, approved or not."""

    protocols: Mapping[UUID, ShelvedProtocol]
    approved: Mapping[tuple[str, str, str], ShelvedText]
    latest: Mapping[tuple[str, str, str], ShelvedText]
    retired: frozenset[str]  # keys whose newest version says so: no new treatments
    default_language: str

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
            parts = (self._pick(name, tongue, ("general",), approved_only) for name in (protocol.urgent, "_footer"))
            text, urgent, footer = self._pick(key, tongue, levels, approved_only), *parts
            if text and urgent and footer:
                return MessageTexts(text, urgent, footer)
        return None

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


@dataclass(slots=True)
class Reading:
    """What reading the files found: problems with file and line, protocol versions whose draft text changed, and
    whether anything was written."""

    problems: list[str] = field(default_factory=list)
    changed: list[UUID] = field(default_factory=list)
    wrote: bool = False


class Library:
    """Reads the files into the database and keeps the shelf at hand while nothing in it changes."""

    def __init__(
        self, protocol_folders: Sequence[Path], template_folders: Sequence[Path], default_language: str
    ) -> None:
        self._protocol_folders = protocol_folders
        self._template_folders = template_folders
        self._default_language = default_language
        self._shelf: tuple[stored.LibraryStamp, Shelf] | None = None
        self._parsed: dict[str, Protocol] = {}
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
        """Bring new versions, drafts' changes and new texts from the files into the database.

        A file that is wrong is told and left out; what was stored from it before stays in force. A version that was
        approved never changes: its file then has to raise the version.
        """
        reading = Reading()
        self._read_texts(session, reading)
        keys = {key for key, _, _ in self._text_files()}
        shelf = self.shelf(session)
        versions = {(v.key, v.number): v for v in stored.list_protocol_versions(session)}
        for key, path in sorted(list_protocol_files(self._protocol_folders).items()):
            try:
                source = path.read_text(encoding="utf-8")
                protocol = read_protocol(source, path.name, keys)
            except ProtocolInvalid as wrong:
                reading.problems += wrong.problems
                continue
            except (OSError, UnicodeDecodeError):
                reading.problems.append(f"{path.name}: cannot be read: expected a text file in UTF-8")
                continue
            digest = content_hash(source)
            version = versions.get((key, protocol.version))
            if version is None:
                version = stored.add_protocol_version(session, key, protocol.version, source, digest)
                reading.wrote = True
                audit.record(session, "protocol.seen", "protocol", f"{key} {protocol.version}")
            elif version.content_hash != digest:
                if shelf.get(version.id).approved and not _only_retires(version.source, source):
                    reading.problems.append(
                        f"{path.name}: version {protocol.version} is approved and its text differs: raise the version"
                    )
                    continue
                if not shelf.get(version.id).approved:
                    version.source, version.content_hash, version.seen_at = source, digest, instant_of(session)
                    reading.changed.append(version.id)
                    reading.wrote = True
                    audit.record(session, "protocol.draft_changed", "protocol", f"{key} {protocol.version}")
            if version.retired != protocol.retired:
                version.retired, version.seen_at = protocol.retired, instant_of(session)
                reading.wrote = True
                audit.record(session, "protocol.retired", "protocol", f"{key} {protocol.version}")
        session.flush()
        if reading.wrote:
            self._shelf = None  # a change within the stamp's own instant would not show in it
        return reading

    def _text_files(self) -> Mapping[tuple[str, str, str], Path]:
        return list_templates(self._template_folders)

    def _read_texts(self, session: Session, reading: Reading) -> None:
        known = {(v.key, v.language, v.level, v.content_hash): v for v in stored.list_template_versions(session)}
        newest: dict[tuple[str, str, str], UUID] = {}
        for (key, language, level, _), version in known.items():
            newest[(key, language, level)] = version.id
        for (key, language, level), path in sorted(self._text_files().items()):
            try:
                source = read_source(path)
                parse_source(source)
            except InvalidInput as wrong:
                reading.problems += wrong.problems
                continue
            digest = content_hash(source.text)
            seen = known.get((key, language, level, digest))
            if seen is not None:
                if newest[(key, language, level)] != seen.id:
                    seen.seen_at = instant_of(session)  # the file went back to an earlier content
                    reading.wrote = True
                continue
            stored.add_template_version(session, key, language, level, source.text, digest)
            reading.wrote = True
        session.flush()

    def _read_shelf(self, session: Session) -> Shelf:
        texts = stored.list_texts(session)
        approvals = stored.list_approvals(session)
        by_version = {approval.version_id: approval for approval in approvals}
        protocols = {}
        retired: dict[str, bool] = {}
        for version in stored.list_protocol_versions(session):
            retired[version.key] = version.retired
            approval = by_version.get(version.id)
            protocols[version.id] = ShelvedProtocol(
                version_id=version.id,
                protocol=self._parse(version.source, version.content_hash, version.key),
                source=version.source,
                content_hash=version.content_hash,
                approved=approval is not None,
                approved_by=approval.approved_by if approval else None,
                texts=approval.texts if approval else texts.get(version.key, {}),
            )
        latest = {}
        by_id = {}
        approved_ids = {approval.version_id for approval in approvals if approval.what is Approvable.TEMPLATE}
        for row in stored.list_template_versions(session):
            source = Source(row.key, row.language, row.level, row.source)
            text = ShelvedText(row.id, source, row.content_hash, row.id in approved_ids)
            latest[(row.key, row.language, row.level)] = text
            by_id[row.id] = text
        approved = {}
        for approval in approvals:
            if approval.what is Approvable.TEMPLATE:
                text = by_id[approval.version_id]
                approved[(text.source.key, text.source.language, text.source.level)] = text
        gone = frozenset(key for key, is_retired in retired.items() if is_retired)
        return Shelf(protocols, approved, latest, gone, self._default_language)

    def _parse(self, source: str, digest: str, key: str) -> Protocol:
        if digest not in self._parsed:
            self._parsed[digest] = read_protocol(source, f"{key}.toml")
        return self._parsed[digest]


def _only_retires(before: str, after: str) -> bool:
    """Whether a file differs from its approved text in the one line that may change: `status = "retired"`."""

    def rest(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.split("=")[0].strip() != "status"]

    return rest(before) == rest(after)
