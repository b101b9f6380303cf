"""The trail on the screen: its words, filters and pages, the state of the chain, the file, and who sees no name."""

import ast
import csv
import io
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from db import audit
from db.states import EventKind, Role
from db.trail import TrailFilter, list_actors, list_trail
from db.vault import KeyRing
from tests.clinic import STAFF, Desk
from tests.house.tree import parsed, sources
from tests.people import AMINA, BEATRIX
from tests.staffed import KEYS, Browser, Staffed
from tests.waiting import finished
from web.trail_words import GROUPS, WORDS, actions_of, words_of


@pytest.fixture
def keyring() -> KeyRing:
    """The keys that the secrets of the tests' staff are hashed with."""
    return KEYS


@pytest.fixture
def staffed(sqlite_desk: Desk) -> Staffed:
    """The pages of a clinic at work."""
    return Staffed(sqlite_desk.clinic)


@pytest.fixture
def otto(staffed: Staffed) -> Browser:
    """An auditor at work."""
    return staffed.at_work("otto", Role.AUDITOR)


def numbers(desk: Desk, wanted: TrailFilter, before: int | None = None, limit: int = 1_000) -> list[int]:
    """The events of a filter."""
    with desk.store.read() as session:
        return [event.number for event in list_trail(session, wanted, before, limit)]


# The words


def recorded_actions() -> set[str]:
    """Every action that the program records, by its text in the source; a part made of a value ends with a dot or _."""
    found: set[str] = set()
    for path in sources():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("audit.record", "note_view"):
                for part in ast.walk(node.args[1]) if len(node.args) > 1 else ():
                    if isinstance(part, ast.Constant) and isinstance(part.value, str) and "." in part.value:
                        found.add(part.value)
    return found


def test_every_action_of_the_program_has_words() -> None:
    actions = recorded_actions()
    assert len(actions) > 50
    prefixes = {action for action in actions if action.endswith((".", "_"))}
    assert {action for action in actions - prefixes if action not in WORDS} == set()
    assert {prefix for prefix in prefixes if not any(word.startswith(prefix) for word in WORDS)} == set()
    assert {f"event.{kind.value}" for kind in EventKind} <= set(WORDS)


def test_every_action_is_in_one_group_and_an_unknown_one_is_shown_as_it_is() -> None:
    grouped = [action for group in GROUPS for action in actions_of(group)]
    assert sorted(grouped) == sorted(WORDS)
    assert words_of("thing.turned_round") == "thing turned round"
    assert actions_of("none") == ()


# The queries


def test_events_are_found_by_who_what_whose_and_when(desk: Desk) -> None:
    amina = desk.enter(AMINA)
    start = desk.clock.now()
    desk.tick(days=1)
    beatrix = desk.enter(BEATRIX)
    desk.tick(days=1)
    desk.treat(beatrix, "2026-11-25T08:30")
    with desk.store.read() as session:
        all_events = list_trail(session, TrailFilter(), None, 1_000)
        assert list_actors(session) == sorted({event.actor for event in all_events})
    assert [event.number for event in all_events] == sorted((e.number for e in all_events), reverse=True)

    def expected(**wanted: object) -> list[int]:
        return [
            event.number for event in all_events if all(getattr(event, name) == value for name, value in wanted.items())
        ]

    assert numbers(desk, TrailFilter(patient_id=amina)) == expected(patient_id=amina) != []
    assert numbers(desk, TrailFilter(actor=STAFF)) == expected(actor=STAFF)
    assert numbers(desk, TrailFilter(actor="nobody")) == []
    added = ("patient.added", "treatment.added")
    entered = [event.number for event in all_events if event.action in added]
    assert numbers(desk, TrailFilter(actions=added)) == entered
    assert numbers(desk, TrailFilter(actor=STAFF, actions=added)) == entered
    assert numbers(desk, TrailFilter(patient_id=beatrix, actions=("patient.added",))) == expected(
        patient_id=beatrix, action="patient.added"
    )
    middle = TrailFilter(since=start, until=start + timedelta(days=2))
    assert numbers(desk, middle) == [e.number for e in all_events if start <= e.at < start + timedelta(days=2)]
    assert numbers(desk, TrailFilter(actions=added, since=start, until=start + timedelta(days=2))) == [
        event.number for event in all_events if event.action == "patient.added" and event.patient_id == beatrix
    ]
    assert numbers(desk, TrailFilter(until=datetime(2020, 1, 1, tzinfo=start.tzinfo))) == []


def test_a_clock_that_was_set_back_hides_no_event(desk: Desk) -> None:
    desk.enter(AMINA)
    late = desk.clock.now()
    desk.clock.jump(timedelta(days=-40))
    early = desk.clock.now()
    desk.enter(BEATRIX)
    desk.clock.jump(timedelta(days=40))
    on_that_day = TrailFilter(since=early - timedelta(minutes=1), until=early + timedelta(minutes=1))
    with desk.store.read() as session:
        told = [event.action for event in list_trail(session, on_that_day, None, 100)]
    assert told.count("patient.added") == 1
    assert len(numbers(desk, TrailFilter(since=late - timedelta(minutes=5)))) > 0


def test_pages_follow_each_other_without_a_gap(desk: Desk) -> None:
    desk.enter(AMINA)
    desk.enter(BEATRIX)
    everything = numbers(desk, TrailFilter())
    paged: list[int] = []
    while part := numbers(desk, TrailFilter(), paged[-1] if paged else None, 3):
        paged += part
    assert paged == everything
    looks = TrailFilter(actions=("patient.added", "consent.recorded"))
    (newest,) = numbers(desk, looks, limit=1)
    assert [newest, *numbers(desk, looks, newest)] == numbers(desk, looks)


