"""Protocols on the screen: their list, one of them as sentences with its versions, the words only the clinic can say.

Changing a protocol is in `web.protocol_edit_pages`, approving it and moving plans in `web.approval_pages`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from fastapi import HTTPException, Request
from fastapi.responses import Response
from pydantic import Field

from db import library as stored
from scheduler import approvals
from scheduler.approvals import Lack, lacks_of, languages_read
from scheduler.clinic import Clinic
from scheduler.errors import AftercareError
from scheduler.library import Shelf, ShelvedProtocol
from scheduler.planning.protocol import Step
from scheduler.protocol_differences import differences
from scheduler.protocol_words import (
    StepWords,
    field_words,
    review_words,
    rules_of,
    steps_in_order,
    text_label,
)
from scheduler.subjects import title_of
from scheduler.version_moves import find_target, versions_before
from web.doors import me_of
from web.forms import EmptyForm, Filled, FormModel, problems_of
from web.library_words import (
    Stand,
    VersionLine,
    protocol_stand,
    subject_of,
    variant_name,
    version_stand,
    written_words,
)
from web.pages import clinic_of, go_to, page
from web.times import Say

MOST_LACKS: Final = 20  # sentences shown; a long list of the same fault helps nobody


@dataclass(frozen=True, slots=True)
class ProtocolLine:
    """One protocol in the list."""

    key: str
    title: str
    stand: Stand
    plans: int
    lacks: list[tuple[str, str | None]]


class ValueForm(FormModel):
    """The clinic's own words for one protocol: `value.<name>`."""

    groups: ClassVar = {"values": "value."}
    values: Mapping[str, str] = Field(default_factory=dict)


def protocols_page(request: Request) -> Response:
    """All protocols: how each stands, how many plans run on it, what it lacks."""
    clinic = clinic_of(request)
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        shelf = clinic.library.shelf(session)
        counts, values = stored.count_running_plans(session), stored.list_texts(session)
        keys = sorted({shelved.protocol.key for shelved in shelf.protocols.values()})
        languages = languages_read(session, clinic)
        lines = []
        for key in keys:
            versions = shelf.list_versions(key)
            known = values.get(key, {})
            lacks = lacks_of(clinic, shelf, versions[-1], known, languages) if key not in shelf.retired else []
            lines.append(
                ProtocolLine(
                    key=key,
                    title=versions[-1].protocol.title,
                    stand=protocol_stand(shelf, key, say),
                    plans=sum(counts.get(version.version_id, 0) for version in versions),
                    lacks=lack_lines(shelf, versions[-1], lacks),
                )
            )
    return page(request, "library/protocols.html", lines=sorted(lines, key=lambda line: line.title.casefold()))


def protocol_page(request: Request, key: str) -> Response:
    """One version of a protocol as sentences, all its versions, and what changed between two of them."""
    return show_protocol(request, key)


def show_protocol(request: Request, key: str, form: Filled | None = None, status: int = 200) -> Response:
    """The page of a protocol; `form` with what was typed and is wrong."""
    clinic, query = clinic_of(request), request.query_params
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        shelf = clinic.library.shelf(session)
        versions = shelf.list_versions(key)
        shown = find_version(versions, query.get("version")) or versions[-1]
        counts = stored.count_running_plans(session)
        values = stored.list_texts(session).get(key, {})
        languages = languages_read(session, clinic)
        lacks = lacks_of(clinic, shelf, versions[-1], values, languages) if key not in shelf.retired else []
        compared = _compare(clinic, shelf, versions, query.get("from"), query.get("to"))
        target = find_target(shelf, key)
        behind = sum(counts.get(version, 0) for version in versions_before(shelf, target)) if target else 0
    typed = form or Filled({f"value.{name}": value for name, value in values.items()})
    return page(
        request,
        "library/protocol.html",
        status,
        key=key,
        form=typed,
        stand=protocol_stand(shelf, key, say),
        behind=behind,
        retired=key in shelf.retired,
        waits=not versions[-1].approved or dict(versions[-1].texts) != values,
        texts_wait=any(text.source.language in languages for text in approvals.texts_waiting(shelf, versions[-1])),
        lacks=lack_lines(shelf, versions[-1], lacks),
        newest=versions[-1].protocol.version,
        versions=[_version_line(shelf, version, counts, say) for version in reversed(versions)],
        compared=compared,
        shown_stand=version_stand(shelf, shown, say),
        own=[
            (text.key, text_label(text), text.required, values.get(text.key, ""), _frozen(versions, text.key))
            for text in versions[-1].protocol.texts
        ],
        **sentences_of(clinic, shelf, shown),
    )


