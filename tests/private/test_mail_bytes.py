"""The mails of patients who have pages, as bytes: their links, how they are stopped (RFC 8058), and the linter."""

import re
from collections import Counter
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import UUID

import pytest

from scheduler.settings import SHIPPED
from scheduler.wording import lint_rendered
from tests.clinic import Desk
from tests.people import AMINA
from tests.private_parts import TOKEN, TOXIN, send_all

PUBLIC = "https://pages.example.org"
NAMES = [AMINA.given_name, AMINA.family_name]


@pytest.fixture
def https_desk(sqlite_desk: Desk) -> Desk:
    """Patients' pages under a public name."""
    desk = sqlite_desk.with_settings(PUBLIC_URL=PUBLIC)
    desk.write_protocol((SHIPPED / "protocols" / f"{TOXIN}.toml").read_text(encoding="utf-8"), TOXIN)
    desk.approve(TOXIN)
    return desk


def due_of(desk: Desk, level: str) -> UUID:
    """A patient whose mail of that level is due; `confirm`: the question about her address."""
    if level == "confirm":
        patient = desk.enter(AMINA, confirmed=None)
        desk.treat(patient, protocol=TOXIN)
        desk.tick(minutes=20)
        return patient
    patient = desk.enter(AMINA, level=level)
    desk.treat(patient, protocol=TOXIN)
    desk.tick(hours=8)
    return patient


@pytest.mark.parametrize("level", ["notice", "general", "full", "confirm"])
def test_a_mail_of_each_level_holds_its_links_whole_and_once(https_desk: Desk, level: str) -> None:
    desk = https_desk
    due_of(desk, level)
    (sent,) = send_all(desk)
    letter = sent.letter
    message = message_from_bytes(letter.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    bodies = {kind: message.get_body((kind,)) for kind in ("plain", "html")}
    told = {kind: body.get_content() if body else "" for kind, body in bodies.items()}
    pages = {kind: re.findall(rf"{PUBLIC}/l/({TOKEN})\b", text) for kind, text in told.items()}
    stops = {kind: re.findall(rf"{PUBLIC}/u/({TOKEN})\b", text) for kind, text in told.items()}
    assert len({*pages["plain"], *pages["html"]}) == 1
    raw = letter.content.decode("ascii")
    (unsubscribe,) = re.findall(r"^List-Unsubscribe: (.*\r\n(?: .*\r\n)*)", raw, re.MULTILINE)
    mailto, https = re.fullmatch(rf"<(mailto:[!-~]+)>,\r\n <({PUBLIC}/u/{TOKEN})>\r\n", unsubscribe).groups()  # type: ignore[union-attr]
    assert raw.count("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n") == 1
    assert mailto.startswith("mailto:")
    stop = https.rpartition("/")[2]
    assert stop != pages["plain"][0]
    if level == "confirm":
        assert stops == {"plain": [], "html": []}
    else:
        assert {*stops["plain"], *stops["html"]} == {stop}
    # The page by the action and by the foot, the stop once; and every address in the mail is one of these two.
    assert Counter(pages["plain"])[pages["plain"][0]] <= 2
    assert len(stops["plain"]) == (level != "confirm")
    everywhere = set(re.findall(r"https?://[^\s\"'<>)]+", told["plain"] + told["html"]))
    ours = {f"{PUBLIC}/l/{pages['plain'][0]}", f"{PUBLIC}/u/{stop}"}
    assert {link for link in everywhere if "w3.org" not in link} <= ours
    # No token in the head but in List-Unsubscribe, and none in the Message-ID, envelope or name of a part.
    head = raw.partition("\r\n\r\n")[0].replace(unsubscribe, "")
    assert pages["plain"][0] not in raw.partition("\r\n\r\n")[0]
    assert stop not in head
    assert stop not in letter.return_path
    assert "filename" not in raw


def test_no_two_mails_share_a_link(https_desk: Desk) -> None:
    desk = https_desk
    for number in range(12):
        desk.treat(desk.enter(AMINA, email=f"tara{number}@example.org", record_number=None), protocol=TOXIN)
    links: Counter[str] = Counter()
    for _ in range(3):
        desk.tick(hours=8)
        for sent in send_all(desk):
            links.update(set(re.findall(rf"/[lu]/({TOKEN})\b", sent.letter.rendered.text)))
        desk.tick(days=3)
    assert len(links) >= 24
    assert set(links.values()) == {1}


@pytest.mark.parametrize("level", ["notice", "general", "full", "confirm"])
def test_the_linter_finds_nothing_in_a_mail_of_any_level(https_desk: Desk, level: str) -> None:
    desk = https_desk
    due_of(desk, level)
    (sent,) = send_all(desk)
    words = desk.clinic.library.words(sent.letter.rendered.language)
    assert lint_rendered(sent.letter.rendered, NAMES, words) == []
    message = message_from_bytes(sent.letter.content, policy=policy.default)
    for name, value in message.items():
        if name != "To":
            assert not words.outside.find(words.compared(f"{name}: {value}")), name
            assert not any(each.lower() in str(value).lower() for each in NAMES), name


def test_on_this_machine_alone_there_is_no_one_click(sqlite_desk: Desk) -> None:
    desk = sqlite_desk.with_settings(PUBLIC_URL="http://127.0.0.1:8001")
    desk.treat(desk.enter(AMINA))
    desk.tick(hours=8)
    for claim in desk.claim(desk.worker()):
        content = desk.letter(claim).content
        assert b"List-Unsubscribe: <mailto:" in content
        assert b"List-Unsubscribe-Post" not in content
