"""A patient with her phone for the tests of her page: a mail that was sent to her, its links, and what she taps."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from sqlalchemy import select

from db.follow_up import CareEvent, Reminder
from db.private_page import PageCodeKind, RaisedKind, RaisedLine
from db.records import Patient
from db.states import AttemptOutcome, EventKind, StepKind
from scheduler import private_page
from scheduler.clinic import Clinic
from scheduler.compose import Letter
from tests.clinic import STAFF, Desk
from web.private.app import make_private_app

PUBLIC = "http://127.0.0.1:8001"
CODE = "plum tree 7"
TOXIN = "vaginismus-toxin"
TOKEN = r"k[0-9jkqwxz]{32}"
WITH_PAGES = {"PUBLIC_URL": PUBLIC}


@dataclass(frozen=True, slots=True)
class Sent:
    """One mail that left: its letter, and the tokens in it."""

    letter: Letter
    page: str
    stop: str


def send_all(desk: Desk) -> list[Sent]:
    """Everything that is due leaves and is taken."""
    worker = desk.worker()
    sent = []
    for claim in desk.claim(worker):
        letter = desk.letter(claim)
        number = desk.mark(worker, claim, letter)
        desk.end(worker, claim, number, AttemptOutcome.ACCEPTED, letter.email_version)
        sent.append(read_sent(letter))
    return sent


def read_sent(letter: Letter) -> Sent:
    """The tokens that a mail's text shows."""
    page, stop = (re.search(rf"{PUBLIC}/{kind}/({TOKEN})\b", letter.rendered.html) for kind in ("l", "u"))
    return Sent(letter, page[1] if page else "", stop[1] if stop else "")


def choose_code(clinic: Clinic, patient_id: UUID, code: str = CODE) -> None:
    """She chooses a code at the desk."""
    private_page.set_code(clinic, STAFF, patient_id, PageCodeKind.WORD, code)


class Client:
    """Requests to an app from an address, one after the other; keeps cookies and follows redirects."""

    def __init__(self, app: FastAPI, address: str) -> None:
        self._app = app
        self._address = address
        self.headers: dict[str, str] = {}
        self.cookies = httpx.Cookies()

    def get(self, path: str) -> httpx.Response:
        """Ask for a page."""
        return self.send("GET", path)

    def head(self, path: str) -> httpx.Response:
        """Ask for a page's head."""
        return self.send("HEAD", path)

    def post(self, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> httpx.Response:
        """Send a form."""
        return self.send("POST", path, headers, **more)

    def send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, follow: bool = True, **more: Any
    ) -> httpx.Response:
        """Any request."""

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, client=(self._address, 40_000))
            async with httpx.AsyncClient(
                transport=transport, base_url=PUBLIC, trust_env=False, cookies=self.cookies, follow_redirects=follow
            ) as client:
                answer = await client.request(method, path, headers={**self.headers, **(headers or {})}, **more)
                self.cookies = client.cookies
                return answer

        return asyncio.run(asked())


class Phone:
    """Her phone: keeps cookies, follows where forms lead, and knows what page it shows."""

    def __init__(self, clinic: Clinic, address: str = "127.0.0.1") -> None:
        self.app = make_private_app(clinic)
        self.client = Client(self.app, address)
        self.shown: httpx.Response | None = None

    def open(self, token: str, path: str = "", kind: str = "l") -> httpx.Response:
        """Follow a link."""
        self.shown = self.client.get(f"/{kind}/{token}{path}")
        return self.shown

    def send(self, token: str, path: str, kind: str = "l", **fields: Any) -> httpx.Response:
        """Send a form, as a page of ours does."""
        self.shown = self.client.post(f"/{kind}/{token}{path}", data=fields, headers={"Origin": PUBLIC})
        return self.shown

    def enter(self, token: str, code: str = CODE) -> httpx.Response:
        """Open the page and give the code."""
        self.open(token)
        return self.send(token, "/code", code=code)

    @property
    def words(self) -> str:
        """What the page says, without its tags."""
        if self.shown is None:
            return ""
        body = re.sub(r"(?s)<head>.*?</head>|<[^>]+>", " ", self.shown.text)
        return unescape(re.sub(r"\s+", " ", body))

    def forms(self) -> Iterator[str]:
        """Where the page's forms go."""
        if self.shown is not None:
            yield from re.findall(r'<form[^>]* action="([^"]+)"', self.shown.text)


def events(desk: Desk) -> list[CareEvent]:
    """All that was recorded, in order."""
    with desk.store.read() as session:
        rows = list(session.scalars(select(CareEvent).order_by(CareEvent.recorded_at, CareEvent.id)))
        for row in rows:
            assert row.fields is not None
        return rows


def kinds(desk: Desk) -> list[EventKind]:
    """The kinds of it."""
    return [event.kind for event in events(desk)]


def lines(desk: Desk) -> list[RaisedKind]:
    """What is open on the staff's list."""
    with desk.store.read() as session:
        return [row.kind for row in session.scalars(select(RaisedLine).where(RaisedLine.closed_at.is_(None)))]


def rows(desk: Desk, kind: StepKind = StepKind.EXERCISE) -> list[Reminder]:
    """Reminders of a kind, by their times."""
    with desk.store.read() as session:
        return list(session.scalars(select(Reminder).where(Reminder.kind == kind).order_by(Reminder.due_at)))


def patients_of(desk: Desk) -> list[UUID]:
    """Everybody's id."""
    with desk.store.read() as session:
        return list(session.scalars(select(Patient.id)))


def gone(phone: Phone, token: str, kind: str = "l") -> bool:
    """Whether a link opens nothing."""
    answer = phone.open(token, kind=kind)
    return answer.status_code == 404 and "This page has ended" in phone.words


def started(desk: Desk, treatment_id: UUID) -> None:
    """The clinician starts the part done alone."""
    desk.event(treatment_id, EventKind.SOLO_STARTED)
