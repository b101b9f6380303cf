"""Tables of follow-up: protocol and text versions, care plans, facts, reminders, attempts, the gate.

Only `db.reminders` writes `Reminder.state`.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base
from db.conditions import CLAIMED_SQL, HELD_SQL, LIVE_SQL, OPEN_SQL, UNSETTLED_SQL, VISIT_SQL, WAITING_SQL
from db.sealed import Sealed, SealedFields
from db.states import (
    Approvable,
    AttemptOutcome,
    Audience,
    CarePlanStatus,
    DecisionKind,
    EventKind,
    GateCause,
    GateState,
    OnUnknown,
    Origin,
    Past,
    QuestionKind,
    Reason,
    ReminderState,
    ReviewStatus,
    StepKind,
)
from db.types import UtcDateTime, Word, new_id


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index over the rows for which a condition holds, on both databases."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


class ProtocolVersion(Base):
    """One version of a protocol: its text follows the file while draft and is frozen by its first approval."""

    __tablename__ = "protocol_versions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    key: Mapped[str]
    number: Mapped[int]
    source: Mapped[str]
    content_hash: Mapped[str]
    retired: Mapped[bool] = mapped_column(default=False)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    origin: Mapped[Origin] = mapped_column(Word(Origin), default=Origin.FILE, server_default="file")
    written_by: Mapped[str | None]  # who wrote it on the screen

    __table_args__ = (UniqueConstraint("key", "number"),)


class ProtocolText(Base):
    """A value only the clinic can give (`[[text]]`): rows are only added, the latest is what approval freezes."""

    __tablename__ = "protocol_texts"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    protocol_key: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    value: Mapped[str]
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_by: Mapped[str]


class TemplateVersion(Base):
    """One content of a message source, by key, language and level; what was approved is what is sent."""

    __tablename__ = "template_versions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    key: Mapped[str]
    language: Mapped[str]
    level: Mapped[str]  # "general" or "full"; the parts _footer and urgent_* are "general"
    source: Mapped[str]
    content_hash: Mapped[str]
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    origin: Mapped[Origin] = mapped_column(Word(Origin), default=Origin.FILE, server_default="file")
    written_by: Mapped[str | None]  # who wrote it on the screen

    __table_args__ = (UniqueConstraint("key", "language", "level", "content_hash"),)


class LibraryFile(Base):
    """What a file said when it was last read, so that only a file that changed since takes over from the screen."""

    __tablename__ = "library_files"

    path: Mapped[str] = mapped_column(primary_key=True)  # protocols/<key>, or <language>/<key>/<level>
    content_hash: Mapped[str]
    read_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Approval(Base):
    """A clinician approved one content: rows are only added. `texts` are the clinic's values frozen with it."""

    __tablename__ = "approvals"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    what: Mapped[Approvable] = mapped_column(Word(Approvable))
    version_id: Mapped[UUID] = mapped_column(index=True)
    content_hash: Mapped[str]
    texts: Mapped[dict[str, Any]]
    approved_by: Mapped[str]
    approved_at: Mapped[datetime] = mapped_column(UtcDateTime)
    alone_because: Mapped[str | None]  # why who wrote it approved it without a second person


class CarePlan(Base):
    """One protocol version applied to one treatment."""

    __tablename__ = "care_plans"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    treatment_id: Mapped[UUID] = mapped_column(ForeignKey("treatments.id"), unique=True)
    protocol_version_id: Mapped[UUID] = mapped_column(ForeignKey("protocol_versions.id"), index=True)
    status: Mapped[CarePlanStatus] = mapped_column(Word(CarePlanStatus))
    past_override: Mapped[Past | None] = mapped_column(Word(Past))
    keeps_earlier: Mapped[bool] = mapped_column(default=False)  # does not replace a running plan of its kind
    starts_held: Mapped[bool] = mapped_column(default=False)  # `import --hold`
    age_override_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)  # a clinician's reason
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    planned_with: Mapped[str | None]  # fingerprint of settings, holidays and zone data
    planned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Written by the planner from the facts, for the staff's list: since when a person has to act, None when not.
    call_asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    release_asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    age_override = Sealed("age_override")

    __table_args__ = (
        Index("ix_care_plans_planned_with", "planned_with"),
        partial_index("ix_care_plans_call_asked", "call_asked_at", where="call_asked_at IS NOT NULL"),
        partial_index("ix_care_plans_release_asked", "release_asked_at", where="release_asked_at IS NOT NULL"),
    )


