"""Mails to the clinic's own staff: alerts and the daily digest, in counts and ids, over the same kind of connection.

No patient is in them, so neither gate nor cap stand before them and no attempt is recorded. When: `housekeeping`.
"""

from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from db.states import AttemptOutcome
from scheduler.clinic import Clinic
from scheduler.mailer import Connection, Limits, RelaySettings, RelayTrouble
from scheduler.mime import ascii_address, make_message_id
from scheduler.outbox import FolderConnection
from scheduler.return_path import return_address
from scheduler.smtp_outcome import Verdict

LIMITS: Final = Limits(connect=10, command=20, final_reply=60, quit=2)  # a digest may be late; the next one comes


async def send_to_staff(clinic: Clinic, relay: RelaySettings | None, subject: str, lines: Sequence[str]) -> bool:
    """Hand a plain mail to the address for alarms over; whether it was taken. Without an address: no."""
    address = clinic.settings.alert_address
    if address is None:
        return False
    try:
        verdict = await hand_over(clinic, relay, address, _write(clinic, address, subject, lines))
    except (RelayTrouble, OSError):
        return False
    return verdict.outcome is AttemptOutcome.ACCEPTED


async def hand_over(clinic: Clinic, relay: RelaySettings | None, address: str, content: bytes) -> Verdict:
    """Hand one finished mail to a member of staff over, or write it to the folder. Raises `RelayTrouble`."""
    carrier = FolderConnection(clinic.settings.outbox) if relay is None else Connection(relay, LIMITS)
    try:
        await carrier.ensure_open()
        refused = await carrier.envelope(return_address(clinic.settings), ascii_address(address))
        return refused or await carrier.content(content)
    finally:
        await carrier.close()


def _write(clinic: Clinic, address: str, subject: str, lines: Sequence[str]) -> bytes:
    settings = clinic.settings
    mail = EmailMessage(policy=SMTP)
    mail["From"] = settings.sender_address
    mail["To"] = ascii_address(address)
    mail["Subject"] = subject
    mail["Date"] = format_datetime(clinic.clock.now())
    mail["Message-ID"] = make_message_id(settings.message_domain)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n".join(lines) + "\n", charset="utf-8", cte="quoted-printable")
    return mail.as_bytes()
