"""Named points at which the crash tests end this process with SIGKILL; without a test they do nothing.

Nothing is read from the environment here: `service.py` arms a point from the settings, the tests check what is left.
"""

import os
import signal
from pathlib import Path
from typing import Literal, get_args

Name = Literal[
    "plan_before_commit",
    "plan_after_commit",
    "after_claim",
    "after_render",
    "connected",
    "after_auth",
    "after_rcpt",
    "after_mark",
    "after_354",
    "half_content",
    "dot_written",
    "reply_read",
    "recorded",
    "in_quit",
    "in_render",
    "in_migration",
    "in_import",
    "in_move",
    "in_backup",
    "in_restore",
    "in_key_rotation",
]
NAMES: frozenset[str] = frozenset(get_args(Name))

_armed: dict[str, Path] = {}
_passes_left: dict[str, int] = {}


def arm(name: str, marker_file: Path, nth: int = 1) -> None:
    """Die the `nth` time (from 1) that point is reached, after writing its name durably to `marker_file`.

    Raises `ValueError` for a name that is no kill point.
    """
    if name not in NAMES:
        raise ValueError(f"{name!r} is no kill point; there are {', '.join(sorted(NAMES))}")
    if nth < 1:
        raise ValueError("nth counts from 1")
    _armed[name] = marker_file
    _passes_left[name] = nth - 1


def is_armed(name: Name) -> bool:
    """Whether the next `reach` of that point ends the process."""
    return name in _armed and _passes_left[name] == 0


def reach(name: Name) -> None:
    """Pass this point, or die here if a test armed it."""
    if name not in _armed:
        return
    if _passes_left[name]:
        _passes_left[name] -= 1
        return
    # The marker proves to the test that the process died here and not of something else.
    with _armed[name].open("a", encoding="ascii") as marker:
        marker.write(f"{name}\n")
        marker.flush()
        os.fsync(marker.fileno())
    os.kill(os.getpid(), signal.SIGKILL)
