"""Use cases about protocols and texts: what an approval would cover, giving it, and the clinic's own values.

Files are never written: an approval is a row over one content, and the stored content is what runs.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db import audit
from db import care_plans as stored_plans
from db import library as stored
from db import patients as stored_patients
from db.follow_up import ProtocolText
from db.reminders import list_patients_held
from db.states import Approvable, Reason
from scheduler.clinic import Clinic
from scheduler.entries import clean_text
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.library import Shelf, ShelvedProtocol, ShelvedText
from scheduler.message_source import Source
from scheduler.protocols import content_hash
from scheduler.replanning import Progress, outdate, replan_each
from scheduler.template_files import TextFinding


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that stands between a version and its approval: a sentence, and the value or text it is about."""

    words: str
    name: str
    is_empty: bool = False  # a value that only the clinic can give
    finding: TextFinding | None = None
    text: Source | None = None  # which text the finding is about


@dataclass(frozen=True, slots=True)
class Scope:
    """What approving a protocol would approve: the version with its values, and the texts not approved yet."""

    protocol: ShelvedProtocol
    texts: Sequence[ShelvedText]
    values: dict[str, str]
    covers_protocol: bool  # False: the version and its values are approved already
    writers: frozenset[str] = frozenset()  # who wrote on the screen what is still to be approved
    left_out: tuple[str, ...] = ()  # languages of texts that wait too, and that nobody here reads

    @property
    def nothing_new(self) -> bool:
        """Whether all of it is approved already."""
        return not self.covers_protocol and not self.texts

    @property
    def seal(self) -> str:
        """Changes with anything of it: a page that showed one scope approves no other."""
        parts = [self.protocol.version_id.hex, self.protocol.content_hash, *map(repr, sorted(self.values.items()))]
        return content_hash("\n".join([*parts, *(text.version_id.hex for text in self.texts)]))


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


def languages_read(session: Session, clinic: Clinic) -> frozenset[str]:
    """The clinic's own language and those of its patients (`de-at` with `de`): texts in others are nobody's to read."""
    spoken = {clinic.settings.clinic_language, *stored_patients.list_languages(session)}
    return frozenset(name for tongue in map(str.lower, spoken) for name in (tongue, tongue.partition("-")[0]))


def scope_of(clinic: Clinic, key: str, read: Sequence[str] = (), languages: Collection[str] | None = None) -> Scope:
    """What approving the newest version of a protocol covers: with its texts, in the languages that are read here.

    `languages` names others. Whoever approves answers for each word of it, so texts that no patient gets are left out.
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
        rows = stored.list_text_rows(session).get(key, {})
        languages = languages_read(session, clinic) if languages is None else languages
    values = {name: row.value for name, row in rows.items()}
    lacks = lacks_of(clinic, shelf, shelved, values, languages)
    if lacks:
        problems = [lack.words + (f": protocol text {key} {lack.name} --value TEXT" * lack.is_empty) for lack in lacks]
        raise Refused("\n".join([f'the protocol "{key}" cannot be approved:', *problems]))
    waiting = texts_waiting(shelf, shelved)
    texts = [text for text in waiting if text.source.language in languages]
    left_out = {text.source.language for text in waiting} - set(languages)
    written = [text.written_by for text in texts] + [shelved.written_by] * (not shelved.approved)
    written += [row.recorded_by for row in rows.values() if not shelved.approved or _is_new(shelved, row)]
    covers = not shelved.approved or dict(shelved.texts) != values
    return Scope(shelved, texts, values, covers, frozenset(filter(None, written)), tuple(sorted(left_out)))


def texts_waiting(shelf: Shelf, shelved: ShelvedProtocol) -> list[ShelvedText]:
    """The texts of a protocol whose newest content is not approved, in every language."""
    return [text for text in _texts_of(shelf, shelved) if not _is_approved(shelf, text)]


def lacks_of(
    clinic: Clinic, shelf: Shelf, shelved: ShelvedProtocol, values: Mapping[str, str], languages: Collection[str]
) -> list[Lack]:
    """Why a version cannot be approved: every empty required value, and every text that is missing or fails a gate."""
    found = [
        Lack(f'the text "{text.key}" is empty', text.key, is_empty=True)
        for text in shelved.protocol.texts
        if text.required and not values.get(text.key)
    ]
    known = {text.source.key for text in _texts_of(shelf, shelved) if text.source.language in languages}
    found += [Lack(f'the text "{name}" has no file', name) for name in shelved.protocol.templates if name not in known]
    for text in shelved.protocol.texts:
        found += [Lack(words, text.key) for words in _revealing(clinic, text.key, values.get(text.key, ""))]
    waiting = [text for text in texts_waiting(shelf, shelved) if text.source.language in languages]
    return found + list(_failing(clinic, shelf, waiting))


def _is_new(shelved: ShelvedProtocol, row: ProtocolText) -> bool:
    return bool(row.value != shelved.texts.get(row.name))


def approve_protocol(
    clinic: Clinic,
    actor: str,
    scope: Scope,
    by: str,
    progress: Progress | None = None,
    alone_because: str | None = None,
) -> Approved:
    """Approve what was shown and replan who was held for it; `progress` is told how many of how many.

    Whether it takes a second person is for `scheduler.second_person` to say; `alone_because` is why it took none.
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
            version_id, digest = now_there.version_id, now_there.content_hash
            stored.add_approval(session, Approvable.PROTOCOL, version_id, digest, scope.values, name, alone_because)
            audit.record(session, "protocol.approved", "protocol", now_there.version_id, fields=["content", "texts"])
        for text in scope.texts:
            _approve_text(session, text, name, alone_because)
        touched = outdate(session, list_patients_held(session, Reason.NOT_APPROVED))
    return Approved(scope.covers_protocol, len(scope.texts), replan_each(clinic, actor, touched, progress))


