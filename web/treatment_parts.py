"""What stands over every form about a treatment: whose, what and when; that it was looked at is noted.

The treatment's own page is in `web.treatment_pages`.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from db import treatments as stored
from db.records import Treatment
from scheduler import patients, treatments
from scheduler.clinic import Clinic
from web.pages import page
from web.people import full_name, person
from web.seen import note_view
from web.times import Say


def head_of(session: Session, treatment: Treatment, clinic: Clinic, say: Say) -> dict[str, Any]:
    """What stands over every form about a treatment: whose, what and when."""
    patient = patients.get(session, treatment.patient_id)
    content = stored.get_content(session, treatment.id)
    plan = treatments.get_plan(session, treatment.id)
    return {
        "treatment_id": treatment.id,
        "who": person(patient, say.today),
        "name": full_name(patient),
        "title": clinic.library.shelf(session).get(plan.protocol_version_id).protocol.title,
        "when": say.wall(content.treated_local),
    }


def about(request: Request, template: str, status: int, head: Mapping[str, Any], /, **values: object) -> Response:
    """A form about a treatment under its head; that it was looked at is noted."""
    note_view(request, "treatment.viewed", "treatment", head["treatment_id"], head["who"].id, ["name"])
    return page(request, template, status, **values, **head)
