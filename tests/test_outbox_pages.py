"""The mails of the outbox folder as clinicians see them, while no mail server is set; what a mail may not do there."""

import base64
import hashlib
from pathlib import Path

import pytest

from db.engine import Store
from db.states import Role
from db.vault import KeyRing
from scheduler.clock import FastClock
from tests.clinic import dump
from tests.people import DANUTA
from tests.staffed import KEYS, Browser, Staffed
from tests.web_parts import RELAY, make_clinic, written

SENTENCE = "No mail server is set: nothing is e-mailed; mails are written to the folder."


@pytest.fixture
def keyring() -> KeyRing:
    """The keys that the secrets of the tests' staff are hashed with."""
    return KEYS


@pytest.fixture
def staffed(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> Staffed:
    """A clinic without a mail server."""
    return Staffed(make_clinic(sqlite_store, clock, tmp_path / "var"))


@pytest.fixture
def doctor(staffed: Staffed) -> Browser:
    """A clinician at work."""
    return staffed.at_work("novak", Role.CLINICIAN)


async def test_every_page_says_in_red_that_nothing_is_e_mailed(staffed: Staffed, doctor: Browser) -> None:
    name = written(staffed.clinic)
    for path in ("/account", "/outbox", f"/outbox/{name}"):
        assert SENTENCE in (await doctor.get(path)).text


async def test_with_a_mail_server_the_folder_is_shown_to_nobody(
    sqlite_store: Store, clock: FastClock, tmp_path: Path
) -> None:
    staffed = Staffed(make_clinic(sqlite_store, clock, tmp_path / "var", **RELAY))
    name, doctor = written(staffed.clinic), staffed.at_work("novak", Role.CLINICIAN)
    assert SENTENCE not in (await doctor.get("/account")).text
    for path in ("/outbox", f"/outbox/{name}", f"/outbox/{name}/html"):
        assert (await doctor.get(path)).status_code == 404


async def test_the_list_names_each_mail_once_the_newest_first(staffed: Staffed, doctor: Browser) -> None:
    names = [written(staffed.clinic, subject=subject) for subject in ("First", "Second & last")]
    shown = (await doctor.get("/outbox")).text
    assert all(shown.count(f'href="/outbox/{name}"') == 1 for name in names)
    assert "Second &amp; last" in shown
    assert DANUTA.email in shown


async def test_a_mail_is_shown_escaped_and_its_html_shut_in_a_sandbox(staffed: Staffed, doctor: Browser) -> None:
    hostile = '<p style="color:red">Hello</p><script>document.title="broken"</script>'
    name = written(staffed.clinic, hostile)
    shown = (await doctor.get(f"/outbox/{name}")).text
    ((actor, action, _, subject_id),) = [
        row[2:6] for row in dump(staffed.clinic.store)["audit_events"] if "mail" in row
    ]
    assert (actor, action, subject_id) == ("staff:novak", "mail.viewed", name)
    part = await doctor.get(f"/outbox/{name}/html")
    assert "Your visit &lt;b&gt;soon&lt;/b&gt;" in shown
    assert "Good morning, Danuta &amp; all." in shown
    assert DANUTA.email in shown
    assert "document.title" not in shown
    assert f'<iframe src="/outbox/{name}/html"' in shown
    assert part.text.strip() == hostile
    directives = part.headers["content-security-policy"].split("; ")
    style = base64.b64encode(hashlib.sha256(b"color:red").digest()).decode()
    assert set(directives) == {
        "sandbox", "default-src 'none'", f"style-src 'unsafe-hashes' 'sha256-{style}'", "frame-ancestors 'self'",
        "base-uri 'none'", "form-action 'none'",
    }  # fmt: skip
