"""What the tests of the desk's pages share: a desk with its people at work, the words of a page, where a form led."""

import re
from html import unescape
from typing import Any
from uuid import UUID

import httpx

from db import accounts as stored
from db.states import Role
from tests.clinic import Desk
from tests.staffed import Browser, Staffed, forms_of

Noted = tuple[str, str | None, UUID | None, list[str]]  # action, subject, patient, fields


class AtWork:
    """A clinic with its pages and one person of each kind, signed in."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.staffed = Staffed(desk.clinic)
        self.rosa = self.come("rosa", Role.RECEPTION)
        self.dana = self.come("dana", Role.CLINICIAN)

    def come(self, login: str, role: Role) -> Browser:
        """One more person, signed in; without a password, whose keeping is slow on purpose and of no matter here."""
        with self.desk.store.write("test", self.desk.clock.now()) as session:
            member = stored.add_member(session, login, login.title(), [role], None)
        browser = self.staffed.browser()
        browser.take(self.staffed.door.open_for(member.id, None, "Tests"))
        return browser

    def trail(self, since: int = 0) -> list[Noted]:
        """What was noted, but for the first so many."""
        found = [(e["action"], e["subject_id"], e["patient_id"], e["fields"]) for e in self.desk.audit()]
        return found[since:]

    async def noted(
        self, browser: Browser, path: str, **more: Any
    ) -> list[tuple[str, str | None, UUID | None, list[str]]]:
        """What asking for a page, or sending a form (`data`), leaves in the trail."""
        before = len(self.trail())
        answer = await (browser.post(path, **more) if "data" in more else browser.get(path))
        assert answer.status_code in (200, 409, 422), (path, answer.status_code)
        return self.trail(before)


async def seen(browser: Browser, path: str) -> str:
    """The words of a page."""
    answer = await browser.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return words(answer)


def words(answer: httpx.Response) -> str:
    """What a person reads on a page, one space between words; without the frame around it."""
    html = answer.text.partition("<main")[2] or answer.text
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def place(answer: httpx.Response) -> str:
    """Where a form led to."""
    assert answer.status_code == 303, (answer.status_code, words(answer))
    return str(answer.headers["location"])


def lines(html: str) -> list[str]:
    """Every line of a page's lists, in words."""
    found = re.findall(r"<li>\s*<div class=\"what\">(.*?)</li>", html, re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]*>", " ", line)).split()) for line in found]


def hidden(html: str, action: str) -> dict[str, str]:
    """The hidden fields of the form that leads to an address."""
    return next(fields for where, fields in forms_of(html) if where == action)
