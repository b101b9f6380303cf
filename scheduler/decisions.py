"""Use cases about one reminder: what staff decide is a fact that the planner reads, so it survives any replanning."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit
from db import care_plans as stored
from db import patients as stored_patients
from db.follow_up import CarePlan, Reminder
from db.reminders import find_reminder, list_rows, settle
from db.returned_mail import settle_reports
from db.states import DecisionKind, Reason, ReminderState
from scheduler.care_plans import replan
from scheduler.clinic import Clinic
from scheduler.entries import NOTE_LENGTH, clean_text
from scheduler.errors import InvalidInput, NotFound, Refused

# What may be decided in which state; everything else is refused with the way that is right.
_ALLOWED: dict[DecisionKind, frozenset[ReminderState]] = {
    DecisionKind.HOLD: frozenset({ReminderState.SCHEDULED, ReminderState.AWAITING_RETRY, ReminderState.SENDING}),
    DecisionKind.RESUME: frozenset({ReminderState.HELD}),
    DecisionKind.CANCEL: frozenset(
        {ReminderState.SCHEDULED, ReminderState.HELD, ReminderState.AWAITING_RETRY, ReminderState.SENDING}
    ),
    DecisionKind.RETRY: frozenset(
        {ReminderState.AWAITING_RETRY, ReminderState.FAILED, ReminderState.MISSED, ReminderState.HELD}
    ),
    DecisionKind.SEND_NOW: frozenset({ReminderState.SCHEDULED, ReminderState.HELD, ReminderState.AWAITING_RETRY}),
    DecisionKind.SEND_AGAIN: frozenset(
        {ReminderState.SENT, ReminderState.FAILED, ReminderState.MISSED, ReminderState.CANCELLED}
    ),
    DecisionKind.DONE: frozenset(ReminderState) - {ReminderState.CANCELLED, ReminderState.DONE},
    DecisionKind.KEEP: frozenset({ReminderState.SENT}),
    DecisionKind.REOPEN: frozenset(
        {ReminderState.DONE, ReminderState.CANCELLED, ReminderState.FAILED, ReminderState.MISSED}
    ),
    DecisionKind.RESOLVE_RECEIVED: frozenset({ReminderState.HELD}),
    DecisionKind.RESOLVE_RESEND: frozenset({ReminderState.HELD}),
}
_ENDED_BY_STAFF = frozenset({ReminderState.DONE, ReminderState.CANCELLED})
_ONLY_UNKNOWN = frozenset({DecisionKind.RESOLVE_RECEIVED, DecisionKind.RESOLVE_RESEND})


@dataclass(frozen=True, slots=True)
class Decided:
    """The reminder after a decision: the same row, or the new generation that the decision asked for."""

    reminder_id: UUID
    state: ReminderState
    reason: Reason | None


def decide(clinic: Clinic, actor: str, reminder_id: UUID, kind: DecisionKind, note: str | None = None) -> Decided:
    """Record a decision about one reminder and replan.

    Raises `NotFound`, or `Refused` when it cannot be decided in the reminder's state or its content may be on the
    wire. What the rules forbid (a stop, missing consent) stays forbidden: the answer shows the state it has then.
    "Done" about a message that was sent answers the question about it: what she has is enough.
    """
    cleaned, problem = clean_text(note or "", "note", NOTE_LENGTH)
    if problem:
        raise InvalidInput(problem)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        row = find_reminder(session, reminder_id)
        if row is None:
            raise NotFound(f"there is no reminder {reminder_id}")
        stored_patients.lock_patient(session, row.patient_id)
        session.refresh(row)
        if kind is DecisionKind.DONE and row.state is ReminderState.SENT:
            kind = DecisionKind.KEEP
        _check(row, kind)
        plan = session.get_one(CarePlan, row.care_plan_id)
        stored.add_decision(session, plan, row.step, row.occurrence, row.generation, kind, cleaned or None)
        audit.record(session, f"reminder.{kind.value}", "reminder", row.id, row.patient_id, ["decision"])
        settle(session, row, acted=kind is not DecisionKind.REOPEN)
        settle_reports(session, row.patient_id, row.id)
        replan(session, clinic, row.patient_id)
        latest = _latest(session, row)
        if kind is DecisionKind.REOPEN and row.state in _ENDED_BY_STAFF and latest.id == row.id:
            raise Refused("nothing would come of it: its time has passed, or what it was for has ended")
        return Decided(latest.id, latest.state, latest.reason)


def can_reopen(row: Reminder) -> bool:
    """Whether a person may take back that she ended this message, or that she acted on the line about it."""
    if row.state in (ReminderState.FAILED, ReminderState.MISSED):
        return row.settled_at is not None
    if row.unknowns:  # it may have arrived: taken back, it would leave a second time by itself
        return False
    return row.state is ReminderState.DONE or row.reason is Reason.BY_STAFF


def _check(row: Reminder, kind: DecisionKind) -> None:
    unknown = row.state is ReminderState.HELD and row.reason is Reason.UNKNOWN
    if row.open_attempt is not None:
        raise Refused("it is being handed to the mail server right now; look again in a moment")
    if kind in _ONLY_UNKNOWN and not unknown:
        raise Refused(f"it is {row.state.value}, not unknown: there is nothing to resolve")
    if unknown and kind not in _ONLY_UNKNOWN | {DecisionKind.DONE, DecisionKind.CANCEL}:
        raise Refused("it may have arrived: resolve it first (reminder resolve --as received, resend or done)")
    if row.reason is Reason.FOR_STAFF and kind in (DecisionKind.SEND_NOW, DecisionKind.RETRY):
        raise Refused("this is a line for staff, not a message: finish it with reminder resolve --as done")
    if kind is DecisionKind.REOPEN and row.state is ReminderState.CANCELLED and row.reason is not Reason.BY_STAFF:
        raise Refused("it was not cancelled by a person: what cancelled it has to change")
    if kind is DecisionKind.REOPEN and row.state in _ENDED_BY_STAFF and row.unknowns:
        raise Refused("it may have arrived, so it does not come back by itself; what was noted about it stands")
    if row.state not in _ALLOWED[kind]:
        raise Refused(f"it is {row.state.value}: {kind.value.replace('_', ' ')} is not possible")


def _latest(session: Session, row: Reminder) -> Reminder:
    same = [
        other
        for other in list_rows(session, [row.care_plan_id])
        if (other.step, other.occurrence) == (row.step, row.occurrence)
    ]
    return max(same, key=lambda other: other.generation)
