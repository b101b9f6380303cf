"""Help: the keys, how the day works, what each role may do; and the documents that staff can read on the screen.

Which documents there are is in `web.documents`.
"""

from collections.abc import Callable

from fastapi import HTTPException, Request
from fastapi.responses import Response

from db.states import Role
from scheduler.accounts.rights import NEEDS_SECOND_FACTOR
from web.documents import DOCUMENTS, read_document
from web.pages import page
from web.role_words import ROLE_NAMES, may_do


def help_page(request: Request) -> Response:
    """Keys, the day, roles."""
    return page(
        request,
        "help/help.html",
        roles=[(ROLE_NAMES[role], may_do(role), role in NEEDS_SECOND_FACTOR) for role in Role],
    )


def document_page(name: str) -> Callable[[Request], Response]:
    """The endpoint that shows one document."""

    def show(request: Request) -> Response:
        try:
            document = read_document(name)
        except OSError:
            raise HTTPException(404) from None
        return page(request, "help/document.html", document=document)

    return show


DOCUMENT_PAGES = tuple((f"/help/{name}", document_page(name)) for name in DOCUMENTS)
