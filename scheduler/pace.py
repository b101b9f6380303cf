"""How fast messages leave: so many a minute and a day, and after a downtime one a patient a day where they may wait.

Which messages are taken first is in `db.sends`; who asks is `scheduler.claimer`.
"""

from datetime import datetime, time, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from db import advisory, reminders, sends
from db.follow_up import CarePlan, Reminder
from db.letters import Addressee
from db.states import ReminderState
from scheduler.clinic import Clinic
from scheduler.local_time import next_allowed, to_utc, to_wall

NO_CAP: Final = 1_000_000
MINUTE: Final = 60.0  # seconds
# A reminder is claimed a moment after it was ready; what waited longer is late.
SLACK: Final = timedelta(minutes=1)
BACKLOG_AGE: Final = timedelta(minutes=10)  # when the oldest has waited so long, what would run out first goes first


class Pace:
    """At most so many messages in any minute; 0 means no cap. Its time is that since boot: nobody sets it back."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._taken: list[float] = []

    def allowance(self, now: float) -> int:
        """How many may be claimed now."""
        if not self._per_minute:
            return NO_CAP
        self._taken = [at for at in self._taken if now - at < MINUTE]
        return max(0, self._per_minute - len(self._taken))

    def take(self, count: int, now: float) -> None:
        """Note that so many were taken."""
        if self._per_minute:
            self._taken += [now] * count


def left_today(session: Session, clinic: Clinic, now: datetime) -> int:
    """How many the daily cap leaves, counted from midnight at the clinic; what is claimed counts as sent."""
    settings = clinic.settings
    if not settings.daily_cap:
        return NO_CAP
    midnight = to_utc(datetime.combine(to_wall(now, settings.clinic_time_zone), time()), settings.clinic_time_zone)
    return settings.daily_cap - sends.count_spent(session, midnight, settings.daily_cap)


def left(session: Session, clinic: Clinic, now: datetime) -> int:
    """How many the caps leave to all processes together; on PostgreSQL they count one after the other.

    The rate of one process is `Pace`; of several, what all of them took in the last minute.
    """
    settings = clinic.settings
    if clinic.store.is_sqlite or not (settings.daily_cap or settings.smtp_rate_per_minute):
        return left_today(session, clinic, now)
    advisory.wait_alone(session, "caps")
    rate = settings.smtp_rate_per_minute
    in_minute = rate - sends.count_spent(session, now - timedelta(seconds=MINUTE), rate) if rate else NO_CAP
    return min(left_today(session, clinic, now), in_minute)


def is_backlog(session: Session, now: datetime) -> bool:
    """Whether messages have waited so long that what would run out first has to go first."""
    oldest = session.scalar(reminders.oldest_due(now))
    return oldest is not None and now - oldest > BACKLOG_AGE


def is_late(row: Reminder | sends.DueClaim, now: datetime) -> bool:
    """Whether it waited longer than a claim takes: its hour, and her day, are looked at again."""
    return row.ready_at < now - SLACK


def find_other_day(
    session: Session, clinic: Clinic, row: sends.DueClaim, addressee: Addressee, now: datetime
) -> datetime | None:
    """When a late message that may wait leaves instead, because today she gets another; None: it leaves now.

    Of several late ones that may wait the one that would run out first leaves today.
    """
    if not _may_wait(session, clinic, addressee.protocol_version_id, row.step):
        return None
    zone, today = addressee.time_zone, to_wall(now, addressee.time_zone)
    begin, end = (to_utc(datetime.combine(today + timedelta(days=days), time()), zone) for days in (0, 1))
    others = reminders.list_of_day(session, addressee.patient_id, begin, end)
    if not any(_goes_before(session, clinic, other, row, now) for other in others if other.id != row.id):
        return None
    wanted = datetime.fromisoformat(row.due_local).time()
    tomorrow = to_utc(datetime.combine(today + timedelta(days=1), wanted), zone)
    until = next_allowed(tomorrow, zone, clinic.rules.window)
    return until if until < row.expires_at else None


def _goes_before(session: Session, clinic: Clinic, other: Reminder, row: sends.DueClaim, now: datetime) -> bool:
    if other.state is ReminderState.SENT or not is_late(other, now):
        return True
    version_id = session.get_one(CarePlan, other.care_plan_id).protocol_version_id
    if not _may_wait(session, clinic, version_id, other.step):
        return True
    return (other.expires_at, other.id) < (row.expires_at, row.id)


def _may_wait(session: Session, clinic: Clinic, version_id: UUID, step: str) -> bool:
    found = clinic.library.shelf(session).get(version_id).protocol.find_step(step)
    return found is not None and found.may_wait
