"""The patients' pages: what each shows and what its buttons do. What she says is recorded in `scheduler.answers`."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from db.follow_up import Reminder
from db.page_links import find_code
from db.private_page import PageCodeKind
from db.states import StepKind, Topic
from scheduler import answers, dates
from scheduler.clinic import Clinic
from scheduler.errors import InvalidInput, NotFound
from scheduler.page_content import PageContent, read_content
from scheduler.private_page import MOST_TRIES, Code, code_kind, try_code
from scheduler.review_calendar import calendar_file
from web.assets import FOLDER, asset_path
from web.private.doors import Gone, let_in, let_out, opening_of
from web.private.numbers import fill, tel
from web.private.progress import plot_progress
from web.private.sent_forms import (
    CallForm,
    CheckInForm,
    ChoicesForm,
    CodeForm,
    PauseForm,
    QuestionsForm,
    StepBackForm,
    StopForm,
    VisitForm,
)
from web.private.words import languages, tongue_of, words_in

_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_SAID: Final = frozenset({"answered", "saved", "stopped", "visit_yes_done", "visit_other_done", "questions_done"})
# What she came for comes first. After a message about a visit, "done" and "not yet" would ask about nothing.
_ORDER: Final[Mapping[StepKind, tuple[str, ...]]] = {
    StepKind.EXERCISE: ("step", "how", "message", "visit"),
    StepKind.REVIEW: ("message", "visit", "step", "how"),
    StepKind.AFTERCARE: ("message", "step", "how", "visit"),
}
_PLAN, _VISITS = (Topic.EXERCISES,), (Topic.REVIEWS,)
_STOPS: Final[Mapping[str, tuple[Topic, ...]]] = {"plan": _PLAN, "visits": _VISITS, "all": (*_PLAN, *_VISITS)}


def shown(request: Request, template: str, language: str, status: int = 200, **values: object) -> HTMLResponse:
    """A page in her language, with the clinic's phone and the emergency number below."""
    clinic = _clinic(request)
    settings = clinic.settings
    text = _ENVIRONMENT.get_template(f"private/{template}").render(
        w=words_in(language),
        language=tongue_of(language),
        base=f"/l/{request.state.token}" if hasattr(request.state, "token") else "",
        settings=settings,
        asset_path=asset_path,
        tel=tel,
        fill=fill,
        **values,
    )
    return HTMLResponse(text, status)


def neutral(request: Request, key: str, status: int) -> HTMLResponse:
    """The same for everybody who may not, or no longer, read something here."""
    return shown(request, "plain.html", _clinic(request).settings.clinic_language, status, key=key, leave=False)


def away(request: Request) -> Response:
    """Where "leave this page" leads."""
    return neutral(request, "away", 200)


def ask_for_code(request: Request, problem: str = "", kept: Mapping[str, str] | None = None) -> Response:
    """The code's form; what was being written when the page closed is kept in it."""
    clinic, opening = _clinic(request), opening_of(request)
    with clinic.store.read() as session:
        code = find_code(session, opening.patient_id)
    return shown(
        request,
        "code.html",
        opening.language,
        200 if not problem else 403,
        by_date=code is not None and code.kind is PageCodeKind.BIRTH_DATE,
        locked=code is not None and code.tries >= MOST_TRIES,
        problem=problem,
        kept=dict(kept or {}),
    )


def page(request: Request) -> Response:
    """Her page: the question about her address, the code's form, or what she came for."""
    clinic, opening = _clinic(request), opening_of(request)
    if opening.confirms:
        return shown(request, "confirm.html", opening.language)
    with clinic.store.read() as session:
        kind = code_kind(session, opening.patient_id)
    if kind is not None and not request.state.knows_code:
        return ask_for_code(request)
    content = _content(request, in_full=kind is not None)
    return _show(request, content, opened=kind is not None)


def _show(request: Request, content: PageContent, opened: bool, problem: str = "", **typed: str) -> Response:
    said = request.query_params.get("said", "")
    language = opening_of(request).language
    return shown(
        request,
        "page.html",
        language,
        422 if problem else 200,
        content=content,
        opened=opened,
        said=said if said in _SAID else "",
        plot=plot_progress(content.scores, tongue_of(language), words_in(language)["progress_told"]),
        parts=_ORDER.get(content.kind, _ORDER[StepKind.AFTERCARE]),
        day=_day_in_words,
        problem=problem,
        typed={"answer": "", "pain": "", "words": "", **typed},
    )


