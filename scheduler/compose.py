"""Writing one reminder as a finished mail: its text, the values it prints, its headers, the last look at its words.

Texts are compiled in `scheduler.messages`, bytes assembled in `scheduler.mime`, words judged in `scheduler.wording`.
"""

from dataclasses import dataclass
from urllib.parse import quote
from uuid import UUID

from sqlalchemy.orm import Session

from db import care_plans as stored_plans
from db import patients as stored_patients
from db.follow_up import CarePlan, Reminder
from db.records import Patient
from db.states import Level, ReviewStatus
from scheduler import dates
from scheduler.care_plans import facts_of
from scheduler.clinic import Clinic
from scheduler.errors import AftercareError
from scheduler.library import ShelvedProtocol
from scheduler.local_time import to_wall
from scheduler.messages import Rendered, compile_message
from scheduler.mime import MailHeaders
from scheduler.planning.course import ReviewState, follow
from scheduler.planning.facts import PlanFacts
from scheduler.planning.protocol import Step
from scheduler.return_path import return_path
from scheduler.subjects import week_of
from scheduler.wording import WordingFinding, lint_rendered


class NothingToSend(AftercareError):
    """The reminder cannot be written: its step, text or address is gone. The message names no patient."""


class Revealing(AftercareError):
    """The finished text would give her away; it must not leave."""

    def __init__(self, findings: list[WordingFinding]) -> None:
        places = ", ".join(sorted({finding.place for finding in findings}))
        super().__init__(f"the finished text holds a word that must not be seen, in: {places}")
        self.findings = findings


@dataclass(frozen=True, slots=True)
class Letter:
    """A finished mail. `email_version` is the address it was written for: the mark checks it again."""

    reminder_id: UUID
    email: str
    email_version: int
    content: bytes
    rendered: Rendered
    return_path: str  # the envelope's sender


def write_letter(
    session: Session, clinic: Clinic, row: Reminder, approved_only: bool = True, stand_in: str | None = None
) -> Letter:
    """The mail of a reminder row, exactly as it would leave.

    A preview may take texts where none is approved yet, and a stand-in for an address that is not known.
    Raises `NothingToSend`, `RenderFailed` or `Revealing`.
    """
    patient = stored_patients.find_patient(session, row.patient_id)
    plan = session.get(CarePlan, row.care_plan_id)
    if patient is None or plan is None:
        raise NothingToSend("the reminder's patient or care plan does not exist")
    shelved = clinic.library.shelf(session).get(plan.protocol_version_id)
    step = next((step for step in shelved.protocol.steps if step.key == row.step), None)
    if step is None:
        raise NothingToSend(f'the protocol has no step "{row.step}"')
    email = patient.email or stand_in
    if email is None:
        raise NothingToSend("there is no e-mail address")
    rendered = render(session, clinic, patient, plan, step, row.occurrence, approved_only)
    headers = MailHeaders(
        to=email,
        message_id=row.message_id,
        date=clinic.clock.now(),
        list_unsubscribe_mailto=stop_link(clinic),
        list_unsubscribe_https=None,
    )
    content = clinic.writer.assemble(rendered, headers)
    back = return_path(clinic.settings, clinic.store.vault, row.message_id, patient.email_version)
    return Letter(row.id, email, patient.email_version, content, rendered, back)


def render(
    session: Session,
    clinic: Clinic,
    patient: Patient,
    plan: CarePlan,
    step: Step,
    occurrence: int,
    approved_only: bool = True,
) -> Rendered:
    """One step's text with her values. Raises like `write_letter`."""
    shelf = clinic.library.shelf(session)
    shelved = shelf.get(plan.protocol_version_id)
    # Until she has a private page to read a notice on, the general text stands in for it.
    level = "full" if patient.level is Level.FULL else "general"
    texts = shelf.find_message(shelved.protocol, step.template, patient.language, level, approved_only)
    if texts is None:
        raise NothingToSend(f'the text "{step.template}" or its urgent block or footer is not there or not approved')
    compiled = compile_message(*(part.source for part in texts))
    values = values_for(session, clinic, shelved, patient, plan, step, occurrence, texts.text.source.language)
    rendered = compiled.render(values)
    names = [name for name in (patient.given_name, patient.family_name, patient.preferred_name) if name]
    findings = lint_rendered(rendered, names, clinic.library.words(rendered.language))
    if findings:
        raise Revealing(list(findings))
    return rendered


def values_for(
    session: Session,
    clinic: Clinic,
    shelved: ShelvedProtocol,
    patient: Patient,
    plan: CarePlan,
    step: Step,
    occurrence: int,
    language: str,
) -> dict[str, str | None]:
    """Every name a text may print, as ready-made strings; None for what there is not."""
    settings = clinic.settings
    facts = facts_of(session, clinic, plan, patient.language)
    values: dict[str, str | None] = {
        "patient.preferred_name": patient.preferred_name or patient.given_name,
        "treatment.date": dates.day_in_words(facts.treated.wall.date(), language),
        "step.number": str(occurrence) if step.repeat else None,
        "step.total": str(step.repeat.count) if step.repeat else None,
        "week.number": str(week_of(step, occurrence)),
        "clinic.name": settings.clinic_name,
        "clinic.phone": settings.clinic_phone,
        "clinic.hours": settings.clinic_hours,
        "urgent.number": settings.emergency_number,
        "staff.signature": settings.clinic_name,
        "link.stop": stop_link(clinic),
        "link.page": None,
    }
    values |= {f"text.{name}": value for name, value in shelved.texts.items()}
    review = _review_of(facts, step, occurrence)
    if review is not None:
        values |= _visit(session, plan, review, patient, language)
    return values


def stop_link(clinic: Clinic) -> str:
    """A mail to the clinic's watched address that says stop; without a public address there is no other way."""
    return f"mailto:{clinic.settings.reply_to}?subject={quote('stop')}"


def _review_of(facts: PlanFacts, step: Step, occurrence: int) -> ReviewState | None:
    reviews = follow(facts).reviews
    if step.review:
        return reviews.get(step.review)
    if step.concerns_reviews:
        return next((state for state in reviews.values() if state.place == occurrence), None)
    # "Getting ready" and the like speak of the next visit.
    return next((state for state in reviews.values() if state.status is not ReviewStatus.COMPLETED), None)


def _visit(
    session: Session, plan: CarePlan, review: ReviewState, patient: Patient, language: str
) -> dict[str, str | None]:
    if review.booking is None:
        return {}
    at = review.booking.at
    # The visit is told in the clinic's time, named where her clocks show another.
    elsewhere = to_wall(at.instant, patient.time_zone) != at.wall
    event = stored_plans.find_event(session, review.booking.id)
    place = event.fields.get("place") if event else None
    return {
        "review.date": dates.day_in_words(at.wall.date(), language),
        "review.weekday": dates.weekday_in_words(at.wall.date(), language),
        "review.time": dates.time_in_words(at.wall.time(), language, at.zone if elsewhere else None),
        "review.place": place,
    }
