"""Every page that a patient can meet, on a hard day: what she or anyone typed is hostile, names and places are long.

`PAGES` says how each is come to; `tests/private/test_every_page.py` opens them in a browser, `test_markup.py` has the
checker of HTML read them. The hostile texts are those of `tests/pages/hard_day.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import Engine

from db.engine import Store
from db.follow_up import Reminder
from db.private_page import PageCodeKind
from db.records import Patient
from db.states import EventKind, StepKind, Topic
from db.vault import Vault
from scheduler import answers, private_page
from scheduler.accounts.throttle import Throttle
from scheduler.clock import FastClock
from scheduler.settings import SHIPPED
from tests.clinic import STAFF, Desk, open_desk
from tests.pages.hard_day import hostile, poison
from tests.people import AMINA, BEATRIX, CARMEN, DANUTA, ESME, FENG, GRETA, HINEMOA, Person
from tests.private_parts import CODE, TOXIN, WITH_PAGES, Sent, choose_code, send_all
from tests.staffed import KEYS, MACHINE_START
from web.private.app import make_private_app

LONG_NAME: Final = "Maria-Magdalena Wolfeschlegelsteinhausenbergerdorff de la Vega y Santamaría-Konstantinopolitanski"
RIGHT_TO_LEFT: Final = "שׁוּלַמִּית אל־חוסייני"
LONG: Final = {
    "CLINIC_NAME": "The Harbour Street Community Hospital Clinic for Women and Families of the Northern Districts",
    "CLINIC_HOURS": "Mondays to Thursdays 08:30-12:30 and 13:15-17:45, Fridays 08:30-11:30, not on public holidays",
    "CLINIC_PHONE": "+44 (0)20 7946 0999 extension 20417",
}


class Hands(Protocol):
    """What opens a page and sends a form: a browser, or a program."""

    def open(self, path: str) -> None:
        """Follow a link."""

    def send(self, path: str, fields: Mapping[str, str]) -> None:
        """Send a form."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to come to a page: whose link, whether the code is given, what is opened or sent last."""

    who: str
    path: str = ""
    code: str = CODE
    sends: Mapping[str, str] | None = None
    kind: str = "l"
    status: int = 200
    before: tuple[tuple[str, Mapping[str, str]], ...] = field(default=())


_WORDS: Final = {"words": hostile("typed")}
PAGES: Final[Mapping[str, Way]] = {
    "code": Way("amina", code=""),
    "code by date": Way("greta", code=""),
    "code wrong": Way("amina", "/code", code="", sends={"code": hostile("code")}, status=403),
    "code kept": Way("amina", "/answer", code="", sends={"answer": "done", "pain": "2", **_WORDS}),
    "code locked": Way("danuta", code=""),
    "message first": Way("amina"),
    "step first": Way("amina step"),
    "right to left": Way("hinemoa step"),
    "German": Way("esme step"),
    "without a code": Way("beatrix", code=""),
    "answered": Way("amina", "?said=answered"),
    "answer missing": Way("amina", "/answer", sends={"pain": "3", **_WORDS}, status=422),
    "time asked for": Way("amina", "?said=visit_other_done"),
    "call open": Way("carmen"),
    "urgent": Way("amina", "/help-first"),
    "urgent without a code": Way("beatrix", "/help-first", code=""),
    "urgent after asking": Way("carmen", "/help-first?asked=yes"),
    "questions": Way("amina", "/questions"),
    "questions wrong": Way("amina", "/questions", sends={"review": "two-week", "pain.at_rest": "11"}, status=422),
    "choices": Way("amina", "/choices"),
    "choices saved": Way("amina", "/choices?said=saved"),
    "choices in a pause": Way("feng", "/choices"),
    "paused": Way("feng"),
    "choices when stopped": Way("hinemoa", "/choices?said=stopped"),
    "held": Way("amina", "/held"),
    "confirm": Way("new", code=""),
    "confirmed": Way("new", "/yes", code="", sends={}),
    "disowned": Way("wrong", "/no", code="", sends={}),
    "one click": Way("amina", code="", kind="u"),
    "one click done": Way("hinemoa step", code="", kind="u", sends={}),
    "gone": Way("nobody", code="", status=404),
    "away": Way("", code=""),
    "slow": Way("nobody", code="", status=429),
}


