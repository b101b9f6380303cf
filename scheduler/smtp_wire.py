"""What may stand on the wire: an address inside a command, and a message after 354.

Pure; who writes it there is `scheduler.mailer`, what the message says is `scheduler.messages`.
"""

import re

# What may stand between < and > on a command line. Narrower than RFC 5321: no quoted local parts, which nobody has and
# every filter treats differently; no control characters, which would be further commands.
_ADDRESS = re.compile(r"[!#-;=?A-Z\[-~]+@[!#-;=?A-Z\[-~]+", re.ASCII)
_NEWLINE = re.compile(rb"\r\n|\r|\n")


class WireBytes(bytes):
    """A message that its writer made for the wire: ASCII in lines ended by CRLF, none of which begins with a dot."""

    __slots__ = ()


def wire_form(message: bytes) -> bytes:
    """The bytes of a message as they follow 354: lines ended by CRLF, leading dots doubled, the closing dot.

    Raises `ValueError` for a byte beyond ASCII: a server need not carry it, so messages are encoded before.
    """
    if isinstance(message, WireBytes):  # looking through it would cost more than all else that is done with it here
        return message + b".\r\n"
    if not message.isascii():
        raise ValueError("a message is ASCII on the wire; encode its parts as quoted-printable or base64")
    lines = _NEWLINE.sub(b"\r\n", message)
    if not lines.endswith(b"\r\n"):
        lines += b"\r\n"
    stuffed = lines.replace(b"\n.", b"\n..")
    return (b"." if lines.startswith(b".") else b"") + stuffed + b".\r\n"


def check_address(address: str) -> None:
    """Raise `ValueError` unless the address can stand in an SMTP command as it is. The message does not repeat it."""
    if not _ADDRESS.fullmatch(address):
        raise ValueError("an e-mail address is printable ASCII with one @, without spaces, quotes and angle brackets")
