"""What stands on her private page: the message in full, the present exercise, the visit, and her own answers.

Texts are those that are approved; nothing is shown that a mail could not be sent with. Reading changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from db import care_plans as stored_plans
from db import patients as stored_patients
from db.follow_up import CareEvent, CarePlan, Reminder
from db.letters import read_addressees
from db.records import Patient
from db.states import EventKind, Level, ReviewStatus, StepKind, Topic
from scheduler import dates
from scheduler.answers import pause_until
from scheduler.care_plans import facts_of
from scheduler.clinic import Clinic
from scheduler.errors import NotFound
from scheduler.exercise_course import Standing, Told, dose_words, standing
from scheduler.letter_values import Values
from scheduler.library import Shelf
from scheduler.local_time import to_wall
from scheduler.messages import RenderFailed, compile_for_page
from scheduler.planning.course import Course, ReviewState, follow
from scheduler.planning.protocol import Step
from scheduler.private_page import Opening

ASKED_BEFORE: Final = timedelta(days=7)  # how long before a review its questions are open


@dataclass(frozen=True, slots=True, repr=False)
class Visit:
    """The review that comes next. `when` and `place` only while one is booked; `questions`: open to be answered."""

    review: str
    booked_at: datetime | None
    when: str
    place: str
    confirmed: bool
    questions: bool
    answered: bool


@dataclass(frozen=True, slots=True, repr=False)
class PageContent:
    """All of it. Text in `*_html` is ours, with values escaped; `scores` are day, pain and nothing else."""

    language: str  # of the message and the urgent advice
    kind: StepKind  # of the message that led here: what she came for
    title: str
    message_html: str
    urgent_html: str
    exercise_html: str
    exercise_language: str
    stands: Standing | None
    visit: Visit | None
    paused_until: date | None
    scores: list[tuple[date, int, str]]
    answered_on: date | None
    call_open: bool
    agreed: Mapping[Topic, bool]
    level: Level
    preferred_time: str
    preferred_weekday: str
    reads_at: str
    released: bool  # the part with a partner


def read_content(
    session: Session, clinic: Clinic, opening: Opening, in_full: bool, tongue: str | None = None
) -> PageContent:
    """What the page of a link shows. `in_full`: the code was given; `tongue`: the language of the words around it.

    Raises `NotFound` when it can show nothing.
    """
    row, plan = session.get(Reminder, opening.reminder_id), session.get(CarePlan, opening.plan_id)
    patient = stored_patients.find_patient(session, opening.patient_id)
    if row is None or plan is None or patient is None:
        raise NotFound("this page has ended")
    return _Reader(session, clinic, patient, plan, row, in_full).read(tongue or opening.language)


class _Reader:
    def __init__(
        self, session: Session, clinic: Clinic, patient: Patient, plan: CarePlan, row: Reminder, in_full: bool
    ) -> None:
        self._session = session
        self._clinic = clinic
        self._patient = patient
        self._plan = plan
        self._row = row
        self._in_full = in_full
        self._shelf: Shelf = clinic.library.shelf(session)
        self._protocol = self._shelf.get(plan.protocol_version_id).protocol
        self._events = stored_plans.list_events(session, [plan.id])
        self._course: Course = follow(facts_of(session, clinic, plan, patient.language))

    def read(self, tongue: str) -> PageContent:
        language, title, message, urgent = self._message()
        stands = self._stands()
        exercise_language, exercise_html = self._exercise(stands) if stands and self._in_full else ("", "")
        now, zone = self._clinic.clock.now(), self._clinic.settings.clinic_time_zone
        paused = pause_until(self._events, now)
        answers = [event for event in self._events if event.kind is EventKind.CHECKED_IN]
        patient = self._patient
        return PageContent(
            language=language,
            kind=self._row.kind,
            title=title,
            message_html=message,
            urgent_html=urgent,
            exercise_html=exercise_html,
            exercise_language=exercise_language,
            stands=stands,
            visit=self._visit(tongue),
            paused_until=to_wall(paused, zone).date() if paused else None,
            scores=[score for event in answers for score in _scores(event, zone)],
            answered_on=to_wall(answers[-1].recorded_at, zone).date() if answers else None,
            call_open=self._course.call_asked is not None,
            agreed=stored_patients.list_consent(self._session, [patient.id])[patient.id],
            level=patient.level,
            preferred_time=patient.preferred_time or "",
            preferred_weekday="" if patient.preferred_weekday is None else str(patient.preferred_weekday),
            reads_at=reads_at(self._clinic, tongue),
            released=self._course.partner_released is not None,
        )

    def _message(self) -> tuple[str, str, str, str]:
        """Its language, subject, text and urgent block."""
        step = self._protocol.find_step(self._row.step)
        level = "full" if self._in_full else "general"
        texts = self._shelf.find_message(self._protocol, self._row.template, self._patient.language, level)
        if step is None or texts is None:
            raise NotFound("this page has ended")
        tongue = texts.text.source.language
        values = self._values(step, tongue)
        try:
            body = compile_for_page(texts.text.source).render(values)
            urgent = compile_for_page(texts.urgent.source).render(values).html if texts.urgent else ""
        except RenderFailed:
            raise NotFound("this page has ended") from None
        return tongue, body.subject, body.html, urgent

    def _values(self, step: Step, language: str) -> dict[str, str | None]:
        plans = read_addressees(self._session, [self._plan.id])
        values, called = Values(self._session, self._clinic, plans), self._patient.preferred_name
        addressee = plans[self._plan.id]
        return values.of(addressee, step, self._row.occurrence, language, called or self._patient.given_name)

    def _stands(self) -> Standing | None:
        told = [Told(event.kind, event.fields) for event in self._events]
        return standing(self._protocol, told, self._course.partner_released is not None)

    def _exercise(self, stands: Standing) -> tuple[str, str]:
        """Its text in her language, else in the clinic's, and which that is."""
        text = self._shelf.find_part(stands.exercise.text, self._patient.language) or self._shelf.find_part(
            stands.exercise.text, self._shelf.default_language
        )
        if text is None:
            return "", ""
        tongue = text.source.language
        values = {"exercise.dose": dose_words(stands, tongue), "exercise.size": stands.size}
        try:
            return tongue, compile_for_page(text.source).render(values).html
        except RenderFailed:
            return "", ""

    def _visit(self, language: str) -> Visit | None:
        state = next((one for one in self._course.reviews.values() if one.status is not ReviewStatus.COMPLETED), None)
        if state is None or self._course.stopped or self._course.completed:
            return None
        booking = state.booking
        event = stored_plans.find_event(self._session, booking.id) if booking else None
        due = booking.at.instant if booking else state.due.instant
        since = booking.recorded_at if booking else None
        confirmed = any(
            event.kind is EventKind.VISIT_CONFIRMED and event.review == state.rule.key and event.recorded_at >= since
            for event in self._events
            if since is not None
        )
        answered = any(
            event.kind is EventKind.QUESTIONS_ANSWERED and event.review == state.rule.key for event in self._events
        )
        return Visit(
            review=state.rule.key,
            booked_at=booking.at.instant if booking else None,
            when=self._when(state, language) if booking else "",
            place=(event.fields.get("place") or "") if event else "",
            confirmed=confirmed,
            questions=self._clinic.clock.now() >= due - ASKED_BEFORE,
            answered=answered,
        )

    def _when(self, state: ReviewState, language: str) -> str:
        if state.booking is None:
            return ""
        at = state.booking.at
        elsewhere = to_wall(at.instant, self._patient.time_zone) != at.wall
        day = dates.whole_day_in_words(at.wall.date(), language)
        return f"{day}, {dates.time_in_words(at.wall.time(), language, at.zone if elsewhere else None)}"


def reads_at(clinic: Clinic, language: str) -> str:
    """When somebody at the clinic will read what she sends now: in words, empty while they are there."""
    settings, now = clinic.settings, clinic.clock.now()
    zone = settings.clinic_time_zone
    opens = settings.opening_hours.next_open(now, zone, lambda day: day in clinic.rules.holidays)
    if opens is None or opens == now:
        return ""
    wall = to_wall(opens, zone)
    return f"{dates.whole_day_in_words(wall.date(), language)}, {dates.time_in_words(wall.time(), language)}"


def _scores(event: CareEvent, zone: str) -> list[tuple[date, int, str]]:
    pain = event.fields.get("pain", "")
    return [(to_wall(event.recorded_at, zone).date(), int(pain), "")] if pain.isdigit() else []
