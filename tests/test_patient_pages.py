"""Patients on the screen: finding one, her whole page, changing what is known, stopping and permitting, notes."""

import re
from uuid import UUID

import pytest

from db import patients as stored_patients
from db.records import Patient
from db.states import AddressState, AttemptOutcome, DecisionKind, EventKind, StopReason
from db.types import new_id
from scheduler import contacts
from tests.clinic import Desk
from tests.page_parts import AtWork, hidden, place, seen, words
from tests.people import AMINA, BEATRIX, CARMEN, ESME, GRETA, HINEMOA

K = EventKind


@pytest.fixture
def work(sqlite_desk: Desk) -> AtWork:
    return AtWork(sqlite_desk)


async def edit(work: AtWork, patient_id: UUID, **changes: str) -> dict[str, str]:
    """The form that changes her, as it stands, with what is typed over it."""
    html = (await work.rosa.get(f"/patients/{patient_id}/edit")).text
    inputs = dict(re.findall(r'<input id="([a-z_]+)" name="[a-z_]+" type="[a-z]+" value="([^"]*)"', html))
    inputs.pop("find", None)
    chosen = re.findall(r'<select id="([a-z_]+)"(.*?)</select>', html, re.DOTALL)
    selects = {name: (re.findall(r'value="([^"]*)" selected', options) or [""])[0] for name, options in chosen}
    area = dict(re.findall(r'<textarea id="([a-z_]+)"[^>]*>([^<]*)</textarea>', html))
    kept = hidden(html, f"/patients/{patient_id}/edit")
    return {**inputs, **selects, **area, "seen": kept["seen"], **changes}


def patient(work: AtWork, patient_id: UUID, name: str) -> str | None:
    """One value of her."""
    with work.desk.store.read() as session:
        value: str | None = getattr(session.get_one(Patient, patient_id), name)
        return value


# Finding


async def test_the_list_shows_who_changed_last_and_finds_by_the_beginnings_of_names(work: AtWork) -> None:
    amina, beatrix = work.desk.enter(AMINA), work.desk.enter(BEATRIX)
    work.desk.enter(ESME, record_number=None)
    page = await seen(work.rosa, "/patients")
    places = [page.index(name) for name in ("Esmé O'Hara", "Beatrix Lindqvist", "Amina Farouk")]
    assert places == sorted(places)
    assert "born 3 November 1985 (41) · no. A-1002" in page
    for typed, found in (("fa am", amina), ("A-1002", beatrix), ("lindq", beatrix), (" AMINA ", amina)):
        assert place(await work.rosa.post("/patients", {"q": typed})) == f"/patients/{found}"
    assert work.trail()[-1][0] == "patients.searched"
    assert place(await work.rosa.post("/patients", {"q": " "})) == "/patients"
    nobody = await work.rosa.post("/patients", {"q": "ra as"})
    assert "Nobody found Nobody of that name or number" in words(nobody)
    work.desk.enter(AMINA, record_number=None)
    several = await work.rosa.post("/patients", {"q": "am far"})
    assert words(several).count("Amina Farouk") == 2
    assert "am+far" not in several.text


# Her page


async def test_her_page_says_who_she_is_and_what_forbids_what_the_worst_first(work: AtWork) -> None:
    amina = work.desk.enter(AMINA, consent=None, confirmed=None, call_safe="no", level="notice")
    page = await seen(work.rosa, f"/patients/{amina}")
    told = page.partition("do not ring: ask a clinician")[2].partition("Treatments")[0]
    assert told.split(" ▲ ") == [
        "",
        "do not ring ■ address not confirmed ■ not asked about messages on visits "
        "■ not asked about messages on the plan ○ mail: a notice only ",
    ]
    assert "+44 20 7946 0101" not in page  # not to be rung: the number is not shown
    work.desk.change(amina, consent="reviews", confirmed="yes", call_safe="yes", contact_note="After six.")
    work.desk.stop(amina, StopReason.LEFT)
    page = await seen(work.rosa, f"/patients/{amina}")
    assert "+44 20 7946 0101 · After six. ▲ All messages stopped: the patient has left the clinic" in page
    assert "○ messages about visits ○ no messages about the plan" in page
    assert work.trail()[-1] == ("patient.viewed", str(amina), amina, ["timeline"])


