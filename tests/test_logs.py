"""Logs: one JSON object a line, listed keys only, and exceptions without what they say."""

import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import structlog

from db.states import Reason
from scheduler.errors import InvalidSettings
from scheduler.logs import log, setup_logs
from scheduler.settings import load_settings
from tests.people import AMINA

REMINDER = UUID(int=7)


class Written:
    """All that was written to stderr so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """What is written to stderr; afterwards the logging of pytest is as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield Written(capsys)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(written: Written) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_is_one_json_object_that_begins_with_time_level_and_event(stderr: Written) -> None:
    setup_logs("info", terminal=False)
    log().info("reminder held", reminder_id=REMINDER, reason=Reason.HOLD, count=2)
    (line,) = lines(stderr)
    assert list(line)[:3] == ["ts", "level", "event"]
    assert line["ts"].endswith("Z")
    assert (line["level"], line["event"]) == ("info", "reminder held")
    assert (line["reminder_id"], line["reason"], line["count"]) == (str(REMINDER), "hold", 2)


def test_a_key_that_is_not_listed_is_dropped_and_named(stderr: Written) -> None:
    setup_logs("info", terminal=False)
    log().info("patient added", patient_id=REMINDER, given_name=AMINA.given_name, email=AMINA.email)
    (line,) = lines(stderr)
    assert line["dropped_keys"] == ["email", "given_name"]
    assert AMINA.given_name not in stderr.getvalue()
    assert AMINA.email not in stderr.getvalue()


def test_an_address_does_not_slip_in_under_a_listed_key_or_in_the_sentence(stderr: Written) -> None:
    setup_logs("info", terminal=False)
    log().info("refused", host=AMINA.email, check=["fine", AMINA.email], actor={"name": "x"})
    log().info(f"refused {AMINA.email}")
    assert AMINA.email not in stderr.getvalue()
    first, second = lines(stderr)
    assert first["dropped_keys"] == ["actor", "check", "host"]
    assert second["event"] == "(not told)"


def test_an_exception_is_its_type_and_our_own_lines_without_what_it_says(stderr: Written) -> None:
    setup_logs("info", terminal=False)
    try:
        try:
            load_settings({"AFTERCARE_SENDER_NAME": AMINA.email + "\n"})
        except InvalidSettings as wrong:
            raise KeyError(AMINA.email) from wrong
    except KeyError:
        log().exception("it broke", reminder_id=REMINDER)
    (line,) = lines(stderr)
    assert line["error"] == "KeyError from InvalidSettings"
    assert line["level"] == "error"
    assert AMINA.email not in stderr.getvalue()


def test_the_place_of_an_exception_is_told_for_our_own_files(stderr: Written) -> None:
    setup_logs("info", terminal=False)
    try:
        load_settings({"AFTERCARE_NO_SUCH": "1"})
    except InvalidSettings:
        log().exception("it broke")
    (line,) = lines(stderr)
    assert line["where"]
    assert all(place.startswith("scheduler/settings.py:") for place in line["where"])


def test_a_library_is_passed_on_without_its_arguments(stderr: Written) -> None:
    setup_logs("info", terminal=False)
    logging.getLogger("somelibrary").warning("sending to %s", AMINA.email)
    logging.getLogger("somelibrary").warning(f"sending to {AMINA.given_name}")
    logging.getLogger("somelibrary").debug("nothing to see")
    first, second = lines(stderr)
    assert (first["event"], first["logger"], first["level"]) == ("sending to %s", "somelibrary", "warning")
    assert second["event"] == "message of somelibrary"
    assert AMINA.given_name not in stderr.getvalue()


def test_lines_below_the_level_are_not_written(stderr: Written) -> None:
    setup_logs("warning", terminal=False)
    log().info("nothing to see")
    logging.getLogger("somelibrary").info("nothing to see")
    assert stderr.getvalue() == ""


def test_on_a_terminal_the_lines_are_for_people(stderr: Written) -> None:
    setup_logs("info", terminal=True)
    log().info("ready", listen="127.0.0.1:8000")
    assert "ready" in stderr.getvalue()
    assert not stderr.getvalue().startswith("{")
