"""The form of one step: what it changes is exactly one difference, and every comment stays where it was."""

import tomllib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from db.states import Past
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.planning.protocol import Span, Step
from scheduler.protocol_differences import differences
from scheduler.protocols import ProtocolInvalid, read_protocol
from scheduler.settings import SHIPPED
from scheduler.step_edits import StepForm, edit_step, form_of, remove_step, why
from tests.clinic import COURSE

SOURCES = {path.name: path.read_text(encoding="utf-8") for path in sorted((SHIPPED / "protocols").glob("*.toml"))}
SOURCES["course.toml"] = COURSE
PROTOCOLS = {name: read_protocol(source, name) for name, source in SOURCES.items()}
STEPS = [(name, step) for name, protocol in PROTOCOLS.items() for step in protocol.steps]


def step(key: str) -> Step:
    """A step of the longest shipped protocol."""
    return next(step for step in PROTOCOLS["vaginismus-toxin.toml"].steps if step.key == key)


@given(st.sampled_from(STEPS))
def test_a_form_sent_back_unchanged_changes_nothing(chosen: tuple[str, Step]) -> None:
    name, step = chosen
    assert edit_step(SOURCES[name], step, form_of(step)) == SOURCES[name]


AMOUNTS = st.integers(0, 400).map(str)


@given(
    st.sampled_from(STEPS),
    st.one_of(
        st.tuples(st.just("amount"), AMOUNTS),
        st.tuples(st.just("side"), st.sampled_from(["before", "after"])),
        st.tuples(st.just("at"), st.times().map("{:%H:%M}".format)),
        st.tuples(st.just("lasts"), AMOUNTS.filter(lambda text: text != "0")),
        st.tuples(st.just("template"), st.sampled_from(["how_are_you", "plan_week"])),
        st.tuples(st.just("past"), st.sampled_from([past.value for past in Past])),
        st.tuples(st.just("manual"), st.booleans()),
        st.tuples(st.just("working_days_only"), st.booleans()),
        st.tuples(st.just("repeat_count"), st.integers(1, 400).map(str)),
    ),
)
def test_a_change_in_the_form_is_exactly_one_difference(chosen: tuple[str, Step], change: tuple[str, Any]) -> None:
    (name, step), (field, value) = chosen, change
    before = form_of(step)
    assume(field != "repeat_count" or step.repeat)
    assume(not (field == "at" and step.at is None))
    after: StepForm = replace(before, **{field: value})
    try:
        source = edit_step(SOURCES[name], step, after)
        changed = read_protocol(source, name)
    except ProtocolInvalid:
        return  # what makes no sense is told when it is saved
    changed_step = next(one for one in changed.steps if one.key == step.key)
    told = differences(PROTOCOLS[name], changed)
    assert len(told) == (0 if changed_step == step else 1)
    assert comments_of(source) == comments_of(SOURCES[name])


def comments_of(source: str) -> list[str]:
    """Every comment, in its order."""
    return [line[line.index("#") :] for line in source.splitlines() if "#" in line]


def test_days_become_hours_and_back() -> None:
    hello = step("how-are-you")
    hours = replace(form_of(hello), amount="36", unit="hours", at="")
    source = edit_step(SOURCES["vaginismus-toxin.toml"], hello, hours)
    changed = next(one for one in read_protocol(source, "vaginismus-toxin.toml").steps if one.key == hello.key)
    assert (changed.offset, changed.at) == (Span(elapsed=timedelta(hours=36)), None)
    assert edit_step(source, changed, form_of(hello)).count('at = "10:00"') == source.count('at = "10:00"') + 1
    none = edit_step(source, changed, replace(hours, amount="0"))
    assert next(one for one in tomllib.loads(none)["step"] if one["key"] == hello.key)["offset"] == "PT0S"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": ""}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "9" * 30}, "amount"),
        ({"unit": "months"}, "amount"),
        ({"lasts": "1.5"}, "lasts"),
        ({"at": ""}, "at"),
        ({"at": "25:00"}, "at"),
        ({"unit": "hours"}, "at"),
        ({"past": "never"}, "past"),
        ({"repeat_count": "3"}, "repeat_count"),
    ],
)
def test_what_cannot_be_read_is_told_by_its_field(change: dict[str, Any], field: str) -> None:
    hello = step("how-are-you")
    with pytest.raises(InvalidInput) as wrong:
        edit_step(SOURCES["vaginismus-toxin.toml"], hello, replace(form_of(hello), **change))
    assert [problem.partition(":")[0] for problem in wrong.value.problems] == [field]


@pytest.mark.parametrize(("name", "step"), STEPS, ids=lambda part: getattr(part, "key", part))
def test_a_step_goes_with_its_own_comment_and_no_other(name: str, step: Step) -> None:
    source = remove_step(SOURCES[name], step.key)
    (told,) = differences(PROTOCOLS[name], read_protocol(source, name))
    assert told == f"The step “{step.key.replace('-', ' ').capitalize()}” is gone."
    gone = comments_of(SOURCES[name])[:]
    for comment in comments_of(source):
        gone.remove(comment)
    assert " ".join(comment.lstrip("# ") for comment in gone) == why(SOURCES[name], step.key)


def test_a_file_written_in_an_unusual_way_is_left_alone() -> None:
    inline = 'key = "x"\nversion = 1\ntitle = "X"\nstep = [{ key = "a" }, { key = "b" }]\n'
    with pytest.raises(Refused, match="change it in the whole text"):
        remove_step(inline, "a")
    with pytest.raises(Refused, match="change it in the whole text"):
        edit_step(inline, replace(step("how-are-you"), key="a"), replace(form_of(step("how-are-you")), manual=True))
    with pytest.raises(NotFound):
        remove_step(inline, "c")
