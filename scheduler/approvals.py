"""Use cases about protocols and texts: what an approval would cover, giving it, and the clinic's own values.

Files are never written: an approval is a row over one content, and the stored content is what runs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db import audit
from db import care_plans as stored_plans
from db import library as stored
from db.reminders import list_patients_held
from db.states import Approvable, Reason
from scheduler.clinic import Clinic
from scheduler.entries import clean_text
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.library import Shelf, ShelvedProtocol, ShelvedText
from scheduler.replanning import Progress, outdate, replan_each
from scheduler.template_files import check_text


@dataclass(frozen=True, slots=True)
class Scope:
    """What approving a protocol would approve: the version with its values, and the texts not approved yet."""

    protocol: ShelvedProtocol
    texts: Sequence[ShelvedText]
    values: dict[str, str]
    covers_protocol: bool  # False: the version and its values are approved already

    @property
    def nothing_new(self) -> bool:
        """Whether all of it is approved already."""
        return not self.covers_protocol and not self.texts


@dataclass(frozen=True, slots=True)
class Approved:
    """What was approved, and how many patients were planned again."""

    protocol: bool
    texts: int
    replanned: int


def read_files(clinic: Clinic, actor: str) -> list[str]:
    """Read protocol and text files into the record and replan who follows a changed draft; problems found."""
    with clinic.store.write(actor, clinic.clock.now()) as session:
        reading = clinic.library.read_files(session)
        touched = outdate(session, stored_plans.list_patients_on(session, reading.changed) if reading.changed else [])
    replan_each(clinic, actor, touched)
    return reading.problems


def scope_of(clinic: Clinic, key: str, read: Sequence[str] = ()) -> Scope:
    """What approving the newest version of a protocol covers.

    `read` are the problems that `read_files` has just found: what the file says now is meant to be approved, so one
    in the protocol's own file refuses. Raises `NotFound`, or `Refused` naming these, every empty required text and
    every text that fails its gates.
    """
    wrong = [problem for problem in read if problem.startswith(f"{key}.toml")]
    if wrong:
        raise Refused("\n".join([f'the protocol "{key}" cannot be approved as its file stands:', *wrong]))
    with clinic.store.read() as session:
        shelf = clinic.library.shelf(session)
        shelved = shelf.list_versions(key)[-1]
        values = stored.list_texts(session).get(key, {})
        texts = [text for text in _texts_of(shelf, shelved) if not _is_approved(shelf, text)]
    problems = [
        f'the text "{text.key}" is empty: protocol text {key} {text.key} --value TEXT'
        for text in shelved.protocol.texts
        if text.required and not values.get(text.key)
    ]
    known = {text.source.key for text in _texts_of(shelf, shelved)}
    problems += [f'the text "{name}" has no file' for name in shelved.protocol.templates if name not in known]
    problems += [
        problem for text in shelved.protocol.texts for problem in _revealing(clinic, text.key, values.get(text.key, ""))
    ]
    problems += _failures(clinic, shelf, texts)
    if problems:
        raise Refused("\n".join([f'the protocol "{key}" cannot be approved:', *problems]))
    covers = not shelved.approved or dict(shelved.texts) != values
    return Scope(shelved, texts, values, covers)


def approve_protocol(clinic: Clinic, actor: str, scope: Scope, by: str, progress: Progress | None = None) -> Approved:
    """Approve what was shown and replan who was held for it; `progress` is told how many of how many.

    Raises `Refused` when it changed since, `InvalidInput` without a name.
    """
    name = _name(by)
    if scope.nothing_new:
        return Approved(protocol=False, texts=0, replanned=0)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        stored.lock_protocol(session, scope.protocol.protocol.key)
        shelf = clinic.library.shelf(session)
        now_there = shelf.get(scope.protocol.version_id)
        latest = {text.version_id for text in shelf.latest.values()}
        if (
            now_there.content_hash != scope.protocol.content_hash
            or stored.list_texts(session).get(now_there.protocol.key, {}) != scope.values
            or any(text.version_id not in latest for text in scope.texts)
        ):
            raise Refused("the protocol or a text changed since it was shown; look at it again")
        if scope.covers_protocol:
            stored.add_approval(
                session, Approvable.PROTOCOL, now_there.version_id, now_there.content_hash, scope.values, name
            )
            audit.record(session, "protocol.approved", "protocol", now_there.version_id, fields=["content", "texts"])
        for text in scope.texts:
            _approve_text(session, text, name)
        touched = outdate(session, list_patients_held(session, Reason.NOT_APPROVED))
    return Approved(scope.covers_protocol, len(scope.texts), replan_each(clinic, actor, touched, progress))


def texts_to_approve(clinic: Clinic, key: str, language: str | None = None) -> list[ShelvedText]:
    """The newest contents of a text, in all languages and levels or one language, that are not approved yet.

    Raises `NotFound` for an unknown key, `Refused` when one fails its gates.
    """
    with clinic.store.read() as session:
        shelf = clinic.library.shelf(session)
    found = [text for text in shelf.latest.values() if text.source.key == key]
    if language is not None:
        found = [text for text in found if text.source.language == language]
    if not found:
        known = ", ".join(sorted({text.source.key for text in shelf.latest.values()}))
        raise NotFound(f'there is no text "{key}"{f" in {language}" if language else ""}; there are: {known}')
    waiting = [text for text in found if not _is_approved(shelf, text)]
    problems = _failures(clinic, shelf, waiting)
    if problems:
        raise Refused("\n".join([f'the text "{key}" cannot be approved:', *problems]))
    return waiting


def approve_texts(
    clinic: Clinic, actor: str, texts: Sequence[ShelvedText], by: str, progress: Progress | None = None
) -> Approved:
    """Approve contents of texts that were shown."""
    name = _name(by)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        shelf = clinic.library.shelf(session)
        latest = {text.version_id for text in shelf.latest.values()}
        if any(text.version_id not in latest for text in texts):
            raise Refused("a text changed since it was shown; look at it again")
        for text in texts:
            _approve_text(session, text, name)
        touched = outdate(session, list_patients_held(session, Reason.NOT_APPROVED) if texts else [])
    return Approved(protocol=False, texts=len(texts), replanned=replan_each(clinic, actor, touched, progress))


def set_text(clinic: Clinic, actor: str, key: str, name: str, value: str) -> None:
    """Give a value that only the clinic can give; it is used once the protocol is approved (again)."""
    cleaned, problem = clean_text(value, "value", 4_000)
    if problem or not cleaned:
        raise InvalidInput(problem or "value: write the text")
    read_files(clinic, actor)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        protocol = clinic.library.shelf(session).list_versions(key)[-1].protocol
        names = [text.key for text in protocol.texts]
        if name not in names:
            raise InvalidInput(f'"{name}" is no text of "{key}"; there are: {", ".join(names) or "none"}')
        problems = _revealing(clinic, name, cleaned)
        if problems:
            raise InvalidInput(*problems)
        stored.set_text(session, key, name, cleaned)
        audit.record(session, "protocol.text_set", "protocol", key, fields=[name])


def _revealing(clinic: Clinic, name: str, value: str) -> list[str]:
    """Why a clinic's own value would hold every mail that prints it: mails without a recorded wish stay neutral."""
    words = clinic.library.words(clinic.settings.clinic_language)
    return [
        f'the text "{name}" holds "{word}", which no mail may show; say it in neutral words, or on the care sheet'
        for word in words.general_body.find(words.compared(value))
    ]


def _approve_text(session: Session, text: ShelvedText, by: str) -> None:
    stored.add_approval(session, Approvable.TEMPLATE, text.version_id, text.content_hash, {}, by)
    audit.record(session, "template.approved", "template", text.version_id, fields=["content"])


def _is_approved(shelf: Shelf, text: ShelvedText) -> bool:
    source = text.source
    current = shelf.approved.get((source.key, source.language, source.level))
    return current is not None and current.version_id == text.version_id


def _texts_of(shelf: Shelf, shelved: ShelvedProtocol) -> list[ShelvedText]:
    wanted = set(shelved.protocol.templates)
    return [text for key, text in sorted(shelf.latest.items()) if key[0] in wanted]


def _failures(clinic: Clinic, shelf: Shelf, texts: Iterable[ShelvedText]) -> list[str]:
    sources = {key: text.source for key, text in shelf.latest.items()}
    return [
        str(finding)
        for text in texts
        for finding in check_text(text.source, sources, clinic.library.words(text.source.language))
        if finding.severity == "fail"
    ]


def _name(by: str) -> str:
    cleaned, problem = clean_text(by, "by", 200)
    if problem or not cleaned:
        raise InvalidInput(problem or "by: write the name of the clinician who approves")
    return cleaned
