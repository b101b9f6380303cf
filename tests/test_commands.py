"""The command line as staff and programs use it: what each command prints, and the JSON that programs hold on to."""

from pathlib import Path
from uuid import UUID

import pytest

from scheduler.clock import FastClock
from tests.clinic import COURSE
from tests.process import environment
from tests.terminal import Said, Terminal

AMINA = (
    *("--given-name", "Amina", "--family-name", "Farouk", "--email", "amina@example.org", "--confirmed"),
    *("--consent", "all", "--birth-date", "1990-04-12", "--record-number", "A-1001", "--phone", "020 7946 0101"),
)
REMINDER_KEYS = [
    "id",
    "treatment_id",
    "patient_id",
    "step",
    "occurrence",
    "generation",
    "kind",
    "template",
    "state",
    "reason",
    "due_at",
    "due_local",
    "zone",
    "expires_at",
    "message_id",
    "attempts",
    "sent_at",
]


@pytest.fixture
def terminal(
    tmp_path: Path, clock: FastClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    """A command line over an empty folder with one protocol."""
    protocols = tmp_path / "protocols"
    protocols.mkdir()
    (protocols / "course.toml").write_text(COURSE)
    return Terminal(environment(tmp_path), clock, monkeypatch, capsys)


@pytest.fixture
def patient_id(terminal: Terminal) -> str:
    """Amina."""
    return terminal.ok("patient", "add", *AMINA).lines[0]


@pytest.fixture
def treatment_id(terminal: Terminal, patient_id: str) -> str:
    """Her treatment, its protocol approved."""
    terminal.ok("protocol", "text", "course", "rest_rule", "--value", "Rest for a day.")
    terminal.ok("protocol", "approve", "course", "--by", "Dr Okafor", "--yes")
    return add(terminal, patient_id).lines[0]


def add(terminal: Terminal, patient_id: str, at: str = "2026-11-23T10:30", *more: str) -> Said:
    """Enter a treatment."""
    return terminal.ok("treatment", "add", "--patient", patient_id, "--protocol", "course", "--at", at, *more)


def row(terminal: Terminal, step: str) -> dict[str, str]:
    """One reminder as programs see it."""
    found: list[dict[str, str]] = [each for each in terminal.ok("reminders", "--json").json if each["step"] == step]
    return found[-1]


def test_a_patient_is_entered_listed_and_shown(terminal: Terminal) -> None:
    said = terminal.ok("patient", "add", *AMINA)
    patient_id = str(UUID(said.lines[0]))
    assert (said.lines, said.err) == ([patient_id], "")
    (listed,) = terminal.ok("patient", "list", "--json").json
    assert listed == {
        "id": patient_id,
        "record_number": "A-1001",
        "name": "Amina Farouk",
        "address": "confirmed",
        "stopped": None,
        "level": "general",
        "call_safe": "ask",
        "consent": {"exercises": True, "reviews": True},
    }
    shown = terminal.ok("patient", "show", patient_id, "--json").json
    assert {key: shown[key] for key in listed} == listed
    assert (shown["email"], shown["birth_date"], shown["treatments"]) == ("amina@example.org", "1990-04-12", [])
    assert shown["created_at"].endswith("Z")
    assert "Amina Farouk" in terminal.ok("patient", "list").out
    assert [found["id"] for found in terminal.ok("patient", "list", "--search", "ami far", "--json").json] == [
        patient_id
    ]
    assert terminal.ok("patient", "list", "--search", "zoe").lines == ["Nobody was found."]


def test_empty_lists_say_so_and_are_empty_arrays(terminal: Terminal) -> None:
    for words in (["audit", "list"], ["patient", "list"], ["treatment", "list"], ["reminders"], ["import", "list"]):
        assert terminal.ok(*words, "--json").json == []
        (line,) = terminal.ok(*words).lines
        assert line.startswith(("There are no ", "Nothing "))


def test_a_number_is_shown_only_with_the_word_that_she_may_be_rung(terminal: Terminal, patient_id: str) -> None:
    for answer, shown in (("ask", None), ("no", None), ("yes", "020 7946 0101")):
        terminal.ok("patient", "set", patient_id, "--call-safe", answer, "--contact-note", "After six.")
        said = terminal.ok("patient", "show", patient_id)
        assert ("020 7946 0101" in said.out) is (shown is not None)
        assert ("do not ring: ask a clinician" in said.out) is (shown is None)
        assert "After six." in said.out


def test_a_code_for_her_page_is_set_and_never_shown(terminal: Terminal, patient_id: str) -> None:
    assert terminal.ok("patient", "show", patient_id, "--json").json["page_code_set"] is False
    said = terminal.ok("patient", "set", patient_id, "--page-code", "blue lantern 7")
    assert said.lines == ["Changed. The plans follow."]
    shown = terminal.ok("patient", "show", patient_id, "--json").json
    assert shown["page_code_set"] is True
    assert "lantern" not in str(shown)
    assert "page code set" in terminal.ok("patient", "show", patient_id).out
    refused = terminal.run("patient", "set", patient_id, "--page-code", "abc", "--language", "de")
    assert refused.code == 2
    assert terminal.ok("patient", "show", patient_id, "--json").json["language"] == "en"


def test_stopping_and_resuming_is_seen_in_the_list(terminal: Terminal, patient_id: str) -> None:
    said = terminal.ok("patient", "stop", patient_id, "--reason", "opted-out", "--note", "By telephone.")
    assert said.lines == ["Stopped. The patient wants no messages."]
    assert terminal.ok("patient", "list", "--json").json[0]["stopped"] == "opted-out"
    assert "stopped: opted-out" in terminal.ok("patient", "list").out
    terminal.ok("patient", "resume", patient_id, "--reason", "She asked.")
    assert terminal.ok("patient", "list", "--json").json[0]["stopped"] is None


def test_a_note_is_kept_and_shown(terminal: Terminal, patient_id: str) -> None:
    terminal.ok("patient", "note", patient_id, "--text", "Prefers mornings.", "--by", "Nurse Lee")
    (note,) = terminal.ok("patient", "show", patient_id, "--json").json["notes"]
    assert (note["text"], note["recorded_by"]) == ("Prefers mornings.", "Nurse Lee")


def test_entering_a_treatment_prints_its_id_alone_and_then_the_plan_in_words(
    terminal: Terminal, patient_id: str
) -> None:
    said = add(terminal, patient_id, "2026-11-23T10:30", "--clinician", "Dr Okafor", "--field", "lot=C1234")
    treatment_id = str(UUID(said.lines[0]))
    assert said.lines[1].startswith("Mon 23 November, 17:00 · on the day of the treatment · after visit · ")
    assert 'note: The protocol "course" is a draft' in said.err
    (listed,) = terminal.ok("treatment", "list", "--json").json
    assert (listed["id"], listed["patient_id"], listed["protocol"]) == (treatment_id, patient_id, "course")
    assert (listed["treated_at"], listed["treated_local"]) == ("2026-11-23T10:30:00Z", "2026-11-23T10:30:00")
    shown = terminal.ok("treatment", "show", treatment_id, "--json").json
    assert (shown["fields"], shown["clinician"], shown["plan_status"]) == ({"lot": "C1234"}, "Dr Okafor", "active")
    hers = terminal.ok("patient", "show", patient_id, "--json").json["treatments"]
    assert [(each["id"], each["treated_at"]) for each in hers] == [(treatment_id, "2026-11-23T10:30:00Z")]


def test_reminders_have_the_keys_that_programs_hold_on_to(terminal: Terminal, treatment_id: str) -> None:
    rows = terminal.ok("reminders", "--json").json
    assert len(rows) == 3
    for each in rows:
        assert list(each) == REMINDER_KEYS
        assert str(UUID(each["id"])) == each["id"]
        assert each["treatment_id"] == treatment_id
        assert each["due_at"].endswith("Z")
        assert each["expires_at"].endswith("Z")
        assert "Z" not in each["due_local"]
        assert each["message_id"][0] + each["message_id"][-1] == "<>"
    review = next(each for each in rows if each["step"] == "next-session")
    assert (review["due_local"], review["zone"]) == ("2026-12-21T10:00:00", "Europe/London")
    assert (review["attempts"], review["sent_at"], review["occurrence"], review["generation"]) == (0, None, 1, 1)


def test_reminders_are_filtered(terminal: Terminal, treatment_id: str, patient_id: str) -> None:
    def steps(*words: str) -> list[str]:
        return [each["step"] for each in terminal.ok("reminders", "--json", *words).json]

    assert steps("--due-before", "2026-12-14T08:59") == ["after-visit"]
    assert steps("--due-before", "2026-12-14T09:01Z") == ["after-visit", "no-review-yet"]
    assert steps("--due-before", "2026-12-15") == ["after-visit", "no-review-yet"]
    assert steps("--state", "sent") == []
    assert len(steps("--patient", patient_id)) == 3
    other = terminal.ok("patient", "add", "--given-name", "Ada", "--family-name", "Obi").lines[0]
    assert steps("--patient", other) == []


def test_a_plan_is_told_in_words_and_as_json(terminal: Terminal, treatment_id: str) -> None:
    shown = terminal.ok("plan", treatment_id, "--json").json
    assert list(shown) == [
        "treatment_id", "patient_id", "protocol", "version", "approved", "status", "reviews", "questions", "reminders",
    ]  # fmt: skip
    assert (shown["protocol"], shown["version"], shown["approved"], shown["status"]) == ("course", 1, True, "active")
    assert shown["reviews"][0] == {
        "key": "two-week",
        "status": "due",
        "due_on": "2026-12-07",
        "latest_on": "2026-12-10",
        "visit_at": None,
    }
    assert [list(each)[: len(REMINDER_KEYS)] for each in shown["reminders"]] == [REMINDER_KEYS] * 3
    lines = terminal.ok("plan", treatment_id).lines
    assert lines == [each["words"] for each in shown["reminders"]]
    assert "Mon 14 December, 09:00 · 21 days after the treatment · line for staff · will be shown to staff" in lines


def test_an_event_prints_its_id_and_what_changed(terminal: Terminal, treatment_id: str) -> None:
    booked = ("--kind", "review_booked", "--at", "2026-12-08T14:00", "--field", "place=Room 2")
    said = terminal.ok("event", "add", treatment_id, *booked)
    event_id = str(UUID(said.lines[0]))
    assert said.lines[1:] == ["“Your visit on Tuesday 8 December”: new, Sat 5 December, 10:00; will be sent"]
    shown = terminal.ok("treatment", "show", treatment_id, "--json").json["events"]
    assert [(each["id"], each["kind"], each["at"], each["fields"]) for each in shown] == [
        (event_id, "review_booked", "2026-12-08T14:00:00Z", {"place": "Room 2"})
    ]
    assert terminal.ok("plan", treatment_id, "--json").json["reviews"][0]["visit_at"] == "2026-12-08T14:00:00Z"
    said = terminal.ok("event", "retract", event_id, "--reason", "Wrong patient.")
    assert said.lines == ["“Your visit on Tuesday 8 December”: cancelled: What it was for no longer applies."]
    assert terminal.ok("treatment", "show", treatment_id, "--json").json["events"][0]["retracted"] is True


def test_moving_shows_what_will_change_and_needs_a_yes(terminal: Terminal, treatment_id: str) -> None:
    before = terminal.ok("reminders", "--json").json
    said = terminal.run("treatment", "move", treatment_id, "--at", "2026-11-24T10:30")
    assert said.code == 2
    assert "“Please choose a time”: from Mon 21 December, 10:00 to Tue 22 December, 10:00" in said.lines
    assert said.err == "Move the treatment?\nNothing was changed. Say --yes to do it.\n"
    assert terminal.ok("reminders", "--json").json == before
    said = terminal.ok("treatment", "move", treatment_id, "--at", "2026-11-24T10:30", "--yes", "--reason", "Misread.")
    assert said.lines[-1] == "Moved."
    assert row(terminal, "next-session")["due_local"] == "2026-12-22T10:00:00"
    versions = terminal.ok("treatment", "show", treatment_id, "--json").json["versions"]
    assert [(each["treated_local"], each["reason"]) for each in versions] == [
        ("2026-11-23T10:30:00", None),
        ("2026-11-24T10:30:00", "Misread."),
    ]


def test_a_treatment_is_cancelled_or_given_to_whom_it_belongs(terminal: Terminal, treatment_id: str) -> None:
    other = terminal.ok("patient", "add", "--given-name", "Ada", "--family-name", "Obi").lines[0]
    moved = terminal.ok("treatment", "reassign", treatment_id, "--patient", other, "--reason", "Same initials.").lines
    assert (len(moved), str(UUID(moved[0]))) == (1, moved[0])
    assert terminal.ok("treatment", "show", treatment_id, "--json").json["status"] == "cancelled"
    assert terminal.ok("treatment", "cancel", moved[0], "--reason", "Did not take place.").lines == ["Cancelled."]
    assert terminal.run("treatment", "cancel", moved[0], "--reason", "again").code == 1


def test_each_decision_about_a_reminder_says_where_it_stands(terminal: Terminal, treatment_id: str) -> None:
    reminder_id = row(terminal, "next-session")["id"]
    for words, end in (
        (["hold", "--note", "Away."], "held: Staff put it on hold."),
        (["resume"], "will be sent"),
        (["send-now"], "will be sent"),
        (["cancel"], "cancelled: Staff cancelled it."),
    ):
        said = terminal.ok("reminder", words[0], reminder_id, *words[1:])
        assert said.lines == [f"{reminder_id} {end}"]
    again = terminal.ok("reminder", "send-again", reminder_id).lines[0]
    assert again.endswith(" will be sent")
    assert not again.startswith(reminder_id)
    assert terminal.ok("reminder", "resolve", again.split()[0], "--as", "done").lines[0].endswith("by hand.")
    said = terminal.run("reminder", "hold", reminder_id)
    assert (said.code, said.err) == (1, "it is cancelled: hold is not possible\n")


def test_a_preview_comes_as_text_html_and_mail(terminal: Terminal, treatment_id: str) -> None:
    text = terminal.ok("preview", treatment_id, "--step", "after-visit")
    assert text.lines[:3] == ["After your visit", "", "Hello Amina."]
    html = terminal.ok("preview", treatment_id, "--step", "after-visit", "--format", "html").out
    assert html.startswith("<!DOCTYPE html>")
    assert terminal.ok("preview", treatment_id, "--step", "alone", "--occurrence", "2").lines[0] == "Your plan: week 2"


def test_protocols_are_listed_shown_checked_and_approved(terminal: Terminal, tmp_path: Path) -> None:
    listed = {each["key"]: each for each in terminal.ok("protocol", "list", "--json").json}
    assert (listed["course"]["version"], listed["course"]["status"]) == (1, "draft")
    assert "vaginismus-toxin" in listed  # the shipped ones stay beside the clinic's own
    shown = terminal.ok("protocol", "show", "course", "--json").json
    assert (shown["texts"], shown["reviews"]) == ({"rest_rule": None}, ["two-week", "six-week"])
    assert 'text "rest_rule" (required): not given yet' in terminal.ok("protocol", "show", "course").lines
    said = terminal.ok("protocol", "check", str(tmp_path / "protocols" / "course.toml"))
    assert said.lines == ["course.toml: A course, 8 steps, no findings."]
    said = terminal.run("protocol", "approve", "course", "--by", "Dr Okafor", "--yes")
    assert (said.code, '"rest_rule" is empty' in said.err) == (1, True)
    terminal.ok("protocol", "text", "course", "rest_rule", "--value", "Rest for a day.")
    said = terminal.run("protocol", "approve", "course", "--by", "Dr Okafor")
    assert said.code == 2
    assert "rest_rule: Rest for a day." in said.lines
    assert "--- en/after_visit.md" in said.lines
    assert said.err.startswith("Approve course version 1 with ")
    said = terminal.ok("protocol", "approve", "course", "--by", "Dr Okafor", "--yes")
    assert said.lines[-1].startswith("Approved by Dr Okafor: course version 1, ")
    said = terminal.ok("protocol", "approve", "course", "--by", "Dr Okafor", "--yes")
    assert said.lines == ["Approved already; nothing changed."]


def test_a_wrong_protocol_file_is_told_with_file_and_line(terminal: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "course.toml"
    path.write_text(COURSE.replace('offset = "P28D"', 'offset = "P1M"'))
    said = terminal.run("protocol", "check", str(path))
    assert said.code == 1
    assert said.lines[0].startswith("course.toml:")
    path.write_bytes(b"\xff")
    assert terminal.run("protocol", "check", str(path)).code == 2


def test_a_changed_file_of_an_approved_version_is_refused(
    terminal: Terminal, treatment_id: str, tmp_path: Path
) -> None:
    (tmp_path / "protocols" / "course.toml").write_text(COURSE.replace('at = "17:00"', 'at = "18:00"'))
    said = terminal.run("protocol", "approve", "course", "--by", "Dr Okafor", "--yes")
    assert said.code == 1
    assert "raise the version" in said.err


def test_texts_are_listed_checked_and_approved(terminal: Terminal) -> None:
    rows = terminal.ok("template", "list", "--json").json
    assert {"key": "after_visit", "language": "de", "level": "general", "status": "draft"} in rows
    assert terminal.ok("template", "check").lines[-1] in ("No text fails.", "No findings.")
    assert terminal.run("template", "approve", "after_visit", "--by", "Dr Okafor", "--language", "de").code == 2
    said = terminal.ok("template", "approve", "after_visit", "--by", "Dr Okafor", "--language", "de", "--yes")
    assert said.lines[-1] == "Approved by Dr Okafor: 2 text(s); 0 plan(s) followed."
    rows = terminal.ok("template", "list", "--json").json
    assert {"key": "after_visit", "language": "de", "level": "general", "status": "approved"} in rows


def test_the_gate_is_closed_and_opened(terminal: Terminal, treatment_id: str) -> None:
    terminal.ok("reminder", "send-now", row(terminal, "next-session")["id"])
    said = terminal.ok("hold", "--reason", "A wrong text.")
    assert said.lines == ["Sending is stopped. Nothing leaves until: release"]
    status = terminal.ok("status", "--json").json
    assert (status["gate"], status["gate_reason"]) == ("closed", "A wrong text.")
    said = terminal.run("release")
    assert said.code == 2
    assert said.lines[:2] == ["Sending was stopped: A wrong text.", "1 message(s) will leave at once."]
    assert terminal.ok("status", "--json").json["gate"] == "closed"
    assert terminal.ok("release", "--yes").lines[-1] == "Sending is open."
    assert terminal.ok("release").lines == ["Sending is open already; nothing changed."]
    actions = [event["action"] for event in terminal.ok("audit", "list", "--json").json]
    assert actions[:2] == ["gate.opened", "gate.closed"]


def test_status_counts_what_there_is(terminal: Terminal, treatment_id: str) -> None:
    status = terminal.ok("status", "--json").json
    assert list(status) == [
        "status", "causes", "gate", "gate_reason", "mail", "heartbeat_age_seconds", "swept_at", "oldest_due_seconds",
        "next_ready_at", "unknown", "checked_at", "not_whole", "backed_up_at",
        "questions", "counts",
    ]  # fmt: skip
    assert sum(status["counts"].values()) == 3
    assert (status["mail"], status["unknown"], status["questions"]) == ("outbox folder", 0, 0)
    folder = "no mail server is set: mails are written to the folder"
    assert status["causes"] == ["no sending process is running", folder]
    told = terminal.ok("status").lines
    assert any(line.split(maxsplit=1) == ["causes", f"no sending process is running; {folder}"] for line in told)


def test_check_finds_nothing_that_fails_in_a_new_clinic(terminal: Terminal) -> None:
    terminal.ok("protocol", "list")
    findings = terminal.ok("check", "--json").json
    assert {found["severity"] for found in findings} == {"warn"}
    assert {"relay-not-set", "protocol-draft"} <= {found["id"] for found in findings}


def test_the_audit_is_listed_and_verified_and_says_who(terminal: Terminal, patient_id: str) -> None:
    terminal.ok("patient", "show", patient_id, "--by", "Nurse Lee")
    event = terminal.ok("audit", "list", "--json", "--patient", patient_id, "--limit", "1").json[0]
    assert (event["actor"], event["action"], event["patient_id"]) == ("Nurse Lee", "patient.viewed", patient_id)
    assert event["at"].endswith("Z")
    assert "email" in event["fields"]
    assert "amina" not in terminal.ok("audit", "list", "--json").out.lower()
    checked = terminal.ok("audit", "verify", "--json").json
    assert checked["findings"] == []
    assert checked["events"] > 2


def test_migrating_again_changes_nothing(terminal: Terminal) -> None:
    assert terminal.ok("migrate").lines[0].endswith(" now.")
    assert terminal.ok("migrate").lines[0].endswith(" already.")
