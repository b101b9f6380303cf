"""Figures with something in them, in Chromium: for everybody, narrow and wide, light and dark; nothing small drawn."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from db.states import Role
from scheduler import reviews
from scheduler.reviews import ReviewForm
from tests.clinic import STAFF, Desk
from tests.live import Live, found_by_axe, served


def fill(desk: Desk) -> None:
    """Eleven invented patients: six came in time, five are lost."""
    for number in range(11):
        patient_id = desk.enter(record_number=f"D-{number}", email=f"d{number}@example.org")
        treatment_id = desk.treat(patient_id, "2026-11-02T09:30").treatment_id
        if number < 6:
            form = ReviewForm("two-week", "2026-11-16T08:00", "progressing", {"pain_on_touch": str(number)})
            reviews.complete(desk.clinic, STAFF, treatment_id, form)


@pytest.mark.long
def test_figures_are_for_everybody_and_nothing_small_is_drawn(
    sqlite_desk: Desk, chromium: Browser, tmp_path: Path
) -> None:
    fill(sqlite_desk)
    live = Live(sqlite_desk, chromium, tmp_path)
    with served(live):
        mona = live.staffed.hire("mona", Role.MANAGER)
        for width in (360, 1280):
            for scheme in ("light", "dark"):
                page = live.page(mona, viewport={"width": width, "height": 900}, color_scheme=scheme)
                live.go(page, "/figures")
                live.faults += found_by_axe(page)
                assert page.evaluate("document.documentElement.scrollWidth") <= width
        drawn = [title.text_content() or "" for title in page.locator("svg title").all()]
        page.get_by_text("Mona", exact=True).click()
        assert page.get_by_role("link", name="Figures").get_attribute("aria-current") == "page"
    assert live.faults == []
    assert sorted(drawn) == [
        "November 2026: 5 lost",
        "November 2026: 6 held within",
        "Week 2: median 2.5, quartiles 1.25 to 3.75",
    ]
    counts = [int(count) for words in drawn for count in re.findall(r": (\d+) (?:held|lost)", words)]
    assert min(counts) >= 5