async def test_a_treatment_s_plan_stands_on_the_patient_s_page_as_on_its_own(work: AtWork) -> None:
    amina = work.desk.enter(AMINA)
    treatment_id = work.desk.treat(amina).treatment_id
    for kind, stands in (
        (K.COMPLICATION, "■ The plan is paused"),
        (K.COMPLICATION_RESOLVED, "● The plan runs"),
        (K.HOLD, "■ The plan is on hold"),
        (K.STOP, "○ The plan has ended"),
    ):
        work.desk.event(treatment_id, kind)
        work.desk.tick()
        for page in (f"/patients/{amina}", f"/treatments/{treatment_id}"):
            assert stands in await seen(work.dana, page), (kind, page)
    assert "The plan has ended" in await seen(work.dana, f"/patients/{amina}/print")


async def test_her_time_line_tells_everything_and_each_filter_its_part(work: AtWork) -> None:
    desk = work.desk
    carmen = desk.enter(CARMEN, phone="020 7946 0103", call_safe="yes")
    treatment_id = desk.treat(carmen, clinician="Dr Novak").treatment_id
    booked = desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-08T14:00")
    desk.decide(desk.row("next-session"), DecisionKind.CANCEL, "Not this year.")
    contacts.add_note(desk.clinic, "staff:dana", carmen, "A note\nof two lines.")
    desk.tick(hours=9)
    desk.send_due(AttemptOutcome.PUT_OFF, code=451)
    page = await seen(work.dana, f"/patients/{carmen}")
    for told in (
        "Carmencita (Carmen) Ibarra-Soto",
        "A course today 09:30 · Dr Novak ● The plan runs ■ not signed",
        "today 17:00 · “After your visit” · will be tried again: the mail server said: not yet",
        "Try 1 today 18:00: the mail server said: not yet (451)",
        "Two-week review booked for Tuesday 8 December 14:00 · nurse Change Take back",
        "cancelled · nurse Note Not this year.",
        "Note · Dana Text A note of two lines.",
        "Treated today 09:30, by Dr Novak · nurse",
        "Agreed to messages about visits · nurse",
        "Address confirmed · nurse",
    ):
        assert told in page, told
    for show, has, lacks in (
        ("messages", "After your visit", "Two-week review booked"),
        ("record", "Treated today", "Agreed to"),
        ("plan", "Agreed to", "Treated today"),
        ("notes", "of two lines", "After your visit” ·"),
        ("nonsense", "of two lines", "zzz"),
    ):
        whole = await seen(work.dana, f"/patients/{carmen}?show={show}")
        part = whole.partition("Everything")[2].partition("Spoke to")[0]
        assert (has in part, lacks in part) == (True, False), show
    assert place(await work.rosa.post(f"/events/{booked}/undo", {"back": f"/patients/{carmen}"})).endswith(
        "done=undone"
    )
    assert "taken back by Rosa" in await seen(work.dana, f"/patients/{carmen}")


async def test_pain_is_drawn_for_clinicians_and_the_whole_record_printed(work: AtWork) -> None:
    amina = work.desk.enter(AMINA)
    treatment_id = work.desk.treat(amina, "2026-11-09T09:30").treatment_id
    work.desk.event(
        treatment_id, K.REVIEW_COMPLETED, fields={"pain_on_touch": "7", "pain_note": "²", "outcome": "hold"}
    )
    page = (await work.dana.get(f"/patients/{amina}")).text
    assert 'aria-label="Pain from 0 to 10 over time: 23 November 2026: 7 on touch"' in page
    assert "Pain, 0 to 10" not in (await work.rosa.get(f"/patients/{amina}")).text
    printed = await seen(work.dana, f"/patients/{amina}/print")
    assert "printed today 09:00 by Dana" in printed
    assert "Pain on touch 7 of 10" in printed
    html = (await work.dana.get(f"/patients/{amina}/print")).text
    assert "<button" not in html.partition("<main")[2].partition("<dialog")[0]
    assert (await work.rosa.get(f"/patients/{amina}/print")).status_code == 403


