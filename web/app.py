"""The application: the table of all routes, each with its permission, put together to one FastAPI app.

The server that runs it is in `web.server`, the pages are in the files of their nouns.
"""

from collections.abc import Sequence
from typing import Final

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from db.vault import VaultError
from scheduler.accounts.front_door import FrontDoor
from scheduler.accounts.rights import Right
from scheduler.clinic import Clinic
from scheduler.errors import AftercareError, NotFound
from scheduler.logs import log
from web import (
    access_pages,
    account_pages,
    approval_pages,
    batch_pages,
    decision_pages,
    door_pages,
    entry_pages,
    exercise_pages,
    figure_pages,
    help_pages,
    import_pages,
    library_pages,
    lot_pages,
    move_pages,
    patient_pages,
    protocol_edit_pages,
    record_pages,
    reminder_pages,
    review_pages,
    settings_pages,
    staff_pages,
    text_edit_pages,
    text_pages,
    today_pages,
    trail_pages,
    treatment_pages,
)
from web.assets import asset
from web.doors import Locked, NotAllowed, NotEncrypted, Open, Route, SignInFirst, guard, local_path, sign_in_path
from web.health import health
from web.long_work import Works, work_page
from web.metrics import metrics
from web.outbox_pages import mail_html, mail_page, outbox_page
from web.pages import Envelope, page, problem, refusal
from web.pulse import pulse_fragment
from web.seen import Looks
from web.uploads import Uploads

