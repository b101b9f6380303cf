"""Every page of a patient, opened in Chromium on a hard day: readable by everybody, in light and dark, on the smallest
phone; light to load, big enough to touch, the way out in reach; nothing that anyone typed runs.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response

from tests.conftest import opened
from tests.live import Live, found_by_axe, served
from tests.pages.test_every_page import struck, too_wide
from tests.private.gallery import PAGES, HerWorld
from web.assets import FOLDER

SMALL = {"width": 320, "height": 640}
MOST_BYTES = 60_000
ASSETS = ("page.css", "page.js", "plain.svg")  # all that a page loads
LEAVES = ("code", "code locked", "step first", "urgent", "questions", "choices", "held")
TOUCHED = "button, .button, select, textarea, input[type=text], .choice label, .scale label, .ways a, summary"


@pytest.fixture(scope="module")
def her_world(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HerWorld]:
    """The hard day."""
    folder = tmp_path_factory.mktemp("hers")
    (folder / "aftercare.db").write_bytes(sqlite_template.read_bytes())
    with opened(f"sqlite:///{folder / 'aftercare.db'}") as engine:
        yield HerWorld(engine, folder / "clinic")


@pytest.fixture(scope="module")
def live(her_world: HerWorld, chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Its pages served."""
    found = Live(her_world.desk, chromium, tmp_path_factory.mktemp("screens"))
    with served(found, her_world.app):
        yield found


@pytest.fixture(scope="module")
def phone(live: Live) -> Page:
    """One small phone for all of them."""
    return live.page(viewport=SMALL, has_touch=True, is_mobile=True)


@pytest.fixture(scope="module")
def plain(live: Live) -> Page:
    """One that runs no script."""
    return live.page(viewport=SMALL, java_script_enabled=False)


class Thumb:
    """A browser as the gallery's hands."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base
        self.answer: Response | None = None

    def open(self, path: str) -> None:
        """Follow a link."""
        self.answer = self.page.goto(self.base + path)

    def send(self, path: str, fields: Mapping[str, str]) -> None:
        """Send a form by the browser itself."""
        with self.page.expect_navigation() as found:
            self.page.evaluate(
                """([action, fields]) => {
                  const form = Object.assign(document.createElement("form"), { method: "post", action });
                  for (const [name, value] of fields) {
                    const field = Object.assign(document.createElement("textarea"), { name, value });
                    form.append(field);
                  }
                  document.body.append(form);
                  HTMLFormElement.prototype.submit.call(form);
                }""",
                [path, list(fields.items())],
            )
        self.answer = found.value


@pytest.mark.sweep(0.25)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_for_everybody_and_nothing_in_it_runs(
    name: str, her_world: HerWorld, live: Live, phone: Page, plain: Page
) -> None:
    live.faults.clear()
    page, thumb = phone, Thumb(phone, live.base)
    page.context.clear_cookies()
    page.emulate_media(color_scheme="light")
    status = her_world.come(name, thumb)
    assert thumb.answer is not None
    assert thumb.answer.status == status
    wrong = [*struck(page), *found_by_axe(page), *too_wide(page, SMALL["width"]), *small(page)]
    page.emulate_media(color_scheme="dark")
    wrong += found_by_axe(page, rules=["color-contrast"])
    wrong += page.evaluate("window.violations")
    weight = len(thumb.answer.body()) + sum((FOLDER / "private" / each).stat().st_size for each in ASSETS)
    wrong += [f"{weight} bytes"] if weight > MOST_BYTES else []
    words = page.inner_text("body")
    assert not [*wrong, *live.faults], "\n".join([*wrong, *live.faults])
    plain.context.clear_cookies()
    if PAGES[name].sends is None:  # a form is sent by a script here; by hand, without any, in tests/stories
        come_without_script(her_world, name, plain, live.base)
        assert plain.inner_text("body") == words


@pytest.mark.parametrize("name", LEAVES)
def test_the_way_out_is_in_reach_and_covers_nothing_that_has_the_focus(
    name: str, her_world: HerWorld, live: Live, phone: Page
) -> None:
    page = phone
    page.context.clear_cookies()
    her_world.come(name, Thumb(page, live.base))
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    out = page.locator("form.leave button").bounding_box()
    assert out is not None
    assert out["y"] >= 0
    assert out["y"] + out["height"] <= SMALL["height"] / 8
    bar = page.locator("header").bounding_box()
    assert bar is not None
    for place in page.locator("main").locator("a, button, summary, input, select, textarea").all():
        if place.is_visible():
            place.focus()
            box = place.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] > bar["height"], place.evaluate("one => one.outerHTML")


def test_the_urgent_advice_among_the_questions_opens_on_the_spot(her_world: HerWorld, live: Live, phone: Page) -> None:
    page = phone
    page.context.clear_cookies()
    her_world.come("questions", Thumb(page, live.base))
    page.locator("#words").fill("May I swim?")
    page.locator("details summary").click()
    assert page.locator("details .urgent a[href^=tel]").first.is_visible()
    assert page.locator("#words").input_value() == "May I swim?"
    assert [*found_by_axe(page), *too_wide(page, SMALL["width"]), *small(page)] == []


def small(page: Page) -> list[str]:
    """What is too small for a thumb."""
    found: list[str] = page.evaluate(
        "(touched) => [...document.querySelectorAll(touched)]"
        ".filter((one) => one.checkVisibility())"
        ".filter((one) => { const box = one.getBoundingClientRect(); return box.height < 44 || box.width < 44; })"
        ".map((one) => `too small: ${one.outerHTML.slice(0, 120)}`)",
        TOUCHED,
    )
    return found


def come_without_script(world: HerWorld, name: str, page: Page, base: str) -> None:
    """Open a page as somebody does whose browser runs no script."""

    class Fingers:
        """What a page's own form does when its fields are filled in."""

        def open(self, path: str) -> None:
            page.goto(base + path)

        def send(self, path: str, fields: Mapping[str, str]) -> None:
            page.locator("#code").fill(fields["code"])
            page.locator(f'form[action="{path}"] button').click()

    world.come(name, Fingers())
