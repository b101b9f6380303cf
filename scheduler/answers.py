"""Use cases of the private page: what a patient can say there herself. One transaction each; her plan follows at once.

Nothing here moves her forward, and nothing asks why. What needs a person becomes a line on the staff's list.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from db import audit, raised_lines
from db import care_plans as stored_plans
from db import patients as stored_patients
from db.follow_up import CareEvent, CarePlan
from db.private_page import RaisedKind
from db.records import Patient, Treatment
from db.reminders import void_claims
from db.states import AddressFactKind, AddressState, EventKind, Level, ReviewStatus, StepKind, Topic
from scheduler import events, patients
from scheduler.care_plans import facts_of, replan
from scheduler.clinic import Clinic
from scheduler.entries import clean_text
from scheduler.errors import InvalidInput
from scheduler.exercise_course import Standing, Told, standing
from scheduler.local_time import Window, to_wall
from scheduler.planning.course import Course, follow
from scheduler.planning.protocol import Protocol
from scheduler.private_page import ACTOR, Opening, lock_opening

MOST_WORDS: Final = 500
MOST_WEEKS: Final = 4
WORST: Final = 10
TWICE: Final = timedelta(minutes=1)  # the very same again within it was sent once
PAGE_WORDING: Final = "page 1"  # the wording of her page, as consent rows name it
# Before a review, by the same keys under which a clinician writes the scores down.
SITUATIONS: Final = ("pain_at_rest", "pain_on_touch", "pain_on_insertion", "pain_with_partner")
SIDE_EFFECTS: Final = ("leak", "passing_water", "constipation", "bleeding", "fever", "dry", "other")


class Answer(StrEnum):
    """How it is going."""

    DONE = "done"
    NOT_YET = "not_yet"
    CALL = "call"


@dataclass(frozen=True, slots=True)
class CheckIn:
    """What she tells: an answer, and if she likes pain from 0 to 10 and a few words."""

    answer: str
    pain: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Choices:
    """When and how she likes to be written to; empty means as the clinic does."""

    at: str = ""  # 18:30
    weekday: str = ""  # 0 is Monday
    language: str = ""
    level: str = ""


@dataclass(frozen=True, slots=True)
class Questions:
    """The questions before a review: pain by situation, what she noticed, what she wants to ask."""

    pains: Mapping[str, str] = field(default_factory=dict)
    noticed: tuple[str, ...] = ()
    words: str = ""


@dataclass(frozen=True, slots=True)
class Hers:
    """Her plan inside one transaction: what every answer needs."""

    session: Session
    clinic: Clinic
    patient: Patient
    plan: CarePlan
    treatment: Treatment

    @property
    def protocol(self) -> Protocol:
        """The version her plan runs on."""
        return self.clinic.library.shelf(self.session).get(self.plan.protocol_version_id).protocol

    @property
    def course(self) -> Course:
        """Where her plan stands."""
        return follow(facts_of(self.session, self.clinic, self.plan, self.patient.language))

    def told(self) -> list[CareEvent]:
        """The events of her plan that count, in the order recorded."""
        return stored_plans.list_events(self.session, [self.plan.id])

    def is_again(self, kind: EventKind, told: Mapping[str, str]) -> bool:
        """Whether a form came twice: a button tapped twice, or a page loaded again."""
        last = next((event for event in reversed(self.told()) if event.kind is kind), None)
        if last is None or self.clinic.clock.now() - last.recorded_at > TWICE:
            return False
        return bool(last.fields == {name: text for name, text in told.items() if text})

    def store(self, kind: EventKind, at: str | None = None, review: str | None = None, **fields: str) -> None:
        """Record a fact about her plan."""
        given = {name: text for name, text in fields.items() if text}
        events.store(self.session, self.clinic, self.treatment, kind, at, review, given)


@contextmanager
def _hers(clinic: Clinic, opening: Opening) -> Iterator[Hers]:
    """One change of hers, planned anew at its end. Raises `Refused` when the page has ended."""
    with clinic.store.write(ACTOR, clinic.clock.now()) as session:
        patient, plan = lock_opening(session, clinic, opening)
        yield Hers(session, clinic, patient, plan, session.get_one(Treatment, plan.treatment_id))
        session.flush()
        replan(session, clinic, patient.id)


def check_in(clinic: Clinic, opening: Opening, form: CheckIn) -> bool:
    """Record how it is going; whether it asks for a call. Raises `InvalidInput`."""
    words, problem = clean_text(form.words, "words", MOST_WORDS)
    problems = [problem] if problem else []
    if form.answer not in set(Answer):
        problems.append("answer: choose one")
    pain, wrong = _score(form.pain, "pain")
    problems += [wrong] if wrong else []
    if problems:
        raise InvalidInput(*problems)
    with _hers(clinic, opening) as hers:
        now_at = standing_of(hers)
        exercise = now_at.exercise.key if now_at else ""
        rule = hers.protocol.check_in
        hurts = pain != "" and rule.pain is not None and int(pain) >= rule.pain
        calls = form.answer == Answer.CALL
        told = {"answer": form.answer, "pain": pain, "words": words, "exercise": exercise}
        if hers.is_again(EventKind.CHECKED_IN, told):
            return calls or hurts
        hers.store(EventKind.CHECKED_IN, **told)
        if calls or hurts:
            _ask_for_call(hers, "asked" if calls else "pain", words, pain)
        _look_at_answers(hers, rule.not_yet)
        return calls or hurts


def ask_for_call(clinic: Clinic, opening: Opening, because: str = "asked", words: str = "") -> None:
    """Ask for a call: her messages about the plan wait until somebody has closed it. Raises `InvalidInput`."""
    cleaned, problem = clean_text(words, "words", MOST_WORDS)
    if problem:
        raise InvalidInput(problem)
    with _hers(clinic, opening) as hers:
        _ask_for_call(hers, because, cleaned, "")


def _ask_for_call(hers: Hers, because: str, words: str, pain: str) -> None:
    told = {"because": because, "pain": pain, "words": words}
    if not hers.is_again(EventKind.CALL_REQUESTED, told):
        hers.store(EventKind.CALL_REQUESTED, **told)


def _look_at_answers(hers: Hers, not_yet: int | None) -> None:
    """After an answer: a silence is over; so many "not yet" in a row raise a line."""
    silent = raised_lines.find_open(hers.session, hers.plan.id, RaisedKind.SILENT)
    if silent is not None:
        raised_lines.close(hers.session, silent)
    if not_yet is None:
        return
    last = raised_lines.find_latest(hers.session, [hers.plan.id], RaisedKind.NOT_YET).get(hers.plan.id)
    dealt_with = last.closed_at if last else None
    answers = [
        event.fields.get("answer")
        for event in hers.told()
        if event.kind is EventKind.CHECKED_IN and (dealt_with is None or event.recorded_at > dealt_with)
    ]
    if len(answers) >= not_yet and set(answers[-not_yet:]) == {Answer.NOT_YET}:
        raised_lines.raise_line(hers.session, hers.plan, RaisedKind.NOT_YET)


def standing_of(hers: Hers) -> Standing | None:
    """Where she stands in her course of exercises."""
    told = [Told(event.kind, event.fields) for event in hers.told()]
    return standing(hers.protocol, told, hers.course.partner_released is not None)


def step_back(clinic: Clinic, opening: Opening, shown: str | None = None) -> None:
    """Go back to the exercise before. Nothing happens at the first, or when `shown` is not the present one any more."""
    with _hers(clinic, opening) as hers:
        stands = standing_of(hers)
        if stands is not None and stands.can_go_back and shown in (None, stands.exercise.key):
            hers.store(EventKind.STEPPED_BACK, exercise=stands.exercise.key)


def pause(clinic: Clinic, opening: Opening, weeks: str) -> None:
    """Pause the plan's messages for one to four weeks from today; visits go on. Raises `InvalidInput`."""
    if weeks not in {str(number) for number in range(1, MOST_WEEKS + 1)}:
        raise InvalidInput(f"weeks: choose 1 to {MOST_WEEKS}")
    today = to_wall(clinic.clock.now(), clinic.settings.clinic_time_zone).replace(hour=12, minute=0, second=0)
    until = (today + timedelta(weeks=int(weeks))).replace(microsecond=0)
    with _hers(clinic, opening) as hers:
        hers.store(EventKind.PAUSED, at=until.isoformat(timespec="seconds"))


