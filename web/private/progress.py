"""Her own answers drawn over time, in her language. How a plot is made of numbers is in `web.plots`."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from scheduler import dates
from web.plots import PainPlot, plot_pain


def plot_progress(scores: Sequence[tuple[date, int, str]], language: str, told: str) -> PainPlot | None:
    """The plot of her pain (day, 0 to 10); None before there are two. `told` is its sentence, with `{scores}`."""
    ordered = sorted(scores, key=lambda score: score[0])
    plot = plot_pain(ordered)
    if plot is None or len(ordered) < 2:
        return None
    words = [f"{dates.day_in_words(day, language)}: {score}" for day, score, _ in ordered]
    return replace(
        plot,
        points=[replace(point, words=said) for point, said in zip(plot.points, words, strict=True)],
        ends=(dates.short_day(ordered[0][0], language), dates.short_day(ordered[-1][0], language)),
        words=told.format(scores="; ".join(words)),
    )
