"""The finished bytes of a mail, put together by hand from parts prepared once a sender.

What the message says is in `scheduler.messages`; handing the bytes over, and stuffing dots, is in `scheduler.mailer`.
`EmailMessage` costs 2-3 ms a message and breaks long List-Unsubscribe links; the tests read every mail back with it.
"""

import re
import secrets
from base64 import encodebytes
from binascii import b2a_qp
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

from email_validator import EmailNotValidError, validate_email

from scheduler.messages import Rendered
from scheduler.smtp_wire import WireBytes

LINE_LIMIT: Final = 900  # octets of one header line; RFC 5322 §2.1.1 allows 998, of which the name takes some
SUBJECT_LIMIT: Final = 200  # characters; the linter asks for 45, this only keeps the line within its limit
# Never part of a quoted-printable body: there `=` is followed by two hex digits or the end of the line (RFC 2045 §6.7).
_BOUNDARY: Final = "=_part"
_OUTER: Final = "=_mail"  # around both texts and a calendar file
CALENDAR_NAME: Final = "appointment.ics"

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOMAIN: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_DOMAIN}")
_MESSAGE_ID = re.compile(rf"<{_ATOM}(?:\.{_ATOM})*@{_DOMAIN}>")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")
_MAILTO = re.compile(r"mailto:[!-;=?-~]+")  # printable ASCII without spaces and angle brackets
_HTTPS = re.compile(r"https://[!-;=?-~]+")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_APART = re.compile(rb"^(?:From |\.)+", re.MULTILINE)


class HeaderRefused(ValueError):
    """A header value that could turn into something else on its way. The message never repeats the value."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who writes: the clinic's address, its neutral name, a watched Reply-To and the domain of Message-IDs."""

    address: str
    name: str
    reply_to: str
    domain: str


@dataclass(frozen=True, slots=True, repr=False)
class MailHeaders:
    """What differs from mail to mail. `message_id` with its angle brackets, `date` aware, the two URIs complete."""

    to: str
    message_id: str
    date: datetime
    list_unsubscribe_mailto: str
    list_unsubscribe_https: str | None = None


class MailWriter:
    """Writes mails of one sender. Raises `HeaderRefused` if the sender's own values cannot stand in a header."""

    def __init__(self, sender: Sender) -> None:
        name = _quoted_name(sender.name)
        address = ascii_address(sender.address, "sender address")
        self._top = f"From: {name} <{address}>\r\n" if name else f"From: {address}\r\n"
        self._fixed = (
            f"Reply-To: {ascii_address(sender.reply_to, 'Reply-To')}\r\n"
            "MIME-Version: 1.0\r\n"
            "Auto-Submitted: auto-generated\r\n"  # RFC 3834 §5: so that no out-of-office answers it
        )

    def assemble(self, rendered: Rendered, headers: MailHeaders, calendar: bytes | None = None) -> bytes:
        """The whole mail as `WireBytes`: CRLF line ends, ASCII, no line begins with a dot. Raises `HeaderRefused`.

        `calendar`: a calendar file to go with it, as `scheduler.review_calendar` writes it. The text part comes first
        (RFC 2046 §5.1.4: the richest last). Bodies come from `CompiledMessage.render`,
        which lets no control characters through.
        """
        if not _LANGUAGE.fullmatch(rendered.language):
            raise HeaderRefused("the language is not a language tag")
        head = (
            f"{self._top}"
            f"To: {ascii_address(headers.to, 'address')}\r\n"
            f"Subject: {_encoded_subject(rendered.subject)}\r\n"
            f"Date: {_date(headers.date)}\r\n"
            f"Message-ID: {_checked_message_id(headers.message_id)}\r\n"
            f"{_list_unsubscribe(headers)}"
            f"{self._fixed}"
        )
        return WireBytes(
            b"".join(
                (
                    head.encode("ascii"),
                    _ALTERNATIVE if calendar is None else _MIXED + _ALTERNATIVE,
                    f"Content-Language: {rendered.language}\r\n".encode("ascii"),
                    _OPEN_TEXT,
                    _quoted_printable(rendered.text),
                    _OPEN_HTML,
                    _quoted_printable(rendered.html),
                    _CLOSE,
                    b"" if calendar is None else _calendar_part(calendar),
                )
            )
        )


def make_message_id(domain: str) -> str:
    """A new random Message-ID with its angle brackets: 128 bits, nothing in it says who, what or when."""
    return f"<{secrets.token_hex(16)}@{domain}>"


def ascii_address(address: str, what: str = "address") -> str:
    """A bare address with its domain in ASCII (IDNA). Raises `HeaderRefused` for anything else."""
    if _CONTROL.search(address) or "=?" in address:
        raise HeaderRefused(f"the {what} holds a control character or an encoded word")
    if not address.isascii():
        try:
            address = validate_email(address, check_deliverability=False, allow_smtputf8=False).ascii_email or ""
        except EmailNotValidError:
            raise HeaderRefused(
                f"the {what} cannot be written in ASCII: only its domain may have other letters"
            ) from None
    if len(address) > 254 or not _ADDRESS.fullmatch(address):
        raise HeaderRefused(f"the {what} is not a bare address like name@example.org")
    return address


