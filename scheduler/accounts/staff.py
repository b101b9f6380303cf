"""Use cases about accounts: add, invite, reset, disable; joining by a one-time link; one's own secrets.

Getting in with them is in `scheduler.accounts.front_door`.
"""

import re
import secrets
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import accounts as stored
from db import audit
from db.staff import AccountLink, StaffMember
from db.states import LinkPurpose, Role
from db.vault import normal
from scheduler.accounts import passwords, second_factor
from scheduler.accounts.front_door import WRONG_CODE, FrontDoor, Present, actor_name
from scheduler.clinic import Clinic
from scheduler.entries import check_email, clean_text
from scheduler.errors import InvalidInput, NotFound, Refused

LINK_HOLDS: Final = timedelta(days=3)
LOGIN: Final = re.compile(r"[a-z][a-z0-9]*(?:[.-][a-z0-9]+)*")
LONGEST_LOGIN: Final = 40


class LinkOver(Refused):
    """A one-time link that was used, has expired, or never was."""

    def __init__(self) -> None:
        super().__init__("This link is no longer of use: it works once, for three days. Ask for a new one.")


@dataclass(frozen=True, slots=True)
class Invited:
    """Whom a one-time link is for. None: the first account of the clinic, its name still to be chosen."""

    purpose: LinkPurpose
    staff_id: UUID | None
    login: str
    name: str


@dataclass(frozen=True, slots=True, repr=False)
class Joining:
    """What a person enters behind a one-time link. `login`, `name`: only for the first account."""

    password: str
    pin: str
    login: str = ""
    name: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """A person with an account, for lists."""

    id: UUID
    login: str
    name: str
    roles: tuple[Role, ...]
    email: str | None
    joined: bool  # she has set a password
    has_second_factor: bool
    disabled_at: datetime | None


def first_link(clinic: Clinic, machine_now: datetime) -> str | None:
    """The token that creates the first account; None once there is any. An earlier one ends."""
    with clinic.store.write("service", clinic.clock.now()) as session:
        if stored.count_members(session):
            return None
        return _link(session, clinic, LinkPurpose.FIRST, None, machine_now)


def add(
    clinic: Clinic, actor: str, name: str, roles: Iterable[Role], login: str | None, email: str | None, now: datetime
) -> tuple[UUID, str]:
    """Enter a person; her id and the token with which she sets her password. Raises `InvalidInput`."""
    wanted = tuple(dict.fromkeys(roles))
    cleaned, problems = _check_name(name)
    chosen, problem = _check_login(login or _login_of(cleaned))
    problems += [problem] if problem else []
    address, problem = _check_address(email)
    problems += [problem] if problem else []
    if not wanted:
        problems.append(f"role: choose at least one of {', '.join(role.value for role in Role)}")
    if problems:
        raise InvalidInput(*problems)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        try:
            member = stored.add_member(session, chosen, cleaned, wanted, address)
        except IntegrityError:  # asked beforehand, two at one moment would both be told that it is free
            raise InvalidInput(f'login: "{chosen}" is taken; choose another') from None
        audit.record(session, "staff.added", "staff", member.id, fields=["name", "roles"])
        return member.id, _link(session, clinic, LinkPurpose.INVITE, member.id, now)


def reset(clinic: Clinic, actor: str, staff_id: UUID, now: datetime) -> str:
    """Let a person set everything anew: her sessions end, her password and second factor count no more; the token."""
    with clinic.store.write(actor, clinic.clock.now()) as session:
        member = _get(session, staff_id, lock=True)
        if member.disabled_at is not None:
            raise Refused(f"the account of {member.name} is disabled; enable it first")
        member.password_hash = member.pin_hash = member.totp_sealed = None
        member.totp_confirmed = False
        stored.replace_recovery_codes(session, member.id, [])
        _end_sessions(session, member.id, now)
        audit.record(session, "staff.reset", "staff", member.id, fields=["password", "pin", "second_factor"])
        return _link(session, clinic, LinkPurpose.RESET, member.id, now)


