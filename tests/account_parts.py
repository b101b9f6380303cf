"""What the tests of accounts do again and again: enter a person, let her join, look at the trail."""

from uuid import UUID

from db.states import Role
from scheduler.accounts import staff
from scheduler.accounts.front_door import Present
from scheduler.accounts.staff import Joining
from tests.clinic import dump
from tests.staffed import PASSWORD, PIN, Staffed

BOSS = "staff:boss"


def add(staffed: Staffed, name: str = "Dr Dana Novak", *roles: Role, login: str | None = None) -> tuple[UUID, str]:
    """Enter a person: her id and the token of her link."""
    return staff.add(staffed.clinic, BOSS, name, roles or (Role.RECEPTION,), login, None, staffed.machine.now())


def join(staffed: Staffed, token: str, **more: str) -> UUID:
    """Set the tests' password and PIN behind a link."""
    return staff.join(staffed.door, token, Joining(**({"password": PASSWORD, "pin": PIN} | more)))


def present(staffed: Staffed, staff_id: UUID) -> Present:
    """Her, in a new session."""
    found = staffed.door.who(staffed.door.open_for(staff_id, None, "Tests").token)
    assert found is not None
    return found


def actions(staffed: Staffed) -> list[tuple[str, str]]:
    """Who did what, in order."""
    return [(row[2], row[3]) for row in sorted(dump(staffed.clinic.store)["audit_events"])]
