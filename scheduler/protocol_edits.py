"""Writing protocols on the screen: what is wrong with a text, and saving it as a draft; an approved version stays.

Files are never written: what is saved is a version in the database. Reading a text is in `scheduler.protocols`, what a
form changes of one step in `scheduler.step_edits`.
"""

import tomllib
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit
from db import care_plans as stored_plans
from db import library as stored
from db.follow_up import ProtocolVersion
from db.states import Origin
from scheduler.clinic import Clinic
from scheduler.errors import Refused
from scheduler.library import Shelf, ShelvedProtocol
from scheduler.planning.protocol import Protocol
from scheduler.protocols import Finding, ProtocolInvalid, Status, check_successor, content_hash, read_protocol
from scheduler.replanning import outdate, replan_each
from scheduler.toml_edits import set_value
from scheduler.toml_lines import find_lines, line_of


@dataclass(frozen=True, slots=True)
class SavedProtocol:
    """A version as it was saved: its number, whether it says anything new, how many patients were planned again."""

    version_id: UUID
    number: int
    changed: bool
    replanned: int


def read_draft(shelf: Shelf, key: str, source: str) -> tuple[str, Protocol]:
    """The text that would be saved, with the version it would get, and what it says.

    Raises `ProtocolInvalid` with every finding, `NotFound`, or `Refused` for a protocol that its file retired.
    """
    newest = _newest(shelf, key)
    number = newest.protocol.version + newest.approved
    text = source.replace("\r\n", "\n").replace("\r", "\n").rstrip() + "\n"
    text = _with_version(text, f"{key}.toml", number)
    protocol = read_protocol(text, f"{key}.toml", {text_id[0] for text_id in shelf.latest})
    check_successor(text, f"{key}.toml", protocol, [shelved.protocol for shelved in shelf.list_versions(key)])
    return text, protocol


def save(clinic: Clinic, actor: str, key: str, source: str, base: str) -> SavedProtocol:
    """Store a text as the draft of a protocol: the draft there is, or the next version after an approved one.

    `base` is the hash of the version it was written from. Patients on the draft are planned again. Raises like
    `read_draft`, and `Refused` when somebody saved another version meanwhile.
    """
    with clinic.store.write(actor, clinic.clock.now()) as session:
        stored.lock_protocol(session, key)  # before the shelf is looked at: an approval under way ends first
        shelf = clinic.library.shelf(session)
        newest = _newest(shelf, key)
        if newest.content_hash != base:
            raise Refused(
                "somebody saved another version of this protocol while you wrote; open it in another window and bring "
                "both together, then save again"
            )
        text, protocol = read_draft(shelf, key, source)
        if _says_nothing_new(newest, text, protocol.version):
            return SavedProtocol(newest.version_id, newest.protocol.version, changed=False, replanned=0)
        version_id = _store(session, actor, newest, text, protocol.version)
        touched = outdate(session, stored_plans.list_patients_on(session, [version_id]))
        clinic.library.forget()
    return SavedProtocol(version_id, protocol.version, changed=True, replanned=replan_each(clinic, actor, touched))


def _newest(shelf: Shelf, key: str) -> ShelvedProtocol:
    newest = shelf.list_versions(key)[-1]
    if key in shelf.retired:
        raise Refused(
            f'the protocol "{key}" is retired in its file: it takes no new treatments and is not changed here'
        )
    return newest


def _with_version(text: str, file: str, number: int) -> str:
    """The text with the number the program gives it; one that is no TOML, or has none, is told when it is read."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    if document.get("status") == Status.RETIRED.value:
        line = line_of(find_lines(text), ("status",))
        problem = 'status "retired": a protocol is retired in its file, not on the screen; expected draft'
        raise ProtocolInvalid([Finding(file, line, problem)])
    found = document.get("version")
    return set_value(text, (), "version", number) if type(found) is int and found != number else text


def _says_nothing_new(newest: ShelvedProtocol, text: str, number: int) -> bool:
    before = newest.source.replace("\r\n", "\n").rstrip() + "\n"
    if newest.approved:
        before = set_value(before, (), "version", number)
    return before == text


def _store(session: Session, actor: str, newest: ShelvedProtocol, text: str, number: int) -> UUID:
    """Approved versions stay as they are; a draft is written again, whoever wrote it, so that its plans follow."""
    key, digest = newest.protocol.key, content_hash(text)
    if newest.approved:
        version = stored.add_protocol_version(session, key, number, text, digest, Origin.SCREEN, actor)
    else:
        version = session.get_one(ProtocolVersion, newest.version_id)
        stored.rewrite_protocol_version(session, version, text, digest, Origin.SCREEN, actor)
    audit.record(session, "protocol.written", "protocol", f"{key} {number}", fields=["content"])
    return version.id
