"""What came back: reports about messages that the mail server had taken, and letters to the technical mailbox.

Which message of the mailbox is what, and what follows from it, is in `scheduler.returned_mail`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, distinct, func, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from db.base import Base
from db.engine import instant_of
from db.follow_up import DeliveryAttempt, Reminder
from db.records import AddressFact
from db.sealed import Sealed
from db.states import AddressFactKind, ReportKind
from db.types import UtcDateTime, Word, new_id

_WAITS_SQL = "waits_since IS NOT NULL"
_MAILBOX_TROUBLE = "5.2."  # RFC 3463 §3.3: the mailbox is full, disabled or takes nothing so large
FAILURES = (ReportKind.REFUSED, ReportKind.RETURNED)


class DeliveryReport(Base):
    """What a mail server said about one attempt after ours had accepted it; append-only but for `waits_since`."""

    __tablename__ = "delivery_reports"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    attempt: Mapped[int] = mapped_column(ForeignKey("delivery_attempts.number"), index=True)
    reminder_id: Mapped[UUID] = mapped_column(ForeignKey("reminders.id"))
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    kind: Mapped[ReportKind] = mapped_column(Word(ReportKind))
    status: Mapped[str | None]  # RFC 3463, as 5.1.1
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary, unique=True)  # of the whole message: it counts once
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    waits_since: Mapped[datetime | None] = mapped_column(UtcDateTime)  # since when a person has to act; None: no more
    said_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)  # the server's words: they repeat addresses

    said = Sealed("said")

    __table_args__ = (
        # The staff's list of the day.
        Index(
            "ix_delivery_reports_waiting",
            "waits_since",
            sqlite_where=text(_WAITS_SQL),
            postgresql_where=text(_WAITS_SQL),
        ),
    )


class MailboxLetter(Base):
    """That somebody wrote to the technical mailbox: nothing of the letter, only where it lies."""

    __tablename__ = "mailbox_letters"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    mailbox: Mapped[int | None] = mapped_column(BigInteger)  # UIDVALIDITY; None: it came through a pipe
    uid: Mapped[int | None] = mapped_column(BigInteger)
    found_at: Mapped[datetime] = mapped_column(UtcDateTime)
    waits_since: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index("ix_mailbox_letters_mailbox_uid", "mailbox", "uid"),
        Index(
            "ix_mailbox_letters_waiting",
            "waits_since",
            sqlite_where=text(_WAITS_SQL),
            postgresql_where=text(_WAITS_SQL),
        ),
    )


def find_report(session: Session, fingerprint: bytes) -> DeliveryReport | None:
    """The report that was made of this very message, or None."""
    return session.scalar(select(DeliveryReport).where(DeliveryReport.fingerprint == fingerprint))


def add_report(
    session: Session,
    attempt: DeliveryAttempt,
    kind: ReportKind,
    status: str,
    said: str,
    fingerprint: bytes,
    waits: bool,
) -> DeliveryReport:
    """Write a report down."""
    at = instant_of(session)
    row = DeliveryReport(
        id=new_id(),
        attempt=attempt.number,
        reminder_id=attempt.reminder_id,
        patient_id=attempt.patient_id,
        kind=kind,
        status=status or None,
        fingerprint=fingerprint,
        received_at=at,
        waits_since=at if waits else None,
    )
    session.add(row)
    row.said = said or None
    session.flush()
    return row


def list_reports_of(session: Session, reminder_ids: Sequence[UUID]) -> list[DeliveryReport]:
    """All reports about these reminders, the first first."""
    query = select(DeliveryReport).where(
        DeliveryReport.attempt.in_(select(DeliveryAttempt.number).where(DeliveryAttempt.reminder_id.in_(reminder_ids)))
    )
    return list(session.scalars(query.order_by(DeliveryReport.received_at, DeliveryReport.id)))


def has_failed(session: Session, attempt: int) -> bool:
    """Whether it is known already that this attempt did not arrive."""
    query = select(DeliveryReport.id).where(DeliveryReport.attempt == attempt, DeliveryReport.kind.in_(FAILURES))
    return session.scalar(query.limit(1)) is not None


def count_mailbox_troubles(session: Session, patient_id: UUID, email_version: int) -> int:
    """How many messages came back because her mailbox takes none (5.2.x), since this address was last confirmed."""
    confirmed = (
        select(func.max(AddressFact.recorded_at))
        .where(
            AddressFact.patient_id == patient_id,
            AddressFact.email_version == email_version,
            AddressFact.kind == AddressFactKind.CONFIRMED,
        )
        .scalar_subquery()
    )
    query = (
        select(func.count(distinct(DeliveryReport.reminder_id)))
        .join(DeliveryAttempt, DeliveryAttempt.number == DeliveryReport.attempt)
        .where(
            DeliveryReport.patient_id == patient_id,
            DeliveryReport.kind == ReportKind.RETURNED,
            DeliveryReport.status.startswith(_MAILBOX_TROUBLE, autoescape=True),
            DeliveryAttempt.email_version == email_version,
            DeliveryReport.received_at > func.coalesce(confirmed, 0),
        )
    )
    return session.scalar(query) or 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """What came back and waits for a person; of letters how many, and when the first and the last were found."""

    reports: Sequence[tuple[DeliveryReport, Reminder]]
    letters: int
    letters_since: datetime | None
    letters_until: datetime | None


def find_waiting(session: Session, limit: int) -> Waiting:
    """What nobody has acted on, of reports so many, the longest waiting first: one query, as Today asks many."""
    letters = (
        select(
            func.count().label("letters"),
            func.min(MailboxLetter.found_at).label("since"),
            func.max(MailboxLetter.found_at).label("until"),
        )
        .where(text(f"mailbox_letters.{_WAITS_SQL}"))
        .subquery()
    )
    reports = (
        select(DeliveryReport.id)
        .where(text(f"delivery_reports.{_WAITS_SQL}"))
        .order_by(DeliveryReport.waits_since)
        .limit(limit)
    )
    query = (
        select(letters, DeliveryReport, Reminder)
        .select_from(letters)
        .outerjoin(DeliveryReport, DeliveryReport.id.in_(reports))
        .outerjoin(Reminder, Reminder.id == DeliveryReport.reminder_id)
        .order_by(DeliveryReport.waits_since)
    )
    rows = session.execute(query).all()  # one at least: the letters are counted
    first = rows[0]
    return Waiting([(row[3], row[4]) for row in rows if row[3] is not None], first.letters, first.since, first.until)


def settle_reports(session: Session, patient_id: UUID, reminder_id: UUID | None = None) -> None:
    """Take what came back from the staff's list: of one reminder, or all of a patient."""
    change = update(DeliveryReport).where(DeliveryReport.patient_id == patient_id, text(_WAITS_SQL))
    if reminder_id is not None:
        change = change.where(DeliveryReport.reminder_id == reminder_id)
    session.execute(change.values(waits_since=None).execution_options(synchronize_session=False))


