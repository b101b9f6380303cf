"""Who may open which page: the permissions, and what makes a request one of this machine.

The table of the pages themselves is in `web.app`.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from fastapi import HTTPException, Request

# A page of another site can give its own name the address 127.0.0.1 (DNS rebinding): the name asked for has to be ours.
_LOCAL_HOST: Final = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
# A proxy on this machine connects from 127.0.0.1 for people elsewhere, and these are what it adds.
_FORWARDED: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class Permission(StrEnum):
    """What a request must be before its page is made."""

    ANYONE = "anyone"  # nothing about a patient is in the answer
    THIS_MACHINE = "this_machine"  # a browser on this machine that asked for this machine by name


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table: `GET` answers `HEAD` too. Without a permission the program refuses to start."""

    path: str
    method: Literal["GET", "POST"]
    permission: Permission | None
    endpoint: Callable[..., Any]


def permits(permission: Permission, request: Request) -> bool:
    """Whether a request may see what stands behind a permission."""
    return permission is Permission.ANYONE or is_this_machine(request)


def is_this_machine(request: Request) -> bool:
    """Whether client and `Host` are loopback and no proxy stands between."""
    if request.client is None or not _is_loopback(request.client.host):
        return False
    if any(name in request.headers for name in _FORWARDED):
        return False
    return _LOCAL_HOST.fullmatch(request.headers.get("host", "")) is not None


def guard(permission: Permission) -> Callable[[Request], None]:
    """A dependency that answers 404 to whom the page does not exist for: a 403 would tell that there is one."""

    def check(request: Request) -> None:
        if not permits(permission, request):
            raise HTTPException(404)

    return check


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped  # a socket open to both families shows 127.0.0.1 as ::ffff:127.0.0.1
    return address.is_loopback
