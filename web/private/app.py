"""The patients' application: the table of their pages, and which application answers by the name that is asked for.

Patients' pages and staff's never share a door: under the public host, and at PATIENT_LISTEN, only these are there.
"""

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from scheduler.accounts.throttle import Throttle, TooManyTries
from scheduler.clinic import Clinic
from scheduler.errors import AftercareError
from scheduler.setting_values import is_loopback
from web.assets import asset
from web.pages import Envelope
from web.private import pages
from web.private.doors import CodeFirst, Gone, Needs, PrivateRoute, guard

OURS: Final = frozenset({"page.css", "page.js", "plain.svg"})  # of the files that pages load


def pages_asset(digest: str, name: str) -> Response:
    """A file of the patients' pages; those of staff's are not here."""
    if name not in OURS:
        raise HTTPException(404)
    return asset(digest, name)


ROUTES: Final = (
    PrivateRoute("/static/{digest}/{name}", "GET", Needs.NOTHING, pages_asset),
    PrivateRoute("/l/", "GET", Needs.NOTHING, pages.away),
    PrivateRoute("/l/{token}", "GET", Needs.LINK, pages.page, unconfirmed=True),
    PrivateRoute("/l/{token}/code", "POST", Needs.LINK, pages.give_code),
    PrivateRoute("/l/{token}/yes", "POST", Needs.LINK, pages.confirm, unconfirmed=True),
    PrivateRoute("/l/{token}/no", "POST", Needs.LINK, pages.disown, unconfirmed=True),
    PrivateRoute("/l/{token}/help-first", "GET", Needs.LINK, pages.help_first),
    PrivateRoute("/l/{token}/call", "POST", Needs.LINK, pages.call),
    PrivateRoute("/l/{token}/leave", "POST", Needs.LINK, pages.leave),
    PrivateRoute("/l/{token}/answer", "POST", Needs.CODE, pages.check_in),
    PrivateRoute("/l/{token}/back", "POST", Needs.CODE, pages.step_back),
    PrivateRoute("/l/{token}/time", "POST", Needs.CODE, pages.visit),
    PrivateRoute("/l/{token}/appointment.ics", "GET", Needs.CODE, pages.calendar),
    PrivateRoute("/l/{token}/questions", "GET", Needs.CODE, pages.questions_page),
    PrivateRoute("/l/{token}/questions", "POST", Needs.CODE, pages.answer_questions),
    PrivateRoute("/l/{token}/choices", "GET", Needs.CODE, pages.choices_page),
    PrivateRoute("/l/{token}/choices", "POST", Needs.CODE, pages.choose),
    PrivateRoute("/l/{token}/break", "POST", Needs.CODE, pages.pause),
    PrivateRoute("/l/{token}/go-on", "POST", Needs.CODE, pages.go_on),
    PrivateRoute("/l/{token}/stop", "POST", Needs.CODE, pages.stop),
    PrivateRoute("/l/{token}/held", "GET", Needs.CODE, pages.record_page),
    PrivateRoute("/u/{token}", "GET", Needs.STOP_LINK, pages.one_click_page),
    PrivateRoute("/u/{token}", "POST", Needs.STOP_LINK, pages.one_click),
)
HEADERS: Final = {
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}


class NeedsMissing(Exception):
    """A patients' route does not say what it asks for: a fault of the program, found before it answers anyone."""


def make_private_app(clinic: Clinic, routes: Sequence[PrivateRoute] = ROUTES) -> FastAPI:
    """The patients' app over one clinic. Raises `NeedsMissing` when a route does not say what it asks for."""
    app = FastAPI(title="Pages", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.clinic = clinic
    app.state.tries = Throttle(clinic.clock)
    app.add_middleware(Envelope, more=HEADERS, broken=_broken)
    app.add_exception_handler(HTTPException, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_gone)
    app.add_exception_handler(Gone, _answer_gone)
    app.add_exception_handler(AftercareError, _answer_gone)
    app.add_exception_handler(TooManyTries, _answer_slow)
    app.add_exception_handler(CodeFirst, _answer_code)
    for route in routes:
        if route.needs is None:
            raise NeedsMissing(f"{route.method} {route.path} does not say what it needs")
        app.add_api_route(
            route.path,
            route.endpoint,
            methods=["GET", "HEAD"] if route.method == "GET" else [route.method],
            dependencies=[Depends(guard(route))],
            response_model=None,
            include_in_schema=False,
        )
    return app


def _answer_gone(request: Request, error: Exception) -> Response:
    return pages.neutral(request, "gone", 404)


def _answer_problem(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return pages.neutral(request, "gone" if status in (404, 405) else "problem", 404 if status == 405 else status)


def _broken(scope: Scope) -> Response:
    return pages.neutral(Request(scope), "problem", 500)


def _answer_slow(request: Request, error: Exception) -> Response:
    answer = pages.neutral(request, "slow", 429)
    if isinstance(error, TooManyTries):
        answer.headers["Retry-After"] = str(error.seconds)
    return answer


def _answer_code(request: Request, error: Exception) -> Response:
    """The code first. An answer that was being written is not lost: it is sent on with the code."""
    kept = {}
    if request.method == "POST" and request.url.path.endswith("/answer"):
        kept = {name: value for name, value in request.state.form.items() if isinstance(value, str) and value}
    return pages.ask_for_code(request, kept=kept)


class ByName:
    """Gives a request to the patients' app when it asks for the public name, else to the staff's.

    However the name is written: in capitals, with a dot at its end, with any port or none. Only a name of this machine
    itself (a developer's) counts with its port. What a proxy says was asked for counts as well: some put their own
    name into `Host`.
    """

    def __init__(self, staff: ASGIApp, patients: ASGIApp, public_url: str) -> None:
        self._staff = staff
        self._patients = patients
        public = urlsplit(public_url)
        port = public.port or {"https": 443}.get(public.scheme, 80)
        self._name = (public.hostname or "").rstrip(".")
        self._port = port if is_loopback(self._name) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._patients if self._is_public(scope) else self._staff)(scope, receive, send)

    def _is_public(self, scope: Scope) -> bool:
        headers: Iterable[tuple[bytes, bytes]] = scope.get("headers", ())
        asked = [value.decode("latin-1") for name, value in headers if name in (b"host", b"x-forwarded-host")]
        return any(self._is_ours(each) for value in asked for each in value.split(","))

    def _is_ours(self, host: str) -> bool:
        try:
            asked = urlsplit(f"//{host.strip()}")
            name, port = (asked.hostname or "").rstrip("."), asked.port
        except ValueError:  # brackets, or a port that is none
            return self._name in host.lower()
        return name == self._name and (self._port is None or (port or 80) == self._port)
