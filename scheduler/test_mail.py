"""A text sent to the person who looks at it: sample values, her own address, the headers and the way of a real mail.

It concerns no patient, so neither gate nor daily cap stand before it, and no attempt is recorded: only that it was
sent is in the trail.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from db import audit
from db.states import AttemptOutcome
from scheduler.clinic import Clinic
from scheduler.errors import InvalidInput, Refused
from scheduler.letter_values import stop_link
from scheduler.library import ShelvedText
from scheduler.mailer import Connection, Limits, RelayTrouble
from scheduler.mime import HeaderRefused, MailHeaders, ascii_address, make_message_id
from scheduler.outbox import FolderConnection
from scheduler.return_path import return_address
from scheduler.sender import relay_of
from scheduler.smtp_outcome import Phase, Verdict
from scheduler.template_files import TextId
from scheduler.text_previews import render_sample

# Somebody waits for it: a server that takes longer is no news to her.
LIMITS: Final = Limits(connect=10, command=20, final_reply=60, quit=2)

_OPENING: Final = {
    Phase.CONNECT: "It did not answer at its address.",
    Phase.GREETING: "It answered, and then did not greet.",
    Phase.EHLO: "It did not take our greeting.",
    Phase.STARTTLS: "No encrypted connection came about, and without one nothing is sent.",
    Phase.AUTH: "It refused the sign-in.",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a test mail, in sentences."""

    sent: bool
    to_folder: bool  # no mail server is set: it was only written down
    lines: tuple[str, ...]


def send(clinic: Clinic, actor: str, address: str | None, text_id: TextId) -> Tried:
    """Send the newest content of a text to an address of staff, through the clinic's mail server or into the folder.

    Raises `InvalidInput` without an address, `Refused` when the text is not there or cannot be written.
    """
    if not address:
        raise InvalidInput("address: enter your own e-mail address under Your account first")
    with clinic.store.read() as session:
        shelf = clinic.library.shelf(session)
    text = shelf.latest.get(text_id)
    if text is None:
        raise Refused("this text is not there any more")
    headers = MailHeaders(
        to=address,
        message_id=make_message_id(clinic.settings.message_domain),
        date=clinic.clock.now(),
        list_unsubscribe_mailto=stop_link(clinic),
    )
    try:
        content = clinic.writer.assemble(render_sample(clinic, shelf, text.source), headers)
    except HeaderRefused as wrong:
        raise Refused(f"it cannot be written yet: {wrong}") from wrong
    try:
        verdict = asyncio.run(_hand_over(clinic, ascii_address(address), content))
    except RelayTrouble as trouble:
        verdict = trouble.verdict
    _note(clinic, actor, text)
    sent, lines = verdict.outcome is AttemptOutcome.ACCEPTED, _sentences(clinic, address, verdict)
    return Tried(sent, clinic.settings.smtp_host is None, tuple(lines))


async def _hand_over(clinic: Clinic, address: str, content: bytes) -> Verdict:
    relay = relay_of(clinic)
    carrier = FolderConnection(clinic.settings.outbox) if relay is None else Connection(relay, LIMITS)
    try:
        await carrier.ensure_open()
        refused = await carrier.envelope(return_address(clinic.settings), address)
        return refused or await carrier.content(content)
    finally:
        await carrier.close()


def _sentences(clinic: Clinic, address: str, verdict: Verdict) -> list[str]:
    """How it ended, what the server said, and what to do next."""
    if verdict.outcome is AttemptOutcome.ACCEPTED and clinic.settings.smtp_host is None:
        return ["No mail server is set: it was written to the folder, where you can look at it."]
    said = [f"It said: {answer_of(verdict)}"] if verdict.code else []
    match verdict.outcome:
        case AttemptOutcome.ACCEPTED:
            return [
                f"The mail server took it for {address}.",
                *said,
                "Read it on your own phone, locked: what shows there is what a patient’s family would see.",
            ]
        case AttemptOutcome.REFUSED | AttemptOutcome.REJECTED:
            what = "your address" if verdict.blames_address else "this mail"
            return [f"The mail server refused {what} for good.", *said]
        case AttemptOutcome.PUT_OFF:
            return [
                "The mail server put it off: not now. A patient’s mail would be tried again; try yours later.",
                *said,
            ]
        case AttemptOutcome.UNKNOWN:
            return ["No answer came after it was handed over: it may arrive, and it may not.", *said]
        case _:
            told = _OPENING.get(verdict.phase, "It ended the conversation before the mail was handed over.")
            return ["The mail server could not be used.", told, *said]


def answer_of(verdict: Verdict) -> str:
    """The server's answer on one line: `550 5.1.1 no such user`."""
    return " ".join(f"{verdict.code} {verdict.text}".split())


def _note(clinic: Clinic, actor: str, text: ShelvedText) -> None:
    with clinic.store.write(actor, clinic.clock.now()) as session:
        audit.record(session, "template.test_mailed", "template", text.version_id)
