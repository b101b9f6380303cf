"""Documents and code say the same: words, states, arrows, reasons, settings and commands, both ways."""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import pytest
import typer
from typer.main import get_command

import db.private_page
import db.states
import scheduler.planning.protocol
from db.states import ALLOWED_TRANSITIONS, FINAL_STATES, LIVE_STATES, REASONS, Described, Reason, ReminderState
from scheduler.settings import HIDDEN, SECRETS, SHIPPED, Settings
from tests.house.tree import ROOT, tracked

ENUMS = {
    name: found
    for module in (db.states, db.private_page, scheduler.planning.protocol)
    for name, found in vars(module).items()
    if isinstance(found, type) and issubclass(found, StrEnum) and found.__module__ == module.__name__ and len(found)
}
ROW = re.compile(r"^\| `([^`]+)` \| (.*) \|$", re.MULTILINE)
ARROW = re.compile(r"^\| `(\w+)` \| `(\w+)` \| (.+) \|$", re.MULTILINE)


def document(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def section(text: str, heading: str, to_next_of_its_level: bool = False) -> str:
    """What stands under a heading, up to the next of any level, or of its own (the second)."""
    ends = "## " if to_next_of_its_level else "#"
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^{ends}|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no heading {heading}"
    return found.group(1)


@pytest.mark.parametrize("name", ENUMS)
def test_every_word_of_an_enum_is_in_the_glossary_and_no_other(name: str) -> None:
    rows = dict(ROW.findall(section(document("glossary.md"), name)))
    assert list(rows) == [member.value for member in ENUMS[name]]
    told = {member.value: member.sentence for member in ENUMS[name] if isinstance(member, Described)}
    assert {word: rows[word] for word in told} == told


def test_the_glossary_has_no_enum_that_is_gone() -> None:
    headings = re.findall(r"^### (\w+)$", document("glossary.md"), re.MULTILINE)
    assert headings == list(ENUMS)


def test_every_state_is_described_as_the_code_does() -> None:
    rows = dict(ROW.findall(section(document("reminder-states.md"), "States")))
    assert rows == {state.value: state.sentence for state in ReminderState}


def test_every_arrow_has_a_cause_and_every_cause_an_arrow() -> None:
    arrows = ARROW.findall(section(document("reminder-states.md"), "Arrows and their causes"))
    assert len(arrows) == len(set(arrows))
    drawn = {(start, end) for start, end, cause in arrows if len(cause) > 10}
    assert drawn == {(start.value, end.value) for start, ends in ALLOWED_TRANSITIONS.items() for end in ends}


def test_every_reason_stands_under_its_state() -> None:
    text = document("reminder-states.md")
    for state, reasons in REASONS.items():
        if reasons:
            rows = dict(ROW.findall(section(text, f"`{state.value}`")))
            assert rows == {reason.value: reason.sentence for reason in reasons}


def test_every_reason_belongs_to_a_state_and_every_unsent_state_has_one() -> None:
    assert set(REASONS) == set(ReminderState)
    assert frozenset().union(*REASONS.values()) == set(Reason)
    may_be_silent = {ReminderState.SCHEDULED, ReminderState.SENDING, ReminderState.SENT}
    assert {state for state in ReminderState if not REASONS[state]} <= may_be_silent


def test_nothing_leaves_a_final_state() -> None:
    assert {state for state, ends in ALLOWED_TRANSITIONS.items() if not ends} == FINAL_STATES
    assert FINAL_STATES.isdisjoint(LIVE_STATES)


SETTING = re.compile(r"^\| `([A-Z_]+)` \| (.*?) \| (.*) \|$", re.MULTILINE)


def test_every_setting_is_documented_and_no_other() -> None:
    names = [name for name, _, _ in SETTING.findall(document("settings.md"))]
    assert names == [name.upper() for name in Settings.model_fields if name not in HIDDEN]


def test_every_default_is_the_one_of_the_code() -> None:
    spelled = {
        "database_url": "`sqlite:///{DATA_DIR}/aftercare.db`",
        "keys_file": "`{DATA_DIR}/keys.json`",
        "emergency_number": "by country",
        "send_window": "`08:00-19:00`",
        "metrics": "`on`",
        "bounce_tokens": "`off`",
        "protocols_dir": "`templates/protocols`",
        "templates_dir": "`templates`",
    }
    documented = {name.lower(): default for name, default, _ in SETTING.findall(document("settings.md"))}
    for name, field in Settings.model_fields.items():
        if name not in HIDDEN:
            default = "none" if field.default is None else f"`{field.default}`"
            assert documented[name] == spelled.get(name, default), name
    window = Settings.model_fields["send_window"].default
    assert (window.opens, window.closes) == (8 * 60, 19 * 60)
    assert (ROOT / "templates") == SHIPPED


def test_the_secrets_are_named() -> None:
    text = document("settings.md")
    named = re.search(r"Secrets: (.*?)\. They", text, re.DOTALL)
    assert named
    assert set(re.findall(r"`([A-Z_]+)`", named.group(1))) == {name.upper() for name in SECRETS}


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """All commands with their full names."""
    for part, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{name} {part}".strip())
    if not hasattr(command, "commands"):
        yield name, command


def all_commands() -> dict[str, Any]:
    import service  # here, so that the other tests stand while a command is being built

    app: typer.Typer = service.make_app()
    return dict(commands(get_command(app)))


def test_every_command_is_documented_and_no_other() -> None:
    headings = re.findall(r"^### `([^`]+)`$", document("commands.md"), re.MULTILINE)
    assert sorted(headings) == sorted(all_commands())


def test_every_option_is_documented_and_no_other() -> None:
    text = document("commands.md")
    for name, command in all_commands().items():
        told = section(text, f"`{name}`")
        options = {
            option
            for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)
            if option.startswith("--") and option != "--help"
        }
        synopsis = " ".join(re.findall(r"`(aftercare [^`]+)`", told))
        assert set(re.findall(r"--[a-z-]+", synopsis)) == options, name


