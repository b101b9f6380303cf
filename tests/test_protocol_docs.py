"""`docs/protocols.md` names every key and word of a protocol file, and shows the shipped protocols as they are.

How the files are read is in `test_protocols`.
"""

import re
from enum import StrEnum
from pathlib import Path

import pytest

from db.states import Audience, OnUnknown, Past, Phase, StepKind
from scheduler.durations import format_span
from scheduler.planning.protocol import Anchor, FieldType, OnNewTreatment, StopOn, When
from scheduler.protocol_steps import STEP_KEYS, Mode
from scheduler.protocols import (
    CHECK_IN_KEYS,
    EXERCISE_KEYS,
    FIELD_KEYS,
    REVIEW_KEYS,
    TEXT_KEYS,
    TOP_KEYS,
    ProtocolInvalid,
    Status,
    list_protocol_files,
    read_protocol,
)

LISTS = ("field", "text", "review", "exercise", "check_in", "step")
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
FILES = list_protocol_files([ROOT / "templates" / "protocols"])


def section(heading: str) -> str:
    """The text from a heading to the next of the same depth."""
    depth = heading.split(" ")[0]
    return re.split(rf"^{depth} ", PAGE.split(f"{heading}", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize(
    ("heading", "keys"),
    [
        ("## The file's own keys", [key for key in TOP_KEYS if key not in LISTS]),
        ("## `[[field]]`", FIELD_KEYS),
        ("## `[[text]]`", TEXT_KEYS),
        ("## `[[review]]`", REVIEW_KEYS),
        ("## `[[exercise]]`", EXERCISE_KEYS),
        ("## `[check_in]`", CHECK_IN_KEYS),
        ("## `[[step]]`", STEP_KEYS),
    ],
)
def test_the_first_table_of_each_section_lists_exactly_the_keys(heading: str, keys: list[str]) -> None:
    table = section(heading).split("| --- | --- | --- |", 1)[1].split("\n\n", 1)[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(keys)


@pytest.mark.parametrize(
    "words",
    [Status, OnNewTreatment, FieldType, StepKind, Anchor, Phase, When, Past, OnUnknown, Mode, StopOn, Audience],
)
def test_every_word_is_explained(words: type[StrEnum]) -> None:
    for word in words:
        assert f"`{word.value}`" in PAGE or f'["{word.value}"]' in PAGE, word


@pytest.mark.parametrize("words", [StepKind, Anchor, When, StopOn])
def test_the_table_of_an_enum_lists_exactly_its_words(words: type[StrEnum]) -> None:
    name = {StepKind: "kind", Anchor: "anchor", When: "when", StopOn: "stop_on"}[words]
    table = PAGE.split(f"\n\n| `{name}` | ", 1)[1]
    rows = re.findall(r"^\| `(\w+)` \|", table.split("\n\n", 1)[0], re.MULTILINE)
    assert sorted(rows) == sorted(word.value for word in words)


@pytest.mark.parametrize("key", FILES)
def test_the_table_of_a_shipped_protocol_shows_its_steps(key: str) -> None:
    protocol = read_protocol(FILES[key].read_text(encoding="utf-8"), f"{key}.toml")
    cells = r"^\| `([\w-]+)`" + r" \| ([^|]+)" * 4 + r" \|"
    rows = re.findall(cells, section(f"### `{key}`"), re.MULTILINE)
    expected = []
    for step in protocol.steps:
        anchor = f"{step.anchor} ({step.review})" if step.review else step.anchor.value
        offset = format_span(step.offset)
        if step.repeat:
            offset += f", then every {format_span(step.repeat.every)}, {step.repeat.count} in all"
        expected.append((step.key, anchor, offset, f"{step.at:%H:%M}", format_span(step.expires_after)))
    assert rows == expected


@pytest.mark.parametrize("key", FILES)
def test_the_reviews_of_a_shipped_protocol_are_named_with_their_times(key: str) -> None:
    told = " ".join(section(f"### `{key}`").split())
    for review in read_protocol(FILES[key].read_text(encoding="utf-8"), f"{key}.toml").reviews:
        assert f"{review.key} ({format_span(review.after)} ± {format_span(review.tolerance)})" in told


def test_the_example_is_a_good_file_and_the_finding_shown_is_what_a_slip_in_it_gives() -> None:
    example = PAGE.split("```toml\n", 1)[1].split("```", 1)[0]
    assert read_protocol(example, "check-up.toml", {"how_are_you", "urgent_general"}).steps[0].key == "hello"
    with pytest.raises(ProtocolInvalid) as caught:
        read_protocol(example.replace('offset = "P1D"', 'offset = "P1M"'), "check-up.toml")
    assert [f"`{problem}`" in PAGE for problem in caught.value.problems] == [True]
