"""Reading protocol files: what a good one means, key by key.

What a bad one is told is in `test_protocol_findings`; the shipped files are held to their facts in
`test_shipped_protocols`.
"""

from datetime import time, timedelta
from pathlib import Path

import pytest

from db.states import Audience, OnUnknown, Past, Phase, StepKind
from scheduler.planning.protocol import (
    OF_EVERY_PROTOCOL,
    Anchor,
    Field,
    FieldType,
    OnNewTreatment,
    Repeat,
    ReviewRule,
    Span,
    Step,
    StopOn,
    Text,
    When,
)
from scheduler.protocols import content_hash, list_protocol_files, read_protocol

TEMPLATES = ("how_are_you", "after_visit", "plan_week", "urgent_general", "urgent_toxin", "_footer")

TOP = 'key = "check-up"\nversion = 1\ntitle = "Check-up"\n'
REVIEW = '[[review]]\nkey = "two-week"\nafter = "P14D"\n'
STEP = (
    '[[step]]\nkey = "hello"\nkind = "aftercare"\ntemplate = "how_are_you"\nanchor = "treatment"\n'
    'offset = "P1D"\nat = "10:00"\nexpires_after = "P1D"\n'
)


def step_with(old: str, new: str) -> str:
    """A good file whose step has one line replaced."""
    assert old in STEP
    return TOP + REVIEW + STEP.replace(old, new)


def test_a_file_with_the_required_keys_alone_gets_every_default() -> None:
    protocol = read_protocol(TOP + STEP, "check-up.toml", TEMPLATES)
    assert (protocol.key, protocol.version, protocol.title, protocol.retired) == ("check-up", 1, "Check-up", False)
    assert (protocol.urgent, protocol.minimum_age) == ("urgent_general", None)
    assert protocol.on_new_treatment is OnNewTreatment.REPLACE
    assert protocol.steps == (
        Step(
            key="hello",
            order=1,
            kind=StepKind.AFTERCARE,
            template="how_are_you",
            anchor=Anchor.TREATMENT,
            offset=Span(days=1),
            at=time(10),
            expires_after=Span(days=1),
            review=None,
            phase=Phase.ANY,
            when=When.ALWAYS,
            past=Past.SKIP,
            on_unknown=OnUnknown.RESEND_ONCE,
            manual=False,
            working_days_only=False,
            stop_on=frozenset({StopOn.COMPLICATION}),
            audience=Audience.PATIENT,
            may_wait=False,
            repeat=None,
        ),
    )


def test_a_file_with_every_key_is_read_as_written() -> None:
    protocol = read_protocol(
        """
key = "check-up"
version = 3
status = "retired"
title = "Check-up"
minimum_age = 18
on_new_treatment = "ask"
urgent = "urgent_toxin"

[[field]]
key = "total_units"
label = "Total"
type = "number"
required = true
unit = "units"
help = "Of this product."

[[field]]
key = "technique"
label = "Technique"
type = "choice"
choices = ["landmarks", "EMG"]

[[text]]
key = "rest_rule"
label = "Rest rule"
required = true

[[review]]
key = "two-week"
after = "P2W"
tolerance = "P3D"

[[step]]
key = "weekly"
kind = "exercise"
template = "plan_week"
anchor = "review_completed"
review = "two-week"
offset = "P7D"
at = "09:30"
expires_after = "PT36H"
phase = "partner"
when = "session_unbooked"
past = "ask"
on_unknown = "ask"
mode = "manual"
working_days_only = true
stop_on = ["healing_cleared"]
audience = "patient"
may_wait = false
[step.repeat]
every = "P7D"
count = 6
""",
        "check-up.toml",
        TEMPLATES,
    )
    assert (protocol.version, protocol.retired, protocol.minimum_age, protocol.urgent) == (3, True, 18, "urgent_toxin")
    assert protocol.on_new_treatment is OnNewTreatment.ASK
    assert protocol.fields == (
        Field("total_units", "Total", FieldType.NUMBER, required=True, unit="units", help="Of this product."),
        Field("technique", "Technique", FieldType.CHOICE, choices=("landmarks", "EMG")),
    )
    assert protocol.texts == (Text("rest_rule", required=True, label="Rest rule"),)
    assert protocol.reviews == (ReviewRule("two-week", Span(days=14), Span(days=3)),)
    assert protocol.steps[0] == Step(
        key="weekly",
        order=1,
        kind=StepKind.EXERCISE,
        template="plan_week",
        anchor=Anchor.REVIEW_COMPLETED,
        offset=Span(days=7),
        at=time(9, 30),
        expires_after=Span(elapsed=timedelta(hours=36)),
        review="two-week",
        phase=Phase.PARTNER,
        when=When.SESSION_UNBOOKED,
        past=Past.ASK,
        on_unknown=OnUnknown.ASK,
        manual=True,
        working_days_only=True,
        stop_on=frozenset({StopOn.HEALING_CLEARED}),
        audience=Audience.PATIENT,
        may_wait=False,
        repeat=Repeat(Span(days=7), 6),
    )


