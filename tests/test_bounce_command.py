"""The pipe for a mail server: a message on standard input is stored, known, ignored, sent back or kept for later."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from scheduler.clock import FastClock
from scheduler.received_parts import READ_BYTES
from tests import returned_mails as shapes
from tests.process import environment
from tests.returned_mails import filled
from tests.terminal import Said, Terminal


@pytest.fixture
def terminal(
    tmp_path: Path, clock: FastClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    """A command line over an empty folder."""
    (tmp_path / "protocols").mkdir()
    return Terminal(environment(tmp_path), clock, monkeypatch, capsys)


def piped(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, raw: bytes, **settings: str) -> Said:
    """The command with a message on its standard input, which it has to read to its end."""
    pipe = io.BytesIO(raw)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdin", SimpleNamespace(buffer=pipe, isatty=lambda: False))
        said = terminal.run("bounce", **settings)
    assert pipe.tell() == len(raw)
    return said


def test_each_message_ends_as_a_mail_server_understands(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    forged = piped(terminal, monkeypatch, filled(shapes.POSTFIX) + b"x" * 2 * READ_BYTES)
    assert (forged.code, forged.lines) == (0, ["A report about nothing that was sent from here; ignored."])
    assert piped(terminal, monkeypatch, filled(shapes.VACATION)).code == 0
    letter = piped(terminal, monkeypatch, filled(shapes.LETTER))
    assert (letter.code, letter.out, "still hurts" in letter.err) == (1, "", False)
    assert piped(terminal, monkeypatch, b" \r\n").code == 2


@pytest.mark.parametrize("settings", [{"LISTEN": "nonsense"}, {"KEYS_FILE": "/dev/null/keys.json"}])
def test_what_cannot_be_stored_now_is_kept_by_the_mail_server(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    said = piped(terminal, monkeypatch, filled(shapes.POSTFIX), **settings)
    assert (said.code, said.out) == (75, "")
    assert said.err.strip()
