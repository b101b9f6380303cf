"""The reminders board and one reminder on the screen: what is listed, page by page, its tries, its text, its copies."""

import re

import pytest

from db import imports as stored_imports
from db.board import BoardFilter, count_board, list_board
from db.states import AttemptOutcome, DecisionKind, EventKind, StopReason
from db.types import new_id
from scheduler.recovery import sweep
from tests.clinic import COURSE, Desk
from tests.page_parts import AtWork, place, seen, words
from tests.people import AMINA, BEATRIX, CARMEN, FENG

D = DecisionKind


@pytest.fixture
def work(sqlite_desk: Desk) -> AtWork:
    return AtWork(sqlite_desk)


def ids(html: str) -> list[str]:
    """The reminders that a board lists, in its order."""
    return re.findall(r'name="ids" value="([0-9a-f-]+)"', html)


async def board(work: AtWork, query: str = "") -> list[str]:
    """The reminders of one view, by step."""
    steps = {str(row.id): row.step for row in work.desk.rows()}
    return [steps[found] for found in ids((await work.rosa.get(f"/reminders{query}")).text)]


async def test_the_board_shows_fourteen_days_around_today_and_what_is_held_or_unsent_whenever_it_is(
    work: AtWork,
) -> None:
    desk = work.desk
    desk.treat(desk.enter(AMINA), "2026-11-23T08:30")
    desk.treat(desk.enter(BEATRIX, confirmed=None), "2026-11-23T08:30")
    desk.treat(desk.enter(CARMEN), "2026-11-10T08:30", past="skip")
    desk.treat(desk.enter(FENG), "2026-12-10T08:30")
    # Carmen's passed one and her line for staff of 1 December; everything else lies further ahead.
    assert await board(work) == ["after-visit", "after-visit", "after-visit", "no-review-yet"]
    assert await board(work, "?show=waiting") == ["after-visit", "no-review-yet"]
    assert await board(work, "?show=held") == ["after-visit", "next-session"]
    assert await board(work, "?show=unsent") == []
    assert await board(work, "?show=sent") == []
    desk.tick(days=2)
    sweep(desk.clinic)
    assert await board(work, "?show=unsent") == ["after-visit", "after-visit"]
    held = len(await board(work, "?show=held"))
    told = await seen(work.dana, "/reminders")
    assert f"Held {held} Sent 0 Not sent, to settle 2 Ended unsent" in told
    desk.decide(next(row for row in desk.rows() if row.state == "missed" and row.settled_at is None), D.DONE)
    assert await board(work, "?show=unsent") == ["after-visit"]
    assert await board(work, "?show=ended") == ["after-visit", "after-visit"]  # settled or not: neither was sent
    assert await board(work, "?show=nonsense") == await board(work)
    assert await board(work, "?show=unsent&reason=expired") == ["after-visit"]
    assert await board(work, "?show=unsent&reason=outside_window") == []


async def test_what_is_due_now_is_what_may_leave_now(work: AtWork) -> None:
    desk = work.desk
    desk.treat(desk.enter(AMINA), "2026-11-23T08:30")
    assert await board(work, "?show=due") == []
    desk.tick(hours=9)
    assert await board(work, "?show=due") == ["after-visit"]
    desk.send_due(AttemptOutcome.PUT_OFF)
    assert await board(work, "?show=due") == []  # it waits for its next try


async def test_reminders_of_a_patient_are_found_and_what_was_typed_is_in_no_address(work: AtWork) -> None:
    desk = work.desk
    desk.treat(desk.enter(AMINA))
    desk.treat(desk.enter(BEATRIX))
    found = await work.rosa.post("/reminders", {"q": "lindq", "show": "waiting"})
    assert "Beatrix Lindqvist" in words(found)
    assert "Amina" not in words(found)
    assert len(ids(found.text)) == 3  # whatever their date
    assert "lindq" not in re.sub(r'value="lindq"', "", found.text)
    nobody = await work.rosa.post("/reminders", {"q": "zzz"})
    assert "No reminder of anybody of that name or number." in words(nobody)
    assert len(ids((await work.rosa.post("/reminders", {"q": " "})).text)) == len(await board(work))


