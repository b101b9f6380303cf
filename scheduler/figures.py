"""The clinic's figures: what became of reviews by month of treatment, and pain over time, as they may be shown.

The rows are found in `db.figures`, the arithmetic is in `scheduler.follow_up_counts` and `scheduler.small_counts`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from db import figures as stored
from db.states import CarePlanStatus, EventKind, ReviewStatus
from scheduler.clinic import Clinic
from scheduler.csv_cells import csv_bytes
from scheduler.follow_up_counts import (
    WORST,
    Became,
    DueReview,
    PainTold,
    WeekOfPain,
    count_by_month,
    months_until,
    pain_by_week,
)
from scheduler.library import Shelf
from scheduler.local_time import to_wall
from scheduler.planning.patient_plan import HISTORY
from scheduler.planning.protocol import Protocol, ReviewRule
from scheduler.small_counts import LEAST, Published, Row, Span, publish

MONTHS: Final = 24  # of treatment, the present one among them: what the figures look back on
# What holds pain: every sealed field of these whose name begins so, 0 to 10.
PAIN_KINDS: Final = (
    EventKind.REVIEW_COMPLETED,
    EventKind.CHECKED_IN,
)
PAIN_FIELD: Final = "pain"
OPENED_AT_ONCE: Final = 500  # reports of one query: no long transaction stands in the way of others
REVIEW_COLUMNS: Final = ("treatment", "review", "month_of_treatment", "due", *(became.value for became in Became))
PAIN_COLUMNS: Final = (
    "treatment",
    "weeks_since_treatment",
    "patients_at_least",
    "lower_quartile",
    "median",
    "upper_quartile",
)
_WIDEST: Final = (LEAST - 1) * len(Became)  # of a span that is told by both ends: a row none of whose parts is shown
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ReviewFigure:
    """One review of one treatment type: a row for each month. `rule`: as the newest version of the protocol has it."""

    title: str
    key: str
    rule: ReviewRule | None
    months: Sequence[date]
    counts: Published


@dataclass(frozen=True, slots=True)
class Amount:
    """How much has to be read for the figures: reviews that are due, and sealed reports that may hold pain."""

    reviews: int
    reports: int


@dataclass(frozen=True, slots=True)
class PainFigure:
    """Pain over time of one treatment type: the weeks in which enough patients told it."""

    title: str
    weeks: Sequence[WeekOfPain]


def list_reviews(session: Session, clinic: Clinic) -> list[ReviewFigure]:
    """What became of the reviews of the last months' treatments, by treatment type and in the protocol's order."""
    today = _today(clinic)
    months = months_until(today, MONTHS)
    rows = stored.list_due_reviews(session, months[0], today)
    places = {(row.protocol_key, row.key): row.place for row in rows}
    counts = count_by_month(_due_reviews(session, clinic, rows, months[0]), months, today)
    protocols = _newest(clinic.library.shelf(session))
    figures = []
    for protocol_key, key in sorted(counts, key=lambda kind: (kind[0], places[kind], kind[1])):
        protocol = protocols.get(protocol_key)
        rule = next((rule for rule in protocol.reviews if rule.key == key), None) if protocol else None
        title = protocol.title if protocol else protocol_key
        figures.append(ReviewFigure(title, key, rule, months, publish(counts[protocol_key, key])))
    return sorted(figures, key=lambda figure: figure.title.casefold())  # stable: the reviews keep their order


def count_amount(session: Session, clinic: Clinic) -> Amount:
    """How much there is to read about the last months' treatments."""
    since, today = _since(clinic), _today(clinic)
    reviews = stored.count_due_reviews(session, since, today)
    return Amount(reviews, stored.count_reports(session, PAIN_KINDS, since))


def list_pain(clinic: Clinic, progress: Progress | None = None) -> list[PainFigure]:
    """Pain over time by treatment type. Opens every report: call it where nobody waits for a page when there are many.

    It reads in pieces, so what is recorded meanwhile may or may not be in it.
    """
    told = list(_told(clinic, progress or (lambda done, total: None)))
    with clinic.store.read() as session:
        protocols = _newest(clinic.library.shelf(session))
    titles = {key: protocols[key].title if key in protocols else key for key in {one.treatment_type for one in told}}
    figures = [PainFigure(titles[key], weeks) for key, weeks in pain_by_week(told).items()]
    return sorted(figures, key=lambda figure: figure.title.casefold())


