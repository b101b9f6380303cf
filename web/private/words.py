"""The words of the patients' pages, by language: one file each under `templates/web/private/`."""

import tomllib
from collections.abc import Mapping
from functools import cache
from typing import Final

from web.assets import FOLDER

DEFAULT: Final = "en"
_WORDS: Final = FOLDER / "private"


@cache
def languages() -> tuple[str, ...]:
    """The languages there are words in."""
    return tuple(sorted(path.stem for path in _WORDS.glob("*.toml")))


@cache
def words_in(language: str) -> Mapping[str, str]:
    """All words in that language (`de-at`, then `de`), else in English."""
    for tongue in (language, language.partition("-")[0], DEFAULT):
        if tongue in languages():
            found: Mapping[str, str] = tomllib.loads((_WORDS / f"{tongue}.toml").read_text(encoding="utf-8"))
            return found
    raise LookupError("there are no words for patients' pages")


def tongue_of(language: str) -> str:
    """The language the words are in."""
    return next((tongue for tongue in (language, language.partition("-")[0]) if tongue in languages()), DEFAULT)
