"""Reading and validating a protocol file; findings name file and line, and all of them are told at once.

The rules of one step are in `scheduler.protocol_steps`; versions and approval in `scheduler.library`.
"""

import hashlib
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from db.states import Phase
from scheduler.errors import InvalidInput
from scheduler.planning.protocol import (
    CheckIn,
    Exercise,
    Field,
    FieldType,
    OnNewTreatment,
    Protocol,
    ReviewRule,
    Span,
    Text,
)
from scheduler.protocol_steps import read_step
from scheduler.table_reader import DASHED_KEY, PLAIN_KEY, Finding, Findings, TableReader, nearest
from scheduler.toml_lines import find_lines, line_of

__all__ = ["Finding", "ProtocolInvalid", "check_successor", "content_hash", "list_protocol_files", "read_protocol"]

TOP_KEYS: Final = (
    "key",
    "version",
    "status",
    "title",
    "minimum_age",
    "on_new_treatment",
    "urgent",
    "field",
    "text",
    "review",
    "exercise",
    "check_in",
    "step",
)
EXERCISE_KEYS: Final = ("key", "text", "phase")
CHECK_IN_KEYS: Final = ("pain", "not_yet", "silence")
FIELD_KEYS: Final = ("key", "label", "type", "required", "choices", "unit", "help")
TEXT_KEYS: Final = ("key", "required", "label")
REVIEW_KEYS: Final = ("key", "after", "tolerance")
_LINE = re.compile(r"\(at line (\d+), column \d+\)$")

Part = TypeVar("Part", Field, Text, ReviewRule, Exercise)


class Status(StrEnum):
    """What a file may say of itself; approval lives in the database."""

    DRAFT = "draft"
    RETIRED = "retired"


class ProtocolInvalid(InvalidInput):
    """A protocol file is wrong; `findings` holds all of it, in the order of the lines."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(*map(str, findings))
        self.findings = tuple(findings)


def read_protocol(source: str, file: str, templates: Collection[str] | None = None) -> Protocol:
    """The protocol of a file's text. `file` is its name, as findings print it; its stem has to be the key.

    `templates` are the keys of the texts that exist; None leaves them unchecked. Raises `ProtocolInvalid`.
    """
    source = source.removeprefix("\ufeff")
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as wrong:
        raise ProtocolInvalid([Finding(file, *_syntax_problem(source, str(wrong)))]) from None
    except RecursionError:
        raise ProtocolInvalid([Finding(file, 1, "tables or lists are nested too deep")]) from None
    findings = Findings(file, source)
    protocol = _read(TableReader(findings, (), document, ""), findings, templates)
    if protocol is None or findings.found:
        raise ProtocolInvalid(findings.sorted())
    return protocol


def check_successor(source: str, file: str, protocol: Protocol, earlier: Iterable[Protocol]) -> None:
    """Refuse a step that was a mail in an earlier version and is a line for staff now, or the other way round.

    Plans are moved from version to version by the keys of the steps, and what was planned as the one cannot become the
    other. Raises `ProtocolInvalid`.
    """
    before = {step.key: (step.audience, one.version) for one in earlier for step in one.steps}
    wrong = []
    for place, step in enumerate(protocol.steps):
        audience, version = before.get(step.key, (step.audience, 0))
        if audience is not step.audience:
            problem = (
                f'step "{step.key}": its audience was "{audience}" in version {version}; expected the same, '
                "or a step with another key"
            )
            lines = find_lines(source.removeprefix("\ufeff"))
            wrong.append(Finding(file, line_of(lines, ("step", place, "audience")), problem))
    if wrong:
        raise ProtocolInvalid(wrong)


def list_protocol_files(folders: Sequence[Path]) -> dict[str, Path]:
    """Key -> file of all protocols; an earlier folder overlays a later one. A folder that is not there is empty."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            if path.is_file() and not path.name.startswith("."):
                found.setdefault(path.stem, path)
    return found


