"""Message sources compiled once to a subject, a text part and an HTML part; per message only the values are filled in.

The grammar of a source is in `scheduler.message_source`, the bytes of the mail in `scheduler.mime`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Final

import css_inline
from jinja2 import Environment, StrictUndefined, Template, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from scheduler.errors import AftercareError
from scheduler.message_markdown import Links, to_html_and_text
from scheduler.message_samples import sample_values
from scheduler.message_source import (
    EXPRESSION,
    Choice,
    Node,
    ParsedSource,
    Source,
    SourceFinding,
    SourceInvalid,
    names_used,
    parse_source,
)

__all__ = [
    "CompiledMessage",
    "RenderFailed",
    "Rendered",
    "Source",
    "SourceInvalid",
    "compile_message",
    "names_used",
    "plain_text",
    "sample_values",
]

PAGE_FOLDER: Final = Path(__file__).resolve().parent.parent / "templates" / "email"
RULE: Final = "-" * 40

_TEXT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
_HTML = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=True)
_PAGE = Environment(undefined=StrictUndefined, autoescape=True)  # our own page around the texts, at compile time
_BETWEEN = "\x1f"  # between subject, preheader and text, which are filled in one go; no value may hold a control

# A value may hold tabs and line breaks, and no other control, line separator or half of a surrogate pair.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BREAK = re.compile(r"\r\n?")
_BIDI_CONTROL = re.compile("[\u202a-\u202e\u2066-\u2069]")
_MAY_TURN = re.compile("[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc]")
_TARGET = re.compile(r"(?:https?://|mailto:|tel:)[^\s<>\"]+")
_BLANK_LINES = re.compile(r"\n{3,}")
_SHOWN: Final = "shown "  # before the name of a link's value: as plain text shows it
_MOST_SKELETONS: Final = 64  # of one message; each is a set of names that have a value


class RenderFailed(AftercareError):
    """A value is missing or cannot be shown. The message names the value's name and never its content."""


@dataclass(frozen=True, slots=True, repr=False)
class Rendered:
    """One finished message; its words are never part of a repr.

    `own_words` are the words the text itself says in subject and preheader.
    """

    subject: str
    preheader: str
    text: str
    html: str
    language: str
    level: str = "general"
    own_words: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Skeleton:
    """A rendered message as text and names of values in turn, the text first."""

    subject: Sequence[str]
    preheader: Sequence[str]
    text: Sequence[str]
    html: Sequence[str]


def _fill(parts: Sequence[str], values: Mapping[str, str]) -> str:
    if len(parts) == 1:
        return parts[0]
    filled = list(parts)
    filled[1::2] = [values[name] for name in parts[1::2]]
    return "".join(filled)