async def test_who_is_not_there_or_was_undone_is_not_found(work: AtWork) -> None:
    for path in (f"/patients/{new_id()}", f"/patients/{new_id()}/edit", "/patients/x"):
        assert (await work.rosa.get(path)).status_code == 404


# Changing


async def test_only_what_was_typed_anew_is_changed_and_noted_by_name(work: AtWork) -> None:
    hinemoa = work.desk.enter(HINEMOA)
    nothing = await edit(work, hinemoa)
    before = len(work.trail())
    assert place(await work.rosa.post(f"/patients/{hinemoa}/edit", nothing)) == f"/patients/{hinemoa}"
    assert len(work.trail()) == before
    changed = await edit(
        work, hinemoa, phone="+64 4 555 0101", call_safe="yes", contact_note="After six.\r\nNo voicemail."
    )
    assert place(await work.rosa.post(f"/patients/{hinemoa}/edit", changed)).endswith("done=patient-changed")
    assert work.desk.audit("patient.changed")[-1]["fields"] == ["call_safe", "contact_note", "phone"]
    assert patient(work, hinemoa, "contact_note") == "After six.\nNo voicemail."
    assert patient(work, hinemoa, "family_name") == HINEMOA.family_name
    again = await edit(work, hinemoa)
    assert place(await work.rosa.post(f"/patients/{hinemoa}/edit", again)) == f"/patients/{hinemoa}"


async def test_a_new_address_is_unconfirmed_until_it_was_read_back_and_a_shared_one_is_said(work: AtWork) -> None:
    amina, beatrix = work.desk.enter(AMINA), work.desk.enter(BEATRIX)
    work.desk.treat(amina)
    typed = await edit(work, amina, email="amina.new@example.org")
    await work.rosa.post(f"/patients/{amina}/edit", typed)
    assert work.desk.stands("after-visit") == "held:address_unconfirmed"
    await work.rosa.post(f"/patients/{amina}/edit", await edit(work, amina, confirmed="yes"))
    assert work.desk.stands("after-visit") == "scheduled"
    shared = await edit(work, beatrix, email="amina.new@example.org", confirmed="yes")
    assert place(await work.rosa.post(f"/patients/{beatrix}/edit", shared)).endswith("done=patient-shared")
    with work.desk.store.read() as session:
        state = stored_patients.find_address_state(session, session.get_one(Patient, beatrix))
    assert state is AddressState.CONFIRMED


async def test_wrong_values_are_told_and_shown_again(work: AtWork) -> None:
    amina = work.desk.enter(AMINA)
    typed = await edit(work, amina, email="amina@", birth_date="2030-01-01", family_name=" ", time_zone="Moon")
    answer = await work.rosa.post(f"/patients/{amina}/edit", typed)
    assert answer.status_code == 422
    assert "There are 4 problems" in words(answer)
    assert 'value="amina@"' in answer.text
    assert work.desk.audit("patient.changed") == []
    assert work.trail()[-1] == ("patient.viewed", str(amina), amina, ["contact"])


async def test_an_older_page_does_not_bring_back_an_address_she_no_longer_has(work: AtWork) -> None:
    amina = work.desk.enter(AMINA)
    old = await edit(work, amina, phone="020 7946 0199")
    work.desk.change(amina, email="amina.new@example.org", confirmed="yes")
    answer = await work.rosa.post(f"/patients/{amina}/edit", old)
    assert (answer.status_code, "somebody changed this meanwhile" in words(answer).lower()) == (409, True)
    assert 'value="amina.new@example.org"' in answer.text
    assert patient(work, amina, "email") == "amina.new@example.org"
    assert patient(work, amina, "phone") == AMINA.phone