def content_hash(source: str) -> str:
    """SHA-256 in hex of a text; the kind of its line endings does not count."""
    return hashlib.sha256(source.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8")).hexdigest()


def _syntax_problem(source: str, message: str) -> tuple[int, str]:
    match = _LINE.search(message)
    line = int(match[1]) if match else len(source.rstrip().splitlines()) or 1
    said = re.sub(r" \(at .*\)$", "", message)
    return line, f"this is not TOML: {said[:1].lower()}{said[1:]}"


def _read(top: TableReader, findings: Findings, templates: Collection[str] | None) -> Protocol | None:
    top.only(TOP_KEYS, required=("key", "version", "title"))
    key = top.name("key", DASHED_KEY)
    stem = findings.file.rsplit("/", 1)[-1].removesuffix(".toml")
    if key is not None and key != stem:
        top.wrong("key", f'the file has to be named after it: expected "{stem}" here or a file {key}.toml')
    version = top.number("version", 1, 9999)
    title = top.text("title")
    status = top.word("status", Status, Status.DRAFT)
    age = top.number("minimum_age", 0, 120)
    on_new = top.word("on_new_treatment", OnNewTreatment, OnNewTreatment.REPLACE)
    urgent = top.name("urgent", PLAIN_KEY) or "urgent_general"
    if templates is not None and urgent not in templates:
        known = sorted(template for template in templates if template.startswith("urgent_"))
        top.add(f'urgent: there is no text "{urgent}"; {nearest(urgent, known)}', "urgent")
    fields = _each(top, findings, "field", _read_field)
    texts = _each(top, findings, "text", _read_text)
    reviews = _each(top, findings, "review", _read_review)
    # A review with a wrong key or duration still counts as named, so that its steps get no second finding.
    named = [table["key"] for table in top.tables("review") if isinstance(table.get("key"), str)]
    exercises = _each(top, findings, "exercise", lambda reader: _read_exercise(reader, templates))
    steps = []
    for order, reader in enumerate(_readers(top, findings, "step"), start=1):
        step = read_step(reader, order, [str(name) for name in named], templates, findings)
        steps += [step] if step else []
    if not top.has("step"):
        top.add("a protocol needs at least one [[step]]")
    if key is None or version is None or title is None:
        return None
    return Protocol(
        key=key,
        version=version,
        title=title,
        steps=tuple(steps),
        reviews=tuple(reviews),
        fields=tuple(fields),
        texts=tuple(texts),
        minimum_age=age,
        on_new_treatment=on_new,
        urgent=urgent,
        retired=status is Status.RETIRED,
        exercises=tuple(exercises),
        check_in=_read_check_in(top, findings),
    )


def _readers(top: TableReader, findings: Findings, name: str) -> list[TableReader]:
    """A reader for each table of an array, with its key in its name; a key used twice is noted."""
    readers = []
    first_line: dict[str, int] = {}
    for place, table in enumerate(top.tables(name)):
        key = table.get("key")
        what = f'{name} "{key}"' if isinstance(key, str) else f"{name} {place + 1}"
        reader = TableReader(findings, (name, place), table, what)
        if isinstance(key, str):
            line = findings.line((name, place, "key"))
            if key in first_line:
                reader.add(f"this key is already used in line {first_line[key]}; expected another", "key")
            first_line.setdefault(key, line)
        readers.append(reader)
    return readers


def _each(top: TableReader, findings: Findings, name: str, read: Callable[[TableReader], Part | None]) -> list[Part]:
    found = (read(reader) for reader in _readers(top, findings, name))
    return [part for part in found if part is not None]


def _read_field(reader: TableReader) -> Field | None:
    reader.only(FIELD_KEYS, required=("key", "label", "type"))
    key, label = reader.name("key", PLAIN_KEY), reader.text("label")
    kind = reader.word("type", FieldType, FieldType.TEXT)
    choices = reader.texts("choices")
    if not reader.knows("type", FieldType):
        return None
    if kind is FieldType.CHOICE and not reader.has("choices"):
        reader.add('choices is missing: a field of type "choice" lists what may be chosen', "type")
    elif kind is FieldType.CHOICE and reader.table["choices"] == []:
        reader.add("choices: expected at least one", "choices")
    elif kind is not FieldType.CHOICE and reader.has("choices"):
        reader.add(f'choices: only a field of type "choice" has them, this one is "{kind}"', "choices")
    if reader.has("unit") and kind not in (FieldType.NUMBER, FieldType.SITES):
        reader.add(f'unit: only fields of type "number" and "sites" have one, this one is "{kind}"', "unit")
    required, unit, hint = reader.flag("required", default=False), reader.text("unit"), reader.text("help")
    if key is None or label is None:
        return None
    return Field(key, label, kind, required, choices, unit, hint)


def _read_text(reader: TableReader) -> Text | None:
    reader.only(TEXT_KEYS, required=("key",))
    key = reader.name("key", PLAIN_KEY)
    required, label = reader.flag("required", default=False), reader.text("label")
    return Text(key, required, label) if key is not None else None


def _read_exercise(reader: TableReader, templates: Collection[str] | None) -> Exercise | None:
    reader.only(EXERCISE_KEYS, required=("key", "text"))
    key, text = reader.name("key", DASHED_KEY), reader.name("text", PLAIN_KEY)
    phase = reader.word("phase", Phase, Phase.SOLO)
    if phase is Phase.ANY:
        reader.wrong("phase", 'expected "solo" or "partner"')
    if text is not None and not text.startswith("exercise_"):
        reader.wrong("text", 'the words of an exercise have a key like "exercise_breathing"')
    elif text is not None and templates is not None and text not in templates:
        known = sorted(template for template in templates if template.startswith("exercise_"))
        reader.add(f'text: there is no text "{text}"; {nearest(text, known)}', "text")
    return Exercise(key, text, phase) if key is not None and text is not None else None


def _read_check_in(top: TableReader, findings: Findings) -> CheckIn:
    if not top.has("check_in"):
        return CheckIn()
    table = top.table["check_in"]
    if not isinstance(table, dict):
        top.wrong("check_in", "expected a table [check_in]")
        return CheckIn()
    reader = TableReader(findings, ("check_in",), table, "check_in")
    reader.only(CHECK_IN_KEYS)
    silence = reader.span("silence", "not negative") if reader.has("silence") else None
    if silence is not None and silence.is_elapsed:
        reader.wrong("silence", "expected whole days or weeks like P21D")
    return CheckIn(reader.number("pain", 0, 10), reader.number("not_yet", 1, 50), silence)


def _read_review(reader: TableReader) -> ReviewRule | None:
    reader.only(REVIEW_KEYS, required=("key", "after"))
    key = reader.name("key", DASHED_KEY)
    after = reader.span("after", "not negative")
    tolerance = reader.span("tolerance", "not negative") if reader.has("tolerance") else Span()
    if key is None or after is None or tolerance is None:
        return None
    return ReviewRule(key, after, tolerance)
