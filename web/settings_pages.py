"""Settings, read only: every value and what is to be set yet, health in words, versions, and the check on demand.

Settings are changed where the program is started (`docs/settings.md`); what is checked is in `scheduler.checks`.
"""

import platform
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import Response
from pydantic import SecretStr

from db.migrations import current, head
from scheduler.checks import Found, check
from scheduler.clinic import Clinic
from scheduler.health import Health, examine
from scheduler.local_time import Window
from scheduler.settings import HIDDEN, SECRETS, Settings
from web import times
from web.forms import EmptyForm
from web.long_work import Progress, start
from web.pages import clinic_of, page
from web.seen import note_view
from web.times import Say

_PROJECT: Final = Path(__file__).resolve().parent.parent / "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Setting:
    """One line: its name, its value in words, whether somebody set it, and whether it has to be set yet."""

    name: str
    value: str
    origin: str
    expected: str
    missing: bool


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of health: `level` is `green`, `amber` or `red`."""

    level: str
    words: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What the last check in this process found, and when."""

    at: datetime
    findings: Sequence[Found]


def settings_page(request: Request) -> Response:
    """Everything about how this service is set up, and whether it is well."""
    clinic = clinic_of(request)
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        found = examine(session, clinic)
    return page(
        request,
        "settings/settings.html",
        settings=list(_settings(clinic.settings)),
        facts=list(_facts(found, say)),
        versions=_versions(clinic),
        checked=getattr(request.app.state, "checked", None),
    )


def run_check(request: Request) -> Response:
    """Check everything, as `check` does; what is found then stands on the page."""
    EmptyForm.read(request)
    clinic, state = clinic_of(request), request.app.state
    note_view(request, "check.run")

    def run(progress: Progress) -> str:
        state.checked = Checked(clinic.clock.now(), check(clinic))
        return "/settings"

    return start(request, "Checking everything", run, "/settings")


def _settings(settings: Settings) -> Iterator[Setting]:
    for name, field in Settings.model_fields.items():
        if name in HIDDEN:
            continue
        is_set = name in settings.model_fields_set
        yield Setting(
            name=name.upper(),
            value=_value(name, getattr(settings, name), is_set),
            origin="set" if is_set else "default",
            expected=field.description or "",
            missing=name in settings.to_be_set,
        )


def _value(name: str, value: Any, is_set: bool) -> str:
    """A value as people read it; of a secret only whether there is one."""
    if name in SECRETS or isinstance(value, SecretStr):
        return "set, never shown" if is_set else "not set"
    if value is None or value == "":
        return "not set"
    if isinstance(value, Window):
        return "-".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (value.opens, value.closes))
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value.resolve()) if isinstance(value, Path) else str(value)


def _facts(found: Health, say: Say) -> Iterator[Fact]:
    """Health as sentences: what `/health` tells to machines."""
    now = found.vitals
    if not now.alive:
        yield Fact("red", "No sending process is running.")
    else:
        yield Fact("green", f"The sending process gave a sign of life {times.age(now.heartbeat_age_seconds or 0)} ago.")
    if now.gate_open:
        yield Fact("green", "Sending is released.")
    else:
        yield Fact("amber", f"Sending is stopped: {now.gate_reason or 'no reason was given'}.")
    if now.oldest_due_seconds is None:
        yield Fact("green", "Nothing is due and unsent.")
    else:
        level = "red" if now.stalled else "green"
        yield Fact(level, f"The oldest due message has waited {times.age(now.oldest_due_seconds)}.")
    if now.next_message_at is not None:
        yield Fact("green", f"The next message is due {say.when(now.next_message_at)}.")
    if now.to_folder:
        yield Fact("amber", "No mail server is set: mails are written to the folder.")
    held = sum(found.held.values())
    lost = _count(found.unknown, "message")
    yield Fact("amber" if found.unknown else "green", f"{lost} with an answer that was lost.")
    yield Fact("amber" if found.failed else "green", f"{_count(found.failed, 'message')} refused and not settled yet.")
    yield Fact("green", f"{_count(held, 'message')} held{', each with its reason' if held else ''}.")


def _versions(clinic: Clinic) -> list[tuple[str, str]]:
    engine = clinic.store.engine
    with engine.connect() as connection:
        numbers = ".".join(str(part) for part in connection.dialect.server_version_info or ())
    database = "SQLite" if clinic.store.is_sqlite else "PostgreSQL"
    schema = current(engine) or "none"
    return [
        ("Aftercare", _own_version()),
        ("Schema of the record", schema if schema == head() else f"{schema}; this program's is {head()}"),
        ("Python", platform.python_version()),
        ("Database", f"{database} {numbers}".strip()),
        ("Zone data", _version("tzdata")),
        ("Public holidays", _version("holidays")),
    ]


def _own_version() -> str:
    """What the project file says: the program runs from where it was unpacked, and is no installed package."""
    try:
        return str(tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]["version"])
    except (OSError, KeyError, ValueError):
        return "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number or 'No'} {noun}s"
