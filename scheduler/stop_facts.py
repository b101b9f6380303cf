"""Which facts forbid a message: pure, over the actions of the audit trail, which every use case writes.

Rather one too many than one too few: after a restore each only holds a patient's messages until somebody has looked.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from db.audit import Noted
from db.states import DecisionKind, EventKind

# After these more may leave than before, never less.
_PERMITTING: Final = frozenset(
    {
        EventKind.RESUME,
        EventKind.COMPLICATION_RESOLVED,
        EventKind.CALL_CLOSED,
        EventKind.SOLO_STARTED,
        EventKind.PARTNER_WANTED,
        EventKind.CHECKED_IN,
        EventKind.UNPAUSED,
        EventKind.EXERCISE_SET,
        EventKind.STEPPED_BACK,
        EventKind.VISIT_CONFIRMED,
        EventKind.QUESTIONS_ANSWERED,
    }
)
_FORBIDDING_DECISIONS: Final = (
    DecisionKind.HOLD,
    DecisionKind.CANCEL,
    DecisionKind.DONE,
    DecisionKind.KEEP,
    DecisionKind.RESOLVE_RECEIVED,
)
FORBIDDING: Final = frozenset(
    {
        "patient.stopped",
        "patient.voided",
        "patient.erased",
        "patient.merged",
        "consent.recorded",  # the trail holds no answers, so a yes is noted too
        "address.refused",
        "address.bounced",
        "link.revoked",
        "event.retracted",
        "treatment.added",  # it may have taken over from an earlier one
        "treatment.moved",
        "treatment.cancelled",
        "treatment.reassigned",
        "treatment.undone",
        "plan.version_moved",
    }
    | {f"event.{kind.value}" for kind in EventKind if kind not in _PERMITTING}
    | {f"reminder.{kind.value}" for kind in _FORBIDDING_DECISIONS}
)
_CHANGED: Final = "patient.changed"
# Of what is known about her: where a message goes, and how much it may say.
_FORBIDDING_FIELDS: Final = frozenset({"email", "level"})


def facts_of(events: Sequence[Noted]) -> list[tuple[UUID, str]]:
    """Of one transaction's events those that forbid a message: patient and action, each once.

    What is entered together with a new patient forbids nothing: a database without it has no messages to her.
    """
    new = {event["patient_id"] for event in events if event["action"] == "patient.added"}
    found = {
        (event["patient_id"], event["action"]): None
        for event in events
        if event["patient_id"] is not None and event["patient_id"] not in new and _forbids(event)
    }
    return list(found)


def _forbids(event: Noted) -> bool:
    if event["action"] == _CHANGED:
        return not _FORBIDDING_FIELDS.isdisjoint(event["fields"])
    return event["action"] in FORBIDDING