def go_on(clinic: Clinic, opening: Opening) -> None:
    """End a pause early."""
    with _hers(clinic, opening) as hers:
        if pause_until(hers.told(), clinic.clock.now()) is not None:
            hers.store(EventKind.UNPAUSED)


def pause_until(told: list[CareEvent], now: datetime) -> datetime | None:
    """Until when her messages are paused, or None."""
    last = next((event for event in reversed(told) if event.kind in (EventKind.PAUSED, EventKind.UNPAUSED)), None)
    return last.occurred_at if last and last.kind is EventKind.PAUSED and last.occurred_at > now else None


def confirm_visit(clinic: Clinic, opening: Opening, review: str) -> None:
    """She comes to the booked visit. Nothing happens when it is not booked any more."""
    with _hers(clinic, opening) as hers:
        state = hers.course.reviews.get(review)
        if state is not None and state.status is ReviewStatus.BOOKED:
            hers.store(EventKind.VISIT_CONFIRMED, review=review)


def ask_other_time(clinic: Clinic, opening: Opening, review: str, words: str) -> None:
    """She asks for another time: the visit stands until staff have moved it. Raises `InvalidInput`."""
    cleaned, problem = clean_text(words, "words", MOST_WORDS)
    if problem:
        raise InvalidInput(problem)
    with _hers(clinic, opening) as hers:
        line = raised_lines.find_open(hers.session, hers.plan.id, RaisedKind.OTHER_TIME)
        again = (
            line is not None
            and line.review == review
            and f"\n{line.said or ''}".endswith(f"\n{cleaned}" if cleaned else "")
        )
        if review in hers.course.reviews and not again:
            raised_lines.raise_line(hers.session, hers.plan, RaisedKind.OTHER_TIME, cleaned or None, review)
            audit.record(hers.session, "visit.other_time_asked", "care_plan", hers.plan.id, hers.patient.id)


