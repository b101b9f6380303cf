"""Answers as bytes: pages from templates in their frame, fragments, neutral error pages, the headers of every answer.

What a page shows is put together in the file of its noun; who may see it is in `web.doors`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scheduler.accounts.front_door import Present
from scheduler.accounts.rights import Right
from scheduler.clinic import Clinic
from scheduler.logs import log
from web import cookies
from web.assets import FOLDER, asset_path
from web.pulse import Pulse, read_pulse
from web.sentences import DONE
from web.times import Say

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # never to another host; our own pages read where a form came from
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_SENTENCES: Final = {
    400: "This request is not right. Go back, load the page again and try once more.",
    403: "This was not sent from a page of this session. Load the page again and try once more.",
    404: "There is nothing here.",
    405: "This page can only be read.",
    408: "This took too long to arrive. Nothing was changed. Go back and try once more.",
    411: "This request is not right.",
    413: "What was sent is too large.",
    415: "This request is not right.",
    500: "This page could not be made. Nothing was changed. The service goes on; its log says more.",
}
_NAVIGATION: Final = (
    ("/today", "Today", Right.DESK),
    ("/patients", "Patients", Right.DESK),
    ("/reminders", "Reminders", Right.DESK),
    ("/protocols", "Protocols", Right.LIBRARY),
)
_MORE: Final = (
    ("/import", "Import", Right.IMPORT),
    ("/lots", "Lots", Right.LOTS),
    ("/figures", "Figures", Right.FIGURES),
    ("/audit", "Audit trail", Right.TRAIL),
    ("/staff", "Staff", Right.STAFF),
    ("/settings", "Settings", Right.STAFF),
)

_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["cap"] = lambda words: words[:1].upper() + words[1:]  # a sentence; `capitalize` lowers the rest


@dataclass(frozen=True)
class Frame:
    """What stands around every page: who is at work, the pulse, where she can go, and the words of dates."""

    request: Request
    clinic: Clinic
    me: Present | None
    now: datetime

    @cached_property
    def say(self) -> Say:
        """Dates and ages as people say them, in the clinic's time."""
        return Say(self.clinic, self.now)

    @cached_property
    def pulse(self) -> Pulse:
        """Whether the service lives."""
        return read_pulse(self.clinic)

    @cached_property
    def form_token(self) -> str:
        """What every form carries."""
        token = cookies.read(self.request, cookies.SESSION)
        return self.request.app.state.door.form_token(token) if token and self.me else ""

    @property
    def here(self) -> str:
        """Where a small form leads back to: this page, without what the last form did."""
        kept = [(name, value) for name, value in self.request.query_params.multi_items() if name != "done"]
        return self.request.url.path + (f"?{urlencode(kept)}" if kept else "")

    @property
    def to_folder(self) -> bool:
        """Whether nothing is e-mailed at all."""
        return self.clinic.settings.smtp_host is None

    @property
    def stopped(self) -> str | None:
        """By whom, since when and why nothing leaves, while the gate is closed."""
        found = self.pulse.stopped if self.me is not None else None
        if found is None:
            return None
        return f"by {self.say.who(found.by)}, {self.say.when(found.at)}" + (f": {found.why}" if found.why else "")

    @property
    def links(self) -> list[tuple[str, str, bool]]:
        """Where she can go: address, words, whether she is there."""
        return self._links(_NAVIGATION)

    @property
    def more_links(self) -> list[tuple[str, str, bool]]:
        """What she needs less often."""
        return self._links(_MORE)

    @property
    def done(self) -> str | None:
        """What the last form did, when this page was led to by it."""
        return DONE.get(self.request.query_params.get("done", ""))

    def may(self, right: str) -> bool:
        """Whether she has a right."""
        return self.me is not None and self.me.may(Right(right))

    def _links(self, all_links: tuple[tuple[str, str, Right], ...]) -> list[tuple[str, str, bool]]:
        here = self.request.url.path
        return [
            (path, words, here == path or here.startswith(path + "/"))
            for path, words, right in all_links
            if self.me is not None and self.me.may(right)
        ]


def clinic_of(request: Request) -> Clinic:
    """The clinic whose pages these are."""
    clinic: Clinic = request.app.state.clinic
    return clinic


def page(request: Request, template: str, status: int = 200, /, **values: object) -> HTMLResponse:
    """The template of that name in the frame, filled in; every value is escaped."""
    return HTMLResponse(_render(request, template, values), status)


def fragment(request: Request, template: str, /, **values: object) -> HTMLResponse:
    """A part of a page, for one that is open already."""
    return HTMLResponse(_render(request, template, values), headers={"Vary": "HX-Request"})


def go_to(path: str, done: str | None = None) -> RedirectResponse:
    """After a form: the page it leads to, which says what was done (a key of `web.sentences.DONE`)."""
    if done is not None:
        path, mark, place = path.partition("#")
        path = f"{path}{'&' if '?' in path else '?'}done={done}{mark}{place}"
    return RedirectResponse(path, 303)


def refusal(request: Request, error: Exception, back: str, typed: Sequence[str] = ()) -> HTMLResponse:
    """What the rules, or a wrong entry, forbid: nothing was changed; why, the way back, and what was typed."""
    lines = [line[:1].upper() + line[1:] for line in str(error).splitlines()]
    return page(request, "refused.html", 409, lines=lines, back=back, typed=typed)


def download(content: bytes, media_type: str, name: str) -> Response:
    """A file to keep. `name` is ours and holds nothing about a patient."""
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def problem(status: int) -> HTMLResponse:
    """A neutral page: it tells neither what is wrong inside nor what else there is."""
    title = HTTPStatus(status).phrase
    sentence = _SENTENCES.get(status, title + ".")
    text = _ENVIRONMENT.get_template("problem.html").render(title=title, sentence=sentence, asset_path=asset_path)
    return HTMLResponse(text, status)


def _render(request: Request, template: str, values: Mapping[str, Any]) -> str:
    clinic = clinic_of(request)
    frame = Frame(request, clinic, getattr(request.state, "me", None), clinic.clock.now())
    return _ENVIRONMENT.get_template(template).render(frame=frame, say=frame.say, asset_path=asset_path, **values)


class Envelope:
    """Around all pages: every answer gets `HEADERS` unless it brought its own, and every exception a neutral page."""

    def __init__(
        self,
        app: ASGIApp,
        more: Mapping[str, str] | None = None,
        broken: Callable[[Scope], Response] = lambda scope: problem(500),
    ) -> None:
        self._app = app
        self._broken = broken
        self._headers = {**HEADERS, **(more or {})}

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
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            # Starlette's own page for this would come without our headers, and it raises again.
            log().error("page_failed", exc_info=True)
            if started:
                raise
            await self._broken(scope)(scope, receive, send_with_headers)
