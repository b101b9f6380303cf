"""Protocols on the screen: read as sentences, changed by a form or as a whole, never saved when something is wrong."""

import html
import re

import pytest
from sqlalchemy import event as sql_event

from db import library as stored
from db.states import Origin, Role
from scheduler import approvals
from tests.clinic import COURSE, STAFF, Desk
from tests.staffed import Browser, Staffed, kept, place
from tests.test_screen_versions import LATER, newest

STEP = "/protocols/course/steps/after-visit"


@pytest.fixture
def staffed(sqlite_desk: Desk) -> Staffed:
    """The clinic with everything approved, and its pages."""
    return Staffed(sqlite_desk.clinic)


@pytest.fixture
def dana(staffed: Staffed) -> Browser:
    """A clinician at work."""
    return staffed.at_work("dana", Role.CLINICIAN)


def words(page: str) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


async def step_form(browser: Browser) -> dict[str, str]:
    """The form of a step as it is shown."""
    page = (await browser.get(STEP)).text
    form = kept_all(page)
    return form | {"act": "save"}


def kept_all(page: str) -> dict[str, str]:
    """Every field of the first big form with what stands in it."""
    form = re.search(r'<form[^>]*class="sheet stack".*?</form>', page, re.DOTALL)
    assert form
    found = dict(re.findall(r'<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"', form[0]))
    found |= dict(re.findall(r'<select[^>]*name="([^"]+)".*?<option value="([^"]*)" selected', form[0], re.DOTALL))
    return {
        name: html.unescape(value)
        for name, value in found.items()
        if name not in ("form_token", "manual", "working_days_only")
    }


async def test_a_protocol_is_read_as_sentences(sqlite_desk: Desk, dana: Browser) -> None:
    sqlite_desk.treat(sqlite_desk.enter())
    listed = words((await dana.get("/protocols")).text)
    assert "A course Version 1 in force, approved by Dr Okafor, today 09:00. 1 running plan" in listed
    page = words((await dana.get("/protocols/course")).text)
    assert "On the day of the treatment, 17:00: “After your visit”" in page
    assert "Useful for 1 day; sent late when its time had passed already." in page
    assert "1 week after the start of the part done alone, 10:00, then every week, 3 in all" in page
    assert "3 weeks after the treatment, 09:00: a line for staff, “Ring her”" in page
    assert "Two-week: 2 weeks after the treatment, give or take 3 days" in page
    assert "Rest for a day." in page


async def test_what_an_approval_lacks_is_told(draft_desk: Desk) -> None:
    approvals.read_files(draft_desk.clinic, STAFF)
    dana = Staffed(draft_desk.clinic).at_work("dana", Role.CLINICIAN)
    for path in ("/protocols", "/protocols/course", "/protocols/course/approve"):
        assert "“Rest rule” is still to be written." in words((await dana.get(path)).text)


async def test_reception_reads_and_changes_nothing(staffed: Staffed) -> None:
    rosa = staffed.at_work("rosa", Role.RECEPTION)
    page = (await rosa.get("/protocols/course")).text
    assert "What happens" in page
    assert "/edit" not in page
    assert "/steps/" not in page
    assert "<textarea" not in page
    assert (await rosa.get("/protocols/course/edit")).status_code == 403
    assert (await rosa.get("/protocols/corse")).status_code == 404


async def test_the_clinics_own_words_are_saved_or_shown_again(sqlite_desk: Desk, dana: Browser) -> None:
    path = "/protocols/course/values"
    wrong = await dana.post(path, {"value.rest_rule": "Use no tampons."})
    assert wrong.status_code == 422
    assert "Use no tampons." in wrong.text
    assert "which no mail may show" in wrong.text
    assert (await dana.post(path, {"value.other": "x"})).status_code == 400
    assert place(await dana.post(path, {"value.rest_rule": "Rest for a day."})).endswith("done=value-set")
    assert len(sqlite_desk.audit("protocol.text_set")) == 0, "what was left as it was is not written again"
    await dana.post(path, {"value.rest_rule": "Rest for\r\ntwo days."})
    with sqlite_desk.store.read() as session:
        assert stored.list_texts(session)["course"]["rest_rule"] == "Rest for\ntwo days."
    assert "Mails print until the next approval: “Rest for a day.”" in words((await dana.get("/protocols/course")).text)


async def test_a_step_is_changed_by_its_form(sqlite_desk: Desk, dana: Browser) -> None:
    form = await step_form(dana)
    assert (form["amount"], form["unit"], form["at"], form["lasts"]) == ("0", "days", "17:00", "1")
    with sqlite_desk.unchanged():
        looked = await dana.post(f"{STEP}/check", form | {"at": "18:00"})
        assert "“After your visit” moves from 17:00 to 18:00." in words(looked.text)
        assert "<html" not in looked.text
        wrong = await dana.post(f"{STEP}/check", form | {"at": "25:00"})
        assert "Time of day: write a time of day, like 10:00" in words(wrong.text)
        senseless = await dana.post(f"{STEP}/check", form | {"lasts": "0"})
        assert "expected a positive duration" in words(senseless.text)
        without_script = await dana.post(STEP, form | {"at": "18:00", "act": "look"})
        assert "moves from 17:00 to 18:00" in words(without_script.text)
    assert place(await dana.post(STEP, form | {"at": "18:00"})) == "/protocols/course?done=protocol-saved"
    saved = newest(sqlite_desk)
    assert (saved.protocol.version, saved.origin, saved.written_by) == (2, Origin.SCREEN, "staff:dana")
    assert saved.source == LATER.replace("version = 1", "version = 2")


