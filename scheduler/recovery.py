"""What runs at start and every few seconds: claims of dead workers, what ran out, lines for staff, replanning.

A claim without a mark is certainly unsent and returns to scheduled; a mark without a record is unknown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db import care_plans as stored_plans
from db import gate, reminders, sends
from db import patients as stored_patients
from db.follow_up import Reminder
from db.states import AttemptOutcome, ReminderState
from scheduler import outcomes
from scheduler.at_work import list_deaths
from scheduler.care_plans import replan
from scheduler.clinic import Clinic
from scheduler.gate_watch import IN_DOUBT
from scheduler.logs import log
from scheduler.outcomes import Ended
from scheduler.recorder import ACTOR

DEAD_AFTER = timedelta(seconds=60)  # without a heartbeat (every 10 s)
FORGOTTEN_AFTER = timedelta(minutes=2)  # longer than a claim waits for its mark unless the mail server is slow
REPLAN_AT_ONCE = 50  # patients read in one query; each is planned in a transaction of her own


@dataclass(frozen=True, slots=True)
class Recovered:
    """What recovery found: claims given back, and attempts whose answer is lost."""

    given_back: int = 0
    unknown: int = 0


def recover(clinic: Clinic, worker_id: UUID, everyone_else: bool) -> Recovered:
    """Give back or settle the claims of dead workers.

    `everyone_else`: all other workers are dead (on SQLite one process sends); else those silent for a minute, and
    those that ended and could not return what they had.
    """
    now = clinic.clock.now()
    with clinic.store.read() as session:
        if everyone_else:
            rows = [row.id for row in sends.list_foreign_claims(session, worker_id)]
        else:
            rows = [row.id for row in sends.list_claims_of_dead(session, now - DEAD_AFTER, worker_id)]
    given_back = unknown = 0
    for reminder_id in rows:
        try:
            settled = _settle(clinic, worker_id, reminder_id)
        except OperationalError:
            raise  # the database is away: nothing can be settled now
        except Exception as error:  # noqa: BLE001 (one reminder: what cannot be settled must not stop the others)
            log().error("claim_not_recovered", reminder_id=str(reminder_id), error=type(error).__name__)
            continue
        given_back += settled is False
        unknown += settled is True
    if rows:
        log().warning("claims_recovered", count=given_back, unknown=unknown)
    return Recovered(given_back, unknown)


def blame_dead(clinic: Clinic) -> int:
    """Count each death of a process against the one message that it was writing; after three a person has to look.

    Messages merely claimed beside it are given back by `recover` and never blamed. How many were blamed.
    """
    blamed = 0
    for death in list_deaths(clinic.settings.data_dir):
        if death.reminder_id is not None:
            with clinic.store.write(ACTOR, clinic.clock.now()) as session:
                blamed += _blame(session, death.reminder_id, death.worker_id)
        death.file.unlink(missing_ok=True)
    return blamed


def _blame(session: Session, reminder_id: UUID, worker_id: UUID) -> bool:
    row = session.get(Reminder, reminder_id, with_for_update=True)
    if row is None or row.state is not ReminderState.SENDING or row.worker_id != worker_id or row.open_attempt:
        return False
    log().error("message_ended_process", reminder_id=str(reminder_id), count=row.errors + 1)
    claim = sends.Claim(row.id, row.patient_id, row.care_plan_id, row.fence)
    sends.count_error(session, claim, row.errors)
    return True


def _settle(clinic: Clinic, worker_id: UUID, reminder_id: UUID) -> bool | None:
    """True: its answer is lost; False: it was certainly not sent; None: somebody settled it meanwhile."""
    with clinic.store.write(ACTOR, clinic.clock.now()) as session:
        row = session.get(Reminder, reminder_id)
        if row is None:
            return None
        stored_patients.lock_patient(session, row.patient_id)  # before the reminder, in the planner's order
        session.refresh(row, with_for_update=True)
        if row.state is not ReminderState.SENDING or row.worker_id in (None, worker_id):
            return None
        if row.open_attempt is None:
            claim = sends.Claim(row.id, row.patient_id, row.care_plan_id, row.fence)
            return None if not sends.give_back(session, claim) else False
        attempt = sends.find_attempt(session, row.open_attempt)
        outcomes.write(
            session,
            clinic,
            Ended(
                reminder_id=row.id,
                attempt=row.open_attempt,
                worker_id=attempt.worker_id,
                fence=row.fence,
                email_version=attempt.email_version,
                outcome=AttemptOutcome.UNKNOWN,
                phase="lost",
            ),
        )
        return True


def give_back_forgotten(clinic: Clinic, worker_id: UUID) -> int:
    """Give back what this process claimed, never marked and still has after minutes; how many.

    The database went away in the middle of its claim or of its return. If it is in work after all, its mark fails.
    """
    now = clinic.clock.now()
    with clinic.store.read() as session:
        kept = sends.list_claims_of(session, worker_id)
        claims = [
            sends.Claim(row.id, row.patient_id, row.care_plan_id, row.fence)
            for row in kept
            if row.open_attempt is None and row.changed_at < now - FORGOTTEN_AFTER
        ]
    if not claims:
        return 0
    with clinic.store.write(ACTOR, now) as session:
        given_back = sum(sends.give_back(session, claim) for claim in claims)
    log().warning("claims_recovered", count=given_back)
    return given_back


def sweep(clinic: Clinic) -> None:
    """Reminders past their end become missed, and lines for staff whose time has come are raised.

    Not while the gate is closed over a doubt what the time is, or what has left already: a missed one is final.
    """
    now = clinic.clock.now()
    with clinic.store.write(ACTOR, now) as session:
        if gate.get_gate(session).cause in IN_DOUBT:
            return
        plans = reminders.expire(session, now)
        reminders.raise_staff_lines(session, now)
        reminders.complete_idle_plans(session, plans)


def replan_outdated(clinic: Clinic, go_on: Callable[[], bool] = lambda: True) -> int:
    """Replan every patient whose plan was made with other settings, holidays or zone data; how many."""
    done = 0
    failed: set[UUID] = set()
    while go_on():
        with clinic.store.read() as session:
            limit = REPLAN_AT_ONCE + len(failed)
            found = stored_plans.list_patients_planned_otherwise(session, clinic.fingerprint, limit)
        outdated = [patient_id for patient_id in found if patient_id not in failed]
        if not outdated:
            break
        for patient_id in outdated:
            try:
                with clinic.store.write(ACTOR, clinic.clock.now()) as session:
                    replan(session, clinic, patient_id)
                done += 1
            except OperationalError:
                raise
            except Exception as error:  # noqa: BLE001 (one patient: her plan stays as it was, the others follow)
                log().error("replanning_failed", patient_id=str(patient_id), error=type(error).__name__)
                failed.add(patient_id)
    return done
