"""A clinic in which so many messages are due at this moment, over any number of others, and what became of them."""

from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, and_, func, select, update

from bench.filled_clinic import fill, open_empty
from db.follow_up import CarePlan, Reminder, Worker
from db.states import Audience, ReminderState
from scheduler.clinic import Clinic
from scheduler.clock import SystemClock

SETTINGS = {
    "AFTERCARE_SMTP_HOST": "127.0.0.1",
    "AFTERCARE_SMTP_SECURITY": "none",
    "AFTERCARE_SEND_WINDOW": "00:00-24:00",
    "AFTERCARE_BACKLOG_LIMIT": "1000000",
    "AFTERCARE_SENDER_ADDRESS": "post@example.org",
    "AFTERCARE_SENDER_NAME": "Orchard Lane",
    "AFTERCARE_REPLY_TO": "desk@example.org",
    "AFTERCARE_CLINIC_NAME": "Orchard Lane",
    "AFTERCARE_CLINIC_PHONE": "020 7946 0100",
    "AFTERCARE_CLINIC_HOURS": "Monday to Friday, 9 to 17",
    "AFTERCARE_LOG_LEVEL": "warning",
}


def settings(folder: Path, port: int, connections: int, database_url: str | None = None) -> dict[str, str]:
    """The settings of a service over that clinic, sending to that port of this machine."""
    chosen = {
        "AFTERCARE_DATA_DIR": str(folder),
        "AFTERCARE_SMTP_PORT": str(port),
        "AFTERCARE_SMTP_CONNECTIONS": str(connections),
    }
    if database_url is not None:
        chosen["AFTERCARE_DATABASE_URL"] = database_url
    return {**SETTINGS, **chosen}


def make_clinic(folder: Path, patients: int, database_url: str | None = None, each: int = 4) -> Clinic:
    """A clinic with that many patients, `each` reminders a patient, nothing due yet."""
    clinic = open_empty(folder, database_url, SETTINGS)
    fill(clinic, patients, patients * each)
    return clinic


def bring_due(clinic: Clinic, count: int) -> int:
    """Make that many reminders due now, one a patient, whatever they were before; how many there are."""
    now = SystemClock().now()
    place = (
        func.row_number()
        .over(partition_by=Reminder.patient_id, order_by=(Reminder.occurrence, Reminder.id))
        .label("place")
    )
    ranked = (
        select(Reminder.id, place)
        .join(CarePlan, CarePlan.id == Reminder.care_plan_id)
        .where(Reminder.audience == Audience.PATIENT, CarePlan.status == "active")
        .subquery()
    )
    first = select(ranked.c.id).where(ranked.c.place == 1).limit(count)
    with clinic.store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(
            update(Reminder).where(Reminder.state == ReminderState.SCHEDULED).values(ready_at=now + timedelta(days=9))
        )
        connection.execute(
            update(Reminder).where(Reminder.state == ReminderState.SENT).values(sent_at=now - timedelta(days=9))
        )
        done = connection.execute(
            update(Reminder)
            .where(Reminder.id.in_(first))
            .values(
                state=ReminderState.SCHEDULED,
                reason=None,
                ready_at=now - timedelta(seconds=30),
                expires_at=now + timedelta(days=2),
                sent_at=None,
                worker_id=None,
                open_attempt=None,
            )
        )
        connection.execute(update(Reminder).where(Reminder.expires_at < now).values(expires_at=now + timedelta(days=2)))
        planned = {"planned_with": clinic.fingerprint, "planned_at": now - timedelta(hours=1)}
        connection.execute(update(CarePlan).values(**planned))
        # Its process has only just ended: a clinic that lay still for days asks a person before anything leaves.
        connection.execute(update(Worker).values(heartbeat_at=now, stopped_at=now))
    return done.rowcount


def spread(clinic: Clinic, first_in: timedelta, over: timedelta) -> int:
    """Let what is due now be due evenly over a while that begins so much later; how many there are."""
    begin = SystemClock().now() + first_in
    with clinic.store.engine.execution_options(writes=True).begin() as connection:
        due = list(connection.scalars(select(Reminder.id).where(is_due(SystemClock().now()))))
        for number, reminder_id in enumerate(due):
            at = begin + over * number / len(due)
            connection.execute(update(Reminder).where(Reminder.id == reminder_id).values(ready_at=at))
    return len(due)


def lateness(clinic: Clinic) -> list[float]:
    """Seconds from when each message of the last hour was due until the server had taken it, by the record."""
    with clinic.store.read() as session:
        since = SystemClock().now() - timedelta(hours=1)
        query = select(Reminder.ready_at, Reminder.sent_at).where(
            Reminder.state == ReminderState.SENT, Reminder.sent_at >= since
        )
        return [(sent_at - ready_at).total_seconds() for ready_at, sent_at in session.execute(query) if sent_at]


def is_due(now: datetime) -> ColumnElement[bool]:
    """Whether a message waits and its time has come."""
    return and_(Reminder.state == ReminderState.SCHEDULED, Reminder.ready_at <= now)


def count_sent(clinic: Clinic) -> int:
    """How many left in the last hours."""
    with clinic.store.read() as session:
        since = SystemClock().now() - timedelta(hours=1)
        query = select(func.count()).select_from(Reminder)
        return session.scalar(query.where(Reminder.state == ReminderState.SENT, Reminder.sent_at >= since)) or 0
