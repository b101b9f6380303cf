"""Importing a file on the screen: the check, what is wrong by line and column, entering it once and held."""

import csv
import io
import threading
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from db import audit
from db import patients as stored_patients
from db.follow_up import Reminder
from db.records import ImportBatch, Patient
from db.states import ReminderState, Role
from db.vault import KeyRing
from scheduler import imports
from scheduler.import_file import COLUMNS
from tests.clinic import Desk
from tests.counted import MOST, counting
from tests.staffed import HOST, KEYS, Browser, Staffed, kept, place
from tests.waiting import finished
from web.uploads import Upload, Uploads

HEADS = "record_number,given_name,family_name,email,birth_date,consent,confirmed,protocol,treated_at,field.lot"
ROWS = (
    "R1,Amina,Yusuf,amina@example.org,1990-05-31,all,yes,course,2026-11-23T08:30,C4711",
    "R2,Beatrix,<b>Moor</b>,amina@example.org,1985-01-02,reviews,no,course,2026-11-20T10:00,",
    "R3,=Chloé,Łaska,,,,,,,",
    "R1,Amina,Yusuf,,,,,course,2026-11-23T08:30,",
)


@pytest.fixture
def keyring() -> KeyRing:
    """The keys that the secrets of the tests' staff are hashed with."""
    return KEYS


@pytest.fixture
def staffed(sqlite_desk: Desk) -> Staffed:
    """The pages of a clinic at work."""
    return Staffed(sqlite_desk.clinic)


@pytest.fixture
def dana(staffed: Staffed) -> Browser:
    """A manager at work."""
    return staffed.at_work("dana", Role.MANAGER)


def content(*rows: str, heads: str = HEADS) -> bytes:
    """A file."""
    return "\r\n".join([heads, *rows, ""]).encode()


async def send(browser: Browser, file: bytes | None, name: str = "patients.csv", **fields: str) -> httpx.Response:
    """Send a file as the page does."""
    headers = {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"}
    data = {"form_token": browser.token, "past": "", **fields}
    if file is None:  # what a browser sends for a field that nobody filled
        parts = [f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{text}\r\n' for key, text in data.items()]
        parts.append('--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n--x--\r\n')
        headers["Content-Type"] = "multipart/form-data; boundary=x"
        return await browser.send("POST", "/import", headers=headers, content="".join(parts).encode())
    return await browser.send("POST", "/import", headers=headers, data=data, files={"file": (name, file, "text/csv")})


async def look(browser: Browser, file: bytes) -> httpx.Response:
    """Check a file; the page that says what is in it."""
    assert await finished(browser, await send(browser, file)) == "/import/check"
    return await browser.get("/import/check")


async def enter(browser: Browser, file: bytes) -> UUID:
    """Check a file and enter it; its batch."""
    form = kept(await look(browser, file), "/import/enter")
    path = await finished(browser, await browser.post("/import/enter", form))
    assert path.endswith("?done=imported")
    return UUID(path.removeprefix("/import/").partition("?")[0])


def batches(desk: Desk) -> list[ImportBatch]:
    """What was imported."""
    return imports.list_batches(desk.clinic)


async def test_an_import_of_patients_only_speaks_of_no_plan(dana: Browser) -> None:
    form = kept(await look(dana, content(ROWS[2])), "/import/enter")
    path = await finished(dana, await dana.post("/import/enter", form))
    assert path.endswith("?done=imported-people")
    told = (await dana.get(path)).text
    assert "patients only, without a plan" in told
    assert "is held" not in told


async def test_a_dry_run_is_a_table_and_enters_nothing(sqlite_desk: Desk, dana: Browser) -> None:
    shown = (await look(dana, content(*ROWS))).text
    for told in (
        "<dt>New patients</dt><dd>3</dd>",
        "<dt>New treatments</dt><dd>2</dd>",
        "1 of 4: they say nothing new",
        "held until the import is released",
        "&lt;b&gt;Moor&lt;/b&gt;",
        "a new patient and a treatment",
        "nothing: it is known already",
        "A course",
        "Is the address of another patient in line 2; mails to both will reach it",
        "Import, held until released",
    ):
        assert told in shown, told
    assert batches(sqlite_desk) == []
    with sqlite_desk.store.read() as session:
        assert stored_patients.count_patients(session) == 0
        actions = [event.action for event in audit.list_events(session)]
    assert (actions.count("import.checked"), actions.count("import.viewed")) == (1, 1)


async def test_only_the_first_rows_are_shown(dana: Browser) -> None:
    rows = [f"N{n},Nia,Okoro{n},,,,,,," for n in range(60)]
    shown = (await look(dana, content(*rows))).text
    assert "The first 50 of 60 rows" in shown
    assert "Okoro49<" in shown
    assert "Okoro50<" not in shown


async def test_what_is_wrong_stands_beside_its_line_and_column(sqlite_desk: Desk, dana: Browser) -> None:
    amina = sqlite_desk.enter()
    rows = (
        "R1,Amina,Yusuf,not an address,,,,course,2026-11-23T08:30,",
        "R2,Bea,Moor,,31.05.1990,,,coarse,2026-11-23T08:30,",
        "A-1001,Other,Farouk,,,,,course,2026-11-23T08:30,",
    )
    shown = (await look(dana, content(*rows))).text
    cells = [
        '<td class="number" data-label="Line">2</td><td class="code">email</td><td>Is not a usable address',
        '<td class="number" data-label="Line">3</td><td class="code">birth_date</td>',
        '<td class="number" data-label="Line">3</td><td class="code">protocol</td><td>There is no protocol',
        '<td class="number" data-label="Line">4</td><td class="code">given_name</td><td>Differs from what is in',
    ]
    for cell in cells:
        assert cell in shown
    assert f'change it on the patient’s page <a href="/patients/{amina}">' in shown
    assert "patient set" not in shown
    assert "/import/enter" not in shown


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (b"PK\x03\x04", "The file is a workbook, not a CSV file"),
        (b"\xff\xfeg\x00", "written in UTF-16"),
        (b"given_name,family_name\r\nTa\xe9,Quill\r\n", "The file, line 2: byte 0xE9 is no UTF-8"),
        (b"", "The file is empty"),
        (b"vorname\r\nAnna\r\n", "There is no such column"),
    ],
)
async def test_what_is_no_csv_file_is_told_in_words(file: bytes, told: str, dana: Browser) -> None:
    shown = (await look(dana, file)).text
    assert "The file has problems" in shown
    assert told in shown


