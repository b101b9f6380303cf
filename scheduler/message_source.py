"""A message source: its front matter, its tiny Jinja, and everything that is refused in it, by file and line.

Turning a source into text and HTML is in `scheduler.messages`; finding the files is in `scheduler.template_files`.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from scheduler.errors import InvalidInput

NAMES: Final = frozenset(
    {
        "patient.preferred_name",
        "treatment.date",
        "review.date",
        "review.weekday",
        "review.time",
        "review.place",
        "step.number",
        "step.total",
        "week.number",
        "clinic.name",
        "clinic.phone",
        "clinic.hours",
        "urgent.number",
        "link.page",
        "link.stop",
        "exercise.dose",
        "exercise.size",
        "staff.signature",
    }
)
PART_PREFIXES: Final = ("_", "urgent_", "exercise_")  # added to messages and shown on pages; never sent alone
TEXT_PREFIX: Final = "text."  # text.<key>: what the clinic typed for its protocol; any key is allowed here

FIELDS: Final = ("subject", "preheader", "status", "reviewed_by")
STATUSES: Final = ("draft", "retired")

EXPRESSION: Final = re.compile(r"\{\{ *([a-z]+\.[a-z][a-z0-9_]*) *\}\}")
_TAG = re.compile(r"\{% *(?:if +(?P<name>[a-z]+\.[a-z][a-z0-9_]*)|(?P<word>else|endif)) *%\}[ \t]*")
_ANY_TAG = re.compile(r"\{%.*?(?:%\}|$)")
_ANY_EXPRESSION = re.compile(r"\{\{.*?(?:\}\}|$)")
_FENCE = "+++"
# What no source needs and what would be invisible or break a line: control characters but newline and tab,
# the line and paragraph separators, and the direction controls.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True, slots=True)
class Source:
    """One text as written. `level` is "general" or "full"; parts (`PART_PREFIXES`) are "general"."""

    key: str
    language: str
    level: str
    text: str

    @property
    def file(self) -> str:
        """Its place below `templates/email/`, for findings."""
        return f"{self.language}/{self.key}{'.full' if self.level == 'full' else ''}.md"

    @property
    def is_part(self) -> bool:
        """Whether it is added to messages (urgent block, footer, exercise) instead of being one."""
        return self.key.startswith(PART_PREFIXES)


@dataclass(frozen=True, slots=True)
class SourceFinding:
    """One thing that is wrong in a source, at a line counted from 1."""

    file: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.problem}"


class SourceInvalid(InvalidInput):
    """A message source cannot be used; `findings` says where and what is expected. Exit 2."""

    def __init__(self, findings: list[SourceFinding]) -> None:
        super().__init__(*(str(finding) for finding in findings))
        self.findings = findings


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What stands between the two `+++` lines, with the line of each field."""

    subject: str
    preheader: str
    status: str
    reviewed_by: str | None
    lines: tuple[tuple[str, int], ...]

    def line(self, field: str) -> int:
        """The line a field stands on; 1 if it is absent."""
        return dict(self.lines).get(field, 1)


