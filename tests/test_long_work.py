"""Work that takes long: its page goes on by itself, ends where it leads, and is nobody else's."""

import threading
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi import Request
from fastapi.responses import Response

from db.engine import Store
from db.states import Role
from db.vault import KeyRing
from scheduler.accounts.rights import Right
from scheduler.clock import FastClock
from scheduler.errors import Refused
from tests.staffed import KEYS, Browser, Staffed, place
from tests.web_parts import make_clinic
from web import long_work
from web.app import ROUTES, make_app
from web.doors import Route
from web.forms import EmptyForm
from web.long_work import Progress, Run, Told, Works


@pytest.fixture
def keyring() -> KeyRing:
    """The keys that the secrets of the tests' staff are hashed with."""
    return KEYS


class Bench:
    """A page with one button that begins whatever a test gives it."""

    def __init__(self, staffed: Staffed) -> None:
        self.run: Run = lambda tell: "/today"
        routes = (*ROUTES, Route("/bench", "POST", Right.OWN, self._begin))
        staffed.__dict__["app"] = make_app(staffed.clinic, routes, staffed.door)
        self.rosa = staffed.at_work("rosa", Role.RECEPTION)
        self.other = staffed.at_work("otto", Role.AUDITOR)

    def _begin(self, request: Request) -> Response:
        EmptyForm.read(request)
        return long_work.start(request, "Planning again", self.run, "/patients")

    async def begin(self, run: Run) -> str:
        """Where the button leads."""
        self.run = run
        return place(await self.rosa.post("/bench"))


@pytest.fixture
def bench(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> Bench:
    """A clinic in which one work can be begun."""
    return Bench(Staffed(make_clinic(sqlite_store, clock, tmp_path / "var")))


async def look(browser: Browser, path: str) -> str:
    """The page of a work."""
    answer = await browser.get(path)
    assert answer.status_code == 200
    return answer.text


async def test_a_work_that_ends_soon_leads_straight_on(bench: Bench) -> None:
    assert await bench.begin(lambda tell: "/today?done=noted") == "/today?done=noted"


async def test_a_work_leads_to_no_other_host(bench: Bench) -> None:
    assert await bench.begin(lambda tell: "//evil.example.org/") == "/today"


async def test_a_longer_one_shows_how_far_it_is_and_then_leads_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_work, "SOON", 0.0)
    told, go_on = threading.Event(), threading.Event()

    def run(tell: Progress) -> str:
        tell(3, 12)
        told.set()
        assert go_on.wait(5)
        return "/patients"

    path = await bench.begin(run)
    assert told.wait(5)
    page = await look(bench.rosa, path)
    assert "3 of 12 · 25 per cent" in page
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page
    for browser, other in ((bench.other, path), (bench.rosa, "/progress/" + "0" * 32)):
        page = await look(browser, other)
        assert "This has ended" in page
        assert "Planning again" not in page
    go_on.set()
    works: Works = bench_works(bench)
    work = next(iter(works._works.values()))
    assert work.ended.wait(5)
    assert place(await bench.rosa.get(path)) == "/patients"
    renewed = await bench.rosa.get(path, **{"HX-Request": "true"})
    assert (renewed.status_code, renewed.headers["hx-redirect"]) == (204, "/patients")


async def test_what_a_work_refuses_or_tells_stands_on_its_page(bench: Bench) -> None:
    def refuse(tell: Progress) -> str:
        raise Refused("it changed since it was shown\nlook at it again")

    page = await look(bench.rosa, await bench.begin(refuse))
    assert "<p>It changed since it was shown</p><p>Look at it again</p>" in page
    assert 'href="/patients"' in page
    page = await look(bench.rosa, await bench.begin(lambda tell: Told("Sent", ["The server took <it>."], "/account")))
    assert "<h1>Sent</h1>" in page
    assert "The server took &lt;it&gt;." in page


async def test_a_work_that_breaks_says_so_and_tells_no_value(bench: Bench) -> None:
    def break_down(tell: Progress) -> str:
        raise ValueError("Amina Haddad")

    page = await look(bench.rosa, await bench.begin(break_down))
    assert "That was not finished" in page
    assert "Amina" not in page


def test_works_are_forgotten_after_an_hour_or_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_work, "MOST", 3)
    works, owner = Works(), uuid4()
    begun = [works.begin(owner, "x", lambda tell: "/today", "/") for _ in range(6)]
    for work in begun:
        assert work.ended.wait(5)
    last = works.begin(owner, "x", lambda tell: "/today", "/")
    assert works.find(last.name, owner) is not None
    assert works.find(begun[0].name, owner) is None
    assert last.ended.wait(5)
    monkeypatch.setattr(long_work, "KEPT", -1.0)
    works.begin(owner, "x", lambda tell: "/today", "/").ended.wait(5)
    assert works.find(last.name, owner) is None


def bench_works(bench: Bench) -> Works:
    """The works of its app."""
    works: Works = bench.rosa._staffed.app.state.works
    return works