async def test_without_a_file_or_with_another_choice_nothing_is_checked(dana: Browser) -> None:
    for answer in (await send(dana, None), await dana.post("/import"), await send(dana, content(*ROWS), past="never")):
        assert answer.status_code == 422, answer.text
    assert "File: choose a CSV file" in (await send(dana, None)).text
    assert (await dana.post("/import", {"file": "patients.csv"})).status_code == 400
    assert (await send(dana, content(*ROWS), colour="red")).status_code == 400
    assert place(await dana.get("/import/check")) == "/import"


async def test_a_file_is_entered_held_and_once(sqlite_desk: Desk, dana: Browser) -> None:
    form = kept(await look(dana, content(*ROWS)), "/import/enter")
    path = await finished(dana, await dana.post("/import/enter", form))
    (batch,) = batches(sqlite_desk)
    assert path == f"/import/{batch.id}?done=imported"
    assert (batch.imported_by, batch.file_hash) == ("staff:dana", form["digest"])
    rows = sqlite_desk.rows()
    assert {f"{row.state.value}:{row.reason}" for row in rows if row.state is not ReminderState.MISSED} == {"held:hold"}
    again = await dana.post("/import/enter", form)
    assert again.status_code == 409
    assert "This file is not here any more" in again.text
    assert len(batches(sqlite_desk)) == 1
    known = (await look(dana, content(*ROWS))).text
    assert "Nothing new: all 4 rows are in the record already" in known
    assert "/import/enter" not in known


async def test_two_clicks_at_one_moment_enter_it_once(sqlite_desk: Desk, staffed: Staffed, dana: Browser) -> None:
    form = kept(await look(dana, content(*ROWS)), "/import/enter")
    uploads: Uploads = staffed.app.state.uploads
    present = staffed.door.who(dana.session)
    assert present is not None
    ready, taken = threading.Barrier(4), []

    def take() -> None:
        ready.wait()
        taken.append(uploads.take(present.session_id, form["digest"]))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(upload is not None for upload in taken) == 1


async def test_another_person_and_another_session_find_no_file(
    sqlite_desk: Desk, staffed: Staffed, dana: Browser
) -> None:
    form = kept(await look(dana, content(*ROWS)), "/import/enter")
    other = staffed.at_work("novak", Role.MANAGER)
    for browser in (other, staffed.browser()):
        answer = await browser.get("/import/check")
        assert place(answer) in ("/import", "/sign-in?next=/import/check")
    assert (await other.post("/import/enter", {"digest": form["digest"]})).status_code == 409
    assert (await dana.post("/import/enter", {"digest": "0" * 64})).status_code == 409
    assert batches(sqlite_desk) == []
    assert "Import, held until released" in (await dana.get("/import/check")).text


