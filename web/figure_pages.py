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
from web.line_parts import review_name
from web.long_work import Progress, start
from web.pages import clinic_of, download, page
from web.seen import note_view

# What one page reads, each in less than a second; more is read beside it, when somebody asks.
COUNTED_IN_A_PAGE: Final = 20_000  # reviews
OPENED_IN_A_PAGE: Final = 2_000  # sealed reports
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
    """The figures as they were last worked out beside a page, and when; kept in memory."""

    at: datetime
    reviews: Sequence[ReviewFigure]
    pain: Sequence[PainFigure]


@dataclass(frozen=True, slots=True)
class Found:
    """The figures of one page, None for those that were never worked out. `too_much`: what no page reads by itself."""

    reviews: Sequence[ReviewFigure] | None
    pain: Sequence[PainFigure] | None
    too_much: Sequence[str]
    kept: WorkedOut | None


@dataclass(frozen=True, slots=True)
class Line:
    """A month, or several of which nothing is shown: `cells` is then empty."""

    words: str
    cells: Sequence[int | str]


def figures_page(request: Request) -> Response:
    """All figures of the last months' treatments."""
    found = _find(request)
    reviews, pain = found.reviews or (), found.pain or ()
    note_view(request, "figures.viewed")
    titles = sorted({one.title for one in reviews} | {one.title for one in pain}, key=str.casefold)
    return page(
        request,
        "figures/figures.html",
        types=[(title, _reviews(title, reviews), _weeks(title, pain)) for title in titles],
        months=figures.MONTHS,
        too_much=found.too_much,
        kept_at=found.kept.at if found.kept else None,
        files=[name for name, there in (("reviews", found.reviews), ("pain", found.pain)) if there is not None],
    )


def work_out(request: Request) -> Response:
    """Read everything beside the page; what comes of it then stands there."""
    EmptyForm.read(request)
    clinic, state = clinic_of(request), request.app.state
    note_view(request, "figures.worked_out")

    def run(progress: Progress) -> str:
        at = clinic.clock.now()
        with clinic.store.show() as session:
            reviews = figures.list_reviews(session, clinic)
        state.figures = WorkedOut(at, reviews, figures.list_pain(clinic, progress))
        return "/figures"

    return start(request, "Working out the figures", run, "/figures")


def export(request: Request) -> Response:
    """One of the tables as a CSV file, which holds what the page shows."""
    form, clinic = ExportForm.read(request), clinic_of(request)
    if form.what not in ("reviews", "pain"):
        raise Refused("there is no such table")
    found = _find(request)
    if (found.reviews if form.what == "reviews" else found.pain) is None:
        raise Refused("this was not worked out since the service started: do that first, on the page")
    content = (
        figures.export_reviews(found.reviews or ()) if form.what == "reviews" else figures.export_pain(found.pain or ())
    )
    note_view(request, "figures.exported", fields=[form.what])
    today = to_wall(clinic.clock.now(), clinic.settings.clinic_time_zone)
    return download(content, "text/csv; charset=utf-8", f"{form.what}-{today:%Y-%m-%d}.csv")


def _find(request: Request) -> Found:
    """The figures: read now, or as they were last worked out where that is too much for a page."""
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        amount = figures.count_amount(session, clinic)
        few = amount.reviews <= COUNTED_IN_A_PAGE
        reviews: Sequence[ReviewFigure] | None = figures.list_reviews(session, clinic) if few else None
    pain: Sequence[PainFigure] | None = None
    if amount.reports <= OPENED_IN_A_PAGE:
        pain = figures.list_pain(clinic)
    too_much = [] if few else [f"{amount.reviews:,} reviews have to be counted"]
    too_much += [f"{amount.reports:,} sealed reports of pain have to be opened"] if pain is None else []
    kept: WorkedOut | None = getattr(request.app.state, "figures", None) if too_much else None
    if kept is not None:
        reviews = kept.reviews if reviews is None else reviews
        pain = kept.pain if pain is None else pain
    return Found(reviews, pain, too_much, kept)


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
