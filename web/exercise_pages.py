"""The course of exercises on a treatment's page: where the patient stands, what was answered, and setting the next.

What the patient sees of it is in `web.private`; the treatment's own page in `web.treatment_pages`.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response

from db.follow_up import CareEvent, CarePlan
from db.states import CarePlanStatus, EventKind
from scheduler import exercises, treatments
from scheduler.accounts.front_door import Present
from scheduler.accounts.rights import Right
from scheduler.answers import pause_until
from scheduler.errors import InvalidInput
from scheduler.exercise_course import Standing, Told, standing
from scheduler.exercises import Prescription
from scheduler.planning.course import Course
from scheduler.planning.protocol import Protocol
from web.doors import me_of
from web.event_words import ANSWERS, exercise_name
from web.forms import Filled, FormModel, filled
from web.pages import clinic_of, go_to
from web.times import Say
from web.treatment_parts import about, head_of

SHOWN: Final = 5  # answers; all of them are on the patient's time line
LOOKED_BACK: Final = timedelta(days=28)
LABELS: Final = {
    "exercise": "Exercise",
    "times_per_week": "Times a week",
    "minutes": "Minutes each",
    "size_set": "Trainer set",
    "size": "Size",
}


class ExerciseForm(FormModel):
    """The present exercise and how it is done."""

    exercise: str = ""
    times_per_week: str = ""
    minutes: str = ""
    size_set: str = ""
    size: str = ""


def exercise_page(request: Request, treatment_id: UUID) -> Response:
    """Set the present exercise: the form, as it stands now."""
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        plan = treatments.get_plan(session, treatments.get(session, treatment_id).id)
        stands = exercises.read_course(session, clinic, plan).stands
    form = ExerciseForm()
    if stands is not None:
        maker, _, label = (stands.size or "").rpartition(", ")
        form = ExerciseForm(
            exercise=stands.exercise.key,
            times_per_week=stands.times_per_week or "",
            minutes=stands.minutes or "",
            size_set=maker,
            size=label,
        )
    return _exercise(request, treatment_id, filled(form))


def set_exercise(request: Request, treatment_id: UUID) -> Response:
    """Set it."""
    form = ExerciseForm.read(request)
    try:
        exercises.prescribe(clinic_of(request), me_of(request).actor, treatment_id, Prescription(**form.model_dump()))
    except InvalidInput as wrong:
        return _exercise(request, treatment_id, filled(form, wrong, LABELS), 422)
    return go_to(f"/treatments/{treatment_id}", "event-exercise-set")


def at_home(
    plan: CarePlan, protocol: Protocol, course: Course, events: Sequence[CareEvent], say: Say, me: Present
) -> dict[str, Any] | None:
    """What the treatment's page says of the course at home: all of it to clinicians, of the rest only the pause."""
    reads = me.may(Right.RECORD)
    paused = pause_until(list(events), say.now)
    answers = [event for event in events if event.kind is EventKind.CHECKED_IN]
    runs = plan.status in (CarePlanStatus.ACTIVE, CarePlanStatus.ON_HOLD)
    if paused is None and not (reads and (protocol.exercises or answers)):
        return None
    told = [Told(event.kind, event.fields) for event in events]
    stands = standing(protocol, told, course.partner_released is not None) if reads else None
    return {
        "reads": reads,
        "has_course": bool(protocol.exercises),
        "now": standing_words(stands) if stands else "not started",
        "set": "Change the exercise" if stands else "Set the first exercise",
        "can_set": reads and runs and bool(protocol.exercises),
        "paused": say.day(paused) if paused else "",
        "pause_id": next((each.id for each in reversed(events) if each.kind is EventKind.PAUSED), None),
        "pauses": sum(event.kind is EventKind.PAUSED for event in events) if reads else 0,
        "backs": sum(event.kind is EventKind.STEPPED_BACK for event in events) if reads else 0,
        "pace": _pace(answers, say) if reads else "",
        "answers": [_answer(event, say) for event in reversed(answers[-SHOWN:])] if reads else [],
    }


def standing_words(stands: Standing) -> str:
    """Where a patient stands: `letting go (2 of 4), 5 times a week, 10 minutes each, size: Amielle, M2`."""
    parts = [f"{exercise_name(stands.exercise.key)} ({stands.place} of {stands.total})"]
    if stands.times_per_week:
        parts.append("once a week" if stands.times_per_week == "1" else f"{stands.times_per_week} times a week")
    if stands.minutes:
        parts.append(f"{stands.minutes} {'minute' if stands.minutes == '1' else 'minutes'} each")
    if stands.size:
        parts.append(f"size: {stands.size}")
    return ", ".join(parts)


def _pace(answers: Sequence[CareEvent], say: Say) -> str:
    counted = Counter(event.fields.get("answer", "") for event in answers if event.recorded_at > say.now - LOOKED_BACK)
    if not counted:
        return f"no answer in the last {LOOKED_BACK.days} days" if answers else "no answer yet"
    said = [f"{counted[answer]} × {words}" for answer, words in ANSWERS.items() if counted[answer]]
    return f"in the last {LOOKED_BACK.days} days: {', '.join(said)}"


def _answer(event: CareEvent, say: Say) -> tuple[str, str]:
    fields = event.fields
    parts = [ANSWERS.get(fields.get("answer", ""), fields.get("answer", ""))]
    if fields.get("exercise"):
        parts.append(exercise_name(fields["exercise"]))
    if fields.get("pain"):
        parts.append(f"pain {fields['pain']} of 10")
    if fields.get("words"):
        parts.append(f"“{fields['words']}”")
    return say.when(event.recorded_at), ", ".join(parts)


def _exercise(request: Request, treatment_id: UUID, form: Filled, status: int = 200) -> Response:
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        treatment = treatments.get(session, treatment_id)
        head = head_of(session, treatment, clinic, Say(clinic, clinic.clock.now()))
        now = exercises.read_course(session, clinic, treatments.get_plan(session, treatment_id))
    options = [(each.key, exercise_name(each.key).capitalize()) for each in now.open]
    options = [("", "Choose …"), *options] if options else []  # a protocol may have no course
    waits = len(now.open) < len(now.protocol.exercises)
    return about(request, "treatment/exercise.html", status, head, form=form, options=options, waits=waits)
