"""`reminders`, `reminder hold resume cancel retry send-now send-again resolve` and `preview`."""

from typing import Annotated, Any
from uuid import UUID

import typer

from commands.context import (
    AsJson,
    By,
    actor,
    clinic_of,
    print_json,
    print_line,
    print_table,
    read_id,
    read_instant,
    read_word,
    utc,
)
from db import reminders as stored
from db.follow_up import Reminder
from db.states import DecisionKind, ReminderState
from scheduler import decisions, previews
from scheduler.plan_words import STATE_WORDS, stands

app = typer.Typer(help="Decide about one reminder.", no_args_is_help=True)

Note = Annotated[str | None, typer.Option("--note", help="why; kept with the decision")]

_RESOLVES = {
    "received": DecisionKind.RESOLVE_RECEIVED,
    "resend": DecisionKind.RESOLVE_RESEND,
    "done": DecisionKind.DONE,
}


def reminders(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help=", ".join(state.value for state in ReminderState))] = None,
    due_before: Annotated[str | None, typer.Option(metavar="TIME", help="RFC 3339, or local to the clinic")] = None,
    patient: Annotated[str | None, typer.Option(metavar="ID")] = None,
    as_json: AsJson = False,
) -> None:
    """List reminders by due time."""
    clinic = clinic_of(context)
    wanted = read_word(state, ReminderState, "state") if state else None
    before = read_instant(due_before, clinic.settings.clinic_time_zone) if due_before else None
    patient_id = read_id(patient, "patient") if patient else None
    with clinic.store.read() as session:
        found = stored.list_reminders(session, wanted, before, patient_id)
    if as_json:
        print_json([reminder_keys(row, treatment_id) for row, treatment_id in found])
        return
    print_table(
        ("id", "due", "zone", "step", "stands"),
        [
            (row.id, row.due_local.replace("T", " "), row.zone, f"{row.step} {row.occurrence}", stands(row))
            for row, _ in found
        ],
        "There are no such reminders.",
    )


@app.command()
def hold(context: typer.Context, reminder_id: str, note: Note = None, by: By = None) -> None:
    """Hold one reminder until it is resumed."""
    _decide(context, reminder_id, DecisionKind.HOLD, note, by)


@app.command()
def resume(context: typer.Context, reminder_id: str, note: Note = None, by: By = None) -> None:
    """Give a held reminder back."""
    _decide(context, reminder_id, DecisionKind.RESUME, note, by)


@app.command()
def cancel(context: typer.Context, reminder_id: str, note: Note = None, by: By = None) -> None:
    """Do not send one reminder."""
    _decide(context, reminder_id, DecisionKind.CANCEL, note, by)


@app.command()
def retry(context: typer.Context, reminder_id: str, note: Note = None, by: By = None) -> None:
    """Try a refused, missed or waiting reminder again now."""
    _decide(context, reminder_id, DecisionKind.RETRY, note, by)


@app.command("send-now")
def send_now(context: typer.Context, reminder_id: str, note: Note = None, by: By = None) -> None:
    """Send one reminder now instead of at its time."""
    _decide(context, reminder_id, DecisionKind.SEND_NOW, note, by)


@app.command("send-again")
def send_again(context: typer.Context, reminder_id: str, note: Note = None, by: By = None) -> None:
    """Send once more what was sent, missed, refused or cancelled."""
    _decide(context, reminder_id, DecisionKind.SEND_AGAIN, note, by)


@app.command()
def resolve(
    context: typer.Context,
    reminder_id: str,
    as_: Annotated[str, typer.Option("--as", help="received, resend or done")],
    note: Note = None,
    by: By = None,
) -> None:
    """Settle an unknown reminder; finish a line for staff or a question about what was sent (--as done)."""
    kind = _RESOLVES.get(as_)
    if kind is None:
        raise typer.BadParameter(f'"{as_}" is none of {", ".join(_RESOLVES)}', param_hint="--as")
    _decide(context, reminder_id, kind, note, by)


def preview(
    context: typer.Context,
    treatment_id: Annotated[str, typer.Argument(metavar="TREATMENT")],
    step: Annotated[str, typer.Option("--step", metavar="KEY")],
    occurrence: Annotated[int, typer.Option(min=1)] = 1,
    format_: Annotated[str, typer.Option("--format", help="text, html or eml")] = "text",
    by: By = None,
) -> None:
    """Show exactly what would be sent; reads only (that it was shown is noted)."""
    if format_ not in ("text", "html", "eml"):
        raise typer.BadParameter(f'"{format_}" is none of text, html, eml', param_hint="--format")
    clinic = clinic_of(context)
    shown = previews.preview(clinic, actor(by), read_id(treatment_id, "treatment"), step, occurrence)
    if format_ == "eml":
        typer.get_binary_stream("stdout").write(shown.content)
    elif format_ == "html":
        typer.echo(shown.rendered.html)
    else:
        typer.echo(f"{shown.rendered.subject}\n\n{shown.rendered.text}", nl=False)


def reminder_keys(row: Reminder, treatment_id: UUID) -> dict[str, Any]:
    """A reminder row with the contract's stable keys."""
    return {
        "id": row.id,
        "treatment_id": treatment_id,
        "patient_id": row.patient_id,
        "step": row.step,
        "occurrence": row.occurrence,
        "generation": row.generation,
        "kind": row.kind.value,
        "template": row.template,
        "state": row.state.value,
        "reason": row.reason.value if row.reason else None,
        "due_at": utc(row.due_at),
        "due_local": row.due_local,
        "zone": row.zone,
        "expires_at": utc(row.expires_at),
        "message_id": row.message_id,
        "attempts": row.attempts,
        "sent_at": utc(row.sent_at),
    }


def _decide(context: typer.Context, reminder_id: str, kind: DecisionKind, note: str | None, by: str | None) -> None:
    decided = decisions.decide(clinic_of(context), actor(by), read_id(reminder_id, "reminder"), kind, note)
    why = f": {decided.reason.sentence}" if decided.reason else ""
    print_line(f"{decided.reminder_id} {STATE_WORDS[decided.state]}{why}")
