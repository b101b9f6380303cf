"""Writing a text on the screen: its fields beside how it will look, with everything that is wrong told meanwhile.

Saving is in `scheduler.text_edits`, the page of a text in `web.text_pages`.
"""

from typing import Any, Final

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from scheduler import text_edits, text_previews
from scheduler.clinic import Clinic
from scheduler.errors import AftercareError, InvalidInput
from scheduler.library import Shelf
from scheduler.message_source import NAMES, Source
from scheduler.template_files import TextId
from scheduler.text_edits import LEVELS, TextDraft, TextLook, TextNote, draft_of, source_of
from web.doors import me_of
from web.forms import FormModel, filled
from web.library_words import LANGUAGES, Stand, grade_words, subject_of, variant_name
from web.library_words import LEVELS as LEVEL_NAMES
from web.pages import clinic_of, fragment, go_to, page
from web.preview_parts import mail_html_answer, preview_of_rendered
from web.text_pages import variants_of, where

LABELS: Final = {"subject": "Subject", "preheader": "First line", "body": "Text"}
STARTER: Final = TextDraft("", "", "", "", "", "Hello {{ patient.preferred_name }}.\n\n")


class TextForm(FormModel):
    """The three fields of a text, and the content it was written from: its hash, empty for a new one."""

    subject: str = ""
    preheader: str = ""
    body: str = ""
    base: str = ""
    act: str = ""  # save, or look where no script does


class NewForm(FormModel):
    """What a new text is to be called, or into which language one is to be brought."""

    key: str = ""
    language: str = ""
    level: str = "general"


_NOT_YET: Final = (
    '<!DOCTYPE html><html lang="en"><title>Not yet</title><p>It cannot be shown until what is wrong is put right.</p>'
)


def new_page(request: Request) -> Response:
    """Name a new text."""
    query = request.query_params
    form = NewForm(key=query.get("key", ""), language=clinic_of(request).settings.clinic_language)
    return _show_new(request, form)


def name_new(request: Request) -> Response:
    """Go on to write it; nothing is stored before it is saved."""
    form = NewForm.read(request)
    draft = TextDraft(form.key.strip(), form.language.strip().lower(), form.level, "", "", "")
    try:
        text_edits.check_names(draft)
    except InvalidInput as wrong:
        return _show_new(request, form, wrong, 422)
    return RedirectResponse(f"/texts/{draft.key}/{draft.language}/{draft.level}/edit", 303)


def edit_page(request: Request, key: str, language: str, level: str) -> Response:
    """The newest content of a text to be changed; where it is not there yet, the nearest there is to start from."""
    clinic, text_id = clinic_of(request), (key, language, level)
    shelf = _shelf(clinic)
    newest = shelf.latest.get(text_id)
    start = draft_of(newest.source) if newest else _start(clinic, shelf, text_id)
    base = newest.content_hash if newest else ""
    form = TextForm(subject=start.subject, preheader=start.preheader, body=start.body, base=base)
    return _show(request, text_id, form)


def save(request: Request, key: str, language: str, level: str) -> Response:
    """Save it as the newest version, or show it again as typed with everything that is wrong."""
    form, text_id = TextForm.read(request), (key, language, level)
    if form.act == "look":
        return _show(request, text_id, form)
    try:
        saved = text_edits.save(clinic_of(request), me_of(request).actor, _draft(text_id, form), form.base or None)
    except InvalidInput as wrong:
        return _show(request, text_id, form, wrong, 422)
    except AftercareError as wrong:
        return _show(request, text_id, form, wrong, 409)
    return go_to(where(text_id), "text-saved" if saved.changed else "nothing-changed")


def check(request: Request, key: str, language: str, level: str) -> Response:
    """What can be said of a text as typed, and what a locked phone shows of it: reads only."""
    form = TextForm.read(request)
    return fragment(
        request, "library/text_look.html", **_look(clinic_of(request), _draft((key, language, level), form))
    )


