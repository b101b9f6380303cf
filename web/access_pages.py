"""What a patient's private page is opened with, as the desk sets it: her code, the end of all links, her hour and day.

The page itself is in `web.private`; all else that is known about her is changed in `web.patient_pages`.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from db import page_links
from db.private_page import PageCodeKind
from db.records import Patient
from scheduler import patients, preferences, private_page
from scheduler.answers import times_to_choose
from scheduler.clinic import Clinic
from scheduler.errors import InvalidInput, Refused
from web.doors import me_of
from web.forms import EmptyForm, Filled, FormModel, filled
from web.pages import clinic_of, go_to, page
from web.people import full_name
from web.seen import note_view
from web.times import Say

KINDS: Final = (
    (PageCodeKind.WORD.value, "A word or number that only the patient knows"),
    (PageCodeKind.BIRTH_DATE.value, "The date of birth, because the patient chose that"),
)
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_CODE_LABELS: Final = {"code": "Code", "kind": "Opened with", "birth_date": "Date of birth"}
_PREFERENCE_LABELS: Final = {"at": "Hour", "weekday": "Day"}


class CodeForm(FormModel):
    """What opens the page beside the link. The code is in no answer."""

    kind: str = ""
    code: str = ""


class PreferenceForm(FormModel):
    """When a patient likes to be written to."""

    at: str = ""
    weekday: str = ""


def access_page(request: Request, patient_id: UUID) -> Response:
    """How her private page is opened, and when she likes to be written to."""
    return _access(request, patient_id)


def set_code(request: Request, patient_id: UUID) -> Response:
    """Set what she chose at the desk; tries begin anew."""
    form = CodeForm.read(request)
    try:
        if form.kind not in {kind for kind, _ in KINDS}:
            raise InvalidInput("kind: choose what opens the page")
        private_page.set_code(clinic_of(request), me_of(request).actor, patient_id, PageCodeKind(form.kind), form.code)
    except (InvalidInput, Refused) as wrong:
        return _access(request, patient_id, code=filled(CodeForm(kind=form.kind), wrong, _CODE_LABELS), status=422)
    return go_to(f"/patients/{patient_id}", "page-code-set")


def revoke(request: Request, patient_id: UUID) -> Response:
    """No link that was sent until now opens anything any more."""
    EmptyForm.read(request)
    private_page.revoke_links(clinic_of(request), me_of(request).actor, patient_id)
    return go_to(f"/patients/{patient_id}/private-page", "links-revoked")


def prefer(request: Request, patient_id: UUID) -> Response:
    """Change her hour and day; the plan follows."""
    form = PreferenceForm.read(request)
    try:
        preferences.prefer(clinic_of(request), me_of(request).actor, patient_id, form.at, form.weekday)
    except InvalidInput as wrong:
        return _access(request, patient_id, prefers=filled(form, wrong, _PREFERENCE_LABELS), status=422)
    return go_to(f"/patients/{patient_id}", "patient-changed")


def access_of(session: Session, clinic: Clinic, patient: Patient, say: Say) -> Mapping[str, Any]:
    """How her page is opened and when she is written to, in words, for the patient's page: one question."""
    code = page_links.find_code(session, patient.id)
    has_pages = clinic.settings.public_url is not None
    if code is None:
        state = ("amber" if has_pages else "quiet", "no code is set: the page shows neutral words only")
    elif code.tries >= private_page.MOST_TRIES:
        state = ("amber", "locked after too many wrong codes: set a new one")
    else:
        what = "the date of birth" if code.kind is PageCodeKind.BIRTH_DATE else "a word"
        state = ("green", f"opened with {what}, set {say.day(code.set_at)}")
    return {
        "has_pages": has_pages,
        "state": state,
        "has_code": code is not None,
        "revoked": say.when(patient.links_revoked_at) if patient.links_revoked_at else "",
        "prefers": _prefers(patient),
    }


def _prefers(patient: Patient) -> str:
    day = "" if patient.preferred_weekday is None else f"on {DAYS[patient.preferred_weekday]}s"
    hour = f"at {patient.preferred_time}" if patient.preferred_time else ""
    return " ".join(part for part in (day, hour) if part)


def _access(
    request: Request, patient_id: UUID, code: Filled | None = None, prefers: Filled | None = None, status: int = 200
) -> Response:
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        patient = patients.get(session, patient_id)
        access = access_of(session, clinic, patient, Say(clinic, clinic.clock.now()))
        name, first_name = full_name(patient), patient.preferred_name or patient.given_name or ""
        weekday = "" if patient.preferred_weekday is None else str(patient.preferred_weekday)
        chosen = filled(PreferenceForm(at=patient.preferred_time or "", weekday=weekday))
    note_view(request, "patient.viewed", "patient", patient_id, patient_id, ["private page"])
    return page(
        request,
        "patient/access.html",
        status,
        patient_id=patient_id,
        name=name,
        first_name=first_name,
        access=access,
        code=code or filled(CodeForm(kind=PageCodeKind.WORD.value)),
        prefers=prefers or chosen,
        kinds=KINDS,
        times=[("", "as the clinic does"), *((at, at) for at in times_to_choose(clinic.settings.send_window))],
        days=[("", "any day"), *((str(number), name) for number, name in enumerate(DAYS))],
        shortest=private_page.SHORTEST_CODE,
    )
