"""Getting in and out: sign-in, the second factor's code, joining by a one-time link, the lock and changing person.

One's own account, once in, is in `web.account_pages`.
"""

from uuid import UUID

from fastapi import HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from db.states import LinkPurpose
from scheduler.accounts import staff
from scheduler.accounts.front_door import Opened, Present, SignInAgain
from scheduler.accounts.rights import Right
from scheduler.accounts.staff import Joining, LinkOver
from scheduler.accounts.throttle import TooManyTries
from scheduler.errors import AftercareError, Refused
from web import cookies
from web.doors import TODAY, address_of, code_path, door_of, local_path, me_of
from web.forms import EmptyForm, FormModel, filled, sent_items
from web.pages import go_to, page


class SignInForm(FormModel):
    """Name and password."""

    login: str = ""
    password: str = ""
    next: str = ""


class CodeForm(FormModel):
    """The second factor."""

    code: str = ""
    next: str = ""


class JoinForm(FormModel):
    """What a one-time link asks for."""

    login: str = ""
    name: str = ""
    email: str = ""
    password: str = ""
    pin: str = ""


class UnlockForm(FormModel):
    """Opening a locked browser; `session` when another person of this browser takes over."""

    next: str = ""
    session: str = ""


def root(request: Request) -> Response:
    """The address alone leads to the day's work, or to the door."""
    present: Present | None = request.state.me
    return RedirectResponse(start_path(present) if present else "/sign-in", 303)


def sign_in_page(request: Request) -> Response:
    """Name and password; who is in already goes on."""
    present: Present | None = request.state.me
    wanted = local_path(request.query_params.get("next", ""))
    if present is not None and present.complete:
        return RedirectResponse(start_path(present) if wanted == TODAY else wanted, 303)
    return page(request, "door/sign_in.html", form=filled(SignInForm(next=wanted)))


def sign_in(request: Request) -> Response:
    """Begin a session."""
    form = SignInForm.read(request)
    try:
        opened = door_of(request).sign_in(
            form.login,
            form.password,
            cookies.read(request, cookies.DEVICE),
            address_of(request),
            browser_in_words(request.headers.get("user-agent", "")),
        )
    except Refused as wrong:
        shown = SignInForm(login=form.login, next=form.next)
        return _refused(page(request, "door/sign_in.html", 403, form=filled(shown, wrong)), wrong)
    return _go_on(request, opened, local_path(form.next))


def code_page(request: Request) -> Response:
    """The second factor's code; who has none yet sets it up."""
    present = me_of(request)
    if present.complete:
        return RedirectResponse("/today", 303)
    if not present.has_second_factor:
        return RedirectResponse("/account/second-factor", 303)
    return page(request, "door/code.html", form=filled(CodeForm(next=request.query_params.get("next", ""))))


def give_code(request: Request) -> Response:
    """The code, or a recovery code."""
    form = CodeForm.read(request)
    try:
        opened = door_of(request).give_code(cookies.read(request, cookies.SESSION) or "", form.code)
    except SignInAgain:
        return go_to("/sign-in")
    except Refused as wrong:
        return _refused(page(request, "door/code.html", 403, form=filled(CodeForm(next=form.next), wrong)), wrong)
    return _go_on(request, opened, local_path(form.next))


def join_page(request: Request, token: str) -> Response:
    """What a one-time link is for, and the form; looking spends nothing."""
    try:
        guest = staff.invited(door_of(request), token)
    except LinkOver as over:
        return page(request, "door/link_over.html", 410, problem=str(over))
    return page(request, "door/join.html", form=filled(JoinForm()), guest=guest, is_first=_is_first(guest))


def join(request: Request, token: str) -> Response:
    """Set password and PIN: the link is spent, and the person is in."""
    door, form = door_of(request), JoinForm.read(request)
    try:
        guest = staff.invited(door, token)
        door.count_address(address_of(request))
        staff_id = staff.join(door, token, Joining(**form.model_dump()))
    except LinkOver as over:
        return page(request, "door/link_over.html", 410, problem=str(over))
    except AftercareError as wrong:
        labels = {"login": "Sign-in name", "name": "Name", "email": "E-mail", "password": "Password", "pin": "PIN"}
        shown = form.model_copy(update={"password": "", "pin": ""})
        return page(
            request, "door/join.html", 422, form=filled(shown, wrong, labels), guest=guest, is_first=_is_first(guest)
        )
    opened = door.open_for(
        staff_id, cookies.read(request, cookies.DEVICE), browser_in_words(request.headers.get("user-agent", ""))
    )
    return _go_on(request, opened, "/today?done=joined")