def disable(clinic: Clinic, actor: str, staff_id: UUID, now: datetime) -> None:
    """End a person's access at once; what she did stays hers. Raises `Refused` for the last manager."""
    with clinic.store.write(actor, clinic.clock.now()) as session:
        members = stored.lock_members(session)
        member = _get(session, staff_id)
        if member.disabled_at is not None:
            raise Refused(f"the account of {member.name} is disabled already")
        _keep_a_manager(members, member, ())
        member.disabled_at = now
        stored.end_links(session, member.id, now)
        _end_sessions(session, member.id, now)
        audit.record(session, "staff.disabled", "staff", member.id)


def enable(clinic: Clinic, actor: str, staff_id: UUID) -> None:
    """Give a person her access back, with the password and second factor she had."""
    with clinic.store.write(actor, clinic.clock.now()) as session:
        member = _get(session, staff_id)
        if member.disabled_at is None:
            raise Refused(f"the account of {member.name} is not disabled")
        member.disabled_at = None
        audit.record(session, "staff.enabled", "staff", member.id)


def change_roles(clinic: Clinic, actor: str, staff_id: UUID, roles: Iterable[Role]) -> None:
    """Change what a person may do: from her next page on. Raises `InvalidInput` or, for the last manager, `Refused`."""
    wanted = tuple(dict.fromkeys(roles))
    if not wanted:
        raise InvalidInput(f"role: choose at least one of {', '.join(role.value for role in Role)}")
    with clinic.store.write(actor, clinic.clock.now()) as session:
        members = stored.lock_members(session)
        member = _get(session, staff_id)
        _keep_a_manager(members, member, wanted)
        member.roles = sorted(role.value for role in wanted)
        audit.record(session, "staff.roles_changed", "staff", member.id, fields=["roles"])


def list_members(clinic: Clinic) -> list[Member]:
    """Everybody with an account, by name."""
    with clinic.store.read() as session:
        return [member_of(row) for row in stored.list_members(session)]


def find_by_login(clinic: Clinic, login: str) -> Member:
    """The person who signs in under that name. Raises `NotFound`."""
    with clinic.store.read() as session:
        row = stored.find_by_login(session, login.strip().lower())
    if row is None:
        raise NotFound(f'there is nobody who signs in as "{login}"; staff list shows all')
    return member_of(row)


def invited(door: FrontDoor, token: str) -> Invited:
    """Whom a one-time link is for. Looking changes nothing. Raises `LinkOver`."""
    with door.clinic.store.read() as session:
        link = _usable(session, door, token)
        member = stored.find_member(session, link.staff_id) if link.staff_id else None
        if member is not None and member.disabled_at is not None:
            raise LinkOver
        return Invited(link.purpose, link.staff_id, member.login if member else "", member.name if member else "")


def join(door: FrontDoor, token: str, form: Joining) -> UUID:
    """Set a password and PIN behind a one-time link, which is spent by it; the person's id.

    Raises `InvalidInput` with every problem (the link stays good), or `LinkOver`.
    """
    clinic = door.clinic
    guest = invited(door, token)
    problems: list[str] = []
    login, name, address = guest.login, guest.name, None
    if guest.staff_id is None:
        name, problems = _check_name(form.name)
        login, problem = _check_login(form.login or _login_of(name))
        problems += [problem] if problem else []
        address, problem = _check_address(form.email)
        problems += [problem] if problem else []
    problems += _secret_problems(form.password, form.pin, login, name)
    if problems:
        raise InvalidInput(*problems)
    key = clinic.store.vault.ring.tokens
    password_hash, pin_hash = passwords.keep(form.password, key), passwords.keep(form.pin, key)
    with clinic.store.write(actor_name(login), clinic.clock.now()) as session:
        link = _usable(session, door, token)
        if not stored.use_link(session, link.id, door.now()):
            raise LinkOver
        if link.staff_id is None:
            if stored.count_members(session):
                raise LinkOver  # the first account was made meanwhile
            member = stored.add_member(session, login, name, (Role.CLINICIAN, Role.MANAGER), address)
        else:
            member = _get(session, link.staff_id, lock=True)
        if member.disabled_at is not None:
            raise LinkOver
        member.password_hash, member.pin_hash = password_hash, pin_hash
        audit.record(session, "staff.joined", "staff", member.id, fields=["password", "pin"])
        return member.id