ROUTES: Final = (
    Route("/health", "GET", Open.ANYONE, health),
    Route("/metrics", "GET", Open.ANYONE, metrics),
    Route("/static/{digest}/{name}", "GET", Open.ANYONE, asset),
    # getting in and out
    Route("/", "GET", Open.AT_THE_DOOR, door_pages.root),
    Route("/sign-in", "GET", Open.AT_THE_DOOR, door_pages.sign_in_page),
    Route("/sign-in", "POST", Open.AT_THE_DOOR, door_pages.sign_in),
    Route("/join/{token}", "GET", Open.AT_THE_DOOR, door_pages.join_page),
    Route("/join/{token}", "POST", Open.AT_THE_DOOR, door_pages.join),
    Route("/sign-in/code", "GET", Open.HALF_IN, door_pages.code_page),
    Route("/sign-in/code", "POST", Open.HALF_IN, door_pages.give_code),
    Route("/account/second-factor", "GET", Open.HALF_IN, account_pages.factor_page),
    Route("/account/second-factor", "POST", Open.HALF_IN, account_pages.set_factor),
    Route("/sign-out", "POST", Open.HALF_IN, door_pages.sign_out, while_locked=True),
    Route("/lock", "POST", Right.OWN, door_pages.lock, while_locked=True),
    Route("/unlock", "POST", Right.OWN, door_pages.unlock, while_locked=True),
    Route("/switch", "GET", Right.OWN, door_pages.switch_page, while_locked=True),
    Route("/pulse", "GET", Right.OWN, pulse_fragment, passive=True, while_locked=True),
    # one's own account
    Route("/account", "GET", Right.OWN, account_pages.account_page),
    Route("/account/secrets", "POST", Right.OWN, account_pages.change_secrets),
    Route("/account/address", "POST", Right.OWN, account_pages.change_address),
    Route("/account/recovery-codes", "POST", Right.OWN, account_pages.renew_codes),
    Route("/account/sign-out-everywhere", "POST", Right.OWN, account_pages.sign_out_everywhere),
    Route("/account/sessions/{session_id}/end", "POST", Right.OWN, account_pages.end_session),
    # reminders
    Route("/reminders", "GET", Right.DESK, reminder_pages.board_page),
    Route("/reminders", "POST", Right.DESK, reminder_pages.find),
    Route("/reminders/decide", "POST", Right.DESK, decision_pages.decide_many),
    Route("/reminders/{reminder_id}", "GET", Right.DESK, reminder_pages.reminder_page),
    Route("/reminders/{reminder_id}/html", "GET", Right.RECORD, reminder_pages.reminder_html),
    Route("/reminders/{reminder_id}/copies/{attempt}", "GET", Right.RECORD, reminder_pages.copy_page),
    # the day's list, and deciding
    Route("/today", "GET", Right.DESK, today_pages.today_page),
    Route("/today/lists", "GET", Right.DESK, today_pages.today_lists, passive=True),
    Route("/setup/{step}", "POST", Right.STOP_SENDING, today_pages.mark_step),
    Route("/letters/looked-at", "POST", Right.DESK, today_pages.settle_letters),
    Route("/reminders/{reminder_id}/decide", "POST", Right.DESK, decision_pages.decide),
    Route("/questions/{question_id}/answer", "POST", Right.DESK, decision_pages.answer_question),
    Route("/lines/{line_id}/close", "POST", Right.DESK, decision_pages.close_line),
    Route("/lines/{line_id}/reopen", "POST", Right.DESK, decision_pages.reopen_line),
    Route("/treatments/{treatment_id}/events", "POST", Right.DESK, decision_pages.record_event),
    Route("/events/{event_id}/undo", "POST", Right.DESK, decision_pages.undo_event),
    Route("/patients/{patient_id}/confirm-address", "POST", Right.DESK, decision_pages.confirm_address),
    # patients
    Route("/patients", "GET", Right.DESK, patient_pages.list_page),
    Route("/patients", "POST", Right.DESK, patient_pages.find),
    Route("/patients/{patient_id}", "GET", Right.DESK, patient_pages.patient_page),
    Route("/patients/{patient_id}/print", "GET", Right.RECORD, patient_pages.print_page),
    Route("/patients/{patient_id}/edit", "GET", Right.DESK, patient_pages.edit_page),
    Route("/patients/{patient_id}/edit", "POST", Right.DESK, patient_pages.edit),
    Route("/patients/{patient_id}/private-page", "GET", Right.DESK, access_pages.access_page),
    Route("/patients/{patient_id}/page-code", "POST", Right.DESK, access_pages.set_code),
    Route("/patients/{patient_id}/links/revoke", "POST", Right.DESK, access_pages.revoke),
    Route("/patients/{patient_id}/preferences", "POST", Right.DESK, access_pages.prefer),
    Route("/patients/{patient_id}/stop", "POST", Right.DESK, patient_pages.stop),
    Route("/patients/{patient_id}/permit", "POST", Right.DESK, patient_pages.permit),
    Route("/patients/{patient_id}/contact", "POST", Right.DESK, patient_pages.add_contact),
    Route("/patients/{patient_id}/notes", "POST", Right.RECORD, patient_pages.add_note),
    # entering a treatment
    Route("/treatments/new", "GET", Right.DESK, entry_pages.new_page),
    Route("/treatments/new", "POST", Right.DESK, entry_pages.save),
    Route("/treatments/new/people", "POST", Right.DESK, entry_pages.people),
    Route("/treatments/new/who", "POST", Right.DESK, entry_pages.who),
    Route("/treatments/new/alike", "POST", Right.DESK, entry_pages.alike_people),
    Route("/treatments/new/fields", "POST", Right.DESK, entry_pages.fields),
    Route("/treatments/new/plan", "POST", Right.DESK, entry_pages.plan),
    Route("/treatments/{treatment_id}/undo", "POST", Right.DESK, entry_pages.undo),
    # one treatment
    Route("/treatments/{treatment_id}", "GET", Right.DESK, treatment_pages.treatment_page),
    Route("/treatments/{treatment_id}/move", "GET", Right.DESK, treatment_pages.move_page),
    Route("/treatments/{treatment_id}/move", "POST", Right.DESK, treatment_pages.move),
    Route("/treatments/{treatment_id}/reassign", "GET", Right.DESK, treatment_pages.reassign_page),
    Route("/treatments/{treatment_id}/reassign", "POST", Right.DESK, treatment_pages.reassign),
    Route("/treatments/{treatment_id}/cancel", "GET", Right.DESK, treatment_pages.cancel_page),
    Route("/treatments/{treatment_id}/cancel", "POST", Right.DESK, treatment_pages.cancel),
    Route("/treatments/{treatment_id}/record", "GET", Right.RECORD, record_pages.record_page),
    Route("/treatments/{treatment_id}/record", "POST", Right.RECORD, record_pages.save_record),
    Route("/treatments/{treatment_id}/book", "GET", Right.DESK, review_pages.book_page),
    Route("/treatments/{treatment_id}/book", "POST", Right.DESK, review_pages.book),
    Route("/treatments/{treatment_id}/reviews/{review}", "GET", Right.RECORD, review_pages.outcome_page),
    Route("/treatments/{treatment_id}/reviews/{review}", "POST", Right.RECORD, review_pages.save_outcome),
    Route("/treatments/{treatment_id}/exercise", "GET", Right.RECORD, exercise_pages.exercise_page),
    Route("/treatments/{treatment_id}/exercise", "POST", Right.RECORD, exercise_pages.set_exercise),
    Route("/treatments/{treatment_id}/release", "GET", Right.RECORD, review_pages.release_page),
    Route("/treatments/{treatment_id}/release", "POST", Right.RECORD, review_pages.release),
    Route("/sending", "GET", Right.STOP_SENDING, decision_pages.sending_page),
    Route("/sending/stop", "POST", Right.STOP_SENDING, decision_pages.stop_sending),
    Route("/sending/release", "POST", Right.STOP_SENDING, decision_pages.release_sending),
    # import
    Route("/import", "GET", Right.IMPORT, import_pages.import_page),
    Route("/import", "POST", Right.IMPORT, import_pages.check, most_bytes=import_pages.MOST_BYTES),
    Route("/import/columns", "GET", Right.IMPORT, import_pages.columns),
    Route("/import/check", "GET", Right.IMPORT, import_pages.check_page),
    Route("/import/enter", "POST", Right.IMPORT, import_pages.enter),
    Route("/import/forget", "POST", Right.IMPORT, import_pages.drop),
    Route("/import/{batch_id}", "GET", Right.IMPORT, batch_pages.batch_page),
    Route("/import/{batch_id}/release", "POST", Right.IMPORT, batch_pages.release),
    Route("/import/{batch_id}/undo", "GET", Right.IMPORT, batch_pages.undo_page),
    Route("/import/{batch_id}/undo", "POST", Right.IMPORT, batch_pages.undo),
    # lots
    Route("/lots", "GET", Right.LOTS, lot_pages.lot_page),
    Route("/lots", "POST", Right.LOTS, lot_pages.find),
    Route("/lots/export", "POST", Right.LOTS, lot_pages.export),
    # figures
    Route("/figures", "GET", Right.FIGURES, figure_pages.figures_page),
    Route("/figures/work-out", "POST", Right.FIGURES, figure_pages.work_out),
    Route("/figures/export", "POST", Right.FIGURES, figure_pages.export),
    # staff, settings, the trail, help
    Route("/staff", "GET", Right.STAFF, staff_pages.staff_page),
    Route("/staff", "POST", Right.STAFF, staff_pages.add),
    Route("/staff/{staff_id}", "GET", Right.STAFF, staff_pages.member_page),
    Route("/staff/{staff_id}/roles", "POST", Right.STAFF, staff_pages.change_roles),
    Route("/staff/{staff_id}/disable", "POST", Right.STAFF, staff_pages.disable),
    Route("/staff/{staff_id}/enable", "POST", Right.STAFF, staff_pages.enable),
    Route("/staff/{staff_id}/reset", "POST", Right.STAFF, staff_pages.reset),
    Route("/staff/{staff_id}/sign-out", "POST", Right.STAFF, staff_pages.sign_out),
    Route("/settings", "GET", Right.STAFF, settings_pages.settings_page),
    Route("/settings/check", "POST", Right.STAFF, settings_pages.run_check),
    Route("/audit", "GET", Right.TRAIL, trail_pages.trail_page),
    Route("/audit/verify", "POST", Right.TRAIL, trail_pages.verify),
    Route("/audit/export", "POST", Right.TRAIL, trail_pages.export),
    Route("/help", "GET", Right.OWN, help_pages.help_page),
    *(Route(path, "GET", Right.OWN, shown) for path, shown in help_pages.DOCUMENT_PAGES),
    # the outbox folder, while no mail server is set
    Route("/outbox", "GET", Right.RECORD, outbox_page),
    Route("/outbox/{name}", "GET", Right.RECORD, mail_page),
    Route("/outbox/{name}/html", "GET", Right.RECORD, mail_html),
    # protocols and texts
    Route("/protocols", "GET", Right.LIBRARY, library_pages.protocols_page),
    Route("/protocols/files", "POST", Right.WRITE_TEXTS, library_pages.read_files),
    Route("/protocols/{key}", "GET", Right.LIBRARY, library_pages.protocol_page),
    Route("/protocols/{key}/values", "POST", Right.WRITE_TEXTS, library_pages.give_values),
    Route("/protocols/{key}/edit", "GET", Right.WRITE_TEXTS, protocol_edit_pages.whole_page),
    Route("/protocols/{key}/edit", "POST", Right.WRITE_TEXTS, protocol_edit_pages.save_whole),
    Route("/protocols/{key}/check", "POST", Right.WRITE_TEXTS, protocol_edit_pages.check_whole),
    Route("/protocols/{key}/steps/{name}", "GET", Right.WRITE_TEXTS, protocol_edit_pages.step_page),
    Route("/protocols/{key}/steps/{name}", "POST", Right.WRITE_TEXTS, protocol_edit_pages.save_step),
    Route("/protocols/{key}/steps/{name}/check", "POST", Right.WRITE_TEXTS, protocol_edit_pages.check_step),
    Route("/protocols/{key}/approve", "GET", Right.APPROVE, approval_pages.approve_page),
    Route("/protocols/{key}/approve", "POST", Right.APPROVE, approval_pages.approve),
    Route("/protocols/{key}/move", "GET", Right.APPROVE, move_pages.move_page),
    Route("/protocols/{key}/move", "POST", Right.APPROVE, move_pages.move),
    Route("/texts", "GET", Right.LIBRARY, text_pages.texts_page),
    Route("/texts/new", "GET", Right.WRITE_TEXTS, text_edit_pages.new_page),
    Route("/texts/new", "POST", Right.WRITE_TEXTS, text_edit_pages.name_new),
    Route("/texts/{key}", "GET", Right.LIBRARY, text_pages.text_page),
    Route("/texts/{key}/test-mail", "POST", Right.WRITE_TEXTS, text_pages.send_test_mail),
    Route("/texts/{key}/{language}/{level}/html", "GET", Right.LIBRARY, text_pages.text_html),
    Route("/texts/{key}/{language}/{level}/edit", "GET", Right.WRITE_TEXTS, text_edit_pages.edit_page),
    Route("/texts/{key}/{language}/{level}/edit", "POST", Right.WRITE_TEXTS, text_edit_pages.save),
    Route("/texts/{key}/{language}/{level}/check", "POST", Right.WRITE_TEXTS, text_edit_pages.check),
    Route("/texts/{key}/{language}/{level}/look", "POST", Right.WRITE_TEXTS, text_edit_pages.look),
    Route("/texts/{key}/{language}/{level}/approve", "GET", Right.APPROVE, approval_pages.approve_text_page),
    Route("/texts/{key}/{language}/{level}/approve", "POST", Right.APPROVE, approval_pages.approve_text),
    # work that takes long
    Route("/progress/{name}", "GET", Right.OWN, work_page, passive=True),
)


