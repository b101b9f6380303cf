"""Markdown of a message to HTML and to plain text, with the same words in both.

Names stand in it as placeholders (`scheduler.messages` puts them there and takes them out); no value is seen here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

_LINK: Final = re.compile(r"(?:https?://|mailto:|tel:)[^\s<>\"]+")
_RULE: Final = "-" * 40

# All of CommonMark is recognised, so that what is not allowed is refused instead of printed as it stands.
_MARKDOWN: Final = MarkdownIt("commonmark").disable("reference")
_MARKDOWN.validateLink = lambda url: True  # type: ignore[method-assign]

_REFUSED: Final = {
    "image": "images are not allowed",
    "html_inline": "HTML is not allowed",
    "html_block": "HTML is not allowed",
    "code_inline": "code is not allowed",
    "code_block": "an indented block is code, and code is not allowed: begin the line without spaces",
    "fence": "code is not allowed",
    "blockquote_open": "quotes are not allowed",
}
_SIMPLE: Final = {
    "em_open": "<em>",
    "em_close": "</em>",
    "strong_open": "<strong>",
    "strong_close": "</strong>",
    "softbreak": "\n",
    "hardbreak": "<br>\n",
}


@dataclass(frozen=True, slots=True)
class Links:
    """What the compiler says about link targets.

    The name a target stands for, whether a name is hidden anywhere in it, and how plain text shows it.
    """

    name_of: Callable[[str], str | None]
    holds_name: Callable[[str], bool]
    shown: Callable[[str], str]


Refuse = Callable[[int, str], None]


def to_html_and_text(markdown: str, first_line: int, links: Links, refuse: Refuse) -> tuple[list[str], list[str]]:
    """The blocks of a passage as HTML and as plain text; `refuse(line, problem)` gets what is not allowed."""
    walk = _Walk(first_line, links, refuse)
    walk.blocks(_MARKDOWN.parse(markdown))
    return walk.html, walk.text


class _Walk:
    def __init__(self, first_line: int, links: Links, refuse: Refuse) -> None:
        self.first_line = first_line
        self.links = links
        self.refuse = refuse
        self.html: list[str] = []
        self.text: list[str] = []

    def blocks(self, tokens: list[Token]) -> None:
        at = 0
        while at < len(tokens):
            token = tokens[at]
            line = self.first_line + (token.map[0] if token.map else 0)
            if token.type == "paragraph_open":
                self._paragraph(tokens[at + 1], line)
                at += 3
            elif token.type == "heading_open":
                self._heading(token, tokens[at + 1], line)
                at += 3
            elif token.type in ("bullet_list_open", "ordered_list_open"):
                at = self._list(tokens, at, line)
            elif token.type == "hr":
                self.html.append("<hr>")
                self.text.append(_RULE)
                at += 1
            else:
                self.refuse(line, _REFUSED.get(token.type, f"{token.type} is not allowed"))
                at += 1

    def _paragraph(self, inline: Token, line: int) -> None:
        html, text = self.inline(inline, line)
        children = inline.children or []
        if _is_only_a_link(children):
            label, _, target = text.rpartition(" <")
            self.html.append(f'<p class="button">{html}</p>')
            self.text.append(f"{label}:\n{target.removesuffix('>')}" if label else text)
        else:
            self.html.append(f"<p>{html}</p>")
            self.text.append(text)

    def _heading(self, token: Token, inline: Token, line: int) -> None:
        if token.tag not in ("h2", "h3"):
            self.refuse(line, "headings are ## or ###; the greeting is the first heading")
        html, text = self.inline(inline, line)
        self.html.append(f"<{token.tag}>{html}</{token.tag}>")
        self.text.append(text)

    def _list(self, tokens: list[Token], at: int, line: int) -> int:
        """Flat lists of single paragraphs; returns the index after the list."""
        opening = tokens[at]
        number = int(opening.attrs.get("start", 1)) if opening.tag == "ol" else None
        html: list[str] = []
        text: list[str] = []
        at += 1
        while tokens[at].level > opening.level:
            token = tokens[at]
            here = self.first_line + token.map[0] if token.map else line
            if token.type == "inline":
                item_html, item_text = self.inline(token, here)
                html.append(f"<li>{item_html}</li>")
                text.append(f"{'-' if number is None else f'{number + len(text)}.'} {item_text}")
            elif token.type not in ("list_item_open", "list_item_close", "paragraph_open", "paragraph_close"):
                if token.nesting >= 0:
                    self.refuse(here, "a list holds plain lines only: no list, heading or rule inside it")
            elif token.type == "paragraph_open" and tokens[at - 1].type != "list_item_open":
                self.refuse(here, "a list item is one paragraph")
            at += 1
        start = f' start="{number}"' if number not in (None, 1) else ""
        self.html.append(f"<{opening.tag}{start}>{''.join(html)}</{opening.tag}>")
        self.text.append("\n".join(text))
        return at + 1

    def inline(self, token: Token, line: int) -> tuple[str, str]:
        html: list[str] = []
        text: list[str] = []
        targets: list[tuple[str, int]] = []
        for child in token.children or []:
            if child.type in _SIMPLE:
                html.append(_SIMPLE[child.type])
                if child.type.endswith("break"):
                    text.append(" " if child.type == "softbreak" else "\n")
                    line += 1
            elif child.type in ("text", "text_special"):
                if "{" in child.content or "}" in child.content:
                    self.refuse(line, "a brace: only {{ name }} and {% if name %} use braces here")
                html.append(escape(child.content, quote=False))
                text.append(child.content)
            elif child.type == "link_open":
                target = self._target(child, line)
                targets.append((target, len(text)))
                html.append(f'<a href="{escape(target)}">')
            elif child.type == "link_close":
                target, begin = targets.pop()
                html.append("</a>")
                label = "".join(text[begin:])
                shown = self.links.shown(target)
                if label not in (target, shown):
                    text.append(f" <{shown}>")
            else:
                self.refuse(line, _REFUSED.get(child.type, f"{child.type} is not allowed"))
        return "".join(html), "".join(text)

    def _target(self, token: Token, line: int) -> str:
        target = str(token.attrs.get("href", ""))
        if "title" in token.attrs:
            self.refuse(line, "a link has no title")
        name = self.links.name_of(target)
        if name is not None:
            if not name.startswith(("link.", "text.")):
                self.refuse(line, f"{{{{ {name} }}}} is not a link: expected link.page, link.stop or text.<key>")
        elif self.links.holds_name(target) or not _LINK.fullmatch(target):
            self.refuse(line, "a link leads to http:, https:, mailto: or tel:, or is one whole {{ name }}")
        return target


def _is_only_a_link(children: list[Token]) -> bool:
    return (
        len(children) >= 2
        and children[0].type == "link_open"
        and children[-1].type == "link_close"
        and sum(child.type == "link_open" for child in children) == 1
    )
