"""Each query that an index was made for uses it on both databases, among thousands of rows that it does not ask for.

The statements are those the program sends, explained with the values it sends them with.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import event, insert, select, text
from sqlalchemy.orm import Session

from db import board, gate, reminders, sends, worklist
from db.board import BoardFilter
from db.follow_up import Reminder, Review
from db.states import Reason, ReminderState, ReviewStatus
from db.turns import find_turn
from db.types import new_id
from scheduler.sender import Sender
from tests.clinic import Desk

SENT, OTHERS = 4000, 20  # reminders that have ended, and those of each other state
HELD_REASONS = (Reason.UNKNOWN, Reason.FOR_STAFF, Reason.HOLD)
# Of a state that few rows have, the index by state has the very same rows.
SAME = dict.fromkeys(("ix_reminders_claimed", "ix_reminders_held"), "ix_reminders_state_changed")
Statement = tuple[str, Any]


@contextmanager
def gathering(desk: Desk) -> Iterator[list[Statement]]:
    """The statements about reminders and reviews sent meanwhile, with their values."""
    found: list[Statement] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *more: Any) -> None:
        if "reminders" in statement or "reviews" in statement:
            found.append((statement, parameters))

    event.listen(desk.store.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(desk.store.engine, "before_cursor_execute", note)


def explained(desk: Desk, statement: Statement) -> str:
    """How the database would answer a statement."""
    words = "EXPLAIN QUERY PLAN " if desk.store.is_sqlite else "EXPLAIN "
    with desk.store.engine.connect() as connection:
        return "\n".join(str(row) for row in connection.exec_driver_sql(words + statement[0], statement[1]))


def fill(desk: Desk) -> UUID:
    """A record whose past is much longer than its present; the worker that has claimed a little of it."""
    desk.treat(desk.enter())
    worker_id, now = desk.worker(), desk.clock.now()
    with desk.store.read() as session:
        row, review = session.scalars(select(Reminder)).first(), session.scalars(select(Review)).first()
    assert row is not None
    assert review is not None
    one = {column.key: getattr(row, column.key) for column in Reminder.__table__.columns}
    look = {column.key: getattr(review, column.key) for column in Review.__table__.columns}
    rows: list[dict[str, Any]] = []
    reviews: list[dict[str, Any]] = []

    def add(state: ReminderState, reason: Reason | None, days: float, **more: Any) -> None:
        at, number = now + timedelta(days=days), len(rows) + 100
        times = {"due_at": at, "ready_at": at, "expires_at": at + timedelta(days=1), "changed_at": min(at, now)}
        rows.append(
            {**one, **times, "id": new_id(), "occurrence": number, "message_id": f"<{number}@example.org>"}
            | {"state": state, "reason": reason, **more}
        )

    for number in range(SENT):
        day = -2 - number / 8
        if number % 4 == 0:
            add(ReminderState.FAILED, Reason.ADDRESS_REFUSED, day, settled_at=now)
        elif number % 4 == 1:
            add(ReminderState.MISSED, Reason.EXPIRED, day, settled_at=now)
        else:
            add(ReminderState.SENT, None, day, sent_at=now)
        done = {**look, "id": new_id(), "key": f"review {number}", "open": False, "status": ReviewStatus.COMPLETED}
        reviews.append({**done, "due_on": (now + timedelta(days=day)).date(), "visit_at": now + timedelta(days=day)})
    for number in range(OTHERS):
        add(ReminderState.FAILED, Reason.ADDRESS_REFUSED, -1.0)
        add(ReminderState.HELD, HELD_REASONS[number % len(HELD_REASONS)], number)
        add(ReminderState.SENDING, None, -0.1, worker_id=worker_id)
    for number in range(SENT):
        add(ReminderState.SCHEDULED, None, number / 8)
    with desk.store.write("test", now) as session:
        session.execute(insert(Reminder), rows)
        session.execute(insert(Review), reviews)
    desk.store.renew_statistics()
    return worker_id


def queries(now: datetime, worker_id: UUID) -> Mapping[str, tuple[str, Callable[[Session], object]]]:
    """What is asked, with the index that answers it."""
    soon, failed = now + timedelta(days=1), ReminderState.FAILED
    return {
        "what is due": ("ix_reminders_ready", lambda session: sends.claim_due(session, worker_id, now, 10)),
        "how much is due": ("ix_reminders_ready", lambda session: reminders.count_due(session, now)),
        "what is next": ("ix_reminders_ready", reminders.find_next_ready),
        "the pulse": ("ix_reminders_ready", lambda session: gate.read_vitals(session, now)),
        "what leaves soon": ("ix_reminders_ready", lambda session: worklist.list_leaving(session, soon, 10)),
        "what ran out": ("ix_reminders_expiring", lambda session: reminders.expire(session, now - timedelta(days=9))),
        "a worker's claims": ("ix_reminders_claimed", lambda session: sends.list_claims_of(session, worker_id)),
        "others' claims": ("ix_reminders_claimed", lambda session: sends.list_foreign_claims(session, new_id())),
        "what is held, by reason": (
            "ix_reminders_held",
            lambda session: reminders.count_by_reason(session, ReminderState.HELD),
        ),
        "what is held": ("ix_reminders_held", lambda session: worklist.list_held_each(session, {Reason.HOLD: 9})),
        "what nobody acted on": ("ix_reminders_unsettled", lambda session: worklist.list_unsettled(session, 10)),
        "how much failed": ("ix_reminders_unsettled", lambda session: reminders.count_unsettled(session, failed)),
        "reviews to book": (
            "ix_reviews_open_due",
            lambda session: worklist.list_reviews_to_book(session, now.date(), 10),
        ),
        "visits": ("ix_reviews_open_visit", lambda session: worklist.list_visits(session, now, soon, 10, 10)),
        "the board's tabs": ("ix_reminders_due_at", lambda session: board.count_board(session, now, soon)),
        "the board": ("ix_reminders_due_at", lambda session: board.list_board(session, BoardFilter(now, soon), 10)),
        "the board, held": (
            "ix_reminders_held",
            lambda session: board.list_board(session, BoardFilter(None, None, frozenset({ReminderState.HELD})), 10),
        ),
        "the board, not sent": (
            "ix_reminders_unsettled",
            lambda session: board.list_board(session, BoardFilter(None, None, unsettled=True), 10),
        ),
        "the board, due": (
            "ix_reminders_ready",
            lambda session: board.list_board(session, BoardFilter(None, None, ready_by=now), 10),
        ),
    }


def test_queries_use_the_index_that_was_made_for_them(desk: Desk) -> None:
    worker_id, now = fill(desk), desk.clock.now()
    wrong = {}
    for name, (index, ask) in queries(now, worker_id).items():
        with gathering(desk) as statements, desk.store.write("test", now) as session:
            ask(session)
            session.rollback()
        plans = [explained(desk, statement) for statement in statements]
        assert plans, name
        if not any(index in plan or SAME.get(index, index) in plan for plan in plans):
            wrong[name] = (index, plans)
    assert wrong == {}


def counted_at(desk: Desk) -> datetime | None:
    """When the service let the database count its rows, by the clinic's clock."""
    with desk.store.read() as session:
        return find_turn(session, "statistics")


def is_counted(desk: Desk) -> bool:
    """Whether the database knows how its rows are spread."""
    table = "sqlite_stat1 WHERE tbl" if desk.store.is_sqlite else "pg_stats WHERE tablename"
    with desk.store.read() as session:
        return bool(session.scalar(text(f"SELECT count(*) FROM {table} = 'reminders'")))


async def test_the_service_lets_the_database_count_at_its_start_and_once_a_day(desk: Desk) -> None:
    desk.treat(desk.enter())
    began, times = desk.clock.now(), []
    for hours in (0, 1, 23):
        desk.clock.advance(timedelta(hours=hours))
        sender = Sender(desk.clinic)
        await sender.start()
        await asyncio.sleep(0.5)  # nothing else tells that it was not done again
        await sender.stop()
        times.append(counted_at(desk))
    assert times == [began, began, began + timedelta(days=1)]
    assert is_counted(desk)
