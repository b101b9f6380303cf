"""Sample values for previews, the linter and the readability gate: an invented person at example.org.

Real values are put together where a message is sent.
"""

from collections.abc import Collection
from datetime import date, time
from typing import Final

from scheduler.dates import day_in_words, time_in_words, weekday_in_words
from scheduler.message_source import TEXT_PREFIX

# A Wednesday in September: the longest weekday and month together, so a subject is judged at its longest.
_VISIT: Final = date(2026, 9, 23)
_BEFORE: Final = date(2026, 9, 9)

_WORDS: Final = {
    "en": {
        "review.place": "12 Orchard Lane, first floor",
        "clinic.name": "Orchard Lane",
        "clinic.phone": "020 7946 0000",
        "clinic.hours": "Monday to Friday, 9:00 to 17:00",
        "urgent.number": "999",
        "staff.signature": "Anna from Orchard Lane",
        "dose": "3 times a week, 10 minutes each",
        "text": "Rest for the time on your sheet.",
    },
    "de": {
        "review.place": "Gartenweg 12, erster Stock",
        "clinic.name": "Gartenweg 12",
        "clinic.phone": "030 5550 0000",
        "clinic.hours": "Montag bis Freitag, 9:00 bis 17:00 Uhr",
        "urgent.number": "112",
        "staff.signature": "Anna vom Gartenweg 12",
        "dose": "3-mal in der Woche, je 10 Minuten",
        "text": "Ruhen Sie so lange, wie es auf Ihrem Blatt steht.",
    },
}


def sample_values(language: str, names: Collection[str] = ()) -> dict[str, str]:
    """A value for every name of a source, and for each `text.<key>` found in `names`; dates in that language."""
    words = dict(_WORDS.get(language.partition("-")[0], _WORDS["en"]))
    text, dose = words.pop("text"), words.pop("dose")
    return {
        "patient.preferred_name": "Asha",
        "treatment.date": day_in_words(_BEFORE, language),
        "review.date": day_in_words(_VISIT, language),
        "review.weekday": weekday_in_words(_VISIT, language),
        "review.time": time_in_words(time(14, 30), language),
        "step.number": "2",
        "step.total": "6",
        "week.number": "2",
        "exercise.dose": dose,
        "exercise.size": "Set A, size 2",
        "link.page": "https://letters.example.org/l/q7w2k9m4x1c8v5b3n6z0",
        "link.stop": "mailto:stop@example.org?subject=stop",
        **words,
        **{name: text for name in names if name.startswith(TEXT_PREFIX)},
    }
