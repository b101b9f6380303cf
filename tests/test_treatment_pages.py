"""One treatment on the screen: its plan, its record, its reviews, and every way to change it; who looked is noted."""

import re
from uuid import UUID

import pytest

from db.states import EventKind, Role, StopReason
from db.types import new_id
from scheduler import treatments
from scheduler.recovery import sweep
from tests.clinic import COURSE, STAFF, Desk
from tests.page_parts import AtWork, hidden, place, seen, words
from tests.people import AMINA, BEATRIX, FENG

K = EventKind
TRAIL = frozenset({"audit_events", "audit_head"})
RECORDED = COURSE.replace('label = "Lot"\ntype = "text"\n', 'label = "Lot"\ntype = "text"\nrequired = true\n')
SHORT = COURSE.partition("[[step]]")[0].replace('"course"', '"short"') + "[[step]]" + COURSE.split("[[step]]")[1]

CHOOSING = """
[[step]]
key = "choose-a-time"
kind = "review"
template = "choose_a_time"
anchor = "review_due"
offset = "-P5D"
at = "10:00"
expires_after = "P5D"
when = "review_unbooked"
"""


@pytest.fixture
def work(sqlite_desk: Desk) -> AtWork:
    sqlite_desk.write_protocol(RECORDED.replace("version = 1", "version = 2"))
    sqlite_desk.approve_unseen()
    return AtWork(sqlite_desk)


def treated(work: AtWork, at: str = "2026-11-23T08:30") -> tuple[UUID, str]:
    """Amina and the page of her treatment."""
    amina = work.desk.enter(AMINA, phone="+44 20 7946 0101", call_safe="yes")
    return amina, f"/treatments/{work.desk.treat(amina, at, clinician='Dr Novak').treatment_id}"


def id_of(page: str) -> UUID:
    """The treatment of a page."""
    return UUID(page.split("/")[2])


async def test_the_page_says_whose_what_and_when_and_how_the_plan_stands(work: AtWork) -> None:
    _, page = treated(work)
    told = await seen(work.dana, page)
    for part in (
        "Amina Farouk · today 08:30 · Dr Novak",
        "● The plan runs ■ record not signed",
        "today 17:00 · “After your visit” · will be sent",
        "Ring her · will be shown to staff",
        "two-week · to book: due Monday 7 December Held: write it down Book",
        "Alone · not started Start it today",
        "With a partner · not released Release it Amina wants it Not wanted",
        "Not signed yet: 1 field is empty. Fill in and sign",
    ):
        assert part in told, part
    desk_page = await seen(work.rosa, page)
    for part in ("Start it today", "Release it", "Fill in and sign", "write it down", "1 field is empty"):
        assert part not in desk_page, part
    for wrong in (f"/treatments/{new_id()}", "/treatments/x"):
        assert (await work.dana.get(wrong)).status_code == 404


async def test_who_looked_at_which_patient_is_noted_on_every_page_about_her(work: AtWork) -> None:
    amina, page = treated(work)
    row = work.desk.row("after-visit")
    for path, fields in (
        ("", ["plan"]),
        ("/move", ["name"]),
        ("/reassign", ["name"]),
        ("/cancel", ["name"]),
        ("/record", ["record"]),
        ("/book", ["name"]),
        ("/reviews/two-week", ["name"]),
        ("/release", ["name"]),
    ):
        noted = await work.noted(work.dana, page + path)
        assert noted == [("treatment.viewed", str(id_of(page)), amina, fields)], path
    for path, data in (
        ("/move", {"date": "", "time": "", "reason": ""}),
        ("/cancel", {"reason": ""}),
        ("/record", {"field.lot": "\x00"}),
        ("/book", {}),
        ("/reviews/two-week", {}),
        ("/release", {"wish": ""}),
    ):
        noted = await work.noted(work.dana, page + path, data=data)
        assert [(action, patient) for action, _, patient, _ in noted] == [("treatment.viewed", amina)], path
    path, looked = f"/reminders/{row.id}", [("message.viewed", str(row.id), amina, ["text"])]
    assert await work.noted(work.dana, f"{path}/html") == looked
    assert await work.noted(work.dana, path) == looked
    assert await work.noted(work.dana, f"{path}/html?scheme=dark") == []  # a frame of the page that was just noted
    assert await work.noted(work.dana, f"{path}/html?attempt=1") == looked
    assert await work.noted(work.rosa, f"/reminders/{row.id}") == [("message.viewed", str(row.id), amina, ["subject"])]


