"""What the command line refuses: exit 2 for what was typed or set wrongly, 1 for what failed, never a traceback."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import select

from db.base import Base
from db.engine import make_engine
from db.states import DecisionKind, EventKind, Past, ReminderState, StopReason
from scheduler.clock import FastClock
from tests.clinic import COURSE
from tests.process import environment
from tests.terminal import Said, Terminal

NOBODY = "01a20b15-c602-772b-81a0-59d8201ff1c7"


@pytest.fixture
def terminal(
    tmp_path: Path, clock: FastClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    """A command line over a clinic with one patient and her treatment."""
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "course.toml").write_text(COURSE)
    return Terminal(environment(tmp_path), clock, monkeypatch, capsys)


@pytest.fixture
def patient_id(terminal: Terminal) -> str:
    """Amina."""
    return terminal.ok("patient", "add", "--given-name", "Amina", "--family-name", "Farouk").lines[0]


@pytest.fixture
def treatment_id(terminal: Terminal, patient_id: str) -> str:
    """Her treatment."""
    words = ("--patient", patient_id, "--protocol", "course", "--at", "2026-11-23T10:30")
    return terminal.ok("treatment", "add", *words).lines[0]


def tables(terminal: Terminal) -> dict[str, list[str]]:
    """Every row of every table."""
    engine = make_engine(f"sqlite:///{terminal.var}/aftercare.db")
    with engine.connect() as connection:
        found = {
            name: sorted(repr(tuple(row)) for row in connection.execute(select(table)))
            for name, table in Base.metadata.tables.items()
        }
    engine.dispose()
    return found


def refused(said: Said, code: int, *told: str) -> None:
    """Hold that a command ended so, said this on standard error, and showed no traceback."""
    assert said.code == code, said
    for words in told:
        assert words in said.err, said.err
    assert "Traceback" not in said.err + said.out


def test_what_is_typed_wrongly_ends_with_2_says_what_is_right_and_changes_nothing(
    terminal: Terminal, patient_id: str, treatment_id: str
) -> None:
    reminder_id = terminal.ok("reminders", "--json").json[0]["id"]
    before = tables(terminal)
    wrong: list[tuple[tuple[str, ...], str]] = [
        (("patient", "add", "--given-name", "", "--family-name", "Obi", "--email", "x"), "given_name: is needed"),
        (
            ("patient", "add", "--given-name", "Ada", "--family-name", "Obi", "--consent", "some"),
            "none of these: all, reviews",
        ),
        (("patient", "add", "--given-name", "Ada", "--family-name", "Obi", "--by", " "), "--by: write a name"),
        (("patient", "set", patient_id), "nothing to change"),
        (("patient", "set", patient_id, "--level", "some"), "none of these: notice, general, full"),
        (("patient", "set", NOBODY, "--phone", "020 7946 0000"), f"there is no patient {NOBODY}"),
        (("patient", "show", "12"), '"12" is not an id of a patient'),
        (("patient", "stop", patient_id, "--reason", "gone"), ", ".join(reason.value for reason in StopReason)),
        (("patient", "note", patient_id, "--text", " "), "write the note"),
        (("treatment", "show", NOBODY), f"there is no treatment {NOBODY}"),
        (("treatment", "show", "12"), "is not an id of a treatment"),
        (("treatment", "list", "--patient", "12"), "is not an id of a patient"),
        (("treatment", "move", treatment_id, "--at", "tomorrow", "--yes"), "is not a date and time"),
        (("treatment", "cancel", treatment_id, "--reason", " "), "reason"),
        (("event", "add", treatment_id, "--kind", "booked"), ", ".join(kind.value for kind in EventKind)),
        (("event", "add", treatment_id, "--kind", "review_booked"), "say when it is"),
        (("event", "add", treatment_id, "--kind", "hold", "--field", "why"), '"why" is not key=value'),
        (("event", "add", NOBODY, "--kind", "hold"), "there is no treatment"),
        (("event", "retract", NOBODY, "--reason", "x"), "there is no event"),
        (("plan", NOBODY), "there is no treatment"),
        (("reminders", "--state", "due"), ", ".join(state.value for state in ReminderState)),
        (("reminders", "--due-before", "soon"), 'time: "soon" is not a date and time'),
        (("reminders", "--patient", "12"), "is not an id of a patient"),
        (("reminder", "hold", NOBODY), "there is no reminder"),
        (("reminder", "resolve", reminder_id, "--as", "gone"), "none of received, resend, done"),
        (("preview", treatment_id, "--step", "after"), "none of after-visit"),
        (("preview", treatment_id, "--step", "after-visit", "--format", "pdf"), "none of text, html, eml"),
        (("hold", "--reason", " "), "say why"),
        (("protocol", "show", "cours"), "did you mean course"),
        (("protocol", "text", "course", "rest", "--value", "x"), "there are: rest_rule"),
        (("protocol", "approve", "nothing", "--by", "Dr Okafor", "--yes"), "there is no protocol"),
        (("template", "approve", "nothing", "--by", "Dr Okafor", "--yes"), "there is no text"),
        (("import", "nothing.csv"), "there is no file nothing.csv"),
        (("import", "undo", "12"), "is not an id of a batch"),
        (("import", "undo"), "say which batch"),
        (("audit", "list", "--patient", "12"), "is not an id of a patient"),
    ]
    for words, told in wrong:
        refused(terminal.run(*words), 2, told)
    adding = ("treatment", "add", "--patient", patient_id, "--protocol", "course", "--at")
    refused(terminal.run(*adding, "2026-11-23"), 2, "write 2026-11-23T10:30")
    refused(terminal.run(*adding, "2026-11-23T10:30", "--past", "no"), 2, ", ".join(rule.value for rule in Past))
    refused(terminal.run(*adding, "2026-11-23T10:30", "--field", "lot=1", "--field", "lot=2"), 2, "given twice")
    assert tables(terminal) == before


def test_wrong_options_end_with_2_on_standard_error(terminal: Terminal) -> None:
    for words in (
        ("nothing",),
        ("patient", "--nothing"),
        ("patient", "nothing"),
        ("patient", "add", "--given-name", "Ada"),
        ("patient", "list", "--limit", "0"),
        ("patient", "list", "--limit", "x"),
        ("treatment", "move", NOBODY),
        ("hold",),
        ("preview", NOBODY, "--step", "x", "--occurrence", "0"),
        ("protocol", "check", "nothing.toml"),
        ("protocol", "check", "."),
    ):
        said = terminal.run(*words)
        refused(said, 2, "Error")
        assert said.out == ""


def test_without_a_command_the_help_is_shown(terminal: Terminal) -> None:
    said = terminal.run()
    assert said.code == 2
    assert "send-due" in said.out + said.err
    assert terminal.run("--help").code == 0
    assert "--call-safe" in terminal.run("patient", "add", "--help").out


def test_what_the_rules_forbid_ends_with_1_and_changes_nothing(
    terminal: Terminal, patient_id: str, treatment_id: str
) -> None:
    reminder_id = terminal.ok("reminders", "--json").json[0]["id"]
    terminal.ok("protocol", "list")
    before = tables(terminal)
    adding = ("treatment", "add", "--patient", patient_id, "--protocol", "course", "--at", "2026-11-23T10:30")
    refused(terminal.run(*adding), 1, "entered already")
    refused(terminal.run("patient", "resume", patient_id, "--reason", "x"), 1, "not stopped")
    refused(
        terminal.run("reminder", "send-again", reminder_id), 1, f"{DecisionKind.SEND_AGAIN.value.replace('_', ' ')}"
    )
    refused(terminal.run("protocol", "approve", "course", "--by", "Dr Okafor", "--yes"), 1, "cannot be approved")
    assert tables(terminal) == before


def test_wrong_settings_are_told_all_at_once(terminal: Terminal) -> None:
    said = terminal.run(
        "status", SMTP_PORT="0", CLINIC_TIME_ZONE="London", NONSENSE="1", SMTP_SECURITY="ssl", LISTEN="here"
    )
    refused(said, 2, "AFTERCARE_SMTP_PORT", "AFTERCARE_CLINIC_TIME_ZONE", "AFTERCARE_NONSENSE", "AFTERCARE_LISTEN")
    assert len(said.err.splitlines()) == 5
    assert not terminal.var.exists()


def test_a_secret_is_not_repeated_when_it_is_wrong(terminal: Terminal) -> None:
    said = terminal.run("status", DATABASE_URL="mysql://amina:canary@example.org/x")
    refused(said, 2, "AFTERCARE_DATABASE_URL")
    assert "canary" not in said.err


# the key file


def test_a_missing_key_file_beside_a_written_record_is_never_made_anew(terminal: Terminal, patient_id: str) -> None:
    keys = terminal.var / "keys.json"
    kept = keys.read_bytes()
    keys.unlink()
    refused(terminal.run("patient", "list"), 1, "there is no key file", "put back the copy")
    assert not keys.exists()
    keys.write_bytes(kept)
    keys.chmod(0o600)
    terminal.ok("patient", "show", patient_id)


def test_a_key_file_that_others_can_read_is_refused(terminal: Terminal, patient_id: str) -> None:
    (terminal.var / "keys.json").chmod(0o644)
    refused(terminal.run("patient", "list"), 1, "keys.json")


def test_a_key_file_of_another_record_opens_nothing_and_check_says_so(terminal: Terminal, patient_id: str) -> None:
    keys = terminal.var / "keys.json"
    mine = keys.read_bytes()
    keys.unlink()
    said = terminal.run("status", DATABASE_URL=f"sqlite:///{terminal.var}/other.db")  # makes new keys
    assert said.code == 0
    assert keys.read_bytes() != mine
    refused(terminal.run("patient", "show", patient_id), 1)
    said = terminal.run("check")
    assert said.code == 1
    assert "keys-do-not-fit" in said.out


# what breaks down


def test_a_database_that_is_none_is_told_without_a_traceback(terminal: Terminal) -> None:
    terminal.var.mkdir()
    (terminal.var / "aftercare.db").write_bytes(b"canary " * 1000)
    said = terminal.run("patient", "list")
    refused(said, 1)
    assert "canary" not in said.err


def test_a_server_that_is_not_there_is_told(terminal: Terminal) -> None:
    url = f"postgresql+psycopg://nobody:canary@/none?host={terminal.var}"
    said = terminal.run("patient", "list", DATABASE_URL=url)
    refused(said, 1, "the database cannot be used")
    assert "canary" not in said.err


def test_a_data_folder_that_is_a_file_is_told(terminal: Terminal) -> None:
    terminal.var.write_text("a file")
    refused(terminal.run("patient", "list"), 1, str(terminal.var))


def test_a_newer_database_is_refused(terminal: Terminal) -> None:
    terminal.ok("migrate")
    with sqlite3.connect(terminal.var / "aftercare.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    refused(terminal.run("patient", "list"), 1, "9999")
    refused(terminal.run("migrate"), 1, "9999")


def test_what_nobody_expected_names_its_kind_and_place_and_no_value(terminal: Terminal, treatment_id: str) -> None:
    with sqlite3.connect(terminal.var / "aftercare.db") as connection:
        connection.execute("UPDATE reminders SET state = 'Amina Farouk', reason = 'hold'")
    connection.close()
    for words in (("plan", treatment_id), ("reminders", "--json"), ("status",)):
        said = terminal.run(*words)
        refused(said, 1, "Aftercare broke down here (", ".py:", "holds nothing about a patient")
        assert "Amina" not in said.err + said.out
