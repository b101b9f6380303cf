"""The clinic's pages with 20,000 patients and a million reminders: server time, queries and bytes of each.

    python -m bench.pages [--patients 20000] [--reminders 1000000] [--folder DIR]

A folder that was filled before is used again.
"""

import argparse
import asyncio
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import event, func, select

from bench.filled_clinic import fill, open_empty
from db import accounts
from db.follow_up import Reminder
from db.records import Patient, Treatment
from db.states import Role
from scheduler.accounts import passwords
from scheduler.accounts.front_door import FrontDoor
from scheduler.clinic import Clinic
from web.app import make_app

TURNS = 15
HOST = "127.0.0.1:8000"


def main() -> None:
    """Fill a clinic, ask for every page, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=20_000)
    parser.add_argument("--reminders", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    wanted = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="aftercare-bench-") as temporary:
        folder = wanted.folder or Path(temporary)
        clinic = open_empty(folder)
        with clinic.store.read() as session:
            there = session.scalar(select(func.count()).select_from(Patient)) or 0
        if there < wanted.patients:
            began = time.monotonic()
            fill(clinic, wanted.patients, wanted.reminders)
            console.print(f"filled in {time.monotonic() - began:.0f} s")
        table = Table("page", "median ms", "max ms", "queries", "kB with assets", title="Pages")
        for row in asyncio.run(measure(clinic)):
            table.add_row(*row)
        console.print(table)


async def measure(clinic: Clinic) -> list[tuple[str, ...]]:
    """Every page, asked for in turn."""
    door = FrontDoor(clinic, asks_second_factor=False)
    with clinic.store.write("bench", clinic.clock.now()) as session:
        member = accounts.find_by_login(session, "bench") or accounts.add_member(
            session, "bench", "Bench", (Role.CLINICIAN, Role.MANAGER), "bench@example.org"
        )
        member.password_hash = passwords.keep("seven wet green umbrellas", clinic.store.vault.ring.tokens)
        staff_id = member.id
    opened = door.open_for(staff_id, None, "bench")
    app = make_app(clinic, door=door)
    cookies = {"aftercare-session": opened.token, "aftercare-device": opened.device_token}
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 40_000))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}", cookies=cookies) as client:
        return [await _one(clinic, client, *page) for page in _pages(clinic, door.form_token(opened.token))]


def _pages(clinic: Clinic, token: str) -> list[tuple[str, str, dict[str, str] | None]]:
    with clinic.store.read() as session:
        patient = session.scalars(select(Patient.id).limit(1).offset(100)).one()
        treatment = session.scalars(select(Treatment.id).where(Treatment.patient_id == patient).limit(1)).one()
        reminder = session.scalars(select(Reminder.id).where(Reminder.patient_id == patient).limit(1)).one()
    form = {"form_token": token}
    return [
        ("Today", "/today", None),
        ("Pulse", "/pulse", None),
        ("Patients", "/patients", None),
        ("Find a patient", "/patients", {**form, "q": "rao as"}),
        ("Patient", f"/patients/{patient}", None),
        ("Change details", f"/patients/{patient}/edit", None),
        ("Treatment", f"/treatments/{treatment}", None),
        ("Record", f"/treatments/{treatment}/record", None),
        ("Enter a treatment", "/treatments/new", None),
        ("Board", "/reminders", None),
        ("Board, held", "/reminders?show=held", None),
        ("Board, not sent", "/reminders?show=unsent", None),
        ("Board of a patient", "/reminders", {**form, "q": "rao as"}),
        ("Reminder", f"/reminders/{reminder}", None),
        ("Protocols", "/protocols", None),
        ("Texts", "/texts", None),
        ("Audit trail", "/audit", None),
        ("Lot", "/lots", {**form, "lot": "C7"}),
        ("Staff", "/staff", None),
        ("Settings", "/settings", None),
        ("Import", "/import", None),
        ("Account", "/account", None),
    ]


async def _one(
    clinic: Clinic, client: httpx.AsyncClient, name: str, path: str, form: dict[str, str] | None
) -> tuple[str, ...]:
    queries = 0

    def count(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        nonlocal queries
        queries += not statement.startswith(("BEGIN", "PRAGMA"))

    async def ask() -> httpx.Response:
        if form is None:
            return await client.get(path)
        headers = {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"}
        return await client.post(path, data=form, headers=headers)

    answer = await ask()
    if answer.status_code not in (200, 303):
        return (name, f"({answer.status_code})", "", "", "")
    event.listen(clinic.store.engine, "before_cursor_execute", count)
    await ask()
    event.remove(clinic.store.engine, "before_cursor_execute", count)
    times = []
    for _ in range(TURNS):
        began = time.perf_counter()
        answer = await ask()
        times.append((time.perf_counter() - began) * 1_000)
    size = len(answer.content)
    for asset in set(re.findall(r"/static/[^\"]+", answer.text)):
        size += len((await client.get(asset)).content)
    return (name, f"{statistics.median(times):.0f}", f"{max(times):.0f}", str(queries), f"{size / 1_000:.0f}")


if __name__ == "__main__":
    main()
