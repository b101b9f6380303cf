"""Stories of the first days: the first account by its one-time link, and a treatment entered by keyboard alone."""

import re
import time

import pyotp
import pytest
from playwright.sync_api import Page, expect

from scheduler.accounts.staff import first_link
from tests.live import Live
from tests.people import AMINA
from tests.staffed import PASSWORD, PIN


@pytest.mark.parametrize("live", [True], indirect=True)
def test_the_first_account_is_made_with_its_second_factor(live: Live) -> None:
    token = first_link(live.clinic, live.staffed.door.now())
    page = live.page()
    live.go(page, f"/join/{token}")
    page.get_by_label("Your name").fill("Dana Novak")
    page.get_by_label("Password").fill("short")
    page.get_by_label("PIN").fill("1234")
    page.get_by_role("button", name="Make my account").click()
    expect(page.get_by_role("alert")).to_contain_text("2 problems")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("PIN").fill(PIN)
    page.get_by_role("button", name="Make my account").click()
    secret = page.locator("code.key").inner_text().replace(" ", "")
    live.shot(page, "second-factor")
    page.get_by_role("textbox", name="Code").fill(pyotp.TOTP(secret).at(live.staffed.door.now()))
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator(".codes li")).to_have_count(10)
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_role("heading", name=re.compile("^Today"))).to_be_visible()
    expect(page.get_by_role("heading", name="Before the first real message")).to_be_visible()
    live.shot(page, "first-days")
    live.go(page, f"/join/{token}")
    expect(page.get_by_role("heading", name="This link is used up")).to_be_visible()


class Keys:
    """Hands on a keyboard: every key is counted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.count = 0

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.count += 1

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)
        self.count += len(text)

    def tab_to(self, element_id: str) -> None:
        """Press Tab until somebody would type into that field."""
        for _ in range(20):
            self.press("Tab")
            if self.page.evaluate("document.activeElement.id") == element_id:
                return
        raise AssertionError(f"Tab never came to {element_id}")


def focused(page: Page, element_id: str) -> None:
    """Wait until somebody would type into that field."""
    page.wait_for_function("id => document.activeElement && document.activeElement.id === id", arg=element_id)


def tell(live: Live, whose: str, keys: Keys, began: float) -> None:
    """Keep what it took beside the pictures."""
    told = f"{whose}: {keys.count} keys, {time.monotonic() - began:.1f} s by a machine's fingers\n"
    live.screens.mkdir(parents=True, exist_ok=True)
    with (live.screens / "keystrokes.txt").open("a") as file:
        file.write(told)


def test_a_treatment_of_a_known_patient_is_entered_by_keyboard_alone(live: Live) -> None:
    live.desk.enter(AMINA, phone="020 7946 0101", call_safe="yes")
    page = live.page(live.dana())
    live.go(page, "/today")
    keys, began = Keys(page), time.monotonic()
    keys.press("n")
    focused(page, "find-patient")
    keys.type("far")
    page.locator(".hit").first.wait_for()
    keys.press("Enter")
    focused(page, "protocol")
    keys.type("bot")
    page.locator("#field-lot").wait_for()
    expect(page.locator(".ahead li").first).to_contain_text("After your visit")
    keys.tab_to("field-lot")
    keys.type("C4711")
    live.shot(page, "enter-treatment")
    keys.press("Enter")
    expect(page.get_by_text("Nothing leaves before")).to_be_visible()
    tell(live, "known patient", keys, began)
    live.shot(page, "treatment")
    page.get_by_role("button", name="Undo the entry").click()
    expect(page.get_by_text("Undone: nothing has left")).to_be_visible()
    expect(page.locator("#field-lot")).to_have_value("C4711")


def test_a_treatment_of_a_new_patient_is_entered_by_keyboard_alone(live: Live) -> None:
    page = live.page(live.dana())
    live.go(page, "/today")
    keys, began = Keys(page), time.monotonic()
    keys.press("n")
    focused(page, "find-patient")
    keys.type("Tara Quill")
    page.get_by_text("Nobody of that name").wait_for()
    keys.press("Enter")
    page.locator("#given_name").wait_for()
    expect(page.locator("#family_name")).to_have_value("Quill")
    focused(page, "birth_date")  # the name was typed already
    keys.type("12041990")
    keys.tab_to("email")
    keys.type("tara@example.org")
    keys.tab_to("phone")
    keys.type("07700900123")
    keys.tab_to("call_safe")
    keys.type("y")
    keys.tab_to("consent")
    keys.type("messages about")
    keys.tab_to("address")
    keys.press("Space")
    keys.tab_to("protocol")
    keys.type("bot")
    page.locator("#field-lot").wait_for()
    keys.tab_to("field-lot")
    keys.type("C4711")
    keys.press("Enter")
    expect(page.get_by_text("Nothing leaves before")).to_be_visible()
    tell(live, "new patient", keys, began)
    expect(page.get_by_role("link", name="Tara Quill")).to_be_visible()