@dataclass(frozen=True, slots=True)
class CompiledMessage:
    """A body with its urgent block and footer, ready to be filled in. Immutable; used from any thread."""

    source: Source
    names: frozenset[str]
    own_words: frozenset[str]
    _targets: frozenset[str]
    _outer: frozenset[str]
    _lines: Template
    _page: Template
    _mark: str  # stands around a value's place in a skeleton; no source holds it
    _skeletons: dict[frozenset[str], "_Skeleton"] = field(default_factory=dict, compare=False, repr=False)

    def render(self, values: Mapping[str, str | None]) -> Rendered:
        """Fill in ready-made strings. None, "" and a name that is not given are absent: false in `if`.

        Raises `RenderFailed` when an absent value is printed, and for control characters and links that are none.
        """
        given = {name: self._checked(name, value) for name in self.names if (value := values.get(name))}
        skeleton = self._skeleton(frozenset(given))
        outer = {name: " ".join(given[name].split()) for name in self._outer if name in given}
        inner = given
        if self._targets:
            inner = {**given, **{_SHOWN + name: shown_link(given[name]) for name in self._targets if name in given}}
        text = _fill(skeleton.text, inner)
        if "\n\n\n" in text:  # a value brought blank lines of its own
            text = _BLANK_LINES.sub("\n\n", text)
        marked = {name: escape_lines(value) if "\n" in value else escape(value) for name, value in given.items()}
        return Rendered(
            subject=_fill(skeleton.subject, outer),
            preheader=_fill(skeleton.preheader, outer),
            text=text,
            html=_fill(skeleton.html, marked),
            language=self.source.language,
            level=self.source.level,
            own_words=self.own_words,
        )

    def _skeleton(self, present: frozenset[str]) -> "_Skeleton":
        """What Jinja makes of the templates when these names have a value, with the places left open.

        All messages in which the same names have a value are alike but for the values, so Jinja runs once for them.
        """
        kept = self._skeletons.get(present)
        if kept is not None:
            return kept
        known: dict[str, object] = {}
        for name in self.names:
            variable = name.replace(".", "__")
            known["has_" + variable] = name in present
            if name in present:
                known[variable] = f"{self._mark}{name}{self._mark}"
                if name in self._targets:
                    known["shown_" + variable] = f"{self._mark}{_SHOWN}{name}{self._mark}"
        try:
            subject, preheader, text = self._lines.render(known).split(_BETWEEN)
            html = self._page.render(known)
        except UndefinedError as error:
            name = str(error).partition("'")[2].partition("'")[0].removeprefix("shown_").replace("__", ".")
            raise RenderFailed(f"{self.source.file}: {name} is printed, but it has no value") from None
        made = _Skeleton(
            subject=" ".join(subject.split()).split(self._mark),
            preheader=" ".join(preheader.split()).split(self._mark),
            text=(_BLANK_LINES.sub("\n\n", text).strip("\n") + "\n").split(self._mark),
            html=html.split(self._mark),
        )
        if len(self._skeletons) < _MOST_SKELETONS:
            self._skeletons[present] = made
        return made

    def _checked(self, name: str, value: str) -> str:
        if not value.isascii() or not value.isprintable():
            value = _BREAK.sub("\n", value)
            if _CONTROL.search(value):
                raise RenderFailed(f"{self.source.file}: the value of {name} holds a control character")
            if _MAY_TURN.search(value):
                value = isolate(value)
            if name in self._outer and "\n" in value:
                raise RenderFailed(f"{self.source.file}: the value of {name} has more than one line")
        if name in self._targets and not _TARGET.fullmatch(value):
            raise RenderFailed(f"{self.source.file}: the value of {name} is not a link")
        return value


def isolate(value: str) -> str:
    """A value that may turn the direction of the words around it, closed in (Unicode UAX #9: FSI … PDI)."""
    return f"\u2068{_BIDI_CONTROL.sub('', value)}\u2069"


def shown_link(target: str) -> str:
    """A link as plain text shows it: an address without its scheme and the subject it would fill in."""
    return target.removeprefix("mailto:").partition("?")[0] if target.startswith("mailto:") else target


def escape_lines(value: str) -> Markup:
    """A value of several lines for HTML."""
    return Markup("<br>\n").join(value.split("\n"))


@lru_cache(maxsize=512)
def compile_message(
    body: Source, urgent: Source | None = None, footer: Source | None = None, exercise: Source | None = None
) -> CompiledMessage:
    """Compile a body, then the urgent block set apart by a rule, then the footer. Raises `SourceInvalid`.

    `exercise`: the words of an exercise, at the end of the body.

    The result is kept, so asking again for the same sources costs nothing.
    """
    return _Compiler(body, urgent, footer, exercise).compile()


@lru_cache(maxsize=256)
def compile_for_page(source: Source) -> CompiledMessage:
    """A single source for a page of ours: its HTML has no frame and no style of its own. Raises `SourceInvalid`."""
    return _Compiler(source, None, None, alone=True).compile(bare=True)


