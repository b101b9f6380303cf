"""Settings that are each valid and unsafe all the same: pure, over the settings alone, for `check`.

What a value may be at all is in `scheduler.setting_values`; what needs a look elsewhere is `scheduler.checks`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import make_url

from scheduler.setting_values import EMERGENCY_NUMBERS, host_and_port, is_loopback
from scheduler.settings import Settings

_NOT_REAL: Final = (".example", ".test", ".invalid", ".localhost", "example.org", "example.com", "example.net")
_UNREAD: Final = ("noreply", "no-reply", "donotreply", "do-not-reply", "no_reply")
_ENCRYPTED: Final = {"require", "verify-ca", "verify-full"}
SHORTEST_WINDOW: Final = 60  # minutes; all of a day's messages have to leave in it
LARGEST_BACKLOG: Final = 1_000  # more at once nobody has looked at
SHORTEST_RETENTION: Final = 8  # years, as health records of adults are kept where the program comes from


class Unsafe(NamedTuple):
    """One finding: its stable id, whether it has to be mended, and what is wrong and what would be right."""

    id: str
    must_mend: bool
    problem: str


def list_unsafe(settings: Settings) -> list[Unsafe]:
    """All that is unsafe, in the order of the settings' table."""
    parts = (_places, _relay, _addresses, _doors, _times)
    return [found for part in parts for found in part(settings)]


def _places(settings: Settings) -> Iterator[Unsafe]:
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and url.database == ":memory:":
        yield Unsafe("database-not-kept", True, "DATABASE_URL keeps nothing: name a file, sqlite:///…/aftercare.db")
    host = url.host or ""
    if url.get_backend_name() == "postgresql" and host and not host.startswith("/") and not is_loopback(host):
        mode = url.query.get("sslmode")
        if mode not in _ENCRYPTED:
            problem = "DATABASE_URL leads to another machine without encryption: add ?sslmode=verify-full (or require)"
            yield Unsafe("database-in-clear", True, problem)
    folders = {"PROTOCOLS_DIR": settings.protocols_dir, "TEMPLATES_DIR": settings.templates_dir}
    for of, folder in folders.items():
        for name, place in (("DATA_DIR", settings.data_dir), ("KEYS_FILE", settings.keys_file)):
            if _lies_in(place, folder):
                problem = f"{name} lies inside {of}, whose files people copy and edit: choose a folder of its own"
                yield Unsafe("secrets-among-texts", True, problem)
                break  # the key file lies in the data folder by default


def _relay(settings: Settings) -> Iterator[Unsafe]:
    if settings.smtp_host is None:
        return
    if (settings.smtp_port, settings.smtp_security) == (465, "starttls"):
        yield Unsafe("smtp-port", True, "SMTP_PORT 465 speaks TLS from the first byte: set SMTP_SECURITY to tls")
    if settings.smtp_port in (25, 587) and settings.smtp_security == "tls":
        problem = f"SMTP_PORT {settings.smtp_port} begins in clear: set SMTP_SECURITY to starttls, or SMTP_PORT to 465"
        yield Unsafe("smtp-port", True, problem)
    if settings.smtp_username is None and not is_loopback(settings.smtp_host):
        problem = "SMTP_USERNAME is not set: a mail server that takes mail from anyone is not the clinic's"
        yield Unsafe("smtp-without-login", False, problem)


