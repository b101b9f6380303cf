"""What staff type about a patient, checked: every problem named by its field, with what would be right.

The same checks serve the command line, the import and later the forms and the API.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import TypeVar
from zoneinfo import ZoneInfoNotFoundError

from email_validator import EmailNotValidError, validate_email

from db.patients import PatientEntry
from db.states import CallSafe, Level, Topic
from scheduler.errors import InvalidInput
from scheduler.local_time import to_utc, zone
from scheduler.planning.facts import Moment
from scheduler.settings import Settings

NAME_LENGTH = 200
NOTE_LENGTH = 2_000
OLDEST_AGE = 120
E = TypeVar("E", bound=StrEnum)

CONSENT = {
    "all": {Topic.REVIEWS: True, Topic.EXERCISES: True},
    "reviews": {Topic.REVIEWS: True, Topic.EXERCISES: False},
    "exercises": {Topic.REVIEWS: False, Topic.EXERCISES: True},
    "none": {Topic.REVIEWS: False, Topic.EXERCISES: False},
}


@dataclass(frozen=True, slots=True)
class PatientForm:
    """The fields of `patient add`, as typed; None where nothing was typed."""

    given_name: str | None = None
    family_name: str | None = None
    preferred_name: str | None = None
    email: str | None = None
    birth_date: str | None = None
    record_number: str | None = None
    time_zone: str | None = None
    language: str | None = None
    level: str | None = None
    phone: str | None = None
    call_safe: str | None = None
    contact_note: str | None = None
    confirmed: str | None = None
    consent: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What she said beside who she is."""

    consent: Mapping[Topic, bool] = field(default_factory=dict)
    confirmed: bool = False


def check_patient(form: PatientForm, settings: Settings, today: date) -> tuple[PatientEntry, Said]:
    """A new patient from a form. Raises `InvalidInput` with every problem."""
    typed = {name: getattr(form, name) for name in form.__dataclass_fields__ if getattr(form, name) is not None}
    fields, said, problems = _check(typed, settings, today)
    problems += [f"{name}: is needed" for name in ("given_name", "family_name") if not typed.get(name, "").strip()]
    if said.confirmed and not (typed.get("email") or "").strip():
        problems.append("confirmed: there is no e-mail address to confirm")
    if problems:
        raise InvalidInput(*problems)
    born = fields.get("birth_date")
    entry = PatientEntry(
        given_name=str(fields["given_name"]),
        family_name=str(fields["family_name"]),
        time_zone=fields.get("time_zone") or settings.clinic_time_zone,
        language=fields.get("language") or settings.clinic_language,
        level=Level(fields.get("level") or default_level(settings)),
        call_safe=CallSafe(fields.get("call_safe") or CallSafe.ASK),
        preferred_name=fields.get("preferred_name"),
        email=fields.get("email"),
        phone=fields.get("phone"),
        birth_date=date.fromisoformat(born) if born else None,
        contact_note=fields.get("contact_note"),
        record_number=fields.get("record_number"),
    )
    return entry, said


def check_change(
    values: Mapping[str, str | None], settings: Settings, today: date
) -> tuple[dict[str, str | None], Said]:
    """The changed fields of a patient. Raises `InvalidInput` with every problem."""
    if not values:
        raise InvalidInput("nothing to change was given")
    fields, said, problems = _check({name: value or "" for name, value in values.items()}, settings, today)
    problems += [
        f"{name}: cannot be empty"
        for name in ("given_name", "family_name", "time_zone", "language", "level", "call_safe")
        if name in fields and not fields[name]
    ]
    if problems:
        raise InvalidInput(*problems)
    return fields, said


def default_level(settings: Settings) -> Level:
    """The level of a new patient: a notice where there is a private page to read it on."""
    return Level.NOTICE if settings.public_url else Level.GENERAL


