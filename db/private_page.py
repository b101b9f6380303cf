"""Tables of the patient's private page: what opens it, and what came from there that a person has to look at.

Queries over them are in `db.page_links` and `db.raised_lines`; what she answered are events of her plan.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base
from db.follow_up import partial_index
from db.sealed import Sealed
from db.states import Described
from db.types import UtcDateTime, Word, new_id


class RaisedKind(Described):
    """What the patient's side raised for staff; open until a person closes it. The order is that of harm."""

    WRONG_PERSON = "wrong_person", "Whoever reads the address said that it is not hers; the address was removed."
    STOPPED_BY_LINK = "stopped_by_link", "Messages were stopped by a link in a mail; it may have been another's hand."
    CODE_LOCKED = "code_locked", "The code of her private page was given wrongly too often; the page is closed."
    OTHER_TIME = "other_time", "She asks for another time for a visit."
    NOT_YET = "not_yet", "She answered 'not yet' several times in a row."
    SILENT = "silent", "She has not answered for a while."


class PageCodeKind(Described):
    """What opens a patient's private page beside the link."""

    WORD = "word", "A code or word that she chose at the desk."
    BIRTH_DATE = "birth_date", "Her date of birth, because she chose that."


class PageCode(Base):
    """The second thing that opens her private page, beside the link; a new one is set at the desk only."""

    __tablename__ = "page_codes"

    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), primary_key=True)
    kind: Mapped[PageCodeKind] = mapped_column(Word(PageCodeKind))
    code_hash: Mapped[str]
    set_at: Mapped[datetime] = mapped_column(UtcDateTime)
    set_by: Mapped[str]
    tries: Mapped[int] = mapped_column(default=0)  # wrong ones since the last right one; counted before it is looked at


class MessageLink(Base):
    """The links in one message, by the hashes of their tokens; written with the mark, before the message leaves.

    A link lives while its patient's address is the one it was sent to, nobody has revoked it, and it is not too old.
    """

    __tablename__ = "message_links"

    reminder_id: Mapped[UUID] = mapped_column(ForeignKey("reminders.id"), primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    email_version: Mapped[int]
    page_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)  # to her private page
    stop_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)  # to stop messages of this topic
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RaisedLine(Base):
    """What the patient's side raised for staff. Open until a person closes it; at most one open of a kind a plan."""

    __tablename__ = "raised_lines"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    care_plan_id: Mapped[UUID] = mapped_column(ForeignKey("care_plans.id"))
    kind: Mapped[RaisedKind] = mapped_column(Word(RaisedKind))
    review: Mapped[str | None]
    raised_at: Mapped[datetime] = mapped_column(UtcDateTime)
    raised_by: Mapped[str]
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    closed_by: Mapped[str | None]
    said_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)

    said = Sealed("said")

    __table_args__ = (
        partial_index("ix_raised_lines_open", "kind", "raised_at", where="closed_at IS NULL"),
        partial_index("uq_raised_lines_open", "care_plan_id", "kind", where="closed_at IS NULL", unique=True),
    )
