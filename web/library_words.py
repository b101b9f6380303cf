"""How versions of protocols and texts stand, in words: in force, waiting, who wrote and who approved them.

The pages are `library_pages`, `text_pages` and `approval_pages`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from db.states import Origin
from scheduler.dates import english_name
from scheduler.library import GivenApproval, Shelf, ShelvedProtocol, ShelvedText
from scheduler.message_source import EXPRESSION, Source, SourceInvalid
from scheduler.readability import GRADE_PASSES, GRADE_WARNS, LONGEST_SENTENCE, Readability
from scheduler.subjects import UNKNOWN
from scheduler.template_files import TextId
from scheduler.text_edits import TextDraft, draft_of
from web.times import Say

LANGUAGES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pl": "Polish"}
LEVELS = {"general": "neutral wording", "full": "full instructions"}
DRAFT = "draft: nothing of it is sent until a clinician approves it"


@dataclass(frozen=True, slots=True)
class Stand:
    """How something stands: a shape's level and a sentence."""

    level: str
    words: str


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version in a list."""

    id: UUID
    number: int
    stand: Stand
    written: str
    plans: int


def variant_name(text_id: TextId) -> str:
    """`English, neutral wording`."""
    return f"{english_name(text_id[1])}, {LEVELS.get(text_id[2], text_id[2])}"


def approval_words(approval: GivenApproval, say: Say) -> str:
    """`approved by Dr Novak, Monday 23 November 10:30`, and why alone where it was her own."""
    words = f"approved by {approval.by}, {say.when(approval.at)}"
    alone = (approval.alone_because or "").rstrip(".")  # it stands within a sentence
    return f"{words}, by its writer alone: {alone}" if alone else words


def written_words(version: ShelvedProtocol | ShelvedText, say: Say) -> str:
    """`written by Dana Novak, today 10:30`, `from its file, Monday 23 November 10:30`."""
    who = f"written by {say.who(version.written_by or '')}" if version.origin is Origin.SCREEN else "from its file"
    return f"{who}, {say.when(version.seen_at)}"


def protocol_stand(shelf: Shelf, key: str, say: Say) -> Stand:
    """How a protocol stands as a whole: what a new treatment would take."""
    versions = shelf.list_versions(key)
    if key in shelf.retired:
        return Stand("quiet", "retired: no new treatments")
    approved = next((version for version in reversed(versions) if version.approval), None)
    if approved is None or approved.approval is None:
        return Stand("amber", DRAFT)
    words = f"version {approved.protocol.version} in force, {approval_words(approved.approval, say)}"
    if versions[-1] is not approved:
        return Stand("amber", f"{words}; version {versions[-1].protocol.version} waits for approval")
    return Stand("amber" if approved.approval.alone_because else "green", words)


def version_stand(shelf: Shelf, version: ShelvedProtocol, say: Say) -> Stand:
    """How one version of a protocol stands."""
    versions = shelf.list_versions(version.protocol.key)
    if version.approval is not None:
        later = [other for other in versions if other.approved and other.protocol.version > version.protocol.version]
        words = approval_words(version.approval, say)
        if later:
            return Stand("quiet", words)
        return Stand("amber" if version.approval.alone_because else "green", f"in force, {words}")
    return Stand("amber", DRAFT) if version is versions[-1] else Stand("quiet", "a draft that another version followed")


def text_stand(shelf: Shelf, text_id: TextId, say: Say) -> Stand:
    """How a text stands: whether what it says last is what is sent."""
    latest, approved = shelf.latest[text_id], shelf.approved.get(text_id)
    if approved is None or approved.approval is None:
        return Stand("amber", DRAFT)
    words = approval_words(approved.approval, say)
    if approved.version_id != latest.version_id:
        return Stand("amber", f"changed and waiting for approval; what is sent was {words}")
    return Stand("amber" if approved.approval.alone_because else "green", words)


def draft_or_none(text: ShelvedText) -> TextDraft | None:
    """A stored text as its fields; None for one that an older grammar let in."""
    try:
        return draft_of(text.source)
    except SourceInvalid:
        return None


def heading_of(source: Source) -> str:
    """The heading that a part begins with; without one its key."""
    found = re.search(r"^#+ +(.+)$", source.text, re.MULTILINE)
    return found[1].strip() if found else source.key.replace("_", " ")


def subject_of(text: ShelvedText) -> str:
    """What a message is called; of a part, what it is."""
    draft = draft_or_none(text)
    if text.source.key == "_footer":
        return "The end of every message"
    if text.source.key.startswith("exercise_"):
        return f"Exercise: {heading_of(text.source)}"
    if text.source.is_part:
        return "What to do in an emergency"
    return EXPRESSION.sub(UNKNOWN, draft.subject) if draft and draft.subject else text.source.key.replace("_", " ")


def grade_words(found: Readability) -> Sequence[Stand]:
    """How easy a text is to read, in words."""
    lines = []
    if found.grade is not None:
        age = max(6, round(found.grade) + 6)
        level = "green" if found.grade <= GRADE_PASSES else "amber" if found.grade <= GRADE_WARNS else "red"
        lines.append(Stand(level, f"A reader of about {age} understands it (grade {max(found.grade, 0):.1f})."))
    level = "green" if found.longest <= LONGEST_SENTENCE else "red"
    lines.append(Stand(level, f"{found.words} words; the longest sentence has {found.longest}."))
    return lines
