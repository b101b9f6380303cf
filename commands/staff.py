"""`staff add list disable enable reset roles`: accounts of the clinic's pages, for whoever runs the machine."""

from typing import Annotated
from uuid import UUID

import typer

from commands.context import (
    AsJson,
    By,
    actor,
    clinic_of,
    print_error,
    print_json,
    print_line,
    print_table,
    read_word,
    utc,
)
from db.states import Role
from scheduler.accounts import staff
from scheduler.clinic import Clinic
from scheduler.clock import SystemClock

app = typer.Typer(
    help="Accounts of the clinic's pages: add, list, disable, enable, reset, roles.", no_args_is_help=True
)

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (what is listened on; no browser opens it)
Roles = Annotated[list[str], typer.Option("--role", help=", ".join(role.value for role in Role) + "; repeatable")]
Login = Annotated[str, typer.Argument(metavar="LOGIN", help="the sign-in name")]


@app.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help='like "Dana Novak"')],
    role: Roles,
    login: Annotated[str | None, typer.Option(help="the sign-in name; default: made of the name")] = None,
    email: Annotated[str | None, typer.Option(help="where test mails to this person go")] = None,
    by: By = None,
) -> None:
    """Make an account; prints its id and the one-time link with which the person sets a password."""
    clinic = clinic_of(context)
    roles = [read_word(each, Role, "role") for each in role]
    staff_id, token = staff.add(clinic, actor(by), name, roles, login, email, SystemClock().now())
    print_line(str(staff_id))
    _print_link(clinic, token)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List accounts with their roles."""
    rows = [
        {
            "id": member.id,
            "login": member.login,
            "name": member.name,
            "roles": [role.value for role in member.roles],
            "joined": member.joined,
            "second_factor": member.has_second_factor,
            "disabled_at": utc(member.disabled_at),
        }
        for member in staff.list_members(clinic_of(context))
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("login", "name", "roles", "second factor", "state"),
        [
            (
                row["login"],
                row["name"],
                ", ".join(row["roles"]),  # type: ignore[arg-type]
                "yes" if row["second_factor"] else "no",
                "disabled" if row["disabled_at"] else ("active" if row["joined"] else "invited"),
            )
            for row in rows
        ],
        "There are no accounts; run prints a link for the first one.",
    )


@app.command()
def disable(context: typer.Context, login: Login, by: By = None) -> None:
    """End a person's access at once; what she did stays hers."""
    clinic = clinic_of(context)
    staff.disable(clinic, actor(by), _id_of(clinic, login), SystemClock().now())
    print_line("Disabled; all sessions have ended.")


@app.command()
def enable(context: typer.Context, login: Login, by: By = None) -> None:
    """Give a person her access back."""
    clinic = clinic_of(context)
    staff.enable(clinic, actor(by), _id_of(clinic, login))
    print_line("Enabled.")


@app.command()
def reset(context: typer.Context, login: Login, by: By = None) -> None:
    """Let a person set password, PIN and second factor anew; prints the one-time link."""
    clinic = clinic_of(context)
    token = staff.reset(clinic, actor(by), _id_of(clinic, login), SystemClock().now())
    _print_link(clinic, token)


@app.command()
def roles(context: typer.Context, login: Login, role: Roles, by: By = None) -> None:
    """Change what a person may do: exactly these roles, from her next page on."""
    clinic = clinic_of(context)
    staff.change_roles(clinic, actor(by), _id_of(clinic, login), [read_word(each, Role, "role") for each in role])
    print_line("Changed.")


def _id_of(clinic: Clinic, login: str) -> UUID:
    return staff.find_by_login(clinic, login).id


def _print_link(clinic: Clinic, token: str) -> None:
    host, port = clinic.settings.listen_address
    here = EVERYWHERE.get(host, host)
    print_line(f"http://{f'[{here}]' if ':' in here else here}:{port}/join/{token}")
    print_error("note: give this link to the person only; it works once, for three days")
    print_error("note: it opens on this machine; on others put the address of the proxy before /join/")