def change_secrets(door: FrontDoor, present: Present, old_password: str, password: str, pin: str) -> None:
    """Change one's own password, PIN or both; empty ones stay. Raises `InvalidInput`, `Refused` or `TooManyTries`."""
    clinic = door.clinic
    door.check_own_password(present, old_password)
    problems = []
    if password:
        problem = passwords.password_problem(password, present.login, present.name)
        problems += [problem] if problem else []
    if pin:
        problem = passwords.pin_problem(pin)
        problems += [problem] if problem else []
    if not password and not pin:
        problems.append("password: write a new password, a new PIN or both")
    if problems:
        raise InvalidInput(*problems)
    key = clinic.store.vault.ring.tokens
    password_hash, pin_hash = (passwords.keep(secret, key) if secret else None for secret in (password, pin))
    with clinic.store.write(present.actor, clinic.clock.now()) as session:
        member = _get(session, present.staff_id)
        if password_hash:
            member.password_hash = password_hash
            others = [
                row.id
                for row, _, _ in stored.list_sessions(session, door.now(), staff_id=member.id)
                if row.id != present.session_id
            ]
            stored.end_sessions(session, others, door.now())
        if pin_hash:
            member.pin_hash = pin_hash
        changed = [name for name, value in (("password", password), ("pin", pin)) if value]
        audit.record(session, "staff.secrets_changed", "staff", member.id, fields=changed)


def change_address(clinic: Clinic, present: Present, email: str) -> None:
    """Change where one's own test mails go; empty for nowhere. Raises `InvalidInput`."""
    address, problem = _check_address(email)
    if problem:
        raise InvalidInput(problem)
    with clinic.store.write(present.actor, clinic.clock.now()) as session:
        _get(session, present.staff_id).email = address
        audit.record(session, "staff.address_changed", "staff", present.staff_id, fields=["email"])


def offer_second_factor(clinic: Clinic, present: Present) -> str:
    """The secret to scan, the same one for the whole session: it is stored only once it is confirmed, so that looking
    changes nothing. Raises `Refused` when there is a confirmed one.
    """
    with clinic.store.read() as session:
        _refuse_a_second_one(_get(session, present.staff_id))
    return second_factor.secret_of(clinic.store.vault.token_hash("second factor", str(present.session_id)))


def confirm_second_factor(door: FrontDoor, present: Present, code: str) -> list[str]:
    """Confirm the scanned secret by a code of the app; the recovery codes, told this once. Raises `Refused`."""
    clinic = door.clinic
    secret = offer_second_factor(clinic, present)
    door.count_code(present)
    step = second_factor.matching_step(secret, code, door.now())
    if step is None:
        raise Refused(WRONG_CODE)
    codes = second_factor.make_recovery_codes()
    with clinic.store.write(present.actor, clinic.clock.now()) as session:
        member = _get(session, present.staff_id, lock=True)
        _refuse_a_second_one(member)
        stored.seal_totp(session, member, secret)
        member.totp_confirmed, member.totp_step = True, step
        _keep_codes(session, door, member, codes)
        audit.record(session, "staff.second_factor_set", "staff", member.id, fields=["second_factor"])
    return codes


def renew_recovery_codes(door: FrontDoor, present: Present, password: str) -> list[str]:
    """New recovery codes, told this once; the earlier ones are of no use any more.

    Raises `InvalidInput` unless the password is hers, `Refused` without a second factor, or `TooManyTries`.
    """
    door.check_own_password(present, password)
    codes = second_factor.make_recovery_codes()
    with door.clinic.store.write(present.actor, door.clinic.clock.now()) as session:
        member = _get(session, present.staff_id, lock=True)
        if not member.totp_confirmed:
            raise Refused("There is no second factor yet: set it up first.")
        _keep_codes(session, door, member, codes)
        audit.record(session, "staff.recovery_codes_renewed", "staff", member.id, fields=["recovery_codes"])
    return codes


