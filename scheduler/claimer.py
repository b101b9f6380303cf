"""The claimer: takes what is due and writes its mails before any attempt exists; what cannot go is put aside.

What is claimed together is read together. Sending what is ready is `scheduler.dispatcher`'s; this runs in a thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db import audit, sends
from db import patients as stored_patients
from db.follow_up import Reminder
from db.letters import Addressee
from db.states import Reason
from scheduler import compose, kill_points, outcomes, pace
from scheduler.at_work import AtWork
from scheduler.care_plans import replan
from scheduler.clinic import Clinic
from scheduler.local_time import next_allowed
from scheduler.logs import log
from scheduler.messages import RenderFailed
from scheduler.mime import HeaderRefused
from scheduler.recorder import ACTOR


@dataclass(frozen=True, slots=True)
class Ready:
    """A claim and its finished mail."""

    claim: sends.Claim
    letter: compose.Letter


class Claimer:
    """Claims for one worker. Not for several threads at once."""

    def __init__(self, clinic: Clinic, worker_id: UUID) -> None:
        self._clinic = clinic
        self._at_work = AtWork(clinic.settings.data_dir, worker_id)
        self._worker_id = worker_id
        self._kept: list[sends.Claim] = []  # to be given back as soon as the database is there again

    def claim(self, limit: int) -> tuple[int, list[Ready]]:
        """Claim up to `limit` due messages and write them. How many were claimed, and what is ready of them."""
        clinic = self._clinic
        now = clinic.clock.now()
        kept = list(self._kept)
        with clinic.store.write(ACTOR, now) as session:
            for claim in kept:
                sends.give_back(session, claim)
            limit = min(limit, pace.left(session, clinic, now))
            late = pace.is_backlog(session, now)
            claims = sends.claim_due(session, self._worker_id, now, limit, late) if limit > 0 else []
        del self._kept[: len(kept)]
        if not claims:
            return 0, []
        kill_points.reach("after_claim")
        try:
            ready = self._write(claims, now)
        except OperationalError:
            self._kept += claims
            raise
        if ready:
            kill_points.reach("after_render")
        return len(claims), ready

    def close(self) -> None:
        """Nothing more is claimed."""
        self._at_work.close()

    def keep(self, claim: sends.Claim) -> None:
        """Remember a claim that could not be given back, for the next time the database answers."""
        self._kept.append(claim)

    def give_back(self, claim: sends.Claim, error: bool = False) -> None:
        """Return a claim that was never marked. `error`: it broke down, which is counted and waits a little."""
        if error:
            self._broke(claim, RuntimeError())
            return
        with self._clinic.store.write(ACTOR, self._clinic.clock.now()) as session:
            sends.give_back(session, claim)

    def _write(self, claims: Sequence[sends.DueClaim], now: datetime) -> list[Ready]:
        """The finished mails of these claims; whatever cannot be sent is put where it belongs."""
        ready = []
        with self._clinic.store.read() as session:
            letters = compose.Letters(session, self._clinic, {claim.care_plan_id for claim in claims})
            for claim in claims:
                with self._at_work.on(claim.reminder_id):
                    kill_points.reach("in_render")
                    letter = self._write_one(session, letters, claim, now)
                if letter is not None:
                    ready.append(Ready(claim, letter))
        return ready

    def _write_one(
        self, session: Session, letters: compose.Letters, claim: sends.DueClaim, now: datetime
    ) -> compose.Letter | None:
        try:
            addressee = letters.addressees[claim.care_plan_id]
            if addressee.planned_with != self._clinic.fingerprint:
                self._plan_again(claim)
                return None
            if pace.is_late(claim, now):
                until = self._find_later(session, claim, addressee, now)
                if until is not None:
                    self._put_off(claim, until)
                    return None
            if outcomes.may_be_at_old_address(session, claim, addressee.email_version):
                self._hold(claim, Reason.UNKNOWN)
                return None
            return letters.write(claim)
        except OperationalError:
            raise  # the database is away: this reminder is not to blame
        except compose.Revealing:
            self._hold(claim, Reason.REVEALING_TEXT)
        except (RenderFailed, compose.NothingToSend, HeaderRefused):
            self._hold(claim, Reason.RENDER_FAILED)
        except Exception as error:  # noqa: BLE001 (one reminder: whatever is wrong with it must not stop the others)
            self._broke(claim, error)
        return None

    def _plan_again(self, claim: sends.Claim) -> None:
        """Its time was found with other settings, a wider sending window perhaps: it is planned anew first."""
        with self._clinic.store.write(ACTOR, self._clinic.clock.now()) as session:
            stored_patients.lock_patient(session, claim.patient_id)  # before the reminder, in the planner's order
            if sends.give_back(session, claim):
                replan(session, self._clinic, claim.patient_id)

    def _find_later(
        self, session: Session, claim: sends.DueClaim, addressee: Addressee, now: datetime
    ) -> datetime | None:
        """When a late one leaves instead of now: it is night where she is, or she gets another one today."""
        allowed = next_allowed(now, addressee.time_zone, self._clinic.rules.window)
        return allowed if allowed > now else pace.find_other_day(session, self._clinic, claim, addressee, now)

    def _put_off(self, claim: sends.DueClaim, until: datetime) -> None:
        """What was due while nobody could send it waits for the morning or another day, or is missed."""
        with self._clinic.store.write(ACTOR, self._clinic.clock.now()) as session:
            if until >= claim.expires_at:
                sends.miss_claimed(session, claim)
            else:
                sends.give_back(session, claim, ready_at=until)

    def _hold(self, claim: sends.Claim, reason: Reason) -> None:
        log().error("reminder_held", reminder_id=str(claim.reminder_id), reason=reason.value)
        with self._clinic.store.write(ACTOR, self._clinic.clock.now()) as session:
            if sends.hold_claimed(session, claim, reason):
                audit.record(session, f"reminder.held_{reason.value}", "reminder", claim.reminder_id, claim.patient_id)

    def _broke(self, claim: sends.Claim, error: BaseException) -> None:
        log().error("reminder_broke", reminder_id=str(claim.reminder_id), error=type(error).__name__)
        with self._clinic.store.write(ACTOR, self._clinic.clock.now()) as session:
            row = session.get(Reminder, claim.reminder_id)
            sends.count_error(session, claim, row.errors if row else 0)
