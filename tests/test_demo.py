"""The demo as people start it, as a real process: who receives what, once, whatever machine it runs on.

What the planner and the sender do in single cases is in the tests of planning and sending.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

SERVICE = Path(__file__).resolve().parent.parent / "service.py"
# `Fri 20 March 10:00 Kolkata  @ Your plan: week 1`; what was done at the clinic is in brackets instead of after an @.
LINE = re.compile(r"  \w{3} ([ \d]\d \w+ \d\d:\d\d)( \w+)? +(@ (.+)|\((.+)\))")


@dataclass(frozen=True)
class Shown:
    """What the demo printed, and how it ended."""

    text: str
    seconds: float
    folder: Path

    @property
    def stories(self) -> dict[str, str]:
        """The lines of each patient by her given name."""
        return {part.split()[0]: part for part in self.text.split("\n\n")[1:-1]}

    def mails(self, name: str) -> list[tuple[str, str]]:
        """What left to her: local time (with the city when it is not the clinic's) and subject."""
        found = [LINE.fullmatch(line) for line in self.stories[name].splitlines()]
        return [(f"{m[1].strip()}{m[2] or ''}", m[4]) for m in found if m and m[4]]


def played(folder: Path, **environment: str) -> Shown:
    """Play the demo to its end, in a temporary folder of the test."""
    folder.mkdir()
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(SERVICE), "demo", "--once"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TMPDIR": str(folder), **environment},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (made,) = folder.iterdir()
    return Shown(done.stdout, time.monotonic() - began, made)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """One run for all tests that only look."""
    return played(tmp_path_factory.mktemp("demo") / "once")


def test_six_weeks_take_less_than_a_minute(shown: Shown) -> None:
    assert shown.seconds < 60


def test_all_six_patients_have_their_story(shown: Shown) -> None:
    assert list(shown.stories) == ["Leila", "Priya", "Marta", "Clara", "Esther", "Ingrid"]


def test_she_who_is_released_gets_partner_messages_only_then_and_no_more_solo_ones(shown: Shown) -> None:
    left = ["2 March 17:00", "3 March 10:00", "5 March 10:00", "9 March 10:00", "10 March 10:00", "12 March 10:00"]
    left += ["14 March 10:00", "20 March 10:00"]
    left += ["25 March 16:10", "1 April 10:00"]  # released at 16:00, after the ten minutes of grace
    left += ["8 April 10:00", "9 April 10:00"]  # the second waited a day: one message a day
    assert shown.mails("Leila") == [(at, "A message for you") for at in left]
    assert "27 March to 24 April: plan week, 5 times: cancelled: The next phase was released." in shown.stories["Leila"]


def test_she_who_moves_abroad_gets_hers_at_ten_in_her_new_zone(shown: Shown) -> None:
    assert shown.mails("Priya") == [
        ("2 March 17:00", "After your visit"),
        ("3 March 10:00", "How are you today?"),
        ("5 March 10:00", "A quick check-in"),
        ("9 March 10:00", "Getting ready for your visit"),
        ("13 March 10:00", "Your visit on Monday 16 March"),
        ("15 March 10:00", "Your visit on Monday 16 March"),
        ("17 March 10:00", "Your next step"),
        ("23 March 10:00 Kolkata", "Your plan: week 1"),
        ("30 March 10:00 Kolkata", "Your plan: week 2"),
        ("6 April 10:00 Kolkata", "Your plan: week 3"),
        ("8 April 10:00 Kolkata", "Please choose a time"),
        ("10 April 10:00 Kolkata", "Your visit on Monday 13 April"),
        ("12 April 10:00 Kolkata", "Your visit on Monday 13 April"),
    ]


def test_ten_in_kolkata_is_half_past_four_utc_in_the_mail_itself(shown: Shown) -> None:
    dates = [
        message["Date"].datetime.strftime("%d %H:%M %z")
        for message in mails_of(shown, "priya@example.org")
        if message["Subject"].startswith("Your plan")
    ]
    assert sorted(dates) == ["06 04:30 +0000", "23 04:30 +0000", "30 04:30 +0000"]


def test_her_visit_abroad_is_told_in_the_clinics_time_and_says_so(shown: Shown) -> None:
    (first, _) = [mail for mail in mails_of(shown, "priya@example.org") if "13 April" in mail["Subject"]]
    body = first.get_body(("plain",))
    assert body is not None
    assert "London time" in body.get_content()


def test_she_who_missed_her_review_is_offered_another_time_and_books_it(shown: Shown) -> None:
    assert shown.mails("Marta")[4:] == [
        ("12 March 10:00", "Please choose a time"),
        ("15 March 10:00", "Your visit on Wednesday 18 March"),
        ("17 March 10:00", "Your visit on Wednesday 18 March"),
        ("19 March 10:00", "Would another time suit you?"),
        ("23 March 10:00", "Your visit on Thursday 26 March"),
        ("25 March 10:00", "Your visit on Thursday 26 March"),
        ("27 March 10:00", "Your next step"),
        ("2 April 10:00", "Your plan: week 1"),
        ("9 April 10:00", "Please choose a time"),  # week 2 waits for a week: she took a break on her page
    ]
    assert "line for staff (call missed): done: Staff did it by hand." in shown.stories["Marta"]


def test_a_complication_pauses_the_plan_while_visit_reminders_go_on(shown: Shown) -> None:
    assert shown.mails("Clara")[7:] == [
        ("25 March 10:00", "Your plan: week 1"),
        ("30 March 10:00", "Your visit on Thursday 2 April"),  # reported on 27 March
        ("1 April 10:00", "Your visit on Thursday 2 April"),
        ("8 April 10:00", "Your plan: week 3"),  # resolved on 2 April; week 2 was due on 1 April
    ]
    assert "1 April: plan week: not sent: " in shown.stories["Clara"]


@pytest.mark.long
def test_she_who_stopped_gets_nothing_more(shown: Shown) -> None:
    assert shown.mails("Esther") == [
        ("5 March 17:00", "After your visit"),
        ("7 March 10:00", "How are you today?"),
        ("12 March 10:00", "A quick check-in"),
        ("19 March 10:00", "Please choose a time"),
    ]
    assert "7 April: choose a time: cancelled: The patient said no to these messages." in shown.stories["Esther"]


def test_nothing_goes_to_an_address_before_it_is_confirmed(shown: Shown) -> None:
    assert shown.mails("Ingrid")[:3] == [
        ("10 March 12:10", "Is this your address?"),
        ("11 March 08:45", "After your visit"),
        ("11 March 10:00", "How are you today?"),
    ]


def test_ten_stays_ten_when_the_clocks_go_forward(shown: Shown) -> None:
    hours = Counter(
        message["Date"].datetime.strftime("%m %H:%M")
        for message in mails_of(shown, "ingrid@example.org")
        if message["Subject"].startswith("Your plan")
    )
    assert hours == {"03 10:00": 1, "04 09:00": 1}  # UTC: 24 March is winter time, 7 April summer time
    assert shown.mails("Ingrid")[-2:] == [
        ("24 March 10:00", "Your plan: week 2"),
        ("7 April 10:00", "Your plan: week 4"),
    ]


def test_every_message_left_once_and_every_mail_is_in_the_folder(shown: Shown) -> None:
    printed = sum(len(shown.mails(name)) for name in shown.stories)
    ids = {message["Message-ID"] for path in shown.folder.glob("outbox/*.eml") if (message := read(path))}
    assert printed == len(ids) == len(list(shown.folder.glob("outbox/*.eml"))) == 61
    assert shown.text.endswith(
        "6 patients, six weeks: 61 messages left, 61 mails are in the folder, 18 did not leave, "
        "27 are planned for later.\n"
    )


@pytest.mark.long
def test_neither_the_machines_zone_nor_the_real_clinics_settings_change_anything(shown: Shown, tmp_path: Path) -> None:
    real = tmp_path / "real clinic"
    elsewhere = played(
        tmp_path / "demo",
        TZ="Pacific/Auckland",
        AFTERCARE_DATA_DIR=str(real),
        AFTERCARE_SMTP_HOST="192.0.2.1",
        AFTERCARE_CLINIC_TIME_ZONE="Asia/Tokyo",
        AFTERCARE_NO_SUCH_SETTING="1",
    )
    assert elsewhere.text.splitlines()[1:] == shown.text.splitlines()[1:]
    assert not real.exists()


def test_live_it_shows_its_page_tells_each_message_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, str(SERVICE), "demo", "--speed", "500000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            assert process.stdout is not None
            told: list[str] = []
            for line in process.stdout:
                told.append(line.rstrip())
                if "@ How are you today?" in line:
                    break
            address = re.search(r"http://127\.0\.0\.1:\d+/", "\n".join(told))
            assert address is not None
            page = signed_in(address[0], "\n".join(told))
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert "A message for you" in page
    assert any(line.endswith("Leila Haddad    @ A message for you") for line in told)
    assert any("Her code: " in line for line in told)
    assert (process.returncode, errors) == (0, "")


def signed_in(address: str, told: str) -> str:
    """The list of mails, as somebody sees it who signs in with what the demo tells."""
    password = re.search(r"Password: (.+) · PIN", told)
    assert password is not None
    with httpx.Client(base_url=address, timeout=20, trust_env=False, follow_redirects=True) as browser:
        form = {"login": "sample", "password": password[1], "next": "/outbox"}
        return browser.post("/sign-in", data=form, headers={"Origin": address.rstrip("/")}).text


def test_time_does_not_run_backwards() -> None:
    done = subprocess.run(
        [sys.executable, str(SERVICE), "demo", "--speed", "-1"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "--speed" in done.stderr


def mails_of(shown: Shown, address: str) -> list[EmailMessage]:
    """Her mails in the order of their dates."""
    found = [message for path in shown.folder.glob("outbox/*.eml") if (message := read(path))["To"] == address]
    return sorted(found, key=lambda message: message["Date"].datetime)


def read(path: Path) -> EmailMessage:
    """One mail of the folder."""
    return message_from_bytes(path.read_bytes(), policy=policy.default)
