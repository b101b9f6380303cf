"""What a bad protocol file is told: the line and the words of every finding.

What a good one means is in `test_protocols`.
"""

import pytest

from scheduler.protocols import Finding, ProtocolInvalid, read_protocol

TEMPLATES = ("how_are_you", "after_visit", "plan_week", "urgent_general", "urgent_toxin", "_footer")
HERE = "# <-"  # marks the line that the finding has to name

TOP = 'key = "check-up"\nversion = 1\ntitle = "Check-up"\n'
REVIEW = '[[review]]\nkey = "two-week"\nafter = "P14D"\n'
STEP = (
    '[[step]]\nkey = "hello"\nkind = "aftercare"\ntemplate = "how_are_you"\nanchor = "treatment"\n'
    'offset = "P1D"\nat = "10:00"\nexpires_after = "P1D"\n'
)


def findings_of(source: str) -> tuple[Finding, ...]:
    with pytest.raises(ProtocolInvalid) as caught:
        read_protocol(source, "check-up.toml", TEMPLATES)
    return caught.value.findings


def step_with(old: str, new: str) -> str:
    """A good file whose step has one line replaced."""
    assert old in STEP
    return TOP + REVIEW + STEP.replace(old, new)


def step_and(more: str) -> str:
    """A good file whose step has more lines."""
    return TOP + REVIEW + STEP + more


