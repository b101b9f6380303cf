"""Who may open which page: what each route asks for, and how a request is held against it.

The table of the pages is in `web.app`; what a role may do is in `scheduler.accounts.rights`.
"""

import ipaddress
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Literal
from urllib.parse import quote

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool

from scheduler.accounts.front_door import FrontDoor, Present, SignInAgain
from scheduler.accounts.rights import Right
from scheduler.errors import Refused
from web import cookies
from web.forms import PROOF, read_body

TODAY: Final = "/today"  # where most people's work begins
FORM_BYTES: Final = 256 * 1024  # a long text with room; a page says when it takes more
# A proxy connects from its own address for people elsewhere, and these are what it adds.
_FORWARDED: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "x-forwarded-proto")


class Open(StrEnum):
    """What a page may ask for below a right."""

    ANYONE = "anyone"  # nothing about a patient is in the answer
    AT_THE_DOOR = "at_the_door"  # not signed in, over a connection that nobody listens to
    HALF_IN = "half_in"  # the password was right; the second factor is still to be given or set up


Permission = Open | Right


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table: `GET` answers `HEAD` too. Without a permission the program refuses to start.

    `passive`: asked by a page itself, so it is no sign that somebody is there. `while_locked`: also behind the lock.
    """

    path: str
    method: Literal["GET", "POST"]
    permission: Permission | None
    endpoint: Callable[..., Any]
    passive: bool = False
    while_locked: bool = False
    most_bytes: int = FORM_BYTES


class SignInFirst(Exception):
    """Nobody is signed in, or the session is over. `half`: only the second factor is missing."""

    def __init__(self, present: Present | None = None) -> None:
        super().__init__()
        self.present = present


class Locked(Exception):
    """The browser is locked: its person has to give her PIN. `problem` says why it is still locked."""

    def __init__(self, present: Present, problem: str | None = None) -> None:
        super().__init__()
        self.present = present
        self.problem = problem


class NotAllowed(Exception):
    """She is signed in and may not do this."""


class NotEncrypted(Exception):
    """A page for staff was asked for over a connection that others can read."""


def door_of(request: Request) -> FrontDoor:
    """The front door of this app."""
    door: FrontDoor = request.app.state.door
    return door


def me_of(request: Request) -> Present:
    """Who is at work: the guard has let her in."""
    present: Present = request.state.me
    return present


def guard(route: Route) -> Callable[[Request], AsyncIterator[None]]:
    """The dependency that lets a request through to its page, or raises what stands in its way."""

    async def check(request: Request) -> AsyncIterator[None]:
        try:
            await _check(request, route)
            yield
        finally:
            await request.close()  # a file that was sent is kept for the answer's time only

    return check


async def _check(request: Request, route: Route) -> None:
    request.state.me = None
    if "\0" in request.scope["path"]:  # nothing is called so, and PostgreSQL breaks a query off at one
        raise HTTPException(404)
    if route.permission is Open.ANYONE:
        await read_body(request, route.most_bytes)
        return
    if not is_private(request):
        raise NotEncrypted
    if request.method == "POST" and not came_from_here(request):
        raise HTTPException(403)
    await run_in_threadpool(_recognize, request, route)
    await read_body(request, route.most_bytes)  # of those who are in: a page may take a large file
    if route.permission is not Open.AT_THE_DOOR:
        await run_in_threadpool(_let_in, request, route)


def _recognize(request: Request, route: Route) -> None:
    """Find out who it is; whoever is not in goes to the door."""
    present = door_of(request).who(cookies.read(request, cookies.SESSION))
    if route.permission is not Open.AT_THE_DOOR:
        if present is None:
            raise SignInFirst
        if not present.complete and route.permission is not Open.HALF_IN:
            raise SignInFirst(present)
    request.state.me = present


def _let_in(request: Request, route: Route) -> None:
    door, present = door_of(request), me_of(request)
    token = cookies.read(request, cookies.SESSION) or ""
    if request.method == "POST" and not _carries_token(request, door.form_token(token)):
        raise HTTPException(403)
    if present.locked and not route.while_locked:
        _unlock(request, door, present)
        request.state.me = replace(present, locked=False)
    if isinstance(route.permission, Right) and not present.may(route.permission):
        raise NotAllowed
    if not route.passive and not present.locked:
        door.touch(present)


def _unlock(request: Request, door: FrontDoor, present: Present) -> None:
    """A locked page that sends its form again brings the PIN with it. Nothing is shown before, not even a refusal."""
    if request.state.pin is None:
        raise Locked(present)
    try:
        door.unlock(present, request.state.pin)
    except SignInAgain:
        raise SignInFirst from None
    except Refused as wrong:
        raise Locked(present, str(wrong)) from None


def _carries_token(request: Request, expected: str) -> bool:
    sent = request.headers.get("x-form-token") or request.state.form.get(PROOF)
    return isinstance(sent, str) and secrets.compare_digest(sent.encode(), expected.encode())


def came_from_here(request: Request) -> bool:
    """Whether a browser says that one of our own pages sent this (OWASP: Origin and Sec-Fetch-Site)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return site is not None or "cookie" not in request.headers  # a program, not a browser with a session
    scheme = "https" if cookies.is_encrypted(request) else "http"
    return origin.lower() == f"{scheme}://{request.headers.get('host', '')}".lower()


