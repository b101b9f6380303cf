"""Use cases about the gate: the stop button, and releasing it with open eyes.

What closes it by itself is in `scheduler.gate_watch`, what a release holds for lost stops in `scheduler.stop_journal`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from db import audit, gate, reminders, sends
from db.states import GateCause, GateState
from scheduler import gate_watch, permit, recovery, stop_journal, stop_log
from scheduler.clinic import Clinic
from scheduler.entries import clean_text
from scheduler.errors import InvalidInput
from scheduler.gate_watch import Seen
from scheduler.stop_journal import Lost, Replayed

# The record is older than what happened: what is due in it may have left already.
PUT_BACK = frozenset({GateCause.OLDER, GateCause.RESTORED})
# It may be older: only a person knows whether something was sent from elsewhere meanwhile.
PERHAPS_PUT_BACK = frozenset({GateCause.SILENT, GateCause.MOVED})
AHEAD = timedelta(days=14)  # without a journal, patients with a message in this time are listed
LISTED = 500  # of them so many; more are counted


@dataclass(frozen=True, slots=True)
class Waiting:
    """What opening the gate would let leave, and what it would hold instead."""

    closed: bool
    reason: str | None
    cause: GateCause | None
    due: int  # messages that would leave at once, or become unknown
    first: tuple[tuple[str, str], ...]  # reminder id and due time of the first due ones
    next_at: datetime | None
    since: datetime | None  # the instant of the backup, or the older state, that was put back
    until: datetime | None  # what was entered between the two is not in this record; None: nobody knows until when
    lost: Lost | None  # stops the journal has and this record lacks; None while the gate is open
    upcoming: Sequence[tuple[UUID, str]]  # without a journal: patients with a message soon, and when

    @property
    def was_put_back(self) -> bool | None:
        """Whether what is due may have left already; None: a person has to say."""
        if self.cause in PUT_BACK:
            return True
        return None if self.cause in PERHAPS_PUT_BACK and self.due else False


@dataclass(frozen=True, slots=True)
class Released:
    """What a release did: messages whose fate a person has to settle, and stops that were held."""

    unknown: int
    replayed: Replayed


def close(clinic: Clinic, actor: str, reason: str) -> None:
    """Stop all sending at once; what is on the wire finishes. Raises `InvalidInput` without a reason."""
    cleaned, problem = clean_text(reason, "reason", 500)
    if problem or not cleaned:
        raise InvalidInput(problem or "reason: say why sending is stopped")
    with clinic.store.write(actor, clinic.clock.now()) as session:
        gate.close_gate(session, cleaned)


def close_after_restore(session: Session, backup_at: datetime) -> None:
    """A backup of that instant was put back: nothing leaves until a person has looked. For the caller's transaction."""
    gate.close_gate(
        session,
        f"a backup of {backup_at:%Y-%m-%d %H:%M} UTC was put back: what was entered or sent since is not in it",
        GateCause.RESTORED,
    )
    gate.note_restore(session, backup_at)


def look(clinic: Clinic, first: int = 20) -> Waiting:
    """What waits behind the gate."""
    now = clinic.clock.now()
    with clinic.store.read() as session:
        seen = gate_watch.look(session, clinic)
        row, closed = seen.row, seen.row.state is GateState.CLOSED
        rows = [r for r in reminders.list_next_to_leave(session, first) if r.ready_at <= now]
        lost = stop_journal.find_lost(session, clinic) if closed else None
        blind = lost is not None and not lost.journal.exists and row.cause in PUT_BACK | PERHAPS_PUT_BACK
        return Waiting(
            closed=closed,
            reason=row.reason,
            cause=row.cause if closed else None,
            due=reminders.count_due(session, now),
            first=tuple((str(r.id), r.due_local) for r in rows),
            next_at=reminders.find_next_ready(session),
            since=row.restored_from,
            until=_lacks_until(seen, lost),
            lost=lost,
            upcoming=reminders.list_patients_soon(session, now + AHEAD, LISTED) if blind else (),
        )


def find_fault_here(clinic: Clinic) -> str | None:
    """Why this place must not send although the gate is open: a machine that was added has no permit yet."""
    with clinic.store.read() as session:
        fault = gate_watch.find_fault(gate_watch.look(session, clinic))
    return fault.reason if fault else None


def release(clinic: Clinic, actor: str, put_back: bool | None = None) -> Released:
    """Hold what the stop journal has and this record lacks, then open the gate.

    `put_back`: the record is older than what happened, so what is due may have left already and becomes unknown; it
    goes without saying after a restore. Raises `InvalidInput` when a person has to say it and has not.
    """
    waiting = look(clinic)
    is_older = waiting.was_put_back
    if put_back is not None and is_older is not True:
        is_older = put_back
    if is_older is None:
        raise InvalidInput(
            f"{waiting.due} message(s) are due and may have left already, if this record is an earlier state of one "
            "that went on: say --put-back (a person settles each), or --was-off (nothing was sent meanwhile)"
        )
    # First, while nothing is held for a lost stop: what is given back later must not leave a second time by itself.
    unknown = _doubt(clinic, actor) if is_older else 0
    replayed = stop_journal.replay(clinic, actor, shown=True)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        gate.open_gate(session)
        _permit_here(session, clinic)
    return Released(unknown, replayed)


def _doubt(clinic: Clinic, actor: str) -> int:
    recovery.recover(clinic, uuid4(), everyone_else=False)  # what was claimed then is nobody's now
    now = clinic.clock.now()
    with clinic.store.write(actor, now) as session:
        unknown = sends.doubt_due(session, now)
        for reminder_id, patient_id in unknown:
            audit.record(session, "reminder.held_unknown", "reminder", reminder_id, patient_id)
    return len(unknown)


def _permit_here(session: Session, clinic: Clinic) -> None:
    """From here on this place may send: its permit is written anew, and no attempt's number is given out twice."""
    seen = gate_watch.look(session, clinic)
    own = seen.found.permit
    given = max(seen.row.last_attempt, own.attempt if own else 0)
    installation_id = seen.row.installation_id or uuid4()
    gate.set_installation(session, installation_id, given)
    stop = stop_log.last_number(stop_log.path_of(clinic.settings))
    permit.write_permit(permit.path_of(clinic.settings), installation_id, given, seen.event, stop, seen.now)


def _lacks_until(seen: Seen, lost: Lost | None) -> datetime | None:
    """The last instant of which anything outside this record tells: the permit, or the stop journal."""
    own, since = seen.found.permit, seen.row.restored_from
    ends = [own.at] if own and own.installation_id == seen.row.installation_id else []
    ends += [lost.span[1]] if lost and lost.span else []
    return max((end for end in ends if since is not None and end > since), default=None)
