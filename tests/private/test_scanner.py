"""A mail scanner that opens every link of many mails, and a guesser: nothing changes, and nothing is found.

By itself a short form; `make scan` takes 500 mails, a real browser and 100,000 guesses (`AFTERCARE_SCAN`).
"""

import os
import random
import re
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser

from scheduler import private_page
from scheduler.page_links import TOKEN_BYTES, tokens_of
from scheduler.settings import SHIPPED
from tests.clinic import Desk, dump
from tests.live import Live, served
from tests.people import AMINA, BEATRIX
from tests.private_parts import PUBLIC, TOKEN, TOXIN, WITH_PAGES, Client, Phone, Sent, choose_code, send_all
from web.private.app import make_private_app

LONG: Final = bool(os.environ.get("AFTERCARE_SCAN"))
MAILS: Final = 500 if LONG else 60
GUESSES: Final = 100_000 if LONG else 2_000
LINK: Final = re.compile(rf"{re.escape(PUBLIC)}(/[lu]/{TOKEN})\b")


def links_in(sent: Sent) -> set[str]:
    """Every link of ours anywhere in a mail."""
    return set(LINK.findall(sent.letter.rendered.html)) | set(LINK.findall(sent.letter.rendered.text))


@pytest.fixture
def pages_desk(sqlite_desk: Desk) -> Desk:
    """Patients of this clinic have pages."""
    desk = sqlite_desk.with_settings(**WITH_PAGES)
    desk.write_protocol((SHIPPED / "protocols" / f"{TOXIN}.toml").read_text(encoding="utf-8"), TOXIN)
    desk.approve(TOXIN)
    return desk


@pytest.fixture
def mails(pages_desk: Desk) -> list[Sent]:
    """Many mails that left: notices, full texts, and questions whether an address is hers."""
    desk = pages_desk
    for number in range(MAILS):
        level = ("notice", "general", "full")[number % 3]
        confirmed = None if number % 10 == 9 else "yes"
        email = f"tara{number}@example.org"
        patient = desk.enter(BEATRIX, email=email, record_number=None, level=level, confirmed=confirmed)
        if number % 2 and confirmed:
            choose_code(desk.clinic, patient)
        desk.treat(patient, protocol=TOXIN)
    desk.tick(hours=8)
    sent: list[Sent] = []
    while len(sent) < MAILS:
        more = send_all(desk)
        assert more, len(sent)
        sent += more
    return sent


@pytest.mark.long
def test_a_scanner_that_opens_every_link_changes_nothing(pages_desk: Desk, mails: list[Sent]) -> None:
    links = sorted({link for sent in mails for link in links_in(sent)})
    assert len(links) > MAILS
    client = Client(make_private_app(pages_desk.clinic), "127.0.0.1")
    before = dump(pages_desk.store)
    seen = Counter(client.send(method, link, follow=False).status_code for link in links for method in ("HEAD", "GET"))
    assert seen == {200: 2 * len(links)}
    assert dump(pages_desk.store) == before


@pytest.mark.skipif(not LONG, reason="make scan opens every link in a browser")
def test_a_browser_that_opens_every_link_and_follows_what_it_finds_changes_nothing(
    pages_desk: Desk, mails: list[Sent], chromium: Browser, tmp_path: Path
) -> None:
    live = Live(pages_desk, chromium, tmp_path)
    before = dump(pages_desk.store)
    with served(live, make_private_app(pages_desk.clinic)):
        page = live.page()
        for link in sorted({link for sent in mails for link in links_in(sent)}):
            page.goto(live.base + link)
            for further in page.eval_on_selector_all("a[href]", "all => all.map(one => one.href)"):
                if further.startswith(live.base):
                    page.goto(further)
    assert live.faults == []
    assert dump(pages_desk.store) == before


def flipped(token: str, draw: random.Random) -> str:
    """A token with one sign changed."""
    place = draw.randrange(1, len(token))
    return token[:place] + draw.choice(sorted(set("kwjk9q6z2140x3587") - {token[place]})) + token[place + 1 :]


def test_no_guess_opens_anything_and_guessing_is_slowed_down(pages_desk: Desk) -> None:
    desk = pages_desk
    patient = desk.enter(AMINA, level="notice")
    desk.treat(patient, protocol=TOXIN)
    desk.tick(hours=8)
    (sent,) = send_all(desk)
    vault = desk.clinic.store.vault
    draw = random.Random(7)  # noqa: S311 (no secret: the same guesses again)
    alive = {sent.page, sent.stop}
    assert "" not in alive
    one_sign_off = [
        token[:place] + sign + token[place + 1 :]
        for token in sorted(alive)
        for place in range(len(token))
        for sign in sorted(set("".join(alive)) - {token[place]})
    ]
    begun = time.monotonic()
    hits = 0
    guesses = [*one_sign_off, *(tokens_of(vault, draw.randbytes(TOKEN_BYTES).hex()).page for _ in range(GUESSES))]
    tried = max(GUESSES, len(one_sign_off))
    for guess in guesses[:tried]:
        page, stop = private_page.open_link(desk.clinic, guess), private_page.open_stop(desk.clinic, guess)
        hits += page is not None or stop is not None
    took = time.monotonic() - begun
    print(f"{tried} guesses, {hits} hits, {tried / took:.0f} a second")  # noqa: T201 (pytest shows it when asked to)
    assert hits == 0
    somebody = Phone(desk.clinic, "203.0.113.9")
    somebody.client.headers["X-Forwarded-Proto"] = "https"
    codes = Counter(somebody.open(flipped(sent.page, draw)).status_code for _ in range(200))
    assert codes == {404: 20, 429: 180}
