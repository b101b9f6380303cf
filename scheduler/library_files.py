"""Reading the protocol and text files into versions: only a file that changed since it was last read takes over.

The versions in force are on the shelf of `scheduler.library`; what is written on the screen is in `text_edits` and
`protocol_edits`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit
from db import library as stored
from db.advisory import await_lock
from db.engine import instant_of
from db.follow_up import ProtocolVersion
from db.states import Origin
from scheduler.errors import InvalidInput
from scheduler.message_source import parse_source
from scheduler.planning.protocol import Protocol
from scheduler.protocols import (
    ProtocolInvalid,
    check_successor,
    content_hash,
    list_protocol_files,
    read_protocol,
)
from scheduler.template_files import TextId, list_templates, read_source


@dataclass(slots=True)
class Reading:
    """What reading the files found: problems with file and line, protocol versions whose draft text changed, and
    whether a version was written."""

    problems: list[str] = field(default_factory=list)
    changed: list[UUID] = field(default_factory=list)
    wrote: bool = False


class LibraryFiles:
    """The folders of a clinic, the one named first lying over the others."""

    def __init__(self, protocol_folders: Sequence[Path], template_folders: Sequence[Path]) -> None:
        self._protocol_folders = protocol_folders
        self._template_folders = template_folders

    def read(self, session: Session) -> Reading:
        """Bring new versions, drafts' changes and new texts from the files into the database.

        A file that is wrong is told and left out; what was stored from it before stays in force. A version that was
        approved never changes: its file then has to raise the version. What a file said when it was last read is
        remembered, so that one that stands still is not looked through again, and never undoes what was written on the
        screen since.
        """
        await_lock(session, "library files")  # processes that start together would each store what is new
        return _Reader(session).read(
            list_protocol_files(self._protocol_folders), list_templates(self._template_folders)
        )


class _Reader:
    """One reading."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.reading = Reading()
        self.seen = stored.list_files(session)

    def read(self, protocols: Mapping[str, Path], texts: Mapping[TextId, Path]) -> Reading:
        keys = self._read_texts(texts)
        for key, path in sorted(protocols.items()):
            try:
                source = path.read_text(encoding="utf-8")
                digest, place = content_hash(source), f"protocols/{key}"
                if self.seen.get(place) == digest:
                    continue
                protocol = read_protocol(source, path.name, keys)
            except ProtocolInvalid as wrong:
                self.reading.problems += wrong.problems
                continue
            except (OSError, UnicodeDecodeError):
                self.reading.problems.append(f"{path.name}: cannot be read: expected a text file in UTF-8")
                continue
            versions = stored.lock_protocol(self.session, key)
            try:
                earlier = [read_protocol(row.source, path.name) for row in versions]
                check_successor(source, path.name, protocol, earlier)
            except ProtocolInvalid as wrong:
                self.reading.problems += wrong.problems
                continue
            problem = self._take_protocol(protocol, source, digest, versions)
            if problem:
                self.reading.problems.append(f"{path.name}: {problem}")
            else:
                stored.note_file(self.session, place, digest)
        self.session.flush()
        return self.reading

    def _take_protocol(
        self, protocol: Protocol, source: str, digest: str, versions: Sequence[ProtocolVersion]
    ) -> str | None:
        """Store what a file says that changed; why it cannot be, or None."""
        key, number, session = protocol.key, protocol.version, self.session
        version = next((row for row in versions if row.number == number), None)
        is_stored = version is not None and version.content_hash == digest
        if not is_stored and versions and versions[-1].number > number and versions[-1].origin is Origin.SCREEN:
            rest = (
                "to retire the protocol, copy that version into the file" if protocol.retired else "raise the version"
            )
            return f"version {versions[-1].number} was written on the screen; {rest}"
        if version is None:
            version = stored.add_protocol_version(session, key, number, source, digest)
            self.reading.wrote = True
            audit.record(session, "protocol.seen", "protocol", f"{key} {number}")
        elif not is_stored:
            if version.origin is Origin.FILE and not stored.find_approved(session, [version.id]):
                stored.rewrite_protocol_version(session, version, source, digest)
                self.reading.changed.append(version.id)
                self.reading.wrote = True
                audit.record(session, "protocol.draft_changed", "protocol", f"{key} {number}")
            elif not _only_retires(version.source, source):
                if version.origin is Origin.SCREEN:
                    return f"version {number} was written on the screen; raise the version"
                return f"version {number} is approved and its text differs: raise the version"
        if version.retired != protocol.retired:
            version.retired, version.seen_at = protocol.retired, instant_of(session)
            self.reading.wrote = True
            audit.record(session, "protocol.retired", "protocol", f"{key} {number}")
        return None

    def _read_texts(self, files: Mapping[TextId, Path]) -> set[str]:
        """Store new contents; the keys of all texts there are, in files or written on the screen."""
        rows = stored.list_template_versions(self.session)
        known = {(row.key, row.language, row.level, row.content_hash): row for row in rows}
        newest = {(row.key, row.language, row.level): row.id for row in rows}
        for text_id, path in sorted(files.items()):
            try:
                source = read_source(path)
                digest, place = content_hash(source.text), "/".join((source.language, source.key, source.level))
                if self.seen.get(place) == digest:
                    continue
                parse_source(source)
            except InvalidInput as wrong:
                self.reading.problems += wrong.problems
                continue
            found = known.get((*text_id, digest))
            if found is None:
                stored.add_template_version(self.session, *text_id, source.text, digest)
                self.reading.wrote = True
            elif place in self.seen and newest[text_id] != found.id:
                stored.renew_template_version(self.session, found)  # the file went back to an earlier content
                self.reading.wrote = True
            stored.note_file(self.session, place, digest)
        self.session.flush()
        return {key for key, _, _ in (*files, *newest)}


def _only_retires(before: str, after: str) -> bool:
    """Whether a file differs from its approved text in the one line that may change: `status = "retired"`."""

    def rest(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.split("=")[0].strip() != "status"]

    return rest(before) == rest(after)
