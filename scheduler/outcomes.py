"""Writing down how attempts ended, with all that follows, inside one transaction of the caller.

The rule itself is in `scheduler.after_attempt`; who calls is the recorder after a reply, and recovery after a crash.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import SystemRandom
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit, marks, reminders, sends
from db import care_plans as stored_plans
from db import patients as stored_patients
from db.engine import instant_of
from db.follow_up import Reminder
from db.records import Patient
from db.states import AddressFactKind, AttemptOutcome, DecisionKind, Reason, ReminderState
from scheduler.after_attempt import Tried, what_next
from scheduler.care_plans import replan
from scheduler.clinic import Clinic

_draw = SystemRandom()


@dataclass(frozen=True, slots=True)
class Ended:
    """How one attempt ended, as seen on the wire. `attempt` is None when it ended before its mark."""

    reminder_id: UUID
    attempt: int | None
    worker_id: UUID
    fence: int
    email_version: int
    outcome: AttemptOutcome
    blames_address: bool = False
    phase: str | None = None
    code: int | None = None
    enhanced: str | None = None
    reply: str | None = None
    to_folder: bool = False


def write(session: Session, clinic: Clinic, ended: Ended) -> ReminderState | None:
    """Record one outcome and replan the patient, so that nothing is retried after a stop.

    Accepted ones come in groups, to `write_accepted`. Returns the reminder's state, None when it was not under this
    fence any more (the attempt's row still tells).
    """
    at = instant_of(session)
    row = reminders.find_reminder(session, ended.reminder_id)
    if row is None:
        return None
    if ended.outcome is AttemptOutcome.ACCEPTED and ended.attempt is not None:
        write_accepted(session, clinic, [ended])
        session.refresh(row)
        return row.state if (row.state, row.fence) == (ReminderState.SENT, ended.fence + 1) else None
    stored_patients.lock_patient(session, row.patient_id)  # before the reminder, in the planner's order
    session.refresh(row)
    patient = session.get_one(Patient, row.patient_id)
    step = what_next(ended.outcome, _tried(session, row, patient, ended, at), at, _draw.random(), ended.to_folder)
    written = sends.record(
        session,
        sends.Outcome(
            reminder_id=ended.reminder_id,
            attempt=ended.attempt,
            worker_id=ended.worker_id,
            fence=ended.fence,
            email_version=ended.email_version,
            outcome=ended.outcome,
            phase=ended.phase,
            code=ended.code,
            enhanced=ended.enhanced,
            reply=ended.reply or None,
            state=step.state,
            reason=step.reason,
            ready_at=step.ready_at,
        ),
    )
    session.flush()
    if ended.blames_address:
        refuse_address(session, patient, ended.email_version)
    replan(session, clinic, patient.id)
    return written.state if written else None


def write_accepted(session: Session, clinic: Clinic, group: Sequence[Ended]) -> None:
    """Record accepted outcomes of marked messages, all at once; who was planned meanwhile is planned anew."""
    reason = {True: Reason.WRITTEN_TO_FOLDER, False: None}
    plans, anew = marks.record_accepted(
        session,
        [
            marks.Accepted(
                each.reminder_id,
                each.attempt,
                each.phase,
                each.code,
                each.enhanced,
                each.reply,
                reason[each.to_folder],
            )
            for each in group
            if each.attempt is not None
        ],
    )
    reminders.complete_idle_plans(session, plans)
    for patient_id in sorted(anew):
        replan(session, clinic, patient_id)


def refuse_address(session: Session, patient: Patient, email_version: int) -> bool:
    """Record that this version of her address refuses mail; False when she has another by now. Planning follows it."""
    if patient.email_version != email_version:
        return False
    stored_patients.add_address_fact(session, patient, AddressFactKind.REFUSED)
    audit.record(session, "address.refused", "patient", patient.id, patient.id, ["email"])
    return True


def may_be_at_old_address(session: Session, claim: sends.DueClaim, email_version: int) -> bool:
    """Whether its last attempt is unknown, went to an address she no longer has, and nobody has decided since.

    Such a reminder is never repeated by itself: the old address may have it, and the new one may be another's.
    """
    if not claim.unknowns:
        return False
    tries = sends.list_attempts(session, claim.id)
    if not tries:  # unknown since a restore: what became of it is not in this record
        return False
    last = tries[-1]
    if last.outcome is not AttemptOutcome.UNKNOWN or last.email_version == email_version:
        return False
    key = claim.step, claim.occurrence, claim.generation
    return not any(
        decision.kind is DecisionKind.RESOLVE_RESEND
        and (decision.step, decision.occurrence, decision.generation) == key
        and decision.recorded_at >= (last.recorded_at or last.marked_at)
        for decision in stored_plans.list_decisions(session, [claim.care_plan_id])
    )


def _tried(session: Session, row: Reminder, patient: Patient, ended: Ended, at: datetime) -> Tried:
    return Tried(
        attempts=row.attempts + (1 if ended.attempt is None else 0),
        unknowns=row.unknowns,
        first_tried_at=sends.find_first_try(session, row.id) or at,
        on_unknown=row.on_unknown,
        same_address=patient.email_version == ended.email_version,
    )