def give_code(request: Request) -> Response:
    """Open the page for ten minutes. What was being written is sent on with it."""
    form, opening = CodeForm.read(request), opening_of(request)
    outcome, left = try_code(_clinic(request), opening, form.code)
    words = words_in(opening.language)
    if outcome is Code.RIGHT:
        answer = _take(request, form.kept) if form.kept else _back(request)
        let_in(answer, request)
        return answer
    if outcome is Code.WRONG:
        said = words["code_wrong_last"] if left == 1 else words["code_wrong"].format(left=left)
        return ask_for_code(request, said, form.kept)
    return ask_for_code(request, words["code_locked"] if outcome is Code.LOCKED else "", form.kept)


def check_in(request: Request) -> Response:
    """Her answer. One that asks for a call leads to the urgent advice first."""
    return _take(request, CheckInForm.read(request).model_dump())


def _take(request: Request, sent: Mapping[str, str]) -> Response:
    names = ("answer", "pain", "words")
    typed = {name: sent.get(name, "") for name in names}
    try:
        calls = answers.check_in(_clinic(request), opening_of(request), answers.CheckIn(**typed))
    except InvalidInput:
        words = words_in(opening_of(request).language)
        return _show(request, _content(request, True), True, words["answer_needed"], **typed)
    return _back(request, "/help-first?asked=yes") if calls else _back(request, "?said=answered")


def help_first(request: Request) -> Response:
    """The urgent advice first; then when somebody reads what she sent, or the button to ask for a call."""
    content = _content(request, request.state.knows_code)
    asked = content.call_open and request.query_params.get("asked") == "yes"
    return shown(request, "urgent.html", opening_of(request).language, content=content, asked=asked)


def call(request: Request) -> Response:
    """Ask for a call."""
    form = CallForm.read(request)
    because = "red_flag" if form.because == "red_flag" else "asked"
    words = form.words[: answers.MOST_WORDS]
    answers.ask_for_call(_clinic(request), opening_of(request), because, words)
    if request.state.knows_code:
        return _back(request, "/help-first?asked=yes")
    # Said once, here: a page that could be asked for again would tell whoever has the mail that she wants a call.
    content = replace(_content(request, False), call_open=True)
    return shown(request, "urgent.html", opening_of(request).language, content=content, asked=True)


def step_back(request: Request) -> Response:
    """One step back."""
    answers.step_back(_clinic(request), opening_of(request), StepBackForm.read(request).exercise)
    return _back(request)


def visit(request: Request) -> Response:
    """She comes, or needs another time."""
    form = VisitForm.read(request)
    if form.answer == "other":
        answers.ask_other_time(_clinic(request), opening_of(request), form.review, form.words[: answers.MOST_WORDS])
        return _back(request, "?said=visit_other_done")
    answers.confirm_visit(_clinic(request), opening_of(request), form.review)
    return _back(request, "?said=visit_yes_done")


def calendar(request: Request) -> Response:
    """The booked visit as a calendar file, neutral."""
    clinic, opening = _clinic(request), opening_of(request)
    with clinic.store.read() as session:
        found = calendar_file(session, clinic, opening.plan_id)
    if found is None:
        raise Gone
    headers = {"Content-Disposition": 'attachment; filename="appointment.ics"'}
    return Response(found, media_type="text/calendar; charset=utf-8; method=PUBLISH", headers=headers)


def questions_page(request: Request) -> Response:
    """The questions before a visit."""
    content = _content(request, True)
    if content.visit is None:
        return _back(request)
    return _questions(request, content)


def _questions(
    request: Request, content: PageContent, problem: str = "", sent: QuestionsForm | None = None
) -> Response:
    situations = [name for name in answers.SITUATIONS if name != "pain_with_partner" or content.released]
    return shown(
        request,
        "questions.html",
        opening_of(request).language,
        422 if problem else 200,
        content=content,
        visit=content.visit,
        situations=situations,
        effects=answers.SIDE_EFFECTS,
        problem=problem,
        sent=sent,
    )


def answer_questions(request: Request) -> Response:
    """What she answers before a visit."""
    form = QuestionsForm.read(request)
    sent = answers.Questions({f"pain_{name}": text for name, text in form.pains.items()}, form.noticed, form.words)
    try:
        answers.answer_questions(_clinic(request), opening_of(request), form.review, sent)
    except InvalidInput:
        words = words_in(opening_of(request).language)
        return _questions(request, _content(request, True), words["questions_wrong"], form)
    return _back(request, "?said=questions_done")


