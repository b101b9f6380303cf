"""Entering a treatment on the screen: the patient found or made, what is asked when, and what the form never does."""

import re
from html import unescape
from typing import Any
from uuid import UUID

import pytest

from db import patients as stored_patients
from db.records import Patient
from db.states import AddressFactKind, EventKind, Role, StopReason
from db.types import new_id
from scheduler import signing
from tests.clinic import COURSE, STAFF, Desk
from tests.page_parts import AtWork, place, seen, words
from tests.people import AMINA, BEATRIX

NEW = "/treatments/new"
ADULT = COURSE.replace('key = "course"', 'key = "adult"').replace(
    'title = "A course"', 'title = "For adults"\nminimum_age = 18\non_new_treatment = "ask"'
)
OTHER = COURSE.replace('key = "course"', 'key = "other"').replace('"A course"', '"Another course"')
INES = {"new": "yes", "given_name": "Ines", "family_name": "Moreau", "email": "ines@example.org", "consent": "all"}


@pytest.fixture
def work(sqlite_desk: Desk) -> AtWork:
    return AtWork(sqlite_desk)


def form(**changes: str) -> dict[str, str]:
    """A form filled in for a treatment this morning."""
    base = {"entry_id": str(new_id()), "protocol": "course", "date": "2026-11-23", "time": "08:30", "address": "right"}
    return base | changes


def fields(html: str) -> dict[str, str]:
    """What stands in the fields of a page, by name: inputs, areas, choices and ticked radios."""
    found: dict[str, str] = {}
    for tag in re.findall(r"<input ([^>]*)>", html):
        told = dict(re.findall(r'([a-z]+)="([^"]*)"', tag))
        if told.get("type") not in ("radio", "checkbox") or tag.endswith(" checked"):
            found[told.get("name", "")] = unescape(told.get("value", ""))
    found |= dict(re.findall(r'<textarea[^>]* name="([^"]+)"[^>]*>([^<]*)</textarea>', html))
    for name, options in re.findall(r'<select[^>]* name="([^"]+)"[^>]*>(.*?)</select>', html, re.DOTALL):
        chosen = re.findall(r'<option value="([^"]*)" selected', options)
        found[name] = chosen[0] if chosen else ""
    return found


def problems(html: str) -> list[str]:
    """The summary above the form."""
    summary = re.findall(r'id="problems">(.*?)</div>', html, re.DOTALL)
    return (
        [re.sub(r"<[^>]*>", "", line).strip() for line in re.findall(r"<li>(.*?)</li>", summary[0])] if summary else []
    )


async def test_an_empty_form_knows_the_time_and_who_treats(work: AtWork) -> None:
    mine, theirs = fields((await work.dana.get(NEW)).text), fields((await work.rosa.get(NEW)).text)
    assert (mine["date"], mine["time"], mine["clinician"]) == ("2026-11-23", "09:00", "Dana")
    assert theirs["clinician"] == ""
    assert UUID(mine["entry_id"]) != UUID(theirs["entry_id"])
    assert "Choose the treatment, and its plan appears here." in await seen(work.rosa, NEW)


async def test_a_new_patient_is_entered_in_one_form(work: AtWork) -> None:
    data = form(**INES, **{"field.lot": "C1", "booked_date": "2026-12-08", "booked_time": "14:00", "find": "Ines Mor"})
    answer = await work.rosa.post(NEW, data)
    treatment_id = work.desk.audit("treatment.added")[0]["subject_id"]
    assert place(answer) == f"/treatments/{treatment_id}?done=entered"
    page = await seen(work.rosa, f"/treatments/{treatment_id}?done=entered")
    assert "Nothing leaves before 09:10. Undo the entry" in page
    assert "Ines Moreau · today 08:30" in page
    assert "two-week · booked for Tuesday 8 December 14:00" in page
    again = await work.rosa.post(NEW, data)
    assert place(again) == place(answer)
    assert len(work.desk.audit("patient.added")) == 1
    assert all("Ines" not in str(event) for event in work.desk.audit())


