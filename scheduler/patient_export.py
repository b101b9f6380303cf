"""All that is kept about one patient as one archive: the record as JSON and to read, her messages as they were sent.

It is made from the tables themselves, so that what a later version adds is in it. Who may have it is asked before.
"""

import html
import io
import json
import zipfile
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import audit
from db.base import Base
from db.follow_up import SentCopy
from db.marks import read_copy
from db.records import NamePrefix, Patient, PatientKey
from db.sealed import Sealed
from db.staff import AuditEvent
from scheduler.clinic import Clinic
from scheduler.patients import get

_LEFT_OUT: Final = (PatientKey, NamePrefix, SentCopy)  # keys of the program; messages are files of their own


def export(clinic: Clinic, actor: str, patient_id: UUID) -> bytes:
    """The archive (ZIP) of a patient, opened: whoever holds it can read it. Raises `NotFound`."""
    now = clinic.clock.now()
    with clinic.store.write(actor, now) as session:
        patient = get(session, patient_id)
        record = {"made_at": _plain(now), **_tables(session, patient)}
        copies = _messages(session, patient_id)
        audit.record(session, "patient.exported", "patient", patient_id, patient_id, record.keys())
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
        files.writestr("record.json", json.dumps(record, ensure_ascii=False, indent=2))
        files.writestr("record.html", _page(record))
        for name, content in copies.items():
            files.writestr(f"messages/{name}.eml", content)
    return archive.getvalue()


def _tables(session: Session, patient: Patient) -> dict[str, Any]:
    found: dict[str, Any] = {"patients": [_row(patient)]}
    for mapper in sorted(Base.registry.mappers, key=lambda mapper: str(mapper.local_table)):
        model = mapper.class_
        if "patient_id" not in mapper.columns or model in _LEFT_OUT:
            continue
        rows = session.scalars(select(model).where(model.patient_id == patient.id).order_by(*mapper.primary_key))
        found[str(mapper.local_table)] = [_row(row) for row in rows]
    return found


def _row(row: Any) -> dict[str, Any]:
    """Every column of a row, sealed ones opened; keyed hashes left out: they mean nothing without our keys."""
    told: dict[str, Any] = {}
    for column in row.__mapper__.columns:
        name = column.key
        if name.endswith(("_index", "_mac")) or (name == "mac" and isinstance(row, AuditEvent)):
            continue
        if not name.endswith("_sealed"):
            told[name] = _plain(getattr(row, name))
    for name, sealed in vars(type(row)).items():
        if isinstance(sealed, Sealed):
            told[name.removesuffix("_text") if name == "birth_date_text" else name] = _plain(getattr(row, name))
    return told


def _messages(session: Session, patient_id: UUID) -> dict[str, bytes]:
    attempts = session.scalars(select(SentCopy.attempt).where(SentCopy.patient_id == patient_id))
    return {f"attempt-{attempt}": read_copy(session, attempt) or b"" for attempt in sorted(attempts)}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    return value


def _page(record: dict[str, Any]) -> str:
    parts = ["<!doctype html><html lang='en'><meta charset='utf-8'><title>Record</title><h1>Record</h1>"]
    for name, rows in record.items():
        if not isinstance(rows, list) or not rows:
            continue
        parts.append(f"<h2>{html.escape(name.replace('_', ' '))}</h2>")
        for row in rows:
            told = [
                f"<dt>{html.escape(key.replace('_', ' '))}</dt><dd>{html.escape(_spoken(value))}</dd>"
                for key, value in row.items()
                if value not in (None, "", {}, [])
            ]
            parts.append(f"<dl>{''.join(told)}</dl><hr>")
    return "\n".join([*parts, "</html>"])


def _spoken(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {told}" for key, told in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
