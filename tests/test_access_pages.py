"""A patient's private page as the desk sees it: its code, its links, her hour and day; set here, never shown here."""

from uuid import UUID

import pytest

from db import page_links
from db.private_page import RaisedKind
from db.records import Patient
from db.states import CallSafe
from scheduler import preferences, private_page
from scheduler.errors import InvalidInput, NotFound
from scheduler.private_page import Code
from scheduler.treatment_entry import Entry
from tests.clinic import STAFF, Desk
from tests.her_page import opening
from tests.one_database import on_one
from tests.page_parts import AtWork, place, seen, words
from tests.people import AMINA
from tests.test_entry_pages import INES, NEW, form, problems
from tests.test_raised_lines import raised
from tests.worklist_parts import kinds

CODE = "blue lantern 7"


@pytest.fixture
def work(sqlite_desk: Desk) -> AtWork:
    """A clinic with a public address."""
    return AtWork(sqlite_desk.with_settings(PUBLIC_URL="https://p.example.org"))


def patient(desk: Desk, patient_id: UUID) -> Patient:
    """Her row."""
    with desk.store.read() as session:
        return session.get_one(Patient, patient_id)


async def test_the_desk_sets_a_code_that_nobody_reads_again(work: AtWork) -> None:
    desk = work.desk
    amina = desk.enter(AMINA)
    page, access = f"/patients/{amina}", f"/patients/{amina}/private-page"
    assert "no code is set: the page shows neutral words only" in await seen(work.rosa, page)
    assert place(await work.rosa.post(f"{page}/page-code", {"kind": "word", "code": CODE})) == (
        f"{page}?done=page-code-set"
    )
    hers = opening(desk, desk.treat(amina).treatment_id)
    assert private_page.try_code(desk.clinic, hers, "BLUE lantern 7")[0] is Code.RIGHT
    for path in (page, access, f"{page}/edit"):
        assert "lantern" not in (await work.rosa.get(path)).text
    assert "opened with a word, set today" in await seen(work.rosa, page)
    assert "lantern" not in str(desk.audit())


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"kind": "", "code": CODE}, "Opened with: choose"),
        ({"kind": "x", "code": CODE}, "Opened with: choose"),
        ({"kind": "word", "code": "ab"}, "Code: write at least 4"),
        ({"kind": "word", "code": "Farouk"}, "Code: is her name"),
        ({"kind": "birth_date"}, "The birth date opens no page where the contact note asks for care"),
    ],
)
async def test_what_is_no_good_code_is_told_and_not_shown_again(work: AtWork, typed: dict[str, str], told: str) -> None:
    amina = work.desk.enter(AMINA, call_safe=CallSafe.ASK.value)
    answer = await work.rosa.post(f"/patients/{amina}/page-code", typed)
    assert answer.status_code == 422
    assert told in words(answer)
    assert f'value="{typed.get("code") or "?"}"' not in answer.text
    assert work.desk.audit("page.code_set") == []


async def test_the_birth_date_opens_it_only_where_the_patient_chose_that(work: AtWork) -> None:
    desk = work.desk
    amina = desk.enter(AMINA, call_safe="yes", contact_note=None)
    await work.rosa.post(f"/patients/{amina}/page-code", {"kind": "birth_date"})
    assert "opened with the date of birth, set today" in await seen(work.rosa, f"/patients/{amina}")


async def test_a_locked_page_is_said_and_a_new_code_opens_it_and_ends_the_line(work: AtWork) -> None:
    desk = work.desk
    amina = desk.enter(AMINA)
    treatment_id = desk.treat(amina).treatment_id
    await work.rosa.post(f"/patients/{amina}/page-code", {"kind": "word", "code": CODE})
    with desk.store.write("patient", desk.clock.now()) as session:
        for _ in range(private_page.MOST_TRIES):
            page_links.count_try(session, amina, private_page.MOST_TRIES)
    raised(desk, treatment_id, RaisedKind.CODE_LOCKED)
    assert "locked after too many wrong codes: set a new one" in await seen(work.rosa, f"/patients/{amina}")
    assert "code_locked" in kinds(desk)
    await work.rosa.post(f"/patients/{amina}/page-code", {"kind": "word", "code": "green lantern"})
    assert "code_locked" not in kinds(desk)
    assert "opened with a word" in await seen(work.rosa, f"/patients/{amina}")