def test_every_command_says_what_it_does() -> None:
    assert [name for name, command in all_commands().items() if not (command.help or "").strip()] == []


def test_what_a_document_links_to_is_there() -> None:
    wrong = []
    for path in tracked():
        if path.suffix == ".md" and path.parts[0] in ("docs", "README.md", "CONTRIBUTING.md"):
            text = (ROOT / path).read_text(encoding="utf-8")
            for target in re.findall(r"\]\(([^)#:{]+)\)", text):
                if not (ROOT / path.parent / target).exists():
                    wrong.append(f"{path} links to {target}")
    assert wrong == []


def test_what_the_guarantees_rest_on_is_there() -> None:
    named = re.findall(r"`(tests/[\w/.]+)`", document("guarantees.md"))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


FAULT = re.compile(r"^\| ([A-Z]\d+) \| .+ \| (.+) \|$", re.MULTILINE)
FAULTS = {"S": 36, "P": 13, "D": 13, "T": 14, "C": 10, "I": 12, "A": 19, "M": 12, "O": 5}  # as many has the study


def test_every_fault_names_a_test_that_is_there_or_says_why_not() -> None:
    told = FAULT.findall(section(document("guarantees.md"), "Every fault and its test", to_next_of_its_level=True))
    assert [number for number, _ in told] == [f"{kind}{n}" for kind, last in FAULTS.items() for n in range(1, last + 1)]
    for number, proof in told:
        named = re.findall(r"`([\w/]+)::(\w+)`", proof)
        assert named or len(proof) > 40, number
        for file, test in named:
            assert re.search(rf"\bdef {test}\b", (ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8")), test


HAZARD = re.compile(
    r"^\| (H\d\d) \| \[(.+?)\]\(#(h\d\d)\) \| (.+?): (\d) \| (.+?): (\d) \| (.+?) \| (\w+) \|$", re.MULTILINE
)


def test_every_hazard_is_rated_by_the_matrix_and_none_was_deleted() -> None:
    text = document("hazard-log.md")
    head, *lines = re.findall(r"^\| (.+) \|$", section(text, "How it is rated"), re.MULTILINE)
    severities = head.split(" | ")[1:]
    matrix = {
        (cells[0], severity): number
        for cells in (line.split(" | ") for line in lines)
        for severity, number in zip(severities, cells[1:], strict=True)
    }
    assert len([number for number in matrix.values() if number in "12345"]) == 25
    hazards = HAZARD.findall(text)
    assert [hazard[0] for hazard in hazards] == [f"H{number:02}" for number in range(1, len(hazards) + 1)]
    assert len(hazards) >= 15
    for name, _, anchor, before, rated_before, now, rated_now, owner, status in hazards:
        assert anchor == name.lower()
        for rating, number in ((before, rated_before), (now, rated_now)):
            likelihood, _, severity = rating.partition(", ")
            assert matrix[(likelihood, severity)] == number, name
        assert (owner != "", status in ("controlled", "open", "closed")) == (True, True), name
        assert rated_now <= rated_before, name


def test_every_hazard_says_its_cause_effect_and_controls_and_rests_on_tests_that_are_there() -> None:
    text = document("hazard-log.md")
    for name, title, _, _, _, _, _, _, status in HAZARD.findall(text):
        told = section(text, name)
        assert f"**{title}.**" in told, name
        for part in ("Cause", "Effect", "Controls", "Evidence"):
            assert f"\n- {part}: " in told, name
        assert ("\n- Still to come: " in told) is (status == "open"), name
        tests = re.findall(r"`(tests/[\w/.]+)`", told)
        assert [test for test in tests if not (ROOT / test).exists()] == [], name
        assert tests, name
