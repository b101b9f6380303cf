"""What may stand on the wire: an address inside a command, and a message after 354.

Pure; who writes it there is `scheduler.mailer`, what the message says is `scheduler.messages`.
"""

import re

# What may stand between < and > on a command line. Narrower than RFC 5321: no quoted local parts, which nobody has and
# every filter treats differently; no control characters, which would be further commands.
_ADDRESS = re.compile(r"[!#-;=?A-Z\[-~]+@[!#-;=?A-Z\[-~]+", re.ASCII)
_NEWLINE = re.compile(rb"\r\n|\r|\n")


def wire_form(message: bytes) -> bytes:
    """The bytes of a message as they follow 354: lines ended by CRLF, leading dots doubled, the closing dot.

    Raises `ValueError` for a byte beyond ASCII: a server need not carry it, so messages are encoded before.
    """
    if not message.isascii():
        raise ValueError("a message is ASCII on the wire; encode its parts as quoted-printable or base64")
    # Counting is quick, and what the writer made has nothing to mend.
    if message.count(b"\n") == message.count(b"\r") == message.count(b"\r\n"):
        lines = message
    else:
        lines = _NEWLINE.sub(b"\r\n", message)
    if not lines.endswith(b"\r\n"):
        lines += b"\r\n"
    stuffed = lines.replace(b"\n.", b"\n..")
    return (b"." if lines.startswith(b".") else b"") + stuffed + b".\r\n"


def check_address(address: str) -> None:
    """Raise `ValueError` unless the address can stand in an SMTP command as it is. The message does not repeat it."""
    if not _ADDRESS.fullmatch(address):
        raise ValueError("an e-mail address is printable ASCII with one @, without spaces, quotes and angle brackets")
