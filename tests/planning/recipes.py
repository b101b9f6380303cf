"""Protocols for the planning tests: a short way to write steps, and one course that uses every kind of step.

The shipped protocols are tested with their loader; the store they are planned into is in `build`.
"""

from datetime import time, timedelta
from typing import Any

from db.states import Audience, Past, Phase, StepKind
from scheduler.planning.protocol import (
    Anchor,
    OnNewTreatment,
    Protocol,
    Repeat,
    ReviewRule,
    Span,
    Step,
    StopOn,
    When,
)

REVIEW, AFTERCARE, EXERCISE = StepKind.REVIEW, StepKind.AFTERCARE, StepKind.EXERCISE
ADMINISTRATIVE = StepKind.ADMINISTRATIVE


def days(count: int) -> Span:
    """Calendar days."""
    return Span(days=count)


def hours(count: float) -> Span:
    """Elapsed hours."""
    return Span(elapsed=timedelta(hours=count))


TODAY = Span()


def step(key: str, offset: Span = TODAY, at: str | None = "10:00", **other: Any) -> Step:
    """One step; without more words an aftercare message at 10:00 on the day of treatment, good for two days."""
    other.setdefault("kind", AFTERCARE)
    values: dict[str, Any] = {
        "template": key.replace("-", "_"),
        "anchor": Anchor.TREATMENT,
        "expires_after": days(2),
        "order": 0,
        "may_wait": other["kind"] in (EXERCISE, ADMINISTRATIVE),
    } | other
    if offset.is_elapsed:
        at, values["may_wait"] = None, other.get("may_wait", False)
    return Step(key=key, offset=offset, at=time.fromisoformat(at) if at else None, **values)


def weekly(count: int) -> Repeat:
    """Every seven days."""
    return Repeat(every=days(7), count=count)


def protocol(*steps: Step, key: str = "course", reviews: tuple[ReviewRule, ...] = (), **other: Any) -> Protocol:
    """A protocol of these steps, in this order."""
    numbered = tuple(_numbered(one, place) for place, one in enumerate(steps))
    return Protocol(key=key, version=1, title=key, steps=numbered, reviews=reviews, **other)


def _numbered(one: Step, place: int) -> Step:
    values = {name: getattr(one, name) for name in Step.__dataclass_fields__}
    return Step(**(values | {"order": place}))


TWO_WEEK = ReviewRule("two-week", after=days(14), tolerance=days(3))
SIX_WEEK = ReviewRule("six-week", after=days(42), tolerance=days(7))
ALWAYS_GOES_ON: frozenset[StopOn] = frozenset()

VISIT_STEPS = (
    step("book", days(-5), kind=REVIEW, anchor=Anchor.REVIEW_DUE, when=When.REVIEW_UNBOOKED, expires_after=days(4)),
    step("in-3-days", days(-3), kind=REVIEW, anchor=Anchor.REVIEW_BOOKED, stop_on=ALWAYS_GOES_ON),
    step("in-1-day", days(-1), kind=REVIEW, anchor=Anchor.REVIEW_BOOKED, stop_on=ALWAYS_GOES_ON, expires_after=days(1)),
    step("missed-you", days(1), kind=REVIEW, anchor=Anchor.REVIEW_MISSED),
    step(
        "ring-her", days(3), "09:00", kind=REVIEW, anchor=Anchor.REVIEW_MISSED, audience=Audience.STAFF,
        expires_after=days(30),
    ),
)  # fmt: skip

COURSE = protocol(
    step("after-visit", at="17:00", past=Past.SEND, expires_after=days(1)),
    step("check-in", days(1)),
    *VISIT_STEPS,
    step("next-step", days(1), kind=REVIEW, anchor=Anchor.REVIEW_COMPLETED, review="two-week"),
    step(
        "no-review-yet", days(21), "09:00", kind=REVIEW, review="two-week", when=When.UNTIL_REVIEW_DONE,
        audience=Audience.STAFF, expires_after=days(60), working_days_only=True,
    ),
    step(
        "solo", days(7), kind=EXERCISE, anchor=Anchor.SOLO_STARTED, phase=Phase.SOLO, repeat=weekly(3),
        expires_after=days(3), stop_on=frozenset({StopOn.COMPLICATION, StopOn.PARTNER_RELEASED}),
    ),
    step(
        "partner-ready", kind=EXERCISE, anchor=Anchor.PARTNER_RELEASED, phase=Phase.PARTNER, past=Past.SEND,
        expires_after=days(7),
    ),
    step(
        "partner", days(7), kind=EXERCISE, anchor=Anchor.PARTNER_RELEASED, phase=Phase.PARTNER, repeat=weekly(2),
        expires_after=days(3),
    ),
    step("by-hand", days(10), kind=ADMINISTRATIVE, manual=True, expires_after=days(20)),
    step("look-back", days(30), kind=ADMINISTRATIVE, past=Past.ASK, working_days_only=True, expires_after=days(10)),
    reviews=(TWO_WEEK, SIX_WEEK),
    on_new_treatment=OnNewTreatment.REPLACE,
)  # fmt: skip