async def test_a_step_that_cannot_be_saved_is_shown_as_typed(sqlite_desk: Desk, dana: Browser) -> None:
    form = await step_form(dana)
    with sqlite_desk.unchanged():
        for change, told in (
            ({"amount": "soon"}, "How long: write a whole number"),
            ({"lasts": "0"}, "expected a positive duration"),
            ({"base": "0" * 64}, "somebody saved another version"),
        ):
            wrong = await dana.post(STEP, form | {"past": "ask"} | change)
            assert wrong.status_code == 422
            assert told.lower() in words(wrong.text).lower()
            assert '<option value="ask" selected>' in wrong.text
    assert (await dana.post("/protocols/course/steps/none", form)).status_code == 404


async def test_a_step_is_taken_out_with_its_button(sqlite_desk: Desk, dana: Browser) -> None:
    base = newest(sqlite_desk).content_hash
    stale = await dana.post(STEP, {"act": "remove", "base": "0" * 64})
    assert stale.status_code == 422
    assert 'value="17:00"' in stale.text
    await dana.post(STEP, {"act": "remove", "base": base})
    assert "after-visit" not in newest(sqlite_desk).source
    page = words((await dana.get("/protocols/course?from=2&to=1")).text)
    assert "From version 1 to version 2 The step “After your visit” is gone." in page


async def test_the_whole_text_is_looked_at_while_it_is_typed(sqlite_desk: Desk, dana: Browser) -> None:
    path = "/protocols/course"
    broken = COURSE.replace('offset = "P0D"', 'offset = "P1M"').replace('kind = "review"', 'kind = "revue"', 1)
    with sqlite_desk.unchanged():
        told = words((await dana.post(f"{path}/check", {"source": broken})).text)
        assert "2 things have to be put right" in told
        assert 'Line 29 offset = "P1M" Step "after-visit": offset "P1M": months are ambiguous' in told
        fine = words((await dana.post(f"{path}/check", {"source": LATER})).text)
        assert "Nothing is wrong. What it changes: “After your visit” moves from 17:00 to 18:00." in fine
        same = words((await dana.post(f"{path}/check", {"source": COURSE})).text)
        assert "it means the same as before" in same
        assert "this is not TOML" in words((await dana.post(f"{path}/check", {"source": "x"})).text).replace(
            "This", "this"
        )
        without_script = await dana.post(f"{path}/edit", {"source": LATER, "look": "yes", "base": "x"})
        assert "moves from 17:00 to 18:00" in words(without_script.text)


async def test_a_whole_text_that_is_wrong_is_refused_and_kept(sqlite_desk: Desk, dana: Browser) -> None:
    page = await dana.get("/protocols/course/edit")
    base = kept(page, "/protocols/course/edit")["base"]
    typed = COURSE.replace('title = "A course"', 'title = "A <course>"').replace('"P0D"', '"P1M"')
    with sqlite_desk.unchanged():
        wrong = await dana.post("/protocols/course/edit", {"source": typed, "base": base})
        assert wrong.status_code == 422
        assert html.escape('title = "A <course>"', quote=False).replace('"', "&#34;") in wrong.text
        assert "Line 29" in wrong.text
        stale = await dana.post("/protocols/course/edit", {"source": LATER, "base": "0" * 64})
        assert stale.status_code == 409
        assert "18:00" in stale.text
    assert place(await dana.post("/protocols/course/edit", {"source": LATER, "base": base})).endswith("protocol-saved")
    again = await dana.post("/protocols/course/edit", {"source": LATER, "base": newest(sqlite_desk).content_hash})
    assert place(again).endswith("nothing-changed")


async def test_a_retired_protocol_is_read_and_not_changed(sqlite_desk: Desk, dana: Browser) -> None:
    sqlite_desk.write_protocol(COURSE.replace('title = "A', 'status = "retired"\ntitle = "A'))
    assert place(await dana.post("/protocols/files")) == "/protocols?done=files-read"
    page = (await dana.get("/protocols/course")).text
    assert "Retired: no new treatments." in words(page)
    assert "/protocols/course/edit" not in page
    refused = await dana.post("/protocols/course/edit", {"source": LATER, "base": newest(sqlite_desk).content_hash})
    assert refused.status_code == 409


async def test_what_is_wrong_with_files_is_told(sqlite_desk: Desk, dana: Browser) -> None:
    sqlite_desk.write_protocol(COURSE.replace("A course", "Another"))
    told = words((await dana.post("/protocols/files")).text)
    assert "course.toml: version 1 is approved and its text differs: raise the version" in told


async def test_a_page_asks_few_questions(sqlite_desk: Desk, dana: Browser) -> None:
    statements: list[str] = []
    sqlite_desk.treat(sqlite_desk.enter())
    sql_event.listen(sqlite_desk.store.engine, "before_cursor_execute", lambda *found: statements.append(found[2]))
    for path in (
        "/protocols",
        "/protocols/course",
        "/protocols/course/approve",
        "/protocols/course/move",
        STEP,
        "/texts",
    ):
        statements.clear()
        assert (await dana.get(path)).status_code == 200
        asked = [statement for statement in statements if not statement.startswith(("PRAGMA", "BEGIN"))]
        assert len(asked) <= 30, (path, asked)
