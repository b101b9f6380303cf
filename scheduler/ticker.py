"""The ticker: APScheduler as the clock of the service, the table of what wakes when. The only file that imports it.

Nothing is sent in a job (3.11 cancels running coroutines at shutdown): a tick sets an event or runs a short write.
Truth is rows with `ready_at <= now`; a lost tick costs at most a second.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from scheduler.logs import log

LOOK_SECONDS = 1  # whether another process made something due earlier
HEARTBEAT_SECONDS = 10
SWEEP_SECONDS = 30
HOUSEKEEPING_SECONDS = 60  # whether a check, the day's mail or an alert is due
ANCHOR_MINUTES = 60
STATISTICS_HOURS = 1  # whether a day has passed since the database counted its rows

Tick = Callable[[], Awaitable[None]]


class Ticker:
    """Wakes what has to be woken. Every job: late is run, several late are one, never two at once."""

    def __init__(self) -> None:
        self._scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )

    def every(self, name: str, tick: Tick, **interval: int) -> None:
        """Run `tick` at a fixed interval (`seconds=30`). Its errors are logged and do not end it."""
        self._scheduler.add_job(_guarded(name, tick), "interval", id=name, **interval)

    def at(self, name: str, instant: datetime, tick: Tick) -> None:
        """Run `tick` once at an instant of the wall clock; naming it again replaces the earlier."""
        self._scheduler.add_job(_guarded(name, tick), "date", id=name, run_date=instant, replace_existing=True)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def stop(self) -> None:
        """End; what a tick was doing is cancelled, which is why a tick does nothing that matters."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


def _guarded(name: str, tick: Tick) -> Tick:
    async def run() -> None:
        try:
            await tick()
        except Exception as error:  # noqa: BLE001 (one tick: the next comes whatever happened)
            log().error("tick_failed", job=name, error=type(error).__name__)

    return run
