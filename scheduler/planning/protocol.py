"""What a protocol says, as values: steps, reviews, fields and texts.

Reading and validating the TOML file is in `scheduler.protocols`; what follows from it is in `wanted`.
"""

from dataclasses import dataclass
from datetime import time, timedelta
from enum import StrEnum

from db.states import Audience, OnUnknown, Past, Phase, StepKind


class Anchor(StrEnum):
    """The event a step counts from."""

    TREATMENT = "treatment"
    REVIEW_DUE = "review_due"
    REVIEW_BOOKED = "review_booked"
    REVIEW_MISSED = "review_missed"
    REVIEW_COMPLETED = "review_completed"
    SOLO_STARTED = "solo_started"
    PARTNER_RELEASED = "partner_released"
    HEALING_CLEARED = "healing_cleared"


class When(StrEnum):
    """The condition under which a step is wanted."""

    ALWAYS = "always"
    REVIEW_UNBOOKED = "review_unbooked"
    REVIEW_BOOKED = "review_booked"
    UNTIL_REVIEW_DONE = "until_review_done"
    PARTNER_NOT_WANTED = "partner_not_wanted"
    SESSION_UNBOOKED = "session_unbooked"
    HEALING_CLEARED = "healing_cleared"


class StopOn(StrEnum):
    """The facts that hold (complication) or cancel (the others) a step."""

    COMPLICATION = "complication"
    REVIEW_COMPLETED = "review_completed"
    PARTNER_RELEASED = "partner_released"
    HEALING_CLEARED = "healing_cleared"


class OnNewTreatment(StrEnum):
    """What a second treatment of the same protocol does to the running plan."""

    REPLACE = "replace"
    KEEP = "keep"
    ASK = "ask"


class FieldType(StrEnum):
    """What a record field holds."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    CHOICE = "choice"
    YES_NO = "yes_no"
    SITES = "sites"


@dataclass(frozen=True, slots=True)
class Span:
    """A duration that is either whole calendar days or elapsed time, never both; may be negative."""

    days: int = 0
    elapsed: timedelta = timedelta(0)

    @property
    def is_elapsed(self) -> bool:
        """Whether it counts seconds instead of calendar days."""
        return bool(self.elapsed)

    def times(self, n: int) -> "Span":
        """The span n times over."""
        return Span(self.days * n, self.elapsed * n)

    def plus(self, other: "Span") -> "Span":
        """The sum of two spans."""
        return Span(self.days + other.days, self.elapsed + other.elapsed)


@dataclass(frozen=True, slots=True)
class Repeat:
    """Occurrence n lies (n - 1) times `every` after the first; always finite."""

    every: Span
    count: int


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a protocol. `at` is set exactly when the offset is whole days."""

    key: str
    order: int
    kind: StepKind
    template: str
    anchor: Anchor
    offset: Span
    at: time | None
    expires_after: Span
    review: str | None = None
    phase: Phase = Phase.ANY
    when: When = When.ALWAYS
    past: Past = Past.SKIP
    on_unknown: OnUnknown = OnUnknown.RESEND_ONCE
    manual: bool = False
    working_days_only: bool = False
    stop_on: frozenset[StopOn] = frozenset({StopOn.COMPLICATION})
    audience: Audience = Audience.PATIENT
    may_wait: bool = False
    repeat: Repeat | None = None

    @property
    def concerns_reviews(self) -> bool:
        """Whether the step's anchor or condition speaks of a review."""
        return self.anchor.startswith("review_") or self.when in REVIEW_WHENS


# Messages that no protocol writes down: that a message waits on her page, and whether an address is hers.
NOTICE = "notice"
# Asks whether an address is hers (`scheduler.planning.address`).
CONFIRM = Step(
    key="confirm-address",
    order=0,
    kind=StepKind.ADMINISTRATIVE,
    template="confirm_address",
    anchor=Anchor.TREATMENT,
    offset=Span(),
    at=None,
    expires_after=Span(days=14),
    past=Past.SEND,
    stop_on=frozenset(),
)
OF_EVERY_PROTOCOL = (NOTICE, CONFIRM.template)

REVIEW_WHENS = frozenset({When.REVIEW_UNBOOKED, When.REVIEW_BOOKED, When.UNTIL_REVIEW_DONE})


@dataclass(frozen=True, slots=True)
class ReviewRule:
    """A named review: when it should be held, counted from the treatment, and how far off it may be."""

    key: str
    after: Span
    tolerance: Span


@dataclass(frozen=True, slots=True)
class Exercise:
    """One exercise of the course, in its order: `text` is the key of its words among the texts."""

    key: str
    text: str
    phase: Phase = Phase.SOLO


@dataclass(frozen=True, slots=True)
class CheckIn:
    """When her answers need a person: from which pain on, after how many "not yet", after how long a silence.

    The numbers are the clinic's; where one is absent, that rule is not there.
    """

    pain: int | None = None  # 0-10: at this and above her messages wait and a line asks for a call
    not_yet: int | None = None
    silence: Span | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A record field that staff fill in with the treatment; `required` gates signing, never the plan."""

    key: str
    label: str
    type: FieldType
    required: bool = False
    choices: tuple[str, ...] = ()
    unit: str | None = None
    help: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A value only the clinic can give; approval refuses while a required one is empty."""

    key: str
    required: bool = False
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Protocol:
    """A follow-up recipe for one treatment type."""

    key: str
    version: int
    title: str
    steps: tuple[Step, ...]
    reviews: tuple[ReviewRule, ...] = ()
    fields: tuple[Field, ...] = ()
    texts: tuple[Text, ...] = ()
    minimum_age: int | None = None
    on_new_treatment: OnNewTreatment = OnNewTreatment.REPLACE
    urgent: str = "urgent_general"
    retired: bool = False
    exercises: tuple[Exercise, ...] = ()
    check_in: CheckIn = CheckIn()

    def find_step(self, key: str) -> Step | None:
        """The step with that key, or None; also the one that belongs to no protocol."""
        return CONFIRM if key == CONFIRM.key else next((step for step in self.steps if step.key == key), None)

    @property
    def templates(self) -> tuple[str, ...]:
        """Keys of the texts its messages to patients need, with the urgent block and the footer."""
        mails = {step.template: None for step in self.steps if step.audience is Audience.PATIENT}
        moves = {exercise.text: None for exercise in self.exercises}
        return (*mails, *moves, self.urgent, "_footer", *OF_EVERY_PROTOCOL)
