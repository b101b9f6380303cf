"""What closes the gate by itself, at a start and at every sweep: another or older record, a long silence, a backlog, a
clock that was set.

What a person does about it, and what a release then does, is in `scheduler.gate_keeper`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy.orm import Session

from db import audit, gate, reminders
from db.follow_up import Gate
from db.states import GateCause, GateState
from scheduler import permit, stop_log
from scheduler.clinic import Clinic
from scheduler.logs import log
from scheduler.recorder import ACTOR

DOWNTIME = timedelta(minutes=10)  # after this long without a sign of life a backlog is looked at before it leaves
SILENCE = timedelta(hours=72)  # after this long nobody can tell a machine that was off from one that was put back
# While the gate is closed over these, what "now" is, or what has left already, is in doubt: nothing may run out.
IN_DOUBT = frozenset({GateCause.CLOCK, GateCause.SILENT, GateCause.MOVED, GateCause.OLDER, GateCause.RESTORED})


@dataclass(frozen=True, slots=True)
class Closing:
    """A reason to close the gate."""

    cause: GateCause
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What is looked at, at one instant."""

    now: datetime
    row: Gate
    found: permit.Found
    event: int  # the number of the trail's last event
    heartbeat_at: datetime | None
    is_new: bool  # nothing was ever sent from this record: it has no permit yet, and gets one


def look(session: Session, clinic: Clinic) -> Seen:
    """Read the gate, the permit beside the keys and the last sign of life."""
    last, row = gate.find_latest_worker(session), gate.get_gate(session)
    found = permit.read_permit(permit.path_of(clinic.settings))
    own = found.permit
    untouched = not found.exists or (own is not None and own.attempt == 0 and found.is_itself)
    return Seen(
        now=clinic.clock.now(),
        row=row,
        found=found,
        event=audit.count_events(session),
        heartbeat_at=last.heartbeat_at if last else None,
        is_new=row.installation_id is None and row.last_attempt == 0 and untouched,
    )


def find_fault(seen: Seen) -> Closing | None:
    """Why this record, in this place, must not send by itself; None when it may."""
    found, row = seen.found, seen.row
    if seen.is_new:
        return None
    if found.permit is None:
        state = "damaged" if found.exists else "missing"
        return Closing(
            GateCause.MOVED,
            f"the permit beside the keys is {state} and this record has been sent from: "
            "is this the only place where it lives, and its latest state?",
        )
    if found.permit.installation_id != row.installation_id:
        return Closing(GateCause.MOVED, "the permit beside the keys belongs to another installation than this record")
    if found.permit.attempt > row.last_attempt or found.permit.event > seen.event:
        return Closing(
            GateCause.OLDER,
            f"this record is older than what was done with it: it knows {row.last_attempt} sends and {seen.event} "
            f"entries of the trail, there have been {found.permit.attempt} and {found.permit.event}",
        )
    if not found.is_itself:
        return Closing(GateCause.MOVED, "the folder of the keys is a copy: two copies of a record must not both send")
    return None


def find_silence(seen: Seen) -> Closing | None:
    """Whether the last sign of life is too old, or lies ahead."""
    if seen.heartbeat_at is None:
        return None
    silent = seen.now - seen.heartbeat_at
    if silent > SILENCE:
        days = silent // timedelta(days=1)
        return Closing(
            GateCause.SILENT,
            f"the last sign of life is {days} days old: was the machine off, or was it put back to an earlier state?",
        )
    if silent < -gate.AHEAD:
        return Closing(GateCause.CLOCK, "the clock stands before the last sign of life: was it set back?")
    return None


def check_start(clinic: Clinic, has_relay: bool) -> None:
    """Close the gate where a start must not send by itself; give a new record its permit.

    Raises `PermitUnwritable`.
    """
    with clinic.store.write(ACTOR, clinic.clock.now()) as session:
        seen = look(session, clinic)
        if seen.is_new:
            _give_permit(session, clinic, seen)
        closing = _weightiest(find_fault(seen), find_silence(seen), *_at_start(session, clinic, seen, has_relay))
        if closing is not None:
            _close(session, seen.row, closing)
        elif seen.row.state is GateState.OPEN and has_relay:
            gate.remember_relay(session)


