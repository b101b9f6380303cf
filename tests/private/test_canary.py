"""Nothing of a patient leaves by a side door: the real service, a real mail server, and invented words in every field.

She answers all that can be answered; then no word of hers may be in a log, an address, a header, a title, a file name,
in what machines watch, or readable in a stored file.
"""

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Final

import httpx
import pytest

from db.private_page import PageCodeKind
from db.states import EventKind
from scheduler import approvals, events, patients, private_page, treatments
from scheduler.entries import PatientForm
from scheduler.treatments import TreatmentForm
from tests.clinic import STAFF
from tests.private_parts import TOKEN
from tests.process import LONDON, environment, ledger_lines, open_folder, running, wait_until
from tests.smtp_process import smtp_process

HOST: Final = "pages.example.org"
LEVELS: Final = ("notice", "general", "full")
PROTOCOL: Final = """
key = "canary"
version = 1
title = "A plan"

[[field]]
key = "lot"
label = "Lot"
type = "text"

[[exercise]]
key = "breathing"
text = "exercise_breathing"

[[exercise]]
key = "trainer"
text = "exercise_trainer"

[check_in]
pain = 7
not_yet = 1

[[review]]
key = "two-week"
after = "P5D"
tolerance = "P3D"

[[step]]
key = "first"
kind = "aftercare"
template = "how_are_you"
anchor = "treatment"
offset = "PT5S"
expires_after = "PT2H"
past = "send"
"""


def canary(what: str, number: int) -> str:
    """A word that nothing else holds."""
    return f"Zq{what}canary{chr(ord('a') + number)}qz"


@dataclass
class Her:
    """One patient: where her mail goes, what opens her page, and all that was said of her or by her."""

    number: int
    email: str
    said: list[str] = field(default_factory=list)

    def word(self, what: str) -> str:
        """A word of hers, remembered."""
        found = canary(what, self.number)
        if found not in self.said:
            self.said.append(found)
        return found


