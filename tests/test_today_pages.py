"""Today on the screen: its lines with what can be done about each, and every form that decides something."""

import re
from pathlib import Path
from uuid import UUID

import pytest

from db import audit
from db.states import AttemptOutcome, DecisionKind, EventKind, Role, SetupStep, StopReason
from scheduler import first_days, treatments
from scheduler.recovery import sweep
from scheduler.settings import load_settings
from scheduler.worklist import LineKind
from tests.clinic import STAFF, Desk
from tests.page_parts import AtWork, lines, place, seen, words
from tests.people import AMINA, BEATRIX, CARMEN, FENG, GRETA
from web.today_pages import MANY

K, D = EventKind, DecisionKind
RINGS = {"phone": "+44 20 7946 0101", "call_safe": "yes"}


@pytest.fixture
def work(sqlite_desk: Desk) -> AtWork:
    return AtWork(sqlite_desk)


def treated(work: AtWork, **more: str) -> tuple[UUID, UUID]:
    """Amina and her treatment of 23 November, 09:30."""
    patient_id = work.desk.enter(AMINA, **{**RINGS, **more})
    return patient_id, work.desk.treat(patient_id).treatment_id


async def test_a_quiet_day_says_so_and_what_leaves_next(work: AtWork) -> None:
    treated(work)
    page = await seen(work.rosa, "/today")
    assert "Nothing needs you." in page
    assert "Leaves in the next 24 hours 1 today 17:00 Amina Farouk “After your visit”" in page
    assert "Done today" not in page


async def test_a_record_that_is_not_whole_turns_every_page_red(work: AtWork) -> None:
    treated(work)
    with work.desk.store.write("service", work.desk.clock.now()) as session:
        audit.record(session, "integrity.failed", "record", fields=["trail_broken"])
    for page in ("/today", "/reminders"):
        assert "The record is not whole" in (await work.rosa.get(page)).text
    with work.desk.store.write("service", work.desk.clock.now()) as session:
        audit.record(session, "integrity.passed", "record")
    assert "The record is not whole" not in (await work.rosa.get("/today")).text


async def test_each_line_says_what_happened_and_what_can_be_done(work: AtWork) -> None:
    desk = work.desk
    _, amina = treated(work)
    desk.event(amina, K.CALL_REQUESTED)
    desk.event(amina, K.COMPLICATION, fields={"note": "canary"})
    desk.event(amina, K.PARTNER_WANTED)
    desk.treat(desk.enter(CARMEN, confirmed=None))
    greta = desk.treat(desk.enter(GRETA, call_safe="no")).treatment_id
    desk.event(greta, K.REVIEW_BOOKED, "2026-11-23T09:01")
    desk.tick(minutes=5)
    html = (await work.rosa.get("/today")).text
    found = lines(html)
    assert [line.split("  ")[0].partition(" +44")[0] for line in found[:5]] == [
        "▲ Amina Farouk asked for a call, today 09:00; what belongs to the exercises waits",
        "▲ Amina Farouk complication since today 09:00: the plan's messages are paused",
        "■ Greta Holm two-week review today 09:01: did Greta come? (who came is written down by the clinician) "
        "Did not come Moved",
        "■ Amina Farouk wants the next part since today 09:00; it waits for a clinician's release Look",
        "■ Carmencita (Carmen) Ibarra-Soto the address carmen@example.org is not confirmed; "
        "the first message is due today 17:00 do not ring: ask a clinician Read back, it is right Change the address",
    ]
    assert "+44 20 7946 0101" in found[0]
    assert "I rang Amina" in found[0]
    assert "canary" not in html
    dana = await seen(work.dana, "/today")
    assert "did Greta come? Came Did not come Moved" in dana
    assert "it waits for a clinician's release Decide" in dana


