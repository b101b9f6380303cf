"""Settings and help on the screen: no secret is shown, health is told in words, checks run, documents read."""

import re
from pathlib import Path

import pytest

from db.engine import Store
from db.states import Role
from db.vault import KeyRing
from scheduler.accounts.rights import RIGHTS, Right
from scheduler.clock import FastClock
from scheduler.settings import HIDDEN, Settings
from tests.counted import counting
from tests.house.tree import ROOT
from tests.staffed import KEYS, Staffed
from tests.waiting import finished
from tests.web_parts import RELAY, beating, make_clinic
from web.documents import DOCUMENTS, read_document
from web.role_words import RIGHT_WORDS, may_do


@pytest.fixture
def keyring() -> KeyRing:
    """The keys that the secrets of the tests' staff are hashed with."""
    return KEYS


@pytest.fixture
def staffed(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> Staffed:
    """A clinic with a mail server whose name leads nowhere."""
    relay = {"AFTERCARE_SMTP_HOST": "127.0.0.1", "AFTERCARE_SMTP_PORT": "9", "AFTERCARE_SMTP_SECURITY": "none"}
    secrets = {"AFTERCARE_SMTP_USERNAME": "canary-user", "AFTERCARE_SMTP_PASSWORD": "canary-password"}
    address = {"AFTERCARE_HEARTBEAT_URL": "https://canary.example.org/ping"}
    return Staffed(make_clinic(sqlite_store, clock, tmp_path / "var", **{**RELAY, **relay, **secrets, **address}))


async def test_every_setting_is_there_and_no_secret(staffed: Staffed) -> None:
    shown = (await staffed.at_work("dana", Role.MANAGER).get("/settings")).text
    for name in Settings.model_fields:
        assert (f'<td class="code">{name.upper()}</td>' in shown) is (name not in HIDDEN)
    assert "canary-user" in shown
    assert "canary-password" not in shown
    assert "canary.example.org" not in shown
    assert shown.count("set, never shown") == 2
    assert "Still to be set" not in shown
    assert "08:00-19:00" in shown


async def test_health_is_told_in_words(staffed: Staffed) -> None:
    dana = staffed.at_work("dana", Role.MANAGER)
    assert "No sending process is running." in (await dana.get("/settings")).text
    beating(staffed.clinic)
    shown = (await dana.get("/settings")).text
    for told in ("gave a sign of life", "Sending is released.", "Nothing is due and unsent.", "No messages held."):
        assert told in shown


async def test_what_is_to_be_set_yet_is_named(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> None:
    dana = Staffed(make_clinic(sqlite_store, clock, tmp_path / "var")).at_work("dana", Role.MANAGER)
    shown = (await dana.get("/settings")).text
    assert "Still to be set: SENDER_ADDRESS, SENDER_NAME" in shown
    assert "No mail server is set" in shown


async def test_a_check_runs_on_demand_and_its_findings_stay_on_the_page(staffed: Staffed) -> None:
    dana = staffed.at_work("dana", Role.MANAGER)
    write_keys = staffed.clinic.settings.keys_file
    write_keys.parent.mkdir(parents=True, exist_ok=True)
    write_keys.touch(mode=0o600)
    assert "Checked today" not in (await dana.get("/settings")).text
    assert await finished(dana, await dana.post("/settings/check")) == "/settings"
    shown = (await dana.get("/settings")).text
    assert "Checked today" in shown
    assert '<span class="meta code">relay-login</span>' in shown
    assert "canary-password" not in shown


async def test_pages_of_the_office_ask_little_of_the_database(staffed: Staffed) -> None:
    dana = staffed.at_work("dana", Role.MANAGER)
    for number in range(30):
        staffed.hire(f"person{number}", Role.RECEPTION)
    for path in ("/audit", "/audit?group=record&since=2026-11-01&until=2026-11-30", "/staff", "/settings", "/help"):
        with counting(staffed.clinic.store) as statements:
            assert (await dana.get(path)).status_code == 200
        assert len(statements) <= 20, (path, len(statements))


async def test_help_tells_the_keys_and_what_each_role_may_do(staffed: Staffed) -> None:
    shown = (await staffed.at_work("otto", Role.AUDITOR).get("/help")).text
    for key in "ntr/?":
        assert f"<kbd>{key}</kbd>" in shown
    assert set(RIGHT_WORDS) == set(Right)
    for role, rights in RIGHTS.items():
        assert len(may_do(role)) == len(rights)
    day = shown.partition('<h2 id="day">')[2].partition("</ol>")[0]
    assert day.count("<li>") == 10


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_a_document_is_read_on_the_screen(name: str, staffed: Staffed) -> None:
    answer = await staffed.at_work("otto", Role.AUDITOR).get(f"/help/{name}")
    assert answer.status_code == 200
    article = answer.text.partition('<article class="document">')[2].partition("</article>")[0]
    source = (ROOT / "docs" / DOCUMENTS[name]).read_text(encoding="utf-8")
    assert "<h1 id=" in article
    assert article.count("<table>") == len(re.findall(r"^\| ---", source, re.MULTILINE))
    assert not re.search(r"\sstyle=|<script|\.md\"", article)
    ids = set(re.findall(r'\bid="([^"]+)"', article))
    assert set(re.findall(r'href="#([^"]+)"', article)) <= ids
    for target in re.findall(r'href="(/help/[^"#]+)', article):
        assert target.removeprefix("/help/") in DOCUMENTS


def test_markup_in_a_document_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "glossary.md").write_text(
        "# Words <b>x</b>\n\n<script>alert(1)</script>\n\n"
        "[a](javascript:alert(1)) [b](settings.md#top) [c](else.md)\n\n"
        "| a |\n| ---: |\n| 1 |\n",
        encoding="utf-8",
    )
    monkeypatch.setattr("web.documents.FOLDER", tmp_path)
    read_document.cache_clear()
    html = read_document("glossary").html
    read_document.cache_clear()
    assert "<script" not in html
    assert "javascript:" not in html.replace("(javascript:", "")
    assert '<a href="/help/settings#top">b</a>' in html
    assert "<span>c</span>" in html
    assert "style=" not in html


async def test_a_document_that_was_not_installed_is_not_there(
    staffed: Staffed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.documents.FOLDER", tmp_path)
    read_document.cache_clear()
    assert (await staffed.at_work("otto", Role.AUDITOR).get("/help/hazards")).status_code == 404
