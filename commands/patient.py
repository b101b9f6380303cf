"""`patient add list show set stop resume`."""

import os
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from commands.context import (
    AsJson,
    By,
    Reason,
    Yes,
    actor,
    clinic_of,
    confirm,
    print_error,
    print_fields,
    print_json,
    print_line,
    print_table,
    read_id,
    read_word,
    utc,
)
from db import audit, page_links
from db import patients as stored
from db import treatments as stored_treatments
from db.private_page import PageCodeKind
from db.records import Patient
from db.states import CallSafe, StopReason
from scheduler import erasure, merging, patient_export, patients, private_page
from scheduler.entries import PatientForm
from scheduler.errors import InvalidInput

app = typer.Typer(help="Patients: enter, find, show, change; stop and permit messages.", no_args_is_help=True)

Text = Annotated[str | None, typer.Option()]
Level = Annotated[str | None, typer.Option(help="how much a mail may say: notice, general or full")]
Consent = Annotated[str | None, typer.Option(help="all, reviews, exercises or none; not given: not recorded")]


@app.command()
def add(
    context: typer.Context,
    given_name: Annotated[str, typer.Option()],
    family_name: Annotated[str, typer.Option()],
    preferred_name: Text = None,
    email: Text = None,
    birth_date: Annotated[str | None, typer.Option(metavar="1990-05-31")] = None,
    record_number: Text = None,
    time_zone: Annotated[str | None, typer.Option(help="where the patient lives; default: the clinic's")] = None,
    language: Text = None,
    level: Level = None,
    phone: Text = None,
    call_safe: Annotated[str | None, typer.Option(help="may the patient be rung: yes, no or ask")] = None,
    contact_note: Annotated[str | None, typer.Option(help="safe times, code word")] = None,
    confirmed: Annotated[bool, typer.Option("--confirmed", help="the address was read back and is right")] = False,
    consent: Consent = None,
    by: By = None,
) -> None:
    """Enter a patient; prints the id."""
    form = PatientForm(
        given_name=given_name,
        family_name=family_name,
        preferred_name=preferred_name,
        email=email,
        birth_date=birth_date,
        record_number=record_number,
        time_zone=time_zone,
        language=language,
        level=level,
        phone=phone,
        call_safe=call_safe,
        contact_note=contact_note,
        confirmed="yes" if confirmed else None,
        consent=consent,
    )
    entered = patients.add(clinic_of(context), actor(by), form)
    print_line(str(entered.patient_id))
    for warning in entered.warnings:
        print_error(f"note: {warning}")


@app.command("list")
def list_(
    context: typer.Context,
    search: Annotated[str | None, typer.Option(help="beginnings of names, or a record number")] = None,
    limit: Annotated[int | None, typer.Option(min=1)] = None,
    as_json: AsJson = False,
    by: By = None,
) -> None:
    """List patients, the last changed first."""
    clinic = clinic_of(context)
    with clinic.store.write(actor(by), clinic.clock.now()) as session:
        found = stored.search_patients(session, search) if search else stored.list_patients(session, limit)
        rows = [_summary(session, patient) for patient in found[:limit]]
        audit.record(session, "patients.listed", "patient", fields=["name", "record_number"])
    if as_json:
        print_json(rows)
        return
    print_table(
        ("id", "record", "name", "e-mail", "flags"),
        [(row["id"], row["record_number"], row["name"], row["address"], _flags(row)) for row in rows],
        "There are no patients." if not search else "Nobody was found.",
    )


@app.command()
def show(context: typer.Context, patient_id: str, as_json: AsJson = False, by: By = None) -> None:
    """Show what is known about a patient; the view is recorded."""
    clinic = clinic_of(context)
    with clinic.store.write(actor(by), clinic.clock.now()) as session:
        patient = patients.get(session, read_id(patient_id, "patient"))
        shown = _details(session, patient)
        audit.record(session, "patient.viewed", "patient", patient.id, patient.id, shown.keys())
    if as_json:
        print_json(shown)
        return
    treatments = shown.pop("treatments")
    notes = shown.pop("notes")
    print_fields({key.replace("_", " "): _spoken(value) for key, value in shown.items()})
    for treatment in treatments:
        print_line(
            f"treatment {treatment['id']}  {treatment['treated_local'].replace('T', ' ')}  {treatment['protocol']}"
        )
    for note in notes:
        print_line(f"note {note['recorded_at']} {note['recorded_by']}: {note['text']}")


