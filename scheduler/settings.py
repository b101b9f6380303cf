"""All settings: their names, defaults and limits. The only reader of the environment and of `aftercare.toml`.

How names and values are collected is in `scheduler.setting_sources`, what a value may be in `scheduler.setting_values`;
the table for people is `docs/settings.md`, held to this file by a test.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from scheduler import setting_values as values
from scheduler.errors import InvalidSettings
from scheduler.local_time import Window
from scheduler.opening_hours import OpeningHours
from scheduler.setting_sources import PREFIX, Found, collect, shown

SHIPPED = Path(__file__).resolve().parent.parent / "templates"

SECRETS = frozenset(
    {"database_url", "smtp_password", "bounce_imap_password", "heartbeat_url"}
)  # never shown, and may come from a file
HIDDEN = frozenset({"kill_point"})  # armed by the crash tests alone
LONGEST_WITH_TOKEN = 21  # signs of a local part that still hold "+" and a token of 42 (RFC 5321 §4.5.3.1.1: 64)
WITH_A_RELAY = ("sender_address", "sender_name", "reply_to", "clinic_name", "clinic_phone", "clinic_hours")


class KillPoint(NamedTuple):
    """Where a crash test lets this process die: the `nth` time at `name`, told by a file."""

    name: str
    marker: Path
    nth: int


def _in_data_dir(name: str) -> Any:
    return lambda so_far: Path(so_far.get("data_dir", "var")) / name


def _default_database(so_far: dict[str, Any]) -> str:
    return f"sqlite:///{Path(so_far.get('data_dir', 'var')) / 'aftercare.db'}"


def _default_emergency_number(so_far: dict[str, Any]) -> str:
    return values.EMERGENCY_NUMBERS.get(str(so_far.get("clinic_country", "GB")).partition("-")[0], "")


class Settings(BaseModel):
    """The settings as read once at start; frozen.

    The field `smtp_host` is `AFTERCARE_SMTP_HOST` in the environment and `smtp_host` in the file. A description says
    what is expected, in the words a person gets when the value is wrong.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True, validate_default=False
    )

    data_dir: Path = Field(Path("var"), description="a folder; it is made when missing")
    database_url: str = Field(
        default_factory=_default_database,
        pattern=r"^(sqlite:///|postgresql\+psycopg://).",
        description="sqlite:///file or postgresql+psycopg://…",
        repr=False,
    )
    keys_file: Path = Field(default_factory=_in_data_dir("keys.json"), description="a file; made on the first run")

    smtp_host: str | None = Field(None, description="the mail server's name or address")
    smtp_port: int = Field(587, ge=1, le=65535, description="a port from 1 to 65535")
    smtp_username: str | None = Field(None, description="one line of text")
    smtp_password: SecretStr | None = Field(None, description="one line of text")
    smtp_security: Literal["starttls", "tls", "none"] = Field("starttls", description="starttls, tls or none")
    smtp_connections: int = Field(4, ge=1, le=32, description="a number from 1 to 32")
    smtp_rate_per_minute: int = Field(0, ge=0, description="a number; 0 means no cap")
    daily_cap: int = Field(0, ge=0, description="a number; 0 means no cap")

    bounce_address: str | None = Field(None, description="an e-mail address like bounces@example.org")
    bounce_tokens: bool = Field(False, description="on or off")
    bounce_imap_host: str | None = Field(None, description="the name or address of the mailbox's server")
    bounce_imap_port: int = Field(993, ge=1, le=65535, description="a port from 1 to 65535")
    bounce_imap_username: str | None = Field(None, description="one line of text")
    bounce_imap_password: SecretStr | None = Field(None, description="one line of text")
    bounce_imap_security: Literal["tls", "starttls", "none"] = Field("tls", description="tls, starttls or none")
    bounce_imap_folder: str = Field("INBOX", pattern=r"^[\x20-\x7e]{1,100}$", description="a folder like INBOX")
    bounce_minutes: int = Field(5, ge=1, le=1440, description="minutes from 1 to 1440")

    sender_address: str = Field("clinic@example.org", description="an e-mail address like clinic@example.org")
    sender_name: str = Field("Your clinic", description="one line of text")
    reply_to: str = Field("clinic@example.org", description="an e-mail address like clinic@example.org")
    clinic_name: str = Field("Your clinic", description="one line of text")
    clinic_phone: str = Field("(phone number to be set)", description="one line of text")
    clinic_hours: str = Field("(hours to be set)", description="one line of text")
    opening_hours: OpeningHours = Field(
        OpeningHours.parse("Mo-Fr 09:00-17:00"), description="hours like Mo-Fr 09:00-17:00; Sa 09:00-12:00"
    )
    clinic_time_zone: str = Field("Europe/London", description="an IANA time zone like Europe/London")
    clinic_country: str = Field("GB", description="a country like GB, or with its region like GB-ENG")
    clinic_language: str = Field("en", description="a language like en")

    public_url: str | None = Field(None, description="an https address like https://example.org")
    patient_listen: str | None = Field(None, description="host:port like 127.0.0.1:8001")
    emergency_number: str = Field(default_factory=_default_emergency_number, description="a telephone number like 999")
    alert_address: str | None = Field(None, description="an e-mail address like clinic@example.org")
    listen: str = Field("127.0.0.1:8000", description="host:port like 127.0.0.1:8000; port 0 means any free one")

    grace_minutes: int = Field(10, ge=0, le=1440, description="minutes from 0 to 1440")
    send_window: Window = Field(Window(), description="two times like 08:00-19:00; 00:00-24:00 means always")
    backlog_limit: int = Field(50, ge=1, description="a number from 1 on")
    protocols_dir: Path = Field(SHIPPED / "protocols", description="a folder that exists")
    templates_dir: Path = Field(SHIPPED, description="a folder that exists")
    heartbeat_url: SecretStr | None = Field(None, description="a web address")
    metrics: bool = Field(True, description="on or off")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error")
    retention_years: int = Field(8, ge=1, le=100, description="years from 1 to 100")

    kill_point: KillPoint | None = Field(None, description="name:file or name@nth:file")

    @field_validator(
        "smtp_host",
        "smtp_username",
        "bounce_imap_host",
        "bounce_imap_username",
        "bounce_imap_folder",
        "sender_name",
        "clinic_name",
        "clinic_phone",
        "clinic_hours",
    )
    @classmethod
    def _line(cls, text: str) -> str:
        return values.line(text)

    @field_validator("smtp_password", "bounce_imap_password")
    @classmethod
    def _password(cls, secret: SecretStr) -> SecretStr:
        values.line(secret.get_secret_value())
        return secret

    @field_validator("sender_address", "reply_to", "alert_address", "bounce_address")
    @classmethod
    def _mail_address(cls, text: str) -> str:
        return values.mail_address(text)

    @field_validator("clinic_time_zone")
    @classmethod
    def _time_zone(cls, text: str) -> str:
        return values.time_zone(text)

    @field_validator("clinic_country")
    @classmethod
    def _country(cls, text: str) -> str:
        return values.country(text)

    @field_validator("clinic_language")
    @classmethod
    def _language(cls, text: str) -> str:
        return values.language(text)

    @field_validator("emergency_number")
    @classmethod
    def _telephone(cls, text: str) -> str:
        return values.telephone(text)

    @field_validator("public_url")
    @classmethod
    def _site(cls, text: str) -> str:
        return values.site(text)

    @field_validator("heartbeat_url")
    @classmethod
    def _ping(cls, secret: SecretStr) -> SecretStr:
        values.ping(secret.get_secret_value())
        return secret

    @field_validator("listen", "patient_listen")
    @classmethod
    def _host_and_port(cls, text: str) -> str:
        values.host_and_port(text)
        return text

    @field_validator("send_window", mode="before")
    @classmethod
    def _window(cls, text: Any) -> Any:
        return Window.parse(text) if isinstance(text, str) else text

    @field_validator("opening_hours", mode="before")
    @classmethod
    def _opening_hours(cls, text: Any) -> Any:
        return OpeningHours.parse(text) if isinstance(text, str) else text

    @field_validator("protocols_dir", "templates_dir")
    @classmethod
    def _folder(cls, path: Path) -> Path:
        return values.folder(path)

    @field_validator("metrics", "bounce_tokens", mode="before")
    @classmethod
    def _switch(cls, text: Any) -> Any:
        if text not in ("on", "off", True, False):
            raise ValueError
        return text in ("on", True)

    @field_validator("kill_point", mode="before")
    @classmethod
    def _kill_point(cls, text: Any) -> Any:
        if not isinstance(text, str):
            return text
        point, _, marker = text.partition(":")
        name, _, nth = point.partition("@")
        if not name or not marker:
            raise ValueError
        return KillPoint(name, Path(marker), int(nth or 1))

    @model_validator(mode="after")
    def _together(self) -> Self:
        problems = []
        if self.smtp_security == "none" and self.smtp_host and not values.is_loopback(self.smtp_host):
            problems.append(
                f"{PREFIX}SMTP_SECURITY is 'none': "
                f"expected starttls or tls, because {PREFIX}SMTP_HOST is not this machine"
            )
        if bool(self.smtp_password) != bool(self.smtp_username):
            missing, given = ("USERNAME", "PASSWORD") if self.smtp_password else ("PASSWORD", "USERNAME")
            problems.append(f"{PREFIX}SMTP_{missing} is not set: expected with {PREFIX}SMTP_{given}")
        problems += self._bounce_problems()
        if self.smtp_host:
            problems += [
                f"{PREFIX}{name.upper()} is not set: expected with {PREFIX}SMTP_HOST" for name in self.to_be_set
            ]
        if not self.emergency_number:
            problems.append(
                f"{PREFIX}EMERGENCY_NUMBER is not set: expected a telephone number, "
                f"because none is known for {PREFIX}CLINIC_COUNTRY {self.clinic_country!r}"
            )
        if problems:
            raise InvalidSettings(*problems)
        return self

    def _bounce_problems(self) -> Iterator[str]:
        """What does not go together about the mailbox for undeliverable mail."""
        if self.bounce_address is None:
            for name, given in (("TOKENS", self.bounce_tokens), ("IMAP_HOST", self.bounce_imap_host)):
                if given:
                    yield f"{PREFIX}BOUNCE_ADDRESS is not set: expected with {PREFIX}BOUNCE_{name}"
        elif self.bounce_tokens and len(self.bounce_address.partition("@")[0]) > LONGEST_WITH_TOKEN:
            yield (
                f"{PREFIX}BOUNCE_ADDRESS is {self.bounce_address!r}: expected at most {LONGEST_WITH_TOKEN} signs "
                f"before the @ with {PREFIX}BOUNCE_TOKENS, so that a token fits behind them"
            )
        if self.bounce_imap_host is None:
            return
        for name in ("username", "password"):
            if getattr(self, f"bounce_imap_{name}") is None:
                yield f"{PREFIX}BOUNCE_IMAP_{name.upper()} is not set: expected with {PREFIX}BOUNCE_IMAP_HOST"
        if self.bounce_imap_security == "none" and not values.is_loopback(self.bounce_imap_host):
            yield (
                f"{PREFIX}BOUNCE_IMAP_SECURITY is 'none': "
                f"expected tls or starttls, because {PREFIX}BOUNCE_IMAP_HOST is not this machine"
            )

    @property
    def to_be_set(self) -> tuple[str, ...]:
        """What a clinic has to say about itself and has not yet."""
        return tuple(name for name in WITH_A_RELAY if name not in self.model_fields_set)

    @property
    def listen_address(self) -> tuple[str, int]:
        """Host and port of the staff's pages."""
        return values.host_and_port(self.listen)

    @property
    def patient_address(self) -> tuple[str, int] | None:
        """Host and port of the patients' pages, when they have their own."""
        return values.host_and_port(self.patient_listen) if self.patient_listen else None

    @property
    def message_domain(self) -> str:
        """The domain of our Message-IDs: the sender's."""
        return self.sender_address.rpartition("@")[2]

    @property
    def protocol_folders(self) -> tuple[Path, ...]:
        """Where `<key>.toml` is looked for: the clinic's own folder first, then the shipped one."""
        return _overlay(self.protocols_dir, SHIPPED / "protocols")

    @property
    def template_folders(self) -> tuple[Path, ...]:
        """Where `email/<language>/<key>.md` is looked for: the clinic's own folder first, then the shipped one."""
        return _overlay(self.templates_dir, SHIPPED)

    @property
    def outbox(self) -> Path:
        """The folder for complete mails when there is no mail server."""
        return self.data_dir / "outbox"

    @property
    def lock_file(self) -> Path:
        """Held by the one process that sends on SQLite."""
        return self.data_dir / "sending.lock"

    @property
    def anchors_file(self) -> Path:
        """Where the audit chain's head is anchored outside the database."""
        return self.data_dir / "audit-anchors.jsonl"


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment (or `environ`) and `aftercare.toml`; the environment wins.

    Raises `InvalidSettings` with all problems at once: unknown names, wrong values, what does not go together.
    """
    found = collect(os.environ if environ is None else environ, Settings.model_fields, SECRETS)
    wrong = _wrong_values(found)
    right = {name: value for name, value in found.values.items() if name not in wrong}
    try:
        settings = Settings.model_validate(right)
    except InvalidSettings as together:
        found.problems += [problem for problem in together.problems if _named(problem) not in wrong]
        raise InvalidSettings(*found.problems) from None
    if found.problems:
        raise InvalidSettings(*found.problems)
    return settings


def _wrong_values(found: Found) -> set[str]:
    """Names whose values are wrong in themselves; each is told in `found.problems`."""
    try:
        Settings.model_validate(found.values)
    except InvalidSettings:
        return set()
    except ValidationError as error:
        # A default that could not be worked out because of another value is not a problem of its own.
        wrong = [name for name in found.values if any(name in each["loc"] for each in error.errors())]
        for name in wrong:
            value = "" if name in SECRETS else f" is {shown(found.values[name])}"
            found.problems.append(f"{found.called[name]}{value}: expected {Settings.model_fields[name].description}")
        return set(wrong)
    return set()


def _named(problem: str) -> str:
    return problem.split()[0].removeprefix(PREFIX).lower()


def _overlay(own: Path, shipped: Path) -> tuple[Path, ...]:
    return (shipped,) if own.resolve() == shipped else (own, shipped)
