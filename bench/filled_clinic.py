"""A clinic that has been at work for years: any number of patients and reminders, all invented, written in bulk.

The rows are as the program writes them, sealed with real keys; only texts and times are made up by counting.
"""

import random
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text

from db import bulk
from db.bulk import NewRows, Origin
from db.follow_up import DeliveryAttempt, Worker
from db.patients import PatientEntry
from db.records import ImportBatch
from db.states import (
    AttemptOutcome,
    Audience,
    CallSafe,
    CarePlanStatus,
    Level,
    Reason,
    ReminderState,
    ReviewStatus,
    Topic,
)
from db.treatments import TreatmentEntry
from db.types import new_id
from scheduler import approvals
from scheduler.clinic import Clinic
from scheduler.clock import FastClock
from scheduler.demo_clinic import approve_everything
from scheduler.library import ShelvedProtocol
from scheduler.mime import make_message_id
from scheduler.settings import load_settings
from service import open_clinic

NOW = datetime.fromisoformat("2026-11-23T09:00:00+00:00")
PROTOCOL = "vaginismus-toxin"
PLANS_EACH = 2
CHUNK = 1_000  # patients in one transaction
_GIVEN = "Asha Mira Ines Ruth Tara Leila Priya Marta Clara Esther Ingrid Noor Hana Lucia Amara Sofia Yuki Elena".split()  # noqa: SIM905
_FAMILY = "Rao Kowalska Barbosa Oyelaran Wilkins Haddad Nair Nowak Jensen Okafor Solberg Ito Novak Silva Meyer".split()  # noqa: SIM905


def open_empty(folder: Path, database_url: str | None = None, settings: Mapping[str, str] | None = None) -> Clinic:
    """A clinic with everything approved and nobody in it, in a folder of its own."""
    environ = {"AFTERCARE_DATA_DIR": str(folder), "AFTERCARE_LOG_LEVEL": "error", **(settings or {})}
    if database_url is not None:
        environ["AFTERCARE_DATABASE_URL"] = database_url
    clinic = open_clinic(load_settings(environ), FastClock(NOW, speed=0))
    approvals.read_files(clinic, "bench")
    approve_everything(clinic)
    return clinic


