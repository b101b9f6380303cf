"""Forty bad configurations, each told by name: refused at once (exit 2), or found by `check` (exit 1)."""

from pathlib import Path

import pytest

from scheduler.clock import FastClock
from scheduler.errors import InvalidSettings
from scheduler.settings import load_settings
from scheduler.unsafe_settings import list_unsafe
from tests.process import environment
from tests.terminal import Terminal

# A clinic that is set up well: what is changed in it is the only thing that can be found.
GOOD = {
    "SMTP_HOST": "mail.harbour-clinic.uk",
    "SMTP_USERNAME": "post",
    "SMTP_PASSWORD": "a long secret",
    "SENDER_ADDRESS": "post@harbour-clinic.uk",
    "SENDER_NAME": "Harbour",
    "REPLY_TO": "desk@harbour-clinic.uk",
    "CLINIC_NAME": "Harbour",
    "CLINIC_PHONE": "020 7946 0000",
    "CLINIC_HOURS": "weekdays 9 to 5",
    "ALERT_ADDRESS": "office@harbour-clinic.uk",
    "BOUNCE_ADDRESS": "returned@harbour-clinic.uk",
}
REFUSED = "refused"
BAD: list[tuple[dict[str, str | None], str, str]] = [
    ({"SMTP_HOST": "10.0.0.1", "SMTP_SECURITY": "none"}, REFUSED, "SMTP_SECURITY is 'none'"),
    ({"SMTP_SECURITY": "ssl"}, REFUSED, "SMTP_SECURITY"),
    ({"SMTP_PASSWORD": None}, REFUSED, "SMTP_PASSWORD is not set"),
    ({"SMTP_USERNAME": None}, REFUSED, "SMTP_USERNAME is not set"),
    ({"SENDER_ADDRESS": None}, REFUSED, "SENDER_ADDRESS is not set"),
    ({"CLINIC_PHONE": None}, REFUSED, "CLINIC_PHONE is not set"),
    ({"SENDER_NAME": "Harbour\r\nBcc: x@example.org"}, REFUSED, "SENDER_NAME"),
    ({"SMTP_PASSWORD": "two\nlines"}, REFUSED, "SMTP_PASSWORD"),
    ({"REPLY_TO": "Desk <desk@harbour-clinic.uk>"}, REFUSED, "REPLY_TO"),
    ({"PUBLIC_URL": "http://mail.harbour-clinic.uk"}, REFUSED, "PUBLIC_URL"),
    ({"HEARTBEAT_URL": "file:///etc/hosts"}, REFUSED, "HEARTBEAT_URL"),
    ({"CLINIC_TIME_ZONE": "../../etc/localtime"}, REFUSED, "CLINIC_TIME_ZONE"),
    ({"CLINIC_COUNTRY": "PE"}, REFUSED, "EMERGENCY_NUMBER is not set"),
    ({"EMERGENCY_NUMBER": "ask us"}, REFUSED, "EMERGENCY_NUMBER"),
    ({"DATABASE_URL": "mysql://db/aftercare"}, REFUSED, "DATABASE_URL"),
    ({"SMTP_CONNECTIONS": "500"}, REFUSED, "SMTP_CONNECTIONS"),
    ({"BACKLOG_LIMIT": "0"}, REFUSED, "BACKLOG_LIMIT"),
    ({"SEND_WINDOW": "19:00-08:00"}, REFUSED, "SEND_WINDOW"),
    ({"LISTEN": "8000"}, REFUSED, "LISTEN"),
    ({"SMTP_HOSTS": "mail.harbour-clinic.uk"}, REFUSED, "SMTP_HOSTS"),
    ({"DATABASE_URL": "sqlite:///:memory:"}, "database-not-kept", "DATABASE_URL keeps nothing"),
    ({"DATABASE_URL": "postgresql+psycopg://a:b@db.harbour-clinic.uk/a"}, "database-in-clear", "sslmode=verify-full"),
    ({"DATABASE_URL": "postgresql+psycopg://a:b@10.0.0.1/a?sslmode=prefer"}, "database-in-clear", "DATABASE_URL"),
    ({"TEMPLATES_DIR": "{folder}", "KEYS_FILE": "{folder}/keys.json"}, "secrets-among-texts", "KEYS_FILE lies inside"),
    ({"PROTOCOLS_DIR": "{folder}", "DATA_DIR": "{folder}/var"}, "secrets-among-texts", "DATA_DIR lies inside"),
    ({"SMTP_PORT": "465"}, "smtp-port", "set SMTP_SECURITY to tls"),
    ({"SMTP_PORT": "587", "SMTP_SECURITY": "tls"}, "smtp-port", "set SMTP_SECURITY to starttls"),
    ({"SENDER_ADDRESS": "clinic@example.org"}, "address-not-real", "SENDER_ADDRESS"),
    ({"REPLY_TO": "desk@clinic.example"}, "address-not-real", "REPLY_TO"),
    ({"BOUNCE_ADDRESS": "back@mail.example.org"}, "address-not-real", "BOUNCE_ADDRESS"),
    ({"REPLY_TO": "no-reply@harbour-clinic.uk"}, "reply-to-unread", "name one that staff read"),
    ({"ALERT_ADDRESS": "noreply@harbour-clinic.uk"}, "alert-address-unread", "ALERT_ADDRESS"),
    ({"SENDER_NAME": "post@harbour-clinic.uk"}, "sender-name-address", "SENDER_NAME holds an address"),
    ({"CLINIC_PHONE": "see our page"}, "clinic-phone-no-number", "CLINIC_PHONE holds no number"),
    ({"CLINIC_PHONE": "999"}, "clinic-phone-emergency", "CLINIC_PHONE is the emergency number"),
    ({"EMERGENCY_NUMBER": "911"}, "emergency-number-unusual", "EMERGENCY_NUMBER is not 999"),
    ({"LISTEN": "0.0.0.0:8000"}, "listen-open", "keep it on 127.0.0.1"),
    ({"PUBLIC_URL": "https://localhost"}, "public-url-not-real", "PUBLIC_URL leads patients to nowhere"),
    (
        {"PATIENT_LISTEN": "127.0.0.1:8000", "PUBLIC_URL": "https://p.harbour-clinic.uk"},
        "patients-door-is-staffs",
        "PATIENT_LISTEN is LISTEN",
    ),
    ({"PATIENT_LISTEN": "127.0.0.1:8001"}, "patients-door-unnamed", "without PUBLIC_URL"),
    ({"HEARTBEAT_URL": "http://watch.harbour-clinic.uk/ping"}, "heartbeat-in-clear", "HEARTBEAT_URL"),
    ({"SEND_WINDOW": "09:00-09:15"}, "send-window-short", "SEND_WINDOW is shorter"),
]
WORTH_A_LOOK: list[tuple[dict[str, str | None], str]] = [
    ({"SMTP_USERNAME": None, "SMTP_PASSWORD": None}, "smtp-without-login"),
    ({"ALERT_ADDRESS": None}, "alert-address-not-set"),
    ({"SEND_WINDOW": "00:00-24:00"}, "send-window-night"),
    ({"GRACE_MINUTES": "0"}, "grace-none"),
    ({"RETENTION_YEARS": "2"}, "retention-short"),
    ({"LOG_LEVEL": "debug"}, "log-level-debug"),
    ({"BACKLOG_LIMIT": "1000000"}, "backlog-unseen"),
]


