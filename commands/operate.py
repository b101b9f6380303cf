"""`check status` and `audit list verify`: for whoever runs the service; `hold` and `release` are in `commands.gate`."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from commands.context import (
    AsJson,
    clinic_of,
    print_fields,
    print_json,
    print_line,
    print_table,
    read_id,
    utc,
)
from db import audit, care_plans, reminders
from db.states import ReminderState
from scheduler.backup import find_last_backup
from scheduler.health import examine

audit_app = typer.Typer(help="Who did or saw what; is the chain whole.", no_args_is_help=True)


def check(context: typer.Context, as_json: AsJson = False) -> None:
    """Look for what is wrong: settings, database, keys, mail server, clock, protocols, texts."""
    from scheduler.checks import check as run_checks  # all that sends; `status` is asked for again and again

    findings = run_checks(clinic_of(context))
    if as_json:
        print_json([asdict(found) for found in findings])
    else:
        for found in findings:
            print_line(f"{found.severity}  {found.id}  {found.problem}")
        if not findings:
            print_line("Nothing found.")
    if any(found.severity == "fail" for found in findings):
        raise typer.Exit(1)


def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show whether the service lives, what waits and what needs a person."""
    clinic = clinic_of(context)
    with clinic.store.read() as session:
        found = examine(session, clinic)
        questions = len(care_plans.list_open_questions(session))
        counts = reminders.count_by_state(session)
        backed_up = find_last_backup(session)
    shown: dict[str, Any] = {
        "status": "ok" if found.ok else ("stalled" if found.vitals.stalled else "degraded"),
        "causes": list(found.causes),
        "gate": "open" if found.vitals.gate_open else "closed",
        "gate_reason": found.vitals.gate_reason,
        "mail": "outbox folder" if found.vitals.to_folder else "mail server",
        "heartbeat_age_seconds": found.vitals.heartbeat_age_seconds,
        "swept_at": utc(found.vitals.swept_at),
        "oldest_due_seconds": found.vitals.oldest_due_seconds,
        "next_ready_at": utc(found.vitals.next_ready_at),
        "unknown": found.unknown,
        "checked_at": utc(found.checked.at) if found.checked else None,
        "not_whole": list(found.checked.problems) if found.checked else [],
        "backed_up_at": utc(backed_up),
        "questions": questions,
        "counts": {state.value: counts[state] for state in ReminderState},
    }
    if as_json:
        print_json(shown)
        return
    print_fields(
        shown
        | {
            "causes": "; ".join(found.causes) or None,
            "counts": ", ".join(f"{count} {name}" for name, count in shown["counts"].items() if count),
        }
    )


@audit_app.command("list")
def list_events(
    context: typer.Context,
    patient: Annotated[str | None, typer.Option("--patient", metavar="ID")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 200,
    as_json: AsJson = False,
) -> None:
    """List audit events, the newest first: ids and field names, never values."""
    clinic = clinic_of(context)
    with clinic.store.read() as session:
        found = audit.list_events(session, read_id(patient, "patient") if patient else None, limit)
    rows = [
        {
            "number": event.number,
            "at": utc(event.at),
            "actor": event.actor,
            "action": event.action,
            "subject": event.subject,
            "subject_id": event.subject_id,
            "patient_id": event.patient_id,
            "fields": event.fields,
        }
        for event in found
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("no.", "at", "who", "what", "of"),
        [(row["number"], row["at"], row["actor"], row["action"], row["subject_id"]) for row in rows],
        "There are no events.",
    )


@audit_app.command("verify")
def verify(context: typer.Context, as_json: AsJson = False) -> None:
    """Check the whole audit chain and its anchors; exit 1 when it is broken anywhere."""
    clinic = clinic_of(context)
    with clinic.store.read() as session:
        count, findings = audit.verify(session, clinic.settings.anchors_file)
    if as_json:
        print_json({"events": count, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            print_line(f"event {finding.number} {finding.problem}")
        print_line(f"{count} events, {len(findings)} finding(s).")
    if findings:
        raise typer.Exit(1)
