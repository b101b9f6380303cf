"""Many new rows at once: values as the models take them, sealed before any transaction, written in bulk.

Each builder makes the very rows that `db.patients`, `db.treatments` and `db.care_plans` make one by one; a test holds
them together. What a reminder's row may hold is checked by `db.reminders`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from db import reminders
from db.base import Base
from db.follow_up import CareEvent, CarePlan, Reminder, Review
from db.patients import SEALED_FIELDS, PatientEntry
from db.records import AddressFact, Consent, NamePrefix, Patient, PatientKey, Treatment, TreatmentVersion
from db.sealed import fields_text, place
from db.states import AddressFactKind, CarePlanStatus, Topic, TreatmentStatus
from db.treatments import TreatmentEntry
from db.types import new_id
from db.vault import Vault

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who enters the rows, when, and with which import."""

    actor: str
    at: datetime
    batch_id: UUID


@dataclass(slots=True)
class NewRows:
    """Rows to insert, by table."""

    vault: Vault
    origin: Origin
    patients: list[Values] = field(default_factory=list)
    keys: list[Values] = field(default_factory=list)
    prefixes: list[Values] = field(default_factory=list)
    consents: list[Values] = field(default_factory=list)
    address_facts: list[Values] = field(default_factory=list)
    treatments: list[Values] = field(default_factory=list)
    versions: list[Values] = field(default_factory=list)
    plans: list[Values] = field(default_factory=list)
    events: list[Values] = field(default_factory=list)
    reviews: list[Values] = field(default_factory=list)
    reminders: list[Values] = field(default_factory=list)

    def add_patient(self, patient_id: UUID, entry: PatientEntry) -> None:
        """A patient with her own data key and her search keys. Her key stays at hand for what follows."""
        self.keys.append({"patient_id": patient_id, "wrapped": self.vault.make_data_key(patient_id)})
        born = entry.birth_date.isoformat() if entry.birth_date else None
        row: Values = {
            "id": patient_id,
            "created_at": self.origin.at,
            "changed_at": self.origin.at,
            "time_zone": entry.time_zone,
            "language": entry.language,
            "level": entry.level,
            "call_safe": entry.call_safe,
            "import_batch_id": self.origin.batch_id,
            "email_version": 1 if entry.email else 0,
            "email_given_at": self.origin.at if entry.email else None,
            "email_index": self.vault.blind("email", entry.email) if entry.email else None,
            "record_number_index": (
                self.vault.blind("record_number", entry.record_number) if entry.record_number else None
            ),
        }
        for name in SEALED_FIELDS:
            value = born if name == "birth_date" else getattr(entry, name)
            row[f"{name}_sealed"] = self._seal(patient_id, Patient, name, patient_id, value)
        self.patients.append(row)
        names = [name for name in (entry.given_name, entry.family_name, entry.preferred_name) if name]
        self.prefixes += [{"prefix": prefix, "patient_id": patient_id} for prefix in self.vault.name_prefixes(names)]

    def add_consent(self, patient_id: UUID, topic: Topic, granted: bool, wording_version: str) -> None:
        """What she said about one topic."""
        self.consents.append(
            {
                "id": new_id(),
                "patient_id": patient_id,
                "topic": topic,
                "granted": granted,
                "recorded_at": self.origin.at,
                "recorded_by": self.origin.actor,
                "wording_version": wording_version,
            }
        )

    def add_confirmation(self, patient_id: UUID) -> None:
        """The first address of a new patient is confirmed."""
        self.address_facts.append(
            {
                "id": new_id(),
                "patient_id": patient_id,
                "email_version": 1,
                "kind": AddressFactKind.CONFIRMED,
                "recorded_at": self.origin.at,
                "recorded_by": self.origin.actor,
            }
        )

    def add_treatment(self, treatment_id: UUID, patient_id: UUID, protocol_key: str, entry: TreatmentEntry) -> None:
        """A treatment and its first version. The patient's data key has to be at hand."""
        self.treatments.append(
            {
                "id": treatment_id,
                "patient_id": patient_id,
                "protocol_key": protocol_key,
                "status": TreatmentStatus.ACTIVE,
                "entered_at": self.origin.at,
                "entered_by": self.origin.actor,
                "import_batch_id": self.origin.batch_id,
            }
        )
        version_id, lot = new_id(), entry.fields.get("lot")
        text = fields_text(entry.fields)
        self.versions.append(
            {
                "id": version_id,
                "treatment_id": treatment_id,
                "patient_id": patient_id,
                "number": 1,
                "treated_at": entry.treated_at,
                "treated_local": entry.treated_local,
                "treated_zone": entry.zone,
                "clinician": entry.clinician,
                "lot_index": self.vault.blind_lot(lot) if lot else None,
                "recorded_at": self.origin.at,
                "recorded_by": self.origin.actor,
                "fields_sealed": self._seal(patient_id, TreatmentVersion, "fields", version_id, text),
            }
        )

    def add_plan(self, plan: Values) -> None:
        """A care plan, active unless its values say where planning has left it."""
        planned = {"status": CarePlanStatus.ACTIVE, "planned_with": None}
        self.plans.append({**planned, **plan, "created_at": self.origin.at, "planned_at": self.origin.at})

    def add_event(self, event: Values) -> None:
        """A fact about a care plan, without fields."""
        self.events.append({**event, "recorded_at": self.origin.at, "recorded_by": self.origin.actor})

    def _seal(self, patient_id: UUID, model: type[Base], name: str, row_id: UUID, text: str | None) -> bytes | None:
        if text is None:
            return None
        return self.vault.seal(patient_id, place(model.__tablename__, name, row_id), text.encode())


