"""The demo's invented clinic: its settings, its six patients, and their six weeks as a table of when, who and what.

Playing the table against a clock that is moved is in `scheduler.demo_play`. Nobody here exists.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final
from uuid import UUID

from db.private_page import PageCodeKind
from db.reminders import list_reminders
from db.states import DecisionKind, EventKind, Level, ReminderState, Role, Topic
from scheduler import answers, approvals, decisions, events, patients, private_page, treatments
from scheduler.accounts import staff
from scheduler.accounts.front_door import FrontDoor
from scheduler.clinic import Clinic
from scheduler.entries import PatientForm
from scheduler.local_time import to_utc
from scheduler.opening_hours import OpeningHours
from scheduler.page_links import tokens_of
from scheduler.private_page import Opening
from scheduler.settings import Settings
from scheduler.treatments import TreatmentForm

ZONE: Final = "Europe/London"
STARTS_AT: Final = to_utc(datetime.fromisoformat("2026-03-02T09:00"), ZONE)
ENDS_AT: Final = to_utc(datetime.fromisoformat("2026-04-13T00:00"), ZONE)  # clocks go forward on 29 March
DESK: Final = "demo: front desk"
CLINICIAN: Final = "Dr Sample (invented)"
SAMPLE_TEXT: Final = (
    "Sample text: rest today, and do what your care sheet says. (A real clinic writes its own rule here.)"
)
# Of the demo alone: its record is invented, its folder temporary.
PASSWORD: Final = "watch the sample clinic"  # noqa: S105
PIN: Final = "2846"
LEILAS_CODE: Final = "plum tree"  # opens her private page
ACCOUNTS: Final[Mapping[str, tuple[str, tuple[Role, ...]]]] = MappingProxyType(
    {
        "sample": (CLINICIAN, (Role.CLINICIAN, Role.MANAGER)),
        "desk": ("Front desk (invented)", (Role.RECEPTION,)),
    }
)
TOXIN: Final = "vaginismus-toxin"
PLACE: Final = {"place": "Sample Clinic, 1 Example Street"}


@dataclass(slots=True)
class Stage:
    """Where the table is played: the clinic, and the ids of who has been entered so far."""

    clinic: Clinic
    patients: dict[str, UUID] = field(default_factory=dict)
    treatments: dict[str, UUID] = field(default_factory=dict)


Act = Callable[[Stage, str], object]


@dataclass(frozen=True, slots=True)
class Scene:
    """One line of the table: when (the clinic's wall time), what happened in words, what it does, and to whom."""

    when: str
    words: str
    act: Act
    who: str = ""

    @property
    def at(self) -> datetime:
        """The instant."""
        return to_utc(datetime.fromisoformat(self.when), ZONE)


@dataclass(frozen=True, slots=True)
class Person:
    """One invented patient, her story in one line, and what happens to her."""

    form: PatientForm
    story: str
    scenes: tuple[Scene, ...]

    @property
    def name(self) -> str:
        """Her full name."""
        return f"{self.form.given_name} {self.form.family_name}"


def settings_in(folder: Path, port: int, patients_port: int) -> Settings:
    """The sample clinic's settings: all in one folder, nothing from the environment, no mail server."""
    return Settings(
        data_dir=folder,
        sender_address="clinic@example.org",
        sender_name="Sample Clinic",
        reply_to="clinic@example.org",
        clinic_name="Sample Clinic",
        clinic_phone="020 7946 0000",
        clinic_hours="Monday to Friday, 9:00 to 17:00",
        clinic_time_zone=ZONE,
        clinic_country="GB-ENG",
        opening_hours=OpeningHours.parse("Mo-Fr 09:00-17:00"),
        listen=f"127.0.0.1:{port}",
        public_url=f"http://127.0.0.1:{patients_port}",
        patient_listen=f"127.0.0.1:{patients_port}",
        log_level="warning",
    )


def approve_everything(clinic: Clinic) -> None:
    """What a clinician does before the first message: fill what only she can say, read, and approve."""
    approvals.read_files(clinic, CLINICIAN)
    with clinic.store.read() as session:
        shelf = clinic.library.shelf(session)
    protocols = [shelved.protocol for shelved in shelf.protocols.values()]
    languages = {language for _, language, _ in shelf.latest}
    for protocol in sorted(protocols, key=lambda protocol: protocol.key):
        for text in protocol.texts:
            if text.required:
                approvals.set_text(clinic, CLINICIAN, protocol.key, text.key, SAMPLE_TEXT)
        scope = approvals.scope_of(clinic, protocol.key, (), languages)
        approvals.approve_protocol(clinic, CLINICIAN, scope, CLINICIAN)


def make_accounts(clinic: Clinic) -> None:
    """Accounts for whoever watches: the demo knows no telephone, so no second factor is asked."""
    door = FrontDoor(clinic, asks_second_factor=False)
    for login, (name, roles) in ACCOUNTS.items():
        _, token = staff.add(clinic, DESK, name, roles, login, None, door.now())
        staff.join(door, token, staff.Joining(PASSWORD, PIN))


def _treated(protocol: str, at: str, **fields: str) -> Act:
    def act(stage: Stage, who: str) -> None:
        stage.patients[who] = patients.add(stage.clinic, DESK, CAST[who].form).patient_id
        form = TreatmentForm(protocol=protocol, at=at, clinician=CLINICIAN, fields=fields)
        stage.treatments[who] = treatments.add(stage.clinic, DESK, stage.patients[who], form).treatment_id

    return act


def _toxin(at: str) -> Act:
    return _treated(TOXIN, at, product="SAMPLE PRODUCT", lot="SAMPLE-7", consent_form="sample, version 1")


def _event(kind: EventKind, at: str | None = None, review: str | None = None, **fields: str) -> Act:
    def act(stage: Stage, who: str) -> None:
        events.record(stage.clinic, CLINICIAN, stage.treatments[who], kind, at, review, fields)

    return act


def _booked(at: str, review: str, **fields: str) -> Act:
    return _event(EventKind.REVIEW_BOOKED, at, review, **(fields or PLACE))


def _held(review: str) -> Act:
    return _event(EventKind.REVIEW_COMPLETED, review=review)


def _in_turn(*acts: Act) -> Act:
    def act(stage: Stage, who: str) -> None:
        for one in acts:
            one(stage, who)

    return act


def _changed(**values: str) -> Act:
    def act(stage: Stage, who: str) -> None:
        patients.change(stage.clinic, DESK, stage.patients[who], values)

    return act


def _code(code: str) -> Act:
    """She chooses at the desk what opens her page."""

    def act(stage: Stage, who: str) -> None:
        private_page.set_code(stage.clinic, DESK, stage.patients[who], PageCodeKind.WORD, code)

    return act


def _on_her_page(do: Callable[[Clinic, Opening], object]) -> Act:
    """She follows the link of the last mail she was sent, and answers there."""

    def act(stage: Stage, who: str) -> None:
        with stage.clinic.store.read() as session:
            sent = list_reminders(session, ReminderState.SENT, patient_id=stage.patients[who])
        last = max((row for row, _ in sent), key=lambda row: row.sent_at or STARTS_AT)
        opening = private_page.open_link(stage.clinic, tokens_of(stage.clinic.store.vault, last.message_id).page)
        if opening is not None:
            do(stage.clinic, opening)

    return act


def _answers(answer: answers.Answer, pain: str = "", words: str = "") -> Act:
    form = answers.CheckIn(answer, pain, words)
    return _on_her_page(lambda clinic, opening: answers.check_in(clinic, opening, form))


def _comes_to(review: str) -> Act:
    return _on_her_page(lambda clinic, opening: answers.confirm_visit(clinic, opening, review))


def _pauses(weeks: str) -> Act:
    return _on_her_page(lambda clinic, opening: answers.pause(clinic, opening, weeks))


def _stops_all(clinic: Clinic, opening: Opening) -> None:
    answers.stop(clinic, opening, (Topic.REVIEWS, Topic.EXERCISES))


def _finished(*steps: str) -> Act:
    """Staff finish their own lines of these steps."""

    def act(stage: Stage, who: str) -> None:
        with stage.clinic.store.read() as session:
            held = list_reminders(session, ReminderState.HELD, treatment_id=stage.treatments[who])
        for row, _ in held:
            if row.step in steps:
                decisions.decide(stage.clinic, DESK, row.id, DecisionKind.DONE)

    return act


def _person(
    born: str, name: str, story: str, *scenes: Scene, confirmed: str = "yes", level: Level = Level.GENERAL
) -> Person:
    given_name, _, family_name = name.partition(" ")
    form = PatientForm(
        given_name=given_name,
        family_name=family_name,
        email=f"{given_name.lower()}@example.org",
        birth_date=born,
        confirmed=confirmed,
        consent="all",
        level=level.value,
    )
    return Person(form, story, scenes)


DONE, CALL = answers.Answer.DONE, answers.Answer.CALL
_START_SOLO: Final = _event(EventKind.SOLO_STARTED)

# The times of the table are the clinic's.
CAST: Final[Mapping[str, Person]] = MappingProxyType(
    {
        "leila": _person(
            "1991-05-20",
            "Leila Haddad",
            "is released to the phase with a partner",
            Scene(
                "2026-03-02T10:00",
                "treated at 09:30; chooses a code for her page",
                _in_turn(_toxin("2026-03-02T09:30"), _code(LEILAS_CODE)),
            ),
            Scene("2026-03-05T09:30", "books her review: 13 March, 14:00", _booked("2026-03-13T14:00", "two-week")),
            Scene(
                "2026-03-13T14:40", "two-week review; starts the solo phase", _in_turn(_held("two-week"), _START_SOLO)
            ),
            Scene("2026-03-20T19:00", "on her page: done, pain 4", _answers(DONE, "4")),
            Scene(
                "2026-03-25T16:00",
                "the clinician releases the partner phase; she wants it",
                _event(EventKind.PARTNER_RELEASED, wish="asked on her own: yes"),
            ),
            Scene("2026-04-02T20:10", "on her page: done, pain 2", _answers(DONE, "2", "sample: it goes well")),
            level=Level.NOTICE,
        ),
        "priya": _person(
            "1988-01-31",
            "Priya Nair",
            "moves to India in the middle of her plan",
            Scene("2026-03-02T12:00", "treated at 11:30", _toxin("2026-03-02T11:30")),
            Scene("2026-03-06T09:30", "books her review: 16 March, 10:30", _booked("2026-03-16T10:30", "two-week")),
            Scene(
                "2026-03-16T11:10", "two-week review; starts the solo phase", _in_turn(_held("two-week"), _START_SOLO)
            ),
            Scene("2026-03-15T18:00", "on her page: she comes to the visit", _comes_to("two-week")),
            Scene("2026-03-20T12:00", "moves: her time zone is Asia/Kolkata now", _changed(time_zone="Asia/Kolkata")),
            Scene(
                "2026-04-09T09:30",
                "books her six-week review by video: 13 April, 09:30 in London",
                _booked("2026-04-13T09:30", "six-week", place="By video"),
            ),
        ),
        "marta": _person(
            "1995-08-08",
            "Marta Nowak",
            "misses her two-week review",
            Scene("2026-03-03T10:30", "treated at 10:00", _toxin("2026-03-03T10:00")),
            Scene("2026-03-12T15:00", "books her review: 18 March, 09:30", _booked("2026-03-18T09:30", "two-week")),
            Scene("2026-03-18T12:00", "did not come", _event(EventKind.REVIEW_MISSED, review="two-week")),
            Scene(
                "2026-03-23T09:20",
                "staff ring her, as their list says; she books 26 March, 16:00",
                _in_turn(_finished("call-missed"), _booked("2026-03-26T16:00", "two-week")),
            ),
            Scene("2026-03-24T09:30", "staff finish their line: a visit is booked", _finished("call-two-week")),
            Scene(
                "2026-03-26T16:40", "two-week review; starts the solo phase", _in_turn(_held("two-week"), _START_SOLO)
            ),
            Scene("2026-04-03T08:30", "on her page: takes a break of a week", _pauses("1")),
        ),
        "clara": _person(
            "1983-12-02",
            "Clara Jensen",
            "has a complication, which is resolved",
            Scene("2026-03-04T14:40", "treated at 14:00", _toxin("2026-03-04T14:00")),
            Scene("2026-03-06T09:40", "books her review: 18 March, 11:00", _booked("2026-03-18T11:00", "two-week")),
            Scene(
                "2026-03-18T11:40", "two-week review; starts the solo phase", _in_turn(_held("two-week"), _START_SOLO)
            ),
            Scene(
                "2026-03-26T21:40", "on her page: asks for a call, pain 8", _answers(CALL, "8", "sample: it is sore")
            ),
            Scene(
                "2026-03-27T09:15",
                "staff ring her; a complication: her exercise messages pause",
                _in_turn(
                    _event(EventKind.COMPLICATION, what="sample: sore, told on the phone"),
                    _event(EventKind.CALL_CLOSED),
                ),
            ),
            Scene("2026-03-27T09:20", "is to come sooner: 2 April, 12:00", _booked("2026-04-02T12:00", "six-week")),
            Scene(
                "2026-04-02T12:40",
                "reviewed; the complication is resolved",
                _in_turn(_held("six-week"), _event(EventKind.COMPLICATION_RESOLVED)),
            ),
        ),
        "esther": _person(
            "1979-06-15",
            "Esther Okafor",
            "stops her messages",
            Scene("2026-03-05T15:30", "treated at 15:00", _treated("skin-lightening", "2026-03-05T15:00")),
            Scene("2026-03-23T11:00", "stops all messages by the link; nobody asks why", _on_her_page(_stops_all)),
        ),
        "ingrid": _person(
            "1986-03-27",
            "Ingrid Solberg",
            "confirms her address by the link a day late",
            Scene(
                "2026-03-10T12:00",
                "operated at 09:00; her messages wait for a confirmed address",
                _treated("labiaplasty", "2026-03-10T09:00"),
            ),
            Scene("2026-03-10T12:05", "books her review: 17 March, 10:00", _booked("2026-03-17T10:00", "one-week")),
            Scene("2026-03-11T08:45", "says on the page: it is her address", _on_her_page(answers.confirm_address)),
            Scene("2026-03-17T10:30", "one-week review", _held("one-week")),
            confirmed="no",
        ),
    }
)


def list_scenes() -> list[Scene]:
    """The whole table in the order of time."""
    scenes = [replace(scene, who=who) for who, person in CAST.items() for scene in person.scenes]
    return sorted(scenes, key=lambda scene: scene.at)
