"""The worst day of a clinic: something of everything that can go wrong, and a hostile text wherever one can stand.

Pages are held to this clinic by `test_every_page.py`. The hostile text is written into the columns themselves, past
every check of what people enter: a page has to be safe whatever it finds.
"""

import re
from typing import Final

from sqlalchemy import Text, select
from sqlalchemy.orm import DeclarativeBase, Session

from db.base import Base
from db.records import Patient
from db.sealed import Sealed, SealedFields
from db.states import AttemptOutcome, EventKind, StopReason
from scheduler.clinic import Clinic
from tests.clinic import COURSE, Desk
from tests.door_world import World
from tests.people import AMINA, BEATRIX, CARMEN, DANUTA, ESME, FENG, GRETA, HINEMOA

# Texts by which rows find each other, and texts that a program wrote and reads: a hostile one there is a broken record,
# which is the concern of `check`, not of the pages.
READ_BY_THE_PROGRAM: Final = frozenset(
    {
        *("approvals.content_hash", "audit_events.subject", "audit_events.subject_id", "audit_events.action"),
        *("care_events.review", "care_events.occurred_local", "care_events.zone", "care_plans.planned_with"),
        *("import_batches.file_hash", "library_files.path", "library_files.content_hash", "patients.birth_date_text"),
        *(
            "page_codes.code_hash",
            "patients.language",
            "patients.time_zone",
            "plan_questions.step",
            "plan_questions.now_basis",
        ),
        *(
            "plan_questions.told",
            "protocol_texts.name",
            "protocol_texts.protocol_key",
            "protocol_versions.content_hash",
        ),
        *("protocol_versions.key", "protocol_versions.source", "reminder_decisions.step", "reminders.basis"),
        *("reminders.due_local", "reminders.message_id", "reminders.step", "reminders.template", "reminders.zone"),
        *("reviews.key", "staff_members.login", "staff_members.password_hash", "staff_members.pin_hash"),
        *("template_versions.content_hash", "template_versions.key", "template_versions.language"),
        *("template_versions.level", "template_versions.source", "treatment_versions.treated_local"),
        *("treatment_versions.treated_zone", "treatments.protocol_key"),
    }
)
_CHOICE: Final = {"outcome", "seriousness", "answer"}  # record fields that are chosen, not written


def hostile(where: str) -> str:
    """A text that would run, close an attribute, make an element or be a template's, and says where it was found."""
    return (
        f"""{where}"'><script>window.struck=1</script><img src=x onerror="window.struck=1"><x-struck></x-struck>"""
        """{{ 7 * 191 }}{% raw %}javascript:window.struck=1&lt;"""
    )


HOSTILE_COURSE: Final = re.sub(
    r'^(title|label) = "([^"]*)"$',
    lambda found: f"{found[1]} = '''{hostile(f'course {found[2]}')}'''",
    COURSE,
    flags=re.MULTILINE,
)


def make_hard(world: World) -> None:
    """Let everything happen on one day, then write hostile texts over whatever people had written."""
    desk = world.desk
    desk.tick(hours=1)
    _happen(desk, world)
    desk.write_protocol(HOSTILE_COURSE.replace("version = 1", "version = 2"))
    desk.approve_unseen()
    poison(world.clinic)


def _happen(desk: Desk, world: World) -> None:
    phone = {"phone": "020 7946 0101", "call_safe": "yes"}
    complicated = desk.treat(desk.enter(DANUTA, **phone), "2026-11-20T09:30", fields={"lot": "C4711"}).treatment_id
    desk.event(complicated, EventKind.COMPLICATION, fields={"what": "Fever"})
    waiting = desk.treat(desk.enter(FENG, **phone), "2026-11-02T09:30", fields={"lot": "C4711"}).treatment_id
    desk.event(waiting, EventKind.SOLO_STARTED, "2026-11-03T09:00")
    desk.event(waiting, EventKind.REVIEW_BOOKED, "2026-11-16T10:00", review="two-week")
    calling = desk.treat(desk.enter(HINEMOA, phone="020 7946 0102", call_safe="ask")).treatment_id
    desk.event(calling, EventKind.CALL_REQUESTED, fields={"note": "After six"})
    stopped = desk.enter(ESME)
    desk.treat(stopped)
    desk.stop(stopped, StopReason.UNSAFE, "Her partner reads her mail")
    for person, outcome in ((GRETA, AttemptOutcome.REFUSED), (BEATRIX, AttemptOutcome.UNKNOWN)):
        desk.treat(desk.enter(person, **phone), "2026-11-23T15:00")
        desk.tick(hours=9)
        for _ in range(2):
            desk.send_due(outcome, code=550, enhanced="5.1.1", reply="550 no such mailbox")
            desk.tick(minutes=20)
    desk.treat(desk.enter(CARMEN, confirmed="no", consent="none"))
    for number in range(30):
        desk.enter(AMINA, given_name=f"Amina {number}", record_number=f"Z-{number}", email=f"z{number}@example.org")


def poison(clinic: Clinic) -> None:
    """Write a hostile text into every text that people write, in every row, sealed or not."""
    with clinic.store.write("test", clinic.clock.now()) as session:
        for mapper in Base.registry.mappers:
            if mapper.class_ is not Patient:
                _poison_rows(session, mapper.class_)
        _poison_rows(session, Patient)


def _poison_rows(session: Session, model: type[DeclarativeBase]) -> None:
    table = str(model.__tablename__)
    names = written_by_people(model)
    for row in session.scalars(select(model)):
        for name in names:
            value = getattr(row, name)
            if value:
                setattr(row, name, _worse(f"{table}.{name}", value))


def _worse(where: str, value: object) -> object:
    if isinstance(value, dict):
        return {key: text if key in _CHOICE else hostile(f"{where}.{key}") for key, text in value.items()}
    return hostile(where)


def written_by_people(model: type[DeclarativeBase]) -> list[str]:
    """Attributes of a table that hold what people wrote."""
    table = str(model.__tablename__)
    columns = [column.name for column in model.__table__.columns if type(column.type) is Text]
    sealed = [name for name, value in vars(model).items() if isinstance(value, Sealed | SealedFields)]
    return [name for name in (*columns, *sealed) if f"{table}.{name}" not in READ_BY_THE_PROGRAM]