BAD_FILES = [
    # the file as a whole
    ("version = 1\n", 1, "key is missing"),
    ("", 1, "title is missing"),
    (TOP, 1, "a protocol needs at least one [[step]]"),
    (TOP.replace('"check-up"', f'"other" {HERE}') + STEP, None, 'key "other": the file has to be named after it'),
    (TOP.replace('"check-up"\n', f'"Check up" {HERE}\n', 1) + STEP, None, "expected small letters, digits and dashes"),
    (TOP.replace("1\n", f"0 {HERE}\n") + STEP, None, "version 0: expected a whole number from 1 to 9999"),
    (TOP.replace("1\n", f'"1" {HERE}\n') + STEP, None, "version: expected a number, found a text"),
    (TOP.replace("1\n", f"true {HERE}\n") + STEP, None, "version: expected a number, found true or false"),
    (TOP + f'status = "approved" {HERE}\n' + STEP, None, 'status "approved": expected one of: draft, retired'),
    (TOP + f'on_new_treatment = "replaces" {HERE}\n' + STEP, None, "did you mean replace? expected one of: replace"),
    (TOP + f"minimum_age = -1 {HERE}\n" + STEP, None, "expected a whole number from 0 to 120"),
    (TOP + f'urgent = "urgent_toxic" {HERE}\n' + STEP, None, 'no text "urgent_toxic"; did you mean urgent_toxin?'),
    (TOP + f'titel = "x" {HERE}\n' + STEP, None, 'unknown key "titel"; did you mean title?'),
    (TOP + f"[step] {HERE}\nkey = 'x'\n", None, "step: expected tables, each under [[step]]"),
    # TOML itself
    (TOP + "minimum_age = \n" + STEP, 4, "this is not TOML: invalid value"),
    (TOP + "version = 2\n" + STEP, 4, "this is not TOML: cannot overwrite a value"),
    (TOP + STEP + "stop_on = [\n  'complication'\n", 13, "this is not TOML: unclosed array"),
    ("a = " + "[" * 5000, 1, "nested too deep"),
    # fields, texts, reviews
    (TOP + f'[[field]]\nkey = "lot"\nlabel = "Lot"\ntype = "txt" {HERE}\n' + STEP, None, "did you mean text?"),
    (TOP + f'[[field]]\nkey = "lot-no" {HERE}\nlabel = "Lot"\ntype = "text"\n' + STEP, None, "expected small letters"),
    (TOP + f'[[field]] {HERE}\nkey = "lot"\ntype = "text"\n' + STEP, None, 'field "lot": label is missing'),
    (TOP + f'[[field]]\nkey = "a"\nlabel = "A"\ntype = "choice" {HERE}\n' + STEP, None, "choices is missing"),
    (
        TOP + f'[[field]]\nkey = "a"\nlabel = "A"\ntype = "choice"\nchoices = [] {HERE}\n' + STEP,
        None,
        "choices: expected at least one",
    ),
    (
        TOP + f'[[field]]\nkey = "a"\nlabel = "A"\ntype = "choice"\nchoices = ["x", "X"] {HERE}\n' + STEP,
        None,
        "expected a list of different texts",
    ),
    (
        TOP + f'[[field]]\nkey = "a"\nlabel = "A"\ntype = "text"\nchoices = ["x"] {HERE}\n' + STEP,
        None,
        'only a field of type "choice" has them, this one is "text"',
    ),
    (
        TOP + f'[[field]]\nkey = "a"\nlabel = "A"\ntype = "date"\nunit = "ml" {HERE}\n' + STEP,
        None,
        'only fields of type "number" and "sites" have one',
    ),
    (
        TOP + f'[[text]]\nkey = "rest"\n\n[[text]]\nrequired = true\nkey = "rest" {HERE}\n' + STEP,
        None,
        'text "rest": this key is already used in line 5; expected another',
    ),
    (TOP + REVIEW + REVIEW.replace('week"', f'week" {HERE}') + STEP, None, "this key is already used in line 5"),
    (TOP + REVIEW.replace('"P14D"', f'"P1Y" {HERE}') + STEP, None, "years are ambiguous; write days, like P365D"),
    (TOP + REVIEW.replace('"P14D"', f'"-P14D" {HERE}') + STEP, None, "expected no leading minus"),
    (TOP + REVIEW + f'tolerance = "3D" {HERE}\n' + STEP, None, "expected whole days like P14D, -P3D or P2W"),
    # keys and words of a step
    (step_with("[[step]]\n", f"[[step]] {HERE}\n").replace('anchor = "treatment"\n', ""), None, "anchor is missing"),
    (step_and(f'whenn = "always" {HERE}\n'), None, 'step "hello": unknown key "whenn"; did you mean when?'),
    (step_with('key = "hello"', f"key = 7 {HERE}"), None, "step 1: key: expected a text, found a number"),
    (step_with('key = "hello"', f'key = " " {HERE}'), None, "expected a text on one line"),
    (step_and(STEP.replace('hello"', f'hello" {HERE}')), None, "this key is already used in line 8"),
    (step_with('"aftercare"', f'"after-care" {HERE}'), None, 'kind "after-care": did you mean aftercare?'),
    (
        step_with('"treatment"', f'"treated" {HERE}'),
        None,
        "did you mean treatment? expected one of: treatment, review_due",
    ),
    (step_with('"how_are_you"', f'"how_are_yu" {HERE}'), None, "there is no such text; did you mean how_are_you?"),
    (step_with('"how_are_you"', f'"urgent_toxin" {HERE}'), None, "expected a message of its own"),
    (step_with('"how_are_you"', f'"_footer" {HERE}'), None, "expected small letters"),
    (step_and(f'phase = "both" {HERE}\n'), None, "expected one of: any, solo, partner"),
    (step_and(f'past = "drop" {HERE}\n'), None, "expected one of: skip, send, ask"),
    (step_and(f'on_unknown = "resend" {HERE}\n'), None, "did you mean resend_once?"),
    (step_and(f'mode = "hand" {HERE}\n'), None, "expected one of: auto, manual"),
    (step_and(f'audience = "partner" {HERE}\n'), None, "expected one of: patient, staff"),
    (step_and(f'working_days_only = "yes" {HERE}\n'), None, "expected true or false, found a text"),
    (step_and(f'stop_on = "complication" {HERE}\n'), None, "stop_on: expected a list, found a text"),
    (step_and(f'stop_on = [\n  "complication", # so far\n  "bleeding", {HERE}\n]\n'), None, 'stop_on "bleeding"'),
    # times and durations
    (step_with('"P1D"\nat', f'"P1M" {HERE}\nat'), None, 'offset "P1M": months are ambiguous; write days, like P30D'),
    (step_with('"P1D"\nat', f'"P1DT2H" {HERE}\nat'), None, "days and elapsed time cannot be mixed"),
    (step_with('"P1D"\nat', f'"P1W2D" {HERE}\nat'), None, "weeks and days cannot be mixed"),
    (step_with('"P1D"\nat', f'"PT1.5H" {HERE}\nat'), None, "fractions are not allowed"),
    (step_with('"P1D"\nat', f'"P5000D" {HERE}\nat'), None, "longer than ten years"),
    (step_with('"P1D"\nat', f"1979-05-27 {HERE}\nat"), None, "offset: expected a text, found a date or time"),
    (
        step_with('"P1D"\nat = "10:00"', f'"P1D" {HERE}'),
        None,
        'whole days need the local time to send: add at = "10:00"',
    ),
    (step_with('"P1D"\nat = "10:00"', f'"PT2H"\nat = "10:00" {HERE}'), None, 'offset "PT2H" is elapsed time'),
    (step_with('"10:00"', f'"24:00" {HERE}'), None, "expected a time of day from 00:00 to 23:59"),
    (step_with('"10:00"', f'"9:00" {HERE}'), None, "expected a time of day"),
    (step_with('expires_after = "P1D"', f'expires_after = "P0D" {HERE}'), None, "expected a positive duration"),
    (step_with('expires_after = "P1D"', f'expires_after = "-PT2H" {HERE}'), None, "expected a positive duration"),
    (
        TOP + STEP.replace('"P1D"\nat = "10:00"', '"PT2H"') + f"may_wait = true {HERE}\n",
        None,
        "may_wait: a step that counts elapsed time cannot move to another day",
    ),
    # repeats
    (step_and(f"repeat = 6 {HERE}\n"), None, "repeat: expected a table [step.repeat]"),
    (step_and(f'[step.repeat] {HERE}\nevery = "P7D"\n'), None, 'step "hello": repeat: count is missing'),
    (step_and(f'[step.repeat]\nevery = "P7D"\ncount = 401 {HERE}\n'), None, "expected a whole number from 1 to 400"),
    (step_and(f'[step.repeat]\ncount = 4\nevery = "P0D" {HERE}\n'), None, "expected a positive duration"),
    (step_and(f'[step.repeat]\ncount = 4\nevery = "PT2H" {HERE}\n'), None, "expected whole days, like P7D"),
    (step_and(f'[step.repeat]\nevery = "P30D"\ncount = 200 {HERE}\n'), None, "more than ten years ahead"),
    (step_and(f'[step.repeat]\nevery = "P7D"\ncount = 4\nuntil = "x" {HERE}\n'), None, 'unknown key "until"'),
    (
        step_with('"treatment"', '"review_due"') + f'[step.repeat] {HERE}\nevery = "P7D"\ncount = 2\n',
        None,
        "a step for every review cannot repeat too; add review",
    ),
    # what is never reached
    (step_with('"treatment"', f'"review_due" {HERE}').replace(REVIEW, ""), None, "the protocol has no [[review]]"),
    (step_and(f'when = "review_booked" {HERE}\n').replace(REVIEW, ""), None, "the protocol has no [[review]]"),
    (step_and(f'stop_on = ["review_completed"] {HERE}\n').replace(REVIEW, ""), None, "the protocol has no [[review]]"),
    (
        step_with('"treatment"', '"review_due"') + f'review = "tow-week" {HERE}\n',
        None,
        'review "tow-week": there is no such [[review]]; did you mean two-week?',
    ),
    (step_and(f'review = "two-week" {HERE}\n'), None, "neither anchor, when nor stop_on speaks of a review"),
    (
        step_with('"treatment"', '"review_booked"') + f'when = "review_unbooked" {HERE}\n',
        None,
        'when "review_unbooked" with anchor "review_booked" is never reached',
    ),
    (
        step_with('"treatment"', '"review_completed"') + f'when = "until_review_done" {HERE}\n',
        None,
        "the step would start when its review is done",
    ),
    (
        step_with('"treatment"', '"partner_released"') + f'phase = "solo" {HERE}\n',
        None,
        "the solo phase comes before the release; expected partner",
    ),
    (
        step_and(f'phase = "partner"\nwhen = "partner_not_wanted" {HERE}\n'),
        None,
        "partner steps exist only while the phase is wanted",
    ),
    (
        step_and(f'phase = "partner"\nstop_on = ["partner_released"] {HERE}\n'),
        None,
        'stop_on "partner_released" with phase "partner" is never reached',
    ),
    (
        step_with('"treatment"', '"healing_cleared"') + f'stop_on = ["healing_cleared"] {HERE}\n',
        None,
        'stop_on "healing_cleared" with anchor "healing_cleared" is never reached',
    ),
]