@dataclass(frozen=True, slots=True)
class Statement:
    """An insert with its values as the driver takes them, so that the transaction does nothing but write."""

    sql: str
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Prepared:
    """All inserts of a batch in an order that no foreign key forbids."""

    origin: Origin
    record: Sequence[Statement]
    follow_up: Sequence[Statement]


def prepare(engine: Engine, rows: NewRows) -> Prepared:
    """Turn rows into what the driver takes; they are used up. Needs no transaction."""
    # In the order of their index: writing them anyhow takes several times as long.
    rows.prefixes.sort(key=lambda row: bytes(row["prefix"]))
    record: list[tuple[type[Base], list[Values]]] = [
        (Patient, rows.patients),
        (PatientKey, rows.keys),
        (NamePrefix, rows.prefixes),
        (Consent, rows.consents),
        (AddressFact, rows.address_facts),
        (Treatment, rows.treatments),
        (TreatmentVersion, rows.versions),
    ]
    follow_up: list[tuple[type[Base], list[Values]]] = [
        (CarePlan, rows.plans),
        (CareEvent, rows.events),
        (Review, rows.reviews),
        (Reminder, reminders.new_rows(rows.reminders, rows.origin.at)),
    ]
    return Prepared(
        rows.origin,
        [_statement(engine, model, values) for model, values in record if values],
        [_statement(engine, model, values) for model, values in follow_up if values],
    )


def execute(session: Session, statements: Iterable[Statement]) -> None:
    """Write prepared rows. Their batch has to be there."""
    connection = session.connection()
    for statement in statements:
        connection.exec_driver_sql(statement.sql, list(statement.values))


def _statement(engine: Engine, model: type[Base], rows: list[Values]) -> Statement:
    """What SQLAlchemy would do with these rows, done ahead: defaults, column types, the dialect's parameters."""
    table = model.__table__
    given = rows[0].keys()
    defaults = {
        column.name: column.default.arg
        for column in table.columns
        if column.name not in given and isinstance(column.default, ScalarElementColumnDefault)
    }
    names = [*given, *defaults]
    compiled = insert(model).compile(dialect=engine.dialect, column_keys=names)
    convert = {
        name: table.c[name].type.dialect_impl(engine.dialect).bind_processor(engine.dialect) or _same for name in names
    }
    filled = ({**row, **defaults} for row in rows)
    order = getattr(compiled, "positiontup", None)
    if order is None:
        return Statement(str(compiled), [{name: convert[name](row[name]) for name in names} for row in filled])
    return Statement(str(compiled), [tuple([convert[name](row[name]) for name in order]) for row in filled])


def _same(value: Any) -> Any:
    return value
