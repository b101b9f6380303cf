"""Playing the demo: the clock goes from one moment that matters to the next, and at each the real sender sends.

Who does what is the table in `scheduler.demo_clinic`; what is printed is in `commands.demo`.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email import message_from_bytes, policy

from sqlalchemy.orm import Session

from db.follow_up import Reminder
from db.marks import read_copy
from db.reminders import find_next_ready, list_reminders
from db.sends import list_attempts
from db.states import LIVE_STATES, Audience, ReminderState
from scheduler.clock import FastClock
from scheduler.demo_clinic import CAST, ENDS_AT, ZONE, Stage, list_scenes
from scheduler.local_time import to_wall
from scheduler.plan_words import stands
from scheduler.sender import Sender

# What cannot leave at its time is looked at again a little later, so that the clock never stands still for good.
AGAIN_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Line:
    """Something that happened: a message that left, or what was done at the clinic."""

    at: datetime
    wall: datetime  # in `zone`: hers for a message, the clinic's else
    zone: str
    who: str  # key of the cast
    words: str
    is_message: bool


@dataclass(frozen=True, slots=True)
class Unsent:
    """Messages of one kind to one patient that were not sent, for the same reason; `first` and `last` are due dates."""

    title: str
    count: int
    first: datetime
    last: datetime
    stands: str


async def play(stage: Stage, clock: FastClock, sender: Sender, speed: float | None) -> AsyncIterator[Line]:
    """Play the six weeks on an opened sender; yields what happens as it happens.

    The clock stands while something happens and then goes to the next moment: at once, or, with a speed, after the
    real time that this span takes at that speed. So what leaves at 10:00 leaves at 10:00, however fast it is played.
    """
    scenes = list_scenes()
    while clock.now() < ENDS_AT:
        upcoming = _next_ready(stage)
        moments = [ENDS_AT, *(scene.at for scene in scenes[:1])]
        if upcoming is not None:
            moments.append(max(upcoming, clock.now() + AGAIN_AFTER))
        following = min(moments)
        if speed is not None:
            await asyncio.sleep((following - clock.now()).total_seconds() / speed)
        clock.set(following)
        while scenes and scenes[0].at <= clock.now():
            scene = scenes.pop(0)
            await asyncio.to_thread(scene.act, stage, scene.who)
            yield Line(scene.at, to_wall(scene.at, ZONE), ZONE, scene.who, scene.words, is_message=False)
        await sender.send_due()
        for line in _left_at(stage, clock.now()):
            yield line


def list_unsent(stage: Stage, who: str) -> list[Unsent]:
    """What was held, missed or cancelled for a patient, or done by staff instead; alike ones are counted together."""
    with stage.clinic.store.read() as session:
        rows = [row for row, _ in list_reminders(session, patient_id=stage.patients[who])]
        groups: dict[tuple[str, str], list[Reminder]] = {}
        for row in rows:
            if row.state is not ReminderState.SENT and row.reason is not None:
                groups.setdefault((_title(row), stands(row)), []).append(row)
        found = []
        for (title, how), alike in groups.items():
            dates = [datetime.fromisoformat(row.due_local) for row in alike]
            found.append(Unsent(title, len(alike), min(dates), max(dates), how))
        return sorted(found, key=lambda unsent: (unsent.first, unsent.title))


def count_ahead(stage: Stage, who: str) -> int:
    """How many messages to a patient are planned for after the end."""
    with stage.clinic.store.read() as session:
        rows = [row for row, _ in list_reminders(session, patient_id=stage.patients[who])]
        return sum(row.state in LIVE_STATES and row.audience is Audience.PATIENT for row in rows)


def _next_ready(stage: Stage) -> datetime | None:
    with stage.clinic.store.read() as session:
        return find_next_ready(session)


def _left_at(stage: Stage, now: datetime) -> list[Line]:
    names = {patient_id: who for who, patient_id in stage.patients.items()}
    order = list(CAST)
    with stage.clinic.store.read() as session:
        lines = [
            Line(now, to_wall(now, row.zone), row.zone, names[row.patient_id], _subject(session, row), is_message=True)
            for row, _ in list_reminders(session, ReminderState.SENT)
            if row.sent_at == now
        ]
    return sorted(lines, key=lambda line: (order.index(line.who), line.words))


def _subject(session: Session, row: Reminder) -> str:
    """The subject as it was sent, from the kept copy."""
    copy = read_copy(session, list_attempts(session, row.id)[-1].number)
    if copy is None:
        return "(no copy was kept)"
    return str(message_from_bytes(copy, policy=policy.default)["Subject"])


def _title(row: Reminder) -> str:
    if row.audience is Audience.STAFF:
        return f"line for staff ({row.template.removeprefix('staff_').replace('_', ' ')})"
    return row.template.replace("_", " ")
