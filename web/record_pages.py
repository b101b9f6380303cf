"""A treatment's record: filling in its fields, signing it, amending it with a reason, and every earlier version."""

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response
from pydantic import Field

from scheduler import signing, treatments
from scheduler.errors import InvalidInput, Refused
from web.doors import me_of
from web.forms import Filled, FormModel, filled
from web.pages import clinic_of, go_to, page
from web.seen import note_view
from web.times import Say
from web.treatment_parts import head_of


class RecordForm(FormModel):
    """The record as typed: `field.<key>`; `version`: the one it was typed over; `sign`: the button that signs too."""

    groups: ClassVar[Mapping[str, str]] = {"record": "field."}

    clinician: str = ""
    record: dict[str, str] = Field(default_factory=dict)
    reason: str = ""
    version: str = ""
    sign: str = ""


def record_page(request: Request, treatment_id: UUID) -> Response:
    """The record, to be filled in, signed or amended."""
    clinic = clinic_of(request)
    with clinic.store.read() as session:
        treatments.get(session, treatment_id)
        versions = signing.list_signed_versions(session, treatment_id)
    latest = versions[-1]
    form = RecordForm(
        clinician=latest.clinician or me_of(request).name, record=dict(latest.fields), version=str(latest.number)
    )
    return _record(request, treatment_id, filled(form))


def save_record(request: Request, treatment_id: UUID) -> Response:
    """Write what was typed as a new version; sign it when asked to."""
    form, clinic, me = RecordForm.read(request), clinic_of(request), me_of(request)
    try:
        signing.fill_in(
            clinic,
            me.actor,
            treatment_id,
            form.record,
            form.clinician,
            form.reason,
            seen=int(form.version) if form.version.isdecimal() else None,
            signs=bool(form.sign),
        )
    except InvalidInput as wrong:
        return _record(request, treatment_id, filled(form, wrong, _labels(request, treatment_id)), 422)
    except Refused as wrong:  # what was typed is not lost: it is shown over what is recorded now
        with clinic.store.read() as session:
            latest = signing.list_signed_versions(session, treatment_id)[-1].number
        return _record(request, treatment_id, filled(form.model_copy(update={"version": str(latest)}), wrong), 409)
    return go_to(f"/treatments/{treatment_id}/record", "record-signed" if form.sign else "record-saved")


def _labels(request: Request, treatment_id: UUID) -> dict[str, str]:
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        protocol = signing.protocol_of(session, clinic, treatments.get(session, treatment_id))
    labels = {f"field.{field.key}": field.label for field in protocol.fields}
    return {**labels, "clinician": "Clinician", "reason": "Reason"}


def _record(request: Request, treatment_id: UUID, form: Filled, status: int = 200) -> Response:
    clinic = clinic_of(request)
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        treatment = treatments.get(session, treatment_id)
        protocol = signing.protocol_of(session, clinic, treatment)
        versions = signing.list_signed_versions(session, treatment_id)
        head = head_of(session, treatment, clinic, say)
    labels = {field.key: field.label for field in protocol.fields}
    latest = versions[-1]
    note_view(request, "treatment.viewed", "treatment", treatment_id, head["who"].id, ["record"])
    return page(
        request,
        "treatment/record.html",
        status,
        form=form,
        fields=protocol.fields,
        latest=latest,
        is_signed=latest.signed_at is not None,
        was_signed=any(version.signed_at for version in versions),
        missing=signing.missing_for_signing(protocol, latest.fields, latest.clinician),
        versions=[
            (version, [(labels.get(key, key), text) for key, text in version.fields.items()])
            for version in reversed(versions)
        ],
        **head,
    )