def choices_page(request: Request) -> Response:
    """Pause, stop, and how she likes to be written to."""
    clinic, content = _clinic(request), _content(request, True)
    said = request.query_params.get("said", "")
    return shown(
        request,
        "choices.html",
        opening_of(request).language,
        content=content,
        said=said if said in _SAID else "",
        times=answers.times_to_choose(clinic.settings.send_window),
        languages=[(tongue, dates.language_name(tongue)) for tongue in languages()],
        day=_day_in_words,
        plan_stopped=content.agreed.get(Topic.EXERCISES) is False,
        visits_stopped=content.agreed.get(Topic.REVIEWS) is False,
    )


def choose(request: Request) -> Response:
    """When and how she likes to be written to."""
    form = ChoicesForm.read(request)
    language = form.language if form.language in languages() else ""
    choices = answers.Choices(form.at, form.weekday, language, form.level)
    try:
        answers.choose(_clinic(request), opening_of(request), choices)
    except InvalidInput:
        return _back(request, "/choices")
    return _back(request, "/choices?said=saved")


def pause(request: Request) -> Response:
    """A break of one to four weeks."""
    try:
        answers.pause(_clinic(request), opening_of(request), PauseForm.read(request).weeks)
    except InvalidInput:
        return _back(request, "/choices")
    return _back(request, "/choices?said=saved")


def go_on(request: Request) -> Response:
    """The break ends now."""
    answers.go_on(_clinic(request), opening_of(request))
    return _back(request, "/choices?said=saved")


def stop(request: Request) -> Response:
    """Stop messages of a topic, or take that back."""
    form = StopForm.read(request)
    topics = _STOPS.get(form.topic)
    if topics is None:
        return _back(request, "/choices")
    if form.again:
        answers.allow(_clinic(request), opening_of(request), topics)
        return _back(request, "/choices?said=saved")
    answers.stop(_clinic(request), opening_of(request), topics)
    return _back(request, "/choices?said=stopped")


def record_page(request: Request) -> Response:
    """What the clinic holds about her, and how to get it."""
    return shown(request, "record.html", opening_of(request).language)


def leave(request: Request) -> Response:
    """Close the page: the code is needed again, and nothing of it is kept by the browser."""
    answer = RedirectResponse("/l/", 303, headers={"Clear-Site-Data": '"cache"'})
    let_out(answer, request)
    return answer


def confirm(request: Request) -> Response:
    """The address is hers."""
    opening = opening_of(request)
    if not opening.confirms:
        raise Gone
    answers.confirm_address(_clinic(request), opening)
    return shown(request, "plain.html", opening.language, key="confirmed", leave=False)


def disown(request: Request) -> Response:
    """The address is not hers: it is removed at once."""
    opening = opening_of(request)
    if not opening.confirms:
        raise Gone
    answers.disown_address(_clinic(request), opening)
    return shown(request, "plain.html", opening.language, key="disowned", leave=False)


def one_click_page(request: Request) -> Response:
    """Ask before stopping: a mail scanner opens links too."""
    opening = opening_of(request)
    topics = _topics(request)
    what = "all" if len(topics) > 1 else "visits" if Topic.REVIEWS in topics else "plan"
    return shown(request, "one_click.html", opening.language, what=f"one_click_what_{what}")


def one_click(request: Request) -> Response:
    """Stop this message's topic: from the page, or by a mail program (RFC 8058). No redirect."""
    opening = opening_of(request)
    answers.stop(_clinic(request), opening, _topics(request))
    return shown(request, "plain.html", opening.language, key="one_click_done", leave=False)


def _topics(request: Request) -> tuple[Topic, ...]:
    with _clinic(request).store.read() as session:
        row = session.get(Reminder, opening_of(request).reminder_id)
    if row is None:
        raise Gone
    return answers.topics_of(row.kind)


def _clinic(request: Request) -> Clinic:
    found: Clinic = request.app.state.clinic
    return found


def _content(request: Request, in_full: bool) -> PageContent:
    clinic, opening = _clinic(request), opening_of(request)
    with clinic.store.read() as session:
        try:
            found = read_content(session, clinic, opening, in_full, tongue_of(opening.language))
        except NotFound:
            raise Gone from None
    return found if in_full else replace(found, call_open=False)


def _back(request: Request, path: str = "") -> RedirectResponse:
    return RedirectResponse(f"/l/{request.state.token}{path}", 303)


def _day_in_words(day: date, language: str) -> str:
    return dates.day_in_words(day, language)
