"""No page of the desk asks the database more than thirty questions, nor more of them as a clinic and a story grow."""

import re
from collections.abc import Iterator

import pytest

from db.states import DecisionKind, EventKind
from db.types import new_id
from scheduler import contacts
from scheduler.accounts.rights import Right
from tests.clinic import STAFF, Desk
from tests.counted import MOST, counting
from tests.page_parts import AtWork
from tests.people import CAST, DANUTA
from web.app import ROUTES

# Pages of others: what they ask has its own tests.
ELSEWHERE = (
    "/protocols",
    "/texts",
    "/import",
    "/lots",
    "/figures",
    "/audit",
    "/staff",
    "/settings",
    "/help",
    "/outbox",
    "/progress",
)


def fill(desk: Desk, treatments: int) -> None:
    """Three of the cast with so many treatments each, and something of everything about each of them."""
    for person in CAST[:3]:
        patient_id = desk.enter(person, record_number=f"{person.record_number}-{treatments}", confirmed=None)
        for number in range(treatments):
            at = f"2026-11-{23 - number:02}T08:30"
            treatment_id = desk.treat(patient_id, at, replaces=False, past="send").treatment_id
            desk.event(treatment_id, EventKind.REVIEW_BOOKED, "2026-11-23T08:45")
            desk.event(treatment_id, EventKind.CALL_REQUESTED)
            desk.event(treatment_id, EventKind.COMPLICATION)
            desk.decide(desk.row("no-review-yet", treatment_id=treatment_id), DecisionKind.DONE, "Not needed.")
        contacts.add_note(desk.clinic, STAFF, patient_id, "A note.")
        desk.change(patient_id, confirmed="yes")


def pages(work: AtWork) -> Iterator[tuple[str, str, dict[str, str] | None]]:
    """Every page and part of a page of the desk: its name, its address, and the form it takes."""
    newest = max(work.desk.rows(), key=lambda row: row.id)
    treatment_id = work.desk.audit("treatment.added")[-1]["subject_id"]
    sent = next(row for row in work.desk.rows() if row.attempts)
    samples = {
        "patient_id": newest.patient_id,
        "treatment_id": treatment_id,
        "reminder_id": sent.id,
        "review": "two-week",
    }
    for route in ROUTES:
        if route.method != "GET" or route.permission not in (Right.DESK, Right.RECORD):
            continue
        if route.path.startswith(ELSEWHERE):
            continue
        path = re.sub(r"\{(\w+)\}", lambda found: str(samples.get(found[1], 1)), route.path)
        yield route.path, path, None
    entry = {"entry_id": str(new_id()), "protocol": "course", "date": "2026-11-23", "time": "08:50"}
    known = {**entry, "patient_id": str(newest.patient_id)}
    yield "/treatments/new with a patient", f"/treatments/new?patient={newest.patient_id}", None
    yield "POST /treatments/new/plan", "/treatments/new/plan", known
    yield "POST /treatments/new/fields", "/treatments/new/fields", known
    yield "POST /treatments/new/who", "/treatments/new/who", {"pick": str(newest.patient_id), **entry}
    yield "POST /treatments/new/people", "/treatments/new/people", {"find": "am"}
    yield "POST /treatments/new/alike", "/treatments/new/alike", {"given_name": "Amina", "family_name": "Farouk"}
    yield "POST /treatments/new wrong", "/treatments/new", {**known, "date": "x"}
    yield "POST /patients", "/patients", {"q": "a"}
    yield "POST /reminders", "/reminders", {"q": "am"}
    move = {"date": "2026-11-22", "time": "08:00", "reason": "A slip."}
    yield "POST /treatments/{treatment_id}/move", f"/treatments/{treatment_id}/move", move


async def count(work: AtWork) -> dict[str, int]:
    """The queries of each page, once what is kept in memory is there."""
    found = {}
    for name, path, data in pages(work):
        for _ in range(2):
            with counting(work.desk.store) as sent:
                answer = await (work.dana.get(path) if data is None else work.dana.post(path, data))
        assert answer.status_code in (200, 204, 303, 422), (name, answer.status_code)
        found[name] = len(sent)
    return found


async def test_no_page_asks_more_than_thirty_questions_however_much_there_is(
    sqlite_desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    sqlite_desk.treat(sqlite_desk.enter(DANUTA), "2026-11-22T18:30", past="send")
    sqlite_desk.tick(minutes=15)
    assert len(sqlite_desk.send_due()) == 1
    fill(sqlite_desk, 1)
    work = AtWork(sqlite_desk)
    few = await count(work)
    fill(sqlite_desk, 4)
    many = await count(work)
    for name, queries in sorted(many.items(), key=lambda page: -page[1]):
        print(f"{queries:3} ({few[name]:2}) {name}")  # noqa: T201 (pytest shows it when asked to)
    assert {name: queries for name, queries in many.items() if queries > MOST} == {}
    assert {name: (few[name], queries) for name, queries in many.items() if queries > few[name] + 3} == {}