def check_moment(text: str, zone_name: str, label: str = "at") -> Moment:
    """A local date and time (`2026-11-23T10:30`, seconds allowed); an explicit offset is converted to the zone.

    A wall time that a clock change skips is refused: nobody was treated then. Raises `InvalidInput`.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput(f'{label}: "{text}" is not a date and time; write 2026-11-23T10:30') from None
    if "T" not in text.strip() and " " not in text.strip():
        raise InvalidInput(f'{label}: "{text}" has no time; write {text.strip()}T10:30')
    try:
        zone(zone_name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(f'{label}: "{zone_name}" is not a time zone; write one like Europe/London') from None
    if not 1900 <= found.year <= 2200:  # beyond, arithmetic with offsets and spans leaves the calendar
        raise InvalidInput(f"{label}: the year {found.year} is not from 1900 to 2200")
    if found.tzinfo is not None:
        instant = found.astimezone(zone(zone_name))
        wall = instant.replace(tzinfo=None, fold=0)
        return Moment(wall, zone_name, found.astimezone(zone("UTC")))
    instant = to_utc(found, zone_name)
    if instant.astimezone(zone(zone_name)).replace(tzinfo=None) != found:
        raise InvalidInput(f"{label}: {text} does not exist in {zone_name}: the clocks go forward over it")
    return Moment(found, zone_name, instant)


def clean_text(text: str, label: str, length: int) -> tuple[str, str | None]:
    """Text as stored (NFC, trimmed) and a problem or None: control characters and overlong texts are refused."""
    cleaned = unicodedata.normalize("NFC", text).strip()
    if any(unicodedata.category(letter) == "Cc" for letter in cleaned.replace("\n", "") if letter != "\t"):
        return "", f"{label}: contains control characters"
    if len(cleaned) > length:
        return "", f"{label}: is longer than {length} characters"
    return cleaned, None


def read_reason(text: str) -> str:
    """Why something is done, as stored. Raises `InvalidInput` when nothing was said."""
    cleaned, problem = clean_text(text, "reason", NOTE_LENGTH)
    if problem or not cleaned:
        raise InvalidInput(problem or "reason: say why")
    return cleaned


def check_email(text: str) -> tuple[str, str | None]:
    """An address as stored (domain in ASCII, lower case) and a problem or None."""
    try:
        found = validate_email(text.strip(), check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError as wrong:
        reason = re.sub(r"\s+", " ", str(wrong)).rstrip(".")
        return "", f"email: is not a usable address ({reason[:120]})"
    if found.ascii_email is None:
        return "", "email: letters outside ASCII before the @ cannot be delivered; ask for another address"
    return found.ascii_email, None


def _check(typed: Mapping[str, str], settings: Settings, today: date) -> tuple[dict[str, str | None], Said, list[str]]:
    fields: dict[str, str | None] = {}
    problems: list[str] = []
    consent: Mapping[Topic, bool] = {}
    confirmed = False
    for name, text in typed.items():
        value, problem = text.strip(), None
        if name in ("given_name", "family_name", "preferred_name", "record_number", "phone"):
            value, problem = clean_text(text.replace("\n", " "), name, NAME_LENGTH)
            if not problem and name == "phone" and value and not re.fullmatch(r"\+?[0-9 ()./-]{4,40}", value):
                problem = "phone: write digits, spaces and an optional leading +"
        elif name == "contact_note":
            value, problem = clean_text(text, name, NOTE_LENGTH)
        elif name == "email" and value:
            value, problem = check_email(value)
        elif name == "birth_date" and value:
            problem = _birth_date_problem(value, today)
        elif name == "time_zone" and value:
            problem = _zone_problem(value)
        elif name == "language" and value:
            value = value.lower()
            problem = None if re.fullmatch(r"[a-z]{2,3}(-[a-z0-9]{2,8})*", value) else "language: write a code like en"
        elif name == "level" and value:
            problem = _word_problem(name, value, Level)
        elif name == "call_safe" and value:
            problem = _word_problem(name, value, CallSafe)
        elif name == "consent":
            if value not in CONSENT:
                problems.append(f'consent: "{value}" is none of these: {", ".join(CONSENT)}')
            else:
                consent = CONSENT[value]
            continue
        elif name == "confirmed":
            truth = read_yes_no(value)
            if truth is None:
                problems.append(f'confirmed: "{value}" is neither yes nor no')
            confirmed = bool(truth)
            continue
        if problem:
            problems.append(problem)
        else:
            fields[name] = value or None
    return fields, Said(consent, confirmed), problems


def read_yes_no(text: str) -> bool | None:
    """yes/no, true/false, 1/0 in any case; None for anything else."""
    return {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}.get(text.strip().lower())


def _birth_date_problem(text: str, today: date) -> str | None:
    try:
        born = date.fromisoformat(text)
    except ValueError:
        return f'birth_date: "{text}" is not a date; write 1990-05-31'
    if born > today:
        return f"birth_date: {text} lies in the future"
    if today.year - born.year > OLDEST_AGE:
        return f"birth_date: {text} is more than {OLDEST_AGE} years ago"
    return None


def _zone_problem(text: str) -> str | None:
    try:
        zone(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f'time_zone: "{text}" is not known; write one like Europe/London'
    return None


def _word_problem(name: str, text: str, words: type[E]) -> str | None:
    if text in {word.value for word in words}:
        return None
    return f'{name}: "{text}" is none of these: {", ".join(word.value for word in words)}'