async def test_what_is_wrong_is_told_at_once_and_what_was_typed_is_not_lost(work: AtWork) -> None:
    data = form(
        new="yes", given_name="Ines", email="ines@", birth_date="2030-01-01", date="2027-03-28", time="01:30",
        booked_date="2026-12-08", contact_note="After six.\r\nNo voicemail.",
    )  # fmt: skip
    answer = await work.rosa.post(NEW, data)
    assert answer.status_code == 422
    assert [told.partition(":")[0] for told in problems(answer.text)] == [
        *("E-mail", "Born", "Family name", "Agreed to", "Date and time", "Review booked for")
    ]
    kept = fields(answer.text)
    assert {name: kept[name] for name in data} == {**data, "contact_note": "After six.\nNo voicemail."}
    assert work.desk.audit("patient.added") == []
    nobody = await work.rosa.post(NEW, form())
    assert problems(nobody.text) == ["Patient: find the patient, or enter a new one"]
    part = await work.rosa.post(NEW, {"entry_id": "x", "protocol": "course"})
    assert (part.status_code, problems(part.text)) == (422, ["This form is not whole: load the page again"])


async def test_the_patient_is_found_while_typing_and_picked(work: AtWork) -> None:
    amina = work.desk.enter(AMINA)
    work.desk.enter(BEATRIX)
    for typed, expected in (("am", True), ("far ami", True), ("A-1001", True), ("a", False), ("zz", False)):
        hits = words(await work.rosa.post(f"{NEW}/people", {"find": typed}))
        assert ("Amina Farouk born 12 April 1990 (36) · no. A-1001" in hits) is expected, typed
        assert "Beatrix" not in hits
    picked = await work.rosa.post(f"{NEW}/who", {"pick": str(amina), "find": "am"})
    assert fields(picked.text)["patient_id"] == str(amina)
    assert work.trail()[-1] == ("patient.viewed", str(amina), amina, ["email", "name"])
    whole = await work.rosa.post(NEW, form(find="am", pick=str(amina)))
    assert (whole.status_code, fields(whole.text)["patient_id"]) == (200, str(amina))
    whole = await work.rosa.post(NEW, {**form(find="am", pick=str(amina)), "protocol": ""})
    assert re.search(
        r'id="protocol"[^>]* autofocus', whole.text
    )  # without a script too one types on with the treatment
    new = await work.rosa.post(f"{NEW}/who", {"look": "new", "find": "Mia Anna Lund"})
    assert {name: fields(new.text)[name] for name in ("given_name", "family_name")} == {
        "given_name": "Mia Anna",
        "family_name": "Lund",
    }
    back = await work.rosa.post(f"{NEW}/who", {"look": "other", "patient_id": str(amina), "find": "am"})
    assert "patient_id" not in fields(back.text)
    gone = await work.rosa.post(f"{NEW}/who", {"pick": str(new_id())})
    assert gone.status_code == 404


async def test_who_may_be_the_same_person_is_looked_at_before_she_is_entered_again(work: AtWork) -> None:
    amina = work.desk.enter(AMINA)
    hers = {**INES, "given_name": "Amina", "family_name": "Farouk", "email": "amina@example.org"}
    hint = words(await work.rosa.post(f"{NEW}/alike", hers))
    assert (
        "Already in the record? Amina Farouk born 12 April 1990 (36) · no. A-1001 · same name and same address" in hint
    )
    doubtful = await work.rosa.post(NEW, form(**hers))
    assert (doubtful.status_code, "I have looked: this is another person" in doubtful.text) == (409, True)
    assert len(work.desk.audit("patient.added")) == 1
    shared = await work.rosa.post(f"{NEW}/alike", {**hers, "given_name": "Nadia", "family_name": "Aziz"})
    assert "same address: mails to both reach it" in words(shared)
    picked = await work.rosa.post(NEW, form(**hers, pick=str(amina)))
    assert (picked.status_code, fields(picked.text)["patient_id"]) == (200, str(amina))
    assert place(await work.rosa.post(NEW, form(**hers, sure="yes"))).endswith("done=entered")


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("unconfirmed", "E-mail: amina@example.org E-mail address read back, and right? Yes, it is right Not now"),
        ("refused", "E-mail: amina@example.org The address refused mail. Change it"),
        ("missing", "There is no e-mail address: every message of the plan waits. Enter one"),
        ("confirmed", "E-mail: amina@example.org Treatment"),
    ],
)
async def test_a_known_patients_address_is_shown_as_it_stands(work: AtWork, state: str, told: str) -> None:
    email = None if state == "missing" else AMINA.email
    amina = work.desk.enter(AMINA, email=email, confirmed="yes" if state == "confirmed" else None)
    if state == "refused":
        with work.desk.store.write(STAFF, work.desk.clock.now()) as session:
            patient = session.get_one(Patient, amina)
            stored_patients.add_address_fact(session, patient, AddressFactKind.REFUSED)
    assert told in await seen(work.rosa, f"{NEW}?patient={amina}")