class PermissionMissing(Exception):
    """A route does not say who may use it: a fault of the program, found before it answers anyone."""


def make_app(clinic: Clinic, routes: Sequence[Route] = ROUTES, door: FrontDoor | None = None) -> FastAPI:
    """The app over one clinic. Raises `PermissionMissing` when a route has no permission.

    Endpoints are plain functions: FastAPI runs them in threads, and the event loop stays free for sending.
    """
    app = FastAPI(title="Aftercare", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.clinic = clinic
    app.state.door = door or FrontDoor(clinic)
    app.state.works = Works()
    app.state.uploads = Uploads()
    app.state.looks = Looks()
    app.add_middleware(Envelope)
    app.add_exception_handler(HTTPException, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_unknown)
    app.add_exception_handler(SignInFirst, _answer_sign_in)
    app.add_exception_handler(Locked, _answer_locked)
    app.add_exception_handler(NotAllowed, _answer_not_allowed)
    app.add_exception_handler(NotEncrypted, _answer_not_encrypted)
    app.add_exception_handler(AftercareError, _answer_refused)
    app.add_exception_handler(VaultError, _answer_unreadable)
    for route in routes:
        if route.permission is None:
            raise PermissionMissing(f"{route.method} {route.path} does not declare who may use it")
        app.add_api_route(
            route.path,
            route.endpoint,
            methods=["GET", "HEAD"] if route.method == "GET" else [route.method],
            dependencies=[Depends(guard(route))],
            response_model=None,
            include_in_schema=False,
        )
    return app


def _answer_problem(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    answer = problem(404 if status == 405 else status)  # a 405 would tell that the page exists
    if isinstance(error, HTTPException):
        answer.headers.update(error.headers or {})
        del answer.headers["allow"]
    return answer


def _answer_unknown(request: Request, error: Exception) -> Response:
    return problem(404)  # an id in the path that is none; FastAPI's own answer repeats what was sent


def _answer_sign_in(request: Request, error: Exception) -> Response:
    present = error.present if isinstance(error, SignInFirst) else None
    path = "/sign-in/code" if present is not None else sign_in_path(request)
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": path})
    return RedirectResponse(path, 303)


def _answer_locked(request: Request, error: Exception) -> Response:
    if not isinstance(error, Locked):
        raise error
    if "hx-request" in request.headers:
        return Response(status_code=423)  # the script on the page shows the lock over what was typed
    return door_pages.locked_page(request, error.present, error.problem)


def _answer_not_allowed(request: Request, error: Exception) -> Response:
    return page(request, "not_allowed.html", 403)


def _answer_refused(request: Request, error: Exception) -> Response:
    """What a use case forbids, where its page has no better place to say so; nothing was changed."""
    if isinstance(error, NotFound):
        return page(request, "not_found.html", 404)
    back = request.state.form.get("back", "")
    typed = [request.state.form.get(name, "") for name in ("note", "reason")]
    kept = [text for text in typed if isinstance(text, str) and text.strip()]
    return refusal(request, error, local_path(back if isinstance(back, str) else ""), kept)


def _answer_unreadable(request: Request, error: Exception) -> Response:
    """A form or a copy rests on something sealed that does not open. Where only a part of a page does, it says so."""
    log().error("sealed_unreadable", error=type(error).__name__, path=request.scope["route"].path)
    return page(request, "unreadable.html", 500)


def _answer_not_encrypted(request: Request, error: Exception) -> Response:
    return page(request, "not_encrypted.html", 403)
