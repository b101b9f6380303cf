"""The clinic's figures from a record of invented patients: what counts, what does not, what a page and a file show."""

import csv
import io
from datetime import date
from uuid import UUID

import pytest

from db.figures import list_reports
from db.states import EventKind, Role, StopReason
from scheduler import events, figures, reviews, treatments
from scheduler.figures import Amount, PainFigure, ReviewFigure
from scheduler.reviews import ReviewForm
from scheduler.small_counts import HIDDEN, Row, Span
from tests.clinic import STAFF, Desk
from tests.counted import MOST, counting
from tests.one_database import on_one
from tests.page_parts import seen, words
from tests.staffed import Staffed
from web import figure_pages

K = EventKind
MANY = 6


def treat(desk: Desk, number: int, at: str = "2026-11-02T09:30") -> tuple[UUID, UUID]:
    """Enter an invented patient with her treatment."""
    patient_id = desk.enter(record_number=f"F-{number}", email=f"f{number}@example.org")
    return patient_id, desk.treat(patient_id, at).treatment_id


def hold(desk: Desk, treatment_id: UUID, at: str, review: str = "two-week", **pains: str) -> None:
    """Write down that a review was held, with pain by situation."""
    form = ReviewForm(review, at, "progressing", {f"pain_{name}": score for name, score in pains.items()})
    reviews.complete(desk.clinic, STAFF, treatment_id, form)
    desk.tick()


def listed(desk: Desk) -> list[ReviewFigure]:
    """The reviews as they may be shown."""
    with desk.store.read() as session:
        return figures.list_reviews(session, desk.clinic)


def november(desk: Desk, review: str = "two-week") -> list[int | str]:
    """What is shown of the month in which the treatments were done; the other months hold nothing."""
    (figure,) = [figure for figure in listed(desk) if figure.key == review]
    shown: dict[str, Row] = {
        f"{month:%Y-%m}": row for month, row in zip(figure.months, figure.counts.rows, strict=True)
    }
    assert all(row.is_hidden for month, row in shown.items() if month != "2026-11")
    return figures.cells(shown["2026-11"])


def pain(desk: Desk) -> list[PainFigure]:
    """Pain over time."""
    return figures.list_pain(desk.clinic)


def test_a_review_is_due_then_lost_or_held_within_its_tolerance_or_outside(desk: Desk) -> None:
    entered = [treat(desk, number)[1] for number in range(MANY)]
    assert [figure.key for figure in listed(desk)] == ["two-week"]  # due on 16 November; the other is ahead
    assert november(desk) == ["6 to 18", "under 5", "under 5", 6, "under 5"]
    for treatment_id in entered[:5]:
        hold(desk, treatment_id, "2026-11-19T08:00", rest="2")
    assert november(desk) == ["5 to 17", 5, "under 5", "under 5", "under 5"]
    hold(desk, entered[5], "2026-11-20T08:00")  # the day after its tolerance
    assert november(desk) == ["5 to 17", 5, "under 5", "under 5", "under 5"]


@on_one
def test_who_is_lost_open_or_of_no_account(desk: Desk) -> None:
    people = [treat(desk, number) for number in range(13)]
    assert november(desk)[3] == 13  # treated on the 2nd, entered on the 23rd: their tolerance has passed
    desk.event(people[0][1], K.REVIEW_BOOKED, "2026-12-01T09:00", review="two-week")
    assert november(desk)[3] == 12  # a visit is booked
    treatments.cancel(desk.clinic, STAFF, people[1][1], "it did not take place")
    assert november(desk)[3] == 11
    desk.event(people[2][1], K.STOP, "2026-11-10T09:00")  # stopped before it was due
    assert november(desk)[3] == 10
    desk.event(people[3][1], K.STOP, "2026-11-21T09:00")  # stopped afterwards: it was lost all the same
    assert november(desk)[3] == 10
    desk.stop(people[4][0], StopReason.LEFT)  # who left is lost
    assert november(desk)[3] == 10
    held = desk.event(people[5][1], K.REVIEW_COMPLETED, "2026-11-16T09:00", review="two-week")
    assert november(desk)[3] == 9
    events.retract(desk.clinic, STAFF, held, "another patient")
    assert november(desk)[3] == 10
    desk.treat(people[6][0], "2026-11-12T09:30")  # a new treatment replaces the plan: nobody holds its review
    assert november(desk)[3] == 9


