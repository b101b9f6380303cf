"""`Clinic`: the parts every use case needs, put together once by `service.py`. Nothing is built at import."""

from dataclasses import dataclass

from db.engine import Store
from scheduler.clock import Clock
from scheduler.library import Library
from scheduler.mime import MailWriter
from scheduler.planning.facts import Rules
from scheduler.settings import Settings


@dataclass(frozen=True, slots=True)
class Clinic:
    """One running Aftercare: its settings, its record, its clock, its protocols and texts.

    `fingerprint` changes when planning would come out differently for unchanged facts (settings, holidays, zones).
    """

    settings: Settings
    store: Store
    clock: Clock
    library: Library
    writer: MailWriter
    rules: Rules
    fingerprint: str
