"""What a message in the technical mailbox is: a report about a delivery (RFC 3464), an automatic reply, or a person's.

Pure, and nothing here is believed yet: whether a report is about a message of ours is found in
`scheduler.returned_mail`. What a failure means for the address is the table of `scheduler.smtp_outcome`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from db.states import AttemptOutcome, ReportKind
from scheduler.received_parts import (
    Headers,
    Part,
    Received,
    clean,
    decoded_text,
    first,
    parameter,
    read_blocks,
    returned_headers,
    take_apart,
)
from scheduler.smtp_outcome import Phase, Reply, classify, enhanced_code

# Where servers note to which address a message was delivered, the surest first.
_ADDRESSED: Final = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-delivered-to", "to")
_MOST_ADDRESSES: Final = 20
_MOST_RECIPIENTS: Final = 50
_SAID_SIGNS: Final = 500
_STATUS_KINDS: Final = frozenset({"message/delivery-status", "message/global-delivery-status"})
_RETURNED_KINDS: Final = frozenset(
    {"message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers", "message/rfc822-headers"}
)
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")
_STATUS = re.compile(r"\s*([245])\.([0-9]{1,3})\.([0-9]{1,3})(?![0-9.])")
_TYPED = re.compile(r"\s*[a-z0-9-]{1,20}\s*;\s*", re.IGNORECASE)  # "rfc822; name@example.org"
_MAILER = re.compile(r"(?:^|[<\s\"(])(?:mailer-daemon|mail-daemon|postmaster|mail delivery (?:sub)?system)\b", re.I)
# The words that qmail begins its reports with; their form is fixed (QSBMF) and they have no other mark.
_QMAIL: Final = b"Hi. This is the "
_PRECEDENCE: Final = frozenset({"bulk", "junk", "auto_reply", "auto-reply"})
_AUTOMATIC: Final = ("x-autoreply", "x-autorespond", "x-autoresponse", "x-auto-reply-from", "x-vacation")
_REPLY_CODE = re.compile(r"(?:^|[\s;:])([45][0-9]{2})[ -]")


class Sort(StrEnum):
    """What kind of message it is."""

    REPORT = "report"  # in the form of RFC 3464
    MAILER = "mailer"  # from a mail server in a form of its own: only a token says what it is about
    AUTOMATIC = "automatic"  # an answer of a machine: out of office, a reading receipt
    OTHER = "other"  # a person, or anything else


@dataclass(frozen=True, slots=True)
class About:
    """What a report says about one recipient. `action` in small letters, `status` like `5.1.1`, empty when not there.

    `said` is the server's wording; it may repeat the address.
    """

    final: str = field(default="", repr=False)
    original: str = field(default="", repr=False)
    action: str = ""
    status: str = ""
    said: str = field(default="", repr=False)

    def names(self, address: str) -> bool:
        """Whether it speaks of this address."""
        return address.casefold() in (self.final.casefold(), self.original.casefold())


@dataclass(frozen=True, slots=True)
class Mail:
    """A message of the mailbox as far as it matters. `message_id` is that of the message it returns."""

    sort: Sort
    addressed_to: Sequence[str] = field(repr=False)
    about: Sequence[About] = ()
    message_id: str | None = None


def read_mail(raw: bytes) -> Mail:
    """What a message is; never raises, whatever it holds."""
    received = take_apart(raw)
    addressed = [value for name in _ADDRESSED for value in received.headers.get(name, ())][:_MOST_ADDRESSES]
    status = next((part for part in received.parts if part.kind in _STATUS_KINDS), None)
    if status is not None and _is_whole_report(received):
        returned = next((_message_id(part) for part in received.parts if part.kind in _RETURNED_KINDS), None)
        return Mail(Sort.REPORT, addressed, tuple(_about_each(status))[:_MOST_RECIPIENTS], returned)
    if _is_from_mailer(received):
        return Mail(Sort.MAILER, addressed, (_from_text(received),))
    return Mail(Sort.AUTOMATIC if _is_automatic(received) else Sort.OTHER, addressed)


def about(mail: Mail, address: str) -> About:
    """What a message of a mail server says about this address, to which alone ours went.

    Where several recipients are told and none is hers, nobody knows which is: then it is said without a status.
    """
    hers = [each for each in mail.about if each.names(address)]
    for each in (*hers, *(mail.about if len(mail.about) == 1 else ())):
        return each
    failed = any(each.action in ("", "failed") for each in mail.about)
    return About(action="failed" if failed or not mail.about else mail.about[0].action)


def meaning(said: About) -> tuple[ReportKind, bool]:
    """What a report means, and whether the address is to blame. The action decides before the status (RFC 3464)."""
    if said.action in ("delivered", "relayed", "expanded"):
        return ReportKind.DELIVERED, False
    if said.action == "delayed" or (not said.action and said.status.startswith("4")):
        return ReportKind.DELAYED, False
    status = said.status
    if status.endswith(".0.0") or not status:  # nothing but "it failed": the server's own words may say more
        code = _REPLY_CODE.search(f" {said.said} ")
        status = enhanced_code(said.said[code.end() - 1 :] if code else said.said) or status
    if not status.startswith("5"):
        return ReportKind.RETURNED, False
    verdict = classify(Phase.CONTENT, Reply(550, status))
    refused = verdict.outcome is AttemptOutcome.REFUSED and verdict.blames_address
    return (ReportKind.REFUSED if refused else ReportKind.RETURNED), refused


def _is_whole_report(received: Received) -> bool:
    """A report by its own word, or wrapped by a gateway; a person who forwards one to somebody is a person."""
    if received.kind == "multipart/report":
        return parameter(received.first("content-type"), "report-type").lower() in ("", "delivery-status")
    return received.kind.startswith("multipart/") and _is_from_mailer(received)


def _is_from_mailer(received: Received) -> bool:
    if received.headers.get("x-failed-recipients"):
        return True
    if received.first("return-path") not in ("<>", ""):
        return False
    opening = received.parts[0].body[:200].lstrip() if received.parts else b""
    return opening.startswith(_QMAIL) or bool(_MAILER.search(received.first("from")))


def _is_automatic(received: Received) -> bool:
    if received.kind == "multipart/report":
        return parameter(received.first("content-type"), "report-type").lower() == "disposition-notification"
    submitted = received.first("auto-submitted").partition(";")[0].strip().lower()
    if submitted not in ("", "no"):
        return True
    if received.first("precedence").strip().lower() in _PRECEDENCE:
        return True
    return any(received.headers.get(name) for name in _AUTOMATIC)


def _about_each(part: Part) -> Iterator[About]:
    for block in read_blocks(part.body):
        if any(name in block for name in ("final-recipient", "original-recipient", "action", "status")):
            yield _about(block)


def _about(block: Headers) -> About:
    status = _STATUS.match(first(block, "status"))
    return About(
        final=_address(first(block, "final-recipient")),
        original=_address(first(block, "original-recipient")),
        action=first(block, "action").partition(" ")[0].lower(),
        status=".".join(status.groups()) if status else "",
        said=_TYPED.sub("", first(block, "diagnostic-code"), count=1)[:_SAID_SIGNS],
    )


def _address(value: str) -> str:
    return _TYPED.sub("", value, count=1).strip().strip("<>")[:320]


def _from_text(received: Received) -> About:
    """What a server's own form tells: the first status code in its text."""
    part = next((part for part in received.parts if part.kind == "text/plain"), None)
    text = decoded_text(part.body[:8_000]) if part else ""
    code = re.search(r"(?<![0-9.])5\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9.])", text)
    line = next((line for line in text.splitlines() if code and code[0] in line), "")
    return About(action="failed", status=code[0] if code else "", said=clean(line)[:_SAID_SIGNS])


def _message_id(part: Part) -> str | None:
    found = _MESSAGE_ID.search(first(returned_headers(part), "message-id"))
    return found[0] if found else None
