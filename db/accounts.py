"""Queries and writes about staff accounts: members, one-time links, devices, sessions, recovery codes, setup marks.

Who may do what, and what a right password is, is decided in `scheduler.accounts`.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from db.engine import actor_of, instant_of
from db.sealed import place, vault_of
from db.staff import AccountLink, DeviceTrust, RecoveryCode, SetupMark, StaffDevice, StaffMember, StaffSession
from db.states import LinkPurpose, Role, SetupStep
from db.types import new_id
from db.vault import Vault


def add_member(session: Session, login: str, name: str, roles: Iterable[Role], email: str | None) -> StaffMember:
    """Store a person without a password yet."""
    member_id = new_id()
    member = StaffMember(
        id=member_id,
        login=login,
        name=name,
        roles=sorted(role.value for role in roles),
        email=email,
        created_at=instant_of(session),
        created_by=actor_of(session),
        wrapped_key=vault_of(session).make_data_key(member_id),
        totp_confirmed=False,
        totp_step=0,
    )
    session.add(member)
    session.flush()
    return member


def find_member(session: Session, staff_id: UUID, lock: bool = False) -> StaffMember | None:
    """The person with that id, or None; locked when she is to be changed after a look at her."""
    return session.get(StaffMember, staff_id, with_for_update=lock)


def find_by_login(session: Session, login: str) -> StaffMember | None:
    """The person who signs in under that name, or None."""
    return session.scalar(select(StaffMember).where(StaffMember.login == login))


def list_members(session: Session) -> list[StaffMember]:
    """All persons, by name."""
    return list(session.scalars(select(StaffMember).order_by(StaffMember.name, StaffMember.login)))


def lock_members(session: Session) -> list[StaffMember]:
    """All persons, locked in one order: nobody else changes who may do what meanwhile."""
    query = select(StaffMember).order_by(StaffMember.id).with_for_update()
    return list(session.scalars(query.execution_options(populate_existing=True)))


def count_members(session: Session) -> int:
    """How many accounts there are, disabled ones included."""
    return session.scalar(select(func.count()).select_from(StaffMember)) or 0


def seal_totp(session: Session, member: StaffMember, secret: str) -> None:
    """Keep the secret of a second factor, sealed with the person's own key."""
    vault = _open_key(session, member)
    member.totp_sealed = vault.seal(member.id, _totp_place(member), secret.encode())


def open_totp(session: Session, member: StaffMember) -> str | None:
    """The secret of a person's second factor, or None."""
    if member.totp_sealed is None:
        return None
    return _open_key(session, member).open(member.id, _totp_place(member), member.totp_sealed).decode()


def _open_key(session: Session, member: StaffMember) -> Vault:
    vault = vault_of(session)
    if not vault.knows(member.id):
        vault.learn(member.id, member.wrapped_key)
    return vault


def _totp_place(member: StaffMember) -> str:
    return place("staff_members", "totp", member.id)


def replace_recovery_codes(session: Session, staff_id: UUID, hashes: Iterable[bytes]) -> None:
    """Store new recovery codes; the earlier ones are of no use any more."""
    session.execute(delete(RecoveryCode).where(RecoveryCode.staff_id == staff_id))
    session.add_all(RecoveryCode(id=new_id(), staff_id=staff_id, code_hash=code) for code in hashes)


def use_recovery_code(session: Session, staff_id: UUID, code_hash: bytes, at: datetime) -> bool:
    """Spend a recovery code; False when there is none like it left."""
    spent = session.execute(
        update(RecoveryCode)
        .where(RecoveryCode.staff_id == staff_id, RecoveryCode.code_hash == code_hash, RecoveryCode.used_at.is_(None))
        .values(used_at=at)
        .returning(RecoveryCode.id)
    )
    return spent.first() is not None


def count_recovery_codes(session: Session, staff_id: UUID) -> int:
    """How many recovery codes a person has left."""
    query = select(func.count()).where(RecoveryCode.staff_id == staff_id, RecoveryCode.used_at.is_(None))
    return session.scalar(query) or 0


