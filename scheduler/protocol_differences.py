"""What changed from one version of a protocol to another, a sentence for each change; nothing when they mean the same.

Pure: two protocols go in, sentences come out. What a protocol says by itself is in `scheduler.protocol_words`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from db.states import Audience
from scheduler.planning.protocol import Exercise, Field, Protocol, Repeat, ReviewRule, Step, Text
from scheduler.protocol_words import (
    KINDS,
    MANUAL,
    MAY_WAIT,
    NEW_TREATMENTS,
    PASTS,
    PHASES,
    STOPS,
    UNKNOWNS,
    WHENS,
    WORKING_DAYS,
    anchor_words,
    check_in_words,
    count_words,
    exercise_words,
    field_words,
    is_before,
    place_words,
    review_name,
    review_words,
    span_words,
    step_words,
    text_label,
    when_words,
)

NameOf = Callable[[Step], str]  # how a step's message is called on the page
Part = TypeVar("Part", Step, ReviewRule, Field, Text, Exercise)

_AUDIENCES: Final = {Audience.PATIENT: "a message to the patient", Audience.STAFF: "a line for staff"}


def name_of(step: Step) -> str:
    """A step's key in plain letters, where nothing better is known."""
    return step.key.replace("-", " ").capitalize()


def differences(before: Protocol, after: Protocol, called: NameOf = name_of) -> list[str]:
    """Every change of meaning from one version to another. Their numbers are no change."""
    return [
        *_about_all(before, after),
        *_parts("review", before.reviews, after.reviews, lambda one: f"{one.key} review", review_words, _of_review),
        *_parts("field", before.fields, after.fields, lambda one: one.label, field_words, _of_field),
        *_parts("exercise", before.exercises, after.exercises, exercise_words, exercise_words, _of_exercise),
        *_parts("value", before.texts, after.texts, text_label, text_label, _of_text),
        *_parts("step", before.steps, after.steps, called, lambda one: _in_full(one, called), _of_step),
    ]


def _about_all(before: Protocol, after: Protocol) -> Iterator[str]:
    if after.title != before.title:
        yield f"The title is “{after.title}” (before: “{before.title}”)."
    if after.minimum_age != before.minimum_age:
        yield f"It is for {_age(after.minimum_age)} (before: {_age(before.minimum_age)})."
    if after.on_new_treatment is not before.on_new_treatment:
        yield f"{NEW_TREATMENTS[after.on_new_treatment]} Before: {NEW_TREATMENTS[before.on_new_treatment]}"
    if after.urgent != before.urgent:
        yield f"Every message carries the urgent block “{after.urgent}” (before: “{before.urgent}”)."
    if after.check_in != before.check_in:
        told, was = (check_in_words(rule) or "her answers need nobody." for rule in (after.check_in, before.check_in))
        yield f"{told} Before: {was}"
    if after.retired is not before.retired:
        yield "It is retired: no new treatments." if after.retired else "It takes new treatments again."


def _parts(
    noun: str,
    before: Sequence[Part],
    after: Sequence[Part],
    called: Callable[[Part], str],
    in_full: Callable[[Part], str],
    changes: Callable[[Part, Part], Iterator[str]],
) -> Iterator[str]:
    """New ones, changes of those that stay, gone ones, and whether those that stay are in another order."""
    was, now = {one.key: one for one in before}, {one.key: one for one in after}
    for key, one in now.items():
        if key not in was:
            yield f"New {noun}: {in_full(one)}."
        else:
            yield from (f"“{called(one)}” {change}." for change in changes(was[key], one))
    yield from (f"The {noun} “{called(one)}” is gone." for key, one in was.items() if key not in now)
    if [key for key in was if key in now] != [key for key in now if key in was]:
        yield f"The {noun}s are in another order."


def _of_review(before: ReviewRule, after: ReviewRule) -> Iterator[str]:
    if after.after != before.after:
        told, was = (span_words(review.after) or "0 days" for review in (after, before))
        yield f"is due {told} after the treatment (before: {was})"
    if after.tolerance != before.tolerance:
        told, was = (span_words(review.tolerance) or "no day" for review in (after, before))
        yield f"may be off by {told} (before: {was})"


def _of_exercise(before: Exercise, after: Exercise) -> Iterator[str]:
    if after.text != before.text:
        yield f"has the text “{after.text}” (before: “{before.text}”)"
    if after.phase is not before.phase:
        yield f"belongs to the {after.phase.value} part now (before: {before.phase.value})"


