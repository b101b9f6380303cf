"""How a mail looks: what a locked phone shows, its text, and its HTML part shut in a frame of its own.

Who shows it: a reminder (`web.reminder_pages`), a text (`web.text_pages`), the outbox folder (`web.outbox_pages`).
"""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.utils import parseaddr
from html import unescape
from html.parser import HTMLParser
from typing import Final

from fastapi.responses import HTMLResponse

from scheduler.messages import Rendered

FIRST_LINE: Final = 90  # characters of the preview that a phone shows under the subject
_DARK: Final = "@media (prefers-color-scheme: dark)"
# Never true, and always: so a page shows both looks whatever the reader's own screen is set to.
_NEVER, _ALWAYS = "@media not all", "@media all"
_FROM_HIDDEN = re.compile(r"\s+")
_TAG = re.compile(r"<[^>]*>")
_PREHEADER = re.compile(r'<div[^>]*\bclass="preheader"[^>]*>(.*?)</div>', re.DOTALL)


@dataclass(frozen=True, slots=True, repr=False)
class Preview:
    """A mail as people see it. `first_line` is what follows the subject on a locked phone: the preheader, and what of
    the text has room beside it."""

    sender: str
    subject: str
    first_line: str
    text: str
    html: str
    preheader: str = ""

    def outside(self) -> "Preview":
        """What of it is not inside the mail: for who may not read what messages say."""
        return Preview(self.sender, self.subject, self.preheader, "", "", self.preheader)


def preview_of_rendered(rendered: Rendered, sender_name: str) -> Preview:
    """A message that has not left."""
    first = _cut(f"{rendered.preheader} {rendered.text}")
    return Preview(sender_name, rendered.subject, first, rendered.text, rendered.html, _cut(rendered.preheader))


def preview_of_bytes(content: bytes) -> Preview:
    """A mail as it left."""
    message = message_from_bytes(content, policy=policy.default)
    html_part, text_part = message.get_body(("html",)), message.get_body(("plain",))
    html = str(html_part.get_content()) if html_part is not None else ""
    text = str(text_part.get_content()) if text_part is not None else ""
    name, address = parseaddr(str(message["From"] or ""))
    first, preheader = _cut(_words(html) or text), _cut(_preheader(html))
    return Preview(name or address, str(message["Subject"] or ""), first, text, html, preheader)


def mail_html_answer(html: str, scheme: str = "") -> HTMLResponse:
    """The HTML part of a mail: it runs nothing, loads nothing, leads nowhere and has no origin.

    Mails bring their styles in their elements: each is allowed by its hash, so that nothing else is. `scheme` is
    `light` or `dark` for that look, whatever the screen's own; else as the screen is set.
    """
    html = html.replace("\r\n", "\n")  # as browsers read it: hashes are of what they read
    if scheme == "dark":
        html = html.replace(_DARK, _ALWAYS)
    elif scheme == "light":
        html = html.replace(_DARK, _NEVER)
    found = _Styles()
    found.feed(html)
    hashes = " ".join(sorted({_hash(style) for style in found.styles}))
    allowed = f"style-src 'unsafe-hashes' {hashes}; " if hashes else ""
    rules = f"sandbox; default-src 'none'; {allowed}frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
    return HTMLResponse(html, headers={"Content-Security-Policy": rules})


@dataclass
class _Styles(HTMLParser):
    """Every style of a document: those of its elements and those of its style blocks."""

    styles: list[str] = field(default_factory=list)
    inside: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.styles += [value for name, value in attrs if name == "style" and value]
        self.inside = tag == "style"
        if self.inside:
            self.styles.append("")

    def handle_data(self, data: str) -> None:
        if self.inside:  # may come in pieces; the hash is of the whole block
            self.styles[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.inside = False


def _words(html: str) -> str:
    """The words of the body in their order, as a phone shows the first of them after the subject."""
    body = html.partition("<body")[2].partition(">")[2]
    return unescape(_TAG.sub(" ", body)).strip()


def _preheader(html: str) -> str:
    """What our mails say first, unseen: the element of that class."""
    found = _PREHEADER.search(html)
    return unescape(_TAG.sub(" ", found[1])) if found else ""


def _cut(text: str) -> str:
    line = _FROM_HIDDEN.sub(" ", text).strip()
    return line if len(line) <= FIRST_LINE else line[: FIRST_LINE - 1] + "…"


def _hash(style: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"
