"""Staff with accounts for the tests of the pages, and a browser each: a client that keeps cookies and sends tokens."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http.cookies import SimpleCookie
from typing import Any
from uuid import UUID

import httpx
import pyotp
from fastapi import FastAPI

from db import accounts as stored
from db.staff import StaffMember
from db.states import Role
from db.vault import KeyRing
from scheduler.accounts import passwords
from scheduler.accounts.front_door import FrontDoor, Opened
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from web.app import make_app

PASSWORD = "seven wet green umbrellas"
PIN = "2846"
KEYS = KeyRing.make()  # one ring for all of these tests, so that each secret is hashed once
HOST = "127.0.0.1:8000"
# The machine's clock of these tests: sessions live by it, not by the clinic's.
MACHINE_START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Account:
    """One person of staff as the tests know her."""

    id: UUID
    login: str
    roles: tuple[Role, ...]
    totp: str | None = None


class Staffed:
    """A clinic with its pages, a door whose clock a test moves, and people who come in by it."""

    def __init__(self, clinic: Clinic, asks_second_factor: bool = False) -> None:
        self.clinic = clinic
        self.machine = FastClock(MACHINE_START, speed=0)
        self.door = FrontDoor(clinic, self.machine, asks_second_factor)

    @cached_property
    def app(self) -> FastAPI:
        """Its pages; made when the first browser comes."""
        return make_app(self.clinic, door=self.door)

    def hire(self, login: str, *roles: Role, totp: bool = False, email: str | None = None) -> Account:
        """An account with the tests' password and PIN."""
        secret = pyotp.random_base32() if totp else None
        key = self.clinic.store.vault.ring.tokens
        with self.clinic.store.write("test", self.clinic.clock.now()) as session:
            member = stored.add_member(session, login, login.title(), roles, email)
            member.password_hash, member.pin_hash = _password_hash(key), _pin_hash(key)
            if secret:
                stored.seal_totp(session, member, secret)
                member.totp_confirmed = True
            return Account(member.id, login, roles, secret)

    def browser(self, encrypted: bool = False) -> "Browser":
        """A browser that nobody has signed in with; `encrypted`: it comes through a proxy that speaks TLS."""
        return Browser(self, encrypted)

    def at_work(self, login: str, *roles: Role) -> "Browser":
        """A new person, signed in."""
        account = self.hire(login, *roles)
        browser = self.browser()
        browser.take(self.door.open_for(account.id, None, "Tests"))
        return browser

    def code(self, account: Account) -> str:
        """What her authenticator app shows now."""
        return pyotp.TOTP(account.totp or "").at(self.machine.now())

    def member(self, account: Account) -> StaffMember:
        """Her row."""
        with self.clinic.store.read() as session:
            return session.get_one(StaffMember, account.id)


class Browser:
    """A browser as the pages see one: cookies, `Origin`, the token of its session in every form. No redirects."""

    def __init__(self, staffed: Staffed, encrypted: bool = False) -> None:
        self._staffed = staffed
        self._encrypted = encrypted
        self.cookies: dict[str, str] = {}

    def take(self, opened: Opened) -> None:
        """Keep the cookies of a session."""
        self.cookies |= {self._called("session"): opened.token, self._called("device"): opened.device_token}

    @property
    def session(self) -> str | None:
        """The token of its session."""
        return self.cookies.get(self._called("session"))

    @property
    def token(self) -> str:
        """The form token of its session."""
        return self._staffed.door.form_token(self.session or "")

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask for a page."""
        return await self.send("GET", path, headers=headers)

    async def post(
        self, path: str, data: Mapping[str, str | Sequence[str]] | None = None, token: bool = True, **more: Any
    ) -> httpx.Response:
        """Send a form."""
        values: dict[str, Any] = dict(data or {})
        if token and self.session:
            values.setdefault("form_token", self.token)
        scheme = "https" if self._encrypted else "http"
        headers = {"Origin": f"{scheme}://{HOST}", "Sec-Fetch-Site": "same-origin", **more.pop("headers", {})}
        return await self.send("POST", path, data=values, headers=headers, **more)

    async def send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        """Any request."""
        sent = dict(headers or {})
        if self.cookies:
            sent.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        if self._encrypted:
            sent.setdefault("X-Forwarded-Proto", "https")
        transport = httpx.ASGITransport(self._staffed.app, client=("127.0.0.1", 40_000))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}", trust_env=False) as client:
            answer = await client.request(method, path, headers=sent, **more)
        for line in answer.headers.get_list("set-cookie"):
            for name, cookie in SimpleCookie(line).items():
                if cookie["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = cookie.value
        return answer

    def _called(self, name: str) -> str:
        return f"{'__Host-' if self._encrypted else ''}aftercare-{name}"


def forms_of(page: str) -> list[tuple[str, dict[str, str]]]:
    """The action of every form of a page and its hidden fields."""
    found = []
    for form in re.findall(r"<form\b[^>]*>.*?</form>", page, re.DOTALL):
        action = re.search(r'<form\b[^>]*\baction="([^"]*)"', form)
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
        found.append((action[1] if action else "", dict(hidden)))
    return found


async def sign_in(browser: Browser, login: str, password: str = PASSWORD, **more: str) -> httpx.Response:
    """Send the sign-in form."""
    return await browser.post("/sign-in", {"login": login, "password": password, **more})


def place(answer: httpx.Response) -> str:
    """Where an answer leads."""
    assert answer.status_code == 303, answer.status_code
    return str(answer.headers["location"])


def kept(answer: httpx.Response, action: str) -> dict[str, str]:
    """The hidden fields of the form that leads there."""
    fields = next(fields for to, fields in forms_of(answer.text) if html.unescape(to) == action)
    return {name: html.unescape(value) for name, value in fields.items()}


_HASHES: dict[tuple[str, bytes], str] = {}


def _password_hash(key: bytes) -> str:
    return _hash(PASSWORD, key)


def _pin_hash(key: bytes) -> str:
    return _hash(PIN, key)


def _hash(secret: str, key: bytes) -> str:
    """Hashing is slow on purpose: once a key."""
    if (secret, key) not in _HASHES:
        _HASHES[(secret, key)] = passwords.keep(secret, key)
    return _HASHES[(secret, key)]
