"""Cancel against send: staff stop a message while it is claimed, marked and handed over, as often as is asked for.

The short form is in `make test`, the long one is `make races`: both are `tests/test_races.py`.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from db import marks
from db.states import DecisionKind, EventKind, ReminderState, StopReason
from scheduler.errors import AftercareError
from tests.clinic import Desk
from tests.people import AMINA


@dataclass(slots=True)
class Tally:
    """What became of the races. `broken`: a stop was committed before the mark, and the message was handed over."""

    races: int = 0
    stopped: int = 0
    sent: int = 0
    broken: list[str] = field(default_factory=list)
    stop_takes: float = 0.05  # seconds, as the last one did: the mark begins somewhere within it


def race(desk: Desk, draw: random.Random, tally: Tally) -> None:
    """One message due, claimed and written; then one thread stops it and another marks it, in either order.

    After the mark the content would leave at once: so a message that was marked counts as sent, and a stop whose
    commit returned before the mark was begun must have won.
    """
    who = {"time_zone": "Europe/London", "email": f"race{tally.races}@example.org", "record_number": None}
    patient_id = desk.enter(AMINA, **who)
    treatment_id = desk.treat(patient_id, "2026-11-23T08:30").treatment_id
    row = desk.row("after-visit", treatment_id=treatment_id)
    desk.decide(row, DecisionKind.SEND_NOW)
    worker = desk.worker()
    (claim,) = [found for found in desk.claim(worker) if found.patient_id == patient_id]
    letter = desk.letter(claim)
    stops = _stops(desk, patient_id, treatment_id, row.id)
    stop = draw.choice(stops)
    ends: dict[str, float] = {}
    results: dict[str, int | None] = {}
    start = threading.Barrier(2)
    lead = draw.uniform(-0.4, 1.2) * tally.stop_takes  # of the stop

    def staff() -> None:
        start.wait()
        time.sleep(max(0.0, -lead))
        began = time.monotonic()
        try:
            stop()
        except AftercareError:
            return  # it was on the wire already, and she was told so
        ends["stopped"] = time.monotonic()
        tally.stop_takes = ends["stopped"] - began

    def sender() -> None:
        start.wait()
        time.sleep(max(0.0, lead))
        ends["began"] = time.monotonic()
        mark = marks.Mark(claim, worker, letter.email_version, letter.packed)
        with desk.store.write("service", desk.clock.now()) as session:
            results["number"] = marks.mark(session, [mark]).get(claim.reminder_id)

    threads = [threading.Thread(target=work) for work in (staff, sender)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.races += 1
    left = results.get("number") is not None
    tally.sent += left
    tally.stopped += not left
    if left and ends.get("stopped", float("inf")) < ends["began"]:
        tally.broken.append(f"race {tally.races}: stopped before its mark was begun, and handed over")
    after = next(found for found in desk.rows(treatment_id) if found.id == row.id)
    if not left and (after.state is ReminderState.SENDING or "stopped" not in ends):
        tally.broken.append(f"race {tally.races}: neither stopped nor sent")
    if left and after.open_attempt is None:
        tally.broken.append(f"race {tally.races}: a stop took a message from the wire")


def _stops(desk: Desk, patient_id: UUID, treatment_id: UUID, reminder_id: UUID) -> list[Callable[[], object]]:
    row = next(found for found in desk.rows(treatment_id) if found.id == reminder_id)
    return [
        lambda: desk.decide(row, DecisionKind.CANCEL),
        lambda: desk.decide(row, DecisionKind.HOLD),
        lambda: desk.stop(patient_id, StopReason.UNSAFE),
        lambda: desk.event(treatment_id, EventKind.STOP),
        lambda: desk.event(treatment_id, EventKind.COMPLICATION),
        lambda: desk.change(patient_id, email="moved.away@example.org"),
    ]


def run(desk: Desk, count: int, seed: int) -> Tally:
    """That many races, the same ones for the same seed."""
    draw, tally = random.Random(seed), Tally()  # noqa: S311 (no secret: the same races again)
    for _ in range(count):
        race(desk, draw, tally)
    return tally
