"""Staff: who has an account, adding a person, roles, access, a reset, and ending sessions.

The rules are in `scheduler.accounts.staff`. A one-time link is shown once, in the answer to the form that made it.
"""

from typing import Any
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response

from db import accounts as stored
from db.states import Role
from scheduler.accounts import staff
from scheduler.accounts.staff import Member
from scheduler.errors import AftercareError, InvalidInput, NotFound, Refused
from web import cookies
from web.doors import door_of, me_of
from web.forms import EmptyForm, Filled, FormModel, filled
from web.pages import clinic_of, go_to, page
from web.role_words import ROLE_OPTIONS, roles_in_words

LABELS = {"name": "Name", "login": "Sign-in name", "email": "E-mail", "role": "Roles"}


class AddForm(FormModel):
    """A new person."""

    name: str = ""
    login: str = ""
    email: str = ""
    role: tuple[str, ...] = ()


class RolesForm(FormModel):
    """What a person may do from now on."""

    role: tuple[str, ...] = ()


def staff_page(request: Request) -> Response:
    """Everybody with an account, and a form for one more."""
    return _list(request, filled(AddForm()))


def add(request: Request) -> Response:
    """Make an account; the answer shows its link."""
    form, clinic = AddForm.read(request), clinic_of(request)
    try:
        staff_id, token = staff.add(
            clinic,
            me_of(request).actor,
            form.name,
            _read_roles(form.role),
            form.login.strip() or None,
            form.email,
            door_of(request).now(),
        )
    except AftercareError as wrong:
        return _list(request, filled(form, wrong, LABELS), 422)
    return _link(request, _find(request, staff_id), token)


def member_page(request: Request, staff_id: UUID) -> Response:
    """One person's account."""
    return _member(request, _find(request, staff_id))


def change_roles(request: Request, staff_id: UUID) -> Response:
    """Change what a person may do."""
    form, clinic = RolesForm.read(request), clinic_of(request)
    member = _find(request, staff_id)
    try:
        staff.change_roles(clinic, me_of(request).actor, staff_id, _read_roles(form.role))
    except InvalidInput as wrong:
        return _member(request, member, filled(form, wrong, LABELS), 422)
    return go_to("/staff", "staff-roles-changed")


def disable(request: Request, staff_id: UUID) -> Response:
    """End a person's access."""
    EmptyForm.read(request)
    if staff_id == me_of(request).staff_id:
        raise Refused("this is your own account: another manager disables it")
    staff.disable(clinic_of(request), me_of(request).actor, staff_id, door_of(request).now())
    return go_to(f"/staff/{staff_id}", "staff-disabled")


def enable(request: Request, staff_id: UUID) -> Response:
    """Give a person her access back."""
    EmptyForm.read(request)
    staff.enable(clinic_of(request), me_of(request).actor, staff_id)
    return go_to(f"/staff/{staff_id}", "staff-enabled")


def reset(request: Request, staff_id: UUID) -> Response:
    """Let a person set everything anew; the answer shows the link."""
    EmptyForm.read(request)
    member = _find(request, staff_id)
    if staff_id == me_of(request).staff_id:
        raise Refused("this is your own account: another manager resets it; your password is under “Your account”")
    token = staff.reset(clinic_of(request), me_of(request).actor, staff_id, door_of(request).now())
    return _link(request, member, token)


def sign_out(request: Request, staff_id: UUID) -> Response:
    """End all sessions of a person, and ask for her second step again."""
    EmptyForm.read(request)
    _find(request, staff_id)
    door_of(request).sign_out_everywhere(me_of(request), staff_id)
    return go_to(f"/staff/{staff_id}", "staff-signed-out")


def _read_roles(words: tuple[str, ...]) -> list[Role]:
    known = {role.value: role for role in Role}
    return [known[word] for word in words if word in known]


def _find(request: Request, staff_id: UUID) -> Member:
    with clinic_of(request).store.show() as session:
        row = stored.find_member(session, staff_id)
        if row is None:
            raise NotFound(f"there is no member of staff {staff_id}")
        return staff.member_of(row)


def _standing(member: Member) -> tuple[str, str]:
    if member.disabled_at is not None:
        return "quiet", "disabled"
    return ("green", "active") if member.joined else ("amber", "has not used the link yet")


def _list(request: Request, form: Filled, status: int = 200) -> Response:
    clinic, me = clinic_of(request), me_of(request)
    with clinic.store.show() as session:
        members = [staff.member_of(row) for row in stored.list_members(session)]
        last = stored.list_last_sign_ins(session)
    rows: list[dict[str, Any]] = [
        {
            "member": member,
            "roles": roles_in_words(member.roles),
            "standing": _standing(member),
            "last": last.get(member.id),
            "is_me": member.id == me.staff_id,
        }
        for member in sorted(members, key=lambda member: member.disabled_at is not None)
    ]
    return page(request, "staff/staff.html", status, rows=rows, form=form, roles=ROLE_OPTIONS)


def _member(request: Request, member: Member, form: Filled | None = None, status: int = 200) -> Response:
    clinic, me = clinic_of(request), me_of(request)
    with clinic.store.show() as session:
        sessions = stored.list_sessions(session, door_of(request).now(), staff_id=member.id)
        last = stored.list_last_sign_ins(session).get(member.id)
    return page(
        request,
        "staff/member.html",
        status,
        member=member,
        roles_words=roles_in_words(member.roles),
        standing=_standing(member),
        sessions=[(device.label, row.seen_at) for row, _, device in sessions],
        last=last,
        is_me=member.id == me.staff_id,
        form=form or filled(RolesForm(role=tuple(role.value for role in member.roles))),
        roles=ROLE_OPTIONS,
    )


def _link(request: Request, member: Member, token: str) -> Response:
    """The link, at the address by which this page was reached; it is stored nowhere."""
    scheme = "https" if cookies.is_encrypted(request) else "http"
    link = f"{scheme}://{request.headers.get('host', '')}/join/{token}"
    return page(request, "staff/link.html", member=member, link=link, days=staff.LINK_HOLDS.days)
