"""Facts that may happen to a patient, as things to do to a `Record`; the laws draw from them.

The record itself is in `build`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import time

from hypothesis import strategies as st

from db.states import AddressState, EventKind, Past, StopReason, Topic
from tests.planning.build import Record

# Zones with half hours, no clock changes, midnight changes and both hemispheres.
ZONES = ("Europe/London", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Gaza")


@dataclass(frozen=True)
class Fact:
    """One fact with a name that a failing example shows."""

    name: str
    apply: Callable[[Record], object]

    def __repr__(self) -> str:
        return self.name


def visit(day: int, hour: int) -> str:
    """A visit in spring 2026, over the clock change of 29 March."""
    return f"2026-{3 + day // 28:02}-{1 + day % 28:02}T{hour:02}:30"


def _event(kind: EventKind, at: str | None = None, review: str | None = None) -> Fact:
    shown = " ".join(part for part in (kind.value, review, at) if part)
    return Fact(shown, lambda case: case.event(kind, at, review))


reviews = st.sampled_from(["two-week", "six-week"])
bookings = st.builds(
    lambda day, hour, review: _event(EventKind.REVIEW_BOOKED, visit(day, hour), review),
    st.integers(5, 80),
    st.integers(8, 17),
    reviews,
)
plain_events = st.sampled_from(
    [
        _event(kind)
        for kind in EventKind
        if not kind.name.startswith("REVIEW_") and kind not in (EventKind.STOP, EventKind.COMPLETE)
    ]
)
review_events = st.builds(
    _event,
    st.sampled_from([EventKind.REVIEW_CANCELLED, EventKind.REVIEW_MISSED, EventKind.REVIEW_COMPLETED]),
    st.none(),
    reviews,
)
endings = st.sampled_from([_event(EventKind.STOP), _event(EventKind.COMPLETE)])
corrections = st.builds(
    lambda day, hour: Fact(f"treated {visit(day, hour)}", lambda case: case.move(visit(day, hour))),
    st.integers(0, 30),
    st.integers(8, 17),
)
zones = st.sampled_from(ZONES).map(lambda name: Fact(f"lives in {name}", lambda case: case.know(zone=name)))
addresses = st.sampled_from(list(AddressState)).map(
    lambda state: Fact(f"address {state.value}", lambda case: case.know(address=state))
)


def _new_address(case: Record) -> None:
    facts = case.patient
    case.know(address=AddressState.UNCONFIRMED, email_version=facts.email_version + 1, email_given_at=case.now)


new_addresses = st.just(Fact("a new address", _new_address))
pauses = st.builds(
    lambda day, hour: _event(EventKind.PAUSED, visit(day, hour)), st.integers(0, 80), st.sampled_from([8, 12, 23])
)
likes = st.builds(
    lambda hour, day: Fact(
        f"likes {hour} o'clock on day {day}",
        lambda case: case.know(preferred_time=None if hour is None else time(hour), preferred_weekday=day),
    ),
    st.sampled_from([None, 3, 8, 18]),
    st.sampled_from([None, 0, 5, 6]),
)
by_notice = st.booleans().map(lambda yes: Fact(f"by notice {yes}", lambda case: case.know(by_notice=yes)))


def _consent(topic: Topic, said: bool) -> Fact:
    return Fact(
        f"consent {topic.value} {said}",
        lambda case: case.know(consent={**case.patient.consent, topic: said}),
    )


consents = st.builds(_consent, st.sampled_from([Topic.REVIEWS, Topic.EXERCISES]), st.booleans())
stops = st.sampled_from([None, *StopReason]).map(
    lambda reason: Fact(f"stopped {reason}", lambda case: case.know(stopped=reason))
)
settings_facts = st.sampled_from([None, *Past]).map(
    lambda past: Fact(f"past override {past}", lambda case: case.change_plan(past_override=past))
)
approvals = st.booleans().map(lambda yes: Fact(f"approved {yes}", lambda case: case.change_plan(approved=yes)))
