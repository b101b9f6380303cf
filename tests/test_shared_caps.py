"""The rate and the daily cap are those of the clinic, however many processes send."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from db import sends
from db.follow_up import Reminder
from scheduler import pace
from tests.clinic import Desk
from tests.people import CAST


@pytest.mark.parametrize("setting", ["SMTP_RATE_PER_MINUTE", "DAILY_CAP"])
def test_two_processes_together_take_what_one_may(postgres_desk: Desk, setting: str) -> None:
    desk = postgres_desk.with_settings(**{setting: "3", "SEND_WINDOW": "00:00-24:00"})
    for person in CAST[:5]:
        desk.treat(desk.enter(person))
    desk.tick(hours=9)

    def take(name: str) -> int:
        now = desk.clock.now()
        with desk.store.write("service", now) as session:
            return len(sends.claim_due(session, workers[name], now, min(2, pace.left(session, desk.clinic, now))))

    workers = {name: desk.worker(name) for name in ("one", "another")}
    with ThreadPoolExecutor(2) as threads:
        assert sum(threads.map(take, ["one", "another"] * 2)) == 3
    claims = [claim for name in workers for claim in _claims(desk, workers[name])]
    assert len(claims) == 3


def _claims(desk: Desk, worker_id: UUID) -> list[Reminder]:
    with desk.store.read() as session:
        return sends.list_claims_of(session, worker_id)