async def test_an_address_changed_meanwhile_is_not_confirmed_unseen(work: AtWork) -> None:
    amina = work.desk.enter(AMINA, confirmed=None)
    shown = fields((await work.rosa.get(f"{NEW}?patient={amina}")).text)
    work.desk.change(amina, email="wrong@example.org")
    data = form(patient_id=str(amina), address_version=shown["address_version"])
    refused = await work.rosa.post(NEW, data)
    assert (refused.status_code, work.desk.audit("treatment.added")) == (422, [])
    assert "the address was changed meanwhile" in words(refused).lower()
    again = fields(refused.text)
    assert again["entry_id"] != data["entry_id"]
    assert place(await work.rosa.post(NEW, {**data, "address_version": again["address_version"]})).endswith("entered")
    assert work.desk.stands("after-visit") == "scheduled"


async def test_whose_messages_are_stopped_is_seen_before_a_treatment_is_entered(work: AtWork) -> None:
    for person, reason, rosa, dana in (
        (AMINA, StopReason.DECEASED, "the patient has died", "the patient has died"),
        (BEATRIX, StopReason.UNSAFE, "All messages stopped.", "e-mail is not safe"),
    ):
        patient_id = work.desk.enter(person)
        work.desk.stop(patient_id, reason)
        assert rosa in await seen(work.rosa, f"{NEW}?patient={patient_id}")
        assert dana in await seen(work.dana, f"{NEW}?patient={patient_id}")


async def test_a_late_entry_is_asked_why_and_the_form_says_so_before(work: AtWork) -> None:
    late = form(**INES, date="2026-11-21")
    part = await work.rosa.post(f"{NEW}/plan", late)
    assert "why is it entered only now?" in words(part)
    assert "late_reason" not in (await work.rosa.post(f"{NEW}/plan", {**late, "late": "yes"})).text  # typed meanwhile
    assert 'name="late_reason"' not in (await work.rosa.post(f"{NEW}/plan", form(**INES))).text
    refused = await work.rosa.post(NEW, late)
    assert problems(refused.text)[0].startswith("Why it is entered late: ")
    assert place(await work.rosa.post(NEW, {**late, "late_reason": "Paper."})).endswith("entered")


async def test_at_the_clock_change_the_page_asks_when_saving_does(work: AtWork) -> None:
    work.desk.clock.advance(work.desk.clock.now().replace(month=3, day=28, year=2027, hour=10) - work.desk.clock.now())
    # 28 March 2027, 11:00 in London: 27 March 11:30 is 22.5 hours ago by elapsed time, 23.5 by the wall.
    for time, is_late in (("11:30", False), ("10:30", False), ("09:30", True)):
        data = form(**INES, sure="yes", date="2027-03-27", time=time)
        asks = "late_reason" in (await work.rosa.post(f"{NEW}/plan", data)).text
        refused = (await work.rosa.post(NEW, data)).status_code == 422
        assert (asks, refused) == (is_late, is_late), time


async def test_the_reason_to_treat_under_age_is_asked_of_a_clinician_only(work: AtWork) -> None:
    work.desk.write_protocol(ADULT, "adult")
    work.desk.approve_unseen()
    child = form(**INES, birth_date="2010-01-01", protocol="adult")
    for browser, asks in ((work.rosa, False), (work.dana, True)):
        answer = await browser.post(NEW, child)
        assert answer.status_code == 422
        assert ('name="age_override"' in answer.text) is asks
        assert "--" not in words(answer)
        assert "was 16 at the treatment and the protocol is for 18 and over" in words(answer)
    assert (await work.rosa.post(NEW, {**child, "age_override": "Indicated."})).status_code == 422
    assert place(await work.dana.post(NEW, {**child, "age_override": "Indicated."})).endswith("entered")


