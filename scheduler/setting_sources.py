"""Collecting settings from the environment and `aftercare.toml`: names, secrets from files, and who wins.

What the names mean and which values are right is in `scheduler.settings`; nothing here reads the environment itself.
"""

import difflib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "AFTERCARE_"
CONFIG = "AFTERCARE_CONFIG"
DEFAULT_CONFIG = "aftercare.toml"
_LONGEST_SHOWN = 80


@dataclass(slots=True)
class Found:
    """Values as text by setting name, how each is called where it was found, and what is wrong so far."""

    values: dict[str, str] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def collect(environ: Mapping[str, str], names: Collection[str], secrets: Collection[str]) -> Found:
    """Read the file, then the environment over it. An empty value counts as not set."""
    found = Found()
    path = environ.get(CONFIG) or None
    if path is not None or Path(DEFAULT_CONFIG).is_file():
        _from_file(found, Path(path or DEFAULT_CONFIG), names, secrets)
    _from_environment(found, environ, names, secrets)
    return found


def shown(value: str) -> str:
    """A value as a person is told about it: quoted, and cut when long."""
    return repr(value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "…")


def _from_environment(
    found: Found, environ: Mapping[str, str], names: Collection[str], secrets: Collection[str]
) -> None:
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX) and name != CONFIG and value}
    texts = {name.removeprefix(PREFIX): value for name, value in given.items()}
    known = {name.upper(): name for name in names}
    _take(found, texts, known, secrets, PREFIX + "{}", suffix="_FILE")


def _from_file(found: Found, path: Path, names: Collection[str], secrets: Collection[str]) -> None:
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as wrong:
        found.problems.append(f"{CONFIG}: cannot read {path}: {wrong.strerror}")
        return
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        found.problems.append(f'{path}: expected TOML lines like  clinic_name = "Your clinic"  ({wrong})')
        return
    texts: dict[str, str] = {}
    for name, value in parsed.items():
        if isinstance(value, bool):
            texts[name] = "on" if value else "off"
        elif isinstance(value, str | int):
            if value != "":
                texts[name] = str(value)
        else:
            found.problems.append(f"{name} in {path}: expected a text, a number or true/false")
    _take(
        found, texts, {name: name for name in names}, secrets, "{} in " + str(path).replace("{", "{{"), suffix="_file"
    )


def _take(
    found: Found,
    texts: Mapping[str, str],
    known: Mapping[str, str],
    secrets: Collection[str],
    called: str,
    suffix: str,
) -> None:
    files = {spelled + suffix: name for spelled, name in known.items() if name in secrets}
    for spelled, value in texts.items():
        if spelled in known:
            found.values[known[spelled]] = value
            found.called[known[spelled]] = called.format(spelled)
        elif spelled not in files:
            near = difflib.get_close_matches(spelled, [*known, *files], n=1)
            hint = f"; did you mean {called.format(near[0])}?" if near else ""
            found.problems.append(f"{called.format(spelled)}: there is no such setting{hint}")
    for spelled, name in files.items():
        if spelled not in texts:
            continue
        if spelled.removesuffix(suffix) in texts:
            found.problems.append(f"{called.format(spelled)}: give the value or its file, not both")
            continue
        try:
            value = Path(texts[spelled]).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            found.problems.append(
                f"{called.format(spelled)} is {shown(texts[spelled])}: expected a readable file that holds the value"
            )
            continue
        found.values[name] = value
        found.called[name] = called.format(spelled)
