"""Planning many patients again, each in a transaction of her own, so that nobody waits and a crash loses nothing.

Planning one patient is in `scheduler.care_plans`; what a crash left undone is done by `scheduler.recovery`.
"""

from collections.abc import Callable, Iterable
from uuid import UUID

from sqlalchemy.orm import Session

from db import care_plans as stored_plans
from db import patients as stored_patients
from scheduler.care_plans import replan
from scheduler.clinic import Clinic

Progress = Callable[[int, int], None]  # done, of how many


def outdate(session: Session, patient_ids: list[UUID]) -> list[UUID]:
    """Note that these patients wait to be planned again: what a crash leaves undone is done at the next start."""
    stored_plans.mark_outdated(session, patient_ids)
    return patient_ids


def replan_each(clinic: Clinic, actor: str, patient_ids: Iterable[UUID], progress: Progress | None = None) -> int:
    """Plan patients again; how many. `progress` is told how many of how many."""
    count = 0
    waiting = list(dict.fromkeys(patient_ids))
    for place, patient_id in enumerate(waiting, start=1):
        with clinic.store.write(actor, clinic.clock.now()) as session:
            if stored_patients.find_patient(session, patient_id) is not None:
                replan(session, clinic, patient_id)
                count += 1
        if progress:
            progress(place, len(waiting))
    return count