@app.command("set")
def set_(
    context: typer.Context,
    patient_id: str,
    given_name: Text = None,
    family_name: Text = None,
    preferred_name: Text = None,
    email: Text = None,
    birth_date: Annotated[str | None, typer.Option(metavar="1990-05-31")] = None,
    record_number: Text = None,
    time_zone: Text = None,
    language: Text = None,
    level: Level = None,
    phone: Text = None,
    call_safe: Text = None,
    contact_note: Text = None,
    confirmed: Annotated[bool, typer.Option("--confirmed", help="the address was read back and is right")] = False,
    consent: Consent = None,
    page_code: Annotated[str | None, typer.Option(metavar="WORD", help="a new code for the private page")] = None,
    by: By = None,
) -> None:
    """Change what is known about a patient; the plans follow. An empty text removes an optional value."""
    typed = PatientForm(
        given_name=given_name,
        family_name=family_name,
        preferred_name=preferred_name,
        email=email,
        birth_date=birth_date,
        record_number=record_number,
        time_zone=time_zone,
        language=language,
        level=level,
        phone=phone,
        call_safe=call_safe,
        contact_note=contact_note,
        confirmed="yes" if confirmed else None,
        consent=consent,
    )
    values = {name: getattr(typed, name) for name in typed.__dataclass_fields__ if getattr(typed, name) is not None}
    clinic, named = clinic_of(context), read_id(patient_id, "patient")
    if page_code is not None:
        private_page.set_code(clinic, actor(by), named, PageCodeKind.WORD, page_code)
    warnings = patients.change(clinic, actor(by), named, values) if values or page_code is None else ()
    for warning in warnings:
        print_error(f"note: {warning}")
    print_line("Changed. The plans follow.")


@app.command()
def stop(
    context: typer.Context,
    patient_id: str,
    reason: Annotated[str, typer.Option(help="deceased, opted-out, unsafe, left or other")],
    note: Annotated[str | None, typer.Option(help="more about it; sealed")] = None,
    by: By = None,
) -> None:
    """Stop all messages to a patient at once."""
    why = read_word(reason, StopReason, "reason")
    patients.stop(clinic_of(context), actor(by), read_id(patient_id, "patient"), why, note)
    print_line(f"Stopped. {why.sentence}")


@app.command()
def resume(context: typer.Context, patient_id: str, reason: Reason, by: By = None) -> None:
    """Permit messages to a patient again."""
    patients.resume(clinic_of(context), actor(by), read_id(patient_id, "patient"), reason)
    print_line("Messages are permitted again; what is still ahead is planned anew.")


@app.command()
def note(
    context: typer.Context, patient_id: str, text: Annotated[str, typer.Option(help="the note")], by: By = None
) -> None:
    """Add a dated clinical note to a patient's record."""
    clinic = clinic_of(context)
    if not text.strip():
        raise InvalidInput("--text: write the note")
    with clinic.store.write(actor(by), clinic.clock.now()) as session:
        patient = patients.get(session, read_id(patient_id, "patient"))
        added = stored_treatments.add_note(session, patient.id, text.strip())
        audit.record(session, "note.added", "note", added.id, patient.id, ["text"])
    print_line("Noted.")


@app.command()
def export(
    context: typer.Context,
    patient_id: str,
    file: Annotated[str, typer.Argument(metavar="FILE", help="a new file; it can be read by whoever has it")],
    by: By = None,
) -> None:
    """Write all that is kept about a patient into one archive (ZIP), for her."""
    path = Path(file)
    if path.exists():
        raise InvalidInput(f"{file} is there already: name a new file")
    archive = patient_export.export(clinic_of(context), actor(by), read_id(patient_id, "patient"))
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(archive)
    print_line(f"{file} holds the whole record, opened. Hand it over safely and delete it here.")


