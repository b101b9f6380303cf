"""Figures over many patients: what became of reviews by month, and pain over time; drawn, as tables and as files.

What may be shown is decided in `scheduler.figures` and below it; this page never sees a small count.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any, Final

from fastapi import Request
from fastapi.responses import Response

from scheduler import figures
from scheduler.errors import Refused
from scheduler.figures import PainFigure, ReviewFigure
from scheduler.follow_up_counts import Became
from scheduler.local_time import to_wall
from scheduler.protocol_words import review_words
from scheduler.small_counts import Row
from web.figure_plots import plot_counts, plot_spread
from web.forms import EmptyForm, FormModel
from web.long_work import Progress, start
from web.pages import clinic_of, download, page
from web.seen import note_view
from web.today_lines import review_name

# Sealed reports that one page opens, in about half a second; more are opened beside it, when somebody asks.
OPENED_IN_A_PAGE: Final = 2_000
NAMES: Final[Mapping[Became, str]] = {
    Became.WITHIN: "held within",
    Became.OUTSIDE: "held outside",
    Became.LOST: "lost",
    Became.OPEN: "still open",
}


class ExportForm(FormModel):
    """Which table: `reviews` or `pain`."""

    what: str = "reviews"


@dataclass(frozen=True, slots=True)
class WorkedOut:
    """Pain as it was last worked out beside a page, and when; kept in memory."""

    at: datetime
    pain: Sequence[PainFigure]


@dataclass(frozen=True, slots=True)
class Line:
    """A month, or several of which nothing is shown: `cells` is then empty."""

    words: str
    cells: Sequence[int | str]


def figures_page(request: Request) -> Response:
    """All figures of the last months' treatments."""
    clinic = clinic_of(request)
    with clinic.store.read() as session:
        reviews = figures.list_reviews(session, clinic)
        reports = figures.count_reports(session, clinic)
    pain, at = _pain(request, reports)
    note_view(request, "figures.viewed")
    found = {figure.title for figure in reviews} | {figure.title for figure in pain or ()}
    return page(
        request,
        "figures/figures.html",
        types=[
            (title, _reviews(title, reviews), _weeks(title, pain or [])) for title in sorted(found, key=str.casefold)
        ],
        months=figures.MONTHS,
        to_open=reports if pain is None or at is not None else None,
        worked_out_at=at,
        missing=pain is None,
    )


def work_out_pain(request: Request) -> Response:
    """Open all reports beside the page; what comes of it then stands there."""
    EmptyForm.read(request)
    clinic, state = clinic_of(request), request.app.state
    note_view(request, "figures.worked_out")

    def run(progress: Progress) -> str:
        at = clinic.clock.now()
        state.pain_worked_out = WorkedOut(at, figures.list_pain(clinic, progress))
        return "/figures"

    return start(request, "Opening the reports of pain", run, "/figures")


def export(request: Request) -> Response:
    """One of the tables as a CSV file, which holds what the page shows."""
    form, clinic = ExportForm.read(request), clinic_of(request)
    with clinic.store.read() as session:
        if form.what == "reviews":
            content = figures.export_reviews(figures.list_reviews(session, clinic))
        elif form.what == "pain":
            pain, _ = _pain(request, figures.count_reports(session, clinic))
            if pain is None:
                raise Refused("pain has not been worked out since the service started: do that first, on the page")
            content = figures.export_pain(pain)
        else:
            raise Refused("there is no such table")
    note_view(request, "figures.exported", fields=[form.what])
    today = to_wall(clinic.clock.now(), clinic.settings.clinic_time_zone)
    return download(content, "text/csv; charset=utf-8", f"{form.what}-{today:%Y-%m-%d}.csv")


def _pain(request: Request, reports: int) -> tuple[Sequence[PainFigure] | None, datetime | None]:
    """Pain, worked out now or, when that is too much for a page, earlier (then when); None when it never was."""
    if reports <= OPENED_IN_A_PAGE:
        return figures.list_pain(clinic_of(request)), None
    kept: WorkedOut | None = getattr(request.app.state, "pain_worked_out", None)
    return (kept.pain, kept.at) if kept else (None, None)


def _reviews(title: str, reviews: Sequence[ReviewFigure]) -> list[dict[str, Any]]:
    return [
        {
            "key": figure.key,
            "name": f"{review_name(figure.key)} review",
            "rule": review_words(figure.rule).partition(": ")[2] if figure.rule else "",
            "plot": plot_counts(figure.months, figure.counts, dict(NAMES)),
            "lines": list(_lines(figure.months, figure.counts.rows)),
            "whole": figures.cells(figure.counts.whole),
        }
        for figure in reviews
        if figure.title == title
    ]


def _weeks(title: str, pain: Sequence[PainFigure]) -> list[dict[str, Any]]:
    return [{"plot": plot_spread(figure.weeks), "weeks": figure.weeks} for figure in pain if figure.title == title]


def _lines(months: Sequence[date], rows: Sequence[Row]) -> Iterator[Line]:
    """The last month first; months of which nothing is shown, one after the other, as one line."""
    newest = list(zip(months, rows, strict=True))[::-1]
    for hidden, some in groupby(newest, key=lambda pair: pair[1].is_hidden):
        found = list(some)
        if hidden:
            first, last = _month(found[-1][0]), _month(found[0][0])
            yield Line(first if first == last else f"{first} to {last}", ())
        else:
            yield from (Line(_month(month), figures.cells(row)) for month, row in found)


def _month(month: date) -> str:
    return f"{month:%b %Y}"
