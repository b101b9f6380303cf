"""How many statements a piece of work sends to the database: nothing that staff open may grow with the clinic."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from db.engine import Store

MOST: int = 30  # queries of a page
_OWN = ("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA", "SAVEPOINT", "RELEASE")


@contextmanager
def counting(store: Store) -> Iterator[list[str]]:
    """Collect the statements sent to a store meanwhile, from any thread, but those that only frame a transaction."""
    found: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        if not statement.startswith(_OWN):
            found.append(statement)

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(store.engine, "before_cursor_execute", note)
