"""Any number of reminders in seconds: the rows of a small filled clinic, repeated by the database itself.

Only `reminders` grows, with all its indexes: enough for what is asked of that table, no record to be read by people.
"""

import statistics
import time
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    String,
    Uuid,
    case,
    cast,
    func,
    insert,
    literal,
    null,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.orm import Session

from db import sends
from db.base import Base
from db.follow_up import Reminder, Worker
from db.states import Audience, ReminderState
from scheduler.clinic import Clinic
from scheduler.clock import SystemClock

PORTION = 250_000  # rows in one transaction
BEYOND = 1_000  # a plan has fewer occurrences of a step than this
LIMIT = 200  # claimed at once while measuring, more than are due


def grow(clinic: Clinic, count: int) -> int:
    """Repeat the rows until there are `count`, half of them sent, half due in weeks; how many there are."""
    stored = select(func.count()).select_from(Reminder)
    with clinic.store.engine.connect() as connection:
        base = connection.scalar(stored) or 0
    times = max(count // base - 1, 0)
    step = max(PORTION // base, 1)
    # Built at the end, the indexes cost a fraction of what they cost row by row.
    indexes = list(Base.metadata.tables[Reminder.__tablename__].indexes)
    with clinic.store.engine.execution_options(writes=True).begin() as connection:
        for index in indexes:
            index.drop(connection)
    for first in range(1, times + 1, step):
        _repeat(clinic, first, min(first + step - 1, times))
    with clinic.store.engine.execution_options(writes=True).begin() as connection:
        for index in indexes:
            index.create(connection)
    later = SystemClock().now() + timedelta(days=20)
    with clinic.store.engine.execution_options(writes=True).begin() as connection:
        waiting = update(Reminder).where(Reminder.state == ReminderState.SCHEDULED)
        connection.execute(waiting.values(ready_at=later, expires_at=later + timedelta(days=3)))
        connection.execute(text("ANALYZE"))
        return connection.scalar(stored) or 0


def _repeat(clinic: Clinic, first: int, last: int) -> None:
    """One copy of every original row for each number from `first` to `last`."""
    numbers = select(literal(first).label("number")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.number + 1).where(numbers.c.number < last))
    number = numbers.c.number
    new_id: ColumnElement[Any]
    if clinic.store.is_sqlite:
        new_id = type_coerce(func.printf("%08x%s", number, func.substr(Reminder.id, 9)), Uuid)
    else:
        tail = func.substr(func.replace(cast(Reminder.id, String), "-", ""), 9)
        new_id = cast(func.concat(func.lpad(func.to_hex(number), 8, "0"), tail), Uuid)
    replaced = {
        "id": new_id,
        "occurrence": Reminder.occurrence + number * BEYOND,
        "message_id": Reminder.message_id + cast(number, String),
        # Half sent, half waiting; ended and live rows are in different indexes.
        "state": case((number % 2 == 0, ReminderState.SENT.value), else_=ReminderState.SCHEDULED.value),
        "reason": null(),
    }
    names = [column.key for column in Reminder.__table__.columns]
    columns = [replaced.get(name, getattr(Reminder, name)) for name in names]
    originals = select(*columns).select_from(Reminder).join(numbers, literal(True)).order_by(number)
    with clinic.store.engine.execution_options(writes=True).begin() as connection:
        rows = originals.where(Reminder.occurrence < BEYOND)
        if not clinic.store.is_sqlite:  # what the copies refer to is there: their originals refer to it
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(insert(Reminder).from_select(names, rows))


def time_claim(clinic: Clinic, due: int = 100, turns: int = 25) -> float:
    """Median milliseconds to find and claim `due` due reminders among all; each claim is rolled back."""
    now = SystemClock().now()
    engine = clinic.store.engine.execution_options(writes=True)
    chosen = select(Reminder.id).where(Reminder.audience == Audience.PATIENT, Reminder.state == ReminderState.SCHEDULED)
    with Session(engine) as session:
        worker_id = session.scalars(select(Worker.id).limit(1)).one()
        ids = session.scalars(chosen.limit(due)).all()
        session.execute(
            update(Reminder).where(Reminder.id.in_(ids)).values(ready_at=now - timedelta(seconds=30)),
            execution_options={"synchronize_session": False},
        )
        session.commit()
        took = []
        for _ in range(turns):
            began = time.perf_counter()
            found = sends.claim_due(session, worker_id, now, LIMIT)
            took.append((time.perf_counter() - began) * 1_000)
            session.rollback()
            if len(found) != due:
                raise RuntimeError(f"{len(found)} were found due, not {due}")
    return statistics.median(took)