def note_letter(session: Session, fingerprint: bytes, mailbox: int | None, uid: int | None) -> None:
    """Note that somebody wrote, and where the letter lies; once, also when its mailbox is numbered anew."""
    row = session.scalar(select(MailboxLetter).where(MailboxLetter.fingerprint == fingerprint))
    if row is None:
        at = instant_of(session)
        session.add(MailboxLetter(fingerprint=fingerprint, mailbox=mailbox, uid=uid, found_at=at, waits_since=at))
    elif uid is not None:
        row.mailbox, row.uid = mailbox, uid
    session.flush()


def list_noted(session: Session, mailbox: int, uids: Collection[int]) -> set[int]:
    """Which of these messages of the mailbox are letters that were noted."""
    query = select(MailboxLetter.uid).where(MailboxLetter.mailbox == mailbox, MailboxLetter.uid.in_(uids))
    return {uid for uid in session.scalars(query) if uid is not None}


def settle_letters(session: Session, until: datetime) -> int:
    """Somebody looked at the letters that were found up to an instant; how many there were."""
    change = update(MailboxLetter).where(text(_WAITS_SQL), MailboxLetter.found_at <= until).values(waits_since=None)
    result = session.execute(change.returning(MailboxLetter.id).execution_options(synchronize_session=False))
    return len(result.all())
