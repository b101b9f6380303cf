"""The words of a care plan's events: what happened as a sentence, and what was written with it, label by label.

Where they stand in a patient's time line is in `web.timeline_words`; who may take one back in `web.event_rights`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from db.states import EventKind
from web.times import Say

_WORDS: Final = {
    EventKind.REVIEW_BOOKED: "{review} review booked for {when}",
    EventKind.REVIEW_CANCELLED: "{review} visit cancelled",
    EventKind.REVIEW_MISSED: "Did not come to the {review} review",
    EventKind.REVIEW_COMPLETED: "{review} review held",
    EventKind.SOLO_STARTED: "Part done alone started, from {when}",
    EventKind.PARTNER_WANTED: "Wants the part with a partner",
    EventKind.PARTNER_RELEASED: "Part with a partner released",
    EventKind.PARTNER_REVOKED: "Release of the part with a partner taken back",
    EventKind.PARTNER_NOT_WANTED: "No part with a partner wanted",
    EventKind.SESSION_BOOKED: "Next session booked for {when}",
    EventKind.HEALING_CLEARED: "Activities cleared",
    EventKind.COMPLICATION: "Complication reported, since {when}",
    EventKind.COMPLICATION_RESOLVED: "Complication resolved",
    EventKind.CALL_REQUESTED: "Asked for a call",
    EventKind.CALL_CLOSED: "Call made",
    EventKind.CHECKED_IN: "Told how it is going",
    EventKind.PAUSED: "Messages about the plan paused until {day}",
    EventKind.UNPAUSED: "Pause ended early",
    EventKind.EXERCISE_SET: "Present exercise set",
    EventKind.STEPPED_BACK: "Went back to the exercise before",
    EventKind.VISIT_CONFIRMED: "Confirmed the visit for the {review} review",
    EventKind.QUESTIONS_ANSWERED: "Answered the questions before the {review} review",
    EventKind.HOLD: "Plan put on hold",
    EventKind.RESUME: "Plan resumed",
    EventKind.STOP: "Plan stopped",
    EventKind.COMPLETE: "Plan completed",
}
_LABELS: Final = {"because": "Why", "size_label": "Size", "words": "In the patient’s words"}
ANSWERS: Final[Mapping[str, str]] = {"done": "done", "not_yet": "not yet", "call": "please call me"}
BECAUSE: Final[Mapping[str, str]] = {
    "asked": "the patient asked for it",
    "pain": "pain was reported",
    "red_flag": "a warning sign was reported",
}
_VALUES: Final = {"answer": ANSWERS, "because": BECAUSE}


def event_words(kind: EventKind, review: str | None, local: str, say: Say) -> str:
    """An event as a sentence."""
    day = say.on(datetime.fromisoformat(local).date())
    text = _WORDS[kind].format(review=(review or "").replace("_", " "), when=say.wall(local), day=day)
    return text[:1].upper() + text[1:]


def event_fields(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """What was written with an event: pain by situation first."""
    pains = [(label_of(key), f"{text} of 10") for key, text in fields.items() if key.startswith("pain")]
    others = [(label_of(key), _value(key, text)) for key, text in fields.items() if not key.startswith("pain")]
    return pains + others


def label_of(key: str) -> str:
    """The name of a field in words."""
    return _LABELS.get(key, key.replace("_", " ").capitalize())


def exercise_name(key: str) -> str:
    """An exercise's key as words: `letting go`."""
    return key.replace("-", " ").replace("_", " ")


def _value(key: str, text: str) -> str:
    return exercise_name(text) if key == "exercise" else _VALUES.get(key, {}).get(text, text)
