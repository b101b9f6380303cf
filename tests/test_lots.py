"""Lots: from a number to the patients treated with it, on the screen, in a file and on the command line."""

import csv
import io
from pathlib import Path

import pytest

from db import audit
from db.states import EventKind, Role
from db.vault import KeyRing
from scheduler import lots, signing, treatments
from scheduler.clock import FastClock
from scheduler.csv_cells import csv_bytes, safe_cell
from scheduler.errors import InvalidInput
from scheduler.lots import LotReport
from tests.clinic import STAFF, Desk
from tests.counted import counting
from tests.people import AMINA, BEATRIX, CARMEN, GRETA
from tests.process import environment
from tests.staffed import KEYS, Staffed
from tests.terminal import Terminal


@pytest.fixture
def keyring() -> KeyRing:
    """The keys that the secrets of the tests' staff are hashed with."""
    return KEYS


def found(desk: Desk, lot: str) -> LotReport:
    """What a search finds."""
    with desk.store.read() as session:
        return lots.search(session, desk.clinic, lot)


def rows(desk: Desk, lot: str) -> list[tuple[str, str]]:
    """Given names and standings of a search."""
    with desk.store.read() as session:
        told = lots.rows_of(lots.search(session, desk.clinic, lot))
    return [(str(row["given_name"]), str(row["standing"])) for row in told]


def test_a_lot_leads_to_everybody_who_was_treated_with_it_the_last_first(desk: Desk) -> None:
    amina, beatrix, carmen = (desk.enter(person) for person in (AMINA, BEATRIX, CARMEN))
    desk.treat(amina, "2026-11-20T09:30", fields={"lot": "C-4711"})
    desk.treat(beatrix, "2026-11-23T09:30", fields={"lot": "c 4711"})
    desk.treat(carmen, "2026-11-22T09:30", fields={"lot": "C4712"})
    assert rows(desk, " C4711 ") == [("Beatrix", "holds"), ("Amina", "holds")]
    assert found(desk, "c.4711").patients == 2
    assert found(desk, "C471").lines == []
    with pytest.raises(InvalidInput):
        found(desk, "  ")


def test_signs_alone_are_a_lot_too(desk: Desk) -> None:
    desk.treat(desk.enter(), fields={"lot": "--"})
    assert rows(desk, "--") == [("Amina", "holds")]
    assert rows(desk, "-+") == []


def test_who_was_entered_with_it_once_is_found_and_marked(desk: Desk) -> None:
    amina, beatrix, carmen, greta = (desk.enter(person) for person in (AMINA, BEATRIX, CARMEN, GRETA))
    started = [desk.treat(each, fields={"lot": "C4711"}).treatment_id for each in (amina, beatrix, carmen, greta)]
    signing.fill_in(desk.clinic, STAFF, started[0], {"lot": "C4712"}, "Dr Novak")
    signing.fill_in(desk.clinic, STAFF, started[1], {}, "Dr Novak")
    treatments.cancel(desk.clinic, STAFF, started[2], "it did not take place")
    treatments.move(desk.clinic, STAFF, started[3], "2026-11-23T08:00")
    assert sorted(rows(desk, "C4711")) == [
        ("Amina", "corrected"),
        ("Beatrix", "corrected"),
        ("Carmen", "cancelled"),
        ("Greta", "holds"),
    ]
    report = found(desk, "C4711")
    assert (report.patients, len(report.held), len(report.once)) == (1, 1, 3)
    assert {line.lot_now for line in report.once} == {"C4712", None, "C4711"}


def test_complications_are_counted_and_numbers_shown_only_where_ringing_is_safe(desk: Desk) -> None:
    amina = desk.enter(call_safe="yes", phone="+44 20 7946 0101", contact_note="after 17:00")
    greta = desk.enter(GRETA, phone="+44 20 7946 0107", call_safe="ask")
    treatment_id = desk.treat(amina, fields={"lot": "C4711"}).treatment_id
    desk.event(treatment_id, EventKind.COMPLICATION, fields={"note": "fever"})
    desk.treat(greta, fields={"lot": "C4711"})
    with desk.store.read() as session:
        told = {row["given_name"]: row for row in lots.rows_of(lots.search(session, desk.clinic, "C4711"))}
    assert (told["Amina"]["adverse_events"], told["Greta"]["adverse_events"]) == (1, 0)
    assert (told["Amina"]["phone"], told["Amina"]["call"]) == ("+44 20 7946 0101", "after 17:00")
    assert (told["Greta"]["phone"], told["Greta"]["call"]) == (None, "do not ring: ask a clinician")


# The file

FORMULAS = [
    ("=1+1", "'=1+1"),
    ("+44 20 7946 0101", "'+44 20 7946 0101"),
    ("-2+3", "'-2+3"),
    ("@SUM(A1)", "'@SUM(A1)"),
    (" =1+1", "' =1+1"),
    ("\t=1+1", "'\t=1+1"),
    ("\rAsha", "'\rAsha"),
    ("\uff1d1+1", "'\uff1d1+1"),
    ("\uff0bsum", "'\uff0bsum"),
    ("Asha", "Asha"),
    ("O'Hara", "O'Hara"),
    ("1-2", "1-2"),
    ("a=b", "a=b"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "cell"), FORMULAS)