async def test_messages_that_did_not_arrive_are_told_with_their_remedies(work: AtWork) -> None:
    desk = work.desk
    treated(work)
    desk.tick(hours=9)
    desk.send_due(AttemptOutcome.REFUSED, blames_address=True)
    desk.treat(desk.enter(BEATRIX), at="2026-11-23T17:30")
    desk.tick(minutes=15)
    for _ in range(2):
        desk.send_due(AttemptOutcome.UNKNOWN)
        desk.tick(minutes=10)
    page = await seen(work.rosa, "/today")
    assert "“After your visit” may or may not have arrived: the mail server's answer was lost" in page
    assert "It arrived Send it again I rang Beatrix" in page
    assert "the address refused mail, today 18:00: “After your visit” did not arrive" in page
    assert "the address refused mail; messages wait, the first was due Monday 21 December 10:00" in page
    desk.tick(days=40)
    sweep(desk.clinic)
    page = await seen(work.rosa, "/today")
    assert "was not sent" in page
    assert "Ring her · due Monday 14 December 2026 09:00" in page  # the year, now that it is another


async def test_a_decision_is_done_said_and_can_be_taken_back(work: AtWork) -> None:
    treated(work)
    row = work.desk.row("after-visit")
    path = f"/reminders/{row.id}/decide"
    answer = await work.rosa.post(path, {"decision": "cancel", "note": " \n", "back": "/today"})
    assert place(answer) == "/today?done=decided-cancel"
    page = await seen(work.rosa, "/today?done=decided-cancel")
    assert "Cancelled. It can be undone under “Done today”." in page
    assert "Amina Farouk “After your visit”: cancelled · Rosa Undo" in page
    assert place(await work.rosa.post(path, {"decision": "reopen"})) == "/today?done=decided-reopen"
    assert work.desk.stands("after-visit") == "scheduled"
    assert "cancelled · Rosa" not in await seen(work.rosa, "/today")
    again = await work.rosa.post(path, {"decision": "cancel"})
    assert (again.status_code, "it is cancelled: cancel is not possible" in words(again).lower()) == (409, True)


async def test_what_comes_of_a_decision_is_what_the_page_says(work: AtWork) -> None:
    patient_id, _ = treated(work, confirmed="no")
    row = work.desk.row("next-session")
    said = place(await work.rosa.post(f"/reminders/{row.id}/decide", {"decision": "send_now", "sure": "yes"}))
    assert said == "/today?done=still-address-unconfirmed"
    work.desk.stop(patient_id, StopReason.UNSAFE)
    for browser, told in ((work.rosa, "still-other"), (work.dana, "still-unsafe")):
        row = work.desk.row("after-visit")
        answer = await browser.post(f"/reminders/{row.id}/decide", {"decision": "send_again"})
        assert place(answer) == f"/today?done={told}"
        work.desk.tick()


async def test_the_same_line_finished_twice_is_told_and_done_once(work: AtWork) -> None:
    _, treatment_id = treated(work)
    work.desk.event(treatment_id, K.CALL_REQUESTED)
    work.desk.tick(days=21)
    sweep(work.desk.clinic)
    row = work.desk.row("no-review-yet")
    first = await work.rosa.post(f"/reminders/{row.id}/decide", {"decision": "done", "note": "She comes."})
    second = await work.dana.post(f"/reminders/{row.id}/decide", {"decision": "done", "note": "Me too."})
    assert (place(first), second.status_code) == ("/today?done=decided-done", 409)
    assert len(work.desk.audit("reminder.done")) == 1


async def test_a_form_never_leads_elsewhere(work: AtWork) -> None:
    _, treatment_id = treated(work)
    row = work.desk.row("after-visit")
    for back in ("//evil.example.org", "https://evil.example.org", "/\\evil.example.org", "evil", "", "/a b", "/a\nb"):
        for path, data in (
            (f"/reminders/{row.id}/decide", {"decision": "hold"}),
            ("/reminders/decide", {"decision": "resume", "ids": str(row.id)}),
            (f"/treatments/{treatment_id}/events", {"kind": "call_requested"}),
        ):
            assert place(await work.rosa.post(path, {**data, "back": back})).startswith("/today?done="), back
            work.desk.tick()
        refused = await work.rosa.post(f"/reminders/{row.id}/decide", {"decision": "reopen", "back": back})
        assert refused.status_code == 409
        assert re.findall(r'class="button primary" href="([^"]*)"', refused.text) == ["/today"], back


