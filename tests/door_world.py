"""One clinic with something of everything in it, and a sample for every path parameter of the pages.

The matrix of `tests/test_doors.py` is generated from `web.app.ROUTES` with it.
"""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final
from uuid import UUID

from sqlalchemy import Engine, select

from db import raised_lines
from db.base import Base
from db.engine import Store
from db.follow_up import PlanQuestion, ProtocolVersion
from db.private_page import RaisedKind
from db.states import EventKind, Role, SetupStep
from db.vault import Vault
from scheduler import imports, treatments
from scheduler.accounts import staff
from scheduler.clock import FastClock
from tests.clinic import STAFF, Desk, open_desk
from tests.staffed import KEYS, MACHINE_START, Account, Browser, Staffed
from tests.web_parts import written
from web.doors import Route
from web.long_work import Told, Works

NOBODY: Final = "nobody"
HALF_IN: Final = "half in"
IMPORT: Final = """\
record_number,given_name,family_name,email,protocol,treated_at
I-1,Ines,Moreau,ines@example.org,course,2026-11-20T09:00
"""


class World:
    """The clinic, a person for each role, one who is half in, and a bystander to whom things are done."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.desk: Desk = open_desk(store, FastClock(MACHINE_START, speed=0), folder)
        self.desk.approve_unseen()
        self.clinic = self.desk.clinic
        self.staffed = Staffed(self.clinic)
        # The same door when it asks for second factors: for who has given only her password.
        self.strict = Staffed(self.clinic, asks_second_factor=True)
        self.people = {role.value: self.staffed.hire(role.value, role) for role in Role}
        self.people[HALF_IN] = self.staffed.hire("half.in", Role.CLINICIAN, Role.MANAGER)
        self.bystander = self.staffed.hire("bystander", Role.RECEPTION)
        self.guest = self.staffed.hire("guest", Role.RECEPTION)
        self.patient_id = self.desk.enter()
        self.treatment_id = self.desk.treat(self.patient_id).treatment_id
        self.desk.tick(hours=9)
        (self.reminder_id,) = self.desk.send_due()
        treatments.move(self.clinic, STAFF, self.treatment_id, "2026-11-24T11:00")
        self.event_id = self.desk.event(self.treatment_id, EventKind.REVIEW_BOOKED, "2026-12-07T10:00")
        with self.clinic.store.write("patient", self.desk.clock.now()) as session:
            plan = treatments.get_plan(session, self.treatment_id)
            self.line_id = raised_lines.raise_line(session, plan, RaisedKind.SILENT).id
        file = folder / "import.csv"
        file.write_text(IMPORT, encoding="utf-8")
        imports.run_import(self.clinic, STAFF, file)
        self.mail = written(self.clinic)
        self._browsers: dict[tuple[str, bool], Browser] = {}

    def come_in(self, who: str, locked: bool = False) -> Browser:
        """A browser in which that person is, signed in anew where her session is over; nobody's is new."""
        staffed = self.strict if who == HALF_IN else self.staffed
        if who == NOBODY:
            return staffed.browser()
        browser = self._browsers.get((who, locked))
        present = staffed.door.who(browser.session) if browser else None
        if browser is None or present is None or present.locked is not locked:
            browser = self._browsers[(who, locked)] = staffed.browser()
            browser.take(staffed.door.open_for(self.people[who].id, None, "Tests"))
            present = staffed.door.who(browser.session)
            if locked and present is not None:
                staffed.door.lock(present)
        elif not locked:
            staffed.door.touch(present)
        return browser

    def path(self, route: Route, who: str) -> str:
        """The path with a real sample for each parameter, as that person would meet it."""
        account = self.people.get(
            who, self.people[Role.RECEPTION.value]
        )  # never the bystander: she may be disabled by now
        path = route.path
        for name in re.findall(r"\{(\w+)\}", route.path):
            room = route.path.split("/")[1]
            sample = SAMPLES.get(f"{route.path} {name}") or SAMPLES.get(f"/{room} {name}") or SAMPLES.get(name)
            assert sample, f"{route.path}: add a sample for {{{name}}} to tests/door_world.py"
            path = path.replace(f"{{{name}}}", str(sample(self, account)))
        return path

    def stored(self, but: Collection[str] = ()) -> dict[str, list[dict[str, object]]]:
        """Every row of every table but those, as SQLite holds it; in the order in which the rows were made."""
        with self.clinic.store.engine.connect() as connection:
            return {
                name: [
                    dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name} ORDER BY rowid").mappings()
                ]
                for name in Base.metadata.tables
                if name not in but
            }

    def any_of(self, model: type[PlanQuestion] | type[ProtocolVersion]) -> UUID:
        """The id of any row of a table."""
        with self.clinic.store.read() as session:
            return session.scalars(select(model.id).order_by(model.id).limit(1)).one()

    def another_session(self, account: Account) -> UUID:
        """A session of that person in another browser."""
        present = self.staffed.door.who(self.staffed.door.open_for(account.id, None, "Tests").token)
        assert present is not None
        return present.session_id

    def invitation(self) -> str:
        """A one-time link's token."""
        return staff.reset(self.clinic, STAFF, self.guest.id, self.staffed.machine.now())

    def batch_id(self) -> UUID:
        """The import."""
        return imports.list_batches(self.clinic)[0].id

    def finished_work(self, account: Account) -> str:
        """A work of that person that has ended and leads to no page of its own."""
        works: Works = self.staffed.app.state.works
        work = works.begin(account.id, "A long work", lambda tell: Told("Done", ["It is done."], "/"), "/")
        work.ended.wait()
        return work.name


Sample = Callable[[World, Account], object]

# By parameter; by path, or its first part, and parameter where the same name means something else.
SAMPLES: Final[Mapping[str, Sample]] = {
    "/protocols/{key}/steps/{name} name": lambda world, who: "after-visit",
    "/protocols/{key}/steps/{name}/check name": lambda world, who: "after-visit",
    "/static/{digest}/{name} name": lambda world, who: "aftercare.css",
    "/texts key": lambda world, who: "after_visit",
    "/texts language": lambda world, who: "en",
    "/texts level": lambda world, who: "general",
    "/progress name": lambda world, who: world.finished_work(who),
    "attempt": lambda world, who: 1,
    "batch_id": lambda world, who: world.batch_id(),
    "digest": lambda world, who: "000000000000",
    "event_id": lambda world, who: world.event_id,
    "key": lambda world, who: "course",
    "line_id": lambda world, who: world.line_id,
    "name": lambda world, who: world.mail,
    "patient_id": lambda world, who: world.patient_id,
    "question_id": lambda world, who: world.any_of(PlanQuestion),
    "reminder_id": lambda world, who: world.reminder_id,
    "review": lambda world, who: "two-week",
    "session_id": lambda world, who: world.another_session(who),
    "staff_id": lambda world, who: world.bystander.id,
    "step": lambda world, who: SetupStep.KEYS_KEPT.value,
    "token": lambda world, who: world.invitation(),
    "treatment_id": lambda world, who: world.treatment_id,
    "version_id": lambda world, who: world.any_of(ProtocolVersion),
}


def make_world(engine: Engine, folder: Path) -> World:
    """A world over a migrated, empty database, with the tests' keys."""
    return World(Store(engine, Vault(KEYS)), folder)