@app.command()
def merge(
    context: typer.Context,
    patient_id: Annotated[str, typer.Argument(metavar="PATIENT", help="the entry that goes")],
    into: Annotated[str, typer.Option("--into", metavar="PATIENT", help="the entry that stays")],
    reason: Annotated[str, typer.Option("--reason", help="how you know that it is the same person")],
    yes: Yes = False,
    by: By = None,
) -> None:
    """Put two entries of the same person together; the one that stays keeps its name and address."""
    clinic = clinic_of(context)
    gone, stays = read_id(patient_id, "patient"), read_id(into, "patient")
    with clinic.store.read() as session:
        told = merging.differences(patients.get(session, gone), patients.get(session, stays))
    if told:
        print_line(f"The entry that goes says otherwise about: {', '.join(told)}. What the other says holds.")
    confirm("Move everything of the first to the second? It cannot be taken apart again.", yes)
    done = merging.merge(clinic, actor(by), gone, stays, reason)
    print_line(f"Merged: {done.rows} row(s) moved. Links that were sent until now open nothing any more.")


@app.command()
def erase(context: typer.Context, patient_id: str, yes: Yes = False, by: By = None) -> None:
    """Erase a patient for good, when her record need not be kept any more."""
    clinic, named = clinic_of(context), read_id(patient_id, "patient")
    with clinic.store.read() as session:
        patients.get(session, named)
    confirm("Erase everything about this patient? Nobody can bring it back.", yes)
    erasure.erase(clinic, actor(by), named)
    print_line("Erased. Ids, dates and counts stay; a restored backup is erased again.")


def _summary(session: Session, patient: Patient) -> dict[str, Any]:
    stop = stored.find_stop(session, patient.id)
    return {
        "id": patient.id,
        "record_number": patient.record_number,
        "name": f"{patient.given_name} {patient.family_name}",
        "address": stored.find_address_state(session, patient).value,
        "stopped": stop.reason.value if stop and stop.reason else None,
        "level": patient.level.value,
        "call_safe": patient.call_safe.value,
        "consent": {topic.value: granted for topic, granted in _consent(session, patient).items()},
    }


def _details(session: Session, patient: Patient) -> dict[str, Any]:
    born: date | None = patient.birth_date
    return {
        **_summary(session, patient),
        "given_name": patient.given_name,
        "family_name": patient.family_name,
        "preferred_name": patient.preferred_name,
        "birth_date": born,
        "email": patient.email,
        "time_zone": patient.time_zone,
        "language": patient.language,
        **_phone(patient),
        "page_code_set": page_links.find_code(session, patient.id) is not None,
        "created_at": utc(patient.created_at),
        "treatments": [
            {
                "id": treatment.id,
                "protocol": treatment.protocol_key,
                "status": treatment.status.value,
                "treated_at": utc(content.treated_at),
                "treated_local": content.treated_local,
            }
            for treatment in stored_treatments.list_treatments(session, patient.id)
            for content in (stored_treatments.get_content(session, treatment.id),)
        ],
        "notes": [
            {"recorded_at": utc(note.recorded_at), "recorded_by": note.recorded_by, "text": note.text}
            for note in stored_treatments.list_notes(session, patient.id)
        ],
    }


def _phone(patient: Patient) -> dict[str, str | None]:
    """The number only with the word that it may be rung; else who decides."""
    if patient.call_safe is CallSafe.YES:
        return {"phone": patient.phone, "contact_note": patient.contact_note}
    return {"phone": "do not ring: ask a clinician" if patient.phone else None, "contact_note": patient.contact_note}


def _consent(session: Session, patient: Patient) -> dict[Any, bool]:
    return stored.list_consent(session, [patient.id])[patient.id]


def _flags(row: dict[str, Any]) -> str:
    flags = [f"stopped: {row['stopped']}"] if row["stopped"] else []
    flags += ["do not ring"] if row["call_safe"] == CallSafe.NO else []
    return ", ".join(flags)


def _spoken(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {'yes' if said else 'no'}" for key, said in value.items()) or "not recorded"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value
