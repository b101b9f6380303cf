"""A protocol in words, and the differences between two versions: every property makes one, nothing else makes any."""

from dataclasses import fields, replace
from datetime import time, timedelta
from typing import Any

import pytest

from db.states import Audience, OnUnknown, Past, Phase, StepKind
from scheduler.planning.protocol import (
    Anchor,
    CheckIn,
    FieldType,
    OnNewTreatment,
    Protocol,
    Repeat,
    Span,
    Step,
    StopOn,
    When,
)
from scheduler.protocol_differences import differences
from scheduler.protocol_words import steps_in_order
from scheduler.protocols import read_protocol
from scheduler.settings import SHIPPED

PROTOCOLS = {
    path.name: read_protocol(path.read_text(encoding="utf-8"), path.name)
    for path in sorted((SHIPPED / "protocols").glob("*.toml"))
}
TOXIN = PROTOCOLS["vaginismus-toxin.toml"]

OTHER: dict[str, Any] = {
    "kind": StepKind.ADMINISTRATIVE,
    "template": "another",
    "anchor": Anchor.HEALING_CLEARED,
    "offset": Span(days=6),
    "at": time(9),
    "expires_after": Span(days=9),
    "review": "six-week",
    "phase": Phase.PARTNER,
    "when": When.SESSION_UNBOOKED,
    "past": Past.ASK,
    "on_unknown": OnUnknown.ASK,
    "manual": True,
    "working_days_only": True,
    "stop_on": frozenset({StopOn.HEALING_CLEARED}),
    "audience": Audience.STAFF,
    "may_wait": False,
    "repeat": Repeat(Span(days=7), 3),
}


def step(key: str) -> Step:
    """A step of the longest shipped protocol."""
    return next(step for step in TOXIN.steps if step.key == key)


def with_step(changed: Step) -> Protocol:
    """The longest shipped protocol with one of its steps changed."""
    return replace(TOXIN, steps=tuple(changed if one.key == changed.key else one for one in TOXIN.steps))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_differs_from_itself_in_nothing(name: str) -> None:
    protocol = PROTOCOLS[name]
    assert differences(protocol, protocol) == []
    renumbered = [replace(step, order=step.order * 10) for step in protocol.steps]
    assert differences(protocol, replace(protocol, version=9, steps=tuple(renumbered))) == []


@pytest.mark.parametrize("name", [field.name for field in fields(Step) if field.name not in ("key", "order")])
def test_every_property_of_a_step_makes_one_difference(name: str) -> None:
    changed = replace(step("getting-ready"), **{name: OTHER[name]})
    there = differences(TOXIN, with_step(changed))
    back = differences(with_step(changed), TOXIN)
    assert len(there) == len(back) == 1
    assert there != back
    assert "“Getting ready”" in there[0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"offset": Span(days=6), "at": time(9)},
            "“Getting ready” moves from 7 to 6 days after the treatment, from 10:00 to 09:00.",
        ),
        ({"at": time(9)}, "“Getting ready” moves from 10:00 to 09:00."),
        (
            {"offset": Span(days=-1)},
            "“Getting ready” moves from 1 week after the treatment to 1 day before the treatment.",
        ),
        (
            {"offset": Span()},
            "“Getting ready” moves from 1 week after the treatment to on the day of the treatment.",
        ),
        (
            {"offset": Span(elapsed=timedelta(hours=36)), "at": None},
            "“Getting ready” leaves 36 hours after the treatment (before: 1 week after the treatment, 10:00).",
        ),
        ({"repeat": Repeat(Span(days=7), 6)}, "“Getting ready” is sent 6 times, one every week (before: once)."),
        (
            {"manual": True},
            "“Getting ready” from now on: held until it is released by hand (before: sent by itself).",
        ),
    ],
)
def test_changes_of_a_step_in_words(changes: dict[str, Any], told: str) -> None:
    assert differences(TOXIN, with_step(replace(step("getting-ready"), **changes))) == [told]


def test_elapsed_times_are_compared_by_their_units() -> None:
    hours = replace(step("getting-ready"), offset=Span(elapsed=timedelta(minutes=90)), at=None)
    later = replace(hours, offset=Span(elapsed=timedelta(hours=2)))
    (told,) = differences(with_step(hours), with_step(later))
    assert told == "“Getting ready” moves from 90 minutes to 2 hours after the treatment."


ALL: dict[str, Any] = {
    "title": "Another",
    "minimum_age": 16,
    "on_new_treatment": OnNewTreatment.ASK,
    "urgent": "urgent_general",
    "retired": True,
    "reviews": TOXIN.reviews[:-1],
    "fields": TOXIN.fields[1:],
    "texts": (),
    "steps": TOXIN.steps[1:],
    "exercises": TOXIN.exercises[1:],
    "check_in": CheckIn(pain=5),
}


@pytest.mark.parametrize("name", [field.name for field in fields(Protocol) if field.name not in ("key", "version")])
def test_everything_else_of_a_protocol_makes_a_difference_too(name: str) -> None:
    changed = replace(TOXIN, **{name: ALL[name]})
    assert len(differences(TOXIN, changed)) == len(differences(changed, TOXIN)) == 1


@pytest.mark.parametrize("name", ["steps", "reviews", "fields"])
def test_another_order_is_a_difference(name: str) -> None:
    changes: dict[str, Any] = {name: tuple(reversed(getattr(TOXIN, name)))}
    turned = replace(TOXIN, **changes)
    assert [told.partition(" are ")[2] for told in differences(TOXIN, turned)] == ["in another order."]


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("reviews", "after", Span(days=15)),
        ("reviews", "tolerance", Span()),
        ("fields", "label", "Another"),
        ("fields", "type", FieldType.DATE),
        ("fields", "required", True),
        ("fields", "unit", "ml"),
        ("fields", "help", "A hint"),
        ("texts", "required", False),
        ("texts", "label", None),
    ],
)
def test_every_property_of_a_part_makes_a_difference(part: str, name: str, value: object) -> None:
    (first, *rest) = getattr(TOXIN, part)
    changed: dict[str, Any] = {part: (replace(first, **{name: value}), *rest)}
    assert len(differences(TOXIN, replace(TOXIN, **changed))) == 1


def test_the_steps_are_read_in_the_order_of_their_times() -> None:
    (heading, first), *others = steps_in_order(TOXIN)
    assert heading == "Counting from the treatment"
    assert [words.step.key for words in first] == [
        *("after-visit", "how-are-you", "quick-check-in", "getting-ready", "call-two-week")
    ]
    assert first[0].when == "on the day of the treatment, 17:00"
    assert first[0].conditions[0] == "useful for 17 hours"
    assert first[4].for_staff
    solo = next(words for _, group in others for words in group if words.step.key == "solo-week")
    assert solo.when == "1 week after the start of the part done alone, 10:00, then every week, 6 in all"
    assert sum(len(group) for _, group in steps_in_order(TOXIN)) == len(TOXIN.steps)
    due = next(words for _, group in others for words in group if words.step.key == "choose-a-time")
    assert due.when == "5 days before the day a review is due, 10:00"
