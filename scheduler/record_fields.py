"""Values of record fields as staff type them: what each type accepts, and the checks across fields.

Which fields a treatment has is in its protocol (`scheduler.protocols`); storing them in `scheduler.treatments`.
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final

from scheduler.planning.protocol import Field, FieldType, Protocol
from scheduler.table_reader import nearest

TOTAL_UNITS: Final = "total_units"  # a number field of this key has to be the sum of the sites with the same unit
EXPIRY: Final = "expiry"  # a date field of this key must not lie before the treatment
MAX_TEXT: Final = 2_000

_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,6})?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_WORDS = {"yes": "yes", "true": "yes", "1": "yes", "no": "no", "false": "no", "0": "no"}


class FieldInvalid(ValueError):
    """A typed value is not of its field's type; the message says what is expected and quotes nothing but short text."""


def normalise_value(field: Field, text: str) -> str:
    """The value as it is stored: trimmed, choices as the protocol spells them, yes or no, sites as `left=25, right=25`.

    An empty text stays empty: not known. Raises `FieldInvalid`.
    """
    text = text.strip()
    if not text:
        return ""
    if field.type is FieldType.NUMBER:
        _number(text)
        return text
    if field.type is FieldType.DATE:
        return _date(text).isoformat()
    if field.type is FieldType.CHOICE:
        return _choice(field, text)
    if field.type is FieldType.YES_NO:
        if text.casefold() not in _WORDS:
            raise FieldInvalid(f"{_quoted(text)}: expected yes or no")
        return _WORDS[text.casefold()]
    if field.type is FieldType.SITES:
        return ", ".join(f"{site}={amount}" for site, amount in read_sites(text).items())
    if _CONTROL.search(text) or len(text) > MAX_TEXT:
        raise FieldInvalid(f"expected a text without control characters, at most {MAX_TEXT} long")
    return text


def check_field_value(field: Field, text: str) -> str | None:
    """What is wrong with a typed value; None when it may be stored (empty: not known)."""
    try:
        normalise_value(field, text)
    except FieldInvalid as wrong:
        return str(wrong)
    return None


def read_sites(text: str) -> dict[str, Decimal]:
    """Site -> amount of `left=25, right=25` (a semicolon separates too). Raises `FieldInvalid`."""
    found: dict[str, Decimal] = {}
    for part in re.split("[,;]", text):
        site, equals, amount = (piece.strip() for piece in part.partition("="))
        if not equals or not site or _CONTROL.search(site):
            raise FieldInvalid(f"{_quoted(part.strip())}: expected sites and amounts like left=25, right=25")
        if site.casefold() in {known.casefold() for known in found}:
            raise FieldInvalid(f"site {_quoted(site)} is named twice; expected each site once")
        found[site] = _number(amount)
        if not found[site]:
            raise FieldInvalid(f"site {_quoted(site)} has 0; expected more, or the site left out")
    return found


def check_fields(protocol: Protocol, values: Mapping[str, str], treated_on: date) -> list[str]:
    """Everything wrong with the fields of one treatment, each problem beginning with `field KEY: `."""
    fields = {field.key: field for field in protocol.fields}
    problems = []
    good: dict[str, str] = {}
    for key, text in values.items():
        if key not in fields:
            problems.append(f'field {key}: the protocol "{protocol.key}" has no such field; {nearest(key, fields)}')
        elif problem := check_field_value(fields[key], text):
            problems.append(f"field {key}: {problem}")
        elif text.strip():
            good[key] = normalise_value(fields[key], text)
    total = fields.get(TOTAL_UNITS)
    if total is not None and total.type is FieldType.NUMBER and TOTAL_UNITS in good:
        problems += _check_total(total, fields, good)
    expiry = fields.get(EXPIRY)
    if expiry is not None and expiry.type is FieldType.DATE and EXPIRY in good and _date(good[EXPIRY]) < treated_on:
        problems.append(
            f"field {EXPIRY}: {good[EXPIRY]} lies before the treatment on {treated_on.isoformat()}; "
            "expected that day or later"
        )
    return problems


def missing_required(protocol: Protocol, values: Mapping[str, str]) -> list[str]:
    """Keys of required fields without a value: they gate signing the record, never the start of the plan."""
    return [field.key for field in protocol.fields if field.required and not values.get(field.key, "").strip()]


def _check_total(total: Field, fields: Mapping[str, Field], good: Mapping[str, str]) -> list[str]:
    sites = [field.key for field in fields.values() if field.type is FieldType.SITES and field.unit == total.unit]
    named = [key for key in sites if key in good]
    if not named:
        return []
    summed = sum((amount for key in named for amount in read_sites(good[key]).values()), Decimal(0))
    if summed == Decimal(good[TOTAL_UNITS]):
        return []
    return [f"field {TOTAL_UNITS}: {good[TOTAL_UNITS]} is not the sum of {', '.join(named)}; expected {summed}"]


def _number(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise FieldInvalid(f"{_quoted(text)}: expected a number like 100 or 2.5, with a point and without a unit")
    return Decimal(text)


def _date(text: str) -> date:
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise FieldInvalid(f"{_quoted(text)}: expected a date like 2027-12-31")


def _choice(field: Field, text: str) -> str:
    for choice in field.choices:
        if choice.casefold() == text.casefold():
            return choice
    raise FieldInvalid(f"{_quoted(text)}: {nearest(text, field.choices)}")


def _quoted(text: str) -> str:
    shown = text if len(text) <= 40 else text[:40] + "…"
    return f'"{shown}"'