class CareEvent(Base):
    """A fact about one care plan, append-only; what was wrong is retracted by a row of its own."""

    __tablename__ = "care_events"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    care_plan_id: Mapped[UUID] = mapped_column(ForeignKey("care_plans.id"), index=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))
    kind: Mapped[EventKind] = mapped_column(Word(EventKind))
    review: Mapped[str | None]
    occurred_at: Mapped[datetime] = mapped_column(UtcDateTime)
    occurred_local: Mapped[str]
    zone: Mapped[str]
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_by: Mapped[str]
    fields_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)

    fields = SealedFields("fields")


class CareEventRetraction(Base):
    """An event was entered wrongly: it no longer counts, and stays readable."""

    __tablename__ = "care_event_retractions"

    event_id: Mapped[UUID] = mapped_column(ForeignKey("care_events.id"), primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_by: Mapped[str]
    reason_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)

    reason = Sealed("reason")

    @property
    def id(self) -> UUID:
        """The row's identity in its seal."""
        return self.event_id


class Review(Base):
    """Where one review of a care plan stands; written by the planner from the facts, for the staff's lists."""

    __tablename__ = "reviews"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    care_plan_id: Mapped[UUID] = mapped_column(ForeignKey("care_plans.id"))
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    key: Mapped[str]
    place: Mapped[int]
    status: Mapped[ReviewStatus] = mapped_column(Word(ReviewStatus))
    due_on: Mapped[date]
    latest_on: Mapped[date]  # due date and tolerance
    visit_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    open: Mapped[bool]  # somebody still has to book it or to write it down

    __table_args__ = (
        UniqueConstraint("care_plan_id", "key"),
        # The staff's lists: to book and missed by their due date, booked by their visit.
        partial_index("ix_reviews_open_due", "status", "due_on", where=OPEN_SQL),
        partial_index("ix_reviews_open_visit", "visit_at", where=VISIT_SQL),
    )


class ReminderDecision(Base):
    """What staff decided about one reminder, append-only; the planner reads it, so replanning never undoes it."""

    __tablename__ = "reminder_decisions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    care_plan_id: Mapped[UUID] = mapped_column(ForeignKey("care_plans.id"), index=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))
    step: Mapped[str]
    occurrence: Mapped[int]
    generation: Mapped[int]
    kind: Mapped[DecisionKind] = mapped_column(Word(DecisionKind))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_by: Mapped[str]
    note_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)

    note = Sealed("note")


class PlanQuestion(Base):
    """What the planner asks staff about a message already sent; closed by a decision or by the facts."""

    __tablename__ = "plan_questions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    care_plan_id: Mapped[UUID] = mapped_column(ForeignKey("care_plans.id"), index=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))
    kind: Mapped[QuestionKind] = mapped_column(Word(QuestionKind))
    step: Mapped[str]
    occurrence: Mapped[int]
    generation: Mapped[int]
    told: Mapped[str]  # the basis of what was sent
    now_basis: Mapped[str]
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (partial_index("ix_plan_questions_open", "asked_at", where="closed_at IS NULL"),)


