"""What the tests of the staff's side share: a course with exercises, and a patient who answers on her page."""

from uuid import UUID

from db.types import new_id
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
    """Her page, as a link in a message about this treatment opens it."""
    with desk.store.read() as session:
        plan = treatments.get_plan(session, treatment_id)
        return Opening(
            patient_id=plan.patient_id,
            plan_id=plan.id,
            treatment_id=treatment_id,
            reminder_id=new_id(),
            email_version=1,
            confirms=False,
            language="en",
        )