@dataclass(frozen=True, slots=True)
class Passage:
    """Markdown without tags, beginning at a line."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Choice:
    """`{% if name %}` … `{% else %}` … `{% endif %}`."""

    name: str
    line: int
    then: tuple["Node", ...]
    otherwise: tuple["Node", ...]


Node = Passage | Choice


@dataclass(frozen=True, slots=True)
class ParsedSource:
    """A source that obeys the grammar; whether its Markdown is allowed is seen when it is compiled."""

    source: Source
    front: FrontMatter
    nodes: tuple[Node, ...]


def is_name(name: str) -> bool:
    """Whether a name may be used in a source."""
    return name in NAMES or name.startswith(TEXT_PREFIX)


def passages(nodes: tuple[Node, ...]) -> Iterator[Passage]:
    """All passages in their order, those inside choices too."""
    for node in nodes:
        if isinstance(node, Passage):
            yield node
        else:
            yield from passages(node.then)
            yield from passages(node.otherwise)


def names_used(source: Source) -> set[str]:
    """Every name a source prints or asks for. Raises `SourceInvalid`."""
    parse_source(source)
    found = set(EXPRESSION.findall(source.text))
    return found | {match["name"] for match in _TAG.finditer(source.text) if match["name"]}


@lru_cache(maxsize=512)
def parse_source(source: Source) -> ParsedSource:
    """Read a source by the grammar of CONTRACT §5. Raises `SourceInvalid` with all findings."""
    reader = _Reader(source)
    front, first = reader.front_matter()
    nodes = reader.body(first)
    if reader.findings:
        raise SourceInvalid(sorted(reader.findings, key=lambda finding: finding.line))
    return ParsedSource(source, front, nodes)


@dataclass(slots=True)
class _Open:
    """An `if` whose end was not read yet."""

    name: str
    line: int
    then: list[Node]
    otherwise: list[Node] | None = None

    @property
    def nodes(self) -> list[Node]:
        return self.then if self.otherwise is None else self.otherwise


class _Reader:
    """Reads one source and collects what is wrong with it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.lines = source.text.replace("\r\n", "\n").split("\n")
        self.findings: list[SourceFinding] = []

    def refuse(self, line: int, problem: str) -> None:
        self.findings.append(SourceFinding(self.source.file, line, problem))

    def front_matter(self) -> tuple[FrontMatter, int]:
        """The fields, and the index of the first line of the body."""
        empty = FrontMatter("", "", "draft", None, ())
        lines = self.lines
        if lines[0].rstrip() != _FENCE:
            self.refuse(1, "expected the front matter: a line +++ , its fields, and another line +++")
            return empty, 0
        end = next((at for at, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), None)
        if end is None:
            self.refuse(1, "the front matter is not closed: expected a second line +++")
            return empty, len(lines)
        try:
            fields = tomllib.loads("\n".join(lines[1:end]))
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"line (\d+)", str(error))
            self.refuse(int(at[1]) + 1 if at else 2, f"the front matter is not TOML: {error}")
            return empty, end + 1
        places = tuple((key, self._line_of(key, end)) for key in fields)
        front = self._check_fields(fields, dict(places))
        return FrontMatter(*front, places), end + 1

    def _line_of(self, key: str, end: int) -> int:
        begin = re.compile(rf'["\[]*{re.escape(key)}["\]]*\s*(=|$|\.)')
        return next((at for at, line in enumerate(self.lines[1:end], 2) if begin.match(line.strip())), 2)

    def _check_fields(self, fields: dict[str, object], line: dict[str, int]) -> tuple[str, str, str, str | None]:
        for key, value in fields.items():
            if key not in FIELDS:
                self.refuse(line[key], f"unknown field {key!r}: expected {', '.join(FIELDS)}")
            elif not isinstance(value, str) or not value.strip():
                self.refuse(line[key], f"{key} has to be a text in quotes")
            elif "\n" in value:
                self.refuse(line[key], f"{key} has to be one line")
        read = {key: value for key, value in fields.items() if isinstance(value, str)}
        for key in ("subject", "preheader"):
            if self.source.is_part:
                if key in fields:
                    self.refuse(line[key], f"a part that is added to messages has no {key}")
            elif key not in fields:
                self.refuse(1, f"the front matter lacks {key}")
            self._check_names(read.get(key, ""), line.get(key, 1))
            if "{%" in read.get(key, ""):
                self.refuse(line[key], f"{key} may print names, but not choose with {{% … %}}")
        status = read.get("status", "draft")
        if status not in STATUSES:
            self.refuse(
                line["status"], f"status {status!r}: expected draft or retired (approval is kept in the database)"
            )
        return read.get("subject", "").strip(), read.get("preheader", "").strip(), status, read.get("reviewed_by")

    def body(self, first: int) -> tuple[Node, ...]:
        top: list[Node] = []
        stack: list[_Open] = []
        start = first
        for at in range(first, len(self.lines)):
            line = self.lines[at]
            if _INVISIBLE.search(line):
                self.refuse(at + 1, "an invisible character: a control, a line separator or a direction mark")
            tag = _TAG.fullmatch(line)
            if tag is None:
                self._check_line(line, at + 1)
                continue
            self._passage(stack[-1].nodes if stack else top, start, at)
            start = at + 1
            self._check_alone(at, first)
            self._apply(tag, at + 1, stack, top)
        self._passage(stack[-1].nodes if stack else top, start, len(self.lines))
        for left in stack:
            self.refuse(left.line, f"{{% if {left.name} %}} is not closed: expected {{% endif %}}")
        if not top and not self.findings:
            self.refuse(len(self.lines), "the body is empty")
        return tuple(top)

    def _apply(self, tag: "re.Match[str]", line: int, stack: list[_Open], top: list[Node]) -> None:
        if tag["name"]:
            if not is_name(tag["name"]):
                self.refuse(line, f"unknown name {tag['name']}: {_EXPECTED_NAMES}")
            stack.append(_Open(tag["name"], line, []))
        elif not stack:
            self.refuse(line, f"{{% {tag['word']} %}} without {{% if name %}}")
        elif tag["word"] == "else":
            if stack[-1].otherwise is not None:
                self.refuse(line, "a second {% else %} for the same {% if %}")
            stack[-1].otherwise = []
        else:
            done = stack.pop()
            choice = Choice(done.name, done.line, tuple(done.then), tuple(done.otherwise or ()))
            (stack[-1].nodes if stack else top).append(choice)

    def _passage(self, nodes: list[Node], start: int, end: int) -> None:
        text = "\n".join(self.lines[start:end])
        if text.strip():
            nodes.append(Passage(text, start + 1))

    def _check_alone(self, at: int, first: int) -> None:
        """A tag stands between blocks: beside it only empty lines, other tags, or the ends of the body."""
        for beside in (at - 1, at + 1):
            if not first <= beside < len(self.lines):
                continue
            neighbour = self.lines[beside]
            if neighbour.strip() and _TAG.fullmatch(neighbour) is None:
                self.refuse(at + 1, "a tag stands between blocks: leave an empty line before and after it")
                return

    def _check_line(self, line: str, number: int) -> None:
        tag = _ANY_TAG.search(line)
        if tag:
            self.refuse(
                number,
                f"{tag[0].strip()}: expected {{% if name %}}, {{% else %}} or {{% endif %}}, alone on its line"
                " and not indented",
            )
        self._check_names(line if tag is None else _ANY_TAG.sub("", line), number)

    def _check_names(self, text: str, number: int) -> None:
        rest = EXPRESSION.sub("", text)
        for name in EXPRESSION.findall(text):
            if not is_name(name):
                self.refuse(number, f"unknown name {name}: {_EXPECTED_NAMES}")
        wrong = _ANY_EXPRESSION.findall(rest)
        for found in wrong:
            self.refuse(number, f"{found.strip()}: expected {{{{ name }}}}; filters, loops and calls are not allowed")
        if "{%" not in rest and not wrong and ("{" in rest or "}" in rest):
            self.refuse(number, "a brace: only {{ name }} and {% if name %} use braces here")


_EXPECTED_NAMES = f"expected text.<key> or one of {', '.join(sorted(NAMES))}"
