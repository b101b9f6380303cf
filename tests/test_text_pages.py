"""Texts on the screen: as their readers get them, compared word by word, written with findings told meanwhile."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.states import Origin, Role
from scheduler import text_edits
from scheduler.outbox import list_mails
from tests.clinic import Desk, dump
from tests.people import BEATRIX
from tests.staffed import Browser, Staffed, kept, place
from tests.test_protocol_pages import words
from tests.test_screen_versions import BODY, DRAFT, shelf, text
from web.word_differences import Piece, word_differences

TEXT = "/texts/after_visit"
OWN = "/texts/after_visit/en/general"


@pytest.fixture
def staffed(sqlite_desk: Desk) -> Staffed:
    """The clinic with everything approved, and its pages."""
    return Staffed(sqlite_desk.clinic)


@pytest.fixture
def dana(staffed: Staffed) -> Browser:
    """A clinician at work."""
    return staffed.at_work("dana", Role.CLINICIAN)


def typed(desk: Desk, **changes: str) -> dict[str, str]:
    """The form of the text after a visit as somebody filled it in."""
    form = {"subject": DRAFT.subject, "preheader": DRAFT.preheader, "body": BODY, "act": "save"}
    return form | {"base": text(desk).content_hash} | changes


async def test_the_list_names_every_text_with_its_languages_and_protocols(dana: Browser) -> None:
    page = words((await dana.get("/texts")).text)
    assert "After your visit after_visit English, neutral wording : approved by Dr Okafor" in page
    assert "German, neutral wording : approved by Dr Okafor" in page
    assert "Your visit on … …" in page
    assert "The end of every message _footer" in page
    assert "How are you today? how_are_you English, neutral wording : draft" in page
    assert "No protocol sends it." in page


async def test_a_text_is_shown_as_its_reader_gets_it(dana: Browser) -> None:
    page = (await dana.get(TEXT)).text
    assert '<p class="subject">After your visit</p>' in page
    assert "Hello Asha." in page
    assert "Harbour Clinic, phone 020 7946 0999" in page
    assert "Nothing in it reveals what it is about." in page
    assert re.search(r"A reader of about \d+ understands it \(grade \d\.\d\)", page)
    german = (await dana.get(f"{TEXT}?language=de&level=general")).text
    assert "Guten Tag Asha." in german
    for missing in ("/texts/no_such", f"{TEXT}?language=fr", "/texts/visit_missed?language=de&level=full"):
        assert (await dana.get(missing)).status_code == 404


async def test_its_html_part_is_shut_in_light_or_dark(dana: Browser) -> None:
    light, dark = [(await dana.get(f"{OWN}/html?scheme={scheme}")) for scheme in ("light", "dark")]
    for answer in (light, dark):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("sandbox; default-src 'none'; style-src 'unsafe-hashes' 'sha256-")
        assert "unsafe-inline" not in policy
    assert "@media all {" in dark.text
    assert "@media not all {" in light.text
    assert (await dana.get("/texts/after_visit/fr/general/html")).status_code == 404


async def test_a_real_patient_is_for_who_may_read_records_and_is_noted(
    sqlite_desk: Desk, staffed: Staffed, dana: Browser
) -> None:
    treatment_id = sqlite_desk.treat(sqlite_desk.enter(BEATRIX)).treatment_id
    path = f"{TEXT}?treatment={treatment_id}"
    assert BEATRIX.family_name not in (await dana.get(TEXT)).text
    chosen = (await dana.get(f"{TEXT}?with=patient")).text
    assert f'<option value="{treatment_id}">{html.escape(BEATRIX.given_name)}' in chosen
    page = (await dana.get(path)).text
    assert "Hello Beatrix." in page
    assert "that you looked is noted" in page
    assert sqlite_desk.audit("patients.listed")[-1]["actor"] == "staff:dana"
    (noted,) = sqlite_desk.audit("text.read_for")
    assert (noted["subject_id"], noted["fields"]) == (str(treatment_id), ["text"])
    part = await dana.get(f"{OWN}/html?treatment={treatment_id}")
    assert "Hello Beatrix." in part.text
    assert len(sqlite_desk.audit("text.read_for")) == 1  # a frame of the page that was just noted
    other = staffed.at_work("okafor", Role.CLINICIAN)
    await other.get(f"{OWN}/html?treatment={treatment_id}")
    assert sqlite_desk.audit("text.read_for")[1:] == [noted | {"actor": "staff:okafor"}]
    for role in (Role.RECEPTION, Role.MANAGER):  # a manager writes texts, and reads no record
        browser = staffed.at_work(f"the {role.value}".replace(" ", "-"), role)
        for forbidden in (path, f"{TEXT}?with=patient", f"{OWN}/html?treatment={treatment_id}"):
            assert (await browser.get(forbidden)).status_code == 403
    assert (await dana.get(f"/texts/how_are_you?treatment={treatment_id}")).status_code == 200
    assert (await dana.get(f"{TEXT}?treatment=none")).status_code == 404
    assert (await dana.get(f"{TEXT}?treatment={sqlite_desk.row('after-visit').id}")).status_code == 404


async def test_a_text_is_looked_at_while_it_is_typed(sqlite_desk: Desk, dana: Browser) -> None:
    with sqlite_desk.unchanged():
        fine = (await dana.post(f"{OWN}/check", typed(sqlite_desk))).text
        assert "It can be approved." in fine
        assert "<html" not in fine
        failing = words((await dana.post(f"{OWN}/check", typed(sqlite_desk, subject="After your botox"))).text)
        assert "approved only when this is put right" in failing
        assert 'Subject: "botox" can reveal what the message is about' in failing
        broken = words((await dana.post(f"{OWN}/check", typed(sqlite_desk, body="Hello.\n\n{{ patient.nam }}"))).text)
        assert "It cannot be saved yet." in broken
        assert "Text, line 3: unknown name patient.nam" in broken
        shown = await dana.post(f"{OWN}/look", typed(sqlite_desk))
        assert "It was good to see you" in shown.text
        assert shown.headers["content-security-policy"].startswith("sandbox;")
        cannot = await dana.post(f"{OWN}/look", typed(sqlite_desk, body=""))
        assert "It cannot be shown until what is wrong is put right." in cannot.text
        without_script = await dana.post(f"{OWN}/edit", typed(sqlite_desk, act="look", subject="Another subject"))
        assert 'value="Another subject"' in without_script.text


async def test_a_text_is_saved_and_compared_word_by_word(sqlite_desk: Desk, dana: Browser) -> None:
    page = await dana.get(f"{OWN}/edit")
    base = kept(page, f"{OWN}/edit")["base"]
    before = text_edits.draft_of(text(sqlite_desk).source)
    body = before.body.replace("Keep it somewhere safe", "Keep it near you")
    form = {"subject": before.subject, "preheader": before.preheader, "body": body.replace("\n", "\r\n"), "act": "save"}
    saved = await dana.post(f"{OWN}/edit", form | {"base": base})
    assert place(saved) == f"{TEXT}?language=en&level=general&done=text-saved"
    assert (text(sqlite_desk).origin, text(sqlite_desk).written_by) == (Origin.SCREEN, "staff:dana")
    page_now = (await dana.get(TEXT)).text
    assert "Changed and waiting for approval" in page_now
    names = re.findall(r'<option value="([0-9a-f]{12})"', page_now)
    compared = (await dana.get(f"{TEXT}?language=en&level=general&from={names[-1]}&to={names[0]}")).text
    assert "<del>somewhere safe</del><ins>near you</ins>" in compared
    earlier = (await dana.get(f"{TEXT}?language=en&level=general&version={names[-1]}")).text
    assert "This is an earlier version." in earlier
    assert "somewhere safe" in earlier


async def test_a_text_that_cannot_be_saved_is_kept_as_typed(sqlite_desk: Desk, dana: Browser) -> None:
    with sqlite_desk.unchanged():
        wrong = await dana.post(f"{OWN}/edit", typed(sqlite_desk, body="- <b>no</b> greeting"))
        assert wrong.status_code == 422
        assert "- &lt;b&gt;no&lt;/b&gt; greeting" in wrong.text
        assert "Text: line 1" in words(wrong.text)
        stale = await dana.post(f"{OWN}/edit", typed(sqlite_desk, base="0" * 64))
        assert stale.status_code == 409
        assert "It was good to see you" in stale.text
        assert place(await dana.post("/texts/new", {"key": "a_text", "language": "EN ", "level": "general"})) == (
            "/texts/a_text/en/general/edit"
        )
        named = await dana.post("/texts/new", {"key": "A Text", "language": "en", "level": "general"})
        assert named.status_code == 422
        assert "Short name: write small letters" in words(named.text)
        for path in ("/texts/A%20Text/en/general/edit", "/texts/new/en/general/edit", "/texts/x/..x/general/edit"):
            assert (await dana.get(path)).status_code == 409
            assert (await dana.post(path, typed(sqlite_desk))).status_code == 409


async def test_a_new_language_begins_with_what_there_is(sqlite_desk: Desk, dana: Browser) -> None:
    page = (await dana.get("/texts/visit_missed/fr/general/edit")).text
    assert "Would another time suit you?" in page
    full = (await dana.get("/texts/visit_missed/en/full/edit")).text
    assert "Would another time suit you?" in full
    fresh = (await dana.get("/texts/brand_new/en/general/edit")).text
    assert "Hello {{ patient.preferred_name }}." in fresh
    form = typed(sqlite_desk, base="")
    assert place(await dana.post("/texts/brand_new/en/general/edit", form)).startswith("/texts/brand_new?")
    assert shelf(sqlite_desk).latest[("brand_new", "en", "general")].written_by == "staff:dana"


async def test_a_part_is_written_without_a_subject(sqlite_desk: Desk, dana: Browser) -> None:
    path = "/texts/urgent_general/en/general/edit"
    page = await dana.get(path)
    assert 'name="subject"' not in page.text
    base = kept(page, path)["base"]
    await dana.post(
        path, {"body": "Call {{ urgent.number }} now if you need help at once.", "base": base, "act": "save"}
    )
    latest = shelf(sqlite_desk).latest[("urgent_general", "en", "general")]
    assert latest.source.text == "+++\n+++\nCall {{ urgent.number }} now if you need help at once.\n"


async def test_it_is_sent_to_oneself_and_what_came_of_it_told(sqlite_desk: Desk, staffed: Staffed) -> None:
    form = {"language": "en", "level": "general"}
    nobody = staffed.at_work("novak", Role.CLINICIAN)
    assert "enter your e-mail address" in words((await nobody.get(TEXT)).text)
    refused = await nobody.get(place(await nobody.post(f"{TEXT}/test-mail", form)))
    assert "enter your own e-mail address" in refused.text
    account = staffed.hire("dana", Role.MANAGER, email="dana@example.org")
    dana = staffed.browser()
    dana.take(staffed.door.open_for(account.id, None, "Tests"))
    ended = await dana.get(place(await dana.post(f"{TEXT}/test-mail", form)))
    assert "The test mail is in the folder" in ended.text
    assert len(list_mails(sqlite_desk.clinic.settings.outbox, 5)) == 1
    rosa = staffed.at_work("rosa", Role.RECEPTION)
    assert (await rosa.post(f"{TEXT}/test-mail", form)).status_code == 403
    assert dump(sqlite_desk.store)["delivery_attempts"] == []


@given(st.text("ab \n.", max_size=40), st.text("ab \n.", max_size=40))
def test_pieces_make_both_texts_again(before: str, after: str) -> None:
    pieces = word_differences(before, after)
    assert "".join(piece.text for piece in pieces if piece.kind != "new") == before
    assert "".join(piece.text for piece in pieces if piece.kind != "gone") == after
    assert (before == after) is all(piece.kind == "same" for piece in pieces)


def test_words_that_changed_together_read_as_one() -> None:
    assert word_differences("Keep it somewhere safe.\n\nCall us.", "Keep it near you.\n\nCall us.") == [
        Piece("same", "Keep it "),
        Piece("gone", "somewhere safe"),
        Piece("new", "near you"),
        Piece("same", ".\n\nCall us."),
    ]
    assert word_differences("", "a") == [Piece("new", "a")]