# Moving, cancelling, giving to whom it belongs


async def test_a_plan_whose_messages_are_done_is_not_over_while_a_review_is_to_come(work: AtWork) -> None:
    work.desk.write_protocol(SHORT, "short")
    work.desk.approve_unseen()
    page = f"/treatments/{work.desk.treat(work.desk.enter(BEATRIX), '2026-11-23T08:30', 'short').treatment_id}"
    work.desk.tick(hours=9)
    work.desk.send_due()
    assert "Its messages are done; a review is still to come" in await seen(work.dana, page)
    work.desk.event(id_of(page), K.COMPLETE)
    assert "The plan is completed" in await seen(work.dana, page)


async def test_what_was_written_is_shown_again_when_it_is_refused(work: AtWork) -> None:
    amina, _ = treated(work)
    data = {"note": "Rang her: <b>no</b> answer", "replaces": "none"}
    refused = await work.rosa.post(f"/patients/{amina}/contact", data)
    assert refused.status_code == 409
    assert "Rang her: &lt;b&gt;no&lt;/b&gt; answer" in refused.text


async def test_what_a_corrected_date_changes_is_shown_before_it_is_saved(work: AtWork) -> None:
    _, page = treated(work)
    html = (await work.rosa.get(f"{page}/move")).text
    assert 'value="2026-11-23"' in html
    assert 'value="08:30"' in html
    data = {"date": "2026-11-20", "time": "09:00", "reason": "Typed the day it was entered."}
    with work.desk.unchanged(but=TRAIL):
        shown = words(await work.rosa.post(f"{page}/move", data))
        assert "What will change" in shown
        assert "from Mon 14 December, 09:00 to Fri 11 December, 09:00" in shown
    assert place(await work.rosa.post(f"{page}/move", {**data, "sure": "yes"})).endswith("done=treatment-moved")
    assert work.desk.row("no-review-yet").due_local == "2026-12-11T09:00:00"
    same = await work.rosa.post(f"{page}/move", data)
    assert "No message changes." in words(same)
    for wrong in ({**data, "reason": " "}, {**data, "date": "2027-03-28", "time": "01:30"}, {**data, "time": ""}):
        assert (await work.rosa.post(f"{page}/move", {**wrong, "sure": "yes"})).status_code == 422


async def test_a_treatment_that_did_not_take_place_is_cancelled_with_its_messages(work: AtWork) -> None:
    _, page = treated(work)
    assert "3 unsent messages of its plan are cancelled with it" in await seen(work.rosa, f"{page}/cancel")
    assert (await work.rosa.post(f"{page}/cancel", {"reason": "\n"})).status_code == 422
    assert place(await work.rosa.post(f"{page}/cancel", {"reason": "She did not come."})).endswith(
        "treatment-cancelled"
    )
    told = await seen(work.dana, page)
    assert "■ cancelled" in told
    assert "Change Report" not in told
    assert (await work.rosa.post(f"{page}/cancel", {"reason": "Again."})).status_code == 409
    assert (await work.rosa.post(f"{page}/events", {"kind": "hold"})).status_code == 409