@pytest.mark.parametrize(
    ("kind", "lines", "may_wait"),
    [
        ("exercise", "", True),
        ("administrative", "", True),
        ("aftercare", "", False),
        ("review", "", False),
        ("exercise", "may_wait = false\n", False),
        ("aftercare", "may_wait = true\n", True),
    ],
)
def test_steps_may_wait_by_kind_unless_the_file_says_otherwise(kind: str, lines: str, may_wait: bool) -> None:
    source = step_with('kind = "aftercare"\n', f'kind = "{kind}"\n{lines}')
    assert read_protocol(source, "check-up.toml").steps[0].may_wait is may_wait


def test_a_step_of_elapsed_time_never_waits_a_day() -> None:
    source = TOP + STEP.replace('"P1D"\nat = "10:00"', '"PT20S"').replace("aftercare", "exercise")
    step = read_protocol(source, "check-up.toml").steps[0]
    assert (step.offset, step.at, step.may_wait) == (Span(elapsed=timedelta(seconds=20)), None, False)


def test_no_elapsed_time_at_all_still_counts_as_elapsed() -> None:
    source = TOP + STEP.replace('"P1D"\nat = "10:00"', '"PT0S"') + '[step.repeat]\nevery = "PT5S"\ncount = 3\n'
    step = read_protocol(source, "check-up.toml").steps[0]
    assert (step.at, step.repeat) == (None, Repeat(Span(elapsed=timedelta(seconds=5)), 3))


def test_a_line_for_staff_needs_no_text_file() -> None:
    source = step_with('"how_are_you"', '"staff_call"') + 'audience = "staff"\n'
    assert read_protocol(source, "check-up.toml", TEMPLATES).templates == (
        "urgent_general",
        "_footer",
        *OF_EVERY_PROTOCOL,
    )


def test_windows_line_endings_and_a_byte_order_mark_change_nothing() -> None:
    plain = read_protocol(TOP + STEP, "check-up.toml")
    assert read_protocol("\ufeff" + (TOP + STEP).replace("\n", "\r\n"), "check-up.toml") == plain


def test_the_content_hash_ignores_the_kind_of_line_endings_and_nothing_else() -> None:
    assert content_hash("a\nb\n") == content_hash("a\r\nb\r\n") == content_hash("a\rb\r")
    assert len({content_hash(text) for text in ("a\nb\n", "a\nb", "a\n\nb\n", "a b\n")}) == 4
    assert content_hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_an_earlier_folder_overlays_a_later_one(tmp_path: Path) -> None:
    own, shipped = tmp_path / "own", tmp_path / "shipped"
    for folder, names in ((own, ["b"]), (shipped, ["a", "b"])):
        folder.mkdir()
        for name in names:
            (folder / f"{name}.toml").touch()
    (shipped / "notes.txt").touch()
    found = list_protocol_files([own, shipped, tmp_path / "missing"])
    assert found == {"a": shipped / "a.toml", "b": own / "b.toml"}
