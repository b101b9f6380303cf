"""Texts of the messages on the screen: their list, and one of them as its reader gets it, with all its versions.

Writing them is in `web.text_edit_pages`, approving them in `web.approval_pages`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from fastapi import HTTPException, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from db import library as stored
from db.worklist import open_patients
from scheduler import test_mail, text_previews
from scheduler.accounts.rights import Right
from scheduler.clinic import Clinic
from scheduler.errors import AftercareError, NotFound
from scheduler.library import Shelf, ShelvedText
from scheduler.template_files import TextFinding, TextId
from scheduler.text_edits import LEVELS, read_grade
from web.doors import NotAllowed, me_of
from web.forms import FormModel
from web.library_words import (
    Stand,
    approval_words,
    draft_or_none,
    grade_words,
    subject_of,
    text_stand,
    variant_name,
    written_words,
)
from web.long_work import Told, start
from web.pages import clinic_of, page
from web.people import full_name
from web.preview_parts import mail_html_answer, preview_of_rendered
from web.seen import is_noted, note_view
from web.times import Say
from web.word_differences import draft_differences

DIGITS: Final = 12  # of a content's hash, as addresses name it: enough to tell the versions of one text apart


@dataclass(frozen=True, slots=True)
class TextLine:
    """One text in the list, with each language and level it is there in."""

    key: str
    title: str
    variants: Sequence[tuple[str, str, Stand]]  # where it is, how it is called, how it stands
    used: Sequence[str]
    failing: bool


@dataclass(frozen=True, slots=True)
class TextVersion:
    """One content of a text in the list of its versions."""

    name: str
    stand: str
    written: str
    shown: bool


class MailMeForm(FormModel):
    """Which text to send to oneself."""

    language: str = ""
    level: str = ""


def texts_page(request: Request) -> Response:
    """All texts: what they are called, how each language and level stands, which protocols send them."""
    clinic = clinic_of(request)
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        shelf = clinic.library.shelf(session)
    sources = {text_id: text.source for text_id, text in shelf.latest.items()}
    lines = []
    for key in sorted({text_id[0] for text_id in shelf.latest}):
        variants = variants_of(clinic, shelf, key)
        lines.append(
            TextLine(
                key=key,
                title=subject_of(shelf.latest[variants[0]]),
                variants=[
                    (where(text_id), variant_name(text_id), text_stand(shelf, text_id, say)) for text_id in variants
                ],
                used=[protocol.title for protocol in text_previews.protocols_using(shelf, key)],
                failing=any(
                    finding.severity == "fail"
                    for text_id in variants
                    for finding in clinic.library.findings(shelf.latest[text_id].source, sources)
                ),
            )
        )
    parts = [line for line in lines if line.key.startswith(("_", "urgent_"))]
    return page(
        request,
        "library/texts.html",
        groups=[("Messages", [line for line in lines if line not in parts]), ("Parts of every message", parts)],
    )


def text_page(request: Request, key: str) -> Response:
    """One text in one language and level: as it is read, how it stands, its versions."""
    clinic, query = clinic_of(request), request.query_params
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        shelf = clinic.library.shelf(session)
        text_id = _chosen(clinic, shelf, key, query.get("language"), query.get("level"))
        history = versions_of(shelf, text_id)
        shown = _find(history, query.get("version")) or history[-1]
        looked: Mapping[str, Any] = _look(request, session, shelf, shown)
    sources = {other: text.source for other, text in shelf.latest.items()}
    measured, findings = read_grade(shown.source), clinic.library.findings(shown.source, sources)
    return page(
        request,
        "library/text.html",
        key=key,
        text_id=text_id,
        title=subject_of(shown),
        variants=[(where(other), variant_name(other), other == text_id) for other in variants_of(clinic, shelf, key)],
        stand=text_stand(shelf, text_id, say),
        waits=shelf.approved.get(text_id) is None or shelf.approved[text_id].version_id != history[-1].version_id,
        used=text_previews.protocols_using(shelf, key),
        findings=[finding_words(finding) for finding in findings],
        failing=any(finding.severity == "fail" for finding in findings),
        grade=grade_words(measured) if measured else (),
        versions=[_version(shelf, text_id, version, shown, say) for version in reversed(history)],
        compared=_compare(history, query.get("from"), query.get("to")),
        is_part=shown.source.is_part,
        is_newest=shown is history[-1],
        digest=shown.content_hash[:DIGITS],
        address=me_of(request).email,
        **looked,
    )


def text_html(request: Request, key: str, language: str, level: str) -> Response:
    """The HTML part of a text, made anew: with sample values, in a protocol's mail, or with those of a patient."""
    clinic, query = clinic_of(request), request.query_params
    with clinic.store.show() as session:
        shelf = clinic.library.shelf(session)
        text_id = _chosen(clinic, shelf, key, language, level)
        history = versions_of(shelf, text_id)
        shown = _find(history, query.get("version")) or history[-1]
        treatment = _treatment(request)
        try:
            if treatment is None:
                named = query.get("protocol")
                protocol = shelf.list_versions(named)[-1].protocol if named else None
                own_words = stored.list_texts(session).get(named, {}) if named else None
                rendered = text_previews.render_sample(clinic, shelf, shown.source, protocol, own_words)
            else:
                shows = text_previews.render_for(session, clinic, shown.source, treatment)
                rendered = shows.rendered
                if not is_noted(request, _frames(text_id, treatment)):
                    note_view(request, "text.read_for", "treatment", treatment, shows.patient.id, ["text"])
        except AftercareError:
            raise HTTPException(404) from None
    return mail_html_answer(rendered.html, query.get("scheme", ""))


