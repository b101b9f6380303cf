"""The staff's list of the day: everything that waits for a person, most harmful first; what leaves next; what was done.

The queries are in `db.worklist`, the words of a line and its actions in `web.today_lines`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from db import care_plans as stored_plans
from db import patients as stored_patients
from db import raised_lines as stored_raised
from db import reminders as stored_reminders
from db import worklist as stored
from db.follow_up import CareEvent, CarePlan, PlanQuestion, Reminder, Review
from db.private_page import RaisedKind, RaisedLine
from db.records import Patient
from db.returned_mail import DeliveryReport, Waiting, find_waiting
from db.states import Reason, ReminderState, ReviewStatus, StopReason
from scheduler.clinic import Clinic
from scheduler.library import Shelf
from scheduler.local_time import to_utc, to_wall
from scheduler.subjects import title_of_row

EACH: Final = 10  # lines of one kind, and messages that leave; of those there are more, which are found by a link
MOST: Final = 50  # lines of a kind that harms, of the one kind that was asked for, and visits
LEAVES_WITHIN: Final = timedelta(hours=24)
HER_ROWS: Final = 8  # messages of one patient that wait for the same answer: so many are looked at for one line
BOOK_AHEAD: Final = timedelta(days=7)  # a review without a visit is asked for this long before it is due
SIGN_WITHIN: Final = timedelta(hours=24)


class LineKind(StrEnum):
    """What a line is about; the order is that of harm."""

    CALL_ASKED = "call_asked"
    COMPLICATION = "complication"
    STOP_LOST = "stop_lost"
    UNKNOWN = "unknown"
    FAILED = "failed"
    CAME_BACK = "came_back"
    MISSED = "missed"
    WRONG_PERSON = "wrong_person"
    STOPPED_BY_LINK = "stopped_by_link"
    ADDRESS_REFUSED = "address_refused"
    QUESTION = "question"
    VISIT_PASSED = "visit_passed"
    REVIEW_MISSED = "review_missed"
    REVIEW_OVERDUE = "review_overdue"
    CODE_LOCKED = "code_locked"
    OTHER_TIME = "other_time"
    NOT_YET = "not_yet"
    SILENT = "silent"
    FOR_STAFF = "for_staff"
    RELEASE_ASKED = "release_asked"
    REVIEW_TO_BOOK = "review_to_book"
    ADDRESS_MISSING = "address_missing"
    ADDRESS_UNCONFIRMED = "address_unconfirmed"
    CONSENT_MISSING = "consent_missing"
    BIRTH_DATE_MISSING = "birth_date_missing"
    UNDER_AGE = "under_age"
    PAST_ASK = "past_ask"
    AWAITING_RELEASE = "awaiting_release"
    NOT_SENDABLE = "not_sendable"
    UNSIGNED = "unsigned"


ORDER: Final = {kind: place for place, kind in enumerate(LineKind)}
RED: Final = frozenset({LineKind.CALL_ASKED, LineKind.COMPLICATION, LineKind.STOP_LOST})
# Of these nobody rings the patient: they are about the record or the clinic's own texts.
_BY_PATIENT: Final = {
    Reason.STOP_LOST: LineKind.STOP_LOST,
    Reason.ADDRESS_REFUSED: LineKind.ADDRESS_REFUSED,
    Reason.ADDRESS_MISSING: LineKind.ADDRESS_MISSING,
    Reason.ADDRESS_UNCONFIRMED: LineKind.ADDRESS_UNCONFIRMED,
    Reason.CONSENT_MISSING: LineKind.CONSENT_MISSING,
    Reason.BIRTH_DATE_MISSING: LineKind.BIRTH_DATE_MISSING,
    Reason.UNDER_AGE: LineKind.UNDER_AGE,
}
_BY_MESSAGE: Final = {
    Reason.UNKNOWN: LineKind.UNKNOWN,
    Reason.FOR_STAFF: LineKind.FOR_STAFF,
    Reason.PAST_ASK: LineKind.PAST_ASK,
    Reason.AWAITING_RELEASE: LineKind.AWAITING_RELEASE,
    Reason.REVEALING_TEXT: LineKind.NOT_SENDABLE,
    Reason.REFUSED_BY_SERVER: LineKind.NOT_SENDABLE,
    Reason.RENDER_FAILED: LineKind.NOT_SENDABLE,
    Reason.SEND_FAILED: LineKind.NOT_SENDABLE,
}
_RAISED: Final = {kind: LineKind(kind.value) for kind in RaisedKind}
# Held, but nobody's to do one by one: counted, with where to look.
COUNTED: Final = (Reason.NOT_APPROVED, Reason.HOLD)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that waits for a person: what, whose, since or for when, and the row it is about."""

    kind: LineKind
    patient_id: UUID
    plan_id: UUID | None
    at: datetime | None
    reminder: Reminder | None = None
    others: tuple[Reminder, ...] = ()  # more messages of hers that were not sent
    review: Review | None = None
    question: PlanQuestion | None = None
    report: DeliveryReport | None = None
    calls: tuple[CareEvent, ...] = ()  # why a call is asked for
    raised: RaisedLine | None = None

    @property
    def level(self) -> str:
        """`red`: a person may come to harm; `amber`: needs a person."""
        return "red" if self.kind in RED else "amber"