async def test_all_links_are_ended_from_the_desk(work: AtWork) -> None:
    desk = work.desk
    amina = desk.enter(AMINA)
    path = f"/patients/{amina}/private-page"
    assert place(await work.rosa.post(f"/patients/{amina}/links/revoke", {})) == f"{path}?done=links-revoked"
    assert "Last ended today 09:00." in await seen(work.rosa, path)
    assert patient(desk, amina).links_revoked_at == desk.clock.now()
    assert len(desk.audit("link.revoked")) == 1


async def test_hour_and_day_are_seen_and_changed(work: AtWork) -> None:
    desk = work.desk
    amina = desk.enter(AMINA)
    answer = await work.rosa.post(f"/patients/{amina}/preferences", {"at": "18:00", "weekday": "5"})
    assert place(answer) == f"/patients/{amina}?done=patient-changed"
    assert "Amina likes messages on Saturdays at 18:00." in await seen(work.rosa, f"/patients/{amina}")
    form_of = (await work.rosa.get(f"/patients/{amina}/private-page")).text
    assert '<option value="18:00" selected>' in form_of
    assert '<option value="5" selected>Saturday' in form_of
    wrong = await work.rosa.post(f"/patients/{amina}/preferences", {"at": "03:00", "weekday": "7"})
    assert problems(wrong.text) == ["Hour: choose a time from the list", "Day: choose a day from the list"]
    await work.rosa.post(f"/patients/{amina}/preferences", {})
    assert "likes messages" not in await seen(work.rosa, f"/patients/{amina}")


@on_one
def test_the_plan_follows_the_hour_that_the_desk_writes_down(desk: Desk) -> None:
    amina = desk.enter(AMINA)
    desk.treat(amina)
    preferences.prefer(desk.clinic, STAFF, amina, "11:00", "")
    assert patient(desk, amina).preferred_time == "11:00"
    assert [event["fields"] for event in desk.audit("patient.changed")] == [["preferred_time", "preferred_weekday"]]
    desk.nothing_left()
    with desk.unchanged(), pytest.raises(InvalidInput, match="at: "):
        preferences.prefer(desk.clinic, STAFF, amina, "11:30", "")
    with desk.unchanged(), pytest.raises(NotFound):
        preferences.prefer(desk.clinic, STAFF, UUID(int=1), "", "")


async def test_without_a_public_address_there_is_no_code_to_set(sqlite_desk: Desk) -> None:
    work = AtWork(sqlite_desk)
    amina = sqlite_desk.enter(AMINA)
    assert "messages carry no link" in await seen(work.rosa, f"/patients/{amina}")
    told = await seen(work.rosa, f"/patients/{amina}/private-page")
    assert "there is no private page" in told
    assert "likes to be written to" in told
    assert "page_code" not in (await work.rosa.post(NEW, form(**INES, look="new"))).text


async def test_a_new_patients_code_is_set_with_the_entry_or_nothing_is(work: AtWork) -> None:
    shown = (await work.rosa.post(NEW, form(new="yes", look="new"))).text
    assert 'name="page_code"' in shown
    wrong = await work.rosa.post(NEW, form(**INES, page_code="moreau"))
    assert wrong.status_code == 422
    assert problems(wrong.text)[0].startswith("Code for the private page: is her name")
    assert work.desk.audit("patient.added") == []
    await work.rosa.post(NEW, form(**INES, page_code=CODE))
    (added,) = work.desk.audit("patient.added")
    with work.desk.store.read() as session:
        assert page_links.find_code(session, added["patient_id"]) is not None
    assert CODE not in str(work.desk.audit())


def test_an_entry_has_no_code_unless_one_was_chosen() -> None:
    assert Entry.__dataclass_fields__["page_code"].default == ""
