"""A protocol in sentences: its steps in the order of their times, its reviews, what staff enter, its own rules.

Pure: a protocol goes in, words come out. What changed between two versions is in `scheduler.protocol_differences`,
the plan of one patient in `scheduler.plan_words`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from db.states import Audience, OnUnknown, Past, Phase, StepKind
from scheduler.planning.protocol import (
    Anchor,
    CheckIn,
    Exercise,
    Field,
    FieldType,
    OnNewTreatment,
    Protocol,
    ReviewRule,
    Span,
    Step,
    StopOn,
    Text,
    When,
)

GROUPS: Final = {
    Anchor.TREATMENT: "Counting from the treatment",
    Anchor.REVIEW_DUE: "Counting from the day a review is due",
    Anchor.REVIEW_BOOKED: "Around a booked visit",
    Anchor.REVIEW_MISSED: "After a missed visit",
    Anchor.REVIEW_COMPLETED: "After a review",
    Anchor.SOLO_STARTED: "In the part done alone",
    Anchor.PARTNER_RELEASED: "In the part with a partner",
    Anchor.HEALING_CLEARED: "Once activities are cleared",
}
_ANCHORS: Final = {
    Anchor.TREATMENT: "the treatment",
    Anchor.REVIEW_DUE: "the day {review} is due",
    Anchor.REVIEW_BOOKED: "the booked visit{for_review}",
    Anchor.REVIEW_MISSED: "the missed visit{for_review}",
    Anchor.REVIEW_COMPLETED: "{review}",
    Anchor.SOLO_STARTED: "the start of the part done alone",
    Anchor.PARTNER_RELEASED: "the release of the part with a partner",
    Anchor.HEALING_CLEARED: "the all-clear for activities",
}
WHENS: Final = {
    When.ALWAYS: "in any case",
    When.REVIEW_UNBOOKED: "only while no visit is booked for {review}",
    When.REVIEW_BOOKED: "only while a visit is booked for {review}",
    When.UNTIL_REVIEW_DONE: "only until {review} was held",
    When.PARTNER_NOT_WANTED: "only when the part with a partner is not wanted",
    When.SESSION_UNBOOKED: "only while the next session is not booked",
    When.HEALING_CLEARED: "only once activities are cleared",
}
PHASES: Final = {
    Phase.ANY: "in every part",
    Phase.SOLO: "only in the part done alone",
    Phase.PARTNER: "only in the part with a partner, once it is released",
}
STOPS: Final = {
    StopOn.COMPLICATION: "waits while there is a complication",
    StopOn.REVIEW_COMPLETED: "stops once {review} was held",
    StopOn.PARTNER_RELEASED: "stops once the part with a partner is released",
    StopOn.HEALING_CLEARED: "stops once activities are cleared",
}
PASTS: Final = {
    Past.SKIP: "left out when its time had passed already",
    Past.SEND: "sent late when its time had passed already",
    Past.ASK: "staff are asked when its time had passed already",
}
UNKNOWNS: Final = {
    OnUnknown.RESEND_ONCE: "sent once more when the mail server’s answer was lost",
    OnUnknown.ASK: "staff decide when the mail server’s answer was lost",
}
KINDS: Final = {
    StepKind.REVIEW: "about a visit",
    StepKind.AFTERCARE: "about the days after",
    StepKind.ADMINISTRATIVE: "about dates and paper",
    StepKind.EXERCISE: "about the plan at home",
}
NEW_TREATMENTS: Final = {
    OnNewTreatment.REPLACE: "A new treatment ends what is unsent of the plan before it.",
    OnNewTreatment.KEEP: "After a new treatment the plan before it goes on.",
    OnNewTreatment.ASK: "After a new treatment staff are asked what becomes of the plan before it.",
}
TYPES: Final = {
    FieldType.TEXT: "words",
    FieldType.NUMBER: "a number",
    FieldType.DATE: "a date",
    FieldType.CHOICE: "one of a list",
    FieldType.YES_NO: "yes or no",
    FieldType.SITES: "sites with amounts",
}
MANUAL: Final = "held until it is released by hand"
WORKING_DAYS: Final = "on working days only"
MAY_WAIT: Final = "may wait for the next day, so that there is one message a day"
THROUGH_COMPLICATIONS: Final = "goes on during a complication"


@dataclass(frozen=True, slots=True)
class StepWords:
    """One step as it is read: when, and everything that is not as usual. `title` is the page's to say."""

    step: Step
    when: str
    conditions: tuple[str, ...]

    @property
    def for_staff(self) -> bool:
        """Whether it is a line on the staff's list instead of a mail."""
        return self.step.audience is Audience.STAFF


def steps_in_order(protocol: Protocol) -> list[tuple[str, list[StepWords]]]:
    """The steps by what they count from, each group in the order of its times."""
    after = {review.key: review.after for review in protocol.reviews}
    groups = []
    for anchor, heading in GROUPS.items():
        steps = [step for step in protocol.steps if step.anchor is anchor]
        if steps:
            steps.sort(key=lambda step: (_length(step, after), step.at is not None and step.at, step.order))
            groups.append((heading, [step_words(step) for step in steps]))
    return groups


def step_words(step: Step) -> StepWords:
    """One step in words."""
    return StepWords(step, when_words(step), tuple(_conditions(step)))