def _addresses(settings: Settings) -> Iterator[Unsafe]:
    sends = settings.smtp_host is not None and not is_loopback(settings.smtp_host)
    for name in ("sender_address", "reply_to", "alert_address", "bounce_address"):
        address = getattr(settings, name, None)
        if sends and address and address.rpartition("@")[2].endswith(_NOT_REAL):
            yield Unsafe(
                "address-not-real", True, f"{name.upper()} is an example that nobody has: set the clinic's own"
            )
    local = settings.reply_to.partition("@")[0].lower()
    if local.startswith(_UNREAD):
        yield Unsafe("reply-to-unread", True, "REPLY_TO looks unread, and patients answer: name one that staff read")
    if settings.alert_address and settings.alert_address.partition("@")[0].lower().startswith(_UNREAD):
        yield Unsafe("alert-address-unread", True, "ALERT_ADDRESS looks unread: name one that staff read every day")
    if "@" in settings.sender_name:
        yield Unsafe("sender-name-address", True, "SENDER_NAME holds an address, as forged mail does: a neutral name")
    if sends and settings.alert_address is None:
        yield Unsafe(
            "alert-address-not-set", False, "ALERT_ADDRESS is not set: a call that is asked for reaches nobody"
        )
    digits = [sign for sign in settings.clinic_phone if sign.isdigit()]
    if "clinic_phone" in settings.model_fields_set and len(digits) < 3:
        yield Unsafe("clinic-phone-no-number", True, "CLINIC_PHONE holds no number, and every mail says to ring it")
    elif "".join(digits) == settings.emergency_number:
        yield Unsafe("clinic-phone-emergency", True, "CLINIC_PHONE is the emergency number: set the clinic's own")
    usual = EMERGENCY_NUMBERS.get(settings.clinic_country.partition("-")[0])
    if usual not in (None, settings.emergency_number) and settings.emergency_number != "112":
        problem = f"EMERGENCY_NUMBER is not {usual}, the one of {settings.clinic_country}: is it right?"
        yield Unsafe("emergency-number-unusual", True, problem)


def _doors(settings: Settings) -> Iterator[Unsafe]:
    if not is_loopback(settings.listen_address[0]):
        problem = "LISTEN is open to other machines in clear: keep it on 127.0.0.1, behind a proxy that speaks TLS"
        yield Unsafe("listen-open", True, problem)
    if settings.patient_listen is not None:
        theirs = host_and_port(settings.patient_listen)
        if theirs == settings.listen_address and theirs[1]:
            yield Unsafe(
                "patients-door-is-staffs", True, "PATIENT_LISTEN is LISTEN: patients' pages need their own port"
            )
        if settings.public_url is None:
            yield Unsafe("patients-door-unnamed", True, "PATIENT_LISTEN is set without PUBLIC_URL: no link leads to it")
    if settings.public_url is not None:
        host = urlsplit(settings.public_url).hostname or ""
        if is_loopback(host) or host.endswith(_NOT_REAL):
            yield Unsafe("public-url-not-real", True, "PUBLIC_URL leads patients to nowhere: set the clinic's own host")
    if settings.heartbeat_url is not None:
        ping = urlsplit(settings.heartbeat_url.get_secret_value())
        if ping.scheme != "https" and not is_loopback(ping.hostname or ""):
            problem = "HEARTBEAT_URL is fetched in clear: whoever listens could say that we live. Use https"
            yield Unsafe("heartbeat-in-clear", True, problem)


def _times(settings: Settings) -> Iterator[Unsafe]:
    window = settings.send_window
    minutes = window.closes - window.opens
    if 0 < minutes < SHORTEST_WINDOW:
        yield Unsafe("send-window-short", True, "SEND_WINDOW is shorter than an hour: what does not fit is missed")
    if minutes == 24 * 60:
        yield Unsafe("send-window-night", False, "SEND_WINDOW is always: mails arrive at night, too")
    if settings.grace_minutes == 0:
        yield Unsafe("grace-none", False, "GRACE_MINUTES is 0: a slip leaves before anybody can undo it")
    if settings.backlog_limit > LARGEST_BACKLOG:
        problem = f"BACKLOG_LIMIT is above {LARGEST_BACKLOG}: after a long stop all of it leaves unseen"
        yield Unsafe("backlog-unseen", False, problem)
    if settings.retention_years < SHORTEST_RETENTION:
        problem = f"RETENTION_YEARS is below {SHORTEST_RETENTION}: is that what the law asks of the clinic?"
        yield Unsafe("retention-short", False, problem)
    if settings.log_level == "debug":
        yield Unsafe("log-level-debug", False, "LOG_LEVEL is debug: for a search only, not for every day")


def _lies_in(place: Path, folder: Path) -> bool:
    return folder.resolve() in place.resolve().parents
