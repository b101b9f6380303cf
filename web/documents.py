"""The project's documents as pages: which ones staff can read on the screen, and their Markdown as HTML.

The documents themselves are under `docs/`; what a page around them looks like is in `web.help_pages`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup, escape

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs"
# By the last part of their address; the file beside it.
DOCUMENTS: Final[Mapping[str, str]] = {
    "hazards": "hazard-log.md",
    "guarantees": "guarantees.md",
    "operations": "operations.md",
    "settings": "settings.md",
    "commands": "commands.md",
    "reminder-states": "reminder-states.md",
    "glossary": "glossary.md",
}
_PATHS: Final = {file: f"/help/{name}" for name, file in DOCUMENTS.items()}


@dataclass(frozen=True, slots=True)
class Document:
    """A document ready for a page: its first heading, and all of it as HTML."""

    title: str
    html: Markup


@cache
def read_document(name: str) -> Document:
    """A document of `DOCUMENTS`. Raises `OSError` where the file was not installed."""
    text = (FOLDER / DOCUMENTS[name]).read_text(encoding="utf-8")
    parser = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    tokens = parser.parse(text)
    title = next((after.content for token, after in pairwise(tokens) if token.tag == "h1"), name)
    # Files of our own, parsed with raw HTML switched off.
    return Document(title, Markup(parser.renderer.render(tokens, parser.options, {})))  # noqa: S704


class _Renderer(RendererHTML):
    """HTML that the policy of our pages allows: no styles in elements, tables that scroll alone, links that lead on."""

    def table_open(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        """A table in a frame of its own, which the keyboard reaches."""
        count = env["tables"] = env.get("tables", 0) + 1
        label = f"Table {count}: {env.get('heading', '')}"
        return f'<div class="table" tabindex="0" role="region" aria-label="{escape(label)}">\n<table>\n'

    def table_close(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        """The end of both."""
        return "</table>\n</div>\n"

    def heading_open(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        """A heading that links lead to, named as the places that show the project's files name it."""
        env["heading"] = tokens[index + 1].content.replace("`", "")
        name = "-".join(re.sub(r"[^\w\s-]", "", tokens[index + 1].content.lower()).split())
        given: dict[str, int] = env.setdefault("ids", {})
        count = given[name] = given.get(name, -1) + 1
        return f'<{tokens[index].tag} id="{escape(f"{name}-{count}" if count else name)}">'

    def link_open(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        """A link to another of these documents; to any other file of the project it is no link."""
        target, mark, place = str(tokens[index].attrs.get("href", "")).partition("#")
        path = _PATHS.get(target.rpartition("/")[2]) if target else ""
        return "<span>" if path is None else f'<a href="{path}{mark}{place}">'

    def link_close(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        """The end of either."""
        opened = next(token for token in reversed(tokens[:index]) if token.type == "link_open")
        target = str(opened.attrs.get("href", "")).partition("#")[0]
        return "</a>" if not target or target.rpartition("/")[2] in _PATHS else "</span>"

    def renderToken(  # noqa: N802 (the library's name)
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        """Every other element, without the styles that aligned columns bring."""
        attrs: dict[str, Any] = tokens[idx].attrs
        attrs.pop("style", None)
        return super().renderToken(tokens, idx, options, env)