def entered(env: Mapping[str, str], at: datetime) -> list[Her]:
    """A clinic with a patient of each level, and one whose address nobody has confirmed."""
    folder = Path(env["AFTERCARE_PROTOCOLS_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "canary.toml").write_text(PROTOCOL, encoding="utf-8")
    clinic = open_folder(env, at)
    approvals.read_files(clinic, STAFF)
    approvals.approve_protocol(clinic, STAFF, approvals.scope_of(clinic, "canary"), "Dr Novak")
    wall = at.astimezone(LONDON)
    everybody = []
    for number, level in enumerate((*LEVELS, "notice")):
        her = Her(number, f"{canary('mail', number).lower()}@example.org")
        everybody.append(her)
        her.said.append(her.email.partition("@")[0])
        form = PatientForm(
            given_name=her.word("given"),
            family_name=her.word("family"),
            preferred_name=her.word("preferred"),
            email=her.email,
            birth_date="1987-06-05",
            record_number=her.word("record"),
            level=level,
            phone=f"+44 20 7946 07{number}3",
            contact_note=her.word("contact"),
            confirmed="yes" if number < len(LEVELS) else None,
            consent="all",
        )
        her.said.append(f"7946 07{number}3")
        patient = patients.add(clinic, STAFF, form).patient_id
        private_page.set_code(clinic, STAFF, patient, PageCodeKind.WORD, her.word("code"))
        fields = {"lot": her.word("lot")}
        treatment = treatments.add(
            clinic, STAFF, patient, TreatmentForm("canary", f"{wall:%Y-%m-%dT%H:%M:%S}", fields=fields)
        ).treatment_id
        visit = f"{wall + timedelta(days=2):%Y-%m-%d}T14:00"
        place = {"place": her.word("place")}
        events.record(clinic, STAFF, treatment, EventKind.REVIEW_BOOKED, visit, fields=place)
        events.record(clinic, STAFF, treatment, EventKind.SOLO_STARTED)
        set_to = {"exercise": "trainer", "minutes": "10"}
        events.record(clinic, STAFF, treatment, EventKind.EXERCISE_SET, fields=set_to)
    clinic.store.engine.dispose()
    return everybody


@contextmanager
def free_port() -> Iterator[int]:
    """A port that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    yield port


class Tapping:
    """Her phone behind the clinic's proxy; notes every address and header it sees."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._cookie = ""
        self.seen: list[str] = []

    def ask(self, path: str, **fields: str) -> str:
        """Open a page, or send a form, and follow."""
        method = "POST" if fields or path.endswith(("/leave", "/go-on", "/yes")) else "GET"
        headers = {"Host": HOST, "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9", "Origin": "null"}
        headers |= {"Sec-Fetch-Site": "same-origin"} | ({"Cookie": self._cookie} if self._cookie else {})
        answer = httpx.request(
            method, self._base + path, data=fields or None, headers=headers, trust_env=False, timeout=30
        )
        self.seen += [path, str(answer.headers), *re.findall(r"<title>.*?</title>", answer.text)]
        kept = answer.headers.get("set-cookie", "")
        if kept:
            assert "Secure" in kept
            assert "HttpOnly" in kept
            self._cookie = kept.partition(";")[0]
        assert answer.status_code in (200, 303), (path, answer.status_code)
        return self.ask(answer.headers["location"]) if answer.status_code == 303 else answer.text

    def asked(self, host: str, path: str) -> str:
        """What a machine on this host is told."""
        answer = httpx.get(self._base + path, headers={"Host": host}, trust_env=False, timeout=30)
        return f"{answer.headers} {answer.text}"


def asked_raw(port: int, *lines: str) -> str:
    """What a request written by hand is answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall("\r\n".join((*lines, "Connection: close", "", "")).encode())
        return b"".join(iter(lambda: line.recv(65_536), b"")).decode()


def says_everything(phone: Tapping, token: str, her: Her) -> None:
    """She opens her page and answers all that can be answered."""
    base = f"/l/{token}"
    phone.ask(base)
    assert her.word("place") in phone.ask(f"{base}/code", code=her.word("code"))
    phone.ask(f"{base}/answer", answer="not_yet", pain="8", words=her.word("answer"))
    phone.ask(f"{base}/call", words=her.word("call"))
    phone.ask(f"{base}/time", review="two-week", answer="yes")
    phone.ask(f"{base}/time", review="two-week", answer="other", words=her.word("othertime"))
    phone.ask(f"{base}/appointment.ics")
    phone.ask(f"{base}/questions", review="two-week", words=her.word("questions"), **{"pain.at_rest": "3"})
    phone.ask(f"{base}/break", weeks="2")
    phone.ask(f"{base}/go-on")
    phone.ask(f"{base}/choices", at="10:00", weekday="2", language="en", level="general")
    phone.ask(f"{base}/held")
    phone.ask(f"{base}/back", exercise="trainer")
    phone.ask(f"{base}/stop", topic="all")
    phone.ask(f"{base}/leave")


@pytest.mark.long
def test_no_word_of_hers_is_where_others_look(tmp_path: Path) -> None:
    mails = tmp_path / "mails"
    with free_port() as theirs, free_port() as ours, smtp_process(tmp_path, "--folder", str(mails)) as (port, ledger):
        env = environment(
            tmp_path,
            port,
            AFTERCARE_PUBLIC_URL=f"https://{HOST}",
            AFTERCARE_PATIENT_LISTEN=f"127.0.0.1:{theirs}",
            AFTERCARE_LISTEN=f"127.0.0.1:{ours}",
            AFTERCARE_ALERT_ADDRESS="alarms@example.org",
            AFTERCARE_LOG_LEVEL="debug",
        )
        everybody = entered(env, datetime.now(UTC))
        outside: list[str] = []
        with running(env):
            assert wait_until(lambda: len(ledger_lines(ledger)) >= len(everybody), 60)
            by_address = {str(message["To"]): message for message in read_mails(mails)}
            for her in everybody:
                message = by_address[her.email]
                body = message.get_body(("plain",))
                assert body is not None
                found = re.search(rf"https://{re.escape(HOST)}/l/({TOKEN})\b", body.get_content())
                assert found is not None
                phone = Tapping(theirs)
                if her.number < len(LEVELS):
                    says_everything(phone, found[1], her)
                else:
                    phone.ask(f"/l/{found[1]}")
                    phone.ask(f"/l/{found[1]}/yes")
                outside += phone.seen
            outside += [phone.asked("127.0.0.1", path) for path in ("/health", "/metrics", "/nothing")]
            outside += [Tapping(ours).asked("127.0.0.1", path) for path in ("/health", "/metrics")]
            assert any("aftercare_" in each for each in outside)
            by_proxy = ("X-Forwarded-Proto: https", "X-Forwarded-For: 203.0.113.9")
            for first, host in (
                ("GET /sign-in HTTP/1.1", HOST),
                ("GET /sign-in HTTP/1.1", f"{HOST.upper()}.:443"),
                ("GET http://127.0.0.1/sign-in HTTP/1.1", HOST),
                (f"GET http://{HOST}/sign-in HTTP/1.1", "127.0.0.1"),
                ("HEAD /sign-in HTTP/1.1", HOST),
            ):
                answer = asked_raw(ours, first, f"Host: {host}", *by_proxy)
                assert answer.startswith("HTTP/1.1 404 "), (first, host)
                assert "password" not in answer.lower()
            answer = asked_raw(ours, "GET /sign-in HTTP/1.1", "Host: staff.example.org", *by_proxy)
            assert answer.startswith("HTTP/1.1 200 ")
        for message in read_mails(mails):
            outside += [f"{name}: {value}" for name, value in message.items() if name != "To"]
        log = (tmp_path / "service.log").read_text()
        assert '"event": "messages_left"' in log
        outside.append(log)
        outside += [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
        stored = [path for path in (tmp_path / "var").rglob("*") if path.is_file() and path.suffix != ".csv"]
    said = [word for her in everybody for word in her.said]
    assert len(said) > 40
    told = "\n".join(outside).lower()
    assert [word for word in said if word.lower() in told] == []
    for path in stored:
        content = path.read_bytes().lower()
        assert [word for word in said if word.lower().encode() in content] == [], path.name


def read_mails(folder: Path) -> list[EmailMessage]:
    """Every message that the server took."""
    return [message_from_bytes(path.read_bytes(), policy=policy.default) for path in sorted(folder.glob("*.eml"))]
