"""Use cases about a review that took place: its outcome, and what follows from it, recorded in one transaction.

Booking, moving and missing a visit are single events (`scheduler.events`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from uuid import UUID

from sqlalchemy.orm import Session

from db import care_plans as stored
from db import treatments as stored_treatments
from db.records import Treatment
from db.states import EventKind, ReviewStatus
from scheduler import events, treatments
from scheduler.care_plans import replan
from scheduler.clinic import Clinic
from scheduler.entries import check_moment, read_reason
from scheduler.errors import InvalidInput, Refused

OUTCOMES = ("progressing", "hold", "step back", "refer", "discharge")
WORST_PAIN = 10
FAR_DAYS = 14  # further from its due day than this, a visit's date is asked about once more
DAY = (time(7), time(20))


@dataclass(frozen=True, slots=True)
class ReviewForm:
    """What a clinician writes down after a review. Pain is 0 to 10 by situation; an empty one was not asked.

    `wish` is what the patient says of the part with a partner: `wants`, `not_wanted`, or empty (not spoken of).
    `releases`: the clinician releases that part now, which needs the wish.
    """

    review: str
    at: str = ""
    outcome: str = ""
    pains: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    next_review: str = ""
    next_at: str = ""
    next_place: str = ""
    wish: str = ""
    releases: bool = False
    starts_solo: bool = False


def complete(clinic: Clinic, actor: str, treatment_id: UUID, form: ReviewForm) -> None:
    """Record that a review took place, and what follows; all of it or nothing. Raises `InvalidInput` or `Refused`."""
    fields = fields_of(form)
    if form.next_at.strip():
        check_moment(form.next_at, clinic.settings.clinic_time_zone, "next_at")
    with clinic.store.write(actor, clinic.clock.now()) as session:
        treatment = treatments.lock(session, treatment_id)
        at = form.at.strip() or None
        if at and _is_there(session, clinic, treatment, form.review, at, fields):
            return  # the same form sent twice
        events.store(session, clinic, treatment, EventKind.REVIEW_COMPLETED, at, form.review, fields)
        if form.starts_solo:
            events.store(session, clinic, treatment, EventKind.SOLO_STARTED)
        if form.wish == "not_wanted":
            events.store(session, clinic, treatment, EventKind.PARTNER_NOT_WANTED)
        elif form.wish == "wants" and form.releases:
            _refuse_in_trouble(session, treatment_id)
            events.store(session, clinic, treatment, EventKind.PARTNER_RELEASED, fields={"wish": "said at the review"})
        elif form.wish == "wants":
            events.store(session, clinic, treatment, EventKind.PARTNER_WANTED)
        if form.next_at.strip():
            place = {"place": form.next_place} if form.next_place.strip() else {}
            events.store(
                session,
                clinic,
                treatment,
                EventKind.REVIEW_BOOKED,
                form.next_at,
                form.next_review or None,
                place,
            )
        session.flush()
        replan(session, clinic, treatment.patient_id)


def doubts_about(
    session: Session, clinic: Clinic, treatment_id: UUID, review: str | None, at: str, label: str
) -> list[str]:
    """Why a visit's time looks like a slip of the hand, in words: it has passed, the clinic is closed, or it is weeks
    from when the review is due. Empty when nothing does. Raises `InvalidInput`, of the field `label`, for no time."""
    moment = check_moment(at, clinic.settings.clinic_time_zone, label)
    plan = treatments.get_plan(session, treatment_id)
    rows = [row for row in stored.list_reviews(session, [plan.id]) if row.status is not ReviewStatus.COMPLETED]
    row = next((row for row in rows if row.key == review or not review), None)
    found = []
    if moment.instant < clinic.clock.now():
        found.append("it has passed already")
    if clinic.rules.is_free_day(moment.wall.date()):
        found.append(f"it is a {moment.wall:%A}" if moment.wall.weekday() >= 5 else "it is a public holiday")
    if not DAY[0] <= moment.wall.time() < DAY[1]:
        found.append("it is at night")
    if row is not None and row.due_on is not None:
        apart = (moment.wall.date() - row.due_on).days
        if abs(apart) > FAR_DAYS:
            found.append(f"it is {abs(apart)} days {'after' if apart > 0 else 'before'} the review is due")
    return found


def _is_there(
    session: Session, clinic: Clinic, treatment: Treatment, review: str, at: str, fields: Mapping[str, str]
) -> bool:
    wall = check_moment(at, clinic.settings.clinic_time_zone).wall.isoformat(timespec="seconds")
    plan = treatments.get_plan(session, treatment.id)
    return any(
        (event.kind, event.review, event.occurred_local) == (EventKind.REVIEW_COMPLETED, review, wall)
        and event.fields == fields
        for event in stored.list_events(session, [plan.id])
    )


def release_partner_phase(clinic: Clinic, actor: str, treatment_id: UUID, wish: str) -> None:
    """Release the part with a partner. The patient's own wish is part of it: without one nothing is released."""
    said = read_reason(wish) if wish.strip() else ""
    if not said:
        raise InvalidInput("wish: write down what the patient said; without the patient's wish nothing is released")
    with clinic.store.write(actor, clinic.clock.now()) as session:
        treatment = treatments.lock(session, treatment_id)
        _refuse_in_trouble(session, treatment_id)
        events.store(session, clinic, treatment, EventKind.PARTNER_RELEASED, fields={"wish": said})
        replan(session, clinic, treatment.patient_id)


def _refuse_in_trouble(session: Session, treatment_id: UUID) -> None:
    if stored_treatments.list_open_adverse_events(session, [treatment_id]):
        raise Refused("a complication is open: resolve it before the part with a partner is released")


def fields_of(form: ReviewForm) -> dict[str, str]:
    """What the event of a review holds. Raises `InvalidInput` with every problem."""
    problems = []
    fields = {}
    if not form.outcome:
        problems.append("outcome: choose one")
    elif form.outcome not in OUTCOMES:
        problems.append(f"outcome: is none of {', '.join(OUTCOMES)}")
    else:
        fields["outcome"] = form.outcome
    if form.starts_solo and form.releases and form.wish == "wants":
        problems.append("starts_solo: the part done alone would end at once with the release; choose one of the two")
    for name, text in form.pains.items():
        score = text.strip()
        if not score:
            continue
        if not (score.isascii() and score.isdigit()) or int(score) > WORST_PAIN:
            problems.append(f"{name}: write a whole number from 0 to {WORST_PAIN}")
        else:
            fields[name] = str(int(score))
    if form.releases and form.wish != "wants":
        problems.append("wish: the next part is released only when the patient wants it")
    if form.wish not in ("", "wants", "not_wanted"):
        problems.append("wish: is none of the answers")
    if problems:
        raise InvalidInput(*problems)
    if form.note.strip():
        fields["note"] = form.note.strip()
    if form.wish:
        fields["wish"] = form.wish
    return fields
