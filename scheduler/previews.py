"""Previews: the exact mail of one step, as it would leave; reads only, drafts included."""

from uuid import UUID

from sqlalchemy.orm import Session

from db import audit, reminders
from db.follow_up import CarePlan, Reminder
from db.states import Audience
from scheduler import patients, treatments
from scheduler.clinic import Clinic
from scheduler.compose import Letter, NothingToSend, Revealing, write_letter
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.messages import RenderFailed
from scheduler.mime import make_message_id
from scheduler.planning.protocol import Step

NOBODY = "nobody@example.org"  # stands in the preview of a patient without an address


def preview(clinic: Clinic, actor: str, treatment_id: UUID, step_key: str, occurrence: int = 1) -> Letter:
    """The mail of one step of a treatment; its own Message-ID where the reminder exists. Changes nothing of the
    record; that it was shown is noted.

    Raises `InvalidInput` for a step that is none or mails nothing, `Refused` when it cannot be written.
    """
    with clinic.store.write(actor, clinic.clock.now()) as session:
        treatment = treatments.get(session, treatment_id)
        plan = treatments.get_plan(session, treatment_id)
        step = _step(session, clinic, plan, step_key)
        row = _row(session, treatment_id, step_key, occurrence) or Reminder(
            id=plan.id,
            care_plan_id=plan.id,
            patient_id=treatment.patient_id,
            step=step.key,
            occurrence=occurrence,
            template=step.template,
            message_id=make_message_id(clinic.settings.message_domain),
        )
        patients.get(session, treatment.patient_id)
        audit.record(session, "message.previewed", "treatment", treatment_id, treatment.patient_id, [step_key])
        try:
            return write_letter(session, clinic, row, approved_only=False, stand_in=NOBODY)
        except (NothingToSend, RenderFailed) as wrong:
            raise Refused(f"it cannot be written yet: {wrong}") from wrong


def preview_reminder(clinic: Clinic, reminder_id: UUID) -> Letter:
    """The mail of a stored reminder as it would leave now, drafts included; writes nothing, so the caller notes it.

    Raises `NotFound`, or `Refused` when it mails nothing or cannot be written.
    """
    with clinic.store.read() as session:
        row = reminders.find_reminder(session, reminder_id)
        if row is None:
            raise NotFound(f"there is no reminder {reminder_id}")
        return preview_row(session, clinic, row)


def preview_row(session: Session, clinic: Clinic, row: Reminder) -> Letter:
    """As `preview_reminder`, of a row that is at hand. Raises `Refused`."""
    if row.audience is Audience.STAFF:
        raise Refused("this is a line for staff: nothing is mailed")
    try:
        return write_letter(session, clinic, row, approved_only=False, stand_in=NOBODY)
    except (NothingToSend, RenderFailed, Revealing) as wrong:
        raise Refused(f"it cannot be written yet: {wrong}") from wrong


def _step(session: Session, clinic: Clinic, plan: CarePlan, key: str) -> Step:
    protocol = clinic.library.shelf(session).get(plan.protocol_version_id).protocol
    mails = {step.key: step for step in protocol.steps if step.audience == "patient"}
    if key not in mails:
        raise InvalidInput(f'step: "{key}" is none of {", ".join(mails)}')
    return mails[key]


def _row(session: Session, treatment_id: UUID, step_key: str, occurrence: int) -> Reminder | None:
    rows = [
        row
        for row, _ in reminders.list_reminders(session, treatment_id=treatment_id)
        if (row.step, row.occurrence) == (step_key, occurrence)
    ]
    return max(rows, key=lambda row: row.generation, default=None)
