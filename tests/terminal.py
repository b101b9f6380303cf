"""The command line in this process: the `main` that the program runs, with the test's clock, exit code and streams.

What only a real process shows (a terminal, a lock, bytes on standard output) uses `tests/process.py`.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import service
from scheduler.clock import FastClock


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document it has to be."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """Standard output by lines."""
        return self.out.splitlines()


class Terminal:
    """A clinic's command line over a folder of its own; nothing is a terminal, so nothing is asked."""

    def __init__(
        self,
        env: Mapping[str, str],
        clock: FastClock,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.env = dict(env)
        self.clock = clock
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    @property
    def var(self) -> Path:
        """Where its data lie."""
        return Path(self.env["AFTERCARE_DATA_DIR"])

    def run(self, *words: str, **settings: str) -> Said:
        """Run one command; `settings` are for this one alone."""
        self._capsys.readouterr()
        with self._monkeypatch.context() as patched:
            for name in [name for name in os.environ if name.startswith("AFTERCARE_")]:
                patched.delenv(name)
            for name, value in self.env.items():
                if name.startswith("AFTERCARE_"):
                    patched.setenv(name, value)
            for name, value in settings.items():
                patched.setenv(f"AFTERCARE_{name}", value)
            patched.setattr(sys, "argv", ["aftercare", *words])
            patched.setattr(service, "SystemClock", lambda: self.clock)
            code = 0
            try:
                service.main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        streams = self._capsys.readouterr()
        return Said(code, streams.out, streams.err)

    def ok(self, *words: str) -> Said:
        """Run one command that has to succeed."""
        said = self.run(*words)
        assert said.code == 0, (words, said)
        return said
