"""The application: the table of all routes, each with its permission, put together to one FastAPI app.

The server that runs it is in `web.server`, the pages are in the files of their nouns.
"""

from collections.abc import Sequence
from typing import Final

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from scheduler.clinic import Clinic
from web.doors import Permission, Route, guard, is_this_machine
from web.health import health
from web.outbox_pages import mail_html, mail_page, outbox_page
from web.pages import Envelope, problem, stylesheet
from web.status_page import status_page

ROUTES: Final = (
    Route("/health", "GET", Permission.ANYONE, health),
    Route("/", "GET", Permission.THIS_MACHINE, status_page),
    Route("/outbox", "GET", Permission.THIS_MACHINE, outbox_page),
    Route("/outbox/{name}", "GET", Permission.THIS_MACHINE, mail_page),
    Route("/outbox/{name}/html", "GET", Permission.THIS_MACHINE, mail_html),
    Route("/static/aftercare.css", "GET", Permission.THIS_MACHINE, stylesheet),
)


class PermissionMissing(Exception):
    """A route does not say who may use it: a fault of the program, found before it answers anyone."""


def make_app(clinic: Clinic, routes: Sequence[Route] = ROUTES) -> FastAPI:
    """The app over one clinic. Raises `PermissionMissing` when a route has no permission.

    Endpoints are plain functions: FastAPI runs them in threads, and the event loop stays free for sending.
    """
    app = FastAPI(title="Aftercare", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.clinic = clinic
    app.state.open_paths = frozenset(route.path for route in routes if route.permission is Permission.ANYONE)
    app.add_middleware(Envelope)
    app.add_exception_handler(HTTPException, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    for route in routes:
        if route.permission is None:
            raise PermissionMissing(f"{route.method} {route.path} does not declare who may use it")
        app.add_api_route(
            route.path,
            route.endpoint,
            methods=["GET", "HEAD"] if route.method == "GET" else [route.method],
            dependencies=[Depends(guard(route.permission))],
            response_model=None,
            include_in_schema=False,
        )
    return app


def _answer_problem(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405 and not (is_this_machine(request) or request.url.path in request.app.state.open_paths):
        return problem(404)  # a 405 would tell that the page exists
    answer = problem(status)
    if isinstance(error, HTTPException):
        answer.headers.update(error.headers or {})
    return answer


def _answer_invalid(request: Request, error: Exception) -> Response:
    return problem(400)  # FastAPI's own answer repeats what was sent
