"""`staff …` on the command line: accounts before anybody can sign in, and when nobody can any more."""

import re
from pathlib import Path

import pytest

from db.states import Role
from scheduler.accounts import staff
from scheduler.accounts.front_door import FrontDoor
from scheduler.accounts.staff import Joining, LinkOver
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from scheduler.errors import Refused
from tests.process import environment, open_folder
from tests.staffed import PASSWORD, PIN
from tests.terminal import Said, Terminal

LINK = re.compile(r"http://127\.0\.0\.1:8000/join/([\w-]{32})")


@pytest.fixture
def terminal(
    tmp_path: Path, clock: FastClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    """A command line over an empty folder."""
    (tmp_path / "protocols").mkdir()
    return Terminal(environment(tmp_path, AFTERCARE_LISTEN="127.0.0.1:8000"), clock, monkeypatch, capsys)


def add(terminal: Terminal, name: str = "Dana Novak", role: str = "manager", *more: str) -> Said:
    """Enter a person."""
    return terminal.ok("staff", "add", name, "--role", role, *more)


def token_in(said: Said) -> str:
    """The token of the link that was printed, with its warning beside it."""
    found = LINK.fullmatch(said.lines[-1])
    assert found, said
    assert "give this link to the person only" in said.err
    return found[1]


def clinic_of(terminal: Terminal) -> Clinic:
    """The clinic whose command line it is."""
    return open_folder(terminal.env, terminal.clock.now())


def join(terminal: Terminal, token: str) -> None:
    """Set the tests' password and PIN behind a link."""
    staff.join(FrontDoor(clinic_of(terminal)), token, Joining(PASSWORD, PIN))


def sign_in(terminal: Terminal, login: str) -> None:
    """Come to the door."""
    FrontDoor(clinic_of(terminal)).sign_in(login, PASSWORD, None, "192.0.2.1", "Tests")


def test_a_person_is_entered_listed_and_signs_in(terminal: Terminal) -> None:
    assert terminal.ok("staff", "list").lines == ["There are no accounts; run prints a link for the first one."]
    said = add(terminal, "Dana Novak", "manager", "--role", "clinician", "--email", "dana@example.org", "--by", "root")
    staff_id = said.lines[0]
    listed = {
        "id": staff_id,
        "login": "dana.novak",
        "name": "Dana Novak",
        "roles": ["clinician", "manager"],
        "joined": False,
        "second_factor": False,
        "disabled_at": None,
    }
    assert terminal.ok("staff", "list", "--json").json == [listed]
    assert "invited" in terminal.ok("staff", "list").out
    join(terminal, token_in(said))
    assert terminal.ok("staff", "list", "--json").json == [{**listed, "joined": True}]
    assert "active" in terminal.ok("staff", "list").out
    sign_in(terminal, "dana.novak")
    events = terminal.ok("audit", "list", "--json").json
    assert [event["actor"] for event in events if event["action"] == "staff.added"] == ["root"]


def test_an_account_is_disabled_enabled_reset_and_changed(terminal: Terminal) -> None:
    join(terminal, token_in(add(terminal, "Boss")))
    join(terminal, token_in(add(terminal, "Mia Berg", "reception", "--login", "mia")))
    assert terminal.ok("staff", "disable", "MIA").lines == ["Disabled; all sessions have ended."]
    (row,) = [row for row in terminal.ok("staff", "list", "--json").json if row["login"] == "mia"]
    assert row["disabled_at"].endswith("Z")
    with pytest.raises(Refused):
        sign_in(terminal, "mia")
    assert terminal.ok("staff", "enable", "mia").lines == ["Enabled."]
    sign_in(terminal, "mia")
    assert terminal.ok("staff", "roles", "mia", "--role", "auditor", "--role", "reception").lines == ["Changed."]
    assert staff.find_by_login(clinic_of(terminal), "mia").roles == (Role.AUDITOR, Role.RECEPTION)
    first = token_in(terminal.ok("staff", "reset", "mia"))
    with pytest.raises(Refused):
        sign_in(terminal, "mia")
    second = token_in(terminal.ok("staff", "reset", "mia"))
    with pytest.raises(LinkOver):
        join(terminal, first)
    join(terminal, second)
    sign_in(terminal, "mia")


WRONG = [
    (["add", "Tom", "--role", "king"], 2, "reception, clinician, manager, auditor"),
    (["add", "", "--role", "reception"], 2, "name: is needed"),
    (["add", "Tom"], 2, "--role"),
    (["add", "Boss", "--role", "reception"], 2, 'login: "boss" is taken'),
    (["add", "Tom", "--role", "reception", "--email", "tom@"], 2, "email: is not a usable address"),
    (["roles", "boss"], 2, "--role"),
    (["roles", "boss", "--role", "reception"], 1, "the last manager"),
    (["disable", "boss"], 1, "the last manager"),
    (["enable", "boss"], 1, "is not disabled"),
    (["disable", "nobody"], 2, 'nobody who signs in as "nobody"'),
    (["reset", "nobody"], 2, "staff list shows all"),
]


def test_what_is_wrong_is_said_and_nothing_changes(terminal: Terminal) -> None:
    join(terminal, token_in(add(terminal, "Boss")))
    before = terminal.ok("audit", "list", "--json").json
    for words, code, told in WRONG:
        said = terminal.run("staff", *words)
        assert (said.code, said.out) == (code, ""), words
        assert told in said.err
    assert terminal.ok("audit", "list", "--json").json == before


@pytest.mark.parametrize(
    ("listen", "link"),
    [
        ("[::1]:8000", "http://[::1]:8000/join/"),
        ("0.0.0.0:8001", "http://127.0.0.1:8001/join/"),
        ("[::]:8002", "http://[::1]:8002/join/"),
        ("192.0.2.7:8003", "http://192.0.2.7:8003/join/"),
    ],
)
def test_a_link_is_one_that_browsers_take(listen: str, link: str, terminal: Terminal) -> None:
    said = terminal.run("staff", "add", "Dana", "--role", "manager", LISTEN=listen)
    assert said.code == 0
    assert said.lines[-1].startswith(link)
    assert "on others put the address of the proxy before /join/" in said.err
