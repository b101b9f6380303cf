"""Tables of the clinical record: patients, consent, treatments, notes, adverse events, the exercise log.

Facts are added and corrected, never overwritten. Follow-up tables are in `db.follow_up`.
"""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Boolean, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base
from db.sealed import UNREADABLE, Sealed, SealedFields
from db.states import AddressFactKind, CallSafe, Level, StopReason, Topic, TreatmentStatus
from db.types import UtcDateTime, Word, new_id


class PatientKey(Base):
    """A patient's data key, wrapped by the clinic key. Destroying the row erases the patient."""

    __tablename__ = "patient_keys"

    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), primary_key=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)


class Patient(Base):
    """A person receiving care. Who she is is sealed; what planning needs is not."""

    __tablename__ = "patients"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    time_zone: Mapped[str]
    language: Mapped[str]
    level: Mapped[Level] = mapped_column(Word(Level))
    call_safe: Mapped[CallSafe] = mapped_column(Word(CallSafe))
    email_version: Mapped[int] = mapped_column(default=0)  # rises with every change of address
    import_batch_id: Mapped[UUID | None] = mapped_column(ForeignKey("import_batches.id"))
    voided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # an undone import

    given_name_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    family_name_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    preferred_name_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    email_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    phone_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    birth_date_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    contact_note_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    record_number_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    email_index: Mapped[bytes | None] = mapped_column(LargeBinary, index=True)
    record_number_index: Mapped[bytes | None] = mapped_column(LargeBinary, unique=True)

    email_given_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # since when it is the present one
    links_revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # links made before it open nothing
    preferred_time: Mapped[str | None]  # 18:30: when she likes to be written to, by the clocks of her zone
    preferred_weekday: Mapped[int | None]  # on which day the plan's weekly messages come: 0 is Monday

    given_name = Sealed("given_name")
    family_name = Sealed("family_name")
    preferred_name = Sealed("preferred_name")
    email = Sealed("email")
    phone = Sealed("phone")
    birth_date_text = Sealed("birth_date")
    contact_note = Sealed("contact_note")
    record_number = Sealed("record_number")

    __table_args__ = (Index("ix_patients_changed_at", "changed_at"),)

    @property
    def patient_id(self) -> UUID:
        """The patient a sealed column of this row belongs to."""
        return self.id

    @property
    def birth_date(self) -> date | None:
        """The date of birth, when known."""
        text = self.birth_date_text
        return None if text is None or text is UNREADABLE else date.fromisoformat(text)


class NamePrefix(Base):
    """A keyed hash of the start of a part of a patient's name, so that staff find her as they type."""

    __tablename__ = "name_prefixes"

    prefix: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), primary_key=True, index=True)


class Consent(Base):
    """Permission to e-mail by topic: rows are only added, the latest decides."""

    __tablename__ = "consents"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    topic: Mapped[Topic] = mapped_column(Word(Topic))
    granted: Mapped[bool] = mapped_column(Boolean)
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_by: Mapped[str]
    wording_version: Mapped[str]


class AddressFact(Base):
    """What is known about one version of a patient's address: rows are only added, the latest decides."""

    __tablename__ = "address_facts"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    email_version: Mapped[int]
    kind: Mapped[AddressFactKind] = mapped_column(Word(AddressFactKind))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_by: Mapped[str]


class PatientStop(Base):
    """Messages to a patient were stopped (`reason`) or permitted again (no `reason`): the latest row decides."""

    __tablename__ = "patient_stops"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    reason: Mapped[StopReason | None] = mapped_column(Word(StopReason))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_by: Mapped[str]
    note_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)

    note = Sealed("note")


class Treatment(Base):
    """What was done to a patient. Its content is in its versions; here is only what it is and whose."""

    __tablename__ = "treatments"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    protocol_key: Mapped[str]
    status: Mapped[TreatmentStatus] = mapped_column(Word(TreatmentStatus))
    entered_at: Mapped[datetime] = mapped_column(UtcDateTime)
    entered_by: Mapped[str]
    import_batch_id: Mapped[UUID | None] = mapped_column(ForeignKey("import_batches.id"), index=True)
    reassigned_to_id: Mapped[UUID | None] = mapped_column(ForeignKey("treatments.id"))
    # Since when it waits to be signed: written, or to be done later; None once signed, for imports and cancelled ones.
    unsigned_since: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index(
            "ix_treatments_unsigned",
            "unsigned_since",
            sqlite_where=text("unsigned_since IS NOT NULL"),
            postgresql_where=text("unsigned_since IS NOT NULL"),
        ),
        # The patient pages' order, and what was entered last.
        Index("ix_treatments_entered_at", "entered_at"),
    )


class TreatmentVersion(Base):
    """The content of a treatment as entered or corrected; the highest number holds, the others stay readable."""

    __tablename__ = "treatment_versions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    treatment_id: Mapped[UUID] = mapped_column(ForeignKey("treatments.id"))
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))
    number: Mapped[int]
    treated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    treated_local: Mapped[str]  # 2026-11-23T10:30:00 as entered
    treated_zone: Mapped[str]
    clinician: Mapped[str | None]
    lot_index: Mapped[bytes | None] = mapped_column(LargeBinary, index=True)
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_by: Mapped[str]
    fields_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    correction_reason_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)

    fields = SealedFields("fields")
    correction_reason = Sealed("correction_reason")

    __table_args__ = (UniqueConstraint("treatment_id", "number"),)


class TreatmentSignature(Base):
    """A clinician signed one version of a treatment: its content is final, later versions are amendments."""

    __tablename__ = "treatment_signatures"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    treatment_id: Mapped[UUID] = mapped_column(ForeignKey("treatments.id"))
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))
    version: Mapped[int]
    content_mac: Mapped[bytes] = mapped_column(LargeBinary)  # keyed hash of what was signed
    signed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    signed_by: Mapped[str]

    __table_args__ = (UniqueConstraint("treatment_id", "version"),)


class ClinicalNote(Base):
    """A dated note; a correction is a new note that names the one it corrects."""

    __tablename__ = "clinical_notes"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    treatment_id: Mapped[UUID | None] = mapped_column(ForeignKey("treatments.id"))
    corrects_id: Mapped[UUID | None] = mapped_column(ForeignKey("clinical_notes.id"))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_by: Mapped[str]
    text_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)

    text = Sealed("text")


class AdverseEvent(Base):
    """A complication as first reported (event kind `complication`); its end is the event that resolved it."""

    __tablename__ = "adverse_events"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    treatment_id: Mapped[UUID] = mapped_column(ForeignKey("treatments.id"))
    reported_by_event_id: Mapped[UUID] = mapped_column(ForeignKey("care_events.id"), unique=True)
    resolved_by_event_id: Mapped[UUID | None] = mapped_column(ForeignKey("care_events.id"))
    onset_at: Mapped[datetime] = mapped_column(UtcDateTime)
    lot_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    fields_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)

    fields = SealedFields("fields")

    __table_args__ = (
        Index(
            "ix_adverse_events_open",
            "onset_at",
            sqlite_where=text("resolved_by_event_id IS NULL"),
            postgresql_where=text("resolved_by_event_id IS NULL"),
        ),
    )


class ImportBatch(Base):
    """One imported file: undone as a whole."""

    __tablename__ = "import_batches"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    imported_at: Mapped[datetime] = mapped_column(UtcDateTime)
    imported_by: Mapped[str]
    file_hash: Mapped[str]
    patients: Mapped[int]
    treatments: Mapped[int]
    undone_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    undone_by: Mapped[str | None]
