"""`Clinic`: the parts every use case needs, put together once by `service.py`. Nothing is built at import."""

from dataclasses import dataclass
from functools import cached_property

from db.engine import Store
from scheduler.clock import Clock
from scheduler.library import Library
from scheduler.mime import MailWriter
from scheduler.planning.facts import Rules
from scheduler.rules import fingerprint, rules
from scheduler.settings import Settings


@dataclass(frozen=True)
class Clinic:
    """One running Aftercare: its settings, its record, its clock, its protocols and texts."""

    settings: Settings
    store: Store
    clock: Clock
    library: Library
    writer: MailWriter

    @cached_property
    def rules(self) -> Rules:
        """What planning reads of the settings; made when it is first asked for: holidays take a tenth of a second."""
        return rules(self.settings)

    @cached_property
    def fingerprint(self) -> str:
        """Changes when planning would come out differently for unchanged facts (settings, holidays, zones)."""
        return fingerprint(self.settings)