async def test_a_treatment_is_given_to_the_patient_it_belongs_to(work: AtWork) -> None:
    _, page = treated(work)
    beatrix = work.desk.enter(BEATRIX)
    found = words(await work.rosa.post(f"{page}/reassign", {"find": "be li", "reason": "Wrong record."}))
    assert "Beatrix Lindqvist born 3 November 1985 (41) · no. A-1002 Give it to Beatrix" in found
    itself = words(await work.rosa.post(f"{page}/reassign", {"find": "amina"}))
    assert "Nobody of that name or number" in itself
    pick = {"pick": str(beatrix), "find": "be"}
    assert (await work.rosa.post(f"{page}/reassign", {**pick, "reason": ""})).status_code == 422
    assert (await work.rosa.post(f"{page}/reassign", {"pick": "x", "reason": "y"})).status_code == 409
    moved = place(await work.rosa.post(f"{page}/reassign", {**pick, "reason": "Wrong record."}))
    assert moved.endswith("done=reassigned")
    assert "Undo the entry" not in await seen(work.rosa, moved)
    assert "entered under the wrong patient. It is here now" in await seen(work.rosa, page)


async def test_what_becomes_of_a_running_plan_is_asked_when_a_treatment_is_given_away(work: AtWork) -> None:
    ask = RECORDED.replace("version = 1", "version = 3").replace('"A course"', '"A course"\non_new_treatment = "ask"')
    work.desk.write_protocol(ask)
    work.desk.approve_unseen()
    _, page = treated(work)
    beatrix = work.desk.enter(BEATRIX)
    work.desk.treat(beatrix, "2026-11-20T09:00")
    pick = {"pick": str(beatrix), "reason": "Wrong record."}
    asked = await work.rosa.post(f"{page}/reassign", pick)
    assert asked.status_code == 422
    assert "What becomes of it? This one replaces it Both run" in words(asked)
    assert "--" not in words(asked)
    assert place(await work.rosa.post(f"{page}/reassign", {**pick, "replaces": "keep"})).endswith("reassigned")


# The record


async def test_a_record_is_filled_in_signed_and_amended_and_every_version_stays_readable(work: AtWork) -> None:
    _, page = treated(work)
    path = f"{page}/record"
    assert "Before signing: Lot." in await seen(work.dana, path)
    draft = {"clinician": "Dr Novak", "field.lot": "", "version": "1", "sign": "yes"}
    refused = await work.dana.post(path, draft)
    assert (refused.status_code, "Lot: is needed before signing" in words(refused)) == (422, True)
    assert place(await work.dana.post(path, {**draft, "field.lot": "C1"})).endswith("done=record-signed")
    signed = await seen(work.dana, path)
    assert "Signed today 09:00 by Dana." in signed
    shown = hidden((await work.dana.get(path)).text, path)
    amended = {"clinician": "Dr Novak", "field.lot": "C2", "version": shown["version"], "sign": "yes"}
    assert "Reason: say why" in words(await work.dana.post(path, amended))
    assert place(await work.dana.post(path, {**amended, "reason": "A slip."})).endswith("record-signed")
    told = await seen(work.dana, path)
    assert re.search(r"Version 3, .* · signed by Dana · A slip\. .* Lot C2 .*Version 2, .* Lot C1 .*Version 1", told)
    assert "record signed" in await seen(work.rosa, page)


async def test_who_types_over_a_record_that_another_changed_sees_it_first(work: AtWork) -> None:
    _, page = treated(work)
    path = f"{page}/record"
    other = work.come("doro", Role.CLINICIAN)
    mine = {"clinician": "Dr Novak", "field.lot": "C1", "version": "1"}
    assert place(await other.post(path, {**mine, "field.lot": "C9"})).endswith("record-saved")
    stale = await work.dana.post(path, mine)
    assert stale.status_code == 409
    assert "Somebody else changed this record meanwhile" in words(stale)
    assert ('value="C1"' in stale.text, "C9" in words(stale)) == (True, True)
    again = {**mine, "version": hidden(stale.text, path)["version"]}
    assert place(await work.dana.post(path, again)).endswith("record-saved")


