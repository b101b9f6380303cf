"""Which events of a care plan ask for more than the desk's right, to record them and to take them back."""

from typing import Final

from db.states import EventKind
from scheduler.accounts.front_door import Present
from scheduler.accounts.rights import Right

# What only a clinician records; everything else the desk may.
CLINICAL: Final = frozenset(
    {
        EventKind.REVIEW_COMPLETED,
        EventKind.SOLO_STARTED,
        EventKind.PARTNER_RELEASED,
        EventKind.PARTNER_REVOKED,
        EventKind.HEALING_CLEARED,
        EventKind.COMPLICATION_RESOLVED,
        EventKind.EXERCISE_SET,
    }
)
# What needs more than a click: a review its outcome, a release the patient's wish. They have forms of their own.
OWN_FORMS: Final = frozenset({EventKind.REVIEW_COMPLETED, EventKind.PARTNER_RELEASED, EventKind.EXERCISE_SET})
# What only the patient says, on the private page: nobody writes it down in the patient's place.
SAID: Final = frozenset(
    {
        EventKind.CHECKED_IN,
        EventKind.PAUSED,
        EventKind.UNPAUSED,
        EventKind.STEPPED_BACK,
        EventKind.VISIT_CONFIRMED,
        EventKind.QUESTIONS_ANSWERED,
    }
)
_CLINICAL_SAID: Final = frozenset({EventKind.CHECKED_IN, EventKind.STEPPED_BACK, EventKind.QUESTIONS_ANSWERED})


def may_record(kind: EventKind, me: Present) -> bool:
    """Whether she may record an event of this kind."""
    return kind not in SAID and (kind not in CLINICAL or me.may(Right.RECORD))


def may_take_back(kind: EventKind, recorded_by: str, me: Present) -> bool:
    """Whether she may take one back: a complication, whose end lets messages go on, only who reads the record, or who
    reported it herself. Of what the patient said the desk may end a pause and take a confirmed visit back."""
    if kind is EventKind.COMPLICATION:
        return me.may(Right.RECORD) or recorded_by == me.actor
    return kind not in CLINICAL | _CLINICAL_SAID or me.may(Right.RECORD)