def _of_field(before: Field, after: Field) -> Iterator[str]:
    if after.required is not before.required:
        yield "is needed before the record is signed now" if after.required else "may stay empty now"
    told, was = (field_words(replace(field, required=False)) for field in (after, before))
    if told != was:
        yield f"is “{told}” now (before: “{was}”)"
    if after.help != before.help:
        yield f"has the hint “{after.help or ''}” (before: “{before.help or ''}”)"


def _of_text(before: Text, after: Text) -> Iterator[str]:
    if after.required is not before.required:
        yield "has to be filled in before approval now" if after.required else "may stay empty now"
    if text_label(after) != text_label(before):
        yield f"was called “{text_label(before)}”"


def _of_step(before: Step, after: Step) -> Iterator[str]:
    yield from _moved(before, after)
    if after.repeat != before.repeat:
        yield f"is sent {_repeat(after.repeat)} (before: {_repeat(before.repeat)})"
    if after.expires_after != before.expires_after:
        yield f"is useful for {span_words(after.expires_after)} (before: {span_words(before.expires_after)})"
    if after.template != before.template:
        yield f"has the text “{after.template}” (before: “{before.template}”)"
    yield from (f"from now on: {told} (before: {was})" for told, was in _states(before, after) if told != was)


def _moved(before: Step, after: Step) -> Iterator[str]:
    """Another time: `moves from 7 to 6 days after the treatment, from 10:00 to 09:00`."""
    if (anchor_words(after), after.offset, after.at) == (anchor_words(before), before.offset, before.at):
        return
    if anchor_words(after) != anchor_words(before) or (after.at is None) is not (before.at is None):
        told, was = (when_words(replace(step, repeat=None)) for step in (after, before))
        yield f"leaves {told} (before: {was})"
        return
    parts = []
    if after.offset != before.offset:
        parts.append(_from_to(before, after))
    if after.at is not None and before.at is not None and after.at != before.at:
        parts.append(f"from {before.at:%H:%M} to {after.at:%H:%M}")
    yield f"moves {', '.join(parts)}"


def _states(before: Step, after: Step) -> Iterator[tuple[str, str]]:
    """Everything else about a step, in words after and before; equal ones are no change."""

    def both(words: Callable[[Step], str]) -> tuple[str, str]:
        return words(after), words(before)

    yield both(lambda step: KINDS[step.kind])
    yield both(lambda step: _AUDIENCES[step.audience])
    yield both(lambda step: PHASES[step.phase])
    yield both(lambda step: WHENS[step.when].format(review="its review"))
    if not after.anchor.startswith("review_"):  # else its review is part of its time
        yield both(lambda step: f"about {review_name(step.review)}" if step.review else "about every review")
    yield both(lambda step: PASTS[step.past])
    yield both(lambda step: UNKNOWNS[step.on_unknown])
    yield both(lambda step: MANUAL if step.manual else "sent by itself")
    yield both(lambda step: WORKING_DAYS if step.working_days_only else "on any day")
    yield both(lambda step: MAY_WAIT if step.may_wait else "never moved to the next day")
    yield both(_stops)


def _stops(step: Step) -> str:
    found = "; ".join(STOPS[stop].format(review="its review") for stop in sorted(step.stop_on))
    return found or "stopped by nothing"


def _in_full(step: Step, called: NameOf) -> str:
    words = step_words(step)
    return f"“{called(step)}”, {'; '.join((words.when, *words.conditions))}"


def _length(step: Step) -> str:
    """A step's offset without its sign, in days however many: `7 days`."""
    if step.offset.is_elapsed:
        return span_words(step.offset)
    return count_words(abs(step.offset.days), "day") if step.offset.days else ""


def _from_to(before: Step, after: Step) -> str:
    """`from 7 to 6 days after the treatment`, or both places in full where they lie on different sides of it."""
    was, told = _length(before), _length(after)
    if not was or not told or is_before(before.offset) is not is_before(after.offset):
        return f"from {place_words(before)} to {place_words(after)}"
    (number, _, unit), (_, _, same) = was.partition(" "), told.partition(" ")
    if unit.removesuffix("s") == same.removesuffix("s"):
        was = number
    return f"from {was} to {told} {'before' if is_before(after.offset) else 'after'} {anchor_words(after)}"


def _repeat(repeat: Repeat | None) -> str:
    if repeat is None:
        return "once"
    return f"{count_words(repeat.count, 'time')}, one every {span_words(repeat.every).removeprefix('1 ')}"


def _age(age: int | None) -> str:
    return "patients of any age" if age is None else f"patients of {age} years and over"