def fill(clinic: Clinic, patients: int, reminders: int, seed: int = 1) -> None:
    """Write that many patients, two treatments each, and that many reminders over three years around now."""
    chance = random.Random(seed)  # noqa: S311 (invented data)
    each = max(1, reminders // (patients * PLANS_EACH))
    with clinic.store.read() as session:
        shelved = clinic.library.shelf(session).for_new_treatment(PROTOCOL)
    worker_id, number = new_id(), 0
    with clinic.store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(
            insert(Worker),
            [{"id": worker_id, "name": "bench", "started_at": NOW, "heartbeat_at": NOW, "swept_at": NOW}],
        )
    for start in range(0, patients, CHUNK):
        batch_id = new_id()
        rows = NewRows(clinic.store.vault, Origin("bench", NOW - timedelta(days=900), batch_id))
        attempts: list[dict[str, Any]] = []
        for place in range(start, min(start + CHUNK, patients)):
            for row in _patient(clinic, rows, shelved, place, each, chance):
                if row["state"] in (ReminderState.SENT, ReminderState.FAILED):
                    number += 1
                    attempts.append(_attempt(number, row, worker_id))
        prepared = bulk.prepare(clinic.store.engine, rows)
        with clinic.store.write("bench", NOW) as session:
            session.execute(
                insert(ImportBatch),
                [
                    {
                        "id": batch_id,
                        "imported_at": NOW,
                        "imported_by": "bench",
                        "file_hash": f"{start}",
                        "patients": CHUNK,
                        "treatments": CHUNK,
                    }
                ],
            )
            bulk.execute(session, prepared.record)
            bulk.execute(session, prepared.follow_up)
            if attempts:
                session.execute(insert(DeliveryAttempt).execution_options(render_nulls=True), attempts)
            session.execute(text("UPDATE gate SET last_attempt = :number"), {"number": number})
    if clinic.store.is_sqlite:
        with clinic.store.engine.execution_options(writes=True).connect() as connection:
            connection.exec_driver_sql("ANALYZE")
            connection.commit()


def _patient(
    clinic: Clinic, rows: NewRows, shelved: ShelvedProtocol, place: int, each: int, chance: random.Random
) -> Iterator[dict[str, Any]]:
    patient_id = new_id()
    given, family = chance.choice(_GIVEN), chance.choice(_FAMILY)
    entry = PatientEntry(
        given_name=given,
        family_name=f"{family}-{place}",
        time_zone="Europe/London",
        language="en",
        level=Level.GENERAL,
        call_safe=CallSafe.YES,
        email=f"p{place}@example.org",
        phone="07700 900123",
        birth_date=date(1980, 1, 1) + timedelta(days=chance.randrange(9_000)),
        record_number=f"N{place}",
    )
    rows.add_patient(patient_id, entry)
    for topic in (Topic.REVIEWS, Topic.EXERCISES):
        rows.add_consent(patient_id, topic, True, "1")
    rows.add_confirmation(patient_id)
    for turn in range(PLANS_EACH):
        treated = NOW - timedelta(days=chance.randrange(20 if turn else 300, 320 if turn else 900))
        local = treated.replace(tzinfo=None).isoformat(timespec="seconds")
        treatment_id, plan_id = new_id(), new_id()
        fields = {"lot": f"C{chance.randrange(400)}", "product": "SAMPLE"}
        rows.add_treatment(
            treatment_id, patient_id, PROTOCOL, TreatmentEntry(treated, local, "Europe/London", "Dr Sample", fields)
        )
        runs = turn == PLANS_EACH - 1
        rows.add_plan(
            {
                "id": plan_id,
                "patient_id": patient_id,
                "treatment_id": treatment_id,
                "protocol_version_id": shelved.version_id,
                "past_override": None,
                "keeps_earlier": False,
                "starts_held": False,
                "status": CarePlanStatus.ACTIVE if runs else CarePlanStatus.COMPLETED,
                "planned_with": clinic.fingerprint,
            }
        )
        _reviews(rows, patient_id, plan_id, shelved, treated, runs, chance)
        yield from _reminders(clinic, rows, patient_id, plan_id, shelved, treated, each, chance)


def _reviews(
    rows: NewRows, patient_id: Any, plan_id: Any, shelved: ShelvedProtocol, treated: datetime, runs: bool, chance: Any
) -> None:
    for place, rule in enumerate(shelved.protocol.reviews, start=1):
        due = (treated + timedelta(days=rule.after.days)).date()
        over = due < NOW.date() and chance.random() < 0.995
        rows.reviews.append(
            {
                "id": new_id(),
                "care_plan_id": plan_id,
                "patient_id": patient_id,
                "key": rule.key,
                "place": place,
                "status": ReviewStatus.COMPLETED if over or not runs else ReviewStatus.DUE,
                "due_on": due,
                "latest_on": due + timedelta(days=3),
                "visit_at": None,
                "open": runs and not over,
            }
        )


def _reminders(
    clinic: Clinic,
    rows: NewRows,
    patient_id: Any,
    plan_id: Any,
    shelved: ShelvedProtocol,
    treated: datetime,
    each: int,
    chance: random.Random,
) -> Iterator[dict[str, Any]]:
    steps = [step for step in shelved.protocol.steps if step.audience is Audience.PATIENT]
    for place in range(each):
        step = steps[place % len(steps)]
        due = (treated + timedelta(days=1 + place * 14)).replace(hour=10, minute=0)
        state, reason = _state(due, chance)
        row = {
            "id": new_id(),
            "care_plan_id": plan_id,
            "patient_id": patient_id,
            "step": step.key,
            "occurrence": 1 + place // len(steps),
            "generation": 1,
            "kind": step.kind,
            "audience": step.audience,
            "template": step.template,
            "on_unknown": step.on_unknown,
            "state": state,
            "reason": reason,
            "basis": treated.date().isoformat() if step.at else f"{due.replace(tzinfo=None).isoformat()} Europe/London",
            "due_at": due,
            "due_local": due.replace(tzinfo=None).isoformat(timespec="seconds"),
            "zone": "Europe/London",
            "not_before": None,
            "ready_at": due,
            "expires_at": due + timedelta(days=3),
            "message_id": make_message_id(clinic.settings.message_domain),
            "sent_at": due if state is ReminderState.SENT else None,
            "attempts": 1 if state in (ReminderState.SENT, ReminderState.FAILED) else 0,
            "settled_at": None if chance.random() < 0.003 else due,
        }
        rows.reminders.append(row)
        yield row


def _state(due: datetime, chance: random.Random) -> tuple[ReminderState, Reason | None]:
    luck = chance.random()
    if due > NOW:
        if luck < 0.003:
            return ReminderState.HELD, chance.choice([Reason.ADDRESS_UNCONFIRMED, Reason.HOLD, Reason.PAST_ASK])
        return ReminderState.SCHEDULED, None
    if luck < 0.93:
        return ReminderState.SENT, None
    if luck < 0.97:
        return ReminderState.CANCELLED, Reason.SUPERSEDED
    if luck < 0.985:
        return ReminderState.MISSED, Reason.EXPIRED
    return ReminderState.FAILED, Reason.REFUSED


def _attempt(number: int, row: dict[str, Any], worker_id: Any) -> dict[str, Any]:
    return {
        "number": number,
        "reminder_id": row["id"],
        "patient_id": row["patient_id"],
        "worker_id": worker_id,
        "fence": 1,
        "email_version": 1,
        "marked_at": row["due_at"],
        "outcome": AttemptOutcome.ACCEPTED if row["state"] is ReminderState.SENT else AttemptOutcome.REFUSED,
        "phase": "content",
        "code": 250 if row["state"] is ReminderState.SENT else 550,
        "enhanced": None,
        "recorded_at": row["due_at"],
        "reply_sealed": None,
    }
