"""Conditions that partial indexes are made of, spelled once for the indexes and for the queries they answer.

A query has to say them in the very words of its index: with bound values a database cannot know, when it plans the
query, that the index covers it (SQLite never, PostgreSQL not in a prepared statement's generic plan).
"""

from typing import Final

from sqlalchemy import TextClause, text

WAITING_SQL: Final = "state IN ('scheduled', 'awaiting_retry')"
LIVE_SQL: Final = "state IN ('scheduled', 'held', 'sending', 'awaiting_retry')"
HELD_SQL: Final = "state = 'held'"
CLAIMED_SQL: Final = "state = 'sending'"
UNSETTLED_SQL: Final = "state IN ('failed', 'missed') AND settled_at IS NULL"
OPEN_SQL: Final = "open"
VISIT_SQL: Final = "open AND visit_at IS NOT NULL"


def waiting() -> TextClause:
    """Reminders that wait for their time or for another try."""
    return text(f"reminders.{WAITING_SQL}")


def live() -> TextClause:
    """Reminders that have not ended."""
    return text(f"reminders.{LIVE_SQL}")


def held() -> TextClause:
    """Reminders that are held."""
    return text(f"reminders.{HELD_SQL}")


def claimed() -> TextClause:
    """Reminders that a worker has."""
    return text(f"reminders.{CLAIMED_SQL}")


def unsettled() -> TextClause:
    """Failed and missed reminders that nobody has acted on."""
    return text("reminders.state IN ('failed', 'missed') AND reminders.settled_at IS NULL")


def open_review() -> TextClause:
    """Reviews that somebody still has to book or to write down."""
    return text("reviews.open")


def open_visit() -> TextClause:
    """Open reviews for which a visit is booked."""
    return text("reviews.open AND reviews.visit_at IS NOT NULL")
