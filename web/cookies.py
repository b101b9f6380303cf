"""The two cookies of a staff browser: the session, and the device, which outlives it.

What their secrets mean is in `scheduler.accounts.front_door`; only hashes of them are stored.
"""

from typing import Final

from fastapi import Request
from fastapi.responses import Response

from scheduler.accounts.front_door import Opened

SESSION: Final = "aftercare-session"
DEVICE: Final = "aftercare-device"
DEVICE_SECONDS: Final = 400 * 86_400  # the longest a browser keeps one


def is_encrypted(request: Request) -> bool:
    """Whether a proxy says that the browser's connection is TLS; we speak plain HTTP to it on this machine."""
    return last_of(request, "x-forwarded-proto").lower() == "https"


def last_of(request: Request, header: str) -> str:
    """The last value of a header of proxies: the nearest proxy's. A client may have sent some of its own before."""
    return ",".join(request.headers.getlist(header)).rpartition(",")[2].strip()


def read(request: Request, name: str) -> str | None:
    """The cookie of that name as it is called on this kind of connection."""
    return request.cookies.get(_called(request, name))


def keep(response: Response, request: Request, opened: Opened) -> None:
    """Let the browser keep a session that has begun or has a new token."""
    _set(response, request, SESSION, opened.token, None)
    if opened.device_token:
        _set(response, request, DEVICE, opened.device_token, DEVICE_SECONDS)


def speak_for(request: Request, opened: Opened) -> None:
    """Let the rest of this answer be made for the session's new token: its forms and scripts carry it."""
    request.cookies[_called(request, SESSION)] = opened.token


def forget(response: Response, request: Request) -> None:
    """Let the browser forget the session; the device stays known."""
    response.delete_cookie(
        _called(request, SESSION), path="/", secure=is_encrypted(request), httponly=True, samesite="strict"
    )


def _set(response: Response, request: Request, name: str, value: str, seconds: int | None) -> None:
    response.set_cookie(
        _called(request, name),
        value,
        max_age=seconds,
        path="/",
        secure=is_encrypted(request),
        httponly=True,
        samesite="strict",
    )


def _called(request: Request, name: str) -> str:
    """With TLS the name promises that no other host and no plain connection can have set it (RFC 6265bis §4.1.3.2)."""
    return f"__Host-{name}" if is_encrypted(request) else name
