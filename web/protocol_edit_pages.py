"""Changing a protocol on the screen: one step by a form, or the whole text, both looked at while somebody types.

What can be changed of a step is in `scheduler.step_edits`, saving in `scheduler.protocol_edits`.
"""

from typing import Any, Final

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel

from db.states import Past
from scheduler import protocol_edits, step_edits
from scheduler.clinic import Clinic
from scheduler.errors import AftercareError, InvalidInput, NotFound
from scheduler.library import Shelf, ShelvedProtocol
from scheduler.planning.protocol import Step
from scheduler.protocol_differences import differences
from scheduler.protocol_words import when_words
from scheduler.protocols import Finding, ProtocolInvalid
from scheduler.step_edits import AFTER, BEFORE, UNITS, StepForm, edit_step, form_of, remove_step
from scheduler.subjects import title_of
from web.doors import me_of
from web.forms import Filled, FormModel, filled
from web.library_pages import titles_of
from web.library_words import subject_of
from web.pages import clinic_of, fragment, go_to, page

LABELS: Final = {
    "amount": "How long",
    "at": "Time of day",
    "lasts": "Useful for",
    "repeat_count": "How often in all",
    "past": "When its time had passed",
}
PAST_CHOICES: Final = {Past.SKIP: "leave it out", Past.SEND: "send it late", Past.ASK: "ask staff"}


class WholeForm(FormModel):
    """The whole text, and the version it was written from."""

    source: str = ""
    base: str = ""
    look: str = ""  # the button that only looks, where no script does


class StepFields(FormModel):
    """The form of one step as sent; ticks are "yes" or absent."""

    base: str = ""
    amount: str = ""
    unit: str = ""
    side: str = ""
    at: str = ""
    lasts: str = ""
    lasts_unit: str = ""
    template: str = ""
    past: str = ""
    repeat_count: str = ""
    manual: str = ""
    working_days_only: str = ""
    act: str = ""  # save, look or remove


def whole_page(request: Request, key: str) -> Response:
    """The whole text of the newest version."""
    newest = _newest(clinic_of(request), key)[1]
    form = WholeForm(source=newest.source, base=newest.content_hash)
    return _show_whole(request, key, form)


def save_whole(request: Request, key: str) -> Response:
    """Save it as a draft, or show it again as typed with everything that is wrong."""
    form = WholeForm.read(request)
    if form.look:
        return _show_whole(request, key, form, looked=True)
    try:
        saved = protocol_edits.save(clinic_of(request), me_of(request).actor, key, form.source, form.base)
    except ProtocolInvalid:
        return _show_whole(request, key, form, looked=True, status=422)
    except NotFound:
        raise
    except AftercareError as wrong:
        return _show_whole(request, key, form, wrong, status=409)
    return go_to(f"/protocols/{key}", "protocol-saved" if saved.changed else "nothing-changed")


def check_whole(request: Request, key: str) -> Response:
    """What is wrong with a text, or what it would change: reads only."""
    form = WholeForm.read(request)
    return fragment(request, "library/protocol_findings.html", **_look(request, key, form.source))


def step_page(request: Request, key: str, name: str) -> Response:
    """The form of one step."""
    _, newest = _newest(clinic_of(request), key)
    return _show_step(request, key, name, _fields(newest, _step(newest, name)))


def save_step(request: Request, key: str, name: str) -> Response:
    """Save what the form changed of a step, or take the step out; or only look, where no script does."""
    form, clinic = StepFields.read(request), clinic_of(request)
    _, newest = _newest(clinic, key)
    step = _step(newest, name)
    if form.act == "look":
        return _show_step(request, key, name, form, looked=True)
    try:
        source = (
            remove_step(newest.source, name) if form.act == "remove" else edit_step(newest.source, step, _typed(form))
        )
        saved = protocol_edits.save(clinic, me_of(request).actor, key, source, form.base)
    except AftercareError as wrong:
        typed = _fields(newest, step) if form.act == "remove" else form
        return _show_step(request, key, name, typed, wrong, status=422)
    return go_to(f"/protocols/{key}", "protocol-saved" if saved.changed else "nothing-changed")


def check_step(request: Request, key: str, name: str) -> Response:
    """What is wrong with a step as typed, or what it would change: reads only."""
    form, clinic = StepFields.read(request), clinic_of(request)
    _, newest = _newest(clinic, key)
    return fragment(request, "library/step_findings.html", **_look_at_step(request, newest, _step(newest, name), form))


def _show_whole(
    request: Request, key: str, form: WholeForm, error: Exception | None = None, status: int = 200, looked: bool = False
) -> Response:
    _, newest = _newest(clinic_of(request), key)
    found = _look(request, key, form.source) if looked or status != 200 else {"findings": (), "changes": None}
    return page(
        request,
        "library/protocol_edit.html",
        status,
        key=key,
        newest=newest,
        form=filled(form, error),
        **found,
    )


