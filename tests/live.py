"""A real browser on a real clinic: the pages served on a free port, Chromium driven by Playwright.

The stories are in `tests/stories`, the laws of every page in `tests/pages`; all have to be free of script errors
and of reports about the pages' policy.
"""

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, FloatRect, Page, Playwright
from starlette.types import ASGIApp

from db.gate import beat
from db.states import Role, SetupStep
from scheduler import first_days
from scheduler.clinic import Clinic
from tests.clinic import Desk
from tests.staffed import Account, Staffed
from web.server import WebServer

NO_CHROMIUM = "no Chromium: set AFTERCARE_TEST_CHROMIUM, or install it (on Debian: apt install chromium)"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HIGHEST = 1100  # pixels of a picture: what is below says little more, and the pictures are kept with the code
# axe-core 4.14.1, Mozilla Public License 2.0 (`tests/vendor/axe-LICENSE.txt`); a test holds the file to its hash.
AXE = Path(__file__).parent / "vendor" / "axe-4.14.1.min.js"
# Violations of the page's policy, gathered before any script of ours runs.
_GATHER = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


def find_chromium() -> str | None:
    """Where a Chromium is, or None: then the stories are left out, and the end of the tests says so."""
    named = os.environ.get("AFTERCARE_TEST_CHROMIUM")
    known = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return named or next((found for found in known if found), None)


def launch(playwright: Playwright) -> Browser:
    """Start it; Debian's needs to be told where it is."""
    return playwright.chromium.launch(executable_path=find_chromium(), args=list(ARGUMENTS))


class Live:
    """A clinic whose pages a browser can open, with staff and a desk to do by hand what no page does."""

    def __init__(self, desk: Desk, browser: Browser, screens: Path, asks_second_factor: bool = False) -> None:
        self.desk = desk
        self.staffed = Staffed(desk.clinic, asks_second_factor)
        self.base = ""
        self.screens = screens
        self.browser = browser
        self._contexts: list[BrowserContext] = []
        self.faults: list[str] = []

    @property
    def clinic(self) -> Clinic:
        """The clinic."""
        return self.desk.clinic

    def page(self, account: Account | None = None, **options: Any) -> Page:
        """A page in a browser of its own, signed in as somebody or nobody; its faults are gathered."""
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **options})
        context.set_default_timeout(10_000)
        context.add_init_script(_GATHER)
        self._contexts.append(context)
        if account is not None:
            opened = self.staffed.door.open_for(account.id, None, "Chrome on Linux")
            for name, value in (("session", opened.token), ("device", opened.device_token)):
                context.add_cookies([{"name": f"aftercare-{name}", "value": value, "url": self.base}])
        page = context.new_page()
        page.on("pageerror", lambda error: self.faults.append(f"{page.url}: {error}"))
        page.on("console", lambda message: self._look(page, message.type, message.text))
        return page

    def dana(self) -> Account:
        """A clinician who is a manager too."""
        return self.staffed.hire("dana", Role.CLINICIAN, Role.MANAGER, email="dana@example.org")

    def settle(self) -> None:
        """Say that all is done that has to be done before the first real message."""
        for step in SetupStep:
            first_days.mark(self.clinic, "staff:dana", step)

    def go(self, page: Page, path: str) -> None:
        """Open a page of the clinic, whose sending process has just looked for what is due."""
        worker_id = self.desk.worker("the sending process")
        with self.clinic.store.write("service", self.desk.clock.now()) as session:
            beat(session, worker_id, swept=True)
        page.goto(f"{self.base}{path}")

    def shot(self, page: Page, name: str) -> None:
        """Keep what is seen; it has to be readable by everybody."""
        self.faults += found_by_axe(page)
        self.screens.mkdir(parents=True, exist_ok=True)
        high = min(page.evaluate("document.documentElement.scrollHeight"), HIGHEST)
        clip: FloatRect = {"x": 0, "y": 0, "width": page.evaluate("innerWidth"), "height": high}
        page.screenshot(path=self.screens / f"{name}.png", full_page=True, clip=clip, animations="disabled")

    def _look(self, page: Page, kind: str, text: str) -> None:
        # An answer of 4xx to a wrong form is meant; everything else that a console calls an error is not.
        if kind == "error" and "the server responded with a status of 4" not in text:
            self.faults.append(f"{page.url}: {text}")

    def close(self) -> None:
        """Close every page; what their policies reported counts as a fault."""
        for context in self._contexts:
            for page in context.pages:
                self.faults += [f"{page.url}: {found}" for found in page.evaluate("window.violations || []")]
            context.close()


def found_by_axe(page: Page, rules: Sequence[str] = (), tags: Sequence[str] = ()) -> list[str]:
    """What axe-core finds wrong with a page, in one line each: by all its rules, or by those alone."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    only = {"type": "rule", "values": list(rules)} if rules else {"type": "tag", "values": list(tags)}
    options = {"resultTypes": ["violations"], **({"runOnly": only} if rules or tags else {})}
    result = page.evaluate("(options) => axe.run(document, options)", options)
    return [
        f"{page.url}: {found['id']}: {node['html'][:150]} {' '.join(node['failureSummary'].split())[:200]}"
        for found in result["violations"]
        for node in found["nodes"][:5]
    ]


@contextmanager
def served(live: Live, app: ASGIApp | None = None) -> Iterator[Live]:
    """Serve a live clinic's pages, or those of another app, from a thread with a loop of its own."""
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        server = WebServer(app or live.staffed.app, "127.0.0.1", 0)
        live.base = f"http://127.0.0.1:{await server.start()}"
        started.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="pages")
    thread.start()
    try:
        assert started.wait(20)
        yield live
    finally:
        live.close()
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
