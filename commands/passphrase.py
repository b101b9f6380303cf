"""Asking for the passphrase of the recovery key: hidden on a terminal, else from a file. It is never an argument."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scheduler.errors import InvalidInput

PassphraseFile = Annotated[
    str | None, typer.Option("--passphrase-file", metavar="FILE", help="its first line; else the terminal asks")
]


def read_passphrase(file: str | None, twice: bool) -> str:
    """The passphrase as typed, `twice` where a slip would lock it away. Raises `InvalidInput`."""
    if file is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as wrong:
            raise InvalidInput(f"--passphrase-file: {file} cannot be read ({type(wrong).__name__})") from None
        if not lines or not lines[0]:
            raise InvalidInput(f"--passphrase-file: the first line of {file} is empty")
        return lines[0]
    if not sys.stdin.isatty():
        raise InvalidInput("a passphrase is needed: run this on a terminal, or name a file with --passphrase-file")
    return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=twice, err=True))
