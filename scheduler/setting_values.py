"""What the value of a setting may be: one check a kind of value, each raising `ValueError` when it is not that.

Which setting takes which is in `scheduler.settings`, with the words that say what is expected.
"""

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfoNotFoundError

import holidays
from email_validator import EmailNotValidError, validate_email

from scheduler.local_time import zone

# Whom to call where. A wrong number is worse than none, so a country that is not here has to name its own.
_COUNTRIES_BY_NUMBER = {
    "999": "GB GG HK IM JE",
    "911": "CA MX US",
    "112": "AT BE BG CH CY CZ DE DK EE ES FI FR GR HR HU IE IN IS IT LI LT LU LV MT NL PL PT RO SE SI SK",
    "119": "JP KR",
    "000": "AU",
    "111": "NZ",
    "113": "NO",
    "192": "BR",
    "995": "SG",
}
EMERGENCY_NUMBERS = {country: number for number, some in _COUNTRIES_BY_NUMBER.items() for country in some.split()}

_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,200}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?")
_COUNTRY = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
_TELEPHONE = re.compile(r"[0-9+][0-9 ]{1,19}")


def line(text: str) -> str:
    """One line of text: it may end up in a header, where a control character would start another."""
    return _whole(_LINE, text)


def telephone(text: str) -> str:
    """A telephone number: digits and spaces, perhaps a leading plus."""
    return _whole(_TELEPHONE, text)


def language(text: str) -> str:
    """A language like `en` or `pt-BR`."""
    return _whole(_LANGUAGE, text)


def mail_address(text: str) -> str:
    """An e-mail address that any mail server takes; not whether somebody reads it."""
    try:
        return validate_email(text, check_deliverability=False, allow_smtputf8=False).normalized
    except EmailNotValidError:
        raise ValueError from None


def time_zone(text: str) -> str:
    """The name of an IANA zone."""
    try:
        zone(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones
        raise ValueError from None
    return text


def country(text: str) -> str:
    """A country, perhaps with its region, whose public holidays are known: `GB`, `GB-ENG`."""
    code, _, region = _whole(_COUNTRY, text).partition("-")
    known = holidays.list_supported_countries(include_aliases=False)
    if code not in known or (region and region not in known[code]):
        raise ValueError
    return text


def host_and_port(text: str) -> tuple[str, int]:
    """`host:port` in two parts; an IPv6 host stands in brackets. Port 0 is allowed."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif ":" in host:
        raise ValueError
    if not (host and colon and port.isdecimal() and int(port) <= 65535):
        raise ValueError
    return host, int(port)


def site(text: str) -> str:
    """The https address of a site, without its last slash; plain http only on this machine. No folder of a site."""
    parts = urlsplit(text)
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ValueError
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError
    return text.rstrip("/")


def ping(text: str) -> str:
    """A web address that is fetched as it is."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError
    return text


def folder(path: Path) -> Path:
    """A folder that exists."""
    if not path.is_dir():
        raise ValueError
    return path


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _whole(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError
    return text
