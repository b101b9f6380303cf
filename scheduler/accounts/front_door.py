"""Getting in and staying in: sign-in with its second factor, sessions, the idle lock, changing person at a shared desk.

Making and changing accounts is in `scheduler.accounts.staff`; which page asks for which right in `web.doors`.
Sessions live by the machine's clock, whatever clock the clinic's record lives by.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from db import accounts as stored
from db import audit
from db.staff import StaffDevice, StaffMember, StaffSession
from db.states import Role
from scheduler.accounts import passwords, second_factor
from scheduler.accounts.rights import NEEDS_SECOND_FACTOR, Right, rights_of
from scheduler.accounts.throttle import PER_ADDRESS, PER_PERSON, Throttle
from scheduler.clinic import Clinic
from scheduler.clock import Clock, SystemClock
from scheduler.errors import InvalidInput, Refused

SESSION: Final = timedelta(hours=12)
IDLE: Final = timedelta(minutes=15)
LONGEST_LOGIN_TYPED: Final = 100  # longer than any sign-in name is; what is counted against is kept in memory
TOUCH: Final = timedelta(seconds=30)  # how stale `seen_at` may be: a write for every page would be many
SECOND_FACTOR_HOLDS: Final = timedelta(hours=12)  # on a browser where it was given
PIN_TRIES: Final = 5
FORGET_AFTER: Final = timedelta(days=30)  # sessions that ended
NOBODY: Final = "nobody"  # the actor of a sign-in that failed
WRONG: Final = "The name or the password is not right."
WRONG_CODE: Final = "This code is not right. The app shows a new one every 30 seconds; each counts once."
WRONG_PIN: Final = "This PIN is not right."
TOO_MANY_PINS: Final = "There were too many wrong PINs. Sign in again."


class SignInAgain(Refused):
    """The session is over: only a whole sign-in opens another."""


@dataclass(frozen=True, slots=True)
class Present:
    """A person at work in one browser, as a page knows her."""

    session_id: UUID
    device_id: UUID
    staff_id: UUID
    login: str
    name: str
    email: str | None
    roles: tuple[Role, ...]
    rights: frozenset[Right]
    complete: bool  # False: her second factor is still to be given, or to be set up
    locked: bool
    has_second_factor: bool
    seen_at: datetime

    @property
    def actor(self) -> str:
        """Her name in the trail and the record."""
        return actor_name(self.login)

    def may(self, right: Right) -> bool:
        """Whether she has a right."""
        return right in self.rights


@dataclass(frozen=True, slots=True, repr=False)
class Opened:
    """A session that has begun or has a new token: the secrets its browser keeps; an empty one stays as it is.

    `complete`: nothing more is asked.
    """

    token: str
    device_token: str
    complete: bool


def actor_name(login: str) -> str:
    """How a member of staff is named as an actor."""
    return f"staff:{login}"


class FrontDoor:
    """One clinic's door. Its methods are safe from any thread."""

    def __init__(self, clinic: Clinic, machine: Clock | None = None, asks_second_factor: bool = True) -> None:
        self.clinic = clinic
        self.asks_second_factor = asks_second_factor  # the demo has no phone
        self._machine = machine or SystemClock()
        self._throttle = Throttle(self._machine)

    @property
    def _key(self) -> bytes:
        return self.clinic.store.vault.ring.tokens

    def now(self) -> datetime:
        """The machine's time, by which sessions live."""
        return self._machine.now()

    def count_address(self, address: str) -> None:
        """Count one try from an address. Raises `TooManyTries`."""
        self._throttle.count(PER_ADDRESS, "address", address)

    def sign_in(self, login: str, password: str, device_token: str | None, address: str, browser: str) -> Opened:
        """Begin a session. Raises `Refused` (the same words whatever was wrong) or `TooManyTries`.

        A try counts before the password is looked at. On a browser that a person has used before, only tries from
        there count against her: nobody elsewhere can shut her out, not even from the same address.
        """
        typed = login.strip().lower()[:LONGEST_LOGIN_TYPED]
        with self.clinic.store.read() as session:
            device = self._device(session, device_token)
            # PostgreSQL takes no zero bytes; sign-in names are of plain letters.
            member = stored.find_by_login(session, typed) if typed.isascii() and typed.isprintable() else None
            at_home = device is not None and member is not None and self._has_been_here(session, device, member)
        if not at_home:
            self.count_address(address)
        who = ("person", typed, device.id.hex if at_home and device else "elsewhere")
        self._throttle.count(PER_PERSON, *who)
        right = passwords.matches(password, member.password_hash if member else None, self._key)
        if member is None or not right or member.disabled_at is not None:
            with self.clinic.store.write(NOBODY, self.clinic.clock.now()) as session:
                audit.record(session, "sign_in.refused", "staff", member.id if member else None)
            raise Refused(WRONG)
        self._throttle.forget(*who)
        return self._open(member.id, device_token if device else None, browser)

    def open_for(self, staff_id: UUID, device_token: str | None, browser: str) -> Opened:
        """Begin a session for somebody who has just set her password by a one-time link."""
        with self.clinic.store.read() as session:
            known = self._device(session, device_token) is not None
        return self._open(staff_id, device_token if known else None, browser)

    def give_code(self, token: str, code: str) -> Opened:
        """Give the second factor: a code of the app, or a recovery code. The session gets a new token.

        Raises `Refused`, `TooManyTries`, or `SignInAgain` when the session is over.
        """
        present = self._still_there(token)
        self.count_code(present)
        with self.clinic.store.read() as session:
            member = session.get_one(StaffMember, present.staff_id)
            secret = stored.open_totp(session, member) if member.totp_confirmed else None
        if secret is None:
            raise Refused("There is no second factor yet: set it up first.")
        step = second_factor.matching_step(secret, code, self.now())
        with self.clinic.store.write(present.actor, self.clinic.clock.now()) as session:
            if step is not None:
                right = stored.use_totp_step(session, present.staff_id, step)
            else:
                recovery = second_factor.normal_recovery_code(code)
                right = stored.use_recovery_code(
                    session, present.staff_id, self._hash("recovery", recovery), self.now()
                )
                if right:
                    audit.record(session, "sign_in.recovery_code", "staff", present.staff_id)
            if not right:
                audit.record(session, "sign_in.code_refused", "staff", present.staff_id)
                opened = None
            else:
                stored.trust_device(session, present.device_id, present.staff_id, self.now())
                opened = self._renew(session, present.session_id, complete=True)
        if opened is None:
            raise Refused(WRONG_CODE)
        self._throttle.forget("code", present.staff_id.hex)
        return opened

    def check_own_password(self, present: Present, password: str) -> None:
        """Raise `InvalidInput` unless it is hers, `TooManyTries` after too many."""
        self._throttle.count(PER_PERSON, "own", present.staff_id.hex)
        with self.clinic.store.read() as session:
            password_hash = session.get_one(StaffMember, present.staff_id).password_hash
        if not passwords.matches(password, password_hash, self._key):
            raise InvalidInput("old_password: is not your present password")
        self._throttle.forget("own", present.staff_id.hex)

    def count_code(self, present: Present) -> None:
        """Count one try of a code. Raises `TooManyTries`."""
        self._throttle.count(PER_PERSON, "code", present.staff_id.hex)

    def who(self, token: str | None) -> Present | None:
        """Who is at work in the browser with this token; None when nobody is any more."""
        if not token:
            return None
        now = self.now()
        with self.clinic.store.read() as session:
            found = stored.find_session(session, self._hash("session", token))
            if found is None:
                return None
            row, member = found
            if row.ended_at is not None or row.ends_at <= now or member.disabled_at is not None:
                return None
            complete = row.complete and self._gave_enough(session, row, member)
            locked = row.locked or now - row.seen_at > IDLE
            if locked and not complete:
                return None  # who comes back to it might be anybody: half in, no PIN would be asked
            return _present(row, member, complete, locked)

    def touch(self, present: Present) -> None:
        """Note that she is there; a page that asks by itself does not."""
        now = self.now()
        if now - present.seen_at > TOUCH:
            with self.clinic.store.write(present.actor, self.clinic.clock.now()) as session:
                stored.touch_session(session, present.session_id, now)

    def lock(self, present: Present) -> None:
        """Show nothing in her browser until she gives her PIN."""
        with self.clinic.store.write(present.actor, self.clinic.clock.now()) as session:
            stored.lock_session(session, present.session_id)

    def unlock(self, present: Present, pin: str) -> None:
        """Open a locked session by its person's PIN. Raises `Refused`; with the fifth wrong one `SignInAgain`."""
        with self.clinic.store.write(present.actor, self.clinic.clock.now()) as session:
            tries = stored.count_pin_try(session, present.session_id, PIN_TRIES)
            pin_hash = session.get_one(StaffMember, present.staff_id).pin_hash
        if tries is None:
            raise SignInAgain(TOO_MANY_PINS)
        if not passwords.matches(pin, pin_hash, self._key):
            if tries < PIN_TRIES:
                raise Refused(WRONG_PIN)
            self.end([present.session_id], present.actor)
            raise SignInAgain(TOO_MANY_PINS)
        with self.clinic.store.write(present.actor, self.clinic.clock.now()) as session:
            row = stored.get_session(session, present.session_id)
            row.locked, row.pin_failures, row.seen_at = False, 0, self.now()

    def list_others(self, present: Present) -> list[Present]:
        """The other people at work in this browser: each may take over with her PIN."""
        with self.clinic.store.read() as session:
            rows = stored.list_sessions(session, self.now(), device_id=present.device_id)
            return [
                _present(row, member, complete=True, locked=True)
                for row, member, _ in rows
                if member.id != present.staff_id and member.disabled_at is None
                if row.complete and self._gave_enough(session, row, member)
            ]

    def switch(self, present: Present, session_id: UUID, pin: str) -> Opened:
        """Let another person of this browser take over with her PIN. Both sessions go on; hers gets a new token.

        Raises `Refused`, or `SignInAgain` for a session that is not of this browser or is over.
        """
        other = next((found for found in self.list_others(present) if found.session_id == session_id), None)
        if other is None:
            raise SignInAgain("That person is not signed in here any more.")
        self.unlock(other, pin)
        self.lock(present)
        with self.clinic.store.write(other.actor, self.clinic.clock.now()) as session:
            return self._renew(session, other.session_id, complete=True)

    def sign_out(self, present: Present) -> None:
        """End this session."""
        self.end([present.session_id], present.actor)

    def sign_out_everywhere(self, present: Present, staff_id: UUID | None = None) -> int:
        """End all sessions of a person, her own or another's, and ask for the second factor again; how many."""
        whose = staff_id or present.staff_id
        with self.clinic.store.write(present.actor, self.clinic.clock.now()) as session:
            ids = [row.id for row, _, _ in stored.list_sessions(session, self.now(), staff_id=whose)]
            stored.end_sessions(session, ids, self.now())
            stored.forget_trust(session, whose)
            audit.record(session, "staff.signed_out_everywhere", "staff", whose)
        return len(ids)

    def end(self, session_ids: list[UUID], actor: str) -> None:
        """End sessions."""
        with self.clinic.store.write(actor, self.clinic.clock.now()) as session:
            stored.end_sessions(session, session_ids, self.now())
            for session_id in session_ids:
                audit.record(session, "staff.signed_out", "session", session_id)

    def finish_second_factor(self, present: Present) -> Opened:
        """She has just proven her new second factor: the browser is trusted, the session whole, under a new token."""
        with self.clinic.store.write(present.actor, self.clinic.clock.now()) as session:
            stored.trust_device(session, present.device_id, present.staff_id, self.now())
            return self._renew(session, present.session_id, complete=True)

    def form_token(self, token: str) -> str:
        """What every form of a session carries, so that no other site can send it in her name."""
        return self._hash("form", token).hex()[:32]

    def needs_second_factor(self, roles: tuple[Role, ...]) -> bool:
        """Whether people with these roles give a second factor."""
        return self.asks_second_factor and bool(NEEDS_SECOND_FACTOR & set(roles))

    def _open(self, staff_id: UUID, device_token: str | None, browser: str) -> Opened:
        now = self.now()
        # The device's secret is a new one too: whoever planted or copied the old one has nothing (fixation).
        token, new_device_token = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        with self.clinic.store.write(NOBODY, self.clinic.clock.now()) as session:
            member = session.get_one(StaffMember, staff_id)
            session.info["actor"] = actor_name(member.login)
            device = self._device(session, device_token)
            if device is None:
                device = stored.add_device(session, self._hash("device", new_device_token), browser, now)
            device.token_hash = self._hash("device", new_device_token)
            here = [row.id for row, _, _ in stored.list_sessions(session, now, staff_id, device.id)]
            stored.end_sessions(session, here, now)  # one session a person and browser
            trusted = stored.find_trust(session, device.id, staff_id)
            roles = tuple(Role(word) for word in member.roles)
            asked = self.asks_second_factor and (self.needs_second_factor(roles) or member.totp_confirmed)
            fresh = trusted is not None and now - trusted < SECOND_FACTOR_HOLDS and member.totp_confirmed
            complete = not asked or fresh
            stored.add_session(session, self._hash("session", token), staff_id, device.id, now, now + SESSION, complete)
            stored.forget_sessions(session, now - FORGET_AFTER)
            audit.record(session, "staff.signed_in", "staff", staff_id)
        return Opened(token, new_device_token, complete)

    def _renew(self, session: Session, session_id: UUID, complete: bool) -> Opened:
        """Give a session a new token: whoever knew the old one has nothing (session fixation)."""
        token = secrets.token_urlsafe(24)
        row = stored.get_session(session, session_id)
        row.token_hash, row.complete, row.seen_at = self._hash("session", token), complete, self.now()
        return Opened(token, "", complete)

    def _gave_enough(self, session: Session, row: StaffSession, member: StaffMember) -> bool:
        """Whether a whole session is still one: a role she was given since may ask for a second factor."""
        roles = tuple(Role(word) for word in member.roles)
        if not self.needs_second_factor(roles):
            return True
        return stored.find_trust(session, row.device_id, member.id) is not None

    def _still_there(self, token: str) -> Present:
        present = self.who(token)
        if present is None:
            raise SignInAgain("The session is over. Sign in again.")
        return present

    def _device(self, session: Session, device_token: str | None) -> StaffDevice | None:
        return stored.find_device(session, self._hash("device", device_token)) if device_token else None

    def _has_been_here(self, session: Session, device: StaffDevice, member: StaffMember) -> bool:
        return stored.has_signed_in(session, device.id, member.id)

    def _hash(self, purpose: str, token: str) -> bytes:
        return self.clinic.store.vault.token_hash(purpose, token)


def _present(row: StaffSession, member: StaffMember, complete: bool, locked: bool) -> Present:
    roles = tuple(Role(word) for word in member.roles)
    return Present(
        session_id=row.id,
        device_id=row.device_id,
        staff_id=member.id,
        login=member.login,
        name=member.name,
        email=member.email,
        roles=roles,
        rights=rights_of(roles),
        complete=complete,
        locked=locked,
        has_second_factor=member.totp_confirmed,
        seen_at=row.seen_at,
    )
