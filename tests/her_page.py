"""What the tests of the staff's side share: a course with exercises, and a patient who answers on her page."""

from secrets import token_bytes
from uuid import UUID

from sqlalchemy import select

from db.follow_up import Reminder
from db.private_page import MessageLink
from db.states import ReminderState
from scheduler import treatments
from scheduler.private_page import Opening
from tests.clinic import COURSE, Desk

EXERCISES = """
[[exercise]]
key = "breathing"
text = "exercise_breathing"

[[exercise]]
key = "letting-go"
text = "exercise_letting_go"

[[exercise]]
key = "together-touch"
text = "exercise_together_touch"
phase = "partner"

[check_in]
pain = 7
not_yet = 2
silence = "P21D"

"""
AT_HOME = COURSE.replace("version = 1", "version = 2").replace("[[review]]", EXERCISES + "[[review]]", 1)


def opening(desk: Desk, treatment_id: UUID) -> Opening:
    """Her page, as the link in a message about this treatment opens it."""
    with desk.store.write("service", desk.clock.now()) as session:
        plan = treatments.get_plan(session, treatment_id)
        row = session.scalars(
            select(Reminder).where(Reminder.care_plan_id == plan.id, Reminder.state != ReminderState.CANCELLED)
        ).first()
        assert row is not None
        if session.get(MessageLink, row.id) is None:
            hashes = {"page_hash": token_bytes(32), "stop_hash": token_bytes(32)}
            now = desk.clock.now()
            session.add(
                MessageLink(reminder_id=row.id, patient_id=plan.patient_id, email_version=1, made_at=now, **hashes)
            )
        return Opening(
            patient_id=plan.patient_id,
            plan_id=plan.id,
            treatment_id=treatment_id,
            reminder_id=row.id,
            email_version=1,
            confirms=False,
            language="en",
        )
