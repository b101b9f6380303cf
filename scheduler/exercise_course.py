"""Where a patient stands in her course of exercises: pure, folded from the events of her plan.

A clinician sets the exercise and how often it is done; the patient herself can only go back. Her answers move nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from db.states import EventKind, Phase
from scheduler.planning.protocol import Exercise, Protocol

DOSE_FIELDS: Final = ("times_per_week", "minutes")  # of an `exercise_set` event, as typed; `size_label` beside them


@dataclass(frozen=True, slots=True)
class Told:
    """An event as this fold reads it: its kind, and what was written with it."""

    kind: EventKind
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """The present exercise, its place among those open to her (from 1), and what the clinician typed for it."""

    exercise: Exercise
    place: int
    total: int
    times_per_week: str | None = None
    minutes: str | None = None
    size: str | None = None

    @property
    def can_go_back(self) -> bool:
        """Whether there is an exercise before it."""
        return self.place > 1


def standing(protocol: Protocol, events: Iterable[Told], released: bool) -> Standing | None:
    """Where she stands; None before the clinician has started the course, and without one.

    `events` in the order recorded. While the part with a partner is not released, the last exercise before it stands
    in for one of that part.
    """
    open_to_her = [each for each in protocol.exercises if each.phase is not Phase.PARTNER or released]
    if not open_to_her:
        return None
    keys = [exercise.key for exercise in protocol.exercises]
    place: int | None = None
    given: Mapping[str, str] = {}
    for event in events:
        if event.kind is EventKind.SOLO_STARTED and place is None:
            place = 0
        elif event.kind is EventKind.EXERCISE_SET and event.fields.get("exercise") in keys:
            place, given = keys.index(event.fields["exercise"]), event.fields
        elif event.kind is EventKind.STEPPED_BACK and place:
            place, given = place - 1, {name: text for name, text in given.items() if name in DOSE_FIELDS}
    if place is None:
        return None
    place = min(place, len(open_to_her) - 1)
    return Standing(
        exercise=open_to_her[place],
        place=place + 1,
        total=len(open_to_her),
        times_per_week=given.get("times_per_week") or None,
        minutes=given.get("minutes") or None,
        size=given.get("size_label") or None,
    )


def dose_words(stands: Standing, language: str) -> str | None:
    """How often, in her language, of what the clinician typed; None when nothing was."""
    times, minutes = stands.times_per_week, stands.minutes
    if language.partition("-")[0] == "de":
        told = [f"{times}-mal in der Woche" if times else "", f"je {minutes} Minuten" if minutes else ""]
    else:
        often = "once a week" if times == "1" else f"{times} times a week" if times else ""
        told = [often, f"{minutes} minutes each time" if minutes else ""]
    return ", ".join(part for part in told if part) or None