def is_private(request: Request) -> bool:
    """Whether nobody on the way can read it: from this machine itself, or through a proxy that says TLS."""
    if any(name in request.headers for name in _FORWARDED):
        return cookies.is_encrypted(request)
    return is_from_this_machine(request)


def is_from_this_machine(request: Request) -> bool:
    """Whether it was asked on this machine itself, and not through a proxy for somebody elsewhere.

    By one of its own names too: a proxy that adds nothing keeps the name it was asked by, and so does a browser here
    whose page of another site has its name lead to this machine (DNS rebinding).
    """
    forwarded = any(name in request.headers for name in _FORWARDED)
    near = request.client is not None and _is_loopback(request.client.host)
    return near and not forwarded and _is_own_name(request.headers.get("host", ""))


def address_of(request: Request) -> str:
    """Whom tries are counted against: the client, or who a proxy on this machine says it is.

    Only what the proxy itself added last counts; the rest of the header is whatever the client wrote. One household
    has a whole /64 of IPv6 addresses, so it counts as one.
    """
    client = request.client.host if request.client else "unknown"
    if _is_loopback(client):
        client = cookies.last_of(request, "x-forwarded-for") or client
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client[:100]
    if address.version == 6 and not address.ipv4_mapped:
        return str(ipaddress.ip_network((address.packed, 64), strict=False))
    return str(address)


def local_path(wanted: str) -> str:
    """A path of our own to go on to; Today for anything else, so that no link leads elsewhere through us."""
    # Browsers read \\ as / and drop line ends and tabs; two slashes at the start would be another host.
    fine = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted
    return wanted if fine and wanted.isprintable() and " " not in wanted else TODAY


def sign_in_path(request: Request) -> str:
    """The sign-in page that leads back here; after a form, to where forms are read."""
    if request.method != "GET":
        return "/sign-in"
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return "/sign-in" if here in ("/", TODAY) else f"/sign-in?next={quote(here)}"


def code_path(wanted: str) -> str:
    """The second factor's page that leads on from there."""
    return "/sign-in/code" if wanted == TODAY else f"/sign-in/code?next={quote(wanted)}"


def _is_own_name(host: str) -> bool:
    """Whether a `Host` header names this machine as only this machine does: `localhost:8000`, `[::1]`."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or _is_loopback(name)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped  # a socket open to both families shows 127.0.0.1 as ::ffff:127.0.0.1
    return address.is_loopback