async def test_a_record_changed_outside_says_so_in_red(work: AtWork) -> None:
    _, page = treated(work)
    await work.dana.post(f"{page}/record", {"clinician": "Dr Novak", "field.lot": "C1", "sign": "yes"})
    with work.desk.store.engine.execution_options(writes=True).begin() as connection:
        connection.exec_driver_sql("UPDATE treatment_versions SET clinician = 'Dr Nobody' WHERE number = 2")
    assert "What was signed is not what is stored" in await seen(work.dana, f"{page}/record")


# Reviews


async def test_a_visit_is_booked_moved_missed_and_written_down(work: AtWork) -> None:
    _, page = treated(work)
    booking = {"review": "two-week", "date": "2026-12-07", "time": "14:00", "place": "Room 2"}
    assert "two-week review, due Monday 7 December" in await seen(work.rosa, f"{page}/book?review=two-week")
    assert place(await work.rosa.post(f"{page}/book", booking)).endswith("done=visit-booked")
    assert "two-week · booked for Monday 7 December 14:00 Move Cancel the visit" in await seen(work.rosa, page)
    for wrong in ({**booking, "date": ""}, {**booking, "date": "2027-03-28", "time": "01:30"}):
        assert (await work.rosa.post(f"{page}/book", wrong)).status_code == 422
    work.desk.tick(days=15)
    told = await seen(work.rosa, page)
    assert "Did not come Move" in told
    assert "Came: write it down" in await seen(work.dana, page)
    outcome = (await work.dana.get(f"{page}/reviews/two-week")).text
    assert 'name="date" type="date" value="2026-12-07"' in outcome
    assert 'name="time" type="time" value="14:00"' in outcome
    missed = {"kind": "review_missed", "review": "two-week", "back": page}
    assert place(await work.rosa.post(f"{page}/events", missed)) == f"{page}?done=event-review-missed"
    assert "two-week · missed; no other visit is booked Book" in await seen(work.rosa, page)


async def test_the_outcome_of_a_review_is_one_form_and_its_faults_stand_at_their_fields(work: AtWork) -> None:
    _, page = treated(work, "2026-11-09T09:30")
    path = f"{page}/reviews/two-week"
    data = {"date": "2026-11-23", "time": "08:30", "outcome": "progressing", "pain.pain_on_touch": "11"}
    wrong = await work.dana.post(path, {**data, "next_date": "2027-03-28", "next_time": "01:30", "note": "Kept.\r\n2"})
    assert (wrong.status_code, "On touch: write a whole number" in words(wrong)) == (422, True)
    assert "Kept.\n2</textarea>" in wrong.text
    data["pain.pain_on_touch"] = "4"
    late = await work.dana.post(path, {**data, "next_date": "2027-03-28", "next_time": "01:30"})
    assert "Next visit: " in words(late)
    assert (await work.dana.post(path, {**data, "releases": "yes"})).status_code == 422
    saved = await work.dana.post(path, {**data, "wish": "wants", "releases": "yes"})
    assert place(saved).endswith("done=review-held")
    told = await seen(work.dana, page)
    assert "two-week · held" in told
    assert "With a partner · released today Take the release back" in told
    assert (await work.dana.get(f"{page}/reviews/ten-week")).status_code == 404


async def test_the_next_part_is_released_with_what_the_patient_said(work: AtWork) -> None:
    _, page = treated(work)
    assert (await work.dana.post(f"{page}/release", {"wish": " "})).status_code == 422
    assert (await work.rosa.get(f"{page}/release")).status_code == 403
    assert place(await work.dana.post(f"{page}/release", {"wish": "Yes."})).endswith("event-partner-released")
    assert work.desk.stands("next-part") == "scheduled"