def answer_questions(clinic: Clinic, opening: Opening, review: str, form: Questions) -> None:
    """Record what she answers before a review. Raises `InvalidInput`."""
    words, problem = clean_text(form.words, "words", 2 * MOST_WORDS)
    problems = [problem] if problem else []
    fields = {}
    for name, typed in form.pains.items():
        score, wrong = _score(typed, name)
        problems += [wrong] if wrong else []
        if name in SITUATIONS:
            fields[name] = score
    unknown = set(form.noticed) - set(SIDE_EFFECTS)
    if unknown:
        problems.append("noticed: choose from the list")
    if problems:
        raise InvalidInput(*problems)
    noticed = ", ".join(name.replace("_", " ") for name in SIDE_EFFECTS if name in form.noticed)
    with _hers(clinic, opening) as hers:
        if review in hers.course.reviews:
            hers.store(EventKind.QUESTIONS_ANSWERED, review=review, noticed=noticed, words=words, **fields)


def choose(clinic: Clinic, opening: Opening, form: Choices) -> None:
    """Her day, hour, language and level. Raises `InvalidInput` naming what is wrong."""
    settings = clinic.settings
    problems = []
    if form.at and form.at not in times_to_choose(settings.send_window):
        problems.append("at: choose a time from the list")
    if form.weekday and form.weekday not in {str(day) for day in range(7)}:
        problems.append("weekday: choose a day from the list")
    if form.level and form.level not in set(Level):
        problems.append("level: choose one of the three")
    if problems:
        raise InvalidInput(*problems)
    with _hers(clinic, opening) as hers:
        patient = hers.patient
        changed = [name for name in ("language", "level") if getattr(form, name)]
        patient.preferred_time = form.at or None
        patient.preferred_weekday = int(form.weekday) if form.weekday else None
        stored_patients.change_patient(hers.session, patient, {name: getattr(form, name) for name in changed})
        if form.level == Level.FULL:
            stored_patients.add_consent(hers.session, patient.id, Topic.FULL_TEXT, True, PAGE_WORDING)
        void_claims(hers.session, patient.id)
        fields = ["preferred_time", "preferred_weekday", *changed]
        audit.record(hers.session, "patient.changed", "patient", patient.id, patient.id, fields)


