"""Writing texts on the screen: a source as its three fields and back, what is wrong with it, saving it as a version.

Files are never written: what is saved is a version in the database, which a clinician then approves. The grammar of a
source is in `scheduler.message_source`, the gates are in `scheduler.template_files`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit
from db import library as stored
from db.states import Origin
from scheduler.clinic import Clinic
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.library import Shelf, ShelvedText
from scheduler.message_samples import sample_values
from scheduler.message_source import Source, SourceInvalid, names_used, parse_source
from scheduler.messages import RenderFailed, compile_message, plain_text
from scheduler.protocols import content_hash
from scheduler.readability import Readability, measure
from scheduler.template_files import TextFinding, TextId, check_text

LEVELS: Final = ("general", "full")
LONGEST_LINE: Final = 200  # characters of subject and preheader, as typed
LONGEST_BODY: Final = 20_000

_KEY = re.compile(r"[a-z][a-z0-9_]{0,59}", re.ASCII)
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*", re.ASCII)  # as patients have it
_TAKEN: Final = {"new"}  # the address of the page that makes one
_FENCE: Final = "+++"


@dataclass(frozen=True, slots=True)
class TextDraft:
    """A text as somebody edits it. A part (urgent block, footer) has neither subject nor preheader."""

    key: str
    language: str
    level: str
    subject: str
    preheader: str
    body: str

    @property
    def id(self) -> TextId:
        """Which text it is."""
        return self.key, self.language, self.level


@dataclass(frozen=True, slots=True)
class TextNote:
    """One finding where its writer sees it: the field it is in, and the line of the body, counted from 1.

    "broken" cannot be saved, "fail" cannot be approved, "warn" is to be looked at.
    """

    field: str | None
    line: int | None
    severity: Literal["warn", "fail", "broken"]
    problem: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        return f"{place}{self.problem}"


@dataclass(frozen=True, slots=True)
class TextLook:
    """What can be said of a draft: its findings, and how easy it is to read where it can be read at all."""

    notes: Sequence[TextNote]
    readability: Readability | None

    @property
    def broken(self) -> list[TextNote]:
        """What keeps it from being saved."""
        return [note for note in self.notes if note.severity == "broken"]

    @property
    def failing(self) -> list[TextNote]:
        """What keeps it from being approved."""
        return [note for note in self.notes if note.severity != "warn"]


@dataclass(frozen=True, slots=True)
class Saved:
    """A version that was saved; `changed`: False when it said the same as the newest one."""

    version_id: UUID
    changed: bool


def draft_of(source: Source) -> TextDraft:
    """A stored source as its three fields. Raises `SourceInvalid`."""
    front = parse_source(source).front
    lines = source.text.replace("\r\n", "\n").split("\n")
    end = next(at for at, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE)
    body = "\n".join(lines[end + 1 :]).strip("\n")
    return TextDraft(source.key, source.language, source.level, front.subject, front.preheader, body)


def source_of(draft: TextDraft) -> Source:
    """A draft as a source: its front matter is ours."""
    source = Source(draft.key, draft.language, draft.level, "")
    front = "" if source.is_part else f"subject = {_quoted(draft.subject)}\npreheader = {_quoted(draft.preheader)}\n"
    return replace(source, text=f"{_FENCE}\n{front}{_FENCE}\n{_plain(draft.body)}\n")


def look_at(clinic: Clinic, shelf: Shelf, draft: TextDraft) -> TextLook:
    """Every gate for a draft: grammar, discreet wording, readability. Reads only."""
    source = source_of(draft)
    sources = {text_id: text.source for text_id, text in shelf.latest.items()} | {draft.id: source}
    broken = _grammar(source, sources)
    typed = draft.body.replace("\r\n", "\n")
    head = (2 if source.is_part else 4) - (len(typed) - len(typed.lstrip("\n")))  # lines of ours before those typed
    if broken:
        notes = [_note(source, finding.line, finding.problem, "broken", head) for finding in broken]
        return TextLook(tuple(notes), None)
    words = clinic.library.words(source.language)
    found: list[TextFinding] = check_text(source, sources, words)
    notes = [_note(source, finding.line, finding.problem, finding.severity, head) for finding in found]
    return TextLook(tuple(notes), read_grade(source))


def read_grade(source: Source) -> Readability | None:
    """How easy a text is to read, filled in with sample values; None where it cannot be filled in."""
    try:
        return measure(plain_text(source, sample_values(source.language, names_used(source))), source.language)
    except (SourceInvalid, RenderFailed):
        return None


def save(clinic: Clinic, actor: str, draft: TextDraft, base: str | None) -> Saved:
    """Store a draft as the newest version of its text. `base` is the hash of the one it was written from.

    Raises `InvalidInput` for what is no text (every problem by its field), `Refused` when somebody saved another
    version meanwhile, or there is one already where a new text was meant.
    """
    check_names(draft)
    draft = replace(draft, subject=draft.subject.strip(), preheader=draft.preheader.strip(), body=_plain(draft.body))
    with clinic.store.write(actor, clinic.clock.now()) as session:
        shelf = clinic.library.shelf(session)
        newest = shelf.latest.get(draft.id)
        _check_base(newest, base)
        look = look_at(clinic, shelf, draft)
        if look.broken:
            raise InvalidInput(*(f"{note.field or 'text'}: {note}" for note in look.broken))
        if newest is not None and draft_of(newest.source) == draft:
            return Saved(newest.version_id, changed=False)
        version_id = _store(session, actor, source_of(draft))
        clinic.library.forget()
        return Saved(version_id, changed=True)


def _store(session: Session, actor: str, source: Source) -> UUID:
    """A content that was there before becomes the newest again; its approval and its writer stay its own."""
    digest = content_hash(source.text)
    known = next(
        (
            row
            for row in stored.list_template_versions(session)
            if (row.key, row.language, row.level, row.content_hash)
            == (source.key, source.language, source.level, digest)
        ),
        None,
    )
    if known is None:
        known = stored.add_template_version(
            session, source.key, source.language, source.level, source.text, digest, Origin.SCREEN, actor
        )
    else:
        stored.renew_template_version(session, known)
    audit.record(session, "template.written", "template", known.id, fields=["content"])
    return known.id


def check_names(draft: TextDraft) -> None:
    """Refuse what cannot be a text's key, language or level, and fields that are too long. Raises `InvalidInput`."""
    problems = []
    is_part = Source(draft.key, draft.language, draft.level, "").is_part
    if draft.key != "_footer" and (not _KEY.fullmatch(draft.key) or draft.key in _TAKEN):
        problems.append("key: write small letters, digits and _, like how_are_you")
    if not _LANGUAGE.fullmatch(draft.language):
        problems.append("language: write a code, like en or de")
    if draft.level not in LEVELS:
        problems.append("level: choose general or full")
    elif is_part and draft.level == "full":
        problems.append("level: urgent blocks and the footer are the same at every level")
    for name, value in (("subject", draft.subject), ("preheader", draft.preheader)):
        if len(value) > LONGEST_LINE:
            problems.append(f"{name}: write at most {LONGEST_LINE} characters")
    if len(draft.body) > LONGEST_BODY:
        problems.append(f"body: write at most {LONGEST_BODY} characters")
    if problems:
        raise InvalidInput(*problems)


