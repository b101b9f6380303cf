"""Tables of staff: who did or saw what (the audit chain and its head), accounts, sessions, devices, one-time links.

What an account may do is in `scheduler.accounts` and `web.doors`; queries are in `db.audit` and `db.accounts`.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base
from db.states import LinkPurpose, SetupStep
from db.types import UtcDateTime, Word, new_id


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

    __table_args__ = (
        Index("ix_audit_events_patient_id_number", "patient_id", "number"),
        # The filters of the trail's page: each with the number, so that the newest are found first.
        Index("ix_audit_events_actor_number", "actor", "number"),
        Index("ix_audit_events_action_number", "action", "number"),
        Index("ix_audit_events_at_number", "at", "number"),
    )


class AuditHead(Base):
    """The one row that says where the chain ends; every writer locks it last."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int]
    mac: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)


class StaffMember(Base):
    """A named person with an account. Never deleted: the record names her; `disabled_at` ends her access.

    `password_hash` and `pin_hash` are Argon2id over a keyed hash, so that the table alone is of no use.
    """

    __tablename__ = "staff_members"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    login: Mapped[str] = mapped_column(unique=True)  # as typed at sign-in, in small letters; never changed
    name: Mapped[str]
    roles: Mapped[list[str]] = mapped_column(JSON)
    email: Mapped[str | None]  # where test mails go
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str]
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    password_hash: Mapped[str | None]
    pin_hash: Mapped[str | None]
    wrapped_key: Mapped[bytes] = mapped_column(LargeBinary)  # her own data key, which seals `totp_sealed`
    totp_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_confirmed: Mapped[bool] = mapped_column(default=False)
    totp_step: Mapped[int] = mapped_column(default=0)  # the last time step used: each code counts once


class RecoveryCode(Base):
    """One of the codes that stand in once for a lost second factor."""

    __tablename__ = "recovery_codes"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff_members.id"), index=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class StaffDevice(Base):
    """A browser that somebody signed in with; its cookie lives longer than a session."""

    __tablename__ = "staff_devices"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    label: Mapped[str]  # what the browser says it is, in words
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DeviceTrust(Base):
    """When a person last gave her second factor on a device."""

    __tablename__ = "device_trusts"

    device_id: Mapped[UUID] = mapped_column(ForeignKey("staff_devices.id"), primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff_members.id"), primary_key=True)
    second_factor_at: Mapped[datetime] = mapped_column(UtcDateTime)


class StaffSession(Base):
    """A person at work in one browser. Only the hash of its token is stored; times are the machine's."""

    __tablename__ = "staff_sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff_members.id"))
    device_id: Mapped[UUID] = mapped_column(ForeignKey("staff_devices.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    complete: Mapped[bool]  # False until the second factor was given where it is required
    locked: Mapped[bool] = mapped_column(default=False)
    pin_failures: Mapped[int] = mapped_column(default=0)
    remembered: Mapped[dict[str, Any]] = mapped_column(default=dict)  # lot and expiry of the day, by protocol
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (Index("ix_staff_sessions_staff_id_ended_at", "staff_id", "ended_at"),)


class AccountLink(Base):
    """A one-time link that lets one person set her password; only its hash is stored."""

    __tablename__ = "account_links"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    purpose: Mapped[LinkPurpose] = mapped_column(Word(LinkPurpose))
    staff_id: Mapped[UUID | None] = mapped_column(ForeignKey("staff_members.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SetupMark(Base):
    """Something of the first days that only a person can say is done."""

    __tablename__ = "setup_marks"

    name: Mapped[SetupStep] = mapped_column(Word(SetupStep), primary_key=True)
    marked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    marked_by: Mapped[str]
