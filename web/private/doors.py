"""Who may open which of the patients' pages: a link, and for what is hers alone also the code she chose.

The table of the pages is in `web.private.app`. No page here knows of staff, sessions or roles.
"""

import hmac
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal

from fastapi import HTTPException, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from db.page_links import find_code
from scheduler.accounts.throttle import Limit, Throttle
from scheduler.clinic import Clinic
from scheduler.private_page import Opening, open_link, open_stop
from web import cookies
from web.doors import address_of, is_private
from web.forms import read_body

COOKIE: Final = "page"
MINUTES: Final = 10  # how long a code opens her page
FORM_BYTES: Final = 16 * 1024
MISSES: Final = (Limit(20, 60), Limit(200, 3_600))  # links that open nothing, from one address
FORMS: Final = (Limit(20, 60), Limit(100, 3_600))  # what one patient, or whoever holds her link, sends


class Needs(StrEnum):
    """What a page asks for."""

    NOTHING = "nothing"  # the same for everybody
    LINK = "link"
    CODE = "code"  # the link, and within the last ten minutes the code
    STOP_LINK = "stop_link"


@dataclass(frozen=True, slots=True)
class PrivateRoute:
    """One line of the table; `GET` answers `HEAD` too. Without `needs` the program refuses to start.

    `unconfirmed`: also by the link that asks whether an address is hers; whoever has that may be anybody.
    """

    path: str
    method: Literal["GET", "POST"]
    needs: Needs | None
    endpoint: Callable[..., Any]
    unconfirmed: bool = False


class CodeFirst(Exception):
    """The link is right; the code has to be given first."""


class Gone(Exception):
    """The link opens nothing: the same answer whatever the reason."""


def guard(route: PrivateRoute) -> Callable[[Request], AsyncIterator[None]]:
    """The dependency that lets a request through to its page, or raises what stands in its way."""

    async def check(request: Request) -> AsyncIterator[None]:
        if not is_private(request):
            raise HTTPException(404)
        # A mail program's one click comes from no page of ours (RFC 8058): its token is all it has.
        if request.method == "POST" and route.needs is not Needs.STOP_LINK and not _came_from_her_page(request):
            raise HTTPException(403)
        await read_body(request, FORM_BYTES)
        if route.needs is not Needs.NOTHING:
            await run_in_threadpool(_open, request, route)
        yield

    return check


def _came_from_her_page(request: Request) -> bool:
    """Whether one of her pages may have sent this form, and none of another site.

    Our pages tell nobody where they are (`no-referrer`), so browsers send their forms with `Origin: null` (Fetch
    §3.2). From an old browser, which says nothing more, that could also be a page of elsewhere: but such a page does
    not know the token, and gets no cookie of ours along (`SameSite=Strict`).
    """
    site = request.headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return site is not None or "cookie" not in request.headers  # a program, not a browser that has given the code
    scheme = "https" if cookies.is_encrypted(request) else "http"
    here = f"{scheme}://{request.headers.get('host', '')}".lower()
    return origin.lower() in ("null", here)


def _open(request: Request, route: PrivateRoute) -> None:
    clinic: Clinic = request.app.state.clinic
    tries: Throttle = request.app.state.tries
    token = request.path_params["token"]
    address = address_of(request)
    tries.check(MISSES, "link", address)
    find = open_stop if route.needs is Needs.STOP_LINK else open_link
    opening = find(clinic, token)
    if opening is None:
        tries.count(MISSES, "link", address)
        raise Gone
    if opening.confirms and not route.unconfirmed:
        raise Gone
    request.state.opening = opening
    request.state.token = token
    request.state.knows_code = _knows_code(request, clinic, opening, token)
    if request.method == "POST":
        # Counted apart: who has her mail but not her code cannot use up what she may send.
        tries.count(FORMS, "form", str(opening.patient_id), "" if request.state.knows_code else address)
    if route.needs is Needs.CODE and not request.state.knows_code:
        raise CodeFirst


def opening_of(request: Request) -> Opening:
    """Whose page it is: the guard has let the link through."""
    found: Opening = request.state.opening
    return found


def let_in(response: Response, request: Request) -> None:
    """The code was right: for ten minutes this browser may read what is behind this link."""
    clinic: Clinic = request.app.state.clinic
    token: str = request.state.token
    until = clinic.clock.now() + timedelta(minutes=MINUTES)
    response.set_cookie(
        COOKIE,
        _cookie(clinic, opening_of(request), token, until),
        max_age=MINUTES * 60,
        path=f"/l/{token}",
        secure=cookies.is_encrypted(request),
        httponly=True,
        samesite="strict",
    )


def let_out(response: Response, request: Request) -> None:
    """She has left: the code is needed again."""
    path = f"/l/{request.state.token}"
    response.delete_cookie(COOKIE, path=path, secure=cookies.is_encrypted(request), httponly=True, samesite="strict")


def _knows_code(request: Request, clinic: Clinic, opening: Opening, token: str) -> bool:
    sent = request.cookies.get(COOKIE, "")
    seconds = sent.partition(".")[0]
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 10):
        return False
    until = datetime.fromtimestamp(int(seconds), clinic.clock.now().tzinfo)
    if until <= clinic.clock.now():
        return False
    return hmac.compare_digest(sent.encode(), _cookie(clinic, opening, token, until).encode())


def _cookie(clinic: Clinic, opening: Opening, token: str, until: datetime) -> str:
    """Bound to the link, the care plan, the code in force and its end."""
    with clinic.store.read() as session:
        code = find_code(session, opening.patient_id)
    seconds = int(until.timestamp())
    bound = f"{token} {opening.plan_id} {code.code_hash if code else ''} {seconds}"
    return f"{seconds}.{clinic.store.vault.token_hash('page cookie', bound).hex()}"
