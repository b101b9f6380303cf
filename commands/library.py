"""`protocol list show check text approve` and `template list check approve`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from commands.context import (
    AsJson,
    By,
    Yes,
    actor,
    clinic_of,
    confirm,
    print_error,
    print_json,
    print_line,
    print_table,
    progress,
)
from db import care_plans as stored_plans
from scheduler import approvals
from scheduler.clinic import Clinic
from scheduler.library import ShelvedProtocol, ShelvedText
from scheduler.plan_words import counts_from
from scheduler.protocols import ProtocolInvalid, read_protocol
from scheduler.template_files import check_templates, list_templates

protocol_app = typer.Typer(help="Protocols: list, show, check, fill in, approve.", no_args_is_help=True)
template_app = typer.Typer(help="Texts of the mails: list, check, approve.", no_args_is_help=True)


@protocol_app.command("list")
def list_protocols(context: typer.Context, as_json: AsJson = False) -> None:
    """List protocols with all their versions."""
    clinic = clinic_of(context)
    _read_files(clinic)
    with clinic.store.read() as session:
        shelf = clinic.library.shelf(session)
        rows = [
            {
                "key": shelved.protocol.key,
                "version": shelved.protocol.version,
                "title": shelved.protocol.title,
                "status": _status(shelved, shelf.retired),
                "approved_by": shelved.approved_by,
                "steps": len(shelved.protocol.steps),
                "running_plans": stored_plans.count_running(session, shelved.version_id),
            }
            for shelved in sorted(shelf.protocols.values(), key=lambda s: (s.protocol.key, s.protocol.version))
        ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("key", "version", "status", "title", "plans"),
        [(row["key"], row["version"], row["status"], row["title"], row["running_plans"]) for row in rows],
        "There are no protocols.",
    )


@protocol_app.command("show")
def show_protocol(context: typer.Context, key: str, as_json: AsJson = False) -> None:
    """Show a protocol as sentences."""
    clinic = clinic_of(context)
    _read_files(clinic)
    with clinic.store.read() as session:
        shelf = clinic.library.shelf(session)
        shelved = shelf.list_versions(key)[-1]
    protocol = shelved.protocol
    if as_json:
        print_json(
            {
                "key": key,
                "version": protocol.version,
                "title": protocol.title,
                "status": _status(shelved, shelf.retired),
                "texts": {text.key: shelved.texts.get(text.key) for text in protocol.texts},
                "reviews": [review.key for review in protocol.reviews],
                "steps": [{"key": s.key, "template": s.template, "kind": s.kind.value} for s in protocol.steps],
            }
        )
        return
    print_line(f"{protocol.title} ({key}, version {protocol.version}, {_status(shelved, shelf.retired)})")
    for text in protocol.texts:
        value = shelved.texts.get(text.key)
        print_line(f'text "{text.key}"{" (required)" if text.required else ""}: {value or "not given yet"}')
    for step in protocol.steps:
        hour = f", {step.at:%H:%M}" if step.at else ""
        repeat = f", {step.repeat.count} times" if step.repeat else ""
        print_line(f"{step.key}: {counts_from(step, 1)}{hour}{repeat} · {step.template} · {step.audience.value}")


@protocol_app.command("check")
def check_protocol(context: typer.Context, file: Path) -> None:
    """Check a protocol file; prints findings with file and line."""
    clinic = clinic_of(context)
    with clinic.store.read() as session:
        written = clinic.library.shelf(session).latest
    known = {key for key, _, _ in (*list_templates(clinic.settings.template_folders), *written)}
    try:
        protocol = read_protocol(file.read_text(encoding="utf-8"), file.name, known)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise typer.BadParameter(f"there is no file {file}", param_hint="FILE") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} is not UTF-8", param_hint="FILE") from None
    except ProtocolInvalid as wrong:
        for problem in wrong.problems:
            print_line(problem)
        raise typer.Exit(1) from None
    print_line(f"{file.name}: {protocol.title}, {len(protocol.steps)} steps, no findings.")


@protocol_app.command("text")
def set_text(
    context: typer.Context,
    key: str,
    name: str,
    value: Annotated[str, typer.Option("--value", metavar="TEXT")],
    by: By = None,
) -> None:
    """Fill in a text that only the clinic can give."""
    approvals.set_text(clinic_of(context), actor(by), key, name, value)
    print_line(f"Set. It is used once the protocol is approved: protocol approve {key} --by NAME")


@protocol_app.command("approve")
def approve_protocol(
    context: typer.Context,
    key: str,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="the clinician who approves")],
    yes: Yes = False,
) -> None:
    """Approve the newest version of a protocol with the texts it uses; shows them and asks."""
    clinic = clinic_of(context)
    problems = approvals.read_files(clinic, actor(by))
    scope = approvals.scope_of(clinic, key, problems)
    if scope.nothing_new:
        print_line("Approved already; nothing changed.")
        return
    version = scope.protocol.protocol.version
    for name, value in scope.values.items():
        print_line(f"{name}: {value}")
    _show_texts(scope.texts)
    if scope.left_out:
        print_line(f"Texts in {', '.join(scope.left_out)} stay drafts: no patient here reads them.")
    confirm(f"Approve {key} version {version} with {len(scope.texts)} text(s) as {by}?", yes)
    with progress("planning") as tell:
        done = approvals.approve_protocol(clinic, actor(by), scope, by, tell)
    print_line(f"Approved by {by}: {key} version {version}, {done.texts} text(s); {done.replanned} plan(s) followed.")


@template_app.command("list")
def list_texts(context: typer.Context, as_json: AsJson = False) -> None:
    """List the texts by language and level."""
    clinic = clinic_of(context)
    _read_files(clinic)
    with clinic.store.read() as session:
        shelf = clinic.library.shelf(session)
    rows = [
        {
            "key": key,
            "language": language,
            "level": level,
            "status": "approved" if shelf.approved.get((key, language, level)) == text else "draft",
        }
        for (key, language, level), text in sorted(shelf.latest.items())
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("text", "language", "level", "status"),
        [(row["key"], row["language"], row["level"], row["status"]) for row in rows],
        "There are no texts.",
    )


@template_app.command("check")
def check_texts(context: typer.Context) -> None:
    """Check every text: names, discreet wording, reading age; prints findings with file and line."""
    findings = check_templates(clinic_of(context).settings.template_folders)
    for finding in findings:
        print_line(str(finding))
    if any(finding.severity == "fail" for finding in findings):
        raise typer.Exit(1)
    print_line("No text fails." if findings else "No findings.")


@template_app.command("approve")
def approve_text(
    context: typer.Context,
    key: str,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="the clinician who approves")],
    language: Annotated[str | None, typer.Option(help="only this language")] = None,
    yes: Yes = False,
) -> None:
    """Approve the newest content of a text; shows it and asks."""
    clinic = clinic_of(context)
    _read_files(clinic)
    waiting = approvals.texts_to_approve(clinic, key, language)
    if not waiting:
        print_line("Approved already; nothing changed.")
        return
    _show_texts(waiting)
    confirm(f"Approve {len(waiting)} text(s) as {by}?", yes)
    with progress("planning") as tell:
        done = approvals.approve_texts(clinic, actor(by), waiting, by, tell)
    print_line(f"Approved by {by}: {done.texts} text(s); {done.replanned} plan(s) followed.")


def _read_files(clinic: Clinic) -> None:
    for problem in approvals.read_files(clinic, actor(None)):
        print_error(problem)


def _show_texts(texts: Sequence[ShelvedText]) -> None:
    for text in texts:
        print_line(f"--- {text.source.file}")
        print_line(text.source.text.rstrip())


def _status(shelved: ShelvedProtocol, retired: frozenset[str]) -> str:
    if shelved.protocol.key in retired:
        return "retired"
    return "approved" if shelved.approved else "draft"