def stop(clinic: Clinic, opening: Opening, topics: tuple[Topic, ...]) -> None:
    """Stop messages of these topics at once. A line stays until a person closes it: it may have been another's hand."""
    with _hers(clinic, opening) as hers:
        agreed = stored_patients.list_consent(hers.session, [hers.patient.id])[hers.patient.id]
        gone = [topic for topic in topics if agreed.get(topic) is not False]
        for topic in gone:
            stored_patients.add_consent(hers.session, hers.patient.id, topic, False, PAGE_WORDING)
        if gone:
            void_claims(hers.session, hers.patient.id)
            audit.record(hers.session, "consent.recorded", "patient", hers.patient.id, hers.patient.id, gone)
            raised_lines.raise_line(
                hers.session, hers.plan, RaisedKind.STOPPED_BY_LINK, ", ".join(topic.value for topic in gone)
            )


def allow(clinic: Clinic, opening: Opening, topics: tuple[Topic, ...]) -> None:
    """Take a stop of hers back: these messages may come again."""
    with _hers(clinic, opening) as hers:
        for topic in topics:
            stored_patients.add_consent(hers.session, hers.patient.id, topic, True, PAGE_WORDING)
        audit.record(hers.session, "consent.recorded", "patient", hers.patient.id, hers.patient.id, topics)


def topics_of(kind: StepKind) -> tuple[Topic, ...]:
    """What a stop in a mail of this kind is about. How she is after a treatment belongs to both."""
    one = {StepKind.REVIEW: (Topic.REVIEWS,), StepKind.EXERCISE: (Topic.EXERCISES,)}
    return one.get(kind, (Topic.REVIEWS, Topic.EXERCISES))


def confirm_address(clinic: Clinic, opening: Opening) -> None:
    """The address is hers."""
    with _hers(clinic, opening) as hers:
        if stored_patients.find_address_state(hers.session, hers.patient) is AddressState.UNCONFIRMED:
            patients.confirm_address(hers.session, hers.patient, opening.email_version)


def disown_address(clinic: Clinic, opening: Opening) -> None:
    """Whoever reads the address says that it is not hers: it is removed, every link ends, and staff are told."""
    with _hers(clinic, opening) as hers:
        stored_patients.add_address_fact(hers.session, hers.patient, AddressFactKind.DISOWNED)
        stored_patients.change_patient(hers.session, hers.patient, {"email": None})
        void_claims(hers.session, hers.patient.id)
        audit.record(hers.session, "patient.changed", "patient", hers.patient.id, hers.patient.id, ["email"])
        raised_lines.raise_line(hers.session, hers.plan, RaisedKind.WRONG_PERSON)


def _score(typed: str, name: str) -> tuple[str, str | None]:
    text = typed.strip()
    if not text:
        return "", None
    if not (text.isascii() and text.isdigit() and len(text) <= 2) or int(text) > WORST:
        return "", f"{name}: choose a number from 0 to {WORST}"
    return str(int(text)), None


def times_to_choose(window: Window) -> list[str]:
    """The full hours inside the clinic's sending window."""
    return [f"{hour:02d}:00" for hour in range(24) if window.opens <= hour * 60 < window.closes]