def check_sweep(clinic: Clinic, slept: timedelta) -> None:
    """Close the gate where a running service must not go on by itself, else write on the permit how far it has come.

    `slept` is the time since the last sweep, in which the machine may have been suspended: that is downtime.
    """
    with clinic.store.read() as session:
        seen = look(session, clinic)
        closing = _weightiest(
            find_fault(seen), find_silence(seen), _backlog(session, clinic, seen) if slept > DOWNTIME else None
        )
    if closing is not None:
        with clinic.store.write(ACTOR, clinic.clock.now()) as session:
            _close(session, gate.lock_gate(session), closing)
    if closing is None:
        _renew_permit(clinic, seen)


def close_for_clock(clinic: Clinic, jump: timedelta) -> None:
    """The clock was set while the service ran: nothing leaves until a person has looked."""
    way = "forward" if jump > timedelta(0) else "back"
    minutes = abs(jump) // timedelta(minutes=1)
    by = f"{minutes} minutes" if minutes < 180 else f"{minutes // 60} hours"
    with clinic.store.write(ACTOR, clinic.clock.now()) as session:
        reason = f"the clock was set {way} by {by} while the service ran: is it right now?"
        _close(session, gate.lock_gate(session), Closing(GateCause.CLOCK, reason), again=True)


def note_progress(clinic: Clinic) -> None:
    """At an orderly end: write on the permit how far this record has come."""
    with clinic.store.read() as session:
        seen = look(session, clinic)
    if find_fault(seen) is None:
        _renew_permit(clinic, seen)


def _renew_permit(clinic: Clinic, seen: Seen) -> None:
    """Write on our own permit how far this record has come. Another's is left as it is: it says what is wrong."""
    own, row = seen.found.permit, seen.row
    if row.cause in IN_DOUBT:
        return  # what it says of the later state is what a release tells
    if own is None or not seen.found.is_itself or own.installation_id != row.installation_id:
        return
    reached = (row.last_attempt, seen.event, stop_log.last_number(stop_log.path_of(clinic.settings)))
    before = (own.attempt, own.event, own.stop)
    if reached == before or any(now < then for now, then in zip(reached, before, strict=True)):
        return
    try:
        permit.write_permit(permit.path_of(clinic.settings), own.installation_id, *reached, seen.now)
    except permit.PermitUnwritable:
        # What it says stays true and is only older: no reason to stop anything. `check` tells of it.
        log().error("permit_not_renewed")


def _give_permit(session: Session, clinic: Clinic, seen: Seen) -> None:
    # The file first: a kill in between leaves a permit that says nothing was sent, and the record takes it over.
    own = seen.found.permit
    installation_id = uuid4() if own is None else own.installation_id
    permit.write_permit(permit.path_of(clinic.settings), installation_id, 0, seen.event, 0, seen.now)
    gate.set_installation(session, installation_id, 0)


def _at_start(session: Session, clinic: Clinic, seen: Seen, has_relay: bool) -> Iterator[Closing | None]:
    if seen.row.used_relay and not has_relay:
        yield Closing(GateCause.NO_RELAY, "no mail server is set, but this record has been sent from through one")
    if seen.heartbeat_at is not None and seen.now - seen.heartbeat_at > DOWNTIME:
        yield _backlog(session, clinic, seen)


def _backlog(session: Session, clinic: Clinic, seen: Seen) -> Closing | None:
    due = reminders.count_due(session, seen.now)
    if due <= clinic.settings.backlog_limit:
        return None
    return Closing(GateCause.BACKLOG, f"{due} messages fell due while the service was off; look at them and release")


def _weightiest(*closings: Closing | None) -> Closing | None:
    order = list(GateCause)
    return max((one for one in closings if one is not None), key=lambda one: order.index(one.cause), default=None)


def _close(session: Session, row: Gate, closing: Closing, again: bool = False) -> None:
    """Close over it, unless it is closed over as much already."""
    told = row.state is GateState.CLOSED and not gate.is_weightier(closing.cause, row.cause)
    if told and not (again and closing.cause is row.cause):
        return
    log().error("gate_closed", reason=closing.cause.value)
    last = audit.find_last(session)
    if closing.cause is GateCause.OLDER and last is not None:
        gate.note_restore(session, last.at)
    gate.close_gate(session, closing.reason, closing.cause)
