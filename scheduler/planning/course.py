"""Where a care plan stands: its reviews, phases, complication and hold, folded from its events.

What follows for each step is in `wanted`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from db.states import EventKind, ReviewStatus
from scheduler.local_time import to_utc, to_wall
from scheduler.planning.facts import Event, Moment, PlanFacts
from scheduler.planning.protocol import ReviewRule, Span


@dataclass(frozen=True, slots=True)
class ReviewState:
    """One review: when it should be held, and its booking, miss or completion as of the last event about it."""

    rule: ReviewRule
    place: int  # 1 for the first review of the protocol
    due: Moment
    status: ReviewStatus
    booking: Event | None = None
    missed: Event | None = None
    completed: Event | None = None
    withdrawn_at: datetime | None = None  # when a booking was cancelled and none made since


@dataclass(frozen=True, slots=True)
class Pause:
    """The patient paused the plan's messages from an instant on, for so many calendar days."""

    since: datetime
    days: int


@dataclass(frozen=True, slots=True)
class Course:
    """What the events of one care plan add up to."""

    reviews: Mapping[str, ReviewState]
    solo_started: Event | None
    partner_released: Event | None  # None while not released, after it was revoked, or when not wanted
    partner_revoked: bool
    partner_not_wanted: bool
    partner_wanted: Event | None  # she wants the next part, and it waits for a clinician's release
    call_asked: Event | None  # she asked for a call, and nobody has closed it
    healing_cleared: Event | None
    session_booked: bool
    complication: bool
    on_hold: bool
    stopped: bool
    completed: bool
    pauses: tuple[Pause, ...] = ()


def later(moment: Moment, span: Span) -> Moment:
    """A moment later (or earlier) by a span: calendar days keep the wall time, elapsed time keeps the clock running."""
    if span.is_elapsed:
        instant = moment.instant + span.elapsed
        return Moment(to_wall(instant, moment.zone), moment.zone, instant)
    wall = moment.wall + timedelta(days=span.days)
    return Moment(wall, moment.zone, to_utc(wall, moment.zone))


def follow(plan: PlanFacts) -> Course:
    """Fold the events of a plan.

    Facts about one thing that undo each other (complication and resolved, hold and resume, released and revoked, a
    call asked for and closed) count by when they happened, so the order of entering them does not matter. Bookings
    count by when they were recorded: their own time is the visit's.
    """
    happened = sorted(plan.events, key=lambda event: (event.at.instant, event.recorded_at, event.id))
    recorded = sorted(plan.events, key=lambda event: (event.recorded_at, event.id))
    partner = _last(happened, EventKind.PARTNER_RELEASED, EventKind.PARTNER_REVOKED, EventKind.PARTNER_NOT_WANTED)
    wish = _last(
        happened,
        EventKind.PARTNER_WANTED,
        EventKind.PARTNER_RELEASED,
        EventKind.PARTNER_REVOKED,
        EventKind.PARTNER_NOT_WANTED,
    )
    released = partner if partner and partner.kind is EventKind.PARTNER_RELEASED else None
    wanted = wish if wish and wish.kind is EventKind.PARTNER_WANTED and released is None else None
    call = _last(happened, EventKind.CALL_REQUESTED, EventKind.CALL_CLOSED)
    trouble = _last(happened, EventKind.COMPLICATION, EventKind.COMPLICATION_RESOLVED)
    hold = _last(happened, EventKind.HOLD, EventKind.RESUME)
    kinds = {event.kind for event in plan.events}
    return Course(
        reviews={
            rule.key: _review(rule, place, plan.treated, recorded)
            for place, rule in enumerate(plan.protocol.reviews, start=1)
        },
        solo_started=_last(recorded, EventKind.SOLO_STARTED),
        partner_released=released,
        partner_revoked=bool(partner and partner.kind is EventKind.PARTNER_REVOKED),
        partner_not_wanted=bool(partner and partner.kind is EventKind.PARTNER_NOT_WANTED and wanted is None),
        partner_wanted=wanted,
        call_asked=call if call and call.kind is EventKind.CALL_REQUESTED else None,
        healing_cleared=_last(recorded, EventKind.HEALING_CLEARED),
        session_booked=EventKind.SESSION_BOOKED in kinds,
        complication=bool(trouble and trouble.kind is EventKind.COMPLICATION),
        on_hold=plan.starts_held if hold is None else hold.kind is EventKind.HOLD,
        stopped=EventKind.STOP in kinds,
        completed=EventKind.COMPLETE in kinds,
        pauses=tuple(_pauses(recorded)),
    )


def _pauses(recorded: Iterable[Event]) -> list[Pause]:
    """Her pauses, each from when she said it until the day she named, or until it was ended early.

    A pause said during another replaces what was left of that.
    """
    found: list[Pause] = []
    for event in recorded:
        if event.kind not in (EventKind.PAUSED, EventKind.UNPAUSED):
            continue
        today = to_wall(event.recorded_at, event.at.zone).date()
        if found:
            last = found[-1]
            passed = (today - to_wall(last.since, event.at.zone).date()).days
            found[-1] = Pause(last.since, min(last.days, passed))
        if event.kind is EventKind.PAUSED:
            found.append(Pause(event.recorded_at, max(0, (event.at.wall.date() - today).days)))
    return found


def first_open_review(plan: PlanFacts) -> str | None:
    """The review an event is about when staff name none: the first that is not completed."""
    states = follow(plan).reviews.values()
    return next((state.rule.key for state in states if state.status is not ReviewStatus.COMPLETED), None)


def _last(events: Iterable[Event], *kinds: EventKind) -> Event | None:
    found = None
    for event in events:
        if event.kind in kinds:
            found = event
    return found


def _review(rule: ReviewRule, place: int, treated: Moment, recorded: Iterable[Event]) -> ReviewState:
    booking = missed = completed = None
    withdrawn_at = None
    for event in recorded:
        if event.review != rule.key:
            continue
        if event.kind is EventKind.REVIEW_BOOKED:
            booking, missed, withdrawn_at = event, None, None
        elif event.kind is EventKind.REVIEW_CANCELLED:
            withdrawn_at = event.recorded_at if booking else withdrawn_at
            booking = None
        elif event.kind is EventKind.REVIEW_MISSED:
            # Entered after the next visit was booked, it speaks of an earlier one.
            if booking is None or booking.at.wall.date() <= event.at.wall.date():
                booking, missed, withdrawn_at = None, event, None
        elif event.kind is EventKind.REVIEW_COMPLETED:
            completed = event
    if completed:
        status = ReviewStatus.COMPLETED
    elif booking:
        status = ReviewStatus.BOOKED
    else:
        status = ReviewStatus.MISSED if missed else ReviewStatus.DUE
    return ReviewState(rule, place, later(treated, rule.after), status, booking, missed, completed, withdrawn_at)
