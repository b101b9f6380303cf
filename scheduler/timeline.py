"""Everything that happened with one patient, and what is still to come, in the order of time: facts, not sentences.

The words are in `web.timeline_words`; the rows come from the files of their subjects.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from db import care_plans as stored_plans
from db import patients as stored_patients
from db import reminders as stored_reminders
from db import sends
from db import treatments as stored_treatments
from db.follow_up import CareEvent, CareEventRetraction, CarePlan, DeliveryAttempt, Reminder, ReminderDecision
from db.records import AddressFact, ClinicalNote, Consent, Patient, PatientStop, Treatment
from db.returned_mail import DeliveryReport, list_reports_of
from db.states import LIVE_STATES, ReminderState
from scheduler.clinic import Clinic
from scheduler.library import Shelf
from scheduler.signing import SignedVersion, find_signed_versions
from scheduler.subjects import title_of_row


@dataclass(frozen=True, slots=True)
class Message:
    """A reminder with what it is called and every try to hand it over."""

    row: Reminder
    title: str
    treatment_id: UUID
    attempts: Sequence[DeliveryAttempt]
    reports: Sequence[DeliveryReport] = ()  # what other servers said after ours had taken it

    @property
    def at(self) -> datetime:
        """When it left, ended, or will be due."""
        if self.row.state is ReminderState.SENT:
            return self.row.sent_at or self.row.changed_at
        if self.row.state in LIVE_STATES or self.row.state is ReminderState.MISSED:
            return self.row.due_at
        return self.row.changed_at

    @property
    def is_ahead(self) -> bool:
        """Whether it is still to come."""
        return self.row.state in LIVE_STATES


@dataclass(frozen=True, slots=True)
class Happened:
    """One entry of the time line: exactly one of the rows."""

    at: datetime
    event: CareEvent | None = None
    retraction: CareEventRetraction | None = None
    message: Message | None = None
    decision: ReminderDecision | None = None
    decided_title: str = ""
    note: ClinicalNote | None = None
    consent: Consent | None = None
    address: AddressFact | None = None
    stop: PatientStop | None = None
    treatment: Treatment | None = None
    version: SignedVersion | None = None
    signed: bool = False  # the version's signature, rather than its writing


@dataclass(frozen=True, slots=True)
class Timeline:
    """One patient's whole story. `past` the last first, `ahead` the next first."""

    patient: Patient
    treatments: Sequence[Treatment]
    plans: Mapping[UUID, CarePlan] = field(repr=False)  # by treatment
    contents: Mapping[UUID, Sequence[SignedVersion]] = field(repr=False)  # by treatment
    consents: Sequence[Consent] = field(repr=False)
    stops: Sequence[PatientStop] = field(repr=False)
    past: Sequence[Happened] = field(repr=False)
    ahead: Sequence[Message] = field(repr=False)
    shelf: Shelf = field(repr=False)

    def protocol_title(self, treatment: Treatment) -> str:
        """What was done, by the title of its protocol."""
        plan = self.plans.get(treatment.id)
        return self.shelf.get(plan.protocol_version_id).protocol.title if plan else treatment.protocol_key


def read_timeline(session: Session, clinic: Clinic, patient: Patient) -> Timeline:
    """Read it: some fifteen queries, however long the story is."""
    shelf = clinic.library.shelf(session)
    treatments = stored_treatments.list_treatments(session, patient.id)
    plans = stored_plans.list_plans(session, patient.id)
    contents = find_signed_versions(session, [treatment.id for treatment in treatments])
    messages = read_messages(session, shelf, patient, plans)
    consents = stored_patients.list_consent_rows(session, patient.id)
    stops = stored_patients.list_stops(session, patient.id)
    past = [
        *_records(treatments, contents),
        *_events(session, plans),
        *_decisions(session, plans, messages),
        *_of_the_patient(session, patient),
        *(Happened(consent.recorded_at, consent=consent) for consent in consents),
        *(Happened(stop.recorded_at, stop=stop) for stop in stops),
        *(Happened(message.at, message=message) for message in messages if not message.is_ahead),
    ]
    return Timeline(
        patient=patient,
        treatments=treatments,
        plans={plan.treatment_id: plan for plan in plans},
        contents=contents,
        consents=consents,
        stops=stops,
        past=sorted(past, key=lambda happened: happened.at, reverse=True),
        ahead=sorted((message for message in messages if message.is_ahead), key=lambda message: message.row.due_at),
        shelf=shelf,
    )


def read_messages(session: Session, shelf: Shelf, patient: Patient, plans: Sequence[CarePlan]) -> list[Message]:
    """All reminders of a patient's care plans with their attempts and the reports about them: three queries."""
    rows = stored_reminders.list_reminders(session, patient_id=patient.id)
    by_id = {plan.id: plan for plan in plans}
    attempts: dict[UUID, list[DeliveryAttempt]] = {}
    for attempt in sends.list_attempts_of(session, [row.id for row, _ in rows if row.attempts]):
        attempts.setdefault(attempt.reminder_id, []).append(attempt)
    reports: dict[UUID, list[DeliveryReport]] = {}
    for report in list_reports_of(session, list(attempts)):
        reports.setdefault(report.reminder_id, []).append(report)
    return [
        Message(
            row,
            title_of_row(shelf, by_id[row.care_plan_id], row, patient.language),
            treatment_id,
            attempts.get(row.id, ()),
            reports.get(row.id, ()),
        )
        for row, treatment_id in rows
        if row.care_plan_id in by_id
    ]


def _records(treatments: Sequence[Treatment], contents: Mapping[UUID, Sequence[SignedVersion]]) -> Iterator[Happened]:
    for treatment in treatments:
        for version in contents[treatment.id]:
            yield Happened(version.recorded_at, treatment=treatment, version=version)
            if version.signed_at is not None:
                yield Happened(version.signed_at, treatment=treatment, version=version, signed=True)


def _events(session: Session, plans: Sequence[CarePlan]) -> Iterator[Happened]:
    found = stored_plans.list_events(session, [plan.id for plan in plans], with_retracted=True) if plans else []
    retractions = {row.event_id: row for row in stored_plans.list_retractions(session, [event.id for event in found])}
    for event in found:
        yield Happened(event.recorded_at, event=event, retraction=retractions.get(event.id))


def _decisions(session: Session, plans: Sequence[CarePlan], messages: Sequence[Message]) -> Iterator[Happened]:
    titles = {
        (message.row.care_plan_id, message.row.step, message.row.occurrence): message.title for message in messages
    }
    for decision in stored_plans.list_decisions(session, [plan.id for plan in plans]) if plans else ():
        key = (decision.care_plan_id, decision.step, decision.occurrence)
        yield Happened(decision.recorded_at, decision=decision, decided_title=titles.get(key, decision.step))


def _of_the_patient(session: Session, patient: Patient) -> Iterator[Happened]:
    for note in stored_treatments.list_notes(session, patient.id):
        yield Happened(note.recorded_at, note=note)
    for fact in stored_patients.list_address_facts(session, patient.id):
        yield Happened(fact.recorded_at, address=fact)
