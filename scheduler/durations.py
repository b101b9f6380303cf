"""ISO 8601 durations as protocols write them, to and from `Span`.

What a duration means for one patient is in `scheduler.planning.wanted`; which key allows which in `protocol_steps`.
"""

import re
from datetime import timedelta
from typing import Final

from scheduler.planning.protocol import Span

MAX_DAYS: Final = 3650  # ten years: longer than any follow-up, and far from the ends of the calendar

_DAYS = re.compile(r"(-?)P(?:(\d{1,5})D|(\d{1,5})W)", re.ASCII)
_ELAPSED = re.compile(r"(-?)PT(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?", re.ASCII)

_EXPECTED = "expected whole days like P14D, -P3D or P2W, or elapsed time like PT36H, PT90M or PT20S"


def parse_span(text: str) -> Span:
    """Read `P14D`, `-P3D`, `P2W` (calendar days) or `PT36H`, `PT1H30M`, `PT20S` (elapsed time).

    Raises `ValueError` whose message says what is expected. Months and years have no fixed length, a mix of days and
    time has two readings on a clock-change day, and ISO 8601 allows a fraction nowhere a clinic needs one: all refused.
    """
    if match := _DAYS.fullmatch(text):
        sign, days, weeks = match.groups()
        count = int(days) if days is not None else 7 * int(weeks)
        return _limited(Span(days=-count if sign else count))
    if match := _ELAPSED.fullmatch(text):
        sign, hours, minutes, seconds = (part or "0" if place else part for place, part in enumerate(match.groups()))
        elapsed = timedelta(seconds=int(hours) * 3600 + int(minutes) * 60 + int(seconds))
        return _limited(Span(elapsed=-elapsed if sign else elapsed))
    raise ValueError(_what_is_wrong(text))


def is_elapsed_text(text: str) -> bool:
    """Whether a valid duration counts elapsed time; decides for `PT0S`, whose value alone is the same as `P0D`."""
    return "T" in text


def format_span(span: Span) -> str:
    """The shortest usual writing of a span: `P14D`, `-P3D`, `PT36H`, `PT1H30M`; nothing at all is `P0D`."""
    if not span.is_elapsed:
        return f"-P{-span.days}D" if span.days < 0 else f"P{span.days}D"
    seconds = abs(span.elapsed) // timedelta(seconds=1)
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    parts = [(hours, "H"), (minutes, "M"), (seconds % 60, "S")]
    written = "".join(f"{count}{unit}" for count, unit in parts if count)
    return f"{'-' if span.elapsed < timedelta(0) else ''}PT{written}"


def _limited(span: Span) -> Span:
    if abs(span.days) > MAX_DAYS or abs(span.elapsed) > timedelta(days=MAX_DAYS):
        raise ValueError(f"longer than ten years; expected at most P{MAX_DAYS}D")
    return span


def _what_is_wrong(text: str) -> str:
    date_part, _, time_part = text.partition("T")
    if "Y" in date_part:
        return "years are ambiguous; write days, like P365D"
    if "M" in date_part:
        return "months are ambiguous; write days, like P30D"
    if "." in text or "," in text:
        return "fractions are not allowed; write a smaller unit, like PT90M"
    if time_part and re.search(r"\d[DW]", date_part):
        return "days and elapsed time cannot be mixed; write P2D or PT36H"
    if "W" in date_part and "D" in date_part:
        return "weeks and days cannot be mixed; write days, like P9D"
    return _EXPECTED