def use_totp_step(session: Session, staff_id: UUID, step: int) -> bool:
    """Note that the code of a time step was used; False when it, or a later one, was used already."""
    used = session.execute(
        update(StaffMember)
        .where(StaffMember.id == staff_id, StaffMember.totp_step < step)
        .values(totp_step=step)
        .returning(StaffMember.id)
        .execution_options(synchronize_session=False)
    )
    return used.first() is not None


def add_link(
    session: Session, token_hash: bytes, purpose: LinkPurpose, staff_id: UUID | None, at: datetime, until: datetime
) -> None:
    """Store a one-time link; earlier ones for the same person end."""
    end_links(session, staff_id, at)
    session.add(
        AccountLink(
            id=new_id(), token_hash=token_hash, purpose=purpose, staff_id=staff_id, created_at=at, expires_at=until
        )
    )


def end_links(session: Session, staff_id: UUID | None, at: datetime) -> None:
    """The links for a person, or for the first account, are of no use any more."""
    whose = AccountLink.staff_id.is_(None) if staff_id is None else AccountLink.staff_id == staff_id
    session.execute(update(AccountLink).where(whose, AccountLink.used_at.is_(None)).values(used_at=at))


def find_link(session: Session, token_hash: bytes) -> AccountLink | None:
    """The link of that hash, used or not, or None."""
    return session.scalar(select(AccountLink).where(AccountLink.token_hash == token_hash))


def use_link(session: Session, link_id: UUID, at: datetime) -> bool:
    """Spend a link; False when somebody spent it first or it has expired."""
    used = session.execute(
        update(AccountLink)
        .where(AccountLink.id == link_id, AccountLink.used_at.is_(None), AccountLink.expires_at > at)
        .values(used_at=at)
        .returning(AccountLink.id)
    )
    return used.first() is not None


def find_device(session: Session, token_hash: bytes) -> StaffDevice | None:
    """The browser of that cookie, or None."""
    return session.scalar(select(StaffDevice).where(StaffDevice.token_hash == token_hash))


def add_device(session: Session, token_hash: bytes, label: str, at: datetime) -> StaffDevice:
    """Store a browser somebody signs in with for the first time."""
    device = StaffDevice(id=new_id(), token_hash=token_hash, label=label, created_at=at)
    session.add(device)
    session.flush()
    return device


def trust_device(session: Session, device_id: UUID, staff_id: UUID, at: datetime) -> None:
    """Note that a person gave her second factor on a device."""
    session.merge(DeviceTrust(device_id=device_id, staff_id=staff_id, second_factor_at=at))


def find_trust(session: Session, device_id: UUID, staff_id: UUID) -> datetime | None:
    """When a person last gave her second factor on a device, or None."""
    found = session.get(DeviceTrust, (device_id, staff_id))
    return found.second_factor_at if found else None


def forget_trust(session: Session, staff_id: UUID) -> None:
    """A person's second factor is asked for again on every device."""
    session.execute(delete(DeviceTrust).where(DeviceTrust.staff_id == staff_id))


def add_session(
    session: Session, token_hash: bytes, staff_id: UUID, device_id: UUID, at: datetime, until: datetime, complete: bool
) -> StaffSession:
    """Begin a person's session in one browser."""
    row = StaffSession(
        id=new_id(),
        token_hash=token_hash,
        staff_id=staff_id,
        device_id=device_id,
        created_at=at,
        seen_at=at,
        ends_at=until,
        complete=complete,
        locked=False,
        pin_failures=0,
        remembered={},
    )
    session.add(row)
    session.flush()
    return row


def find_session(session: Session, token_hash: bytes) -> tuple[StaffSession, StaffMember] | None:
    """The session of that cookie and its person, ended or not; None when there is none."""
    query = select(StaffSession, StaffMember).join(StaffMember, StaffMember.id == StaffSession.staff_id)
    row = session.execute(query.where(StaffSession.token_hash == token_hash)).first()
    return None if row is None else (row[0], row[1])


