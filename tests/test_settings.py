"""Settings: defaults, who wins, secrets from files, and all problems at once."""

from datetime import date
from pathlib import Path

import pytest

from scheduler.errors import InvalidSettings
from scheduler.rules import fingerprint, rules
from scheduler.settings import SHIPPED, KillPoint, Settings, load_settings

RELAY = {
    "AFTERCARE_SMTP_HOST": "mail.example.org",
    "AFTERCARE_SENDER_ADDRESS": "hello@example.org",
    "AFTERCARE_SENDER_NAME": "Elm Street",
    "AFTERCARE_REPLY_TO": "desk@example.org",
    "AFTERCARE_CLINIC_NAME": "Elm Street",
    "AFTERCARE_CLINIC_PHONE": "020 7946 0000",
    "AFTERCARE_CLINIC_HOURS": "Monday to Friday, 9 to 5",
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No aftercare.toml of the checkout is picked up."""
    monkeypatch.chdir(tmp_path)


def problems_of(environ: dict[str, str]) -> list[str]:
    with pytest.raises(InvalidSettings) as told:
        load_settings(environ)
    return list(told.value.problems)


def test_without_any_setting_mails_go_to_a_folder_and_the_clinic_is_to_be_set() -> None:
    settings = load_settings({})
    assert settings.smtp_host is None
    assert settings.outbox == Path("var/outbox")
    assert settings.database_url == "sqlite:///var/aftercare.db"
    assert settings.keys_file == Path("var/keys.json")
    assert settings.listen_address == ("127.0.0.1", 8000)
    assert settings.emergency_number == "999"
    assert "clinic_phone" in settings.to_be_set


def test_everything_moves_with_the_data_folder() -> None:
    settings = load_settings({"AFTERCARE_DATA_DIR": "/srv/clinic"})
    assert settings.database_url == "sqlite:////srv/clinic/aftercare.db"
    assert {path.parent for path in (settings.keys_file, settings.lock_file, settings.anchors_file)} == {
        Path("/srv/clinic")
    }


def test_all_problems_are_told_at_once_with_name_value_and_what_is_expected() -> None:
    told = problems_of(
        {
            "AFTERCARE_SMTP_HOST": "mail.example.org",
            "AFTERCARE_SMTP_PORT": "abc",
            "AFTERCARE_CLINIC_TIME_ZONE": "Europe/Londn",
            "AFTERCARE_SEND_WINDOW": "19:00-08:00",
            "AFTERCARE_LISTENS": "x",
        }
    )
    assert "AFTERCARE_SMTP_PORT is 'abc': expected a port from 1 to 65535" in told
    assert "AFTERCARE_CLINIC_TIME_ZONE is 'Europe/Londn': expected an IANA time zone like Europe/London" in told
    assert "AFTERCARE_LISTENS: there is no such setting; did you mean AFTERCARE_LISTEN?" in told
    assert "AFTERCARE_SENDER_ADDRESS is not set: expected with AFTERCARE_SMTP_HOST" in told
    assert len(told) == 3 + 1 + 6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMTP_PORT", "0"),
        ("SMTP_PORT", "65536"),
        ("SMTP_SECURITY", "ssl"),
        ("SMTP_CONNECTIONS", "0"),
        ("SMTP_RATE_PER_MINUTE", "-1"),
        ("SENDER_ADDRESS", "clinic"),
        ("SENDER_ADDRESS", "clínica@example.org"),
        ("SENDER_NAME", "a\r\nBcc: x@example.org"),
        ("CLINIC_TIME_ZONE", "Europe"),
        ("CLINIC_TIME_ZONE", "../etc/passwd"),
        ("CLINIC_COUNTRY", "UK"),
        ("CLINIC_COUNTRY", "GB-XXX"),
        ("CLINIC_LANGUAGE", "English"),
        ("PUBLIC_URL", "http://example.org"),
        ("PUBLIC_URL", "https://example.org/?a=1"),
        ("PUBLIC_URL", "https://example.org/pages"),
        ("EMERGENCY_NUMBER", "call us"),
        ("LISTEN", "8000"),
        ("LISTEN", "127.0.0.1:99999"),
        ("LISTEN", "::1:8000"),
        ("PATIENT_LISTEN", "localhost"),
        ("GRACE_MINUTES", "soon"),
        ("SEND_WINDOW", "always"),
        ("BACKLOG_LIMIT", "0"),
        ("PROTOCOLS_DIR", "nowhere"),
        ("METRICS", "true"),
        ("LOG_LEVEL", "loud"),
        ("RETENTION_YEARS", "0"),
        ("HEARTBEAT_URL", "ftp://example.org"),
        ("DATABASE_URL", "mysql://example.org/x"),
        ("DATABASE_URL", "sqlite:///"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: str) -> None:
    (told,) = problems_of({f"AFTERCARE_{name}": value})
    assert told.startswith(f"AFTERCARE_{name}")
    assert "expected" in told


def test_a_secret_value_is_never_told() -> None:
    told = problems_of(
        {
            "AFTERCARE_DATABASE_URL": "postgres://aftercare:hunter2@example.org/x",
            "AFTERCARE_SMTP_PASSWORD": "hunter2\nhunter2",
            "AFTERCARE_HEARTBEAT_URL": "hunter2",
        }
    )
    assert len(told) == 3
    assert "hunter2" not in "".join(told)


def test_a_secret_does_not_show_when_settings_are_printed() -> None:
    settings = load_settings(
        {
            **RELAY,
            "AFTERCARE_SMTP_USERNAME": "elm",
            "AFTERCARE_SMTP_PASSWORD": "hunter2",
            "AFTERCARE_DATABASE_URL": "postgresql+psycopg://aftercare:hunter2@example.org/x",
            "AFTERCARE_HEARTBEAT_URL": "https://example.org/ping/hunter2",
        }
    )
    assert "hunter2" not in repr(settings) + str(settings)
    assert settings.smtp_password is not None
    assert settings.smtp_password.get_secret_value() == "hunter2"


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    environ = {**RELAY, "AFTERCARE_SMTP_USERNAME": "elm", "AFTERCARE_SMTP_PASSWORD_FILE": str(secret)}
    found = load_settings(environ).smtp_password
    assert found is not None
    assert found.get_secret_value() == "hunter2"
    assert problems_of({**environ, "AFTERCARE_SMTP_PASSWORD": "other"}) == [
        "AFTERCARE_SMTP_PASSWORD_FILE: give the value or its file, not both"
    ]
    (told,) = problems_of({**environ, "AFTERCARE_SMTP_PASSWORD_FILE": "missing"})[:1]
    assert told == "AFTERCARE_SMTP_PASSWORD_FILE is 'missing': expected a readable file that holds the value"


def test_only_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (told,) = problems_of({"AFTERCARE_CLINIC_NAME_FILE": str(tmp_path)})
    assert told.startswith("AFTERCARE_CLINIC_NAME_FILE: there is no such setting")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "aftercare.toml").write_text('clinic_name = "File"\nclinic_country = "IE"\nsmtp_port = 2525\n')
    settings = load_settings({"AFTERCARE_CLINIC_NAME": "Environment"})
    assert (settings.clinic_name, settings.clinic_country, settings.smtp_port) == ("Environment", "IE", 2525)
    assert settings.emergency_number == "112"


def test_the_file_may_lie_elsewhere_and_its_problems_name_it(tmp_path: Path) -> None:
    path = tmp_path / "elm.toml"
    path.write_text('clinic_nam = "Elm"\nsmtp_port = true\nlisten = ["x"]\nmetrics = false\n')
    told = problems_of({"AFTERCARE_CONFIG": str(path)})
    assert f"clinic_nam in {path}: there is no such setting; did you mean clinic_name in {path}?" in told
    assert f"smtp_port in {path} is 'on': expected a port from 1 to 65535" in told
    assert f"listen in {path}: expected a text, a number or true/false" in told
    assert len(told) == 3


def test_a_file_that_was_named_has_to_be_there_and_to_be_toml(tmp_path: Path) -> None:
    assert "cannot read" in problems_of({"AFTERCARE_CONFIG": "missing.toml"})[0]
    (tmp_path / "broken.toml").write_text("clinic_name = Elm")
    assert "expected TOML lines" in problems_of({"AFTERCARE_CONFIG": "broken.toml"})[0]


def test_an_empty_value_counts_as_not_set() -> None:
    assert load_settings({"AFTERCARE_SMTP_HOST": "", "AFTERCARE_CONFIG": ""}).smtp_host is None


def test_names_that_are_not_ours_are_left_alone() -> None:
    assert load_settings({"PATH": "/bin", "aftercare_smtp_port": "abc"}).smtp_port == 587


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "127.8.9.10"])
def test_plain_smtp_is_allowed_on_this_machine(host: str) -> None:
    settings = load_settings({**RELAY, "AFTERCARE_SMTP_HOST": host, "AFTERCARE_SMTP_SECURITY": "none"})
    assert settings.smtp_security == "none"


@pytest.mark.parametrize("host", ["mail.example.org", "192.0.2.1", "localhost.example.org", "10.0.0.1"])
def test_plain_smtp_to_another_machine_is_refused(host: str) -> None:
    (told,) = problems_of({**RELAY, "AFTERCARE_SMTP_HOST": host, "AFTERCARE_SMTP_SECURITY": "none"})
    assert told.startswith("AFTERCARE_SMTP_SECURITY is 'none': expected starttls or tls")


def test_a_password_needs_a_user_and_a_user_a_password() -> None:
    assert problems_of({"AFTERCARE_SMTP_PASSWORD": "x"}) == [
        "AFTERCARE_SMTP_USERNAME is not set: expected with AFTERCARE_SMTP_PASSWORD"
    ]
    assert problems_of({"AFTERCARE_SMTP_USERNAME": "x"}) == [
        "AFTERCARE_SMTP_PASSWORD is not set: expected with AFTERCARE_SMTP_USERNAME"
    ]


def test_a_country_whose_emergency_number_is_not_known_has_to_name_it() -> None:
    (told,) = problems_of({"AFTERCARE_CLINIC_COUNTRY": "PE"})
    assert told.startswith("AFTERCARE_EMERGENCY_NUMBER is not set")
    settings = load_settings({"AFTERCARE_CLINIC_COUNTRY": "PE", "AFTERCARE_EMERGENCY_NUMBER": "106"})
    assert settings.emergency_number == "106"


def test_a_clinics_own_folder_comes_before_the_shipped_one(tmp_path: Path) -> None:
    settings = load_settings({"AFTERCARE_TEMPLATES_DIR": str(tmp_path)})
    assert settings.template_folders == (tmp_path, SHIPPED)
    assert settings.protocol_folders == (SHIPPED / "protocols",)


def test_the_crash_tests_name_a_point_and_its_count() -> None:
    settings = load_settings({"AFTERCARE_KILL_POINT": "after_mark@3:fired"})
    assert settings.kill_point == KillPoint("after_mark", Path("fired"), 3)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings({}).smtp_port = 25  # type: ignore[misc]


def test_public_holidays_follow_country_and_region() -> None:
    easter_monday = date(2027, 3, 29)
    assert easter_monday not in rules(load_settings({})).holidays
    assert easter_monday in rules(load_settings({"AFTERCARE_CLINIC_COUNTRY": "GB-ENG"})).holidays
    assert rules(load_settings({}), years=[2026]).is_free_day(date(2026, 12, 25))


@pytest.mark.parametrize(
    ("name", "value", "changes"),
    [
        ("SEND_WINDOW", "09:00-18:00", True),
        ("GRACE_MINUTES", "0", True),
        ("CLINIC_COUNTRY", "FR", True),
        ("CLINIC_TIME_ZONE", "Europe/Paris", True),
        ("SMTP_PORT", "25", False),
        ("CLINIC_NAME", "Elm Street", False),
    ],
)
def test_the_fingerprint_changes_with_what_planning_reads(name: str, value: str, changes: bool) -> None:
    plain, other = load_settings({}), load_settings({f"AFTERCARE_{name}": value})
    assert fingerprint(plain) == fingerprint(load_settings({}))
    assert (fingerprint(plain) != fingerprint(other)) is changes


def test_every_setting_says_what_it_expects() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
