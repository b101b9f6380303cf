"""Work that may take longer than a page should: it runs in a thread of its own while a page shows how far it is.

What is worked on is the caller's: a use case that can be told how to report. Works are kept in memory only: what a
stop of the service interrupts is as its transactions left it.
"""

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final
from uuid import UUID

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from scheduler.errors import AftercareError
from scheduler.logs import log
from web.doors import local_path, me_of
from web.pages import page

SOON: Final = 1.5  # seconds within which most works end: their page is then the next one, without any between
KEPT: Final = 3_600.0  # seconds for which a finished work is remembered
MOST: Final = 200  # works remembered; beyond it the oldest finished ones go

Progress = Callable[[int, int], None]  # done, of how many


@dataclass(frozen=True, slots=True)
class Told:
    """How a work ended, for one that leads to no page of its own: a title, sentences, and the way on.

    `good`: False for what was not done.
    """

    title: str
    lines: Sequence[str]
    back: str
    good: bool = True


OVER: Final = Told(
    "This has ended",
    ["It ended a while ago, or the service was started again meanwhile. What was finished until then stays."],
    "/",
    good=False,
)
Run = Callable[[Progress], str | Told]


@dataclass(slots=True)
class Work:
    """One piece of work. `result` is a path to go to, or what to tell; None while it runs."""

    name: str
    owner: UUID
    title: str
    back: str
    done: int = 0
    total: int = 0
    result: str | Told | None = None
    began: float = field(default_factory=monotonic)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def percent(self) -> int | None:
        """How far it is; None while nobody can say."""
        return 100 * self.done // self.total if self.total else None


class Works:
    """All works of one service, by their names: random, so that nobody finds another's."""

    def __init__(self) -> None:
        self._works: dict[str, Work] = {}
        self._lock = threading.Lock()

    def begin(self, owner: UUID, title: str, run: Run, back: str) -> Work:
        """Start a work in a thread of its own. `back` is where a failure leads to."""
        work = Work(secrets.token_hex(16), owner, title, back)
        with self._lock:
            self._forget()
            self._works[work.name] = work
        # A daemon: a stop of the service does not wait for it, and its transactions leave nothing half done.
        threading.Thread(target=self._run, args=(work, run), name="long work", daemon=True).start()
        return work

    def find(self, name: str, owner: UUID) -> Work | None:
        """A person's own work of that name, or None."""
        work = self._works.get(name)
        return work if work is not None and work.owner == owner else None

    def _run(self, work: Work, run: Run) -> None:
        def tell(done: int, total: int) -> None:
            work.done, work.total = done, total

        try:
            work.result = run(tell)
        except AftercareError as wrong:
            lines = [line[:1].upper() + line[1:] for line in str(wrong).splitlines()]
            work.result = Told("That was not done", lines, work.back, good=False)
        except Exception:  # noqa: BLE001 (one work: its page has to say that it ended)
            log().error("work_failed", exc_info=True)
            told = "It broke down on the way. What was finished until then stays; the service’s log says more."
            work.result = Told("That was not finished", [told], work.back, good=False)
        finally:
            work.ended.set()

    def _forget(self) -> None:
        """Drop works that ended long ago, and the oldest ended ones when there are too many."""
        ended = [work for work in self._works.values() if work.ended.is_set()]
        over = len(self._works) - MOST
        for place, work in enumerate(ended):
            if place < over or monotonic() - work.began > KEPT:
                del self._works[work.name]


def works_of(request: Request) -> Works:
    """The works of this app."""
    works: Works = request.app.state.works
    return works


def start(request: Request, title: str, run: Run, back: str) -> Response:
    """Begin a work for whoever asks, and lead to its end when it comes soon, else to the page that shows it.

    `run` is called in another thread with a function to report progress to, and returns the path to go on to, or what
    to tell. What it raises is told as refusals are, with the way `back`. The request is gone by then: `run` has to
    hold all it needs.
    """
    work = works_of(request).begin(me_of(request).staff_id, title, run, back)
    work.ended.wait(SOON)
    path = local_path(work.result) if isinstance(work.result, str) else f"/progress/{work.name}"
    return RedirectResponse(path, 303)


def work_page(request: Request, name: str) -> Response:
    """How far a work is; once it has ended, the page it leads to. Only for the person who began it."""
    work = works_of(request).find(name, me_of(request).staff_id)
    if work is None:  # the same for another person's: nobody learns that there is one
        return page(request, "work.html", work=None, told=OVER)
    if isinstance(work.result, str):
        path = local_path(work.result)
        if "hx-request" in request.headers:
            return Response(status_code=204, headers={"HX-Redirect": path})
        return RedirectResponse(path, 303)
    if work.result is not None and "hx-request" in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": f"/progress/{work.name}"})
    return page(request, "work.html", work=work, told=work.result)