def texts_to_approve(
    clinic: Clinic, key: str, language: str | None = None, level: str | None = None
) -> list[ShelvedText]:
    """The newest contents of a text, in all languages and levels or only those, that are not approved yet.

    Raises `NotFound` for an unknown key, `Refused` when one fails its gates.
    """
    with clinic.store.read() as session:
        shelf = clinic.library.shelf(session)
    found = [text for text in shelf.latest.values() if text.source.key == key]
    if language is not None:
        found = [text for text in found if text.source.language == language]
    if level is not None:
        found = [text for text in found if text.source.level == level]
    if not found:
        known = ", ".join(sorted({text.source.key for text in shelf.latest.values()}))
        raise NotFound(f'there is no text "{key}"{f" in {language}" if language else ""}; there are: {known}')
    waiting = [text for text in found if not _is_approved(shelf, text)]
    problems = [lack.words for lack in _failing(clinic, shelf, waiting)]
    if problems:
        raise Refused("\n".join([f'the text "{key}" cannot be approved:', *problems]))
    return waiting


def approve_texts(
    clinic: Clinic,
    actor: str,
    texts: Sequence[ShelvedText],
    by: str,
    progress: Progress | None = None,
    alone_because: str | None = None,
) -> Approved:
    """Approve contents of texts that were shown. Like `approve_protocol`."""
    name = _name(by)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        shelf = clinic.library.shelf(session)
        latest = {text.version_id for text in shelf.latest.values()}
        if any(text.version_id not in latest for text in texts):
            raise Refused("a text changed since it was shown; look at it again")
        for text in texts:
            _approve_text(session, text, name, alone_because)
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


def _approve_text(session: Session, text: ShelvedText, by: str, alone_because: str | None) -> None:
    stored.add_approval(session, Approvable.TEMPLATE, text.version_id, text.content_hash, {}, by, alone_because)
    audit.record(session, "template.approved", "template", text.version_id, fields=["content"])


def _is_approved(shelf: Shelf, text: ShelvedText) -> bool:
    source = text.source
    current = shelf.approved.get((source.key, source.language, source.level))
    return current is not None and current.version_id == text.version_id


def _texts_of(shelf: Shelf, shelved: ShelvedProtocol) -> list[ShelvedText]:
    wanted = set(shelved.protocol.templates)
    return [text for key, text in sorted(shelf.latest.items()) if key[0] in wanted]


def _failing(clinic: Clinic, shelf: Shelf, texts: Iterable[ShelvedText]) -> Iterator[Lack]:
    sources = {key: text.source for key, text in shelf.latest.items()}
    for text in texts:
        for finding in clinic.library.findings(text.source, sources):
            if finding.severity == "fail":
                yield Lack(str(finding), text.source.key, finding=finding, text=text.source)


def _name(by: str) -> str:
    cleaned, problem = clean_text(by, "by", 200)
    if problem or not cleaned:
        raise InvalidInput(problem or "by: write the name of the clinician who approves")
    return cleaned