@dataclass(frozen=True, slots=True)
class Letters:
    """Letters to the technical mailbox that nobody has looked at: how many, found from when until when."""

    count: int
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Worklist:
    """The whole list at one instant, with the patients, care plans and titles its lines speak of.

    `more`: kinds of which there are more than are shown. `counted`: held reminders that are nobody's to do one by one.
    """

    at: datetime
    lines: Sequence[Line]
    more: frozenset[LineKind]
    counted: Mapping[Reason, int]
    visits: Sequence[Line]  # today's, still to come
    leaving: Sequence[Reminder]
    leaves_more: bool
    letters: Letters | None  # what people wrote to the technical mailbox
    people: Mapping[UUID, Patient] = field(repr=False)
    plans: Mapping[UUID, CarePlan] = field(repr=False)
    shelf: Shelf = field(repr=False)

    def title(self, row: Reminder | PlanQuestion) -> str:
        """What a reminder's message is called."""
        plan, patient = self.plans[row.care_plan_id], self.people[row.patient_id]
        return title_of_row(self.shelf, plan, row, patient.language)


def read_worklist(session: Session, clinic: Clinic, asked: LineKind | None = None) -> Worklist:
    """Everything that waits for a person now; with a kind, more of that kind's lines and none of another."""
    now = clinic.clock.now()
    full: set[LineKind] = set()
    most = {kind: MOST if kind in RED or kind is asked else EACH for kind in LineKind}
    returned = find_waiting(session, most[LineKind.CAME_BACK] + 1)
    zone = clinic.settings.clinic_time_zone
    tomorrow = to_wall(now, zone).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    booked = [
        _about(LineKind.VISIT_PASSED, review, review.visit_at)
        for review in stored.list_visits(session, now, to_utc(tomorrow, zone), most[LineKind.VISIT_PASSED] + 1, MOST)
    ]
    passed = [line for line in booked if line.at is not None and line.at < now]
    visits = booked[len(passed) :]
    found = _to_act_on(session, [*_lines(session, clinic, now, full, returned, most), *passed])
    by_kind = {kind: [line for line in found if line.kind is kind] for kind in LineKind if asked in (None, kind)}
    lines = [line for kind, all_of_it in by_kind.items() for line in all_of_it[: most[kind]]]
    leaving = stored.list_leaving(session, now + LEAVES_WITHIN, EACH + 1)
    leaves_more, leaving = len(leaving) > EACH, leaving[:EACH]
    held = stored_reminders.count_by_reason(session, ReminderState.HELD)
    shown = [*lines, *visits]
    people = stored.open_patients(session, [line.patient_id for line in shown] + [row.patient_id for row in leaving])
    return Worklist(
        at=now,
        lines=[line for line in lines if line.patient_id in people],
        more=frozenset(kind for kind, all_of_it in by_kind.items() if len(all_of_it) > most[kind] or kind in full),
        counted={reason: held[reason] for reason in COUNTED if held.get(reason)},
        visits=[line for line in visits if line.patient_id in people],
        leaving=[row for row in leaving if row.patient_id in people],
        leaves_more=leaves_more,
        letters=_letters(returned),
        people=people,
        plans=stored.find_plans(
            session,
            [line.plan_id for line in shown if line.plan_id]
            + [row.care_plan_id for line in shown for row in line.others]
            + [row.care_plan_id for row in leaving],
        ),
        shelf=clinic.library.shelf(session),
    )


def _letters(returned: Waiting) -> Letters | None:
    since, until = returned.letters_since, returned.letters_until
    return None if since is None or until is None else Letters(returned.letters, since, until)


def _to_act_on(session: Session, found: Sequence[Line]) -> list[Line]:
    """Without the lines about patients who have died or left: nobody rings them. Their records are still signed."""
    stopped = stored_patients.list_stopped(session, list({line.patient_id for line in found}))
    gone = {patient_id for patient_id, reason in stopped.items() if reason in (StopReason.DECEASED, StopReason.LEFT)}
    return [line for line in found if line.patient_id not in gone or line.kind is LineKind.UNSIGNED]


