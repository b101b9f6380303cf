"""What a text may print about one reminder: every name of the closed list, as ready-made strings.

The names themselves are the contract's (`scheduler.message_source`); who fills them in is `scheduler.compose`.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from urllib.parse import quote
from uuid import UUID

from sqlalchemy.orm import Session

from db import care_plans as stored_plans
from db.letters import Addressee
from db.states import ReviewStatus
from scheduler import dates
from scheduler.care_plans import facts_of_all
from scheduler.clinic import Clinic
from scheduler.local_time import to_wall
from scheduler.planning.course import ReviewState, follow
from scheduler.planning.facts import PlanFacts
from scheduler.planning.protocol import Step
from scheduler.subjects import week_of

Found = Mapping[str, str | None]


class Values:
    """The values of these care plans' messages; what several need is read once for all of them."""

    def __init__(self, session: Session, clinic: Clinic, plans: Mapping[UUID, Addressee]) -> None:
        self._session = session
        self._clinic = clinic
        self._plans = plans
        self._shelf = clinic.library.shelf(session)
        self._facts: Mapping[UUID, PlanFacts] | None = None
        settings = clinic.settings
        self._same: Found = {
            "clinic.name": settings.clinic_name,
            "clinic.phone": settings.clinic_phone,
            "clinic.hours": settings.clinic_hours,
            "urgent.number": settings.emergency_number,
            "staff.signature": settings.clinic_name,
            "link.stop": stop_link(clinic),
            "link.page": None,
        }

    def of(
        self,
        plan: Addressee,
        step: Step,
        occurrence: int,
        language: str,
        called: str | None,
        names: Collection[str] | None = None,
        links: Found | None = None,
    ) -> dict[str, str | None]:
        """Every name a text may print; None for what there is not.

        `called`: how the patient is called. `names`: what this text prints, None for all. `links`: those of this very
        message, where patients have pages.
        """
        treated = datetime.fromisoformat(plan.treated_local)
        values = {
            **self._same,
            **(links or {}),
            "patient.preferred_name": called,
            "treatment.date": dates.day_in_words(treated.date(), language),
            "step.number": str(occurrence) if step.repeat else None,
            "step.total": str(step.repeat.count) if step.repeat else None,
            "week.number": str(week_of(step, occurrence)),
        }
        values |= {f"text.{name}": value for name, value in self._shelf.get(plan.protocol_version_id).texts.items()}
        if names is None or any(name.startswith("review.") for name in names):
            review = _review_of(self._facts_of(plan), step, occurrence)
            if review is not None:
                values |= _visit(self._session, review, plan.time_zone, language)
        return values

    def _facts_of(self, plan: Addressee) -> PlanFacts:
        if self._facts is None:
            languages = {each.patient_id: each.language for each in self._plans.values()}
            plans = stored_plans.find_all(self._session, self._plans)
            self._facts = facts_of_all(self._session, self._clinic, list(plans.values()), languages)
        return self._facts[plan.plan_id]


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


def _visit(session: Session, review: ReviewState, zone: str, language: str) -> dict[str, str | None]:
    if review.booking is None:
        return {}
    at = review.booking.at
    # The visit is told in the clinic's time, named where her clocks show another.
    elsewhere = to_wall(at.instant, zone) != at.wall
    event = stored_plans.find_event(session, review.booking.id)
    place = event.fields.get("place") if event else None
    return {
        "review.date": dates.day_in_words(at.wall.date(), language),
        "review.weekday": dates.weekday_in_words(at.wall.date(), language),
        "review.time": dates.time_in_words(at.wall.time(), language, at.zone if elsewhere else None),
        "review.place": place,
    }
