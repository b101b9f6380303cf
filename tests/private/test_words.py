"""The words of the patients' pages: the same in every language, easy to read, kind, discreet where anyone may look."""

import re
from string import Formatter

import pytest

from scheduler.readability import GRADE_PASSES, GRADE_WARNS, LONGEST_SENTENCE, measure
from scheduler.settings import SHIPPED
from scheduler.word_lists import load_word_list
from web.private.app import ROUTES
from web.private.words import languages, words_in

# What is shown to whoever has the link, or to anybody.
WITHOUT_CODE = re.compile(
    r"page_title|leave|(?:gone|slow|problem|away|code|no_code|confirm|confirmed|disowned|one_click|call|urgent)(?:_\w+)?"
    r"|clinic_line|emergency|page_back|stop_why"
)
TITLE_OR_BUTTON = re.compile(r"page_title|leave|done|not_yet|send|back|save|pause|\w+_(?:title|link|ask|yes|no|open)")


@pytest.mark.parametrize("language", languages())
def test_every_language_has_the_same_words_with_the_same_gaps(language: str) -> None:
    assert list(words_in(language)) == list(words_in("en"))
    assert {key: gaps(text) for key, text in words_in(language).items()} == {
        key: gaps(text) for key, text in words_in("en").items()
    }


def test_the_words_are_easy_to_read() -> None:
    sentences = {key: filled(text) for key, text in words_in("en").items() if len(text.split()) > 4}
    found = measure("\n\n".join(sentences.values()), "en")
    assert found.grade is not None
    assert found.grade <= GRADE_PASSES
    hard = {key: grade for key, text in sentences.items() if (grade := measure(text, "en").grade or 0) > GRADE_WARNS}
    assert hard == {}


@pytest.mark.parametrize("language", languages())
def test_no_sentence_is_long_and_none_commands_or_blames(language: str) -> None:
    tone = load_word_list(language, [SHIPPED])
    for key, text in words_in(language).items():
        assert measure(filled(text), language).longest <= LONGEST_SENTENCE, key
        assert tone.tone.find(tone.compared(text)) == [], key


@pytest.mark.parametrize("language", languages())
def test_what_anybody_may_see_gives_nothing_away(language: str) -> None:
    listed = load_word_list(language, [SHIPPED])
    for key, text in words_in(language).items():
        if WITHOUT_CODE.fullmatch(key) or TITLE_OR_BUTTON.fullmatch(key):
            assert listed.outside.find(listed.compared(text)) == [], key


def test_no_path_gives_anything_away() -> None:
    for language in languages():
        listed = load_word_list(language, [SHIPPED])
        for route in ROUTES:
            assert listed.outside.find_inside(listed.compared(route.path)) == [], route.path


def gaps(text: str) -> set[str]:
    """What is filled in."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def filled(text: str) -> str:
    """As it is read: a short word in each gap."""
    return re.sub(r"\{\w+\}", "7", text)
