"""Stories of the day's work: a review to the release of the next part, a moved date, a complication, a refused address,
a lost answer. What the sender does meanwhile is done by hand; everything else is clicked.
"""

from uuid import UUID

from playwright.sync_api import expect

from db.states import AttemptOutcome, EventKind, ReminderState, Role
from tests.live import Live
from tests.people import AMINA, BEATRIX, DANUTA, FENG, GRETA, Person

TOXIN = "vaginismus-toxin"


def treated(live: Live, person: Person = AMINA, at: str = "2026-11-23T08:30", **changes: str) -> UUID:
    """A patient with a treatment, in a clinic that has begun."""
    live.settle()
    patient_id = live.desk.enter(person, **{"phone": "020 7946 0101", "call_safe": "yes", **changes})
    return live.desk.treat(patient_id, at, TOXIN, clinician="Dr Novak", fields={"lot": "C4711"}).treatment_id


def test_a_review_leads_to_the_release_of_the_next_part(live: Live) -> None:
    treatment_id = treated(live, FENG)
    live.desk.event(treatment_id, EventKind.REVIEW_BOOKED, "2026-12-07T14:00", review="two-week")
    for _ in range(28):
        live.desk.tick(hours=12)
        live.desk.send_due()
    live.desk.tick(hours=6)  # an hour after the visit began
    page = live.page(live.dana())
    live.go(page, "/today")
    line = page.locator(".lines > li").filter(has_text="did Feng come?")
    expect(line).to_be_visible()
    live.shot(page, "today")
    line.get_by_role("link", name="Came").click()
    page.get_by_label("Outcome").select_option(label="Progressing as planned")
    page.get_by_label("On insertion").fill("11")
    page.get_by_text("Wants it").click()
    page.get_by_role("button", name="Save the review").click()
    expect(page.get_by_role("alert")).to_contain_text("On insertion: write a whole number from 0 to 10")
    page.get_by_label("On insertion").fill("4")
    live.shot(page, "review")
    page.get_by_role("button", name="Save the review").click()
    expect(page.get_by_text("The review is recorded")).to_be_visible()
    live.go(page, "/today")
    page.locator(".lines > li").filter(has_text="wants the next part").get_by_role("link", name="Decide").click()
    page.get_by_role("link", name="Release it").click()
    page.get_by_role("button", name="Release it").click()  # the browser asks for the answer first
    page.get_by_label("What the patient said").fill("Asked alone: yes, from next week.")
    page.get_by_role("button", name="Release it").click()
    expect(page.get_by_text("released today")).to_be_visible()
    expect(page.locator("#plan")).to_contain_text("Your next step is ready")
    live.shot(page, "released")


def test_a_moved_date_shows_what_it_changes_before_it_is_saved(live: Live) -> None:
    treatment_id = treated(live, BEATRIX)
    page = live.page(live.dana())
    live.go(page, f"/treatments/{treatment_id}")
    page.get_by_role("link", name="Correct the date").click()
    page.get_by_label("Date", exact=True).fill("2026-11-20")
    page.get_by_label("Why the date was wrong").fill("Typed the day it was entered.")
    page.get_by_role("button", name="Show what will change").click()
    changes = page.locator(".notice li")
    expect(changes.first).to_have_text(
        "“After your visit”: from Mon 23 November, 17:00 to Fri 20 November, 17:00; "
        "not sent: Its time had already passed when it was planned."
    )
    before = {row.due_at for row in live.desk.rows(treatment_id)}
    assert {row.due_at for row in live.desk.rows(treatment_id)} == before
    live.shot(page, "moved-date")
    page.get_by_role("button", name="Correct it").click()
    expect(page.get_by_text("The date is corrected")).to_be_visible()
    assert {row.due_at for row in live.desk.rows(treatment_id)} != before


def test_a_complication_stops_the_mails_until_it_is_resolved(live: Live) -> None:
    treatment_id = treated(live, DANUTA)
    rosa = live.page(live.staffed.hire("rosa", Role.RECEPTION))
    live.go(rosa, f"/treatments/{treatment_id}")
    rosa.get_by_text("Report a complication").first.click()
    rosa.get_by_label("What is it? The plan pauses at once.").fill("Fever since yesterday")
    rosa.locator("details[open]").get_by_role("button", name="Report a complication").click()
    expect(rosa.get_by_role("heading", name="A complication is open")).to_be_visible()
    expect(rosa.get_by_text("Fever since yesterday")).to_have_count(0)  # the clinical text is the clinician's
    live.desk.tick(hours=9)
    assert live.desk.claim(live.desk.worker()) == []
    page = live.page(live.dana())
    live.go(page, "/today")
    line = page.locator(".lines > li").filter(has_text="complication since")
    expect(line).to_contain_text("020 7946 0101")
    line.get_by_role("link", name="Open").click()
    expect(page.get_by_text("Fever since yesterday")).to_be_visible()
    live.shot(page, "complication")
    page.get_by_text("It is resolved: go on").first.click()
    page.locator("details[open]").get_by_role("button", name="It is resolved: go on").click()
    expect(page.get_by_role("heading", name="A complication is open")).to_have_count(0)


def test_a_refused_address_becomes_a_line_and_a_new_one_settles_it(live: Live) -> None:
    treatment_id = treated(live, GRETA, call_safe="ask")
    live.desk.tick(hours=9)
    refused = {"code": 550, "enhanced": "5.1.1"}
    assert live.desk.send_due(AttemptOutcome.REFUSED, **refused)
    page = live.page(live.dana())
    live.go(page, "/today")
    line = page.locator(".lines > li").filter(has_text="the address refused mail").first
    expect(line).to_contain_text("do not ring: ask a clinician")
    expect(page.get_by_text("020 7946 0101")).to_have_count(0)
    live.shot(page, "refused-address")
    line.get_by_role("link", name="Change the address").click()
    page.get_by_label("E-mail").fill("greta.holm@example.org")
    page.get_by_label("Read back, and right?").select_option("yes")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".tag").filter(has_text="address confirmed")).to_be_visible()
    live.go(page, "/today")
    expect(page.get_by_text("the address refused mail")).to_have_count(0)
    assert ReminderState.SCHEDULED in {row.state for row in live.desk.rows(treatment_id)}


def test_a_lost_answer_is_settled_by_a_person(live: Live) -> None:
    treated(live)
    live.desk.tick(hours=8, minutes=30)
    for _ in range(2):
        live.desk.send_due(AttemptOutcome.UNKNOWN)
        live.desk.tick(minutes=20)
    page = live.page(live.dana())
    live.go(page, "/today")
    line = page.locator(".lines > li").filter(has_text="may or may not have arrived")
    expect(line).to_have_count(1)
    live.shot(page, "unknown")
    line.get_by_role("button", name="It arrived").click()
    expect(page.get_by_text("Noted as received.")).to_be_visible()
    expect(page.get_by_text("may or may not have arrived")).to_have_count(0)
    page.get_by_text("Done today").click()
    expect(page.get_by_text("it had arrived")).to_be_visible()
