"""What the lines of the day's list are made of: what can be done about one, and what its words are told from.

The words are in `web.today_lines`, those of what the patient's side raised in `web.raised_words`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from db.follow_up import CarePlan, Reminder, Review
from db.states import DecisionKind, EventKind
from scheduler.accounts.front_door import Present
from scheduler.worklist import Line, Worklist
from web.people import Person
from web.times import Say


@dataclass(frozen=True, slots=True)
class Act:
    """Something to do about a line: a link (`href`), or a form with hidden fields, with a note where `asks` says so."""

    words: str
    href: str | None = None
    action: str | None = None
    fields: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    asks: str | None = None


def decide(reminder_id: UUID, kind: DecisionKind, words: str, asks: str | None = None) -> Act:
    """A decision about one message."""
    return Act(words, action=f"/reminders/{reminder_id}/decide", fields={"decision": kind.value}, asks=asks)


def record(treatment_id: UUID, kind: EventKind, words: str, review: str = "", asks: str | None = None) -> Act:
    """An event of a care plan, as of now."""
    fields: dict[str, str | Sequence[str]] = {"kind": kind.value, **({"review": review} if review else {})}
    return Act(words, action=f"/treatments/{treatment_id}/events", fields=fields, asks=asks)


def review_name(key: str) -> str:
    """A review's key as a word: `two-week`."""
    return key.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Context:
    line: Line
    found: Worklist
    say: Say
    me: Present
    who: Person

    @property
    def plan(self) -> CarePlan:
        """The care plan the line is about."""
        if self.line.plan_id is None:
            raise LookupError(f"a line about {self.line.kind} has no care plan")
        return self.found.plans[self.line.plan_id]

    @property
    def treatment_id(self) -> UUID:
        """The treatment whose plan the line is about."""
        return self.plan.treatment_id

    @property
    def row(self) -> Reminder:
        """The message the line is about."""
        if self.line.reminder is None:
            raise LookupError(f"a line about {self.line.kind} has no reminder")
        return self.line.reminder

    @property
    def title(self) -> str:
        """What the message is called, in quotes."""
        return f"“{self.found.title(self.row)}”"

    @property
    def when(self) -> str:
        """Since or for when."""
        return self.say.when(self.line.at)

    def rang(self, kind: DecisionKind = DecisionKind.DONE) -> Act:
        """Somebody rang her instead."""
        return decide(self.row.id, kind, f"I rang {self.who.first_name}", asks="What was said (optional)")


Told = tuple[str, list[Act], bool]


def open_treatment(c: Context) -> Act:
    """The page of the treatment that the line is about."""
    return Act("Open", href=f"/treatments/{c.treatment_id}")


def book_visit(c: Context, review: Review) -> Act:
    """Book or move a visit for a review."""
    return Act("Book", href=f"/treatments/{c.treatment_id}/book?review={review.key}")