@on_one
def test_what_lay_far_back_when_it_was_entered_was_never_asked_for(desk: Desk) -> None:
    for number in range(MANY):
        treat(desk, number, "2026-08-20T09:30")  # due on 3 September and 1 October, entered on 23 November
    assert listed(desk) == []


@on_one
def test_a_death_before_a_review_is_no_loss_to_follow_up(desk: Desk) -> None:
    people = [treat(desk, number, "2026-11-20T09:30") for number in range(MANY)]
    desk.stop(people[0][0], StopReason.DECEASED)
    desk.tick(days=30)
    assert november(desk)[3] == 5
    desk.stop(people[1][0], StopReason.DECEASED)  # long after it was due
    assert november(desk)[3] == 5


@on_one
def test_treatments_of_more_than_two_years_ago_are_left_out(desk: Desk) -> None:
    for number in range(MANY):
        _, treatment_id = treat(desk, number)
        hold(desk, treatment_id, "2026-11-16T08:00", rest="3")
    desk.tick(days=23 * 30)
    assert november(desk)[1] == MANY
    assert pain(desk) != []
    desk.tick(days=60)
    assert (listed(desk), pain(desk)) == ([], [])


SPANS = [
    (Span(12, 12), 12),
    (HIDDEN, "under 5"),
    (Span(10, 22), "10 to 22"),
    (Span(0, 16), "up to 16"),
    (Span(10, 90), "10 or more"),
    (Span(0, 96), "not shown"),
]


@pytest.mark.parametrize(("span", "told"), SPANS)
def test_a_count_is_told_as_far_as_it_may_be_known(span: Span, told: int | str) -> None:
    assert figures.words_of(span) == told


# Pain


def test_pain_is_the_worst_of_a_report_by_the_nearest_week(desk: Desk) -> None:
    for number in range(5):
        _, treatment_id = treat(desk, number)
        hold(desk, treatment_id, f"2026-11-{14 + number}T08:00", rest="1", on_touch=str(number + 3))
        assert pain(desk) == [] or number == 4  # fewer than five patients
    (figure,) = pain(desk)
    assert figure.title == "A course"
    (week,) = figure.weeks
    assert (week.week, week.patients, week.lower, week.median, week.upper) == (2, 5, 4, 5, 6)


@on_one
def test_reports_taken_back_and_of_cancelled_treatments_are_not_opened(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "OPENED_AT_ONCE", 2)  # several pieces
    people = [treat(desk, number) for number in range(7)]
    for _, treatment_id in people:
        hold(desk, treatment_id, "2026-11-16T08:00", on_touch="4")
    told: list[tuple[int, int]] = []
    (figure,) = figures.list_pain(desk.clinic, lambda done, total: told.append((done, total)))
    assert (figure.weeks[0].patients, told) == (7, [(2, 7), (4, 7), (6, 7), (7, 7)])
    treatments.cancel(desk.clinic, STAFF, people[0][1], "it did not take place")
    with desk.store.read() as session:
        (event_id,) = [
            report.event.id
            for report in list_reports(session, figures.PAIN_KINDS, date(2026, 11, 1), None, 9)
            if report.event.patient_id == people[1][0]
        ]
    events.retract(desk.clinic, STAFF, event_id, "another patient")
    assert pain(desk)[0].weeks[0].patients == 5
    with desk.store.read() as session:
        assert figures.count_amount(session, desk.clinic) == Amount(reviews=6, reports=5)


# The page


async def test_an_empty_clinic_has_no_figures_yet(sqlite_desk: Desk) -> None:
    dana = Staffed(sqlite_desk.clinic).at_work("dana", Role.CLINICIAN)
    shown = await seen(dana, "/figures")
    assert "No review has come due" in shown
    assert "<svg" not in (await dana.get("/figures")).text


async def test_the_page_shows_what_may_be_shown_and_notes_that_it_did(sqlite_desk: Desk) -> None:
    manager = Staffed(sqlite_desk.clinic).at_work("mona", Role.MANAGER)
    for number in range(MANY):
        _, treatment_id = treat(sqlite_desk, number)
        hold(sqlite_desk, treatment_id, "2026-11-16T08:00", on_touch=str(number))
    treat(sqlite_desk, MANY)  # lost
    answer = await manager.get("/figures")
    shown = words(answer)
    assert "A course" in shown
    assert "Nov 2026 6 to 18 6 under 5 under 5 under 5" in shown
    assert "week 2 5 or more 2.5 1.25 to 3.75" in shown
    assert answer.text.count("<svg") == 2
    assert sqlite_desk.audit("figures.viewed")[-1]["actor"] == "staff:mona"
    assert not sqlite_desk.audit("patient.viewed")


