"""A text as its reader gets it before anybody gets it: with sample values, or with those of one patient.

Whatever its state: drafts are what previews are for. A reminder's own mail is previewed in `scheduler.previews`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from db import library as stored
from db.follow_up import CarePlan
from db.letters import read_addressees
from db.records import Patient
from db.states import Audience, StepKind
from scheduler import patients, treatments
from scheduler.clinic import Clinic
from scheduler.errors import Refused
from scheduler.letter_values import Values, stop_link
from scheduler.library import Shelf
from scheduler.message_samples import sample_values
from scheduler.message_source import TEXT_PREFIX, Source, SourceInvalid
from scheduler.messages import CompiledMessage, Rendered, RenderFailed, compile_message
from scheduler.planning.protocol import CONFIRM, Protocol, Step
from scheduler.wording import WordingFinding, lint_rendered

SHOWN_PLANS: Final = 20  # patients to choose from: more names than anyone reads would be shown to no end


@dataclass(frozen=True, slots=True, repr=False)
class WithPatient:
    """A text filled in with one patient's values, and what of it would keep it from leaving."""

    rendered: Rendered
    patient: Patient
    findings: list[WordingFinding]


def protocols_using(shelf: Shelf, key: str) -> list[Protocol]:
    """The newest version of every protocol that sends a text or carries a part, by key."""
    newest: dict[str, Protocol] = {}
    for shelved in sorted(shelf.protocols.values(), key=lambda shelved: shelved.protocol.version):
        newest[shelved.protocol.key] = shelved.protocol
    return [protocol for _, protocol in sorted(newest.items()) if key in protocol.templates]


def render_sample(
    clinic: Clinic,
    shelf: Shelf,
    source: Source,
    protocol: Protocol | None = None,
    own_words: Mapping[str, str] | None = None,
) -> Rendered:
    """A text with an invented patient and the clinic's own name, phone and hours; a part inside a message.

    `protocol`: the one whose urgent signs it carries, else the first that uses it; `own_words`: the clinic's own, which
    it prints in place of samples. Raises `Refused` when it cannot be written.
    """
    if protocol is None:
        protocol = next(iter(protocols_using(shelf, source.key)), None)
    compiled = _compiled(shelf, source, protocol)
    own = {f"{TEXT_PREFIX}{name}": value for name, value in (own_words or {}).items() if value}
    settings = clinic.settings
    values: dict[str, str | None] = {
        **sample_values(source.language, compiled.names),
        **own,
        "clinic.name": settings.clinic_name,
        "clinic.phone": settings.clinic_phone,
        "clinic.hours": settings.clinic_hours,
        "urgent.number": settings.emergency_number,
        "staff.signature": settings.clinic_name,
        "link.stop": stop_link(clinic),
    }
    if settings.public_url is None and source.key != CONFIRM.template:  # which is sent only where there are pages
        values["link.page"] = None
    return _filled(compiled, values)


def list_plans_using(session: Session, clinic: Clinic, key: str) -> list[CarePlan]:
    """The running plans that send a text, the newest first."""
    shelf = clinic.library.shelf(session)
    versions = [shelved.version_id for shelved in shelf.protocols.values() if _step_of(shelved.protocol, key)]
    return stored.list_running_plans(session, versions, SHOWN_PLANS, newest_first=True)


def render_for(session: Session, clinic: Clinic, source: Source, treatment_id: UUID) -> WithPatient:
    """A text with the values of one treatment's patient. Raises `NotFound`, or `Refused` when it cannot be written."""
    treatment, plan = treatments.get(session, treatment_id), treatments.get_plan(session, treatment_id)
    patient = patients.get(session, treatment.patient_id)
    shelf = clinic.library.shelf(session)
    shelved = shelf.get(plan.protocol_version_id)
    step = _step_of(shelved.protocol, source.key)
    if step is None:
        raise Refused("the plan of this treatment does not send this text")
    compiled = _compiled(shelf, source, shelved.protocol)
    plans = read_addressees(session, [plan.id])
    given, family, preferred = plans[plan.id].names(session)
    values = Values(session, clinic, plans).of(plans[plan.id], step, 1, source.language, preferred or given)
    rendered = _filled(compiled, values)
    names = [name for name in (given, family, preferred) if name]
    findings = lint_rendered(rendered, names, clinic.library.words(source.language))
    return WithPatient(rendered, patient, findings)


def _step_of(protocol: Protocol, key: str) -> Step | None:
    mails = (step for step in protocol.steps if step.audience is Audience.PATIENT)
    return next((step for step in mails if step.template == key), None)


def _compiled(shelf: Shelf, source: Source, protocol: Protocol | None) -> CompiledMessage:
    """The text in its message: with the newest urgent block and footer, or itself in their place."""

    def part(key: str) -> Source | None:
        if key == source.key:
            return source
        found = shelf.latest.get((key, source.language, "general"))
        return found.source if found else None

    urgent = protocol.urgent if protocol else "urgent_general"
    body: Source | None = source
    exercise = source if source.key.startswith("exercise_") else None
    if source.is_part:
        urgent = source.key if source.key.startswith("urgent_") else urgent
        body = _carrier(shelf, source.language, protocol, "full" if exercise else "general")
    if body is None:
        raise Refused("there is no message in this language yet that would carry it")
    try:
        return compile_message(body, part(urgent), part("_footer"), exercise)
    except SourceInvalid as wrong:
        raise Refused(f"it cannot be written yet: {wrong}") from wrong


def _carrier(shelf: Shelf, language: str, protocol: Protocol | None, level: str) -> Source | None:
    """A message that shows a part: the first of its protocol, else any in that language.

    An exercise stands at the end of a mail of level full about the exercises.
    """
    steps = [step for step in protocol.steps if step.audience is Audience.PATIENT] if protocol else []
    if level == "full":
        steps.sort(key=lambda step: step.kind is not StepKind.EXERCISE)
    found = [shelf.latest.get((step.template, language, wanted)) for wanted in (level, "general") for step in steps]
    rest = [
        text for (_, tongue, level), text in sorted(shelf.latest.items()) if (tongue, level) == (language, "general")
    ]
    return next((text.source for text in (*found, *rest) if text and not text.source.is_part), None)


def _filled(compiled: CompiledMessage, values: dict[str, str | None]) -> Rendered:
    try:
        return compiled.render(values)
    except RenderFailed as wrong:
        raise Refused(f"it cannot be written yet: {wrong}") from wrong
