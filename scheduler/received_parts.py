"""A received message taken apart as hostile input: headers and parts, each within a limit, in one pass, never raising.

Pure. What they say about a message of ours is in `scheduler.delivery_report`. The standard library's parser is not
used: it goes as deep as the message tells it to, and a few kilobytes of nested parts exhaust it.
"""

import binascii
import quopri
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

READ_BYTES: Final = 256 * 1024  # of one message: reports return at most some 50 kB of ours, behind what matters
_HEAD_BYTES: Final = 64 * 1024
_MOST_HEADERS: Final = 400
_VALUE_SIGNS: Final = 2_000
_DEEPEST: Final = 4  # a report that a gateway wrapped, or a list; nothing honest is deeper
_MOST_PARTS: Final = 30

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_NAME = re.compile(r"[!-9;-~]{1,100}")  # RFC 5322 §2.2
_KIND = re.compile(r"\s*([a-z0-9!#$&^_.+-]{1,80}/[a-z0-9!#$&^_.+-]{1,80})", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

Headers = Mapping[str, Sequence[str]]  # by name in small letters; the values unfolded, without control characters


@dataclass(frozen=True, slots=True)
class Part:
    """One part that holds no other: its kind (`text/plain`), its headers, and its body with its encoding undone."""

    kind: str
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Received:
    """A message in its parts. `kind` is that of the whole."""

    kind: str
    headers: Headers = field(repr=False)
    parts: Sequence[Part] = field(repr=False)

    def first(self, name: str) -> str:
        """The first value of a header, empty when there is none."""
        return first(self.headers, name)


def take_apart(raw: bytes) -> Received:
    """Headers and parts of a message; of a longer one its first `READ_BYTES`."""
    head, body = _split(raw[:READ_BYTES])
    headers = read_headers(head)
    kind = _kind(headers)
    parts: list[Part] = []
    waiting = [(headers, body, 1)]
    while waiting and len(parts) < _MOST_PARTS:
        inner_headers, inner, depth = waiting.pop()
        inner_kind = _kind(inner_headers)
        boundary = parameter(first(inner_headers, "content-type"), "boundary")
        if inner_kind.startswith("multipart/") and boundary:
            if depth < _DEEPEST:
                found = [(read_headers(part_head), part, depth + 1) for part_head, part in _parts(inner, boundary)]
                waiting += reversed(found)  # the first part first
            continue
        parts.append(Part(inner_kind, inner_headers, _decoded(inner_headers, inner)))
    return Received(kind, headers, parts)


def read_headers(head: bytes) -> Headers:
    """Header fields by name; what is no field is passed over."""
    found: dict[str, list[str]] = {}
    for name, value in _fields(head):
        found.setdefault(name, []).append(value)
    return found


def read_blocks(body: bytes) -> list[Headers]:
    """Groups of header fields with blank lines between them, as in a delivery report."""
    groups: list[list[bytes]] = [[]]
    for line in body[:_HEAD_BYTES].replace(b"\r\n", b"\n").split(b"\n"):
        if line.strip():
            groups[-1].append(line)
        elif groups[-1] and len(groups) < _MOST_HEADERS:
            groups.append([])
    return [read_headers(b"\n".join(group)) for group in groups if group]


def returned_headers(part: Part) -> Headers:
    """The headers of a message that is returned as a part, whole or its head alone."""
    return read_headers(_split(part.body[:_HEAD_BYTES].lstrip(b"\r\n"))[0])


def first(headers: Headers, name: str) -> str:
    """The first value of a header, empty when there is none."""
    return next(iter(headers.get(name, ())), "")


def parameter(value: str, name: str) -> str:
    """A parameter of a header's value, as in `multipart/report; report-type=delivery-status`; empty for none."""
    found = re.search(rf';\s*{name}\s*=\s*(?:"([^"]{{1,200}})"|([^\s;"]{{1,200}}))', value, re.IGNORECASE)
    return (found[1] or found[2]) if found else ""


def clean(text: str) -> str:
    """One line of text without control characters, within its limit."""
    return _UNSAFE.sub(" ", text[:_VALUE_SIGNS]).strip()


def decoded_text(content: bytes) -> str:
    """Bytes as text, whatever they claim to be: UTF-8 where they are, else each byte a letter."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _fields(head: bytes) -> Iterator[tuple[str, str]]:
    name, parts, count = "", [""], 0
    for line in [*decoded_text(head[:_HEAD_BYTES]).replace("\r\n", "\n").split("\n"), ""]:
        if line[:1] in (" ", "\t") and name:
            if len(parts) < _MOST_HEADERS:  # a folded value goes on
                parts.append(line.strip())
            continue
        if name:
            yield name, clean(" ".join(parts))
        name, colon, rest = line.partition(":")
        name = name.rstrip().lower()
        count += 1
        if not colon or not _NAME.fullmatch(name) or count > _MOST_HEADERS:
            name = ""
        parts = [rest.strip()]


def _split(raw: bytes) -> tuple[bytes, bytes]:
    """Head and body; a message without a blank line is all head, one that begins with it has none."""
    if raw.startswith((b"\n", b"\r\n")):
        return b"", raw.lstrip(b"\r\n")
    found = _HEAD_END.search(raw)
    return (raw[: found.start()], raw[found.end() :]) if found else (raw, b"")


def _kind(headers: Headers) -> str:
    found = _KIND.match(first(headers, "content-type"))
    return found[1].lower() if found else "text/plain"


def _parts(body: bytes, boundary: str) -> Iterator[tuple[bytes, bytes]]:
    """Heads and bodies of the parts between the lines of a boundary (RFC 2046 §5.1.1)."""
    line = re.compile(rb"(?:\A|\n)--" + re.escape(boundary.encode("utf-8")) + rb"(--)?[ \t]*\r?(?=\n|\Z)")
    start: int | None = None
    for count, found in enumerate(line.finditer(body)):
        if start is not None:
            yield _split(body[start : found.start()].removesuffix(b"\r"))
        if found[1] or count == _MOST_PARTS:
            return
        start = min(found.end() + 1, len(body))
    if start is not None:  # cut off: what is there still counts
        yield _split(body[start:])


def _decoded(headers: Headers, body: bytes) -> bytes:
    match first(headers, "content-transfer-encoding").lower():
        case "quoted-printable":
            return quopri.decodestring(body)
        case "base64":
            try:
                return binascii.a2b_base64(body)
            except binascii.Error:
                return body
        case _:
            return body