def _lines(
    session: Session,
    clinic: Clinic,
    now: datetime,
    full: set[LineKind],
    returned: Waiting,
    most: Mapping[LineKind, int],
) -> Iterator[Line]:
    """All but visits, of each kind one more than are shown. `full` is told where only so many rows were looked at."""
    some = {kind: count + 1 for kind, count in most.items()}
    calls, releases = stored.list_asking(session, some[LineKind.CALL_ASKED], some[LineKind.RELEASE_ASKED])
    for plan, why in calls:
        yield Line(LineKind.CALL_ASKED, plan.patient_id, plan.id, plan.call_asked_at, calls=tuple(why))
    for event, plan_id in stored.list_open_complications(session, some[LineKind.COMPLICATION]):
        yield Line(LineKind.COMPLICATION, event.patient_id, plan_id, event.onset_at)
    for plan in releases:
        yield Line(LineKind.RELEASE_ASKED, plan.patient_id, plan.id, plan.release_asked_at)
    yield from _messages(session, some, full)
    for report, row in returned.reports:
        at = report.received_at
        yield Line(LineKind.CAME_BACK, row.patient_id, row.care_plan_id, at, reminder=row, report=report)
    for question in stored_plans.list_open_questions(session, some[LineKind.QUESTION]):
        yield Line(LineKind.QUESTION, question.patient_id, question.care_plan_id, question.asked_at, question=question)
    yield from _raised(session, some)
    yield from _reviews(session, clinic, now, some)
    for treatment, plan_id in stored.list_unsigned(session, now - SIGN_WITHIN, some[LineKind.UNSIGNED]):
        yield Line(LineKind.UNSIGNED, treatment.patient_id, plan_id, treatment.unsigned_since)


def _messages(session: Session, some: Mapping[LineKind, int], full: set[LineKind]) -> Iterator[Line]:
    """Lines about messages. `full` is told the kinds of which only so many rows were looked at."""
    limits = {reason: some[kind] for reason, kind in _BY_MESSAGE.items()}
    limits |= {reason: HER_ROWS * some[kind] for reason, kind in _BY_PATIENT.items()}
    seen: Counter[Reason] = Counter()
    told = set()
    for row in stored.list_held_each(session, limits):
        if row.reason is None:
            continue
        seen[row.reason] += 1
        if row.reason in _BY_PATIENT:  # one line a patient, about the first of them
            if (row.patient_id, row.reason) not in told:
                told.add((row.patient_id, row.reason))
                yield Line(_BY_PATIENT[row.reason], row.patient_id, row.care_plan_id, row.due_at, reminder=row)
        elif row.reason in _BY_MESSAGE:
            kind = _BY_MESSAGE[row.reason]
            at = row.changed_at if kind in (LineKind.UNKNOWN, LineKind.NOT_SENDABLE) else row.due_at
            yield Line(kind, row.patient_id, row.care_plan_id, at, reminder=row)
    full |= {_BY_PATIENT[reason] for reason in _BY_PATIENT if seen[reason] == limits[reason]}
    missed: dict[UUID, list[Reminder]] = {}  # one line a patient: after an outage there may be many
    looked_at = some[LineKind.FAILED] + HER_ROWS * some[LineKind.MISSED]
    unsettled = stored.list_unsettled(session, looked_at)
    for row in unsettled:
        if row.state is ReminderState.FAILED:
            yield Line(LineKind.FAILED, row.patient_id, row.care_plan_id, row.changed_at, reminder=row)
        else:
            missed.setdefault(row.patient_id, []).append(row)
    if len(unsettled) == looked_at:
        full.add(LineKind.MISSED)
    for first, *others in missed.values():
        at = first.changed_at
        yield Line(LineKind.MISSED, first.patient_id, first.care_plan_id, at, reminder=first, others=tuple(others))


def _raised(session: Session, some: Mapping[LineKind, int]) -> Iterator[Line]:
    """What the patients' side raised, the oldest first; another time with the visit it is about."""
    for line, review in stored_raised.list_open_each(session, {kind: some[line] for kind, line in _RAISED.items()}):
        kind = _RAISED[line.kind]
        yield Line(kind, line.patient_id, line.care_plan_id, line.raised_at, review=review, raised=line)


def _reviews(session: Session, clinic: Clinic, now: datetime, some: Mapping[LineKind, int]) -> Iterator[Line]:
    today = to_wall(now, clinic.settings.clinic_time_zone).date()
    looked_at = sum(some[kind] for kind in (LineKind.REVIEW_MISSED, LineKind.REVIEW_OVERDUE, LineKind.REVIEW_TO_BOOK))
    for review in stored.list_reviews_to_book(session, today + BOOK_AHEAD, looked_at):
        if review.status is ReviewStatus.MISSED:
            kind = LineKind.REVIEW_MISSED
        elif review.latest_on < today:
            kind = LineKind.REVIEW_OVERDUE
        else:
            kind = LineKind.REVIEW_TO_BOOK
        yield _about(kind, review, None)


def _about(kind: LineKind, review: Review, at: datetime | None) -> Line:
    return Line(kind, review.patient_id, review.care_plan_id, at, review=review)