def lock(request: Request) -> Response:
    """Lock this browser now."""
    EmptyForm.read(request)
    door_of(request).lock(me_of(request))
    return Response(status_code=204) if is_script(request) else RedirectResponse("/today", 303)


def unlock(request: Request) -> Response:
    """Open a locked browser with the PIN: by its person, or by another one who is signed in here."""
    door, present, form = door_of(request), me_of(request), UnlockForm.read(request)
    wanted = local_path(form.next)
    try:
        if form.session:
            opened = door.switch(present, _read_id(form.session), request.state.pin or "")
            return _go_on(request, opened, wanted)
        door.unlock(present, request.state.pin or "")
    except SignInAgain as over:
        if is_script(request):
            return Response(str(over), 401)
        answer = RedirectResponse("/sign-in", 303)
        cookies.forget(answer, request)
        return answer
    except Refused as wrong:
        return Response(str(wrong), 403) if is_script(request) else locked_page(request, present, str(wrong), wanted)
    return Response(status_code=204) if is_script(request) else RedirectResponse(wanted, 303)


def locked_page(request: Request, present: Present, problem: str | None, wanted: str | None = None) -> Response:
    """The lock: who is here, her PIN, the others of this browser. A form that was sent is kept and sent again."""
    request.state.me = present
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    resend = request.method == "POST" and request.url.path != "/unlock"
    multipart = "multipart" in request.headers.get("content-type", "")
    return page(
        request,
        "door/locked.html",
        423,
        present=present,
        problem=problem,
        next=wanted or (here if request.method == "GET" else "/today"),
        action=here if resend else "/unlock",
        kept=list(sent_items(request)) if resend else [],
        file_lost=resend and multipart,
        others=door_of(request).list_others(present),
    )


def switch_page(request: Request) -> Response:
    """Another person takes over at a shared desk."""
    present = me_of(request)
    return page(request, "door/switch.html", others=door_of(request).list_others(present))


def sign_out(request: Request) -> Response:
    """End this session."""
    EmptyForm.read(request)
    door_of(request).sign_out(me_of(request))
    answer = go_to("/sign-in", "signed-out")
    cookies.forget(answer, request)
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


def is_script(request: Request) -> bool:
    """Whether our own script asks, and wants a word instead of a page."""
    return request.headers.get("x-asked-by") == "script"


def browser_in_words(agent: str) -> str:
    """What a browser says it is, for the list of sessions: `Firefox on Windows`."""
    names = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrom", "Chrome"), ("Safari/", "Safari"))
    systems = (
        ("Android", "Android"),
        ("iPhone", "an iPhone"),
        ("iPad", "an iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "a Mac"),
        ("Linux", "Linux"),
    )
    name = next((words for mark, words in names if mark in agent), "A browser")
    system = next((words for mark, words in systems if mark in agent), None)
    return f"{name} on {system}" if system else name


def start_path(present: Present) -> str:
    """Where a person's work begins: an auditor's with the trail."""
    if present.may(Right.DESK):
        return TODAY
    return "/audit" if present.may(Right.TRAIL) else "/account"


def _go_on(request: Request, opened: Opened, wanted: str) -> Response:
    present = door_of(request).who(opened.token) if wanted == TODAY else None
    wanted = start_path(present) if present else wanted
    answer = RedirectResponse(wanted if opened.complete else code_path(wanted), 303)
    cookies.keep(answer, request, opened)
    return answer


def _refused(answer: Response, wrong: Refused) -> Response:
    """The page of a refusal; when there were too many tries, its status tells programs how long to wait."""
    if isinstance(wrong, TooManyTries):
        answer.status_code = 429
        answer.headers["Retry-After"] = str(wrong.seconds)
    return answer


def _is_first(guest: staff.Invited) -> bool:
    return guest.purpose is LinkPurpose.FIRST


def _read_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise HTTPException(400) from None