class Reminder(Base):
    """The intention to send one message to one patient at one time."""

    __tablename__ = "reminders"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    care_plan_id: Mapped[UUID] = mapped_column(ForeignKey("care_plans.id"))
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    step: Mapped[str]
    occurrence: Mapped[int]
    generation: Mapped[int]
    kind: Mapped[StepKind] = mapped_column(Word(StepKind))
    audience: Mapped[Audience] = mapped_column(Word(Audience))
    template: Mapped[str]
    on_unknown: Mapped[OnUnknown] = mapped_column(Word(OnUnknown))
    state: Mapped[ReminderState] = mapped_column(Word(ReminderState))
    reason: Mapped[Reason | None] = mapped_column(Word(Reason))
    basis: Mapped[str]  # what the time counts from and what the text names: the anchor as people say it
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_local: Mapped[str]  # 2026-12-05T10:00:00 in `zone`: the intended wall time
    zone: Mapped[str]
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the grace after saving
    ready_at: Mapped[datetime] = mapped_column(UtcDateTime)  # when the sender may take it: due, grace, retry wait
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    message_id: Mapped[str] = mapped_column(unique=True)
    worker_id: Mapped[UUID | None] = mapped_column(ForeignKey("workers.id"))
    fence: Mapped[int] = mapped_column(default=0)  # rises with every claim and every change under a claim
    open_attempt: Mapped[int | None]  # number of the attempt whose content may be on the wire
    attempts: Mapped[int] = mapped_column(default=0)
    unknowns: Mapped[int] = mapped_column(default=0)
    errors: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # a failed or missed one: when staff had acted

    __table_args__ = (
        UniqueConstraint("care_plan_id", "step", "occurrence", "generation"),
        # At most one live row per key, whatever the program does.
        partial_index("uq_reminders_live", "care_plan_id", "step", "occurrence", where=LIVE_SQL, unique=True),
        # What is due: `ready_at <= now`, flat from ten thousand to ten million rows.
        partial_index("ix_reminders_ready", "ready_at", where=WAITING_SQL),
        # What ran out: `expires_at <= now` among live rows.
        partial_index("ix_reminders_expiring", "expires_at", where=LIVE_SQL),
        # What recovery looks at: claims of a worker.
        partial_index("ix_reminders_claimed", "worker_id", where=CLAIMED_SQL),
        # The staff's lists by state, and what left last.
        Index("ix_reminders_state_changed", "state", "changed_at"),
        # The board: what is or was due around today, whatever its state.
        Index("ix_reminders_due_at", "due_at", "state", "reason"),
        # Today: what is held, by reason; what failed or was missed and nobody has acted on.
        partial_index("ix_reminders_held", "reason", "due_at", where=HELD_SQL),
        # By state first: PostgreSQL would else read all that ever failed, in the order of the index by state.
        partial_index("ix_reminders_unsettled", "state", "changed_at", where=UNSETTLED_SQL),
        CheckConstraint("state IN ('scheduled', 'sending', 'sent') OR reason IS NOT NULL", name="has_reason"),
    )


class DeliveryAttempt(Base):
    """One try to hand a message to the mail server; the row is durable before the first content byte."""

    __tablename__ = "delivery_attempts"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # over the whole database, rising
    reminder_id: Mapped[UUID] = mapped_column(ForeignKey("reminders.id"), index=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))
    worker_id: Mapped[UUID] = mapped_column(ForeignKey("workers.id"))
    fence: Mapped[int]
    email_version: Mapped[int]
    marked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    outcome: Mapped[AttemptOutcome] = mapped_column(Word(AttemptOutcome))
    phase: Mapped[str | None]  # how far it got: rcpt, data, content …
    code: Mapped[int | None]
    enhanced: Mapped[str | None]
    recorded_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reply_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)  # servers repeat addresses in their replies

    reply = Sealed("reply")

    @property
    def id(self) -> UUID:
        """The identity bound into this row's seal."""
        return UUID(int=self.number)


class SentCopy(Base):
    """The exact bytes of one attempt, compressed and sealed, kept with the record."""

    __tablename__ = "sent_copies"

    attempt: Mapped[int] = mapped_column(ForeignKey("delivery_attempts.number"), primary_key=True, autoincrement=False)
    reminder_id: Mapped[UUID] = mapped_column(ForeignKey("reminders.id"), index=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))
    content_sealed: Mapped[bytes] = mapped_column(LargeBinary)


class Worker(Base):
    """One sending process and its last sign of life."""

    __tablename__ = "workers"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]  # host and process id
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    heartbeat_at: Mapped[datetime] = mapped_column(UtcDateTime)
    swept_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    alarm: Mapped[str | None]  # what staff must know of its mail server, disk or clock, while it is so
    loop_lag_ms: Mapped[int | None]  # the longest its event loop was kept waiting in the last minute


class Gate(Base):
    """The one switch before every send, and what the database remembers about itself."""

    __tablename__ = "gate"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[GateState] = mapped_column(Word(GateState))
    reason: Mapped[str | None]
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_by: Mapped[str]
    used_relay: Mapped[bool] = mapped_column(default=False)
    last_attempt: Mapped[int] = mapped_column(default=0)  # the highest attempt number given out
    cause: Mapped[GateCause | None] = mapped_column(Word(GateCause))
    installation_id: Mapped[UUID | None]  # the same as in the permit beside the keys; None: nothing was ever sent
    restored_from: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the instant of the backup that was put back
    restored_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)