async def test_a_file_waits_for_half_an_hour(sqlite_desk: Desk, dana: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("web.uploads.monotonic", lambda: now)
    form = kept(await look(dana, content(*ROWS)), "/import/enter")
    now = 1_799.0
    assert "A file was checked and can be entered" in (await dana.get("/import")).text
    now = 1_800.0
    assert place(await dana.get("/import/check")) == "/import"
    assert (await dana.post("/import/enter", form)).status_code == 409
    assert batches(sqlite_desk) == []


async def test_a_file_can_be_forgotten(staffed: Staffed, dana: Browser) -> None:
    await look(dana, content(*ROWS))
    assert place(await dana.post("/import/forget")) == "/import?done=file-forgotten"
    assert place(await dana.get("/import/check")) == "/import"
    assert staffed.app.state.uploads._waiting == {}


def test_few_files_wait_at_once_and_one_a_session() -> None:
    uploads = Uploads()

    def upload(session: int, digest: str) -> Upload:
        return Upload(UUID(int=session), "a.csv", digest, b"x", None, None, (), 0, ())

    for number in range(6):
        uploads.keep(upload(number, f"{number}"))
    uploads.keep(upload(5, "newer"))
    assert [uploads.find(UUID(int=number)) is not None for number in range(6)] == [False, False, True, True, True, True]
    assert uploads.take(UUID(int=5), "5") is None
    assert uploads.take(UUID(int=5), "newer") is not None
    assert uploads.find(UUID(int=5)) is None


async def test_a_record_that_changed_since_the_check_is_left_alone(sqlite_desk: Desk, dana: Browser) -> None:
    form = kept(await look(dana, content(*ROWS)), "/import/enter")
    sqlite_desk.enter(record_number="R3", email="z@example.org", given_name="=Chloé", family_name="Łaska")
    answer = await dana.post("/import/enter", form)
    path = place(answer)
    told = (await dana.get(path)).text
    assert "That was not done" in told
    assert "The record changed while the file was checked" in told
    assert batches(sqlite_desk) == []


async def test_what_is_past_becomes_what_was_chosen(sqlite_desk: Desk, dana: Browser) -> None:
    assert await finished(dana, await send(dana, content(ROWS[1]), past="ask")) == "/import/check"
    page = await dana.get("/import/check")
    assert "hold it, and let staff decide about each" in page.text
    await finished(dana, await dana.post("/import/enter", kept(page, "/import/enter")))
    with sqlite_desk.store.read() as session:
        assert {row.state for row in session.scalars(select(Reminder))} & {ReminderState.HELD}


async def test_an_empty_file_has_the_columns_of_a_protocol(dana: Browser) -> None:
    answer = await dana.get("/import/columns?protocol=course")
    (heads,) = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert heads == [*COLUMNS, "field.lot"]
    assert answer.headers["content-disposition"] == 'attachment; filename="import-course.csv"'
    assert b"protocol" not in (await dana.get("/import/columns")).content
    assert (await dana.get("/import/columns?protocol=%0d%0aSet-Cookie")).status_code == 404


async def test_nothing_of_a_patient_is_in_an_address_or_a_log(
    sqlite_desk: Desk, dana: Browser, capfd: pytest.CaptureFixture[str]
) -> None:
    answers = [await send(dana, content(*ROWS), name="Amina Yusuf.csv")]
    await finished(dana, answers[0])
    page = await dana.get("/import/check")
    answers.append(await dana.post("/import/enter", kept(page, "/import/enter")))
    path = await finished(dana, answers[1])
    answers.append(await dana.get(path))
    places = [answer.headers.get("location", "") + str(answer.url) for answer in answers]
    said = capfd.readouterr()
    with sqlite_desk.store.read() as session:
        trail = [f"{event.subject_id} {event.fields}" for event in audit.list_events(session)]
    for secret in ("Amina", "Yusuf", "amina@example.org", "R1", "1990-05-31"):
        assert not any(secret in text for text in [*places, said.out, said.err, *trail]), secret


async def test_pages_of_an_import_ask_little_of_the_database(sqlite_desk: Desk, dana: Browser) -> None:
    rows = [f"N{n},Nia,Okoro{n},n{n}@example.org,,all,yes,course,2026-11-2{n % 3}T08:30,C1" for n in range(30)]
    batch_id = await enter(dana, content(*rows))
    for path in ("/import", f"/import/{batch_id}", f"/import/{batch_id}/undo"):
        with counting(sqlite_desk.store) as statements:
            assert (await dana.get(path)).status_code == 200
        assert len(statements) <= MOST, (
            path,
            len(statements),
            "\n".join(x[:110].replace("\n", " ") + " … " + x[-90:].replace("\n", " ") for x in statements),
        )
    with sqlite_desk.store.read() as session:
        assert len(list(session.scalars(select(Patient)))) == 30