async def test_page_after_page_shows_every_reminder_once_also_when_many_are_due_at_one_moment(work: AtWork) -> None:
    desk = work.desk
    week = COURSE.replace('anchor = "solo_started"', 'anchor = "treatment"').replace("count = 3", "count = 40")
    desk.write_protocol(week.replace("version = 1", "version = 2").replace('every = "P7D"', 'every = "P1D"'))
    desk.approve_unseen()
    for person in (AMINA, BEATRIX, CARMEN, FENG):
        desk.treat(desk.enter(person, confirmed=None, time_zone="Europe/London"))
    paths, found = ["/reminders?show=held"], []
    while paths:
        html = (await work.rosa.get(paths.pop())).text
        found.append(ids(html))
        paths = [each.replace("&amp;", "&") for each in re.findall(r'href="(/reminders[^"]*after=[^"]*)"', html)]
    every = [reminder for page in found for reminder in page]
    assert [len(page) for page in found] == [*[50] * (len(every) // 50), len(every) % 50]
    held = {str(row.id) for row in desk.rows() if row.state == "held"}
    assert (len(every), set(every)) == (len(held), held)
    for wrong in ("x", "2026-11-23T09:00:00~x", f"2026-11-23T09:00:00~{new_id()}", "~"):
        assert ids((await work.rosa.get(f"/reminders?show=held&after={wrong}")).text) == found[0]


def test_the_place_where_a_page_ends_is_found_again_on_both_databases(desk: Desk) -> None:
    for person in (AMINA, BEATRIX):
        desk.treat(desk.enter(person))
    whole = BoardFilter(since=None, until=None)
    with desk.store.read() as session:
        rows = [row for row, _ in list_board(session, whole, 100)]
        for place_, last in enumerate(rows):
            rest = list_board(session, whole, 100, (last.due_at, last.id))
            assert [row.id for row, _ in rest] == [row.id for row in rows[place_ + 1 :]]
        both = count_board(session, rows[0].due_at, rows[-1].due_at)
    assert sum(both.values()) == len([row for row in rows if row.due_at < rows[-1].due_at])


async def test_chosen_ones_are_decided_and_the_board_comes_back_as_it_was(work: AtWork) -> None:
    work.desk.treat(work.desk.enter(AMINA))
    html = (await work.rosa.get("/reminders?show=waiting")).text
    back = re.findall(r'name="back" value="(/reminders[^"]*)"', html)[-1].replace("&amp;", "&")
    answer = await work.rosa.post("/reminders/decide", {"ids": ids(html), "decision": "hold", "back": back})
    assert place(answer) == "/reminders?show=waiting&done=decided-hold"
    assert {row.state for row in work.desk.rows()} == {"held", "scheduled"}


async def test_what_was_undone_is_not_on_the_board(work: AtWork) -> None:
    amina = work.desk.enter(AMINA)
    work.desk.treat(amina)
    with work.desk.store.write("test", work.desk.clock.now()) as session:
        stored_imports.void(session, [amina])
    assert (await board(work), await board(work, "?show=ended")) == ([], [])


# One reminder


async def test_a_reminder_shows_how_it_stands_and_its_text_as_it_would_read_now(work: AtWork) -> None:
    amina = work.desk.enter(AMINA, time_zone="America/New_York")
    treatment_id = work.desk.treat(amina, "2026-11-23T08:30").treatment_id
    row = work.desk.row("after-visit")
    told = await seen(work.dana, f"/reminders/{row.id}")
    assert "Amina Farouk · its plan · due today 17:00 (America/New_York)" in told
    assert "“After your visit” · will be sent. Send now Hold Cancel" in told
    assert "As it would read now." in told
    assert "Thank you for coming to see us on 23 November." in told
    desk_sees = await seen(work.rosa, f"/reminders/{row.id}")
    assert (
        "After your visit A short note from us, and how to reach us. What it says inside is for clinicians."
        in desk_sees
    )
    assert "Thank you" not in desk_sees
    line = work.desk.row("no-review-yet")
    assert (
        "This is a line for staff: nothing is mailed".lower()
        in (await seen(work.dana, f"/reminders/{line.id}")).lower()
    )
    work.desk.event(treatment_id, EventKind.STOP)
    assert "cancelled: the care plan was stopped" in await seen(work.rosa, f"/reminders/{row.id}")
    for path in (f"/reminders/{new_id()}", "/reminders/x", f"/reminders/{line.id}/html"):
        assert (await work.dana.get(path)).status_code == 404


async def test_what_left_is_shown_exactly_with_every_try_and_answer(work: AtWork) -> None:
    desk = work.desk
    amina = desk.enter(AMINA)
    desk.treat(amina, "2026-11-23T08:30")
    desk.tick(hours=9)
    desk.send_due(AttemptOutcome.PUT_OFF, code=451, enhanced="4.3.0", reply="451 try <later>")
    desk.tick(hours=1)
    desk.send_due()
    row = desk.row("after-visit")
    desk.change(amina, preferred_name="Mina")
    told = await seen(work.dana, f"/reminders/{row.id}")
    assert "today 18:00 · the mail server said: not yet (451 4.3.0) exact copy and answer" in told
    assert "today 19:00 · the mail server took it exact copy and answer" in told
    assert "As it left. On a locked phone" in told
    assert ("Hello Amina." in told, "Hello Mina." in told) == (True, False)
    before = len(work.trail())
    copy = await seen(work.dana, f"/reminders/{row.id}/copies/1")
    assert work.trail(before) == [("copy.viewed", "1", amina, ["content"])]
    assert "How it ended the mail server said: not yet (451 4.3.0) The mail server said 451 try <later>" in copy
    assert "The bytes as they were handed over" in copy
    assert f"Message-ID: {row.message_id}" in copy
    assert "exact copy" not in await seen(work.rosa, f"/reminders/{row.id}")
    other = desk.row("next-session")
    for path in (f"/reminders/{row.id}/copies/3", f"/reminders/{other.id}/copies/1", f"/reminders/{row.id}/copies/x"):
        assert (await work.dana.get(path)).status_code == 404
    assert (await work.rosa.get(f"/reminders/{row.id}/copies/1")).status_code == 403
    assert (await work.rosa.get(f"/reminders/{row.id}/html")).status_code == 403


async def test_the_html_of_a_mail_comes_alone_in_its_sandbox_in_either_look(work: AtWork) -> None:
    desk = work.desk
    desk.treat(desk.enter(AMINA), "2026-11-23T08:30")
    row = desk.row("after-visit")
    for scheme, shown in (("light", "@media not all"), ("dark", "@media all"), ("", "prefers-color-scheme")):
        answer = await work.dana.get(f"/reminders/{row.id}/html?scheme={scheme}")
        assert answer.headers["content-security-policy"].startswith(
            "sandbox; default-src 'none'; style-src 'unsafe-hashes'"
        )
        assert shown in answer.text
    desk.tick(hours=9)
    desk.send_due()
    for attempt in ("1", "2", "x", ""):
        assert "Hello Amina." in (await work.dana.get(f"/reminders/{row.id}/html?attempt={attempt}")).text


async def test_a_message_without_a_copy_is_not_shown_as_it_left(work: AtWork) -> None:
    desk = work.desk
    amina = desk.enter(AMINA)
    desk.treat(amina, "2026-11-23T08:30")
    desk.tick(hours=9)
    worker = desk.worker()
    (claim,) = desk.claim(worker)
    desk.end(worker, claim, None, AttemptOutcome.NOT_SENT)
    desk.tick(hours=1)
    row = desk.row("after-visit")
    assert "Nothing was handed over in this try." in await seen(work.dana, f"/reminders/{row.id}/copies/1")
    desk.stop(amina, StopReason.OPTED_OUT)
    assert "As it would read now." in await seen(work.dana, f"/reminders/{row.id}")