async def test_many_are_decided_each_for_itself_and_what_was_refused_is_told(work: AtWork) -> None:
    _, first = treated(work)
    second = work.desk.treat(work.desk.enter(BEATRIX)).treatment_id
    rows = [row for treatment_id in (first, second) for row in work.desk.rows(treatment_id)]
    ids = [str(row.id) for row in rows]
    answer = await work.rosa.post("/reminders/decide", {"ids": ids, "decision": "hold", "back": "/reminders?show=held"})
    assert place(answer) == "/reminders?show=held&done=decided-hold"
    work.desk.tick()
    work.desk.decide(rows[0], D.CANCEL)
    mixed = await work.rosa.post("/reminders/decide", {"ids": [*ids, "none"], "decision": "resume", "back": "/today"})
    assert mixed.status_code == 200
    told = words(mixed)
    assert "5 · Given back." in told
    assert "1 · it is cancelled: resume is not possible" in told
    assert "1 · this form is not whole: load the page again" in told
    for data in ({"decision": "hold"}, {"ids": ids[:1], "decision": "explode"}):
        assert (await work.rosa.post("/reminders/decide", data)).status_code == 409


async def test_the_desk_records_what_it_may_and_nothing_without_its_own_form(work: AtWork) -> None:
    _, treatment_id = treated(work)
    path = f"/treatments/{treatment_id}/events"
    for kind in ("call_requested", "complication", "partner_wanted", "partner_not_wanted", "hold", "resume"):
        assert place(await work.rosa.post(path, {"kind": kind, "note": "said"})).endswith(kind.replace("_", "-"))
        work.desk.tick()
    for kind in ("solo_started", "partner_released", "partner_revoked", "healing_cleared", "complication_resolved"):
        assert (await work.rosa.post(path, {"kind": kind})).status_code == 403, kind
    for kind in ("partner_released", "review_completed", "nonsense", ""):
        assert (await work.dana.post(path, {"kind": kind})).status_code == 409, kind
    assert work.desk.audit("event.partner_released") == work.desk.audit("event.review_completed") == []


async def test_what_was_recorded_is_undone_by_who_may(work: AtWork) -> None:
    _, treatment_id = treated(work)
    path = f"/treatments/{treatment_id}/events"
    await work.dana.post(path, {"kind": "complication", "note": "fever"})
    await work.dana.post(path, {"kind": "solo_started"})
    complication, started = (event["subject_id"] for event in work.desk.audit() if "event." in event["action"])
    page = await seen(work.rosa, "/today")
    assert "A complication was reported · Dana" in page
    assert "Undo" not in page.partition("Done today")[2]
    for event_id in (complication, started):
        assert (await work.rosa.post(f"/events/{event_id}/undo")).status_code == 403
    assert "The clinician started the part done alone · Dana Undo" in await seen(work.dana, "/today")
    assert place(await work.dana.post(f"/events/{started}/undo", {"back": "/today"})) == "/today?done=undone"
    assert (await work.dana.post(f"/events/{started}/undo")).status_code == 409
    await work.rosa.post(path, {"kind": "hold"})
    hold = work.desk.audit("event.hold")[0]["subject_id"]
    assert place(await work.rosa.post(f"/events/{hold}/undo")) == "/today?done=undone"


async def test_an_address_is_confirmed_only_as_it_was_shown(work: AtWork) -> None:
    patient_id, _ = treated(work, confirmed="no")
    html = (await work.rosa.get("/today")).text
    assert "amina@example.org" in html
    version = re.findall(r'name="version" value="(\d+)"', html)[0]
    work.desk.change(patient_id, email="wrong@example.org")
    path = f"/patients/{patient_id}/confirm-address"
    stale = await work.rosa.post(path, {"version": version})
    assert (stale.status_code, "changed meanwhile" in words(stale)) == (409, True)
    assert work.desk.stands("after-visit") == "held:address_unconfirmed"
    assert place(await work.rosa.post(path, {"version": "2"})) == "/today?done=address-confirmed"
    assert work.desk.stands("after-visit") == "scheduled"