def give_values(request: Request, key: str) -> Response:
    """Fill in the words that only the clinic can say; what was left as it was is not written again."""
    form, clinic, me = ValueForm.read(request), clinic_of(request), me_of(request)
    with clinic.store.show() as session:
        shelf = clinic.library.shelf(session)
        labels = {f"value.{text.key}": text_label(text) for text in shelf.list_versions(key)[-1].protocol.texts}
        known = stored.list_texts(session).get(key, {})
    problems: list[Any] = []
    for name, value in form.values.items():
        if f"value.{name}" not in labels:
            raise HTTPException(400)
        if value.strip() and value.replace("\r\n", "\n").strip() != known.get(name, ""):
            try:
                approvals.set_text(clinic, me.actor, key, name, value)
            except AftercareError as wrong:
                found = problems_of(wrong, {})
                problems += [type(each)(f"value.{name}", labels[f"value.{name}"], each.words) for each in found]
    if problems:
        typed = Filled({f"value.{name}": value for name, value in form.values.items()}, problems)
        return show_protocol(request, key, typed, 422)
    return go_to(f"/protocols/{key}", "value-set")


def read_files(request: Request) -> Response:
    """Look whether files have changed, as every start does; what is wrong with them is told."""
    EmptyForm.read(request)
    problems = approvals.read_files(clinic_of(request), me_of(request).actor)
    if not problems:
        return go_to("/protocols", "files-read")
    return page(request, "library/files.html", problems=problems)


def sentences_of(clinic: Clinic, shelf: Shelf, shown: ShelvedProtocol) -> dict[str, Any]:
    """A version as its page reads: steps by what they count from, reviews, fields, rules."""
    called = titles_of(clinic, shelf, shown)
    protocol = shown.protocol
    groups: list[tuple[str, list[tuple[StepWords, str]]]] = [
        (heading, [(words, called(words.step)) for words in steps]) for heading, steps in steps_in_order(protocol)
    ]
    return {
        "shown": shown,
        "protocol": protocol,
        "groups": groups,
        "reviews": [review_words(review) for review in protocol.reviews],
        "record_fields": [(field_words(field), field.help) for field in protocol.fields],
        "rules": rules_of(protocol),
    }


def titles_of(clinic: Clinic, shelf: Shelf, shown: ShelvedProtocol) -> Callable[[Step], str]:
    """How the messages of a version are called, in the clinic's language."""
    language = clinic.settings.clinic_language
    return lambda step: title_of(shelf, shown.protocol, step, language)


def find_version(versions: list[ShelvedProtocol], number: str | None) -> ShelvedProtocol | None:
    """The version of that number; None for anything that is none."""
    return next((version for version in versions if str(version.protocol.version) == number), None)


def lack_lines(shelf: Shelf, version: ShelvedProtocol, lacks: list[Lack]) -> list[tuple[str, str | None]]:
    """What stands between a version and its approval, as a page says it, with where it is put right."""
    labels = {text.key: text_label(text) for text in version.protocol.texts}
    found: list[tuple[str, str | None]] = []
    for lack in lacks:
        if lack.text is not None and lack.finding is not None:
            text_id = (lack.text.key, lack.text.language, lack.text.level)
            called = subject_of(shelf.latest[text_id])
            words = f"“{called}” ({variant_name(text_id)}): {lack.finding.problem}."
            found.append((words, f"/texts/{'/'.join(text_id)}/edit"))
        elif lack.is_empty:
            found.append(
                (
                    f"“{labels.get(lack.name, lack.name)}” is still to be written.",
                    f"/protocols/{version.protocol.key}#own",
                )
            )
        else:
            found.append((f"{lack.words[:1].upper()}{lack.words[1:]}.", None))
    return [*found[:MOST_LACKS], *([(f"And {len(found) - MOST_LACKS} more.", None)] * (len(found) > MOST_LACKS))]


def _version_line(shelf: Shelf, version: ShelvedProtocol, counts: dict[Any, int], say: Say) -> VersionLine:
    return VersionLine(
        id=version.version_id,
        number=version.protocol.version,
        stand=version_stand(shelf, version, say),
        written=written_words(version, say),
        plans=counts.get(version.version_id, 0),
    )


def _compare(
    clinic: Clinic, shelf: Shelf, versions: list[ShelvedProtocol], before: str | None, after: str | None
) -> tuple[int, int, list[str]] | None:
    """Two versions and their differences, the lower first; None when two are not named."""
    found = [find_version(versions, before), find_version(versions, after)]
    pair = sorted((version for version in found if version), key=lambda version: version.protocol.version)
    if len(pair) < 2:
        return None
    changes = differences(pair[0].protocol, pair[1].protocol, titles_of(clinic, shelf, pair[1]))
    return pair[0].protocol.version, pair[1].protocol.version, changes


def _frozen(versions: list[ShelvedProtocol], name: str) -> str | None:
    """What the version in force prints for a value; None while none is in force."""
    approved = next((version for version in reversed(versions) if version.approved), None)
    return approved.texts.get(name) if approved else None
