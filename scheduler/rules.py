"""From the settings to what planning reads of them: the sending window, public holidays, and their fingerprint.

What planning does with them is in `scheduler.planning`; the settings themselves are in `scheduler.settings`.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import date
from functools import lru_cache

import holidays

from scheduler.local_time import zone_data_version
from scheduler.planning.facts import Rules
from scheduler.settings import Settings

# Fixed, so that neither rules nor fingerprint depend on the day of the start; longer than any plan made now.
HOLIDAY_YEARS = range(2020, 2051)


def rules(settings: Settings, years: Iterable[int] = HOLIDAY_YEARS) -> Rules:
    """What planning needs to know of the settings, with the public holidays of these years."""
    return Rules(
        window=settings.send_window,
        grace_minutes=settings.grace_minutes,
        holidays=public_holidays(settings.clinic_country, tuple(years)),
        clinic_zone=settings.clinic_time_zone,
        has_pages=settings.public_url is not None,
    )


def fingerprint(settings: Settings) -> str:
    """SHA-256 over all that planning depends on besides the record; when it differs, every plan is planned again."""
    planned_with = rules(settings)
    told: dict[str, object] = {
        "window": [planned_with.window.opens, planned_with.window.closes],
        "grace_minutes": planned_with.grace_minutes,
        "holidays": sorted(day.isoformat() for day in planned_with.holidays),
        "clinic_zone": planned_with.clinic_zone,
        "zone_data": zone_data_version(),
    }
    if planned_with.has_pages:
        told["has_pages"] = True
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=32)
def public_holidays(country: str, years: tuple[int, ...]) -> frozenset[date]:
    """The public holidays of a country (`GB`) or of one of its regions (`GB-ENG`)."""
    code, _, region = country.partition("-")
    found = holidays.country_holidays(code, subdiv=region or None, years=years)
    return frozenset(day for day in found)
