"""The trail in plain words: for every action, what its actor did; and the groups by which it is filtered.

The events are in `db.audit`; the page is in `web.trail_pages`. A test holds this list to the actions of the program.
"""

from collections.abc import Mapping
from typing import Final

from db.states import DecisionKind, EventKind, Reason, SetupStep

GROUPS: Final[Mapping[str, str]] = {
    "looks": "Looked at",
    "record": "Patients and treatments",
    "plan": "Events and messages",
    "files": "Imports and lots",
    "library": "Protocols and texts",
    "staff": "Accounts and sign-ins",
    "service": "Sending and set-up",
}
_LOOKS: Final = {
    "patient.viewed": "looked at a patient’s page",
    "patients.searched": "looked for a patient",
    "patients.listed": "listed patients",
    "list.viewed": "looked at a list",
    "treatment.viewed": "looked at a treatment",
    "treatments.listed": "listed treatments",
    "message.viewed": "looked at a message",
    "message.previewed": "read a message as it would leave",
    "copy.viewed": "read the copy of a message that left",
    "mail.viewed": "read a mail of the folder",
    "text.read_for": "read a text with a patient’s values",
    "import.viewed": "looked at an import",
    "trail.viewed": "looked at the trail",
    "figures.viewed": "looked at the clinic’s figures",
    "figures.worked_out": "had pain over time worked out",
}
_RECORD: Final = {
    "patient.added": "entered a patient",
    "patient.changed": "changed what is known about a patient",
    "patient.stopped": "stopped all messages to a patient",
    "stop.replayed": "held a patient's messages: the stop journal has a stop that this record lacked",
    "patient.resumed": "permitted messages to a patient again",
    "patient.exported": "exported all that is kept about a patient",
    "patient.erased": "erased a patient",
    "patient.voided": "took an entry of a patient back",
    "patient.merged": "put two entries of the same patient together",
    "consent.recorded": "recorded what a patient agreed to",
    "address.refused": "recorded that an address refuses mail",
    "page.opened": "opened the private page with the code",
    "page.locked": "gave a wrong code of the private page too often: it is locked",
    "page.code_set": "set the code of a patient’s private page",
    "link.revoked": "ended all links to a patient’s private page",
    "disclosure.noted": "noted that messages had reached the wrong patient",
    "note.added": "added a note",
    "treatment.added": "entered a treatment",
    "treatment.undone": "undid the entry of a treatment",
    "treatment.filled_in": "filled in a record",
    "treatment.signed": "signed a record",
    "treatment.amended": "amended a signed record",
    "treatment.moved": "corrected the date of a treatment",
    "treatment.cancelled": "cancelled a treatment",
    "treatment.reassigned": "gave a treatment to the patient it belongs to",
}
_EVENTS: Final[Mapping[EventKind, str]] = {
    EventKind.REVIEW_BOOKED: "booked a review",
    EventKind.REVIEW_CANCELLED: "cancelled a booked review",
    EventKind.REVIEW_MISSED: "recorded that a review was missed",
    EventKind.REVIEW_COMPLETED: "recorded a review",
    EventKind.SOLO_STARTED: "started the part done alone",
    EventKind.PARTNER_WANTED: "recorded the wish for the part with a partner",
    EventKind.PARTNER_RELEASED: "released the part with a partner",
    EventKind.PARTNER_REVOKED: "took back the release of the part with a partner",
    EventKind.PARTNER_NOT_WANTED: "recorded that the part with a partner is not wanted",
    EventKind.SESSION_BOOKED: "booked the next session",
    EventKind.HEALING_CLEARED: "cleared activities",
    EventKind.COMPLICATION: "recorded a complication",
    EventKind.COMPLICATION_RESOLVED: "recorded that a complication was resolved",
    EventKind.CALL_REQUESTED: "recorded that a call was asked for",
    EventKind.CALL_CLOSED: "recorded a call",
    EventKind.CHECKED_IN: "told how it is going",
    EventKind.PAUSED: "paused the messages about the plan",
    EventKind.UNPAUSED: "ended the pause",
    EventKind.EXERCISE_SET: "set the present exercise",
    EventKind.STEPPED_BACK: "went back to the exercise before",
    EventKind.VISIT_CONFIRMED: "confirmed a visit",
    EventKind.QUESTIONS_ANSWERED: "answered the questions before a review",
    EventKind.HOLD: "put a plan on hold",
    EventKind.RESUME: "resumed a plan",
    EventKind.STOP: "stopped a plan for good",
    EventKind.COMPLETE: "completed a plan",
}
_DECISIONS: Final[Mapping[DecisionKind, str]] = {
    DecisionKind.HOLD: "held a message",
    DecisionKind.RESUME: "gave a held message back",
    DecisionKind.CANCEL: "cancelled a message",
    DecisionKind.SEND_NOW: "sent a message at once",
    DecisionKind.SEND_AGAIN: "sent a message once more",
    DecisionKind.RETRY: "tried a message again",
    DecisionKind.DONE: "finished a line by hand",
    DecisionKind.RESOLVE_RECEIVED: "settled a lost answer: it had arrived",
    DecisionKind.RESOLVE_RESEND: "settled a lost answer: sent once more",
    DecisionKind.KEEP: "settled that a sent message is enough",
    DecisionKind.REOPEN: "undid a decision about a message",
}
_PLAN: Final = {
    **{f"event.{kind.value}": words for kind, words in _EVENTS.items()},
    "event.retracted": "took back an event",
    "visit.other_time_asked": "asked for another time for a visit",
    "line.closed": "closed a line that the patient’s side had raised",
    "line.reopened": "opened a closed line again",
    **{f"reminder.{kind.value}": words for kind, words in _DECISIONS.items()},
    "reminder.came_back": "recorded that a message came back",
    **{f"reminder.held_{reason.value}": "held a message that must not leave" for reason in Reason},
}
_FILES: Final = {
    "import.checked": "checked a file for import",
    "import.done": "imported a file",
    "import.released": "released the plans of an import",
    "import.undone": "undid an import",
    "lot.searched": "looked for the patients of a lot",
    "lot.exported": "saved the patients of a lot as a file",
    "trail.exported": "saved the trail as a file",
    "figures.exported": "saved figures as a file",
}
_LIBRARY: Final = {
    "protocol.seen": "read a protocol’s file",
    "protocol.written": "wrote a protocol",
    "protocol.draft_changed": "changed a protocol’s draft",
    "protocol.text_set": "filled in a protocol’s own words",
    "protocol.approved": "approved a protocol",
    "protocol.retired": "retired a protocol",
    "template.written": "wrote a text",
    "template.approved": "approved a text",
    "template.test_mailed": "sent a text to their own address",
    "plan.version_moved": "moved a plan to another version",
}
_STAFF: Final = {
    "sign_in.refused": "was refused at the sign-in",
    "sign_in.code_refused": "gave a wrong code",
    "sign_in.recovery_code": "used a recovery code",
    "staff.signed_in": "signed in",
    "staff.signed_out": "signed out, or ended a session",
    "staff.signed_out_everywhere": "ended all sessions of an account",
    "staff.added": "made an account",
    "staff.joined": "set password and PIN behind a link",
    "staff.reset": "reset an account",
    "staff.disabled": "disabled an account",
    "staff.enabled": "enabled an account",
    "staff.roles_changed": "changed the roles of an account",
    "staff.secrets_changed": "changed password or PIN",
    "staff.address_changed": "changed where test mails go",
    "staff.second_factor_set": "set up a second step",
    "staff.recovery_codes_renewed": "made new recovery codes",
}
_SERVICE: Final = {
    "gate.closed": "stopped all sending",
    "gate.opened": "released sending",
    "check.run": "had everything checked",
    "backup.made": "made a backup",
    "integrity.passed": "checked the record on schedule: it is whole",
    "integrity.failed": "checked the record on schedule, and it is not whole",
    "backup.restored": "restored a backup",
    "keys.rotated": "made a new clinic key",
    "keys.exported": "made a recovery key",
    "trail.verified": "had the trail verified",
    "mailbox.looked_at": "looked into the technical mailbox",
    **{f"setup.{step.value}": "marked a step of the first days as done" for step in SetupStep},
}
_BY_GROUP: Final = {
    "looks": _LOOKS,
    "record": _RECORD,
    "plan": _PLAN,
    "files": _FILES,
    "library": _LIBRARY,
    "staff": _STAFF,
    "service": _SERVICE,
}
WORDS: Final[Mapping[str, str]] = {action: words for group in _BY_GROUP.values() for action, words in group.items()}
SUBJECTS: Final[Mapping[str, str]] = {"session": "session", "staff": "account", "care_plan": "care plan", "lot": "lot"}


def actions_of(group: str) -> tuple[str, ...]:
    """The actions of a group; none for a group that is none."""
    return tuple(_BY_GROUP.get(group, ()))


def words_of(action: str) -> str:
    """What somebody did; an action of a newer program as it is recorded."""
    return WORDS.get(action, action.replace(".", " ").replace("_", " "))


def subject_words(subject: str | None) -> str:
    """The kind of thing it was done to."""
    return "" if subject is None else SUBJECTS.get(subject, subject.replace("_", " "))
