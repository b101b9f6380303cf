"""Use case of the course of exercises: a clinician sets the present one, and how often it is done.

Where a patient stands is folded from the events in `scheduler.exercise_course`; she herself can only go back.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from db import care_plans as stored_plans
from db.follow_up import CarePlan
from db.states import EventKind, Phase
from scheduler import events, patients, treatments
from scheduler.care_plans import facts_of, replan
from scheduler.clinic import Clinic
from scheduler.entries import clean_text
from scheduler.errors import InvalidInput, Refused
from scheduler.exercise_course import Standing, Told, standing
from scheduler.planning.course import Course, follow
from scheduler.planning.protocol import Exercise, Protocol

_MOST: Final = {"times_per_week": 99, "minutes": 999}  # bounds of what is typed, not of what is sensible
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class Prescription:
    """What is set: the exercise's key, how often and how long, and of a trainer its set with the size on its label."""

    exercise: str
    times_per_week: str = ""
    minutes: str = ""
    size_set: str = ""
    size: str = ""


@dataclass(frozen=True, slots=True)
class CourseNow:
    """A plan's course: where she stands (None before it is started), and the exercises that may be set now."""

    protocol: Protocol
    course: Course
    stands: Standing | None
    open: tuple[Exercise, ...]


def read_course(session: Session, clinic: Clinic, plan: CarePlan) -> CourseNow:
    """The course as it stands now; the part with a partner is open only while it is released."""
    language = patients.get(session, plan.patient_id).language
    facts = facts_of(session, clinic, plan, language)
    course = follow(facts)
    released = course.partner_released is not None
    told = [Told(event.kind, event.fields) for event in stored_plans.list_events(session, [plan.id])]
    may_set = tuple(each for each in facts.protocol.exercises if released or each.phase is not Phase.PARTNER)
    return CourseNow(facts.protocol, course, standing(facts.protocol, told, released), may_set)


def prescribe(clinic: Clinic, actor: str, treatment_id: UUID, wanted: Prescription) -> None:
    """Set the present exercise. Raises `InvalidInput`; `Refused` for one with a partner while it is not released."""
    fields = _fields(wanted)
    with clinic.store.write(actor, clinic.clock.now()) as session:
        treatment = treatments.lock(session, treatment_id)
        now = read_course(session, clinic, treatments.get_plan(session, treatment_id))
        if wanted.exercise not in {each.key for each in now.protocol.exercises}:
            raise InvalidInput("exercise: choose one of the course")
        if wanted.exercise not in {each.key for each in now.open}:
            raise Refused("the part with a partner is not released: its exercises cannot be set")
        events.store(session, clinic, treatment, EventKind.EXERCISE_SET, fields=fields)
        session.flush()
        replan(session, clinic, treatment.patient_id)


def _fields(wanted: Prescription) -> dict[str, str]:
    problems = []
    fields = {"exercise": wanted.exercise}
    for name, most in _MOST.items():
        text = getattr(wanted, name).strip()
        if text and not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
            problems.append(f"{name}: write a whole number from 1 to {most}")
        elif text:
            fields[name] = str(int(text))
    maker, problem = clean_text(wanted.size_set, "size_set", _LONGEST)
    label, other = clean_text(wanted.size, "size", _LONGEST)
    problems += [each for each in (problem, other) if each]
    if label and not any(letter.isalpha() for letter in maker):
        problems.append("size_set: name the set too; a bare number means something else in each")
    elif maker and not label:
        problems.append("size: write what stands on the label")
    if problems:
        raise InvalidInput(*problems)
    if label:
        fields["size_label"] = f"{maker}, {label}"
    return fields
