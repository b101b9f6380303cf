"""Every page of the table of routes, opened in Chromium on the worst day of a clinic: readable by everybody, in light
and dark, narrow and wide; nothing that people wrote runs; the policy of the pages is never broken.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from db.states import Role
from tests.conftest import opened
from tests.door_world import World, make_world
from tests.live import Live, found_by_axe, served
from tests.pages.hard_day import make_hard
from web.app import ROUTES
from web.doors import Open, Route

EVERYTHING = "everything"
NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
# Ways on, answers to programs, parts of pages, files.
NO_PAGES = (
    *("/", "/health", "/pulse", "/today/lists", "/static/{digest}/{name}"),
    *("/import/columns", "/import/check", "/metrics", "/outbox/{name}/html"),
)
PAGES = [route for route in ROUTES if route.method == "GET" and route.path not in NO_PAGES]


MAILS = [route for route in PAGES if route.path.endswith("/html")]
# A mail stands inside the reader's page: what a whole page needs, as a heading of the first level, is not asked of it.
WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")


@pytest.fixture(scope="module")
def hard(sqlite_template: Path, chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Hard"]:
    """The worst day, served; one browser in which a person with every right is signed in."""
    folder = tmp_path_factory.mktemp("hard")
    (folder / "aftercare.db").write_bytes(sqlite_template.read_bytes())
    with opened(f"sqlite:///{folder / 'aftercare.db'}") as engine:
        world = make_world(engine, folder / "clinic")
        world.people[EVERYTHING] = world.staffed.hire(EVERYTHING, *Role)
        make_hard(world)
        live = Live(world.desk, chromium, folder / "screens")
        with served(live):
            yield Hard(world, live)


class Hard:
    """The worst day and its browser."""

    def __init__(self, world: World, live: Live) -> None:
        self.world = world
        self.live = live
        self._page = live.page(world.people[EVERYTHING])
        self._out = live.page()

    def open(self, route: Route) -> Page:
        """That route's page: by nobody where it is open to nobody, else by who has every right."""
        page = self._out if route.permission is Open.AT_THE_DOOR else self._page
        self.live.faults.clear()
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        answer = page.goto(f"{self.live.base}{self.world.path(route, EVERYTHING)}")
        assert answer is not None
        assert answer.status == 200
        return page

    def show_mail(self, route: Route) -> Page:
        """The mail of that route, outside its sandbox, in which no tool can look at it."""
        answer = self._page.request.get(f"{self.live.base}{self.world.path(route, EVERYTHING)}")
        assert answer.status == 200
        self._out.goto("about:blank")
        self._out.set_viewport_size(WIDE)  # type: ignore[arg-type]
        self._out.emulate_media(color_scheme="light")
        self._out.set_content(answer.text())
        return self._out


@pytest.mark.sweep(0.25)
@pytest.mark.parametrize("route", [route for route in PAGES if route not in MAILS], ids=lambda route: route.path)
def test_a_page_is_for_everybody_and_nothing_in_it_runs(route: Route, hard: Hard) -> None:
    page = hard.open(route)
    wrong = [*struck(page), *found_by_axe(page)]
    page.emulate_media(color_scheme="dark")
    wrong += found_by_axe(page, rules=["color-contrast"])
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    wrong += [*too_wide(page), *found_by_axe(page, rules=["target-size"])]
    wrong += page.evaluate("window.violations")
    wrong += hard.live.faults
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("route", MAILS, ids=lambda route: route.path)
def test_a_mail_is_for_everybody_and_nothing_in_it_runs(route: Route, hard: Hard) -> None:
    page = hard.show_mail(route)
    wrong = [*struck(page), *found_by_axe(page, tags=WCAG)]
    page.emulate_media(color_scheme="dark")
    wrong += found_by_axe(page, rules=["color-contrast"])
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    wrong += too_wide(page)
    assert not wrong, "\n".join(wrong)


def struck(page: Page) -> list[str]:
    """What ran or became an element of all that people had written."""
    found = page.evaluate("[window.struck ?? null, document.querySelectorAll('x-struck').length]")
    evaluated = ["a text was taken for a template"] if str(7 * 191) in page.content() else []
    return evaluated if found == [None, 0] else [f"ran, became an element: {found}", *evaluated]


def too_wide(page: Page, width: int = NARROW["width"]) -> list[str]:
    """What sticks out of a narrow screen, so that it scrolls sideways."""
    if page.evaluate("document.documentElement.scrollWidth") <= width:
        return []
    sticking = page.evaluate(
        "(width) => [...document.querySelectorAll('body *')]"
        ".filter((one) => one.getBoundingClientRect().right > width + 1).map((one) => one.outerHTML.slice(0, 120))",
        width,
    )
    return [f"sticks out: {markup}" for markup in sticking[:6]]
