"""What the record says, as values: all that planning reads of one patient and her care plans.

Loading them from the database is in `scheduler.care_plans`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from uuid import UUID

from db.states import (
    AddressState,
    DecisionKind,
    EventKind,
    Past,
    QuestionKind,
    Reason,
    ReminderState,
    StopReason,
    Topic,
)
from scheduler.local_time import Window
from scheduler.planning.protocol import Protocol


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that planning depends on; their fingerprint is stored with each plan."""

    window: Window = Window()
    grace_minutes: int = 10
    holidays: frozenset[date] = frozenset()
    clinic_zone: str = "Europe/London"
    has_pages: bool = False  # patients have a private page, so an address is confirmed and a notice read there

    def is_free_day(self, day: date) -> bool:
        """Saturday, Sunday or a public holiday."""
        return day.weekday() >= 5 or day in self.holidays


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as entered (naive wall time and zone) beside its instant."""

    wall: datetime
    zone: str
    instant: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """A fact about one care plan that was not retracted."""

    id: UUID
    kind: EventKind
    at: Moment
    recorded_at: datetime
    review: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What staff decided about one reminder."""

    step: str
    occurrence: int
    generation: int
    kind: DecisionKind
    at: datetime


@dataclass(frozen=True, slots=True)
class PatientFacts:
    """What planning reads of a patient. `consent` lacks a topic that was never recorded."""

    zone: str
    address: AddressState = AddressState.CONFIRMED
    consent: Mapping[Topic, bool] = field(default_factory=dict)
    stopped: StopReason | None = None
    birth_date: date | None = None
    asked_for_call: bool = False  # from the events of any of her plans
    by_notice: bool = False  # her mails only say that a message waits
    email_version: int = 0
    email_given_at: datetime | None = None
    preferred_time: time | None = None
    preferred_weekday: int | None = None  # 0 is Monday


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What planning reads of one care plan.

    `approved_templates` lists the texts of the protocol that may be sent; `events` are in the order recorded.
    """

    id: UUID
    protocol: Protocol
    treated: Moment
    entered_at: datetime
    approved: bool = True
    approved_templates: frozenset[str] | None = None  # None: all of them
    cancelled: Reason | None = None  # the treatment was cancelled or reassigned
    keeps_earlier: bool = False
    starts_held: bool = False
    past_override: Past | None = None
    age_overridden: bool = False
    events: tuple[Event, ...] = ()
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """A reminder row as it is."""

    id: UUID
    plan_id: UUID
    step: str
    occurrence: int
    generation: int
    state: ReminderState
    reason: Reason | None
    basis: str
    due_at: datetime
    due_local: str
    zone: str
    ready_at: datetime
    expires_at: datetime
    changed_at: datetime
    not_before: datetime | None = None
    open_attempt: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A question to staff about one generation of a reminder that was sent."""

    plan_id: UUID
    kind: QuestionKind
    step: str
    occurrence: int
    generation: int
    told: str
    now_basis: str
    asked_at: datetime | None = None  # None: not stored yet
    closed: bool = False