class HerWorld:
    """A clinic whose patients have pages, on its hardest day, and the links of the mails that left."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        store = Store(engine, Vault(KEYS))
        desk = open_desk(store, FastClock(MACHINE_START, speed=0), folder, **WITH_PAGES, **LONG)
        desk.write_protocol((SHIPPED / "protocols" / f"{TOXIN}.toml").read_text(encoding="utf-8"), TOXIN)
        desk.approve(TOXIN)
        self.desk: Desk = desk
        self.clinic = desk.clinic
        self.app = make_private_app(desk.clinic)
        self.links: dict[str, Sent] = {}
        self._people: dict[str, UUID] = {}
        self._live_through()

    def come(self, name: str, hands: Hands) -> int:
        """Come to the page of that name; the status it has to have."""
        self.app.state.tries = Throttle(self.clinic.clock)
        way = PAGES[name]
        base = f"/{way.kind}/{self._token(way)}"
        if name == "slow":
            for _ in range(20):
                hands.open(base)
        if way.code:
            hands.open(base)
            hands.send(f"{base}/code", {"code": way.code})
        if way.sends is None:
            hands.open(base + way.path)
        else:
            hands.open(base)
            hands.send(base + way.path, way.sends)
        return way.status

    def _token(self, way: Way) -> str:
        if way.who in self.links:
            return self.links[way.who].stop if way.kind == "u" else self.links[way.who].page
        return "A" * 22 if way.who else ""

    def _live_through(self) -> None:
        desk, kind = self.desk, EventKind
        treated = {
            name: self._enter(name, person)
            for name, person in (("amina", AMINA), ("carmen", CARMEN), ("feng", FENG), ("hinemoa", HINEMOA))
        }
        treated["danuta"] = self._enter("danuta", DANUTA)
        treated["beatrix"] = self._enter("beatrix", BEATRIX, code="")
        treated["esme"] = self._enter("esme", ESME, language="de")
        self._enter("greta", GRETA, contact_note="", call_safe="yes", code="by date")
        self._enter("new", AMINA, code="", confirmed=None, email="new@example.org", record_number="Z-1")
        self._enter("wrong", AMINA, code="", confirmed=None, email="wrong@example.org", record_number="Z-2")
        desk.tick(hours=30)
        self._send()
        for name in ("amina", "hinemoa", "esme"):
            desk.event(treated[name], kind.SOLO_STARTED)
        for _ in range(9):
            desk.tick(days=1)
            self._send()
        poison(desk.clinic)
        with desk.store.write(STAFF, desk.clock.now()) as session:
            session.get_one(Patient, self._people["hinemoa"]).preferred_name = RIGHT_TO_LEFT
            session.get_one(Patient, self._people["esme"]).preferred_name = LONG_NAME
        place = {"place": hostile("place")[:200]}
        for name in ("amina", "hinemoa", "esme"):
            given = {"exercise": "trainer", "times_per_week": "3", "minutes": "10", "size_label": hostile("size")[:200]}
            desk.event(treated[name], kind.EXERCISE_SET, fields=given)
            desk.event(treated[name], kind.REVIEW_BOOKED, "2026-12-04T14:00", review="two-week", fields=place)
            for pain in ("6", "3", "4"):
                answers.check_in(self.clinic, self._opening(name), answers.CheckIn("done", pain, hostile("said")))
                desk.tick(days=1, hours=1)
        answers.ask_for_call(self.clinic, self._opening("carmen"))
        answers.pause(self.clinic, self._opening("feng"), "2")
        answers.stop(self.clinic, self._opening("hinemoa"), (Topic.EXERCISES,))
        for _ in range(private_page.MOST_TRIES):
            private_page.try_code(self.clinic, self._opening("danuta"), "wrong word")

    def _enter(self, name: str, person: Person, code: str = CODE, **changes: str | None) -> UUID:
        patient_id = self.desk.enter(person, **{"level": "notice", **changes})
        if code == "by date":
            private_page.set_code(self.clinic, STAFF, patient_id, PageCodeKind.BIRTH_DATE, "")
        elif code:
            choose_code(self.clinic, patient_id)
        self._people[name] = patient_id
        return self.desk.treat(patient_id, protocol=TOXIN).treatment_id

    def _send(self) -> None:
        """Let the mails leave; of each patient the first is kept, and the first about her step."""
        for sent in send_all(self.desk):
            opening = private_page.open_link(self.clinic, sent.page)
            assert opening is not None
            name = next(name for name, found in self._people.items() if found == opening.patient_id)
            with self.desk.store.read() as session:
                about_step = session.get_one(Reminder, opening.reminder_id).kind is StepKind.EXERCISE
            self.links.setdefault(f"{name} step" if about_step else name, sent)

    def _opening(self, name: str) -> private_page.Opening:
        found = private_page.open_link(self.clinic, self.links[name].page)
        assert found is not None
        return found