def when_words(step: Step) -> str:
    """`2 weeks after the treatment, 10:00, then every week, 6 in all`."""
    words = place_words(step)
    if step.at is not None:
        words += f", {step.at:%H:%M}"
    if step.repeat:
        words += f", then every {span_words(step.repeat.every).removeprefix('1 ')}, {step.repeat.count} in all"
    return words


def place_words(step: Step) -> str:
    """`2 weeks after the treatment`, `on the day of the booked visit`."""
    anchor, length = anchor_words(step), span_words(step.offset)
    if length:
        return f"{length} {'before' if is_before(step.offset) else 'after'} {anchor}"
    return (
        f"at {anchor}" if step.at is None else f"on the day of {anchor}".replace("on the day of the day", "on the day")
    )


def is_before(span: Span) -> bool:
    """Whether a span leads back in time."""
    return span.days < 0 or span.elapsed.total_seconds() < 0


def anchor_words(step: Step) -> str:
    """What a step counts from: `the treatment`, `the day the two-week review is due`."""
    for_review = f" for the {step.review} review" if step.review else ""
    return _ANCHORS[step.anchor].format(review=review_name(step.review), for_review=for_review)


def review_name(key: str | None) -> str:
    """`the two-week review`, or any of them."""
    return f"the {key} review" if key else "a review"


def span_words(span: Span) -> str:
    """A span without its sign: `2 weeks`, `3 days`, `90 minutes`; empty for none."""
    if not span.is_elapsed:
        days = abs(span.days)
        if days and days % 7 == 0:
            return count_words(days // 7, "week")
        return count_words(days, "day") if days else ""
    seconds = int(abs(span.elapsed.total_seconds()))
    unit, length = next((unit, length) for unit, length in _UNITS if seconds % length == 0)
    return count_words(seconds // length, unit)


def count_words(number: int, noun: str) -> str:
    """`1 day`, `3 days`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def review_words(review: ReviewRule) -> str:
    """`two-week: 2 weeks after the treatment, give or take 3 days`."""
    after = span_words(review.after)
    words = f"{review.key}: {f'{after} after' if after else 'on the day of'} the treatment"
    tolerance = span_words(review.tolerance)
    return f"{words}, give or take {tolerance}" if tolerance else words


def field_words(field: Field) -> str:
    """`Lot number: words, needed before the record is signed`."""
    kind = TYPES[field.type]
    if field.choices:
        kind = f"one of: {', '.join(field.choices)}"
    if field.unit:
        kind += f" ({field.unit})"
    return f"{field.label}: {kind}{', needed before the record is signed' if field.required else ''}"


def text_label(text: Text) -> str:
    """What staff read of a value that only the clinic can give."""
    return text.label or text.key.replace("_", " ").capitalize()


def rules_of(protocol: Protocol) -> list[str]:
    """What holds for the whole protocol, a sentence each."""
    rules = [NEW_TREATMENTS[protocol.on_new_treatment]]
    if protocol.minimum_age is not None:
        rules.append(f"For patients of {protocol.minimum_age} years and over.")
    if protocol.exercises:
        rules.append(f"The course at home, in its order: {', '.join(map(exercise_words, protocol.exercises))}.")
    asks = check_in_words(protocol.check_in)
    return [*rules, asks] if asks else rules


def exercise_words(exercise: Exercise) -> str:
    """`own touch`, `together touch (only once the part with a partner is released)`."""
    name = exercise.key.replace("-", " ").replace("_", " ")
    return f"{name} (only once the part with a partner is released)" if exercise.phase is Phase.PARTNER else name


def check_in_words(rule: CheckIn) -> str:
    """When her answers need a person, in one sentence; empty when no rule is given."""
    told = []
    if rule.pain is not None:
        told.append(f"pain of {rule.pain} or more (0-10): the plan's messages wait and a line asks for a call")
    if rule.not_yet is not None:
        told.append(f"{count_words(rule.not_yet, 'answer')} “not yet” in a row: a line says so")
    if rule.silence is not None:
        told.append(f"no answer for {span_words(rule.silence)}: a line says so")
    return f"Her answers: {'; '.join(told)}." if told else ""


def _conditions(step: Step) -> Iterator[str]:
    review = review_name(step.review)
    yield f"useful for {span_words(step.expires_after)}"
    if step.when is not When.ALWAYS:
        yield WHENS[step.when].format(review=review)
    if step.phase is not Phase.ANY:
        yield PHASES[step.phase]
    for stop in sorted(step.stop_on - {StopOn.COMPLICATION}):
        yield STOPS[stop].format(review=review)
    if StopOn.COMPLICATION not in step.stop_on:
        yield THROUGH_COMPLICATIONS
    if step.manual:
        yield MANUAL
    if step.working_days_only:
        yield WORKING_DAYS
    if step.past is not Past.SKIP:
        yield PASTS[step.past]
    if step.on_unknown is not OnUnknown.RESEND_ONCE:
        yield UNKNOWNS[step.on_unknown]
    if step.may_wait:
        yield MAY_WAIT


_UNITS: Final = (("hour", 3_600), ("minute", 60), ("second", 1))


def _length(step: Step, after: dict[str, Span]) -> float:
    """Days from the anchor, or for a named review's due date from the treatment: only to put steps in order."""
    span = step.offset
    if step.anchor is Anchor.REVIEW_DUE and step.review in after:
        span = span.plus(after[step.review])
    return span.days + span.elapsed.total_seconds() / 86_400
