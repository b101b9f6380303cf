"""Stories of the office: a text written by one person and approved by another, an import, a lot recall.

Each is clicked as a clinic would; what is not clicked is only what happened before the story begins.
"""

import csv
import io
from pathlib import Path

from playwright.sync_api import expect

from db.states import EventKind, ReminderState, Role
from tests.live import Live
from tests.people import AMINA, BEATRIX, GRETA

TEXT = "/texts/after_visit?language=en&level=general"
FILE = """\
record_number,given_name,family_name,email,birth_date,consent,confirmed,protocol,treated_at,review_booked_at,field.lot
R1,Ines,Barros,ines@example.org,1988-03-14,all,yes,vaginismus-toxin,2026-11-20T10:30,2026-12-04T14:00,C4711
R2,Mira,Kaya,mira@example.org,1994-09-02,all,yes,vaginismus-toxin,2026-11-20T11:30,,C4711
R3,Ruth,Osei,,1979-06-21,,,,,,
"""


def test_a_text_is_written_by_one_person_and_approved_by_another(live: Live) -> None:
    live.staffed.hire("novak", Role.CLINICIAN)
    page = live.page(live.dana())
    live.go(page, TEXT)
    page.get_by_role("link", name="Change it").click()
    body = page.get_by_label("Text", exact=True)
    written = body.input_value()
    subject = page.get_by_label("Subject")
    subject.fill("After your botox")
    expect(page.locator("#look")).to_contain_text("can reveal what the message is about")
    subject.fill("After your visit")
    expect(page.locator("#look")).to_contain_text("It can be approved")
    body.fill(written.replace("Keep it somewhere safe.", "Keep it somewhere that is yours alone."))
    page.get_by_role("button", name="Show how it looks").click()
    expect(page.frame_locator("iframe[name=look]").get_by_text("somewhere that is yours alone")).to_be_visible()
    body.press_sequentially(" ")  # what is typed after that is looked at too
    expect(page.locator("#look")).to_contain_text("It can be approved")
    live.shot(page, "text-edited")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Changed and waiting for approval")).to_be_visible()
    page.get_by_role("link", name="Read and approve").click()
    expect(page.get_by_text("another clinician has to read and approve it")).to_be_visible()
    expect(page.get_by_role("button", name="Approve this text")).to_have_count(0)

    second = live.page(live.staffed.hire("okafor", Role.CLINICIAN))
    live.go(second, "/texts")
    second.get_by_role("link", name="After your visit").first.click()
    second.get_by_role("link", name="Read and approve").click()
    expect(second.locator("ins").first).to_contain_text("that is yours alone")
    live.shot(second, "text-approved")
    second.get_by_role("button", name="Approve this text").click()
    expect(second.get_by_text("Approved by Okafor").first).to_be_visible()


def test_a_file_is_looked_at_imported_held_released_and_undone(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "patients.csv"
    file.write_text(FILE.replace("1994-09-02", "02.09.1994"), encoding="utf-8")
    page = live.page(live.dana())
    live.go(page, "/import")
    page.get_by_label("CSV file").set_input_files(file)
    page.get_by_role("button", name="Check the file").click()
    expect(page.get_by_role("heading", name="The file has problems")).to_be_visible()
    expect(page.locator("tbody tr")).to_contain_text("birth_date")
    live.shot(page, "import-problems")
    file.write_text(FILE, encoding="utf-8")
    live.go(page, "/import")
    page.get_by_label("CSV file").set_input_files(file)
    page.get_by_role("button", name="Check the file").click()
    expect(page.get_by_role("heading", name="The file as it would be entered")).to_be_visible()
    expect(page.get_by_role("region", name="Rows of the file").locator("tbody tr")).to_have_count(3)
    assert live.desk.rows() == []
    live.shot(page, "import-checked")
    page.get_by_role("button", name="Import, held until released").click()
    expect(page.get_by_role("heading", name="mails as they would read")).to_be_visible()
    expect(page.locator(".phone-screen").first).to_be_visible()
    assert ReminderState.SCHEDULED not in {row.state for row in live.desk.rows()}
    live.shot(page, "import-held")
    page.get_by_role("button", name="Release these 2 plans").click()
    expect(page.get_by_text("No plan of this import waits for a release")).to_be_visible()
    assert ReminderState.SCHEDULED in {row.state for row in live.desk.rows()}
    page.get_by_role("link", name="Undo this import").click()
    expect(page.get_by_text("3 patients are taken out of the record")).to_be_visible()
    live.shot(page, "import-undo")
    page.get_by_role("button", name="Undo this import").click()
    expect(page.get_by_text("Undone today")).to_be_visible()
    assert {row.state for row in live.desk.rows()} <= {ReminderState.CANCELLED, ReminderState.MISSED}


def test_a_recalled_lot_leads_to_its_patients_and_a_file_to_ring_from(live: Live) -> None:
    told = {AMINA: {"phone": "020 7946 0101", "call_safe": "yes", "contact_note": "after 17:00"}}
    for person, lot in ((AMINA, "C-4711"), (BEATRIX, "C4712"), (GRETA, "c 4711")):
        patient_id = live.desk.enter(person, **(told.get(person) or {"phone": "020 7946 0107", "call_safe": "ask"}))
        at = "2026-11-20T09:30"
        treatment = live.desk.treat(patient_id, at, "vaginismus-toxin", clinician="Dr Novak", fields={"lot": lot})
        if person is GRETA:
            live.desk.event(treatment.treatment_id, EventKind.COMPLICATION, fields={"note": "fever"})
    page = live.page(live.dana())
    live.go(page, "/lots")
    page.get_by_label("Lot number").fill("c4711")
    page.get_by_role("search", name="Find a lot").get_by_role("button").click()
    expect(page.get_by_role("heading", name="2 patients were treated with lot c4711")).to_be_visible()
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.filter(has_text="Amina")).to_contain_text("020 7946 0101")
    expect(rows.filter(has_text="Greta")).to_contain_text("do not ring: ask a clinician")
    assert "4711" not in page.url
    live.shot(page, "lot-recall")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as CSV file").click()
    content = Path(saved.value.path()).read_text(encoding="utf-8-sig")
    names = {line["given_name"]: line for line in csv.DictReader(io.StringIO(content, newline=""))}
    assert set(names) == {"Amina", "Greta"}
    assert "0107" not in content
    assert names["Greta"]["adverse_events"] == "1"
    rows.filter(has_text="Amina").get_by_role("link", name="20 November").click()
    page.get_by_role("link", name="Fill in and sign").click()
    expect(page.get_by_label("Lot number")).to_have_value("C-4711")
