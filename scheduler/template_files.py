"""The text files: which there are, which of the clinic's overlay a shipped one, and whether each passes every gate.

What a source may say is in `scheduler.message_source`; storing and approving versions is in `scheduler.library`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from scheduler.errors import InvalidInput
from scheduler.message_samples import sample_values
from scheduler.message_source import PART_PREFIXES, Source, SourceInvalid, names_used
from scheduler.messages import Rendered, RenderFailed, compile_message, plain_text
from scheduler.readability import judge, measure
from scheduler.word_lists import WordList, load_word_list
from scheduler.wording import FIRST_CHARACTERS, WordingFinding, lint_rendered, lint_source

SHIPPED: Final = Path(__file__).resolve().parent.parent / "templates"
FULL: Final = ".full"
# What every message has a value for, so that a text may print it without asking.
ALWAYS_THERE: Final = frozenset(
    {"patient.preferred_name", "treatment.date", "clinic.name", "clinic.phone", "clinic.hours", "urgent.number"}
)

_KEY = re.compile(r"_?[a-z][a-z0-9_]*")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")

TextId = tuple[str, str, str]  # key, language, level


@dataclass(frozen=True, slots=True)
class TextFinding:
    """One thing to mend ("fail") or to look at ("warn") in a text file."""

    file: str
    line: int | None
    severity: Literal["warn", "fail"]
    problem: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {'' if self.severity == 'fail' else 'warning: '}{self.problem}"


def list_templates(folders: Sequence[Path]) -> dict[TextId, Path]:
    """The file of each (key, language, level) below `email/`; of two, the one in the folder named first.

    So the clinic's own folder comes before the shipped one. Files whose names are no keys are left out;
    `check_templates` tells of them.
    """
    found: dict[TextId, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("email/*/*.md")):
            text_id = _id_of(path)
            if text_id is not None:
                found.setdefault(text_id, path)
    return found


def read_source(path: Path) -> Source:
    """Read one text file. Raises `InvalidInput` if its name is no key or it is not UTF-8."""
    text_id = _id_of(path)
    if text_id is None:
        raise InvalidInput(_bad_name(path))
    try:
        return Source(*text_id, path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path.parent.name}/{path.name}: not UTF-8 at byte {error.start}") from None


def check_templates(folders: Sequence[Path]) -> list[TextFinding]:
    """Read, compile, lint and grade every text file, in the order of their names."""
    findings = [
        TextFinding(f"{path.parent.name}/{path.name}", None, "fail", _bad_name(path))
        for folder in folders
        for path in sorted(folder.glob("email/*/*.md"))
        if _id_of(path) is None
    ]
    sources: dict[TextId, Source] = {}
    for text_id, path in sorted(list_templates(folders).items()):
        try:
            sources[text_id] = read_source(path)
        except InvalidInput as error:
            findings.append(TextFinding(f"{path.parent.name}/{path.name}", None, "fail", str(error)))
    lists: dict[str, WordList] = {}
    for source in sources.values():
        if source.language not in lists:
            try:
                lists[source.language] = load_word_list(source.language, folders)
            except InvalidInput as error:
                return [*findings, TextFinding("wording", None, "fail", str(error))]
        findings += check_text(source, sources, lists[source.language])
    return findings


def check_text(source: Source, sources: Mapping[TextId, Source], words: WordList) -> list[TextFinding]:
    """Every gate for one text, with the urgent block and footer of its language from `sources`."""
    file = source.file
    try:
        names = names_used(source)
        wording = lint_source(source, words)
        values = sample_values(source.language, names)
        fewest = _fewest_values(source, values)
        read = [plain_text(source, values), plain_text(source, fewest)]
        messages = [] if source.is_part else _sample_messages(source, sources, (values, fewest))
    except SourceInvalid as error:
        return [TextFinding(finding.file, finding.line, "fail", finding.problem) for finding in error.findings]
    except (RenderFailed, ValueError) as error:
        return [TextFinding(file, None, "fail", str(error))]
    findings = [_from_wording(file, finding) for finding in wording]
    told = {finding.problem for finding in findings}
    for message in messages:
        for rendered_finding in lint_rendered(message, (values["patient.preferred_name"],), words):
            finding = _from_wording(file, rendered_finding)
            if finding.problem not in told and not _already(rendered_finding, wording):
                told.add(finding.problem)
                findings.append(finding)
    if messages and min(_own_length(message) for message in messages) < FIRST_CHARACTERS:
        problem = f"the body is shorter than {FIRST_CHARACTERS} characters: a preview would show the urgent block"
        findings.append(TextFinding(file, None, "fail", problem))
    graded = dict.fromkeys(found for text in read for found in judge(measure(text, source.language)))
    return findings + [TextFinding(file, None, found.severity, found.problem) for found in graded]


def _fewest_values(source: Source, values: Mapping[str, str]) -> dict[str, str]:
    """The values without those that may be absent and that the text asks for before printing them."""
    asked = set(re.findall(r"\{% *if +([a-z._0-9]+)", source.text)) - ALWAYS_THERE
    return {name: value for name, value in values.items() if name not in asked}


def _sample_messages(
    source: Source, sources: Mapping[TextId, Source], samples: Sequence[Mapping[str, str]]
) -> list[Rendered]:
    urgent = sources.get(("urgent_general", source.language, "general"))
    compiled = compile_message(source, urgent, sources.get(("_footer", source.language, "general")))
    return [compiled.render(values) for values in samples]


def _own_length(message: Rendered) -> int:
    """Characters of the text part before the first rule."""
    return len(message.text.partition("\n----")[0])


def _already(rendered: WordingFinding, found: list[WordingFinding]) -> bool:
    return any(rendered.word == other.word and rendered.place == other.place for other in found)


def _from_wording(file: str, finding: WordingFinding) -> TextFinding:
    quoted = f'"{finding.word}" ' if finding.word else ""
    return TextFinding(file, finding.line, "fail", f"{finding.place}: {quoted}{finding.problem}")


def _id_of(path: Path) -> TextId | None:
    key, level = path.name.removesuffix(".md"), "general"
    if key.endswith(FULL):
        key, level = key.removesuffix(FULL), "full"
    language = path.parent.name
    if not _KEY.fullmatch(key) or not _LANGUAGE.fullmatch(language):
        return None
    if level == "full" and key.startswith(PART_PREFIXES):
        return None  # parts are the same at every level
    return key, language, level


def _bad_name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}: expected <language>/<key>.md or <key>.full.md, like en/after_visit.md"
