"""`GET /metrics`: the service's numbers for a monitor on this machine. What they are: `scheduler.metrics`."""

from fastapi import HTTPException, Request
from fastapi.responses import PlainTextResponse

from scheduler.metrics import SenderSigns, write_metrics
from web.doors import is_from_this_machine
from web.pages import clinic_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics(request: Request) -> PlainTextResponse:
    """The numbers, asked for directly from this machine; for all others, and when switched off, there is no such page.

    They name nobody, but how many patients wait for what is the clinic's business alone.
    """
    clinic = clinic_of(request)
    if not clinic.settings.metrics or not is_from_this_machine(request):
        raise HTTPException(404)
    signs: SenderSigns | None = request.app.state.signs() if hasattr(request.app.state, "signs") else None
    with clinic.store.read() as session:
        return PlainTextResponse(write_metrics(session, clinic, signs), media_type=CONTENT_TYPE)