def plain_text(source: Source, values: Mapping[str, str | None]) -> str:
    """A single source as plain text without its links, for the readability gate. Raises like compiling does."""
    text = compile_for_page(source).render(values).text
    return re.sub(r":\n?\s*(?:https?://|mailto:|tel:)\S+|:\n\S+@\S+$| <[^<>\s]+>", ".", text, flags=re.MULTILINE)


class _Compiler:
    """Compiles one message: names become placeholders, Markdown is translated, CSS inlined, placeholders Jinja."""

    def __init__(
        self,
        body: Source,
        urgent: Source | None,
        footer: Source | None,
        exercise: Source | None = None,
        alone: bool = False,
    ) -> None:
        self.sources = [source for source in (body, exercise, urgent, footer) if source is not None]
        self.exercise = exercise
        self.body, self.urgent, self.footer = body, urgent, footer
        self.alone = alone
        self.findings: list[SourceFinding] = []
        self.targets: set[str] = set()
        everything = " ".join(source.text for source in self.sources).lower()
        # Letters and digits only, so that Markdown, the URL encoder and the CSS inliner leave it alone.
        self.mark = next(mark for n in count() if (mark := f"qz{n}v") not in everything)
        self.placeholder = re.compile(self.mark + r"(\d+)x")
        self.snippets: list[tuple[str, str]] = []  # (Jinja for text, Jinja for HTML)
        self.names: list[str | None] = []

    def compile(self, bare: bool = False) -> CompiledMessage:
        parsed = self._parse()
        subject, preheader = (self._hide(value) for value in (parsed[0].front.subject, parsed[0].front.preheader))
        parts = [self._part(part) for part in parsed]
        if not self.alone:
            self._check_greeting(parsed[0], parts[0][0])
        if self.findings:
            raise SourceInvalid(self.findings)
        if self.exercise is not None:
            moves = parts.pop(1)
            parts[0][0].extend(moves[0])
            parts[0][1].extend(moves[1])
        blocks = dict(zip((one for one in self.sources if one is not self.exercise), parts, strict=True))
        text = f"\n{RULE}\n\n".join("".join(part[1]) for part in parts)

        def framed() -> str:
            return self._around(subject, preheader, blocks)

        lines = _BETWEEN.join((subject, preheader, text))
        everything = "".join(source.text for source in self.sources)
        outer = frozenset(EXPRESSION.findall(f"{parsed[0].front.subject} {parsed[0].front.preheader}"))
        return CompiledMessage(
            source=self.body,
            names=frozenset().union(*(names_used(source) for source in self.sources)),
            own_words=frozenset(re.findall(r"\w+", self.placeholder.sub(" ", f"{subject} {preheader}").casefold())),
            _targets=frozenset(self.targets),
            _outer=outer,
            _lines=_TEXT.from_string(self._show(lines, 0)),
            _page=_HTML.from_string(self._show("".join(parts[0][0]) if bare else framed(), 1)),
            _mark=next(sign for sign in map(chr, range(0xE000, 0xF8FF)) if sign not in everything),
        )

    def _parse(self) -> list[ParsedSource]:
        parsed = []
        for source in self.sources:
            try:
                parsed.append(parse_source(source))
            except SourceInvalid as error:
                self.findings += error.findings
        if self.findings:
            raise SourceInvalid(self.findings)
        return parsed

    def _part(self, parsed: ParsedSource) -> tuple[list[str], list[str]]:
        html: list[str] = []
        text: list[str] = []
        self._nodes(parsed.nodes, parsed.source, html, text)
        return html, text

    def _nodes(self, nodes: Iterable[Node], source: Source, html: list[str], text: list[str]) -> None:
        def refuse(line: int, problem: str) -> None:
            self.findings.append(SourceFinding(source.file, line, problem))

        for node in nodes:
            if isinstance(node, Choice):
                self._choice(node, source, html, text)
                continue
            links = Links(self._target_name, lambda target: bool(self.placeholder.search(target)), self._shown_target)
            blocks, words = to_html_and_text(self._hide(node.text), node.line, links, refuse)
            html += [block + "\n" for block in blocks]
            text += [block + "\n\n" for block in words]

    def _choice(self, node: Choice, source: Source, html: list[str], text: list[str]) -> None:
        condition = "has_" + node.name.replace(".", "__")
        for jinja, nodes in ((f"{{% if {condition} %}}", node.then), ("{% else %}", node.otherwise)):
            tag = self._slot(jinja, jinja)
            html.append(tag)
            text.append(tag)
            self._nodes(nodes, source, html, text)
        end = self._slot("{% endif %}", "{% endif %}")
        html.append(end)
        text.append(end)

    def _check_greeting(self, parsed: ParsedSource, html: list[str]) -> None:
        """The first block is the greeting: a plain paragraph, which becomes the page's one h1."""
        if parsed.source.is_part:
            self.findings.append(SourceFinding(parsed.source.file, 1, "a part cannot be sent on its own"))
        elif not html[0].startswith("<p>"):
            line = parsed.nodes[0].line
            self.findings.append(SourceFinding(parsed.source.file, line, "the body begins with a greeting paragraph"))

    def _around(self, subject: str, preheader: str, blocks: Mapping[Source, tuple[list[str], list[str]]]) -> str:
        """The whole page with CSS inlined, names still as placeholders."""
        greeting, *body = blocks[self.body][0]
        html = _frame().render(
            language=self.body.language,
            title=subject,
            preheader=preheader,
            greeting=greeting.strip().removeprefix("<p>").removesuffix("</p>"),
            body="".join(body),
            urgent="".join(blocks[self.urgent][0]) if self.urgent else "",
            urgent_language=self.urgent.language if self.urgent else "",
            footer="".join(blocks[self.footer][0]) if self.footer else "",
            footer_language=self.footer.language if self.footer else "",
        )
        inlined = _inliner().inline(html)
        return inlined.replace("</head>", f"<style>\n{_page('dark.css')}</style>\n</head>", 1)

    def _hide(self, text: str) -> str:
        """Names become placeholders."""

        def slot(match: "re.Match[str]") -> str:
            variable = match[1].replace(".", "__")
            return self._slot(f"{{{{ {variable} }}}}", f"{{{{ {variable} }}}}", match[1])

        return EXPRESSION.sub(slot, text)

    def _slot(self, for_text: str, for_html: str, name: str | None = None) -> str:
        self.snippets.append((for_text, for_html))
        self.names.append(name)
        return f"{self.mark}{len(self.snippets) - 1}x"

    def _show(self, text: str, part: int) -> str:
        """Placeholders become Jinja."""
        return self.placeholder.sub(lambda match: self.snippets[int(match[1])][part], text)

    def _target_name(self, target: str) -> str | None:
        match = self.placeholder.fullmatch(target)
        name = self.names[int(match[1])] if match else None
        if name:
            self.targets.add(name)
        return name

    def _shown_target(self, target: str) -> str:
        name = self._target_name(target)
        if name is None:
            return shown_link(target.removeprefix("tel:"))
        shown = f"{{{{ shown_{name.replace('.', '__')} }}}}"
        return self._slot(shown, shown)


@lru_cache(maxsize=8)
def _page(name: str) -> str:
    text = (PAGE_FOLDER / name).read_text(encoding="utf-8")
    return re.sub(r"/\*.*?\*/\n?", "", text, flags=re.DOTALL) if name.endswith(".css") else text


@lru_cache(maxsize=1)
def _frame() -> Template:
    return _PAGE.from_string(_page("page.html"))


@lru_cache(maxsize=1)
def _inliner() -> css_inline.CSSInliner:
    return css_inline.CSSInliner(extra_css=_page("page.css"), load_remote_stylesheets=False)
