"""The recorder: marks and outcomes of all connections, committed in groups, so that safety costs one flush for many.

It repeats until durable. While it cannot, `healthy` is False and nothing new is claimed or marked.
"""

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeGuard
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from db import marks, patients
from db.marks import Mark
from db.states import AttemptOutcome
from scheduler import outcomes
from scheduler.clinic import Clinic
from scheduler.logs import log
from scheduler.outcomes import Ended

GROUP = 200  # marks and outcomes in one transaction; more would make the first of them wait
BUSY = 2  # more than these together: others are on their way
GATHER = 0.002  # seconds they are then waited for: less than a commit takes, and one commit is spared
FIRST_WAIT = 0.2  # seconds before a failed commit is repeated; doubles
LONGEST_WAIT = 10.0
ACTOR = "service"


@dataclass(slots=True)
class _Waiting:
    wanted: Mark | Ended
    done: "asyncio.Future[int | None]"


class Recorder:
    """Takes marks and outcomes from any number of tasks of one loop and writes them in one stream."""

    def __init__(self, clinic: Clinic, executor: Executor) -> None:
        self._clinic = clinic
        self._executor = executor
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self.healthy = True

    async def mark(self, mark: Mark) -> int | None:
        """The attempt's number once it is durable; None when a stop came first and nothing may be handed over."""
        return await self._take(mark)

    def record(self, ended: Ended) -> "asyncio.Future[int | None]":
        """Take an outcome; done once it is durable. Whatever is marked after this call is durable after it."""
        return self._take(ended)

    async def run(self) -> None:
        """Write until cancelled; cancel it only when nobody waits any more."""
        busy = False
        while True:
            group = [await self._queue.get()]
            if busy:
                await asyncio.sleep(GATHER)
            while len(group) < GROUP and not self._queue.empty():
                group.append(self._queue.get_nowait())
            busy = len(group) > BUSY
            await self._write(group)

    def _take(self, wanted: Mark | Ended) -> "asyncio.Future[int | None]":
        waiting = _Waiting(wanted, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(waiting)
        return waiting.done

    async def _write(self, group: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        wait, again = FIRST_WAIT, False
        while True:
            try:
                results = await loop.run_in_executor(self._executor, self._commit, [w.wanted for w in group], again)
                break
            except (SQLAlchemyError, OSError) as error:
                self.healthy, again = False, True  # it may have been committed all the same
                log().error("recorder_waits", error=type(error).__name__, count=len(group), seconds=wait)
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT)
            except Exception as error:  # noqa: BLE001 (one of them: the others, and all that come, must be written)
                if len(group) > 1:
                    for waiting in group:
                        await self._write([waiting])
                    return
                results = [None]  # a mark that does not hold, or an answer that recovery will find missing
                log().error("not_recorded", reminder_id=_reminder_of(group[0].wanted), error=type(error).__name__)
                break
        self.healthy = True
        for waiting, result in zip(group, results, strict=True):
            if not waiting.done.done():
                waiting.done.set_result(result)
        accepted = sum(1 for waiting in group if _is_accepted(waiting.wanted))
        if accepted:
            log().info("messages_left", count=accepted)

    def _commit(self, group: list[Mark | Ended], again: bool) -> list[int | None]:
        clinic = self._clinic
        with clinic.store.write(ACTOR, clinic.clock.now()) as session:
            patients.lock_patients_of(session, [wanted.reminder_id for wanted in group if isinstance(wanted, Ended)])
            # Outcomes first: one of them may bring the very stop that a mark of this group has to see.
            accepted = [wanted for wanted in group if _is_accepted(wanted)]
            if accepted:
                outcomes.write_accepted(session, clinic, accepted)
            for wanted in group:
                if isinstance(wanted, Ended) and not _is_accepted(wanted):
                    outcomes.write(session, clinic, wanted)
            opened = marks.mark(session, [wanted for wanted in group if isinstance(wanted, Mark)], again)
        return [opened.get(wanted.claim.reminder_id) if isinstance(wanted, Mark) else None for wanted in group]


def _reminder_of(wanted: Mark | Ended) -> UUID:
    return wanted.claim.reminder_id if isinstance(wanted, Mark) else wanted.reminder_id


def _is_accepted(wanted: Mark | Ended) -> TypeGuard[Ended]:
    return isinstance(wanted, Ended) and wanted.outcome is AttemptOutcome.ACCEPTED and wanted.attempt is not None