def changed(changes: dict[str, str | None], folder: Path) -> dict[str, str]:
    """The good configuration with one thing wrong in it."""
    values = {**GOOD, **{name: value for name, value in changes.items() if value is not None}}
    for name in [name for name, value in changes.items() if value is None]:
        values.pop(name, None)
    return {f"AFTERCARE_{name}": value.replace("{folder}", str(folder)) for name, value in values.items()}


def test_there_are_forty_of_them_and_a_good_one_is_fine(tmp_path: Path) -> None:
    assert len(BAD) >= 40
    assert list_unsafe(load_settings(changed({}, tmp_path))) == []


@pytest.mark.parametrize(("changes", "expected", "words"), BAD, ids=lambda part: str(part)[:50])
def test_a_bad_configuration_is_told_by_name(
    changes: dict[str, str | None], expected: str, words: str, tmp_path: Path
) -> None:
    environ = changed(changes, tmp_path)
    if expected == REFUSED:
        with pytest.raises(InvalidSettings) as refused:
            load_settings(environ)
        told = [str(problem) for problem in refused.value.problems]
    else:
        found = list_unsafe(load_settings(environ))
        assert [(each.id, each.must_mend) for each in found] == [(expected, True)]
        told = [each.problem for each in found]
    assert [problem for problem in told if words in problem] != [], told
    assert "a long secret" not in "".join(told)


@pytest.mark.parametrize(("changes", "expected"), WORTH_A_LOOK, ids=lambda part: str(part)[:50])
def test_what_a_clinic_may_want_is_only_a_warning(
    changes: dict[str, str | None], expected: str, tmp_path: Path
) -> None:
    found = list_unsafe(load_settings(changed(changes, tmp_path)))
    assert [(each.id, each.must_mend) for each in found] == [(expected, False)]


def test_the_command_ends_with_one_or_two(
    tmp_path: Path, clock: FastClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "protocols").mkdir()
    terminal = Terminal(environment(tmp_path), clock, monkeypatch, capsys)
    assert terminal.run("check").code == 0
    found = terminal.run("check", "--json", LISTEN="0.0.0.0:8000")
    assert (found.code, [each["id"] for each in found.json if each["severity"] == "fail"]) == (1, ["listen-open"])
    refused = terminal.run("check", SMTP_PORT="0")
    assert (refused.code, "AFTERCARE_SMTP_PORT" in refused.err) == (2, True)
