"""What came back, on the screen: Today's line, the time line, the message's page; and the letters' line."""

import re

import pytest

from scheduler.returned_mail import take
from tests import returned_mails as shapes
from tests.clinic import Desk
from tests.page_parts import AtWork, lines, seen
from tests.people import AMINA
from tests.returned_mails import filled
from tests.test_returned_mail import path_of, with_mailbox


@pytest.fixture
def work(sqlite_desk: Desk) -> AtWork:
    return AtWork(with_mailbox(sqlite_desk))


async def test_a_message_that_came_back_is_a_line_until_somebody_rang(work: AtWork) -> None:
    desk = work.desk
    patient_id = desk.enter(AMINA, phone="+44 20 7946 0101", call_safe="yes")
    desk.treat(patient_id)
    desk.tick(hours=9)
    desk.send_due()
    take(desk.clinic, filled(shapes.POSTFIX, to=path_of(desk)))
    (line, held) = lines((await work.rosa.get("/today")).text)
    assert "Amina Farouk “After your visit” came back, today 18:00: the address refused mail +44 20 7946" in line
    for act in ("I rang Amina", "Change the address", "Send it again"):
        assert act in line
    assert "the address refused mail; messages wait" in held
    row = desk.row("after-visit")
    assert "sent, the mail server took it, and came back" in await seen(work.rosa, f"/patients/{patient_id}")
    page = await seen(work.rosa, f"/reminders/{row.id}")
    assert "it came back: the address refused it for good (5.1.1)" in page
    assert "User unknown" not in page  # the server's words are the clinician's
    assert "User unknown" in await seen(work.dana, f"/reminders/{row.id}")
    await work.rosa.post(f"/reminders/{row.id}/decide", {"decision": "done", "note": "rang her", "back": "/today"})
    (held, done) = lines((await work.rosa.get("/today")).text)
    assert "came back" not in held
    assert done.endswith("“After your visit”: settled, nothing more is sent · Rosa")


async def test_letters_are_one_line_without_a_word_of_theirs(work: AtWork) -> None:
    take(work.desk.clinic, filled(shapes.LETTER), 1, 2)
    html = (await work.rosa.get("/today")).text
    assert "A person wrote to the technical mailbox, since today 09:00" in await seen(work.rosa, "/today")
    assert "still hurts" not in html
    (until,) = re.findall(r'name="until" value="([^"]+)"', html)
    assert (await work.rosa.post("/letters/looked-at", {"until": "now"})).status_code == 409
    work.desk.tick()
    take(work.desk.clinic, filled(shapes.COMPLAINT), 1, 3)
    await work.rosa.post("/letters/looked-at", {"until": until, "back": "/today"})
    assert "A person wrote to the technical mailbox" in await seen(work.rosa, "/today")  # the one that came since
    (until,) = re.findall(r'name="until" value="([^"]+)"', (await work.rosa.get("/today")).text)
    await work.rosa.post("/letters/looked-at", {"until": until, "back": "/today"})
    assert "technical mailbox" not in await seen(work.rosa, "/today")
