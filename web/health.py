"""`GET /health`: whether the process lives and messages leave, for machines. How it is judged: `scheduler.health`."""

from fastapi import Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from scheduler.health import examine
from scheduler.logs import log
from web.pages import clinic_of

_UNREADABLE = {
    "status": "degraded",
    "oldest_due_seconds": None,
    "heartbeat_age_seconds": None,
    "unknown": None,
    "held": None,
    "failed": None,
    "alarm": None,
    "loop_lag_ms": None,
}


def health(request: Request) -> JSONResponse:
    """200, or 503 while sending is stalled or the database cannot be read.

    Ages are whole seconds, null where there is nothing to measure: nothing is due, no process sends.
    """
    clinic = clinic_of(request)
    try:
        with clinic.store.read() as session:
            found = examine(session, clinic)
    except SQLAlchemyError:
        log().error("health_unreadable", exc_info=True)
        return JSONResponse(_UNREADABLE, 503)
    return JSONResponse(
        {
            "status": "ok" if found.ok else "degraded",
            "oldest_due_seconds": found.vitals.oldest_due_seconds,
            "heartbeat_age_seconds": found.vitals.heartbeat_age_seconds,
            "unknown": found.unknown,
            "held": sum(found.held.values()),
            "failed": found.failed,
            "alarm": found.vitals.alarm is not None,
            "loop_lag_ms": found.vitals.loop_lag_ms,
        },
        503 if found.vitals.stalled else 200,
    )
