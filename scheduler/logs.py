"""Logs: one JSON object a line on stderr, or readable lines on a terminal; only listed keys, never a person's data.

What is counted for machines is in `scheduler.health`; who did what is in the audit chain, `db.audit`.
"""

import logging
import sys
import traceback
from contextlib import suppress
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TextIO, cast
from uuid import UUID

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from scheduler.clock import SystemClock

# Ids, counts and words of our own. A key that could hold a name, an address, a text or a step is not here.
_KEYS = """
    ts level event logger error where dropped_keys
    patient_id treatment_id care_plan_id reminder_id event_id batch_id worker_id installation_id
    attempt fence state reason outcome phase code enhanced kind_of_database
    count sent held failed missed unknown waiting due cancelled recovered replanned released oldest_due_seconds
    heartbeat_age_seconds seconds late_seconds due_at until since limit
    protocol template language version revision fingerprint setting line
    listen host port security connections rate signal pid host_name command actor job check
"""
ALLOWED_KEYS = frozenset(_KEYS.split())
_ROOT = Path(__file__).resolve().parent.parent
_ROOMS = tuple(str(_ROOT / room) for room in ("service.py", "commands", "db", "scheduler", "web"))


def setup_logs(level: str = "info", terminal: bool | None = None) -> None:
    """Send our logs and those of the libraries to stderr. `terminal`: readable lines; None: when stderr is one."""
    if terminal is None:
        terminal = sys.stderr.isatty()
    number = logging.getLevelNamesMapping()[level.upper()]
    render: Processor = (
        structlog.dev.ConsoleRenderer(colors=terminal, timestamp_key="ts")
        if terminal
        else structlog.processors.JSONRenderer(sort_keys=False)
    )
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        _add_time,
        _tell_exception,
        keep_allowed,
        render,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Unfailing(sys.stderr))),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Foreign()]
    root.setLevel(max(number, logging.WARNING))  # what libraries tell of their doings is not news


class _Unfailing:
    """A stream whose full disk, broken pipe or end never ends what is being told about."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # the latter: it was closed
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def log() -> FilteringBoundLogger:
    """Where to log: `log().info("reminder_held", reminder_id=...)`. The first argument names what happened."""
    return cast(FilteringBoundLogger, structlog.get_logger())


def keep_allowed(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Drop every key that is not listed and every value that is not an id, a number, a time or a harmless word."""
    kept: EventDict = {}
    dropped = []
    for key, value in event.items():
        told = _told(value) if key in ALLOWED_KEYS else None
        if told is None and value is not None:
            dropped.append(key)
        elif value is not None:
            kept[key] = told
    if dropped:
        kept["dropped_keys"] = sorted(dropped)
    kept.setdefault("event", "(not told)")
    first = {key: kept.pop(key) for key in ("ts", "level", "event") if key in kept}
    return {**first, **kept}


def own_frames(trace: TracebackType | None) -> list[str]:
    """Where in our own files an exception passed: `scheduler/recorder.py:41`, outermost first."""
    return [
        f"{Path(frame.filename).relative_to(_ROOT).as_posix()}:{frame.lineno}"
        for frame in traceback.extract_tb(trace)
        if frame.filename.startswith(_ROOMS)
    ]


class _Foreign(logging.Handler):
    """Passes a library's record on without its arguments: they may hold an address, a path or a query."""

    def emit(self, record: logging.LogRecord) -> None:
        # Only a template with its arguments still apart is known to hold no value.
        event = record.msg if isinstance(record.msg, str) and record.args else f"message of {record.name}"
        level = min(record.levelno, logging.CRITICAL) // 10 * 10
        structlog.get_logger().log(
            level, event, logger=record.name, line=record.lineno, exc_info=record.exc_info or None
        )


def _add_time(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["ts"] = SystemClock().now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def _tell_exception(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Replace an exception by its type and our own frames: its message and locals may hold anything."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        kinds: list[str] = []
        cause: BaseException | None = error
        while cause is not None and len(kinds) < 5:
            kinds.append(type(cause).__name__)
            cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
        event["error"] = " from ".join(kinds)
        event["where"] = own_frames(error.__traceback__)
    return event


def _told(value: object) -> object | None:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, UUID | Path):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, str):
        # Nothing of ours that is logged holds an @: this is an address that slipped in.
        return None if "@" in value else value
    if isinstance(value, list | tuple):
        told = [_told(item) for item in value]
        return None if None in told else told
    return None
