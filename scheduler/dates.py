"""Dates, weekdays and times in the patient's language.

Which zone they are in is decided by the caller (a visit is told in the clinic's); computing instants is in
`scheduler.local_time`.
"""

from datetime import date, time
from functools import lru_cache
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton, format_time, get_timezone_location

# A bare "en" would be American to Babel: month before day, and a 12-hour clock.
_MEANT: Final = {"en": "en_GB"}
_TIME_AND_PLACE: Final = {"en": "{time} ({city} time)", "de": "{time} (Ortszeit {city})"}
_TIME_ALONE: Final = {"de": "{time} Uhr"}


@lru_cache(maxsize=256)
def locale_of(language: str) -> Locale:
    """The locale of a language tag such as `de` or `pt-BR`. Raises `ValueError` for one that is not known."""
    wanted = _MEANT.get(language, language)
    for name in (wanted, wanted.replace("_", "-").partition("-")[0]):
        try:
            return Locale.parse(name.replace("-", "_"))
        except (UnknownLocaleError, ValueError):
            continue
    raise ValueError(f"{language!r} is not a known language: expected a tag like en, de or pt-BR")


@lru_cache(maxsize=2048)
def day_in_words(day: date, language: str) -> str:
    """Day and month without weekday and year: `8 December`, `8. Dezember`."""
    return format_skeleton("MMMMd", day, locale=locale_of(language))


@lru_cache(maxsize=2048)
def whole_day_in_words(day: date, language: str) -> str:
    """The day with its weekday: `Tuesday 8 December`, `Dienstag, 8. Dezember`."""
    apart = " " if locale_of(language).language == "en" else ", "
    return f"{weekday_in_words(day, language)}{apart}{day_in_words(day, language)}"


@lru_cache(maxsize=2048)
def short_day(day: date, language: str) -> str:
    """The day where there is little room: `8 Dec`, `8. Dez.`."""
    return format_skeleton("MMMd", day, locale=locale_of(language))


@lru_cache(maxsize=2048)
def weekday_in_words(day: date, language: str) -> str:
    """The weekday's full name: `Tuesday`."""
    return format_date(day, "EEEE", locale=locale_of(language))


@lru_cache(maxsize=2048)
def time_in_words(at: time, language: str, told_zone: str | None = None) -> str:
    """The wall time: `14:30`. `told_zone` names the zone it is in, for a reader elsewhere: `14:30 (London time)`."""
    locale = locale_of(language)
    words = _TIME_ALONE.get(locale.language, "{time}").format(time=format_time(at, "short", locale=locale))
    if told_zone is None:
        return words
    city = get_timezone_location(told_zone, locale=locale, return_city=True)
    return _TIME_AND_PLACE.get(locale.language, "{time} ({city})").format(time=words, city=city)


@lru_cache(maxsize=64)
def language_name(language: str) -> str:
    """A language's own name for itself: `English`, `Deutsch`."""
    name = Locale.parse(language.replace("-", "_")).get_language_name() or language
    return name[:1].upper() + name[1:]


@lru_cache(maxsize=64)
def english_name(language: str) -> str:
    """What a language is called on staff's pages: `German`; its code where it has no name."""
    try:
        return Locale.parse(language.replace("-", "_")).get_language_name("en") or language
    except (UnknownLocaleError, ValueError):
        return language


@lru_cache(maxsize=64)
def calendar_words(language: str) -> frozenset[str]:
    """The names of months and weekdays, case-folded: a person may be called May or April."""
    locale = locale_of(language)
    return frozenset(
        name.casefold().rstrip(".")
        for names in (locale.months, locale.days)
        for widths in names.values()
        for name in (*widths["wide"].values(), *widths["abbreviated"].values())
    )