async def test_a_review_can_be_held_or_given_up_when_no_message_of_its_plan_is_left(work: AtWork) -> None:
    work.desk.write_protocol(SHORT, "short")
    work.desk.approve_unseen()
    page = f"/treatments/{work.desk.treat(work.desk.enter(FENG), protocol='short').treatment_id}"
    work.desk.tick(days=2)
    sweep(work.desk.clinic)
    told = await seen(work.dana, page)
    assert "Its messages are done; a review is still to come" in told
    assert "two-week · to book: due Monday 7 December Held: write it down Book" in told
    assert "No review is expected any more" in told
    assert place(await work.rosa.post(f"{page}/events", {"kind": "complete", "back": page})).endswith("event-complete")
    told = await seen(work.dana, page)
    assert "Book" not in told
    assert "No review is expected any more" not in told


async def test_a_complication_and_a_call_stand_in_red_until_they_are_over(work: AtWork) -> None:
    amina, page = treated(work)
    work.desk.event(id_of(page), K.COMPLICATION, fields={"note": "Over."})
    work.desk.event(id_of(page), K.COMPLICATION_RESOLVED)
    work.desk.event(id_of(page), K.COMPLICATION, fields={"note": "Fever."})
    work.desk.event(id_of(page), K.CALL_REQUESTED)
    told = (await seen(work.dana, page)).partition("Plan")[0]
    assert "■ The plan is paused" in told
    assert "The plan runs" not in told
    assert "A complication is open: the plan's messages are paused Since today 09:00 · Fever. +44 20 7946 0101" in told
    assert "Over." not in told
    assert "Amina asks for a call +44 20 7946 0101 I rang Amina" in told
    assert "Fever." not in await seen(work.rosa, page)
    work.desk.stop(amina, StopReason.DECEASED)
    treatments.cancel(work.desk.clinic, STAFF, id_of(page), "She has died.")
    assert "“After your visit” · cancelled: the patient has died" in await seen(work.rosa, page)


async def test_another_complication_can_be_reported_while_one_is_open_and_one_end_ends_all(work: AtWork) -> None:
    _, page = treated(work)
    for words_, note in (("Report a complication", "Fever."), ("Report another complication", "Double vision.")):
        assert words_ in await seen(work.rosa, page)
        data = {"kind": "complication", "note": note, "back": page}
        assert place(await work.rosa.post(f"{page}/events", data)).startswith(page)
        work.desk.tick()
    told = await seen(work.dana, page)
    assert "2 complications are open: the plan's messages are paused" in told
    assert "09:00 · Fever. Since today" in told
    assert "· Double vision." in told
    today = await seen(work.dana, "/today")
    assert today.count("complication since today") == 2
    assert "All are resolved: go on" in told
    await work.dana.post(f"{page}/events", {"kind": "complication_resolved", "note": "", "back": page})
    told = await seen(work.dana, page)
    assert "The plan runs" in told
    assert "are open" not in told
    assert "complication since" not in (await seen(work.dana, "/today")).partition("Done today")[0]


@pytest.mark.parametrize("end", [K.COMPLETE, K.STOP])
async def test_a_complication_is_reported_also_when_the_plan_is_over(work: AtWork, end: K) -> None:
    _, page = treated(work)
    work.desk.event(id_of(page), end)
    work.desk.tick()
    assert "Report a complication" in await seen(work.rosa, page)
    data = {"kind": "complication", "note": "Fever.", "back": page}
    assert place(await work.rosa.post(f"{page}/events", data)).startswith(page)
    told = await seen(work.dana, page)
    assert "A complication is open Since today" in told
    assert "paused" not in told
    today = (await seen(work.dana, "/today")).partition("Done today")[0]
    assert "complication since today" in today
    assert "messages are paused" not in today
    await work.dana.post(f"{page}/events", {"kind": "complication_resolved", "note": "", "back": page})
    assert "A complication is open" not in await seen(work.dana, page)