def look(request: Request, key: str, language: str, level: str) -> Response:
    """The HTML part of a text as typed, for a frame beside it: reads only."""
    form, clinic = TextForm.read(request), clinic_of(request)
    source = source_of(_draft((key, language, level), form))
    try:
        html = text_previews.render_sample(clinic, _shelf(clinic), source).html
    except AftercareError:
        html = _NOT_YET
    return mail_html_answer(html, request.query_params.get("scheme", ""))


def _show(
    request: Request, text_id: TextId, form: TextForm, error: Exception | None = None, status: int = 200
) -> Response:
    clinic = clinic_of(request)
    draft = _draft(text_id, form)
    shelf = _shelf(clinic)
    newest = shelf.latest.get(text_id)
    return page(
        request,
        "library/text_edit.html",
        status,
        path=f"/texts/{text_id[0]}/{text_id[1]}/{text_id[2]}",
        back=where(text_id) if newest else "/texts",
        title=subject_of(newest) if newest else "A new text",
        name=variant_name(text_id),
        key=text_id[0],
        is_new=newest is None,
        is_part=source_of(draft).is_part,
        form=filled(form, error, LABELS),
        names=sorted(NAMES),
        own=sorted({text.key for shelved in shelf.protocols.values() for text in shelved.protocol.texts}),
        rows=min(max(len(form.body.splitlines()) + 3, 12), 60),
        **_look(clinic, draft),
    )


def _look(clinic: Clinic, draft: TextDraft) -> dict[str, Any]:
    """Findings, readability, and the text as it is read, where it can be."""
    shelf = _shelf(clinic)
    found: TextLook = text_edits.look_at(clinic, shelf, draft)
    shown: dict[str, Any] = {
        "notes": [_note(note) for note in found.notes],
        "broken": bool(found.broken),
        "failing": bool(found.failing),
        "grade": grade_words(found.readability) if found.readability else (),
        "preview": None,
    }
    if not found.broken:
        try:
            rendered = text_previews.render_sample(clinic, shelf, source_of(draft))
            shown["preview"] = preview_of_rendered(rendered, clinic.settings.sender_name)
        except AftercareError as wrong:
            shown["notes"].append(Stand("red", str(wrong)))
    return shown


def _note(note: TextNote) -> Stand:
    place = LABELS.get(note.field or "", "")
    line = f"line {note.line}" if note.line is not None else ""
    where_ = ", ".join(part for part in (place, line) if part)
    words = note.problem if where_ else note.problem[:1].upper() + note.problem[1:]
    return Stand("amber" if note.severity == "warn" else "red", f"{where_}: {words}" if where_ else words)


def _draft(text_id: TextId, form: TextForm) -> TextDraft:
    text_edits.check_names(TextDraft(*text_id, "", "", ""))
    is_part = Source(*text_id, "").is_part
    return TextDraft(*text_id, "" if is_part else form.subject, "" if is_part else form.preheader, form.body)


def _start(clinic: Clinic, shelf: Shelf, text_id: TextId) -> TextDraft:
    """What a text that is not there yet is written from: the same text in another language or level, or a greeting."""
    text_edits.check_names(TextDraft(*text_id, "", "", ""))
    if any(other[0] == text_id[0] for other in shelf.latest):
        general = (*text_id[:2], LEVELS[0])
        nearest = general if general in shelf.latest else variants_of(clinic, shelf, text_id[0])[0]
        return draft_of(shelf.latest[nearest].source)
    return STARTER


def _show_new(request: Request, form: NewForm, error: Exception | None = None, status: int = 200) -> Response:
    labels = {"key": "Short name", "language": "Language", "level": "Level"}
    keys = sorted({text_id[0] for text_id in _shelf(clinic_of(request)).latest})
    return page(
        request,
        "library/text_new.html",
        status,
        form=filled(form, error, labels),
        languages=list(LANGUAGES.items()),
        levels=list(LEVEL_NAMES.items()),
        keys=keys,
    )


def _shelf(clinic: Clinic) -> Shelf:
    with clinic.store.show() as session:
        return clinic.library.shelf(session)
