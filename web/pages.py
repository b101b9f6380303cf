"""Answers as bytes: pages from templates, neutral error pages, and the headers that every answer carries.

What a page shows is put together in the file of its noun; who may see it is in `web.doors`.
"""

from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scheduler.clinic import Clinic
from scheduler.logs import log

FOLDER: Final = Path(__file__).resolve().parent.parent / "templates" / "web"

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; frame-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_SENTENCES: Final = {
    400: "This request is not right.",
    404: "There is nothing here.",
    405: "This page can only be read.",
    500: "This page could not be made. The service goes on; its log says more.",
}

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def clinic_of(request: Request) -> Clinic:
    """The clinic whose pages these are."""
    clinic: Clinic = request.app.state.clinic
    return clinic


def page(template: str, /, **values: object) -> HTMLResponse:
    """The template of that name, filled in; every value is escaped."""
    return HTMLResponse(_ENVIRONMENT.get_template(template).render(values))


def problem(status: int) -> HTMLResponse:
    """A neutral page: it tells neither what is wrong inside nor what else there is."""
    title = HTTPStatus(status).phrase
    sentence = _SENTENCES.get(status, title + ".")
    return HTMLResponse(
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title><p>{sentence}</p></html>\n',
        status,
    )


def stylesheet() -> Response:
    """The one stylesheet of all pages."""
    return Response((FOLDER / "aftercare.css").read_bytes(), media_type="text/css")


class Envelope:
    """Around all pages: every answer gets `HEADERS` unless it brought its own, and every exception a neutral page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            # Starlette's own page for this would come without our headers, and it raises again.
            log().error("page_failed", exc_info=True)
            if started:
                raise
            await problem(500)(scope, receive, send_with_headers)