async def test_what_becomes_of_a_running_plan_is_asked_where_the_protocol_asks(work: AtWork) -> None:
    work.desk.write_protocol(ADULT, "adult")
    work.desk.approve_unseen()
    amina = work.desk.enter(AMINA)
    work.desk.treat(amina, protocol="adult")
    data = form(patient_id=str(amina), protocol="adult")
    answer = await work.rosa.post(NEW, data)
    assert "A plan of this kind is running. What becomes of it?" in words(answer)
    assert "--" not in words(answer)
    assert place(await work.rosa.post(NEW, {**data, "replaces": "keep"})).endswith("entered")
    assert "superseded" not in {row.reason for row in work.desk.rows()}  # although hers is the later treatment


# Lot and expiry


async def test_a_lot_is_remembered_for_the_day_in_this_browser_for_this_treatment_on_request_only(work: AtWork) -> None:
    work.desk.write_protocol(OTHER, "other")
    work.desk.approve_unseen()
    another = work.come("rita", Role.RECEPTION)

    async def lot(browser: Any, protocol: str = "course", **sent: str) -> str:
        shown = await browser.post(f"{NEW}/fields", form(protocol=protocol, **sent))
        return fields(shown.text)["field.lot"]

    await work.rosa.post(NEW, form(**INES, **{"field.lot": "C1"}))
    assert await lot(work.rosa) == ""  # not asked for
    await work.rosa.post(NEW, form(**INES, sure="yes", time="08:35", remember="yes", **{"field.lot": "C2"}))
    assert await lot(work.rosa) == "C2"
    assert (await lot(another), await lot(work.rosa, "other")) == ("", "")
    assert await lot(work.rosa, **{"field.lot": "C3", "fields_of": "course"}) == "C3"
    # Emptied on purpose, it does not come back with the form.
    assert await lot(work.rosa, **{"field.lot": "", "fields_of": "course"}) == ""
    await work.rosa.post(NEW, form(**INES, sure="yes", time="08:40", **{"field.lot": "C2"}))
    assert await lot(work.rosa) == ""  # not asked for any more
    await work.rosa.post(NEW, form(**INES, sure="yes", time="08:45", remember="yes", **{"field.lot": "C4"}))
    work.desk.tick(hours=14, minutes=59)
    assert await lot(work.rosa) == "C4"
    work.desk.tick(minutes=1)
    assert await lot(work.rosa) == ""  # midnight at the clinic


async def test_a_lot_is_not_carried_over_to_another_treatment(work: AtWork) -> None:
    work.desk.write_protocol(OTHER, "other")
    work.desk.approve_unseen()
    carried = form(**INES, protocol="other", fields_of="course", **{"field.lot": "C1"})
    shown = await work.rosa.post(f"{NEW}/fields", carried)
    assert (fields(shown.text)["field.lot"], fields(shown.text)["fields_of"]) == ("", "other")
    saved = await work.rosa.post(NEW, carried)
    assert (saved.status_code, fields(saved.text)["field.lot"]) == (422, "")
    assert problems(saved.text) == ["Treatment: another treatment was chosen; its own fields are shown now"]
    assert work.desk.audit("treatment.added") == []


# Taking it back


