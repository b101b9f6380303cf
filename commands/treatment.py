"""`treatment add list show move reassign cancel`, `event add retract` and `plan`."""

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
    read_pairs,
    read_word,
    utc,
)
from commands.reminder import reminder_keys
from db import audit
from db import care_plans as stored_plans
from db import treatments as stored
from db.records import Treatment
from db.states import EventKind, Past
from scheduler import events, plan_words, treatments
from scheduler.clinic import Clinic
from scheduler.planning.patient_plan import PatientPlan
from scheduler.treatments import TreatmentForm

app = typer.Typer(help="Treatments: enter, list, show, move, reassign, cancel.", no_args_is_help=True)
event_app = typer.Typer(help="What happened in a care plan: record it, take it back.", no_args_is_help=True)

At = Annotated[str, typer.Option("--at", metavar="2026-11-23T10:30", help="local to the clinic")]
Replaces = Annotated[
    bool | None, typer.Option("--replace/--keep", help="what becomes of a running plan of the same protocol")
]
AgeOverride = Annotated[str | None, typer.Option(help="a clinician's reason to treat under the age")]
Fields = Annotated[list[str] | None, typer.Option("--field", metavar="KEY=VALUE", help="a record field; repeatable")]


@app.command()
def add(
    context: typer.Context,
    patient: Annotated[str, typer.Option("--patient", metavar="ID")],
    protocol: Annotated[str, typer.Option("--protocol", metavar="KEY")],
    at: At,
    zone: Annotated[str | None, typer.Option(help="where it was done, when not at the clinic")] = None,
    clinician: Annotated[str | None, typer.Option()] = None,
    field: Fields = None,
    past: Annotated[str | None, typer.Option(help="what becomes of steps already past: skip, send or ask")] = None,
    replaces: Replaces = None,
    age_override: AgeOverride = None,
    by: By = None,
) -> None:
    """Enter a treatment and start its plan; prints its id and the plan in words."""
    clinic = clinic_of(context)
    form = TreatmentForm(
        protocol=protocol,
        at=at,
        zone=zone,
        clinician=clinician,
        fields=read_pairs(field or []),
        past=read_word(past, Past, "past") if past else None,
        replaces=replaces,
        age_override=age_override,
    )
    started = treatments.add(clinic, actor(by), read_id(patient, "patient"), form)
    print_line(str(started.treatment_id))
    with clinic.store.read() as session:
        for line in plan_words.timeline(session, clinic, started.treatment_id):
            print_line(str(line))
    for note in started.notes:
        print_error(f"note: {note}")


@app.command("list")
def list_(
    context: typer.Context,
    patient: Annotated[str | None, typer.Option("--patient", metavar="ID")] = None,
    as_json: AsJson = False,
    by: By = None,
) -> None:
    """List treatments, the last entered first."""
    clinic = clinic_of(context)
    patient_id = read_id(patient, "patient") if patient else None
    with clinic.store.write(actor(by), clinic.clock.now()) as session:
        rows = [_summary(session, treatment) for treatment in stored.list_treatments(session, patient_id)]
        audit.record(session, "treatments.listed", "treatment", patient_id=patient_id)
    if as_json:
        print_json(rows)
        return
    print_table(
        ("id", "patient", "protocol", "treated at", "status"),
        [(r["id"], r["patient_id"], r["protocol"], r["treated_local"], r["status"]) for r in rows],
        "There are no treatments.",
    )


@app.command()
def show(context: typer.Context, treatment_id: str, as_json: AsJson = False, by: By = None) -> None:
    """Show a treatment with its record fields, corrections and events; the view is recorded."""
    clinic = clinic_of(context)
    with clinic.store.write(actor(by), clinic.clock.now()) as session:
        treatment = treatments.get(session, read_id(treatment_id, "treatment"))
        shown = _details(session, treatment)
        audit.record(session, "treatment.viewed", "treatment", treatment.id, treatment.patient_id, shown.keys())
    if as_json:
        print_json(shown)
        return
    recorded = shown.pop("events")
    versions = shown.pop("versions")
    fields = shown.pop("fields")
    print_fields({key.replace("_", " "): value for key, value in {**shown, **fields}.items()})
    for version in versions[:-1]:
        print_line(f"earlier version {version['number']}: {version['treated_local']} by {version['recorded_by']}")
    for event in recorded:
        taken_back = " (retracted)" if event["retracted"] else ""
        print_line(f"{event['at_local']}  {event['kind']} {event['review'] or ''} {event['id']}{taken_back}")


@app.command()
def move(
    context: typer.Context,
    treatment_id: str,
    at: At,
    zone: Annotated[str | None, typer.Option(help="the zone of --at, when it changes too")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="why the date was wrong")] = None,
    yes: Yes = False,
    by: By = None,
) -> None:
    """Correct when a treatment was done: shows what will change, asks, then moves what is unsent."""
    clinic = clinic_of(context)
    found = read_id(treatment_id, "treatment")
    for line in _changes(clinic, treatments.preview_move(clinic, found, at, zone)) or ["No reminder changes."]:
        print_line(line)
    confirm("Move the treatment?", yes)
    treatments.move(clinic, actor(by), found, at, zone, reason)
    print_line("Moved.")


@app.command()
def reassign(
    context: typer.Context,
    treatment_id: str,
    patient: Annotated[str, typer.Option("--patient", metavar="ID", help="whose treatment it is")],
    reason: Reason,
    replaces: Replaces = None,
    age_override: AgeOverride = None,
    by: By = None,
) -> None:
    """Give a treatment to the patient it belongs to; prints its new id, and what had left to the wrong one."""
    moved = treatments.reassign(
        clinic_of(context),
        actor(by),
        read_id(treatment_id, "treatment"),
        read_id(patient, "patient"),
        reason,
        replaces,
        age_override,
    )
    print_line(str(moved.treatment_id))
    if moved.disclosed:
        print_error(f"DISCLOSURE: {moved.disclosed} message(s) had left to the wrong patient; noted in that record")