def _quoted_printable(body: str) -> bytes:
    """Quoted-printable with CRLF and lines of at most 76 characters (RFC 2045 §6.7)."""
    return b"\r\n".join(map(_encoded_line, body.split("\n")))


# Most lines of a text are the same in every mail, and encoding them is what would cost most of a mail's time.
@lru_cache(maxsize=4_096)
def _encoded_line(line: str) -> bytes:
    encoded = b2a_qp(line.encode("utf-8"), istext=True).replace(b"=\n", b"=\r\n")
    # Mailboxes kept in one file put ">" before such a line, SMTP another dot; a soft break keeps it short enough.
    return _APART.sub(_set_apart, encoded)


def _set_apart(begins: "re.Match[bytes]") -> bytes:
    return begins[0].replace(b"From ", b"=46rom =\r\n").replace(b".", b"=2E=\r\n")


def _part(kind: str) -> str:
    return (
        f"\r\n--{_BOUNDARY}\r\nContent-Type: text/{kind}; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    )


_OPEN_TEXT: Final = _part("plain").encode("ascii")
_OPEN_HTML: Final = _part("html").encode("ascii")
_CLOSE: Final = f"\r\n--{_BOUNDARY}--\r\n".encode("ascii")
_ALTERNATIVE: Final = f'Content-Type: multipart/alternative; boundary="{_BOUNDARY}"\r\n'.encode("ascii")
_MIXED: Final = f'Content-Type: multipart/mixed; boundary="{_OUTER}"\r\n\r\n--{_OUTER}\r\n'.encode("ascii")


def _calendar_part(calendar: bytes) -> bytes:
    """The file as an attachment that calendars take up (RFC 6047 §2.4); its method is the one inside it."""
    method = "CANCEL" if b"METHOD:CANCEL\r\n" in calendar else "PUBLISH"
    head = (
        f"\r\n--{_OUTER}\r\nContent-Type: text/calendar; charset=utf-8; method={method}; name={CALENDAR_NAME}\r\n"
        f"Content-Disposition: attachment; filename={CALENDAR_NAME}\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    body = encodebytes(calendar).replace(b"\n", b"\r\n")
    return b"".join((head.encode("ascii"), body, f"--{_OUTER}--\r\n".encode("ascii")))


@lru_cache(maxsize=512)
def _encoded_subject(subject: str) -> str:
    _refuse_unsafe(subject, "subject")
    if not subject or len(subject) > SUBJECT_LIMIT:
        raise HeaderRefused(f"the subject is empty or longer than {SUBJECT_LIMIT} characters")
    if subject.isascii():
        return subject
    return Header(subject, "utf-8", header_name="Subject").encode(linesep="\r\n")


def _quoted_name(name: str) -> str:
    """A display name as a quoted string or encoded words; empty for none."""
    _refuse_unsafe(name, "sender name")
    if len(name) > SUBJECT_LIMIT:
        raise HeaderRefused(f"the sender name is longer than {SUBJECT_LIMIT} characters")
    if name.isascii():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"' if name.strip() else ""
    encoded = Header(name, "utf-8", header_name="From").encode(linesep="\r\n")
    if "\r\n" in encoded:  # readers disagree on the space between two encoded words of a name
        raise HeaderRefused("the sender name is too long: other letters than ASCII allow about 30 of them")
    return encoded


def _refuse_unsafe(value: str, what: str) -> None:
    if _CONTROL.search(value) or "=?" in value:
        raise HeaderRefused(f"the {what} holds a control character or an encoded word")


def _date(date: datetime) -> str:
    """In UTC: the patient's zone is nobody's business on the way."""
    if date.tzinfo is None:
        raise HeaderRefused("the date has no zone")
    return format_datetime(date.astimezone(UTC))


def _checked_message_id(message_id: str) -> str:
    if len(message_id) > LINE_LIMIT or "=?" in message_id or not _MESSAGE_ID.fullmatch(message_id):
        raise HeaderRefused("the Message-ID is not one like <random@example.org>")
    return message_id


def _list_unsubscribe(headers: MailHeaders) -> str:
    """RFC 2369 and RFC 8058; a link is never folded inside, because some readers then lose half of it."""
    mailto, https = headers.list_unsubscribe_mailto, headers.list_unsubscribe_https
    if len(mailto) > LINE_LIMIT or "=?" in mailto or not _MAILTO.fullmatch(mailto):
        raise HeaderRefused("the address in List-Unsubscribe is not a mailto: link")
    if https is None:
        return f"List-Unsubscribe: <{mailto}>\r\n"
    if len(https) > LINE_LIMIT or "=?" in https or not _HTTPS.fullmatch(https):
        raise HeaderRefused("the link in List-Unsubscribe is not an https: link")
    return f"List-Unsubscribe: <{mailto}>,\r\n <{https}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
