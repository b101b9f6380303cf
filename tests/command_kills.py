"""Kills of commands: one clinic's record, and what each command leaves when it is killed in the middle.

Before-state or after-state, nothing in between, and the same command finishes the work afterwards. The service's own
kills are in `tests/kill_rig.py`.
"""

import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from sqlalchemy import func, select

from db.engine import make_engine
from db.follow_up import Reminder
from db.migrations import current, head
from db.records import Patient, Treatment
from scheduler.settings import load_settings
from service import open_clinic
from tests.process import address, environment, fill
from tests.starter import Starter

POINTS = (
    "plan_before_commit",
    "plan_after_commit",
    "in_import",
    "in_migration",
    "in_key_rotation",
    "in_backup",
)
PEOPLE = 6
STATEMENTS = 60  # at least so many has the migration of an empty database
Counts = tuple[int, int, int]  # patients, treatments, reminders


class CommandKills:
    """A clinic in a folder, killed command by command; `fresh_url` gives the address of one more empty database."""

    def __init__(self, folder: Path, url: str, fresh_url: Callable[[], str], starter: Starter, seed: int) -> None:
        self.folder, self.fresh_url, self.starter = folder, fresh_url, starter
        self.random = Random(seed)  # noqa: S311  (it chooses turns, and has to choose them again)
        self.env = environment(folder, AFTERCARE_DATABASE_URL=url)
        at = datetime.now(UTC) - timedelta(seconds=60)
        fill(self.env, at, PEOPLE).store.engine.dispose()
        self.entered = PEOPLE
        self.turn = 0

    def kill(self, point: str) -> list[str]:
        """Kill the command of that point there; what was not as promised, in words."""
        self.turn += 1
        match point:
            case "plan_before_commit" | "plan_after_commit":
                return self._plan(point)
            case "in_import":
                return self._import()
            case "in_migration":
                return self._migration()
            case "in_key_rotation":
                return self._key_rotation()
            case "in_backup":
                return self._backup()
        raise ValueError(point)

    def _plan(self, point: str) -> list[str]:
        before = self._counts()
        with_patient = self._patient_id()
        at = (datetime.now(UTC) - timedelta(days=self.turn)).strftime("%Y-%m-%dT%H:%M")
        words = ("treatment", "add", "--patient", with_patient, "--protocol", "seconds", "--at", at, "--by", "test")
        faults = self._killed(point, 1, *words)
        patients, treatments, reminders = (after - was for after, was in zip(self._counts(), before, strict=True))
        wanted = (0, 0, 0) if point == "plan_before_commit" else (0, 1, 1)
        if (patients, treatments, reminders) != wanted:
            faults.append(f"{point}: {treatments} treatment(s) and {reminders} reminder(s) more")
        return faults + self._sound()

    def _import(self) -> list[str]:
        file = self.folder / f"more-{self.turn}.csv"
        lines = ["given_name,family_name,email,consent,confirmed,protocol,treated_at"]
        for number in range(self.entered, self.entered + PEOPLE):
            lines.append(f"Tara,Quill{number},{address(number)},all,yes,seconds,2026-11-20T10:00")
        file.write_text("\n".join(lines), encoding="utf-8")
        before = self._counts()
        faults = self._killed("in_import", 1, "import", str(file))
        if self._counts() != before:
            faults.append("in_import: half of a file was entered")
        faults += self._done("import", str(file))
        if self._counts() != tuple(was + PEOPLE for was in before):
            faults.append("in_import: the file was not entered whole afterwards")
        self.entered += PEOPLE
        return faults + self._sound()

    def _migration(self) -> list[str]:
        url = self.fresh_url()
        faults = self._killed("in_migration", self.random.randint(1, STATEMENTS), "migrate", url=url)
        engine = make_engine(url)
        try:
            if current(engine) not in (None, head()):
                faults.append("in_migration: the schema is half made")
            faults += self._done("migrate", url=url)
            if current(engine) != head():
                faults.append("in_migration: it was not finished afterwards")
        finally:
            engine.dispose()
        return faults

    def _key_rotation(self) -> list[str]:
        faults = self._killed("in_key_rotation", self.random.randint(1, PEOPLE), "keys", "rotate")
        faults += self._readable()
        faults += self._done("keys", "rotate")
        return faults + self._readable() + self._sound()

    def _backup(self) -> list[str]:
        file = self.folder / f"backup-{self.turn}"
        before = self._counts()
        faults = self._killed("in_backup", self.random.randint(1, 3), "backup", str(file))
        if file.exists():
            faults.append("in_backup: an unproven backup looks like one")
        faults += self._done("backup", str(file))
        if not file.exists() or self._counts() != before:
            faults.append("in_backup: it was not made afterwards")
        return faults + self._sound()

    def _killed(self, point: str, nth: int, *words: str, url: str | None = None) -> list[str]:
        marker = self.folder / "marker-of-commands"
        marker.unlink(missing_ok=True)
        code = self._run(words, url, AFTERCARE_KILL_POINT=f"{point}@{nth}:{marker}")
        fired = code == -signal.SIGKILL and marker.exists() and marker.read_text(encoding="ascii") == f"{point}\n"
        return [] if fired else [f"{point} did not fire at its turn {nth}; exit {code}: {self._said()}"]

    def _done(self, *words: str, url: str | None = None) -> list[str]:
        code = self._run(words, url)
        return [] if code == 0 else [f"{' '.join(words)} after the kill ended with {code}: {self._said()}"]

    def _sound(self) -> list[str]:
        return self._done("audit", "verify")

    def _run(self, words: tuple[str, ...], url: str | None, **more: str) -> int:
        address_of = {"AFTERCARE_DATABASE_URL": url} if url else {}
        self.starter.start({**self.env, **address_of, **more}, self.folder / "commands.log", *words)
        return self.starter.wait(60)

    def _said(self) -> str:
        return (self.folder / "commands.log").read_text(encoding="utf-8")[-500:]

    def _readable(self) -> list[str]:
        """Whether everybody can be read with the keys that are there now."""
        clinic = open_clinic(load_settings(self.env))
        try:
            with clinic.store.read() as session:
                names = {patient.given_name for patient in session.scalars(select(Patient))}
        finally:
            clinic.store.engine.dispose()
        return [] if names == {"Tara"} else ["in_key_rotation: somebody cannot be read"]

    def _patient_id(self) -> str:
        engine = make_engine(self.env["AFTERCARE_DATABASE_URL"])
        with engine.connect() as connection:
            found = connection.execute(select(Patient.id).order_by(Patient.id).limit(1)).scalar_one()
        engine.dispose()
        return str(found)

    def _counts(self) -> Counts:
        engine = make_engine(self.env["AFTERCARE_DATABASE_URL"])
        with engine.connect() as connection:
            patients, treatments, reminders = (
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (Patient, Treatment, Reminder)
            )
        engine.dispose()
        return patients, treatments, reminders
