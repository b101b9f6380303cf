"""Stops that the journal has and this database lacks: found after an older copy was put back, and held until looked at.

The file itself is `scheduler.stop_log`; what closes the gate after a restore is in `scheduler.gate_watch`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit, gate
from db import patients as stored_patients
from db.states import StopReason
from db.vault import VaultError
from scheduler.care_plans import replan
from scheduler.clinic import Clinic
from scheduler.gate_watch import IN_DOUBT
from scheduler.logs import log
from scheduler.recorder import ACTOR
from scheduler.stop_log import Journal, StopEntry, path_of, read_journal

AT_ONCE = 400  # entries asked about in one query
LATEST = 200  # entries a start looks at before it reads them all
REPLAYED = "stop.replayed"


@dataclass(frozen=True, slots=True)
class Lost:
    """What the journal says beyond this database. `strangers`: of patients who are not in it at all."""

    journal: Journal
    of_patients: dict[UUID, list[StopEntry]]
    strangers: list[StopEntry]

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """When the first and the last of them were entered; None when there is none."""
        instants = [entry.at for entries in (*self.of_patients.values(), self.strangers) for entry in entries]
        return (min(instants), max(instants)) if instants else None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did: patients whose messages are held now, and what a person has to match by hand."""

    lost: Lost
    held: Sequence[UUID]
    stopped_already: Sequence[UUID]
    not_held: Sequence[UUID]  # their plan could not be made


def find_lost(session: Session, clinic: Clinic) -> Lost:
    """Read the whole journal and say what of it is not in this database and was not replayed into it."""
    journal = read_journal(path_of(clinic.settings), clinic.store.vault)
    of_patients: dict[UUID, list[StopEntry]] = {}
    strangers = []
    for some in _pieces(list(_unknown(session, journal.entries))):
        known = stored_patients.find_known(session, {entry.patient_id for entry in some})
        for entry in some:
            if entry.patient_id in known:
                of_patients.setdefault(entry.patient_id, []).append(entry)
            else:
                strangers.append(entry)
    return Lost(journal, of_patients, strangers)


def replay(clinic: Clinic, actor: str = ACTOR, shown: bool = False) -> Replayed:
    """Hold the messages of every patient with a stop that is not in this database, each in a transaction of her own.

    `shown`: a person has seen the list, so what belongs to nobody here is not told again. Replaying twice changes
    nothing.
    """
    with clinic.store.read() as session:
        lost = find_lost(session, clinic)
    held: list[UUID] = []
    already: list[UUID] = []
    not_held: list[UUID] = []
    for patient_id, entries in lost.of_patients.items():
        try:
            was_held = _hold(clinic, actor, patient_id, entries)
        except (LookupError, VaultError) as error:
            log().error("stop_not_replayed", patient_id=str(patient_id), error=type(error).__name__)
            not_held.append(patient_id)
            continue
        (held if was_held else already).append(patient_id)
    if shown and lost.strangers:
        with clinic.store.write(actor, clinic.clock.now()) as session:
            for entry in lost.strangers:
                audit.record(session, REPLAYED, "stop", entry.id)
    if lost.of_patients:
        log().warning("stops_replayed", count=len(held))
    return Replayed(lost, held, already, not_held)


def replay_if_lost(clinic: Clinic) -> None:
    """At a start: replay when one of the latest entries is not in this database, though nothing else was noticed.

    Behind a gate that is closed over a doubt the release does it, after it has dealt with what may have left.
    """
    latest = read_journal(path_of(clinic.settings), clinic.store.vault, LATEST)
    with clinic.store.read() as session:
        if gate.get_gate(session).cause in IN_DOUBT:
            return
        lacks = any(True for _ in _unknown(session, latest.entries))
    if lacks:
        replay(clinic)


def _hold(clinic: Clinic, actor: str, patient_id: UUID, entries: Sequence[StopEntry]) -> bool:
    """Whether her messages were held by this; False when they are stopped anyway, or it was no stop that is lost."""
    with clinic.store.write(actor, clinic.clock.now()) as session:
        # Who was just entering it holds her row: after the lock the trail says whether it was committed.
        stored_patients.lock_patient(session, patient_id)
        lost = list(_unknown(session, entries))
        if not lost:
            return False
        holds = stored_patients.find_stop(session, patient_id) is None
        if holds:
            stored_patients.add_stop(session, patient_id, StopReason.LOST, None)
        for entry in lost:
            audit.record(session, REPLAYED, "stop", entry.id, patient_id, [entry.fact])
        session.flush()
        replan(session, clinic, patient_id)
        return holds


def _unknown(session: Session, entries: Sequence[StopEntry]) -> Iterator[StopEntry]:
    for some in _pieces(entries):
        known = audit.find_known(session, [(entry.patient_id, entry.at, entry.fact) for entry in some])
        missing = [entry for entry in some if (entry.patient_id, entry.at, entry.fact) not in known]
        if missing:
            replayed = audit.find_subjects(session, REPLAYED, [entry.id for entry in missing])
            yield from (entry for entry in missing if entry.id not in replayed)


def _pieces(entries: Sequence[StopEntry]) -> Iterator[Sequence[StopEntry]]:
    return (entries[start : start + AT_ONCE] for start in range(0, len(entries), AT_ONCE))