@pytest.mark.parametrize(("source", "line", "words"), BAD_FILES)
def test_a_bad_file_is_refused_with_its_line_and_what_is_expected(source: str, line: int | None, words: str) -> None:
    marked = [number for number, text in enumerate(source.splitlines(), start=1) if HERE in text]
    where = f"check-up.toml:{line if line is not None else marked[0]}: "
    told = [str(finding) for finding in findings_of(source)]
    assert any(finding.startswith(where) and words in finding for finding in told), told


@pytest.mark.parametrize(("source", "line", "words"), [case for case in BAD_FILES if case[1] is None])
def test_one_slip_gives_one_finding(source: str, line: int | None, words: str) -> None:
    assert len(findings_of(source)) == 1


def test_all_findings_of_a_file_are_told_at_once_in_the_order_of_its_lines() -> None:
    source = TOP.replace("1\n", "0\n") + REVIEW.replace("P14D", "P1M") + STEP.replace("10:00", "25:00") + 'past = "x"\n'
    assert [finding.line for finding in findings_of(source)] == [2, 6, 13, 15]


def test_a_finding_reads_as_file_line_and_problem() -> None:
    told = findings_of(step_with('"P1D"\nat', '"P1M"\nat'))[0]
    assert str(told) == 'check-up.toml:12: step "hello": offset "P1M": months are ambiguous; write days, like P30D'


