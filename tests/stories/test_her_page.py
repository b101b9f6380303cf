"""Stories of a patient on her phone: from the link in a mail to what she came for, by thumb, by keyboard, in German,
and with a browser that runs no script. Staff's side of what she says is in `tests/private` and on staff's own pages.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from db import patients as stored_patients
from db.follow_up import CareEvent, Reminder
from db.private_page import RaisedKind
from db.states import EventKind, StepKind, Topic
from scheduler import private_page
from tests.clinic import Desk
from tests.live import ARGUMENTS, Live, find_chromium
from tests.people import AMINA
from tests.private_parts import CODE, TOXIN, Sent, choose_code, kinds, lines, patients_of, send_all

PHONE: Final[dict[str, Any]] = {"viewport": {"width": 360, "height": 780}, "has_touch": True, "is_mobile": True}
SMALL: Final[dict[str, Any]] = {**PHONE, "viewport": {"width": 320, "height": 640}}
WITHOUT_SCRIPT: Final[dict[str, Any]] = {**PHONE, "java_script_enabled": False}


def written_to(desk: Desk, about: StepKind = StepKind.AFTERCARE, **changes: str | None) -> Sent:
    """A patient with a code was treated; her first mail about that has left, and her visit is booked."""
    patient_id = desk.enter(AMINA, **{"level": "notice", **changes})
    choose_code(desk.clinic, patient_id)
    treatment_id = desk.treat(patient_id, "2026-11-23T08:30", TOXIN).treatment_id
    desk.event(treatment_id, EventKind.REVIEW_BOOKED, "2026-12-08T14:00", review="two-week", fields={"place": "Room 2"})
    if about is StepKind.EXERCISE:
        given = {"exercise": "letting-go", "times_per_week": "3", "minutes": "10"}
        desk.event(treatment_id, EventKind.SOLO_STARTED)
        desk.event(treatment_id, EventKind.EXERCISE_SET, fields=given)
    for _ in range(40):
        desk.tick(hours=12)
        for sent in send_all(desk):
            opening = private_page.open_link(desk.clinic, sent.page)
            assert opening is not None
            with desk.store.read() as session:
                if session.get_one(Reminder, opening.reminder_id).kind is about:
                    return sent
    raise AssertionError("no such mail has left")


def give_code(page: Page, button: str = "Open") -> None:
    """By thumb."""
    page.get_by_role("textbox").fill(CODE)
    page.get_by_role("button", name=button).tap()


def test_she_says_that_the_address_is_hers(hers: Live) -> None:
    patient_id = hers.desk.enter(AMINA, confirmed=None, level="notice")
    hers.desk.treat(patient_id, "2026-11-23T08:30", TOXIN)
    hers.desk.tick(minutes=20)
    (sent,) = send_all(hers.desk)
    page = hers.page(**PHONE)
    page.goto(f"{hers.base}/l/{sent.page}")
    expect(page.get_by_role("heading", name="Is this your address?")).to_be_visible()
    hers.shot(page, "her-address")
    page.get_by_role("button", name="Yes, it is mine").tap()
    expect(page.get_by_text("this address is yours")).to_be_visible()
    hers.desk.tick(hours=9)
    assert [one.letter.rendered.subject for one in send_all(hers.desk)] == ["A message for you"]


def test_somebody_else_says_that_it_is_not_without_any_script(hers: Live) -> None:
    patient_id = hers.desk.enter(AMINA, confirmed=None, level="notice")
    hers.desk.treat(patient_id, "2026-11-23T08:30", TOXIN)
    hers.desk.tick(minutes=20)
    (sent,) = send_all(hers.desk)
    page = hers.page(**WITHOUT_SCRIPT)
    page.goto(f"{hers.base}/l/{sent.page}")
    page.get_by_role("button", name="This is not me").tap()
    expect(page.get_by_text("We have removed this address")).to_be_visible()
    page.goto(f"{hers.base}/l/{sent.page}")
    expect(page.get_by_role("heading", name="This page has ended")).to_be_visible()
    assert lines(hers.desk) == [RaisedKind.WRONG_PERSON]


def test_she_gives_her_code_and_says_how_the_step_went(hers: Live) -> None:
    sent = written_to(hers.desk, StepKind.EXERCISE)
    page = hers.page(**SMALL)
    page.goto(f"{hers.base}/l/{sent.page}")
    hers.shot(page, "her-code")
    page.get_by_role("textbox").fill("pear")
    page.get_by_role("button", name="Open").tap()
    expect(page.get_by_role("alert")).to_contain_text("You can try 4 more times")
    give_code(page)
    expect(page.locator("h2").first).to_have_text("Letting go")
    expect(page.get_by_text("Step 2 of 4")).to_be_visible()
    hers.shot(page, "her-step")
    page.get_by_role("radio", name="Not yet").tap()
    page.get_by_role("radio", name="3", exact=True).tap()
    page.get_by_label("A few words").fill("Tomorrow.")
    page.get_by_role("button", name="Send").tap()
    expect(page.get_by_role("status")).to_contain_text("We have your answer")
    assert said(hers.desk) == {"answer": "not_yet", "pain": "3", "words": "Tomorrow.", "exercise": "letting-go"}
    page.get_by_role("button", name="Go back one step").tap()
    expect(page.locator("h2").first).to_have_text("Quiet breathing")
    expect(page.get_by_role("button", name="Go back one step")).to_have_count(0)


def test_she_reads_what_is_urgent_and_asks_for_a_call(hers: Live) -> None:
    sent = written_to(hers.desk)
    page = hers.page(**PHONE)
    page.goto(f"{hers.base}/l/{sent.page}")
    give_code(page)
    page.get_by_role("link", name="Something is not right").tap()
    expect(page.get_by_role("link", name="Call 999")).to_have_attribute("href", "tel:999")
    expect(page.get_by_role("heading", name="First: is it urgent?")).to_be_visible()
    hers.shot(page, "her-urgent")
    page.get_by_label("A few words").fill("It hurts more today.")
    page.get_by_role("button", name="Ask for a call").tap()
    expect(page.get_by_role("heading", name="We will call you")).to_be_visible()
    expect(page.get_by_text("Somebody at the clinic reads this")).to_be_visible()
    page.get_by_role("link", name="Back").tap()
    expect(page.get_by_text("You have asked for a call")).to_be_visible()
    assert kinds(hers.desk)[-1] is EventKind.CALL_REQUESTED


def test_she_asks_for_another_time_then_says_that_she_comes(hers: Live) -> None:
    sent = written_to(hers.desk, StepKind.REVIEW)
    page = hers.page(**PHONE)
    page.goto(f"{hers.base}/l/{sent.page}")
    give_code(page)
    visit = page.get_by_role("region", name="Your visit")
    expect(visit).to_contain_text("Tuesday 8 December, 14:00")
    visit.get_by_text("I need another time").tap()
    visit.get_by_label("Which days or times suit you?").fill("Thursdays after four")
    hers.shot(page, "her-visit")
    visit.get_by_role("button", name="Ask for another time").tap()
    expect(page.get_by_role("status")).to_contain_text("Your visit stays as it is")
    assert lines(hers.desk) == [RaisedKind.OTHER_TIME]
    page.get_by_role("button", name="I will come").tap()
    expect(visit).to_contain_text("You said that you will come")
    with page.expect_download() as found:
        visit.get_by_role("link", name="Put it in your calendar").tap()
    assert found.value.suggested_filename == "appointment.ics"


def test_she_takes_a_break_goes_on_and_stops(hers: Live) -> None:
    sent = written_to(hers.desk, StepKind.EXERCISE)
    page = hers.page(**PHONE)
    page.goto(f"{hers.base}/l/{sent.page}")
    give_code(page)
    page.get_by_role("link", name="Pause, stop or change messages").tap()
    expect(page.get_by_role("heading", name="Take a break")).to_be_visible()
    hers.shot(page, "her-choices")
    page.get_by_role("radio", name="2 weeks").tap()
    page.get_by_role("button", name="Take a break").tap()
    expect(page.get_by_text("You are taking a break until")).to_be_visible()
    page.get_by_role("button", name="Go on now").tap()
    expect(page.get_by_role("button", name="Take a break")).to_be_visible()
    page.get_by_role("button", name="Stop messages about your plan").tap()
    expect(page.get_by_role("status")).to_contain_text("It works at once")
    assert stopped(hers.desk) == {Topic.EXERCISES}
    page.get_by_role("button", name="Write to me about my plan again").tap()
    expect(page.get_by_role("button", name="Stop messages about your plan")).to_be_visible()
    assert stopped(hers.desk) == set()


def test_a_whole_visit_works_without_any_script(hers: Live) -> None:
    sent = written_to(hers.desk)
    page = hers.page(**{**SMALL, "java_script_enabled": False})
    page.goto(f"{hers.base}/l/{sent.page}")
    give_code(page)
    page.get_by_role("radio", name="Please call me").tap()
    page.get_by_role("button", name="Send").tap()
    expect(page.get_by_role("heading", name="We will call you")).to_be_visible()
    page.get_by_role("link", name="Back").tap()
    visit = page.get_by_role("region", name="Your visit")
    visit.get_by_text("I need another time").tap()
    visit.get_by_label("Which days or times suit you?").fill("Any Monday")
    visit.get_by_role("button", name="Ask for another time").tap()
    expect(page.get_by_role("status")).to_contain_text("Your visit stays as it is")
    page.get_by_role("link", name="Pause, stop or change messages").tap()
    page.get_by_label("Time of day").select_option("18:00")
    page.get_by_role("button", name="Save").tap()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    page.get_by_role("button", name="Stop all messages").tap()
    expect(page.get_by_text("Messages about visits are stopped")).to_be_visible()
    assert stopped(hers.desk) == {Topic.EXERCISES, Topic.REVIEWS}
    page.get_by_role("button", name="Leave this page").tap()
    expect(page.get_by_role("heading", name="You have left")).to_be_visible()


def test_one_click_in_a_mail_asks_before_it_stops(hers: Live) -> None:
    sent = written_to(hers.desk, level="general")
    page = hers.page(**WITHOUT_SCRIPT)
    page.goto(f"{hers.base}/u/{sent.stop}")
    assert stopped(hers.desk) == set()
    page.get_by_role("button", name="Stop them").tap()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    assert stopped(hers.desk) == {Topic.EXERCISES, Topic.REVIEWS}


def test_a_german_patient_reads_german_from_the_code_to_the_end(hers: Live) -> None:
    sent = written_to(hers.desk, language="de")
    page = hers.page(**{**PHONE, "locale": "de-DE", "color_scheme": "dark"})
    page.goto(f"{hers.base}/l/{sent.page}")
    expect(page.get_by_role("heading", name="Bitte geben Sie Ihren Code ein")).to_be_visible()
    give_code(page, "Öffnen")
    expect(page.get_by_role("region", name="Ihr Termin")).to_contain_text("Dienstag, 8. Dezember, 14:00 Uhr")
    expect(page.locator("[lang=en]")).to_have_count(0)
    hers.shot(page, "her-page-in-german")
    page.get_by_role("radio", name="Gemacht").tap()
    page.get_by_role("button", name="Senden").tap()
    expect(page.get_by_role("status")).to_contain_text("Wir haben Ihre Antwort")
    page.get_by_role("link", name="Pause, beenden oder ändern").tap()
    page.get_by_role("button", name="Nachrichten zu Terminen beenden").tap()
    expect(page.get_by_role("status")).to_contain_text("Es wirkt sofort")
    assert stopped(hers.desk) == {Topic.REVIEWS}


def test_the_keyboard_alone_is_enough(hers: Live) -> None:
    sent = written_to(hers.desk, StepKind.EXERCISE)
    page = hers.page()
    page.goto(f"{hers.base}/l/{sent.page}")
    tab_to(page, "#code")
    page.keyboard.type(CODE)
    page.keyboard.press("Enter")
    expect(page.locator("h2").first).to_have_text("Letting go")
    tab_to(page, "[name=answer]")
    page.keyboard.press("Space")
    tab_to(page, "[name=pain]")
    for _ in range(3):  # from "skip" round to 0, and on
        page.keyboard.press("ArrowRight")
    tab_to(page, "#words")
    page.keyboard.type("All well")
    tab_to(page, "main form button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("We have your answer")
    assert said(hers.desk) == {
        "answer": "done",
        "pain": "2",
        "words": "All well",
        "exercise": "letting-go",
    }
    tab_to(page, "form.leave button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="You have left")).to_be_visible()


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without"])
def test_after_leaving_going_back_shows_nothing_and_wants_the_code(hers: Live, chromium: Browser, script: bool) -> None:
    sent = written_to(hers.desk)
    with remembering(hers, chromium):
        page = hers.page(**{**PHONE, "java_script_enabled": script})
        page.goto(f"{hers.base}/l/")
        page.goto(f"{hers.base}/l/{sent.page}")
        give_code(page)
        expect(page.get_by_text("Thank you for coming to see us")).to_be_visible()
        page.get_by_label("A few words").fill("Not for other eyes")
        page.get_by_role("link", name="Pause, stop or change messages").tap()
        expect(page.get_by_role("heading", name="Your messages")).to_be_visible()
        page.get_by_role("button", name="Leave this page").tap()
        expect(page.get_by_role("heading", name="You have left")).to_be_visible()
        if script:
            hers.shot(page, "her-page-left")
        for _ in range(4):
            page.go_back()
            if page.url.endswith("/l/"):
                break
            expect(page.get_by_role("heading", name="Please give your code")).to_be_visible()
            assert "Not for other eyes" not in page.content()
            assert "Thank you for coming" not in page.content()
        assert page.url.endswith("/l/")


@contextmanager
def remembering(live: Live, chromium: Browser) -> Iterator[None]:
    """A browser that keeps pages it has left in memory, as those of people do; what drives it says not to."""
    usual = live.browser
    live.browser = chromium.browser_type.launch(
        executable_path=find_chromium(),
        args=list(ARGUMENTS),
        ignore_default_args=["--disable-back-forward-cache"],
    )
    try:
        yield
    finally:
        live.close()
        live.browser.close()
        live.browser = usual


def said(desk: Desk) -> dict[str, str]:
    """What she said last, as it is recorded."""
    with desk.store.read() as session:
        last = session.scalars(select(CareEvent).order_by(CareEvent.recorded_at.desc(), CareEvent.id.desc())).first()
        return dict(last.fields) if last else {}


def stopped(desk: Desk) -> set[Topic]:
    """The topics she wants no messages about."""
    with desk.store.read() as session:
        (agreed,) = stored_patients.list_consent(session, patients_of(desk)).values()
    return {topic for topic, granted in agreed.items() if granted is False}


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until that has the focus, round the page if it lies before."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("(one) => document.activeElement.matches(one)", selector):
            return
    raise AssertionError(f"Tab never came to {selector}")
