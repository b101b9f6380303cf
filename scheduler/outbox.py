"""The outbox folder: where finished mails go while no mail server is set, one complete `.eml` file each."""

import hashlib
import os
from collections.abc import Callable
from email import message_from_bytes, policy
from pathlib import Path

from db.states import AttemptOutcome
from scheduler import kill_points
from scheduler.mailer import RelayTrouble
from scheduler.smtp_outcome import Phase, RelayEffect, Verdict


class FolderConnection:
    """Takes messages as `mailer.Connection` does and writes them to a folder.

    The file's name comes from the Message-ID, so a message that is written again after a crash is the same file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def takes_groups(self) -> bool:
        """One after the other."""
        return False

    async def ensure_open(self) -> None:
        """Make the folder, readable by this user only: the mails name patients. Raises `RelayTrouble`."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            raise RelayTrouble(_trouble(Phase.CONNECT)) from None

    async def envelope(self, sender: str, recipient: str) -> Verdict | None:
        """Nothing stands in the way."""
        return None

    async def content(
        self,
        message: bytes,
        on_354: Callable[[], bool | None] | None = None,
        then: tuple[str, str] | None = None,
    ) -> Verdict:
        """Write the file, durable before the verdict. A full disk is the folder's trouble, not the message's."""
        if on_354 is not None and on_354() is False:
            return Verdict(AttemptOutcome.NOT_SENT, False, RelayEffect.FINE, Phase.DATA)
        try:
            write_mail(self._folder, message)
        except OSError:
            return _trouble(Phase.DATA)
        kill_points.reach("dot_written")
        return Verdict(AttemptOutcome.ACCEPTED, False, RelayEffect.FINE, Phase.CONTENT)

    async def abandon(self) -> None:
        """Nothing was begun."""

    async def close(self) -> None:
        """Nothing is open."""


def _trouble(phase: Phase) -> Verdict:
    return Verdict(AttemptOutcome.NOT_SENT, False, RelayEffect.BACK_OFF, phase)


def write_mail(folder: Path, message: bytes) -> Path:
    """Write one message whole or not at all; returns its path."""
    head = message_from_bytes(message.partition(b"\r\n\r\n")[0], policy=policy.default)
    name = hashlib.sha256(str(head["Message-ID"]).encode()).hexdigest()[:20]
    path = folder / f"{name}.eml"
    draft = folder / f".{name}.part"
    with draft.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(message)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def list_mails(folder: Path, limit: int) -> list[Path]:
    """The newest mails first."""
    if not folder.is_dir():
        return []
    return sorted(folder.glob("*.eml"), key=lambda path: path.stat().st_mtime, reverse=True)[:limit]
