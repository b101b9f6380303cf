"""One's own account: password, PIN, where test mails go, the second factor, the browsers one is signed in with."""

from uuid import UUID

from fastapi import Request
from fastapi.responses import Response
from markupsafe import Markup

from db import accounts as stored
from scheduler.accounts import second_factor, staff
from scheduler.accounts.front_door import Present
from scheduler.errors import AftercareError, InvalidInput, Refused
from web import cookies
from web.doors import door_of, me_of
from web.forms import EmptyForm, Filled, FormModel, filled
from web.pages import clinic_of, go_to, page


class SecretsForm(FormModel):
    """A new password, a new PIN, or both."""

    old_password: str = ""
    password: str = ""
    pin: str = ""


class AddressForm(FormModel):
    """Where one's own test mails go."""

    email: str = ""


class PasswordForm(FormModel):
    """One's present password, before something that a borrowed browser must not do."""

    old_password: str = ""


class FactorForm(FormModel):
    """The first code of a new second factor."""

    code: str = ""


_LABELS = {"old_password": "Present password", "password": "New password", "pin": "New PIN", "email": "E-mail"}


def account_page(request: Request) -> Response:
    """Everything about one's own account."""
    return _account(request, me_of(request))


def change_secrets(request: Request) -> Response:
    """Change password and PIN."""
    form, me = SecretsForm.read(request), me_of(request)
    try:
        staff.change_secrets(door_of(request), me, form.old_password, form.password, form.pin)
    except AftercareError as wrong:
        return _account(request, me, secrets=filled(SecretsForm(), wrong, _LABELS))
    return go_to("/account", "secrets-changed")


def change_address(request: Request) -> Response:
    """Change where test mails go."""
    form, me = AddressForm.read(request), me_of(request)
    try:
        staff.change_address(clinic_of(request), me, form.email)
    except AftercareError as wrong:
        return _account(request, me, address=filled(form, wrong, _LABELS))
    return go_to("/account", "address-changed")


def factor_page(request: Request) -> Response:
    """Set up the second factor: scan, then prove it with a code."""
    return _factor(request, filled(FactorForm()))


def set_factor(request: Request) -> Response:
    """The recovery codes, shown this once; the session is whole from here on."""
    form, me, door = FactorForm.read(request), me_of(request), door_of(request)
    try:
        codes = staff.confirm_second_factor(door, me, form.code)
    except AftercareError as wrong:
        return _factor(request, filled(FactorForm(), wrong), 422)
    opened = door.finish_second_factor(me)
    cookies.speak_for(request, opened)
    request.state.me = door.who(opened.token)
    answer = page(request, "account/recovery_codes.html", codes=codes)
    cookies.keep(answer, request, opened)
    return answer


def renew_codes(request: Request) -> Response:
    """New recovery codes, shown this once."""
    form, me = PasswordForm.read(request), me_of(request)
    try:
        codes = staff.renew_recovery_codes(door_of(request), me, form.old_password)
    except AftercareError as wrong:
        said = Refused("This is not your present password.") if isinstance(wrong, InvalidInput) else wrong
        return _account(request, me, codes=filled(PasswordForm(), said))
    return page(request, "account/recovery_codes.html", codes=codes)


def sign_out_everywhere(request: Request) -> Response:
    """End all sessions of one's own, this one too."""
    EmptyForm.read(request)
    door_of(request).sign_out_everywhere(me_of(request))
    answer = go_to("/sign-in", "signed-out")
    cookies.forget(answer, request)
    return answer


def end_session(request: Request, session_id: UUID) -> Response:
    """End one of one's own sessions in another browser; another person's is not found."""
    EmptyForm.read(request)
    me, door = me_of(request), door_of(request)
    with clinic_of(request).store.show() as session:
        hers = {row.id for row, _, _ in stored.list_sessions(session, door.now(), staff_id=me.staff_id)}
    if session_id not in hers:
        return page(request, "not_found.html", 404)
    door.end([session_id], me.actor)
    return go_to("/account", "session-ended")


def _account(
    request: Request,
    me: Present,
    secrets: Filled | None = None,
    address: Filled | None = None,
    codes: Filled | None = None,
) -> Response:
    clinic, door = clinic_of(request), door_of(request)
    with clinic.store.show() as session:
        sessions = stored.list_sessions(session, door.now(), staff_id=me.staff_id)
        codes_left = stored.count_recovery_codes(session, me.staff_id)
    return page(
        request,
        "account/account.html",
        422 if secrets or address or codes else 200,
        sessions=[(row.id, device.label, row.seen_at, row.id == me.session_id) for row, _, device in sessions],
        codes_left=codes_left,
        secrets=secrets or filled(SecretsForm()),
        codes=codes or filled(PasswordForm()),
        address=address or filled(AddressForm(email=me.email or "")),
        asks_second_factor=door.asks_second_factor,
    )


def _factor(request: Request, form: Filled, status: int = 200) -> Response:
    me = me_of(request)
    if me.has_second_factor:
        return go_to("/account")
    secret = staff.offer_second_factor(clinic_of(request), me)
    # The library's drawing of a secret of our own: no text of anybody is in it.
    picture = Markup(second_factor.qr_code(secret, me.login))  # noqa: S704
    return page(
        request, "account/second_factor.html", status, form=form, picture=picture, secret=second_factor.spaced(secret)
    )