# Stopping, permitting, notes


async def test_messages_are_stopped_at_once_and_permitted_with_a_reason(work: AtWork) -> None:
    greta = work.desk.enter(GRETA)
    work.desk.treat(greta)
    assert (await work.rosa.post(f"/patients/{greta}/stop", {"reason": ""})).status_code == 409
    stopped = await work.rosa.post(
        f"/patients/{greta}/stop", {"reason": "opted-out", "note": "By telephone.\r\nToday."}
    )
    assert place(stopped).endswith("done=patient-stopped")
    assert work.desk.stands("after-visit") == "cancelled:opted_out"
    assert (await work.rosa.post(f"/patients/{greta}/permit", {"note": " "})).status_code == 409
    work.desk.tick()
    assert place(await work.rosa.post(f"/patients/{greta}/permit", {"note": "She rang."})).endswith("patient-permitted")
    assert work.desk.stands("after-visit") == "scheduled"
    work.desk.tick()
    assert (await work.rosa.post(f"/patients/{greta}/permit", {"note": "Again."})).status_code == 409


async def test_a_note_and_a_contact_are_written_down_the_latter_instead_of_a_message(work: AtWork) -> None:
    greta = work.desk.enter(GRETA)
    work.desk.treat(greta)
    assert (await work.rosa.post(f"/patients/{greta}/notes", {"note": "Clinical."})).status_code == 403
    assert place(await work.dana.post(f"/patients/{greta}/notes", {"note": "One.\r\nTwo."})).endswith("note-added")
    page = (await work.rosa.get(f"/patients/{greta}")).text
    offered = re.findall(r'<option value="([0-9a-f-]{36})">“([^<]*)”', page)
    assert [title for _, title in offered] == ["After your visit", "Ring her", offered[2][1]]
    contact = {"note": "She is well.", "replaces": offered[0][0]}
    assert place(await work.rosa.post(f"/patients/{greta}/contact", contact)).endswith("contact-noted")
    assert work.desk.stands("after-visit") == "done:done_by_staff"
    assert (await work.rosa.post(f"/patients/{greta}/contact", contact)).status_code == 409
    for wrong in ({"note": ""}, {"note": "x", "replaces": "y"}):
        assert (await work.rosa.post(f"/patients/{greta}/contact", wrong)).status_code == 409
    other = work.desk.enter(BEATRIX)
    assert (await work.rosa.post(f"/patients/{other}/contact", contact)).status_code == 404
    asked = await work.rosa.get(f"/patients/{greta}")
    assert "Greta asks for a call" in words(asked)


async def test_a_patient_with_nothing_yet_has_a_page(work: AtWork) -> None:
    amina = work.desk.enter(AMINA, consent=None, confirmed=None)
    page = await seen(work.dana, f"/patients/{amina}")
    assert "No treatment yet." in page
    assert "Nothing of this kind yet." in page
    assert "asks for a call" not in page


@pytest.mark.parametrize("end", [EventKind.COMPLETE, EventKind.STOP])
async def test_she_can_be_noted_as_asking_for_a_call_also_when_her_plan_is_over(work: AtWork, end: EventKind) -> None:
    amina = work.desk.enter(AMINA, phone="020 7946 0101", call_safe="yes")
    treatment_id = work.desk.treat(amina).treatment_id
    work.desk.event(treatment_id, end)
    assert "Amina asks for a call" in await seen(work.rosa, f"/patients/{amina}")
    asked = {"kind": "call_requested", "back": f"/patients/{amina}"}
    assert place(await work.rosa.post(f"/treatments/{treatment_id}/events", asked)).startswith(f"/patients/{amina}")
    assert "asked for a call" in (await seen(work.rosa, "/today")).partition("Done today")[0]
