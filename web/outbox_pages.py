"""The mails of the outbox folder, while no mail server is set: their list, and one mail as it would look.

The files are written by `scheduler.outbox`. They name patients and say what is meant for them: who looks is noted.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from typing import Final

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse

from scheduler.clinic import Clinic
from scheduler.outbox import list_mails
from web import times
from web.pages import clinic_of, page
from web.preview_parts import mail_html_answer
from web.seen import note_view

_NAME: Final = re.compile(r"[0-9a-f]{20}\.eml")
SHOWN: Final = 200
_HEAD_BYTES: Final = 16_384  # a mail's header is far shorter


@dataclass(frozen=True, slots=True)
class MailHead:
    """A mail in the list. `subject` and `to` as its reader sees them."""

    name: str
    subject: str
    to: str
    written: str


def list_heads(clinic: Clinic, limit: int) -> list[MailHead]:
    """The newest mails first."""
    heads = []
    now = clinic.clock.now()
    for path in list_mails(clinic.settings.outbox, limit):
        if _NAME.fullmatch(path.name):
            with path.open("rb") as file:
                message = BytesHeaderParser(policy=policy.default).parsebytes(file.read(_HEAD_BYTES))
            heads.append(MailHead(path.name, *_head(message, clinic, now)))
    return heads


def outbox_page(request: Request) -> HTMLResponse:
    """The list, with addresses."""
    clinic = clinic_of(request)
    _refuse_with_server(clinic)
    mails = list_heads(clinic, SHOWN + 1)
    folder = str(clinic.settings.outbox)
    note_view(request, "list.viewed", "outbox")
    return page(request, "outbox.html", mails=mails[:SHOWN], more=len(mails) > SHOWN, folder=folder)


def mail_page(request: Request, name: str) -> HTMLResponse:
    """One mail: its head, its HTML part in a frame of its own, its text part."""
    clinic = clinic_of(request)
    message = _read(clinic, name)
    subject, to, written = _head(message, clinic, clinic.clock.now())
    note_view(request, "mail.viewed", "mail", name)
    return page(
        request,
        "mail.html",
        name=name,
        subject=subject,
        to=to,
        sender=str(message["From"] or ""),
        written=written,
        text=_part(message, "plain"),
        has_html=bool(_part(message, "html")),
    )


def mail_html(request: Request, name: str) -> HTMLResponse:
    """The HTML part alone, as it was written, shut in a sandbox."""
    html = _part(_read(clinic_of(request), name), "html")
    if not html:
        raise HTTPException(404)
    return mail_html_answer(html, request.query_params.get("scheme", ""))


def _read(clinic: Clinic, name: str) -> EmailMessage:
    """The mail of that name. Raises 404 for what is no mail's name."""
    _refuse_with_server(clinic)
    if not _NAME.fullmatch(name):
        raise HTTPException(404)
    try:
        content = (clinic.settings.outbox / name).read_bytes()
    except OSError:
        raise HTTPException(404) from None
    return message_from_bytes(content, policy=policy.default)


def _refuse_with_server(clinic: Clinic) -> None:
    """With a mail server the clinic is at work: what was written while trying out stays in the folder."""
    if clinic.settings.smtp_host is not None:
        raise HTTPException(404)


def _head(message: EmailMessage, clinic: Clinic, now: datetime) -> tuple[str, str, str]:
    date = message["Date"]
    instant = getattr(date, "datetime", None)
    written = times.when(instant, now, clinic.settings.clinic_time_zone) if instant else ""
    return str(message["Subject"] or "(no subject)"), str(message["To"] or ""), written


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    return str(body.get_content()) if body is not None else ""
