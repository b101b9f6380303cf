"""Tables of who did or saw what: the audit chain and its head. Accounts come with the clinic's screen."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import JSON, CheckConstraint, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base
from db.types import UtcDateTime


class AuditEvent(Base):
    """Who did or saw what, when: ids and field names, never values. Chained by `mac` (see `db.audit`)."""

    __tablename__ = "audit_events"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str | None]  # the kind of row: "patient", "treatment" …
    subject_id: Mapped[str | None]
    patient_id: Mapped[UUID | None]
    fields: Mapped[list[str]] = mapped_column(JSON)
    previous_mac: Mapped[bytes] = mapped_column(LargeBinary)
    mac: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (Index("ix_audit_events_patient_id_number", "patient_id", "number"),)


class AuditHead(Base):
    """The one row that says where the chain ends; every writer locks it last."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int]
    mac: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)
