"""`bounce`: one message of the technical mailbox on standard input, for a mail server that pipes them here.

What it leads to is in `scheduler.returned_mail`; a mailbox that is read by IMAP needs no command.
"""

import sys
from typing import Final

import typer

from commands.context import clinic_of, print_error, print_line
from scheduler.errors import AftercareError, InvalidInput
from scheduler.logs import setup_logs
from scheduler.received_parts import READ_BYTES
from scheduler.returned_mail import Taken, take

LATER: Final = 75  # EX_TEMPFAIL of sysexits.h: the mail server keeps the message and tries again
_REST: Final = 1 << 20

_SAID: Final = {
    Taken.REPORT: "A report about a message of ours; stored.",
    Taken.KNOWN: "A report that was stored before.",
    Taken.NOT_OURS: "A report about nothing that was sent from here; ignored.",
    Taken.AUTOMATIC: "An automatic reply; ignored.",
}


def bounce(context: typer.Context) -> None:
    """Take in one message of the technical mailbox from standard input, for a mail server's pipe."""
    raw = sys.stdin.buffer.read(READ_BYTES)
    while sys.stdin.buffer.read(_REST):  # a mail server whose pipe breaks would try again for ever
        pass
    if not raw.strip():
        raise InvalidInput("there is no message on standard input")
    try:
        clinic = clinic_of(context)
        setup_logs(clinic.settings.log_level)
        taken = take(clinic, raw)
    except AftercareError as wrong:
        print_error(str(wrong))
        raise typer.Exit(LATER) from None
    except Exception as failed:  # noqa: BLE001 (whatever it is, the message must not be lost)
        print_error(f"not stored, try again later: {type(failed).__name__}")
        raise typer.Exit(LATER) from None
    if taken is Taken.LETTER:
        print_error("This is no report about a delivery: nobody reads here, and nothing of it was kept.")
        raise typer.Exit(1)
    print_line(_SAID[taken])