# The pages


async def test_an_auditor_sees_who_did_what_and_no_name_of_a_patient(sqlite_desk: Desk, otto: Browser) -> None:
    amina = sqlite_desk.enter(AMINA)
    sqlite_desk.treat(amina)
    shown = (await otto.get("/audit")).text
    assert "<strong>nurse</strong> entered a treatment" in shown
    assert str(amina) in shown
    assert f'href="/patients/{amina}"' not in shown
    for secret in ("Amina", "Farouk", "amina@example.org", "A-1001"):
        assert secret not in shown
    with sqlite_desk.store.read() as session:
        event = audit.list_events(session)[0]
    assert (event.action, event.actor) == ("trail.viewed", "staff:otto")


async def test_a_manager_is_led_to_the_patient(sqlite_desk: Desk, staffed: Staffed) -> None:
    amina = sqlite_desk.enter(AMINA)
    dana = staffed.at_work("dana", Role.MANAGER)
    assert f'href="/patients/{amina}"' in (await dana.get("/audit")).text


async def test_filters_are_in_the_address_and_wrong_ones_are_told(sqlite_desk: Desk, otto: Browser) -> None:
    amina, beatrix = sqlite_desk.enter(AMINA), sqlite_desk.enter(BEATRIX)
    shown = (await otto.get(f"/audit?patient={amina}&group=record&since=2026-11-23&until=2026-11-23")).text
    assert str(amina) in shown
    assert str(beatrix) not in shown
    assert 'value="record" selected' in shown
    assert "No event of this kind." in (await otto.get("/audit?who=staff:nobody-like-that")).text
    assert "No event of this kind." in (await otto.get("/audit?until=2020-01-01")).text
    wrong = await otto.get("/audit?patient=Amina&since=23.11.2026&until=9999-12-31")
    assert wrong.status_code == 422
    assert "Patient’s id: ids look like" in wrong.text
    assert "From: write a day" in wrong.text
    assert (await otto.get("/audit?until=9999-12-31")).status_code == 422


async def test_a_zero_byte_that_postgresql_takes_nowhere_breaks_no_page(postgres_desk: Desk) -> None:
    browser = Staffed(postgres_desk.clinic).at_work("everybody", *Role)
    asked = await browser.get("/audit?who=%00")
    saved = await browser.post("/audit/export", {"who": "a\0"})
    assert (asked.status_code, saved.status_code) == (422, 409)
    assert "is nobody’s name" in asked.text
    assert "is nobody’s name" in saved.text
    assert (await browser.post("/protocols/a%00/edit", {"source": "key"})).status_code == 404


async def test_a_hundred_events_are_a_page(sqlite_desk: Desk, otto: Browser) -> None:
    for _ in range(101):
        with sqlite_desk.store.write(STAFF, sqlite_desk.clock.now()) as session:
            audit.record(session, "list.viewed", "today")
    first = (await otto.get("/audit?group=looks")).text
    assert first.count("looked at a list") == 100
    assert "The next hundred" in first
    last = int(first.rpartition('data-label="No.">')[2].partition("<")[0])
    second = (await otto.get(f"/audit?group=looks&before={last}")).text
    assert second.count("looked at a list") == 1
    assert "The newest" in second


async def test_the_state_of_the_chain_stands_on_the_page(sqlite_desk: Desk, otto: Browser) -> None:
    sqlite_desk.enter(AMINA)
    assert "Not verified since the service started" in (await otto.get("/audit")).text
    assert await finished(otto, await otto.post("/audit/verify")) == "/audit"
    assert "<strong>Whole</strong> as of today 09:00" in (await otto.get("/audit")).text
    with sqlite_desk.store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("UPDATE audit_events SET actor = 'somebody' WHERE number = 2"))
    await finished(otto, await otto.post("/audit/verify"))
    shown = (await otto.get("/audit")).text
    assert "<strong>Broken</strong>" in shown
    assert "event 2 was changed after it was written" in shown


async def test_the_trail_is_saved_as_a_file_in_pieces(
    sqlite_desk: Desk, otto: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.trail_pages.EXPORTED_AT_ONCE", 7)
    amina = sqlite_desk.enter(AMINA)
    with sqlite_desk.store.write("=cmd|' /C calc'!A0", sqlite_desk.clock.now()) as session:
        audit.record(session, "list.viewed", "today")
    answer = await otto.post("/audit/export")
    assert answer.headers["content-disposition"] == 'attachment; filename="audit-trail-2026-11-23.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    with sqlite_desk.store.read() as session:
        events = audit.list_events(session)
    assert [int(row["number"]) for row in rows] == [event.number for event in events]
    assert rows[0]["action"] == "trail.exported"
    assert "'=cmd|' /C calc'!A0" in {row["actor"] for row in rows}
    assert {row["at"][-1] for row in rows} == {"Z"}
    hers = await otto.post("/audit/export", {"patient": str(amina), "group": "record"})
    some = list(csv.DictReader(io.StringIO(hers.content.decode("utf-8-sig"), newline="")))
    assert {UUID(row["patient_id"]) for row in some} == {amina}
    assert (await otto.post("/audit/export", {"patient": "Amina"})).status_code == 409


def test_a_verification_tells_how_far_it_is(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.audit.TELL_EVERY", 2)
    sqlite_desk.enter(AMINA)
    seen: list[tuple[int, int]] = []
    with sqlite_desk.store.read() as session:
        count, findings = audit.verify(session, progress=lambda done, total: seen.append((done, total)))
    assert (findings, seen[0][0], {total for _, total in seen}) == ([], 2, {count})