@app.command()
def cancel(context: typer.Context, treatment_id: str, reason: Reason, by: By = None) -> None:
    """Cancel a treatment that did not take place; its unsent reminders are cancelled."""
    treatments.cancel(clinic_of(context), actor(by), read_id(treatment_id, "treatment"), reason)
    print_line("Cancelled.")


@event_app.command("add")
def add_event(
    context: typer.Context,
    treatment_id: Annotated[str, typer.Argument(metavar="TREATMENT")],
    kind: Annotated[str, typer.Option("--kind", help=", ".join(kind.value for kind in EventKind))],
    at: Annotated[
        str | None, typer.Option("--at", help="the visit's start, else when it happened; default now")
    ] = None,
    review: Annotated[str | None, typer.Option("--review", help="default: the first not completed")] = None,
    field: Fields = None,
    by: By = None,
) -> None:
    """Record what happened in a care plan; prints the event's id and what changed."""
    clinic = clinic_of(context)
    event_id, result = events.record(
        clinic,
        actor(by),
        read_id(treatment_id, "treatment"),
        read_word(kind, EventKind, "kind"),
        at,
        review,
        read_pairs(field or []),
    )
    print_line(str(event_id))
    for line in _changes(clinic, result):
        print_line(line)


@event_app.command("retract")
def retract_event(context: typer.Context, event_id: str, reason: Reason, by: By = None) -> None:
    """Take back an event that was entered wrongly; it stays readable and no longer counts."""
    clinic = clinic_of(context)
    result = events.retract(clinic, actor(by), read_id(event_id, "event"), reason)
    for line in _changes(clinic, result) or ["Retracted; no reminder changes."]:
        print_line(line)


def plan(
    context: typer.Context,
    treatment_id: Annotated[str, typer.Argument(metavar="TREATMENT")],
    as_json: AsJson = False,
) -> None:
    """Show the timeline of a treatment, unsent and sent."""
    clinic = clinic_of(context)
    with clinic.store.read() as session:
        treatment = treatments.get(session, read_id(treatment_id, "treatment"))
        lines = plan_words.timeline(session, clinic, treatment.id)
        if as_json:
            print_json(_plan_json(session, clinic, treatment, lines))
            return
        for line in lines:
            print_line(str(line))
        for question in stored_plans.list_questions(session, [treatments.get_plan(session, treatment.id).id]):
            if question.closed_at is None:
                print_line(f"question: {question.kind.sentence} ({question.step} {question.occurrence})")
    if not lines:
        print_line("The plan has no reminders.")


def _changes(clinic: Clinic, result: PatientPlan) -> list[str]:
    with clinic.store.read() as session:
        return plan_words.changes(session, clinic, result)


def _plan_json(session: Session, clinic: Clinic, treatment: Treatment, lines: list[plan_words.Line]) -> dict[str, Any]:
    plan_row = treatments.get_plan(session, treatment.id)
    shelved = clinic.library.shelf(session).get(plan_row.protocol_version_id)
    return {
        "treatment_id": treatment.id,
        "patient_id": treatment.patient_id,
        "protocol": shelved.protocol.key,
        "version": shelved.protocol.version,
        "approved": shelved.approved,
        "status": plan_row.status.value,
        "reviews": [
            {
                "key": review.key,
                "status": review.status.value,
                "due_on": review.due_on,
                "latest_on": review.latest_on,
                "visit_at": utc(review.visit_at),
            }
            for review in stored_plans.list_reviews(session, [plan_row.id])
        ],
        "questions": [
            {"id": q.id, "kind": q.kind.value, "step": q.step, "occurrence": q.occurrence, "told": q.told}
            for q in stored_plans.list_questions(session, [plan_row.id])
            if q.closed_at is None
        ],
        "reminders": [{**reminder_keys(line.row, treatment.id), "words": str(line)} for line in lines],
    }


def _summary(session: Session, treatment: Treatment) -> dict[str, Any]:
    content = stored.get_content(session, treatment.id)
    return {
        "id": treatment.id,
        "patient_id": treatment.patient_id,
        "protocol": treatment.protocol_key,
        "status": treatment.status.value,
        "treated_at": utc(content.treated_at),
        "treated_local": content.treated_local,
        "zone": content.treated_zone,
        "clinician": content.clinician,
        "entered_at": utc(treatment.entered_at),
    }


def _details(session: Session, treatment: Treatment) -> dict[str, Any]:
    plan_row = treatments.get_plan(session, treatment.id)
    counting = {event.id for event in stored_plans.list_events(session, [plan_row.id])}
    return {
        **_summary(session, treatment),
        "plan_status": plan_row.status.value,
        "fields": stored.get_content(session, treatment.id).fields,
        "versions": [
            {
                "number": version.number,
                "treated_local": version.treated_local,
                "fields": version.fields,
                "recorded_at": utc(version.recorded_at),
                "recorded_by": version.recorded_by,
                "reason": version.correction_reason,
            }
            for version in stored.list_versions(session, treatment.id)
        ],
        "events": [
            {
                "id": event.id,
                "kind": event.kind.value,
                "review": event.review,
                "at": utc(event.occurred_at),
                "at_local": event.occurred_local,
                "recorded_at": utc(event.recorded_at),
                "recorded_by": event.recorded_by,
                "fields": event.fields,
                "retracted": event.id not in counting,
            }
            for event in stored_plans.list_events(session, [plan_row.id], with_retracted=True)
        ],
    }