async def test_the_files_hold_the_same_and_no_cell_is_run(sqlite_desk: Desk) -> None:
    dana = Staffed(sqlite_desk.clinic).at_work("dana", Role.CLINICIAN)
    for number in range(MANY):
        _, treatment_id = treat(sqlite_desk, number)
        hold(sqlite_desk, treatment_id, "2026-11-16T08:00", on_touch=str(number))
    text = (sqlite_desk.folder / "protocols" / "course.toml").read_text(encoding="utf-8")
    sqlite_desk.write_protocol(text.replace('"A course"', '"=A course"').replace("version = 1", "version = 2"))
    sqlite_desk.approve_unseen()
    answer = await dana.post("/figures/export", {"what": "reviews"})
    assert answer.headers["content-disposition"] == 'attachment; filename="reviews-2026-11-23.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert len(rows) == figures.MONTHS + 1
    assert list(rows[-2].values()) == ["'=A course", "two-week", "2026-11", "6 to 18", "6", *["under 5"] * 3]
    assert rows[-1]["month_of_treatment"] == "all"
    answer = await dana.post("/figures/export", {"what": "pain"})
    (row,) = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert list(row.values()) == ["'=A course", "2", "5", "1.25", "2.5", "3.75"]
    noted = [event["fields"] for event in sqlite_desk.audit("figures.exported")]
    assert noted == [["reviews"], ["pain"]]
    assert (await dana.post("/figures/export", {"what": "names"})).status_code == 409


async def test_many_reports_are_opened_beside_the_page(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_pages, "OPENED_IN_A_PAGE", MANY - 1)
    dana = Staffed(sqlite_desk.clinic).at_work("dana", Role.CLINICIAN)
    for number in range(MANY):
        _, treatment_id = treat(sqlite_desk, number)
        hold(sqlite_desk, treatment_id, "2026-11-16T08:00", on_touch="4")
    shown = await seen(dana, "/figures")
    assert "Not everything is worked out yet: 6 sealed reports of pain have to be opened." in shown
    assert "Two-week review" in shown
    assert (await dana.post("/figures/export", {"what": "pain"})).status_code == 409
    answer = await dana.post("/figures/work-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/figures")
    sqlite_desk.tick(hours=1)
    shown = await seen(dana, "/figures")
    assert "As of today 09:00" in shown
    assert "week 2 5 or more 4 4 to 4" in shown
    assert b"2,5,4.0,4.0,4.0" in (await dana.post("/figures/export", {"what": "pain"})).content
    assert len(sqlite_desk.audit("figures.worked_out")) == 1


async def test_many_reviews_are_counted_beside_the_page(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_pages, "COUNTED_IN_A_PAGE", MANY - 1)
    dana = Staffed(sqlite_desk.clinic).at_work("dana", Role.CLINICIAN)
    for number in range(MANY):
        treat(sqlite_desk, number)
    shown = await seen(dana, "/figures")
    assert "6 reviews have to be counted" in shown
    assert "No review has come due" not in shown
    assert (await dana.post("/figures/export", {"what": "reviews"})).status_code == 409
    await dana.post("/figures/work-out")
    assert "Nov 2026 6 to 18 under 5 under 5 6 under 5" in await seen(dana, "/figures")


async def test_the_page_asks_no_more_of_the_database_for_more_patients(sqlite_desk: Desk) -> None:
    dana = Staffed(sqlite_desk.clinic).at_work("dana", Role.CLINICIAN)
    found = []
    for patients in (2, 10):
        for number in range(patients):
            _, treatment_id = treat(sqlite_desk, 100 * patients + number)
            hold(sqlite_desk, treatment_id, "2026-11-16T08:00", on_touch="4")
        await dana.get("/figures")
        with counting(sqlite_desk.store) as sent:
            await dana.get("/figures")
        found.append(len(sent))
    assert found[0] == found[1] <= MOST