def member_of(row: StaffMember) -> Member:
    """A row as lists show it."""
    return Member(
        id=row.id,
        login=row.login,
        name=row.name,
        roles=tuple(Role(word) for word in row.roles),
        email=row.email,
        joined=row.password_hash is not None,
        has_second_factor=row.totp_confirmed,
        disabled_at=row.disabled_at,
    )


def _link(session: Session, clinic: Clinic, purpose: LinkPurpose, staff_id: UUID | None, now: datetime) -> str:
    token = secrets.token_urlsafe(24)
    stored.add_link(session, clinic.store.vault.token_hash("link", token), purpose, staff_id, now, now + LINK_HOLDS)
    return token


def _usable(session: Session, door: FrontDoor, token: str) -> AccountLink:
    link = stored.find_link(session, door.clinic.store.vault.token_hash("link", token))
    if link is None or link.used_at is not None or link.expires_at <= door.now():
        raise LinkOver
    return link


def _get(session: Session, staff_id: UUID, lock: bool = False) -> StaffMember:
    member = stored.find_member(session, staff_id, lock)
    if member is None:
        raise NotFound(f"there is no member of staff {staff_id}")
    return member


def _end_sessions(session: Session, staff_id: UUID, now: datetime) -> None:
    stored.end_sessions(session, [row.id for row, _, _ in stored.list_sessions(session, now, staff_id=staff_id)], now)
    stored.forget_trust(session, staff_id)


def _keep_codes(session: Session, door: FrontDoor, member: StaffMember, codes: Iterable[str]) -> None:
    vault = door.clinic.store.vault
    stored.replace_recovery_codes(session, member.id, [vault.token_hash("recovery", code) for code in codes])


def _refuse_a_second_one(member: StaffMember) -> None:
    if member.totp_confirmed:
        raise Refused("You have a second factor. Ask a manager for a reset when you have lost it.")


def _keep_a_manager(members: Iterable[StaffMember], member: StaffMember, roles: Iterable[Role]) -> None:
    """A clinic without a manager who can sign in could let nobody in again but by the command line."""
    if Role.MANAGER in roles or not _manages(member):
        return
    if not any(_manages(other) and other.password_hash for other in members if other.id != member.id):
        raise Refused(f"{member.name} is the last manager: make another person a manager, and let her join, first")


def _manages(member: StaffMember) -> bool:
    return member.disabled_at is None and Role.MANAGER.value in member.roles


def _secret_problems(password: str, pin: str, login: str, name: str) -> list[str]:
    found = (passwords.password_problem(password, login, name), passwords.pin_problem(pin))
    return [problem for problem in found if problem]


def _check_name(name: str) -> tuple[str, list[str]]:
    cleaned, problem = clean_text(name.replace("\n", " "), "name", 100)
    if problem:
        return "", [problem]
    return cleaned, [] if cleaned else ["name: is needed"]


def _check_login(login: str) -> tuple[str, str | None]:
    wanted = login.strip().lower()
    if not LOGIN.fullmatch(wanted) or len(wanted) > LONGEST_LOGIN:
        return "", f"login: write small letters and digits, at most {LONGEST_LOGIN}, like dana or dana.novak"
    return wanted, None


def _check_address(email: str | None) -> tuple[str | None, str | None]:
    if not email or not email.strip():
        return None, None
    address, problem = check_email(email)
    return (None, problem) if problem else (address, None)


def _login_of(name: str) -> str:
    """A sign-in name made of a person's: `Dr Zoë Novak` -> `zoe.novak`; empty without plain letters, cut when long."""
    words = (re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", normal(word))) for word in name.split())
    kept = [word for word in words if word not in ("", "dr", "prof", "ms", "mr", "mrs")]
    return ".".join(kept)[:LONGEST_LOGIN].rstrip(".")
