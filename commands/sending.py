"""What `send-due` prints; the command itself is in `service.py`, where the sender is put together."""

from datetime import datetime

from commands.context import print_line, print_table
from db import reminders
from db.states import ReminderState
from scheduler import gate_keeper
from scheduler.clinic import Clinic
from scheduler.plan_words import stands


def print_due(clinic: Clinic) -> None:
    """What would be sent now; nothing is changed."""
    now = clinic.clock.now()
    waiting = gate_keeper.look(clinic)
    if waiting.closed:
        print_line(f"Sending is stopped: {waiting.reason}")
    with clinic.store.read() as session:
        rows = [row for row in reminders.list_next_to_leave(session, 10_000) if row.ready_at <= now]
    print_table(
        ("reminder", "due", "step", "patient"),
        [(row.id, row.due_local.replace("T", " "), f"{row.step} {row.occurrence}", row.patient_id) for row in rows],
        "Nothing is due.",
    )
    if rows:
        print_line(f"{len(rows)} message(s) would leave.")


def print_sent(clinic: Clinic, since: datetime) -> None:
    """What this sweep did, counted by where each reminder stands now."""
    with clinic.store.read() as session:
        left = reminders.count_left(session, since)
        counts = reminders.count_by_state(session)
        due = reminders.list_next_to_leave(session, 20)
    print_line(f"{left} message(s) left.")
    for state in (ReminderState.AWAITING_RETRY, ReminderState.FAILED, ReminderState.HELD):
        if counts[state]:
            print_line(f"{counts[state]} {state.value}")
    for row in due:
        if row.ready_at <= clinic.clock.now():
            print_line(f"still due: {row.id} {stands(row)}")