def test_the_error_carries_its_findings_as_problems_too() -> None:
    with pytest.raises(ProtocolInvalid) as caught:
        read_protocol("version = 0", "x.toml")
    assert list(caught.value.problems) == [str(finding) for finding in caught.value.findings]


def test_lines_are_right_behind_strings_arrays_comments_and_inline_tables() -> None:
    source = (
        TOP.replace('"Check-up"', '"""\\\n  Check-up # not a comment\\\n  [[step]]\\\n"""')
        + "# [[step]] in a comment\n"
        + "[[review]] # one\r\n'key' = 'two-week'\nafter . unused = 1\n"
        + STEP.replace("anchor =", '"anchor" =')
        + "repeat = { every = 'P7D', count = 0 }\nstop_on = [ # none\n  [],\n]\n"
    )
    lines = source.splitlines()
    by_line = {finding.line: finding.problem for finding in findings_of(source)}
    assert [lines[number - 1].strip() for number in by_line] == [
        "after . unused = 1",
        "repeat = { every = 'P7D', count = 0 }",
        "[],",
    ]


def test_steps_may_be_written_as_one_array_of_inline_tables() -> None:
    source = TOP + (
        'step = [\n  { key = "a", kind = "aftercare", template = "how_are_you", anchor = "treatment", '
        'offset = "PT1H", expires_after = "PT1H" },\n  { key = "b", kind = "aftercare", template = "how_are_you", '
        'anchor = "treatment", offset = "P1M", at = "10:00", expires_after = "P1D" },\n]\n'
    )
    assert [finding.line for finding in findings_of(source)] == [6]