async def test_only_the_next_review_and_those_whose_time_has_come_can_be_written_down(
    work: AtWork,
) -> None:
    _, page = treated(work)
    told = await seen(work.dana, page)
    assert told.count("Held: write it down") == 1
    assert "six-week · to book: due Monday 4 January 2027 Book" in told
    work.desk.tick(days=42)
    assert (await seen(work.dana, page)).count("Held: write it down") == 2


async def test_messages_that_are_there_once_for_each_review_say_for_which(work: AtWork) -> None:
    work.desk.write_protocol(SHORT + CHOOSING, "short")
    work.desk.approve_unseen()
    amina = work.desk.enter(AMINA)
    page = f"/treatments/{work.desk.treat(amina, '2026-11-23T08:30', 'short').treatment_id}"
    beatrix = str(work.desk.enter(BEATRIX))
    entry = {
        "entry_id": str(new_id()),
        "patient_id": beatrix,
        "protocol": "short",
        "date": "2026-11-23",
        "time": "08:30",
    }
    preview = words(await work.rosa.post("/treatments/new/plan", entry))
    for told in (await seen(work.rosa, page), await seen(work.rosa, f"/patients/{amina}"), preview):
        for review in ("two-week", "six-week"):
            assert f"“Please choose a time ({review} review)”" in told, review
    assert "review)" not in await seen(work.dana, "/protocols/short")  # the step itself is for all of them


async def test_the_lines_of_a_plan_stand_in_the_order_of_the_times_they_tell(work: AtWork) -> None:
    _, page = treated(work)
    row = max(work.desk.rows(id_of(page)), key=lambda row: row.due_at)
    data = {"ids": str(row.id), "decision": "cancel", "back": page}
    assert (await work.dana.post("/reminders/decide", data)).status_code == 303
    told = await seen(work.dana, page)
    assert told.rindex("· cancelled") < told.rindex("today 17:00 · “After your visit” · will be sent")


async def test_a_visit_s_time_that_looks_like_a_slip_is_asked_about_once(work: AtWork) -> None:
    _, page = treated(work)  # on Monday 23 November: the first review is due two weeks later
    for at, why in (
        ("2026-11-20T10:00", "it has passed already"),
        ("2026-12-06T10:00", "it is a Sunday"),
        ("2026-12-25T10:00", "it is a public holiday"),
        ("2026-12-07T03:00", "it is at night"),
        ("2027-12-06T10:00", "days after the review is due"),
    ):
        date, time = at.split("T")
        booking = {"review": "two-week", "date": date, "time": time, "place": "", "sure": "yes"}
        asked = await work.rosa.post(f"{page}/book", booking)  # a tick for another time is none
        assert asked.status_code == 422
        assert f"look once more: {why}" in words(asked) or why in words(asked), at
        assert f'name="asked" value="{at}"' in asked.text
        assert 'name="sure"' in asked.text
    again = await work.rosa.post(f"{page}/book", {**booking, "asked": at})
    assert place(again).endswith("done=visit-booked")
    near = {"review": "two-week", "date": "2026-12-09", "time": "10:00", "place": ""}
    assert place(await work.rosa.post(f"{page}/book", near)).endswith("done=visit-booked")


async def test_so_is_the_next_visit_in_the_form_of_a_review(work: AtWork) -> None:
    _, page = treated(work)
    done = {"date": "2026-11-23", "time": "09:00", "outcome": "progressing"}
    far = {**done, "next_date": "2028-01-04", "next_time": "10:00"}
    asked = await work.dana.post(f"{page}/reviews/two-week", far)
    assert (asked.status_code, 'name="asked" value="2028-01-04T10:00"' in asked.text) == (422, True)
    assert "days after the review is due" in words(asked)
    sure = await work.dana.post(f"{page}/reviews/two-week", {**far, "asked": "2028-01-04T10:00", "sure": "yes"})
    assert place(sure).startswith(page)