async def test_an_undone_entry_comes_back_as_it_was_to_who_made_it(work: AtWork) -> None:
    data = form(
        **INES, birth_date="1990-01-02", phone="020 7946 0101", call_safe="yes", contact_note="After six.",
        booked_date="2026-12-08", booked_time="14:00", clinician="Dr Novak", **{"field.lot": "C1"},
    )  # fmt: skip
    treatment_id = place(await work.rosa.post(NEW, data)).split("/")[2].partition("?")[0]
    undone = place(await work.rosa.post(f"/treatments/{treatment_id}/undo"))
    assert undone == f"/treatments/new?from={treatment_id}&done=entry-undone"
    before = len(work.trail())
    html = (await work.rosa.get(undone)).text
    assert work.trail(before)[0][0] == "patient.viewed"
    again = fields(html)
    kept = {name: text for name, text in data.items() if name != "entry_id"}
    assert {name: again[name] for name in kept} == kept
    other = fields((await work.dana.get(undone)).text)
    assert (other["protocol"], "given_name" in other) == ("", False)
    stale = await work.rosa.post(NEW, data)
    assert (stale.status_code, "was saved before" in words(stale)) == (422, True)
    assert place(await work.rosa.post(NEW, {**data, "entry_id": again["entry_id"]})).endswith("entered")
    assert len(await patients(work)) == 1


async def patients(work: AtWork) -> list[str]:
    """Everybody whom a search for Ines finds."""
    return re.findall(r'class="hit"', (await work.rosa.post(f"{NEW}/people", {"find": "ines"})).text)


async def test_a_treatment_that_stands_is_no_form_to_be_filled_again(work: AtWork) -> None:
    amina = work.desk.enter(AMINA)
    entered = place(await work.rosa.post(NEW, form(patient_id=str(amina), **{"field.lot": "C1"})))
    treatment_id = UUID(entered.split("/")[2].partition("?")[0])
    signing.fill_in(work.desk.clinic, "staff:dana", treatment_id, {"lot": "secret"}, "Dr Novak", "why")
    html = (await work.rosa.get(f"{NEW}?from={treatment_id}")).text
    assert ("secret" in html, "Amina" in html) == (False, False)
    work.desk.event(treatment_id, EventKind.COMPLICATION)
    assert (await work.rosa.post(f"/treatments/{treatment_id}/undo")).status_code == 409
    for path in (f"{NEW}?from=x", f"{NEW}?patient=x"):
        assert (await work.rosa.get(path)).status_code == 409


async def test_hostile_names_are_shown_as_they_are_and_nothing_typed_is_in_an_address(work: AtWork) -> None:
    name = "<script>alert(1)</script>\u202eevil"
    data = form(**{**INES, "given_name": name, "family_name": "O'Hara \" onload=x"})
    entered = place(await work.rosa.post(NEW, data))
    page = (await work.rosa.get(entered)).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<bdi>&lt;script&gt;" in page
    forms = re.findall(
        r'<form[^>]*method="([a-z]+)"[^>]*action="/treatments/new[^"]*"', page + (await work.rosa.get(NEW)).text
    )
    assert set(forms) == {"post"}


async def test_a_treatment_far_ahead_is_asked_about_once(work: AtWork) -> None:
    amina = work.desk.enter(AMINA)
    far = form(patient_id=str(amina)) | {"date": "2027-11-23", "time": "09:00"}
    asked = await work.rosa.post(NEW, far)
    assert asked.status_code == 422
    assert "23 November 2027 is 365 days ahead" in words(asked)
    assert fields(asked.text)["asked_at"] == "2027-11-23T09:00"
    assert 'name="planned"' in asked.text
    other = await work.rosa.post(NEW, {**far, "planned": "yes", "asked_at": "2027-11-22T09:00"})
    assert other.status_code == 422
    assert work.desk.rows() == []
    sure = await work.rosa.post(NEW, {**far, "planned": "yes", "asked_at": "2027-11-23T09:00"})
    assert place(sure).endswith("?done=entered")


async def test_the_language_of_a_new_patient_is_chosen_as_she_is_entered(work: AtWork) -> None:
    page = (await work.rosa.post(f"{NEW}/who", {"look": "new", "find": "Ines Moreau"})).text
    assert re.search(r'<select[^>]* name="language".*<option value="" selected>English</option>', page, re.DOTALL)
    assert '<option value="de">German</option>' in page
    assert place(await work.rosa.post(NEW, form(**INES, language="de"))).endswith("?done=entered")
    with work.desk.store.read() as session:
        (ines,) = stored_patients.list_patients(session)
        assert ines.language == "de"
    wrong = await work.rosa.post(NEW, form(**{**INES, "email": "i2@example.org"}, language="1"))
    assert wrong.status_code == 422