def _show_step(
    request: Request,
    key: str,
    name: str,
    form: StepFields,
    error: Exception | None = None,
    status: int = 200,
    looked: bool = False,
) -> Response:
    clinic = clinic_of(request)
    shelf, newest = _newest(clinic, key)
    step = _step(newest, name)
    shown = filled(form, error, LABELS) if not isinstance(error, ProtocolInvalid) else _with_findings(form, error)
    found = _look_at_step(request, newest, step, form) if looked else {"problems": (), "changes": None}
    language = clinic.settings.clinic_language
    return page(
        request,
        "library/step.html",
        status,
        key=key,
        newest=newest,
        step=step,
        title=title_of(shelf, newest.protocol, step, language),
        when=when_words(step),
        why=step_edits.why(newest.source, name),
        form=shown,
        units=[(unit, unit) for unit in UNITS if unit != "seconds" or form.unit == unit],
        last_units=[(unit, unit) for unit in UNITS if unit != "seconds" or form.lasts_unit == unit],
        sides=[(AFTER, "after"), (BEFORE, "before")],
        pasts=[(past.value, PAST_CHOICES[past]) for past in Past],
        texts=_texts(shelf, language, step),
        **found,
    )


def _look(request: Request, key: str, source: str) -> dict[str, Any]:
    """The findings of a text by their lines; without any, the sentences of what it would change."""
    clinic = clinic_of(request)
    shelf, newest = _newest(clinic, key)
    try:
        _, protocol = protocol_edits.read_draft(shelf, key, source)
    except ProtocolInvalid as wrong:
        lines = ["", *source.splitlines()]
        told = [
            (*_shown(finding), lines[finding.line].strip() if finding.line < len(lines) else "")
            for finding in wrong.findings
        ]
        return {"findings": told, "changes": None}
    changes = differences(newest.protocol, protocol, titles_of(clinic, shelf, newest))
    return {"findings": (), "changes": changes, "number": protocol.version}


def _look_at_step(request: Request, newest: ShelvedProtocol, step: Step, form: StepFields) -> dict[str, Any]:
    try:
        source = edit_step(newest.source, step, _typed(form))
    except AftercareError as wrong:
        return {"problems": filled(form, wrong, LABELS).problems, "changes": None}
    found = _look(request, newest.protocol.key, source)
    problems = _with_findings(form, None, found["findings"]).problems
    return {"problems": problems, "changes": found["changes"]}


def _with_findings(form: BaseModel, error: ProtocolInvalid | None, shown: Any = ()) -> Filled:
    """A form of one step with the findings of the whole text, whose lines mean nothing there."""
    problems = [told[1] for told in (shown or [_shown(finding) for finding in (error.findings if error else ())])]
    return filled(form, InvalidInput(*problems), {}) if problems else filled(form)


def _shown(finding: Finding) -> tuple[int, str]:
    return finding.line, finding.problem[:1].upper() + finding.problem[1:]


def _newest(clinic: Clinic, key: str) -> tuple[Shelf, ShelvedProtocol]:
    with clinic.store.show() as session:
        shelf = clinic.library.shelf(session)
    return shelf, shelf.list_versions(key)[-1]


def _step(version: ShelvedProtocol, name: str) -> Step:
    found = next((step for step in version.protocol.steps if step.key == name), None)
    if found is None:
        raise NotFound(f'the protocol has no step "{name}"')
    return found


def _fields(version: ShelvedProtocol, step: Step) -> StepFields:
    form = form_of(step)
    texts = {name: getattr(form, name) for name in form.__slots__ if name not in ("manual", "working_days_only")}
    ticks = {name: "yes" if getattr(form, name) else "" for name in ("manual", "working_days_only")}
    return StepFields(base=version.content_hash, **texts, **ticks)


def _typed(form: StepFields) -> StepForm:
    return StepForm(
        amount=form.amount,
        unit=form.unit,
        side=form.side,
        at=form.at,
        lasts=form.lasts,
        lasts_unit=form.lasts_unit,
        template=form.template,
        past=form.past,
        manual=form.manual == "yes",
        working_days_only=form.working_days_only == "yes",
        repeat_count=form.repeat_count,
    )


def _texts(shelf: Shelf, language: str, step: Step) -> list[tuple[str, str]]:
    """The messages a step may send, by what they are called; the one it has, whatever it is."""
    found = {
        key: f"{subject_of(text)} ({key})"
        for (key, tongue, level), text in sorted(shelf.latest.items())
        if (tongue, level) == (language, "general") and not text.source.is_part
    }
    return list(({step.template: step.template} | found).items())