def get_session(session: Session, session_id: UUID) -> StaffSession:
    """The session with that id. Raises when there is none."""
    return session.get_one(StaffSession, session_id, with_for_update=True)


def read_session(session: Session, session_id: UUID) -> StaffSession:
    """The session with that id, not locked. Raises when there is none."""
    return session.get_one(StaffSession, session_id)


def list_sessions(
    session: Session, at: datetime, staff_id: UUID | None = None, device_id: UUID | None = None
) -> list[tuple[StaffSession, StaffMember, StaffDevice]]:
    """Sessions that have not ended: of a person, of a browser, or all; the last used first."""
    query = (
        select(StaffSession, StaffMember, StaffDevice)
        .join(StaffMember, StaffMember.id == StaffSession.staff_id)
        .join(StaffDevice, StaffDevice.id == StaffSession.device_id)
        .where(StaffSession.ended_at.is_(None), StaffSession.ends_at > at)
        .order_by(StaffSession.seen_at.desc())
    )
    if staff_id is not None:
        query = query.where(StaffSession.staff_id == staff_id)
    if device_id is not None:
        query = query.where(StaffSession.device_id == device_id)
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def list_last_sign_ins(session: Session) -> dict[UUID, datetime]:
    """When each person's last whole session began; sessions that ended long ago are forgotten."""
    query = select(StaffSession.staff_id, func.max(StaffSession.created_at)).where(StaffSession.complete)
    return {row[0]: row[1] for row in session.execute(query.group_by(StaffSession.staff_id))}


def has_signed_in(session: Session, device_id: UUID, staff_id: UUID) -> bool:
    """Whether a person ever had a session in this browser."""
    query = select(StaffSession.id).where(StaffSession.device_id == device_id, StaffSession.staff_id == staff_id)
    return session.scalar(query.limit(1)) is not None


def touch_session(session: Session, session_id: UUID, at: datetime) -> None:
    """Note that the person was there."""
    session.execute(update(StaffSession).where(StaffSession.id == session_id).values(seen_at=at))


def lock_session(session: Session, session_id: UUID) -> None:
    """Show nothing in this browser until the PIN was given."""
    session.execute(update(StaffSession).where(StaffSession.id == session_id).values(locked=True))


def count_pin_try(session: Session, session_id: UUID, limit: int) -> int | None:
    """Count a try before it is looked at: which one it is; None when none is left or the session is over."""
    counted = session.execute(
        update(StaffSession)
        .where(StaffSession.id == session_id, StaffSession.pin_failures < limit, StaffSession.ended_at.is_(None))
        .values(pin_failures=StaffSession.pin_failures + 1)
        .returning(StaffSession.pin_failures)
        .execution_options(synchronize_session=False)
    )
    return counted.scalar()


def end_sessions(session: Session, session_ids: Sequence[UUID], at: datetime) -> None:
    """End sessions."""
    session.execute(
        update(StaffSession)
        .where(StaffSession.id.in_(session_ids), StaffSession.ended_at.is_(None))
        .values(ended_at=at)
        .execution_options(synchronize_session=False)
    )


def forget_sessions(session: Session, before: datetime) -> None:
    """Delete sessions that ended long ago; what was done in them is in the trail."""
    session.execute(delete(StaffSession).where(StaffSession.ends_at < before))


def mark_setup(session: Session, step: SetupStep) -> None:
    """Note that a person says a step of the first days is done."""
    session.merge(SetupMark(name=step, marked_at=instant_of(session), marked_by=actor_of(session)))


def list_setup_marks(session: Session) -> dict[SetupStep, datetime]:
    """Which steps of the first days a person has said are done."""
    return {mark.name: mark.marked_at for mark in session.scalars(select(SetupMark))}