def test_no_cell_is_run_by_a_spreadsheet(text: str, cell: str) -> None:
    assert safe_cell(text) == cell
    content = csv_bytes(["text", "number"], [[text, -1]])
    assert content.startswith(b"\xef\xbb\xbf")
    read = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert read[1] == [cell, "-1"]


# The pages


async def test_the_page_lists_them_and_tells_what_is_noted(sqlite_desk: Desk) -> None:
    staffed = Staffed(sqlite_desk.clinic)
    dana = staffed.at_work("dana", Role.MANAGER)
    amina = sqlite_desk.enter(family_name="<b>Farouk</b>", call_safe="yes", phone="+44 20 7946 0101")
    greta = sqlite_desk.enter(GRETA, call_safe="no")
    once = sqlite_desk.treat(greta, fields={"lot": "C4711"}).treatment_id
    sqlite_desk.treat(amina, fields={"lot": "C4711"})
    signing.fill_in(sqlite_desk.clinic, STAFF, once, {"lot": "C4712"}, "Dr Novak")
    shown = await dana.post("/lots", {"lot": "c-4711"})
    assert shown.status_code == 200
    assert "1 patient was treated with lot c-4711" in shown.text
    assert "&lt;b&gt;Farouk&lt;/b&gt;" in shown.text
    assert "+44 20 7946 0101" in shown.text
    assert "Entered with this lot once" in shown.text
    assert "the record now says lot C4712" in shown.text
    with sqlite_desk.store.read() as session:
        (event,) = [event for event in audit.list_events(session) if event.action.startswith("lot.")]
    assert (event.action, event.actor, event.subject) == ("lot.searched", "staff:dana", "lot")
    assert "4711" not in f"{event.subject_id} {event.fields}"


async def test_a_long_list_asks_no_more_of_the_database_than_a_short_one(sqlite_desk: Desk) -> None:
    dana = Staffed(sqlite_desk.clinic).at_work("dana", Role.MANAGER)
    for number in range(12):
        patient_id = sqlite_desk.enter(record_number=f"L{number}", email=f"l{number}@example.org")
        sqlite_desk.treat(patient_id, fields={"lot": "C4711"})
    with counting(sqlite_desk.store) as statements:
        assert "12 patients were treated" in (await dana.post("/lots", {"lot": "C4711"})).text
    assert len(statements) <= 20, len(statements)


async def test_the_list_is_saved_as_a_file_without_formulas(sqlite_desk: Desk) -> None:
    staffed = Staffed(sqlite_desk.clinic)
    novak = staffed.at_work("novak", Role.CLINICIAN)
    amina = sqlite_desk.enter(given_name="=cmd", call_safe="yes", phone="+44 20 7946 0101")
    sqlite_desk.treat(amina, fields={"lot": "C4711"})
    answer = await novak.post("/lots/export", {"lot": "C4711"})
    assert answer.headers["content-disposition"] == 'attachment; filename="lot-2026-11-23.csv"'
    (row,) = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert (row["given_name"], row["phone"], row["standing"]) == ("'=cmd", "'+44 20 7946 0101", "holds")
    with sqlite_desk.store.read() as session:
        assert "lot.exported" in {event.action for event in audit.list_events(session)}


async def test_an_empty_number_and_an_unknown_one_are_told(sqlite_desk: Desk) -> None:
    dana = Staffed(sqlite_desk.clinic).at_work("dana", Role.MANAGER)
    assert "Lot number: write the lot number" in (await dana.post("/lots", {"lot": " "})).text
    assert "Nobody was treated with lot Z9" in (await dana.post("/lots", {"lot": "Z9"})).text


# The command line


def test_lot_prints_text_json_or_a_file(
    tmp_path: Path, clock: FastClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "protocols").mkdir()
    terminal = Terminal(environment(tmp_path), clock, monkeypatch, capsys)
    path = tmp_path / "patients.csv"
    heads = "given_name,family_name,phone,call_safe,protocol,treated_at,field.lot"
    path.write_text(f"{heads}\nTara,Quill,+44 20 7946 0101,yes,vaginismus-toxin,2026-11-20T10:00,C-4711\n")
    terminal.ok("import", str(path))
    said = terminal.ok("lot", "c4711")
    assert "Tara" in said.out
    assert said.lines[-1] == "1 patient(s) by the record as it stands, 1 treatment(s) in all."
    (row,) = terminal.ok("lot", "C-4711", "--json").json
    assert (row["given_name"], row["phone"], row["standing"]) == ("Tara", "+44 20 7946 0101", "holds")
    file = terminal.ok("lot", "C-4711", "--csv", "--by", "Anna").out
    (line,) = list(csv.DictReader(io.StringIO(file.removeprefix("\ufeff"), newline="")))
    assert (line["phone"], line["treated_at"]) == ("'+44 20 7946 0101", "2026-11-20 10:00:00")
    assert terminal.run("lot", "C4711", "--csv", "--json").code == 2
    assert terminal.run("lot", " ").code == 2
    assert terminal.ok("lot", "Z9").lines == ["Nobody was treated with this lot."]
    events = [event for event in terminal.ok("audit", "list", "--json").json if event["subject"] == "lot"]
    assert [event["action"] for event in events] == ["lot.searched", "lot.exported", "lot.searched", "lot.searched"]
    assert (events[1]["actor"], len({event["subject_id"] for event in events[1:]})) == ("Anna", 1)
