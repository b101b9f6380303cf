"""The files that pages load: our stylesheet and script, and htmx as published. Nothing comes from elsewhere.

Each is asked for under its own hash, so a browser may keep it and never has an old one.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import HTTPException
from fastapi.responses import Response

FOLDER: Final = Path(__file__).resolve().parent.parent / "templates" / "web"
# htmx 2.0.11, Zero-Clause BSD (`templates/web/vendor/htmx-LICENSE.txt`); a test holds the file to this hash.
HTMX_SHA256: Final = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
_FILES: Final = {
    "aftercare.css": (FOLDER / "aftercare.css", "text/css; charset=utf-8"),
    "aftercare.js": (FOLDER / "aftercare.js", "text/javascript; charset=utf-8"),
    "htmx.js": (FOLDER / "vendor" / "htmx-2.0.11.min.js", "text/javascript; charset=utf-8"),
    "page.css": (FOLDER / "private" / "page.css", "text/css; charset=utf-8"),
    "page.js": (FOLDER / "private" / "page.js", "text/javascript; charset=utf-8"),
    "plain.svg": (FOLDER / "private" / "plain.svg", "image/svg+xml"),
    "icon.svg": (FOLDER / "icon.svg", "image/svg+xml"),
}
_KEPT: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is answered."""

    content: bytes
    media_type: str
    digest: str


def asset_path(name: str) -> str:
    """Where a page finds a file: its name with its hash."""
    return f"/static/{_asset(name).digest}/{name}"


def asset(digest: str, name: str) -> Response:
    """The file. An older hash gets the present content, which the browser then does not keep."""
    if name not in _FILES:
        raise HTTPException(404)
    found = _asset(name)
    headers = {"Cache-Control": _KEPT if digest == found.digest else "no-store"}
    return Response(found.content, media_type=found.media_type, headers=headers)


@cache
def _asset(name: str) -> Asset:
    path, media_type = _FILES[name]
    content = path.read_bytes()
    return Asset(content, media_type, hashlib.sha256(content).hexdigest()[:12])
