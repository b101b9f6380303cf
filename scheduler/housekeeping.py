"""What one process does for all now and then beside the sending: integrity, the day's mail, alerts, the outside ping.

Each is a turn (`db.turns`), so that several processes do it once; what is late is done at the next look. A failure here
harms no message: it is logged, and told where the outcome would have been.
"""

import asyncio
from contextlib import suppress
from datetime import datetime, time, timedelta
from typing import Final

from db.counts import count_calls, find_latest_call
from db.turns import find_turn, take_turn
from scheduler import digest, integrity, silence
from scheduler.clinic import Clinic
from scheduler.local_time import to_utc, to_wall
from scheduler.logs import log
from scheduler.mailer import RelaySettings
from scheduler.outside_ping import OutsidePing
from scheduler.staff_mail import send_to_staff

DIGEST_AT: Final = time(7, 30)  # at the clinic: before the day begins
DAILY, WEEKLY = timedelta(hours=23), timedelta(days=6, hours=23)  # a little less, so that the hour does not wander
ALERT_AGAIN: Final = timedelta(minutes=5)  # after an alert that the mail server did not take
CALL_WITHIN: Final = timedelta(hours=2)  # of opening hours: a call still open then is told again


class _NotSent(Exception):
    """The mail server did not take an alert."""


class Housekeeper:
    """Does what is due; asked every minute by the ticker, and after each sweep."""

    def __init__(self, clinic: Clinic, relay: RelaySettings | None) -> None:
        self._clinic = clinic
        self._relay = relay
        url = clinic.settings.heartbeat_url
        self._ping = OutsidePing(url.get_secret_value()) if url else None
        self._alert_tried_at: datetime | None = None
        self._stopping = False

    def stop(self) -> None:
        """Begin nothing more, and cut short what takes long."""
        self._stopping = True

    def swept(self) -> None:
        """A sweep was completed: tell the outside."""
        if self._ping is not None:
            self._ping.send()

    async def look(self) -> None:
        """Do what is due."""
        await self._alert()
        await self._digest()
        # Long work on threads of its own: the sender's threads are for marks and outcomes.
        with suppress(integrity.CutOff):
            await asyncio.to_thread(self._check)
        await asyncio.to_thread(self._look_for_silence)

    async def finished(self) -> None:
        """Return when no ping is under way."""
        if self._ping is not None:
            await self._ping.finished()

    def _check(self) -> None:
        store, now = self._clinic.store, self._clinic.clock.now()
        for name, since, thorough in (("integrity, whole", WEEKLY, True), ("integrity", DAILY, False)):
            with take_turn(store, name, now, unless_since=now - since) as ours:
                if ours:
                    found = integrity.check_record(self._clinic, thorough, lambda: not self._stopping)
                    for problem in found:
                        log().error("record_not_whole", check=problem)

    def _look_for_silence(self) -> None:
        store, now = self._clinic.store, self._clinic.clock.now()
        with take_turn(store, "silence", now, unless_since=now - DAILY) as ours:
            if ours:
                raised = silence.raise_silent(self._clinic, lambda: not self._stopping)
                log().info("looked_for_silence", count=raised)

    async def _digest(self) -> None:
        clinic, now = self._clinic, self._clinic.clock.now()
        zone = clinic.settings.clinic_time_zone
        wall = to_wall(now, zone)
        due = to_utc(wall.replace(hour=DIGEST_AT.hour, minute=DIGEST_AT.minute, second=0, microsecond=0), zone)
        if now < due:
            return
        with take_turn(clinic.store, "digest", now, unless_since=due) as ours:
            if not ours:
                return
            with clinic.store.read() as session:
                written = digest.write_digest(session, clinic)
            # The log has it whatever becomes of the mail: an alarm never rests on the mail server alone.
            log().info("digest", count=written.needs, unknown=written.unknown, failed=written.failed, held=written.held)
            if clinic.settings.alert_address and not await self._send(written):
                log().error("digest_not_sent", count=written.needs)

    async def _alert(self) -> None:
        """Tell at once that somebody asks for a call, and again after two opening hours in which nobody made it.

        While the mail server does not take it, it is tried again every five minutes.
        """
        clinic, now = self._clinic, self._clinic.clock.now()
        if clinic.settings.alert_address is None:
            return
        with clinic.store.read() as session:
            latest, told = find_latest_call(session), find_turn(session, "call alert")
            count = count_calls(session)
        if latest is None:
            return
        unless_since = latest
        if told is not None and latest <= told:
            if self._opening_hours(told, now) < CALL_WITHIN:
                return
            unless_since = told + timedelta(microseconds=1)  # another process may have told it again meanwhile
        if self._alert_tried_at is not None and timedelta(0) <= now - self._alert_tried_at < ALERT_AGAIN:
            return
        self._alert_tried_at = now
        try:
            with take_turn(clinic.store, "call alert", now, unless_since=unless_since) as ours:
                if ours and not await self._send(digest.call_alert(count)):
                    raise _NotSent  # it is not done then, and is tried again
        except _NotSent:
            log().error("alert_not_sent", count=count)

    def _opening_hours(self, since: datetime, until: datetime) -> timedelta:
        settings, holidays = self._clinic.settings, self._clinic.rules.holidays
        return settings.opening_hours.passed(since, until, settings.clinic_time_zone, lambda day: day in holidays)

    async def _send(self, written: digest.Digest) -> bool:
        return await send_to_staff(self._clinic, self._relay, written.subject, written.lines)
