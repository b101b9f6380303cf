"""What a page says a form has done. A key travels in the address; nothing about a patient does."""

from collections.abc import Mapping
from typing import Final

from db.states import EventKind, Reason


def _key(word: str) -> str:
    return str(word).replace("_", "-")


def _small(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


_DONE: Final = {
    "signed-out": "You are signed out.",
    "joined": "Your account is ready.",
    "secrets-changed": "Changed. Your sessions in other browsers have ended if the password was changed.",
    "address-changed": "Your address is changed.",
    "signed-out-everywhere": "Signed out everywhere else.",
    "session-ended": "That session has ended.",
    "noted": "Noted.",
    "entered": "Saved. The plan has started.",
    "entry-undone": "Undone: nothing has left. Here is what was entered, to be put right.",
    "patient-changed": "Saved. The plan follows.",
    "patient-shared": "Saved. Another patient has the same e-mail address; mails to both reach it.",
    "patient-stopped": "All messages are stopped.",
    "patient-permitted": "Messages are permitted again. What is still ahead is planned anew.",
    "treatment-moved": "The date is corrected. The plan follows.",
    "treatment-cancelled": "The treatment is cancelled, and its unsent messages with it.",
    "reassigned": "The treatment belongs to this patient now.",
    "reassigned-disclosed": (
        "The treatment belongs to this patient now. Messages had left to the other one: noted there as a disclosure."
    ),
    "record-saved": "Saved as a draft.",
    "record-signed": "Signed.",
    "visit-booked": "The visit is booked. Its messages follow.",
    "review-held": "The review is recorded. The outcome alone changes no plan: set the step, or stop it, by hand.",
    "note-added": "The note is added.",
    "contact-noted": "Noted.",
    "undone": "Undone. It stays readable in the record.",
    "address-confirmed": "The address is confirmed. What waited for it follows.",
    "page-code-set": "The code is set. Links in messages open the page with it.",
    "links-revoked": "All links sent until now are ended.",
    "line-closed": "Done. It can be undone under “Done today”.",
    "line-reopened": "Undone: it waits again.",
    "imported": "Entered. Every plan is held: nothing leaves until the import is released.",
    "imported-people": "Entered: patients only, without a plan. Nothing of this import is sent.",
    "import-released": "Released. Every message leaves at its own time from now on.",
    "import-undone": "The import is undone.",
    "file-forgotten": "The file is forgotten. Nothing was entered.",
    "staff-roles-changed": "The roles are changed. They count from the next page on.",
    "staff-disabled": "The account is disabled, and its sessions have ended.",
    "staff-enabled": "The account is enabled.",
    "staff-signed-out": "Signed out everywhere.",
    "value-set": "Saved. Mails print it once a clinician has approved it.",
    "files-read": "The files are read. Nothing is wrong with them.",
    "protocol-saved": "Saved as a draft. It waits for a clinician’s approval.",
    "text-saved": "Saved. It waits for a clinician’s approval; until then the approved text is sent.",
    "nothing-changed": "Nothing was changed by that.",
    "approved": "Approved. What waited for it follows.",
    "text-approved": "Approved. It is sent from now on.",
    "plans-moved": "Moved. Their unsent messages follow the new version.",
    "plans-moved-some": "Moved, but for plans that had ended or been moved meanwhile.",
    "released-held": "Sending is released. What may have left already, or lacks a stop, is held and on this list.",
    "stopped": "All sending is stopped. Nothing leaves until it is released.",
    "released": "Sending is released.",
    "decided-hold": "Held. It stays on the board until somebody gives it back.",
    "decided-resume": "Given back.",
    "decided-cancel": "Cancelled. It can be undone under “Done today”.",
    "decided-send-now": "It leaves with the next look, within a minute.",
    "decided-send-again": "It is sent once more.",
    "decided-retry": "It is tried again with the next look.",
    "decided-done": "Done. It can be undone below.",
    "decided-keep": "Noted: what was sent is enough.",
    "decided-reopen": "Undone: it is as it was before.",
    "decided-resolve-received": "Noted as received.",
    "decided-resolve-resend": "It is sent once more.",
}
_EVENTS: Final = {f"event-{_key(kind)}": f"Recorded: {_small(kind.sentence)}" for kind in EventKind}
_STILL: Final = {f"still-{_key(why)}": f"Noted, but it does not leave: {_small(why.sentence)}" for why in Reason}
DONE: Final[Mapping[str, str]] = {**_DONE, **_EVENTS, **_STILL}