def send_test_mail(request: Request, key: str) -> Response:
    """Send the newest content to oneself, and tell what the mail server said."""
    form, clinic, me = MailMeForm.read(request), clinic_of(request), me_of(request)
    text_id = (key, form.language, form.level)
    back = where(text_id)

    def run(_: object) -> Told:
        tried = test_mail.send(clinic, me.actor, me.email, text_id)
        ended = "has not left" if not tried.sent else "is in the folder" if tried.to_folder else "has left"
        return Told(f"The test mail {ended}", tried.lines, back, tried.sent)

    return start(request, "Sending the test mail", run, "/account" if not me.email else back)


def variants_of(clinic: Clinic, shelf: Shelf, key: str) -> list[TextId]:
    """The languages and levels a text is there in: the clinic's language and the general level first.

    Raises `NotFound` for an unknown text.
    """
    own = clinic.settings.clinic_language
    found = sorted(
        (text_id for text_id in shelf.latest if text_id[0] == key),
        key=lambda one: (one[1] != own, one[1], LEVELS.index(one[2])),
    )
    if not found:
        raise NotFound(f'there is no text "{key}"')
    return found


def versions_of(shelf: Shelf, text_id: TextId) -> list[ShelvedText]:
    """Every content of a text, the oldest first."""
    return [
        text for text in shelf.texts.values() if (text.source.key, text.source.language, text.source.level) == text_id
    ]


def where(text_id: TextId) -> str:
    """The page of a text in one language and level."""
    return f"/texts/{text_id[0]}?language={text_id[1]}&level={text_id[2]}"


def finding_words(finding: TextFinding) -> Stand:
    """A finding in a list."""
    words = finding.problem[:1].upper() + finding.problem[1:]
    return Stand("red" if finding.severity == "fail" else "amber", words)


def _look(request: Request, session: Session, shelf: Shelf, shown: ShelvedText) -> dict[str, Any]:
    """The text as it is read: with sample values, or with a patient's, which is noted."""
    clinic, query = clinic_of(request), request.query_params
    source, name = shown.source, clinic.settings.sender_name
    path = f"/texts/{source.key}/{source.language}/{source.level}/html?version={shown.content_hash[:DIGITS]}"
    found: dict[str, Any] = dict.fromkeys(("preview", "cannot", "patient", "choices", "revealing"))
    found["html_path"] = path
    treatment = _treatment(request)
    try:
        if treatment is None:
            found["preview"] = preview_of_rendered(text_previews.render_sample(clinic, shelf, source), name)
        else:
            shows = text_previews.render_for(session, clinic, source, treatment)
            found["preview"] = preview_of_rendered(shows.rendered, name)
            found |= {
                "patient": full_name(shows.patient),
                "treatment": treatment,
                "revealing": [str(finding) for finding in shows.findings],
                "html_path": f"{path}&treatment={treatment}",
            }
            frames = _frames((source.key, source.language, source.level), treatment)
            note_view(request, "text.read_for", "treatment", treatment, shows.patient.id, ["text"], frames)
    except NotFound:
        raise
    except AftercareError as wrong:
        found["cannot"] = str(wrong)
    if query.get("with") == "patient":
        found["choices"] = _choices(request, session, source.key)
    return found


def _frames(text_id: TextId, treatment: UUID) -> str:
    """What the page of a text with a patient's values frames."""
    return f"{'/'.join(text_id)} {treatment}"


def _choices(request: Request, session: Session, key: str) -> list[tuple[UUID, str]]:
    """Patients whose running plan sends this text; that their names were shown is noted."""
    if not me_of(request).may(Right.RECORD):
        raise NotAllowed
    plans = text_previews.list_plans_using(session, clinic_of(request), key)
    people = open_patients(session, [plan.patient_id for plan in plans])
    if people:
        note_view(request, "patients.listed", "patient", fields=["name"])
    return [(plan.treatment_id, full_name(people[plan.patient_id])) for plan in plans if plan.patient_id in people]


def _treatment(request: Request) -> UUID | None:
    """The treatment whose patient's values are asked for: only by who may read records."""
    wanted = request.query_params.get("treatment")
    if not wanted:
        return None
    if not me_of(request).may(Right.RECORD):
        raise NotAllowed
    try:
        return UUID(wanted)
    except ValueError:
        raise HTTPException(404) from None


def _chosen(clinic: Clinic, shelf: Shelf, key: str, language: str | None, level: str | None) -> TextId:
    variants = variants_of(clinic, shelf, key)
    if language is None and level is None:
        return variants[0]
    wanted = (key, language or clinic.settings.clinic_language, level or LEVELS[0])
    if wanted not in variants:
        raise NotFound("this text is not there in that language and level")
    return wanted


def _find(history: Sequence[ShelvedText], digest: str | None) -> ShelvedText | None:
    """The content whose hash begins so; None for anything else."""
    return next((text for text in history if digest and text.content_hash.startswith(digest)), None)


def _version(shelf: Shelf, text_id: TextId, version: ShelvedText, shown: ShelvedText, say: Say) -> TextVersion:
    sent = shelf.approved.get(text_id)
    stand = (
        "sent now" if sent and sent.version_id == version.version_id else "approved once" if version.approved else ""
    )
    if version.approval is not None:
        stand = f"{stand}: {approval_words(version.approval, say)}"
    name = version.content_hash[:DIGITS]
    return TextVersion(name, stand or "never approved", written_words(version, say), version is shown)


def _compare(history: Sequence[ShelvedText], before: str | None, after: str | None) -> list[Any] | None:
    """The fields that changed between two contents, with their pieces; None when two are not named."""
    was, now = _find(history, before), _find(history, after)
    drafts = [draft_or_none(text) for text in (was, now) if text is not None]
    if len(drafts) < 2 or drafts[0] is None or drafts[1] is None:
        return None
    return draft_differences(drafts[0], drafts[1])