def export_reviews(figures: Sequence[ReviewFigure]) -> bytes:
    """The tables of reviews as a CSV file: a row for each month, then one for all of them."""
    rows: list[list[object]] = []
    for figure in figures:
        named = [f"{month:%Y-%m}" for month in figure.months]
        for month, row in zip([*named, "all"], [*figure.counts.rows, figure.counts.whole], strict=True):
            rows.append([figure.title, figure.key, month, *cells(row)])
    return csv_bytes(REVIEW_COLUMNS, rows)


def export_pain(figures: Sequence[PainFigure]) -> bytes:
    """Pain over time as a CSV file: a row for each week in which enough patients told it."""
    return csv_bytes(
        PAIN_COLUMNS,
        [
            [figure.title, week.week, week.at_least, week.lower, week.median, week.upper]
            for figure in figures
            for week in figure.weeks
        ],
    )


def cells(row: Row) -> list[int | str]:
    """A row as it reads: how many came due, then each of what became of them."""
    return [words_of(span) for span in (row.total, *row.parts)]


def words_of(span: Span) -> int | str:
    """A count as it may be shown: `12`, `under 5`, `10 to 22`; a wide span by its lower end: `10 or more`."""
    if span.exact is not None:
        return span.exact
    if span.is_small:
        return "under 5"
    if span.high - span.low <= _WIDEST:
        return f"{span.low} to {span.high}" if span.low else f"up to {span.high}"
    return f"{span.low} or more" if span.low else "not shown"


def _due_reviews(
    session: Session, clinic: Clinic, rows: Sequence[stored.ReviewOfTreatment], since: date
) -> Iterator[DueReview]:
    held: dict[tuple[UUID, str | None], date] = {}
    stopped: set[UUID] = set()
    ended: dict[UUID, date] = {}
    for fact in stored.list_plan_facts(session, since):
        day = _day(fact.occurred_local)
        if fact.kind is EventKind.REVIEW_COMPLETED:
            held[fact.plan_id, fact.review] = min(day, held.get((fact.plan_id, fact.review), day))
        else:
            ended[fact.plan_id] = min(day, ended.get(fact.plan_id, day))
            stopped |= {fact.plan_id} if fact.kind is EventKind.STOP else set()
    zone = clinic.settings.clinic_time_zone
    deaths = {patient: to_wall(at, zone).date() for patient, at in stored.list_deaths(session).items()}
    for row in rows:
        ends = [day for day in (ended.get(row.plan_id), deaths.get(row.patient_id)) if day is not None]
        yield DueReview(
            treatment_type=row.protocol_key,
            key=row.key,
            treated_on=_day(row.treated_local),
            due_on=row.due_on,
            tolerance=row.latest_on - row.due_on,
            held_on=held.get((row.plan_id, row.key)),
            booked=row.status is ReviewStatus.BOOKED,
            replaced=row.plan_status is CarePlanStatus.REVOKED and row.plan_id not in stopped,
            history=row.due_on <= to_wall(row.entered_at - HISTORY, zone).date(),
            ended_on=min(ends, default=None),
        )


def _told(clinic: Clinic, progress: Progress) -> Iterator[PainTold]:
    since = _since(clinic)
    with clinic.store.read() as session:
        total = stored.count_reports(session, PAIN_KINDS, since)
    after: UUID | None = None
    done = 0
    while True:
        with clinic.store.read() as session:
            reports = stored.list_reports(session, PAIN_KINDS, since, after, OPENED_AT_ONCE)
            for report in reports:
                score = _pain(report.event.fields)
                if score is not None:
                    told_on = _day(report.event.occurred_local)
                    treated_on = _day(report.treated_local)
                    yield PainTold(report.protocol_key, report.event.patient_id, treated_on, told_on, score)
        done += len(reports)
        progress(min(done, total), total)
        if len(reports) < OPENED_AT_ONCE:
            return
        after = reports[-1].event.id


def _pain(fields: Mapping[str, str]) -> int | None:
    """The worst pain of one report, over all situations that were asked about."""
    scores = [
        int(text)
        for name, text in fields.items()
        if name.startswith(PAIN_FIELD) and text.isascii() and text.isdigit() and int(text) <= WORST
    ]
    return max(scores, default=None)


def _newest(shelf: Shelf) -> dict[str, Protocol]:
    versions = sorted((shelved.protocol for shelved in shelf.protocols.values()), key=lambda one: one.version)
    return {protocol.key: protocol for protocol in versions}


def _since(clinic: Clinic) -> date:
    return months_until(_today(clinic), MONTHS)[0]


def _today(clinic: Clinic) -> date:
    return to_wall(clinic.clock.now(), clinic.settings.clinic_time_zone).date()


def _day(wall: str) -> date:
    return datetime.fromisoformat(wall).date()