def _check_base(newest: ShelvedText | None, base: str | None) -> None:
    if newest is None and base is not None:
        raise NotFound("this text is not there any more")
    if newest is not None and base is None:
        raise Refused("there is a text of this name, language and level already: change that one")
    if newest is not None and newest.content_hash != base:
        raise Refused(
            "somebody saved another version of this text while you wrote; open it in another window and bring both "
            "together, then save again"
        )


def _grammar(source: Source, sources: Mapping[TextId, Source]) -> list[TextFinding]:
    """What makes it no text at all: found when it is read, or when it is compiled with its urgent block and footer."""
    try:
        if source.is_part:
            plain_text(source, sample_values(source.language, names_used(source)))
        else:
            parse_source(source)
            urgent = sources.get(("urgent_general", source.language, "general"))
            compile_message(source, urgent, sources.get(("_footer", source.language, "general")))
    except SourceInvalid as error:
        mine = [finding for finding in error.findings if finding.file == source.file] or error.findings
        return [TextFinding(finding.file, finding.line, "fail", finding.problem) for finding in mine]
    except RenderFailed as error:
        return [TextFinding(source.file, None, "fail", str(error).partition(": ")[2])]
    return []


def _note(
    source: Source, line: int | None, problem: str, severity: Literal["warn", "fail", "broken"], head: int
) -> TextNote:
    """A finding by its line in the whole source, as its field and the line of the body as typed."""
    if line is None:
        named = next((name for name in ("subject", "preheader") if problem.startswith(f"{name}: ")), None)
        return TextNote(named, None, severity, problem.removeprefix(f"{named}: ") if named else problem)
    if line > (2 if source.is_part else 4):
        return TextNote("body", line - head, severity, problem.removeprefix("body: "))
    field = None if source.is_part else {2: "subject", 3: "preheader"}.get(line)
    return TextNote(field, None, severity, problem.removeprefix(f"{field}: ") if field else problem)


def _quoted(text: str) -> str:
    """A text as TOML writes it: JSON escapes the same."""
    return json.dumps(" ".join(text.split()), ensure_ascii=False).replace("\x7f", "\\u007f")


def _plain(body: str) -> str:
    return body.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
