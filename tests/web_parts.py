"""A clinic for the tests of the pages: its settings, its rows without any use case, and its app on a free port."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from sqlalchemy.orm import Session

from db import gate, reminders
from db.engine import Store
from db.follow_up import CarePlan
from db.library import add_protocol_version, list_protocol_versions
from db.states import Audience, CarePlanStatus, OnUnknown, ReminderState, StepKind
from db.treatments import TreatmentEntry, add_treatment
from db.types import new_id
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from scheduler.library import Library
from scheduler.messages import Rendered
from scheduler.mime import MailHeaders, MailWriter, Sender, make_message_id
from scheduler.outbox import write_mail
from scheduler.settings import load_settings
from tests.people import DANUTA, entered
from web.server import WebServer

RELAY = {
    "AFTERCARE_SMTP_HOST": "mail.example.org",
    "AFTERCARE_SENDER_ADDRESS": "office@example.org",
    "AFTERCARE_SENDER_NAME": "The office",
    "AFTERCARE_REPLY_TO": "office@example.org",
    "AFTERCARE_CLINIC_NAME": "The office",
    "AFTERCARE_CLINIC_PHONE": "+44 20 7946 0000",
    "AFTERCARE_CLINIC_HOURS": "Mon-Fri 9-17",
}


def make_clinic(store: Store, clock: FastClock, data_dir: Path, **environ: str) -> Clinic:
    """A clinic on a store; `environ` are its settings by their names in the environment."""
    settings = load_settings({"AFTERCARE_DATA_DIR": str(data_dir), **environ})
    sender = Sender(settings.sender_address, settings.sender_name, settings.reply_to, settings.message_domain)
    return Clinic(
        settings=settings,
        store=store,
        clock=clock,
        library=Library(settings.protocol_folders, settings.template_folders, settings.clinic_language),
        writer=MailWriter(sender),
    )


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """The app on a free port of 127.0.0.1, and a client for it."""
    server = WebServer(app, "127.0.0.1", 0)
    port = await server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
    finally:
        await server.stop()


async def asked_from(
    app: FastAPI, host: str, path: str, method: str = "GET", headers: Sequence[tuple[str, str]] = ()
) -> httpx.Response:
    """The answer a client at another address gets, though it asks for this machine by name."""
    transport = httpx.ASGITransport(app, client=(host, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", trust_env=False) as client:
        return await client.request(method, path, headers=list(headers))


def beating(clinic: Clinic) -> None:
    """A worker gives a sign of life now."""
    with clinic.store.write("test", clinic.clock.now()) as session:
        gate.beat(session, gate.add_worker(session, "test"), swept=True)


def planned(clinic: Clinic, count: int = 1, **values: Any) -> None:
    """Store that many reminders of one more Danuta, due in an hour; `values` say what is different."""
    now = clinic.clock.now()
    patient_id = entered(clinic.store, DANUTA, now, record_number=None)
    due: datetime = values.pop("due_at", now + timedelta(hours=1))
    with clinic.store.write("test", now) as session:
        row = {
            "care_plan_id": _plan(session, patient_id, now).id,
            "patient_id": patient_id,
            "step": "canary-step",
            "generation": 1,
            "kind": StepKind.REVIEW,
            "audience": Audience.PATIENT,
            "template": "canary_template",
            "on_unknown": OnUnknown.RESEND_ONCE,
            "state": ReminderState.SCHEDULED,
            "reason": None,
            "basis": "2026-11-23T09:00:00",
            "due_at": due,
            "due_local": due.replace(tzinfo=None).isoformat(),
            "zone": "Europe/London",
            "ready_at": due,
            "expires_at": due + timedelta(days=2),
            **values,
        }
        differing = [
            {"id": new_id(), "occurrence": number, "message_id": make_message_id("example.org")}
            for number in range(1, count + 1)
        ]
        reminders.insert_rows(session, [{**row, **each} for each in differing])


def written(clinic: Clinic, html: str = "<p>Good morning, Danuta.</p>", subject: str = "Your visit <b>soon</b>") -> str:
    """Put a mail to Danuta into the outbox folder; its file name."""
    rendered = Rendered(subject, "See inside", "Good morning, Danuta & all.\n", html, "en")
    headers = MailHeaders(
        to=DANUTA.email,
        message_id=make_message_id("example.org"),
        date=clinic.clock.now(),
        list_unsubscribe_mailto="mailto:office@example.org",
    )
    clinic.settings.outbox.mkdir(parents=True, exist_ok=True)
    return write_mail(clinic.settings.outbox, clinic.writer.assemble(rendered, headers)).name


def _plan(session: Session, patient_id: UUID, now: datetime) -> CarePlan:
    entry = TreatmentEntry(now, "2026-11-23T09:00:00", "Europe/London", "Dr Novak", {"lot": "canary-lot"})
    treatment = add_treatment(session, patient_id, "canary-protocol", entry)
    number = len(list_protocol_versions(session)) + 1
    version = add_protocol_version(session, "canary-protocol", number, "", f"hash {number}")
    plan = CarePlan(
        id=new_id(),
        patient_id=patient_id,
        treatment_id=treatment.id,
        protocol_version_id=version.id,
        status=CarePlanStatus.ACTIVE,
        created_at=now,
    )
    session.add(plan)
    session.flush()
    return plan
