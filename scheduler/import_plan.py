"""What an import writes for one patient: a new one is planned in memory, and her rows are made and sealed.

Treatments of a patient of the record get their rows here and their plan where they are written (`scheduler.imports`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from db.bulk import NewRows
from db.states import LIVE_STATES, AddressState, EventKind, Level, Past, Topic
from db.types import new_id
from scheduler.care_plans import booked_ahead, facts_ahead, reminder_values
from scheduler.clinic import Clinic
from scheduler.import_person import Person
from scheduler.import_rows import RowTreatment
from scheduler.library import Shelf
from scheduler.patients import CONSENT_WORDING
from scheduler.planning.facts import PatientFacts, PlanFacts
from scheduler.planning.patient_plan import PatientPlan, plan_patient


@dataclass(frozen=True, slots=True)
class Choices:
    """What the person who imports decides for all plans of a file."""

    past: Past | None = None
    hold: bool = False


@dataclass(frozen=True, slots=True)
class DraftPlan:
    """A treatment to enter, with the ids of its rows. `event_id`: its booked visit."""

    treatment: RowTreatment
    keeps_earlier: bool
    treatment_id: UUID
    plan_id: UUID
    event_id: UUID | None


@dataclass(frozen=True, slots=True)
class Draft:
    """All that is new of one patient. `result` is the plan of a new patient, None for one of the record."""

    person: Person
    patient_id: UUID
    plans: Sequence[DraftPlan]
    facts: Sequence[PlanFacts]
    result: PatientPlan | None

    @property
    def reminders(self) -> int:
        """How many messages wait in the plan of a new patient."""
        return count_waiting(self.result) if self.result else 0


def count_waiting(result: PatientPlan) -> int:
    """How many new rows of a plan are live: those of an old treatment are mostly past when planned."""
    return sum(insert.verdict.state in LIVE_STATES for insert in result.difference.inserts)


def draft(clinic: Clinic, shelf: Shelf, person: Person, choices: Choices, now: datetime) -> Draft:
    """Give the rows of one patient their ids and, when she is new, plan her as of `now`."""
    plans = [
        DraftPlan(treatment, keeps, new_id(), new_id(), new_id() if treatment.booking else None)
        for treatment, keeps in person.treatments
    ]
    known, entry = person.known, person.entry
    language = known.language if known else entry.language if entry else ""
    facts = [_facts(plan, shelf, language, choices, now) for plan in plans]
    if known is not None or entry is None:
        return Draft(person, known.id if known else new_id(), plans, facts, None)
    address = AddressState.CONFIRMED if person.said.confirmed else AddressState.UNCONFIRMED
    patient = PatientFacts(
        zone=entry.time_zone,
        address=address if entry.email else AddressState.MISSING,
        consent=_consent(person),
        birth_date=entry.birth_date,
        by_notice=entry.level is Level.NOTICE and clinic.rules.has_pages,
        email_version=1 if entry.email else 0,
        email_given_at=now if entry.email else None,
    )
    result = plan_patient(patient, facts, [], [], now, clinic.rules)
    return Draft(person, new_id(), plans, facts, result)


def add_rows(clinic: Clinic, rows: NewRows, drafted: Draft, choices: Choices) -> None:
    """Make the rows of one patient. The data key of one of the record has to be at hand."""
    patient_id, entry, result = drafted.patient_id, drafted.person.entry, drafted.result
    if entry is not None:
        rows.add_patient(patient_id, entry)
        for topic, granted in _consent(drafted.person).items():
            rows.add_consent(patient_id, topic, granted, CONSENT_WORDING)
        if drafted.person.said.confirmed:
            rows.add_confirmation(patient_id)
    for plan in drafted.plans:
        _add_plan(clinic, rows, patient_id, plan, result, choices)
    if result is None:
        return
    for review in result.reviews:
        rows.reviews.append(
            {
                "id": new_id(),
                "care_plan_id": review.plan_id,
                "patient_id": patient_id,
                "key": review.key,
                "place": review.place,
                "status": review.status,
                "due_on": review.due_on,
                "latest_on": review.latest_on,
                "visit_at": review.visit_at,
                "open": review.open,
            }
        )
    at = rows.origin.at
    rows.reminders += [reminder_values(clinic, patient_id, insert, at) for insert in result.difference.inserts]


def _add_plan(
    clinic: Clinic, rows: NewRows, patient_id: UUID, plan: DraftPlan, result: PatientPlan | None, choices: Choices
) -> None:
    shelved, booking = plan.treatment.shelved, plan.treatment.booking
    rows.add_treatment(plan.treatment_id, patient_id, shelved.protocol.key, plan.treatment.entry)
    planned = {} if result is None else {"status": result.statuses[plan.plan_id], "planned_with": clinic.fingerprint}
    rows.add_plan(
        {
            "id": plan.plan_id,
            "patient_id": patient_id,
            "treatment_id": plan.treatment_id,
            "protocol_version_id": shelved.version_id,
            "past_override": choices.past,
            "keeps_earlier": plan.keeps_earlier,
            "starts_held": choices.hold,
            **planned,
        }
    )
    if booking is not None:
        rows.add_event(
            {
                "id": plan.event_id,
                "care_plan_id": plan.plan_id,
                "patient_id": patient_id,
                "kind": EventKind.REVIEW_BOOKED,
                "review": shelved.protocol.reviews[0].key,
                "occurred_at": booking.instant,
                "occurred_local": booking.wall.isoformat(timespec="seconds"),
                "zone": booking.zone,
            }
        )


def _facts(plan: DraftPlan, shelf: Shelf, language: str, choices: Choices, now: datetime) -> PlanFacts:
    shelved, booking = plan.treatment.shelved, plan.treatment.booking
    booked = []
    if plan.event_id is not None and booking is not None:
        booked.append(booked_ahead(plan.event_id, booking, shelved.protocol.reviews[0].key, now))
    return facts_ahead(
        plan.plan_id,
        shelf,
        shelved,
        plan.treatment.entry,
        language,
        now,
        plan.keeps_earlier,
        choices.hold,
        choices.past,
        booked,
    )


def _consent(person: Person) -> Mapping[Topic, bool]:
    """What she said, with the full texts she asked for by her level."""
    full = person.entry is not None and person.entry.level is Level.FULL
    return {**person.said.consent, **({Topic.FULL_TEXT: True} if full else {})}
