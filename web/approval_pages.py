"""Approving protocols and texts after reading exactly what is approved.

Who may approve what is in `scheduler.second_person`; running plans are moved to a new version in `web.move_pages`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from fastapi.responses import Response

from db import library as stored
from scheduler import approvals, second_person, text_previews, version_moves
from scheduler.approvals import Scope
from scheduler.clinic import Clinic
from scheduler.dates import english_name
from scheduler.errors import AftercareError, InvalidInput, NotFound
from scheduler.library import Shelf, ShelvedProtocol, ShelvedText
from scheduler.protocol_differences import differences
from scheduler.protocol_words import text_label
from scheduler.replanning import Progress
from scheduler.second_person import Standing, standing_of
from scheduler.template_files import TextId
from scheduler.version_moves import find_target
from web.doors import me_of
from web.forms import FormModel, filled
from web.library_pages import lack_lines, sentences_of, titles_of
from web.library_words import draft_or_none, subject_of, variant_name, written_words
from web.long_work import start
from web.pages import clinic_of, page
from web.preview_parts import Preview, preview_of_rendered
from web.text_pages import DIGITS, where
from web.times import Say
from web.word_differences import Piece, draft_differences

LABELS: Final = {"reason": "Why nobody else approves it"}


class ApproveForm(FormModel):
    """What was shown (`seal`), and why alone."""

    seal: str = ""
    reason: str = ""
    back: str = ""


@dataclass(frozen=True, slots=True)
class TextToRead:
    """A text as it is read before it is approved: as the mail looks, and what changed since the one that is sent."""

    title: str
    name: str
    path: str
    html_path: str
    written: str
    preview: Preview | None
    changes: Sequence[tuple[str, Sequence[Piece]]] | None


def approve_page(request: Request, key: str) -> Response:
    """Everything that approving a protocol would approve."""
    return _show_approval(request, key, ApproveForm())


def approve(request: Request, key: str) -> Response:
    """Approve what was shown; patients who were held for it are planned again while the page shows how far it is."""
    form, clinic, me = ApproveForm.read(request), clinic_of(request), me_of(request)
    try:
        second_person.check_protocol(clinic, me.actor, key, form.seal, form.reason)
    except InvalidInput as wrong:
        if isinstance(wrong, NotFound):
            raise
        return _show_approval(request, key, form, wrong, 422)

    def run(tell: Progress) -> str:
        second_person.approve_protocol(clinic, me.actor, me.name, key, form.seal, form.reason, tell)
        with clinic.store.show() as session:
            outlook = version_moves.look(session, clinic, key)
        return f"/protocols/{key}/move?done=approved" if outlook.plans else f"/protocols/{key}?done=approved"

    return start(request, "Approving, and planning again", run, f"/protocols/{key}/approve")


def approve_text_page(request: Request, key: str, language: str, level: str) -> Response:
    """One text as it would be approved."""
    return _show_text_approval(request, (key, language, level), ApproveForm())


def approve_text(request: Request, key: str, language: str, level: str) -> Response:
    """Approve one text that was shown."""
    form, clinic, me = ApproveForm.read(request), clinic_of(request), me_of(request)
    text_id = (key, language, level)
    try:
        second_person.check_text(clinic, me.actor, text_id, form.seal, form.reason)
    except InvalidInput as wrong:
        if isinstance(wrong, NotFound):
            raise
        return _show_text_approval(request, text_id, form, wrong, 422)

    def run(tell: Progress) -> str:
        second_person.approve_text(clinic, me.actor, me.name, text_id, form.seal, form.reason, tell)
        return f"{where(text_id)}&done=text-approved"

    return start(request, "Approving, and planning again", run, where(text_id))


def _show_approval(
    request: Request, key: str, form: ApproveForm, error: Exception | None = None, status: int = 200
) -> Response:
    clinic, me = clinic_of(request), me_of(request)
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        shelf = clinic.library.shelf(session)
        newest = shelf.list_versions(key)[-1]
        values, languages = stored.list_texts(session).get(key, {}), approvals.languages_read(session, clinic)
        lacks = approvals.lacks_of(clinic, shelf, newest, values, languages)
    scope = approvals.scope_of(clinic, key) if not lacks else None
    with clinic.store.show() as session:
        standing = standing_of(session, me.actor, scope.writers) if scope else Standing.MAY
    in_force = find_target(shelf, key)
    changes = None
    if in_force is not None and in_force is not newest:
        changes = differences(in_force.protocol, newest.protocol, titles_of(clinic, shelf, newest))
    return page(
        request,
        "library/approve.html",
        status,
        key=key,
        form=filled(form, error, LABELS),
        scope=scope,
        seal=scope.seal if scope else "",
        lacks=lack_lines(shelf, newest, lacks),
        standing=standing.value,
        written=written_words(newest, say),
        in_force=in_force.protocol.version if in_force and in_force is not newest else None,
        changes=changes,
        left_out=[english_name(language) for language in scope.left_out] if scope else [],
        own=_own_words(scope, newest, in_force) if scope else [],
        texts=[_to_read(clinic, shelf, text, say, scope) for text in scope.texts] if scope else [],
        **sentences_of(clinic, shelf, newest),
    )


def _show_text_approval(
    request: Request, text_id: TextId, form: ApproveForm, error: Exception | None = None, status: int = 200
) -> Response:
    clinic, me = clinic_of(request), me_of(request)
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        shelf = clinic.library.shelf(session)
        text = shelf.latest.get(text_id)
        if text is None:
            raise NotFound("this text is not there in that language and level")
        standing = standing_of(session, me.actor, {text.written_by or ""})
    sources = {other: known.source for other, known in shelf.latest.items()}
    failing = [found for found in clinic.library.findings(text.source, sources) if found.severity == "fail"]
    sent = shelf.approved.get(text_id)
    return page(
        request,
        "library/approve_text.html",
        status,
        form=filled(form, error, LABELS),
        text=_to_read(clinic, shelf, text, say),
        path=f"/texts/{text_id[0]}/{text_id[1]}/{text_id[2]}/approve",
        seal=text.content_hash,
        nothing_new=sent is not None and sent.version_id == text.version_id,
        failing=[found.problem[:1].upper() + found.problem[1:] for found in failing],
        standing=standing.value,
        used=text_previews.protocols_using(shelf, text_id[0]),
    )


def _own_words(
    scope: Scope, newest: ShelvedProtocol, in_force: ShelvedProtocol | None
) -> list[tuple[str, str, str | None]]:
    """The clinic's own words: label, what mails will print, and what they print now where that is something else."""
    labels = {text.key: text_label(text) for text in newest.protocol.texts}
    frozen = in_force.texts if in_force else {}
    return [
        (labels[name], value, frozen.get(name) if frozen.get(name) != value else None)
        for name, value in scope.values.items()
        if name in labels
    ]


def _to_read(clinic: Clinic, shelf: Shelf, text: ShelvedText, say: Say, scope: Scope | None = None) -> TextToRead:
    """With the urgent signs and the clinic's own words of the protocol that is approved with it: as it will be sent."""
    source = text.source
    text_id = (source.key, source.language, source.level)
    protocol = scope.protocol.protocol if scope else None
    try:
        rendered = text_previews.render_sample(clinic, shelf, source, protocol, scope.values if scope else None)
        preview = preview_of_rendered(rendered, clinic.settings.sender_name)
    except AftercareError:
        preview = None
    sent = shelf.approved.get(text_id)
    before = draft_or_none(sent) if sent is not None and sent.version_id != text.version_id else None
    now = draft_or_none(text)
    return TextToRead(
        title=subject_of(text),
        name=variant_name(text_id),
        path=where(text_id),
        html_path=f"/texts/{'/'.join(text_id)}/html?version={text.content_hash[:DIGITS]}"
        + (f"&protocol={protocol.key}" if protocol else ""),
        written=written_words(text, say),
        preview=preview,
        changes=draft_differences(before, now) if before and now else None,
    )
