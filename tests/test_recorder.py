"""The recorder when one of a group cannot be written: the others are, and nobody waits for ever."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest

from db.marks import Mark
from db.states import AttemptOutcome
from scheduler.outcomes import Ended
from scheduler.recorder import Recorder
from tests.clinic import Desk
from tests.people import AMINA, BEATRIX

pytestmark = pytest.mark.both


async def test_one_that_cannot_be_written_keeps_nobody_waiting(desk: Desk) -> None:
    for person in (AMINA, BEATRIX):
        desk.treat(desk.enter(person))
    desk.tick(hours=9)
    worker = desk.worker()
    good, bad = desk.claim(worker)
    letter = desk.letter(good)
    wanted = [
        Mark(good, worker, letter.email_version, letter.packed),
        # No such patient: the copy cannot be sealed, whatever the reason may be one day.
        Mark(replace(bad, patient_id=uuid4()), worker, desk.letter(bad).email_version, letter.packed),
    ]
    with ThreadPoolExecutor(1) as executor:
        recorder = Recorder(desk.clinic, executor)
        marks = [asyncio.ensure_future(recorder.mark(each)) for each in wanted]
        await asyncio.sleep(0)  # both are in one group
        running = asyncio.create_task(recorder.run())
        first, second = await asyncio.wait_for(asyncio.gather(*marks), 30)
        assert (first, second) == (1, None)
        ended = Ended(good.reminder_id, first, worker, good.fence, letter.email_version, AttemptOutcome.ACCEPTED)
        await asyncio.wait_for(recorder.record(ended), 30)
        assert not running.done()
        running.cancel()
    states = {row.id: row.state.value for row in desk.rows() if row.id in (good.reminder_id, bad.reminder_id)}
    assert states == {good.reminder_id: "sent", bad.reminder_id: "sending"}