async def test_a_question_is_answered_once(work: AtWork) -> None:
    _, treatment_id = treated(work)
    work.desk.tick(hours=9)
    work.desk.send_due()
    treatments.move(work.desk.clinic, STAFF, treatment_id, "2026-11-24T10:00")
    work.desk.tick()
    html = (await work.rosa.get("/today")).text
    assert "“After your visit” went out for today; the date is tomorrow now. Send it again?" in words_of(html)
    (question,) = set(re.findall(r"/questions/([0-9a-f-]+)/answer", html))
    path = f"/questions/{question}/answer"
    assert (await work.rosa.post(path, {"decision": "cancel"})).status_code == 409
    assert place(await work.rosa.post(path, {"decision": "keep"})) == "/today?done=decided-keep"
    assert (await work.rosa.post(path, {"decision": "keep"})).status_code == 404


def words_of(html: str) -> str:
    """The words of a page's text."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split()).replace("&#39;", "'")


async def test_the_lists_are_sent_again_only_when_something_has_changed(work: AtWork) -> None:
    _, treatment_id = treated(work)
    stamp = re.findall(r"lists\?have=([0-9a-f]+)", (await work.rosa.get("/today")).text)[0]
    before = len(work.trail())
    for _ in range(2):
        assert (await work.rosa.get(f"/today/lists?have={stamp}")).status_code == 204
    assert len(work.trail()) == before  # nobody saw anything anew
    work.desk.event(treatment_id, K.CALL_REQUESTED)
    changed = await work.rosa.get(f"/today/lists?have={stamp}")
    assert (changed.status_code, "asked for a call" in changed.text) == (200, True)
    assert work.trail()[-1] == ("list.viewed", None, None, [])
    assert (await work.rosa.get("/today/lists")).status_code == 200


async def test_of_a_kind_with_more_lines_than_fit_all_are_a_link_away(
    work: AtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.worklist.EACH", 1)
    for person in (CARMEN, FENG):
        work.desk.treat(work.desk.enter(person, confirmed=None))
    _, treatment_id = treated(work)
    work.desk.event(treatment_id, K.CALL_REQUESTED)
    html = (await work.rosa.get("/today")).text
    assert "Needs you 2+" in words_of(html)
    assert "There are more than these 1 addresses to confirm. Look at all" in words_of(html)
    (path,) = re.findall(r'href="(/today\?show=[^"]*)"', html)
    whole = (await work.rosa.get(path)).text
    assert [name in words_of(whole) for name in ("Carmen", "Feng", "Amina")] == [True, True, False]
    assert "Needs you: addresses to confirm 2 All that needs you today" in words_of(whole)
    (again,) = re.findall(r'hx-get="(/today/lists[^"]*)"', whole)
    assert again.endswith("&amp;show=address_unconfirmed")
    assert (await work.rosa.get(again.replace("&amp;", "&"))).status_code == 204
    back = re.findall(r'name="back" value="([^"]*)"', whole)
    assert path in back
    assert (await work.rosa.get("/today?show=nothing")).status_code == 200


def test_every_kind_of_line_has_a_name_for_many() -> None:
    assert set(MANY) == set(LineKind)


async def test_the_counts_of_the_held_lead_to_them(work: AtWork) -> None:
    _, treatment_id = treated(work)
    work.desk.event(treatment_id, K.HOLD)
    html = (await work.rosa.get("/today")).text
    assert "3 messages are held: Staff put it on hold." in words_of(html)
    (path,) = re.findall(r'href="(/reminders\?show=held[^"]*)"', html)
    assert path == "/reminders?show=held&amp;reason=hold"
    work.desk.treat(work.desk.enter(FENG, confirmed=None))
    board = await seen(work.rosa, path.replace("&amp;", "&"))
    assert "Amina Farouk" in board
    assert "Feng Zhao" not in board


async def test_the_card_of_the_first_days_goes_line_by_line(work: AtWork) -> None:
    boss = work.come("max", Role.MANAGER)
    page = await seen(boss, "/today")
    assert "Before the first real message" in page
    assert "Before the first real message" not in await seen(work.rosa, "/today")
    for step in (SetupStep.TEST_MAIL_READ, SetupStep.KEYS_KEPT, SetupStep.BACKUP_KEPT):
        assert place(await boss.post(f"/setup/{step.value}")) == "/today?done=noted"
    assert (await boss.post("/setup/nonsense")).status_code == 409
    page = await seen(boss, "/today")
    assert "Send yourself a test mail" not in page
    assert "Set a mail server" in page
    assert "Say where alarms go" in page
    assert [event["action"] for event in work.desk.audit() if event["action"].startswith("setup.")] == [
        "setup.test_mail_read",
        "setup.keys_kept",
        "setup.backup_kept",
    ]


async def test_the_recovery_key_and_the_backup_tick_themselves_when_they_were_made(work: AtWork) -> None:
    boss = work.come("max", Role.MANAGER)
    page = await seen(boss, "/today")
    assert 'smtp_host = "mail.example.org"' in page
    newest = work.desk.store.vault.ring.wrapping[-1].id
    for action, subject, words_ in (
        ("keys.exported", "an-older-key", None),
        ("keys.exported", newest, "Make the recovery key"),
        ("backup.made", None, "Make a backup"),
    ):
        assert words_ is None or words_ in await seen(boss, "/today")
        with work.desk.store.write(STAFF, work.desk.clock.now()) as session:
            audit.record(session, action, "keys", subject)
        assert words_ is None or words_ not in await seen(boss, "/today")


async def test_all_sending_is_stopped_with_a_reason_and_released(work: AtWork) -> None:
    treated(work)
    assert (await work.rosa.post("/sending/stop", {"reason": "Fire."})).status_code == 403
    assert (await work.dana.post("/sending/stop", {"reason": " "})).status_code == 422
    assert place(await work.dana.post("/sending/stop", {"reason": "Wrong text."})) == "/today?done=stopped"
    assert "Reason: Wrong text." in await seen(work.dana, "/sending")
    assert "Sending is stopped: none of these leaves until it is released." in await seen(work.dana, "/today")
    loud = (
        "Sending is stopped: nothing leaves to anybody until it is released. Stopped by Dana, today 09:00: Wrong text."
    )
    for path in ("/today", "/patients", "/account"):
        assert f"▲ {loud} Look, and release sending" in await seen(work.dana, path), path
    desk_page = await seen(work.rosa, "/patients")
    assert loud in desk_page
    assert "release sending" not in desk_page  # it is not hers to do
    assert place(await work.dana.post("/sending/release")) == "/today?done=released"
    assert "Stop all sending" in await seen(work.dana, "/sending")
    assert "Sending is stopped" not in await seen(work.dana, "/today")


def test_the_lines_of_the_card_are_a_whole_file_of_settings(work: AtWork, tmp_path: Path) -> None:
    with work.desk.store.read() as session:
        steps = first_days.list_open_steps(session, work.desk.clinic)
    file = tmp_path / "aftercare.toml"
    file.write_text("\n".join(line for step in steps for line in step.example))
    settings = load_settings({"AFTERCARE_CONFIG": str(file), "AFTERCARE_DATA_DIR": str(tmp_path)})
    assert (settings.smtp_host, settings.to_be_set) == ("mail.example.org", ())


async def test_a_message_due_much_later_leaves_now_only_after_a_second_look(work: AtWork) -> None:
    _, treatment_id = treated(work)
    work.desk.event(treatment_id, EventKind.REVIEW_BOOKED, "2026-12-30T14:00")
    row = work.desk.row("visit-in-3-days")
    path, asked = f"/reminders/{row.id}/decide", {"decision": "send_now", "note": "She asked.", "back": "/reminders"}
    early = await work.rosa.post(path, asked)
    assert early.status_code == 409
    assert "it is due on Sunday 27 December, in 34 days" in words(early)
    assert work.desk.row("visit-in-3-days").ready_at == row.ready_at
    many = await work.rosa.post("/reminders/decide", {**asked, "ids": [str(row.id)]})
    assert "it is due on Sunday 27 December, in 34 days: to send it now, choose it by itself" in words(many)
    sent = await work.rosa.post(path, {**asked, "sure": "yes"})
    assert place(sent).startswith("/reminders?done=")
    assert work.desk.row("visit-in-3-days").ready_at < row.ready_at
