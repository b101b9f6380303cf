"""Create the record, follow-up and audit tables, with the one gate row and the empty audit chain."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LIVE = sa.text("state IN ('scheduled', 'held', 'sending', 'awaiting_retry')")
WAITING = sa.text("state IN ('scheduled', 'awaiting_retry')")


def upgrade() -> None:
    """Make all tables of the first schema."""
    op.create_table(
        "approvals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("what", sa.String(length=40), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("texts", sa.JSON(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.Column("approved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
    )
    op.create_index("ix_approvals_version_id", "approvals", ["version_id"], unique=False)
    op.create_table(
        "audit_events",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("subject_id", sa.Text(), nullable=True),
        sa.Column("patient_id", sa.Uuid(), nullable=True),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("previous_mac", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit_events"),
    )
    op.create_index("ix_audit_events_patient_id_number", "audit_events", ["patient_id", "number"], unique=False)
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_one_row")),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.create_table(
        "gate",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("used_relay", sa.Boolean(), nullable=False),
        sa.Column("last_attempt", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_gate_one_row")),
        sa.PrimaryKeyConstraint("id", name="pk_gate"),
    )
    op.create_table(
        "import_batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("imported_at", sa.BigInteger(), nullable=False),
        sa.Column("imported_by", sa.Text(), nullable=False),
        sa.Column("file_hash", sa.Text(), nullable=False),
        sa.Column("patients", sa.Integer(), nullable=False),
        sa.Column("treatments", sa.Integer(), nullable=False),
        sa.Column("undone_at", sa.BigInteger(), nullable=True),
        sa.Column("undone_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_import_batches"),
    )
    op.create_table(
        "protocol_texts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("protocol_key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_protocol_texts"),
    )
    op.create_index("ix_protocol_texts_protocol_key", "protocol_texts", ["protocol_key"], unique=False)
    op.create_table(
        "protocol_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("retired", sa.Boolean(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_protocol_versions"),
        sa.UniqueConstraint("key", "number", name="uq_protocol_versions_key_number"),
    )
    op.create_table(
        "template_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_template_versions"),
        sa.UniqueConstraint(
            "key", "language", "level", "content_hash", name="uq_template_versions_key_language_level_content_hash"
        ),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=False),
        sa.Column("swept_at", sa.BigInteger(), nullable=True),
        sa.Column("stopped_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_table(
        "patients",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("level", sa.String(length=40), nullable=False),
        sa.Column("call_safe", sa.String(length=40), nullable=False),
        sa.Column("email_version", sa.Integer(), nullable=False),
        sa.Column("import_batch_id", sa.Uuid(), nullable=True),
        sa.Column("voided_at", sa.BigInteger(), nullable=True),
        sa.Column("given_name_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("family_name_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("preferred_name_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("email_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("phone_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("birth_date_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("contact_note_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("record_number_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("email_index", sa.LargeBinary(), nullable=True),
        sa.Column("record_number_index", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["import_batch_id"], ["import_batches.id"], name="fk_patients_import_batch_id_import_batches"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_patients"),
        sa.UniqueConstraint("record_number_index", name="uq_patients_record_number_index"),
    )
    op.create_index("ix_patients_changed_at", "patients", ["changed_at"], unique=False)
    op.create_index("ix_patients_email_index", "patients", ["email_index"], unique=False)
    op.create_table(
        "address_facts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("email_version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_address_facts_patient_id_patients"),
        sa.PrimaryKeyConstraint("id", name="pk_address_facts"),
    )
    op.create_index("ix_address_facts_patient_id", "address_facts", ["patient_id"], unique=False)
    op.create_table(
        "consents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.String(length=40), nullable=False),
        sa.Column("granted", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("wording_version", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_consents_patient_id_patients"),
        sa.PrimaryKeyConstraint("id", name="pk_consents"),
    )
    op.create_index("ix_consents_patient_id", "consents", ["patient_id"], unique=False)
    op.create_table(
        "name_prefixes",
        sa.Column("prefix", sa.LargeBinary(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_name_prefixes_patient_id_patients"),
        sa.PrimaryKeyConstraint("prefix", "patient_id", name="pk_name_prefixes"),
    )
    op.create_index("ix_name_prefixes_patient_id", "name_prefixes", ["patient_id"], unique=False)
    op.create_table(
        "patient_keys",
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_patient_keys_patient_id_patients"),
        sa.PrimaryKeyConstraint("patient_id", name="pk_patient_keys"),
    )
    op.create_table(
        "patient_stops",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("note_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_patient_stops_patient_id_patients"),
        sa.PrimaryKeyConstraint("id", name="pk_patient_stops"),
    )
    op.create_index("ix_patient_stops_patient_id", "patient_stops", ["patient_id"], unique=False)
    op.create_table(
        "treatments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("protocol_key", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("entered_at", sa.BigInteger(), nullable=False),
        sa.Column("entered_by", sa.Text(), nullable=False),
        sa.Column("import_batch_id", sa.Uuid(), nullable=True),
        sa.Column("reassigned_to_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["import_batch_id"], ["import_batches.id"], name="fk_treatments_import_batch_id_import_batches"
        ),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_treatments_patient_id_patients"),
        sa.ForeignKeyConstraint(
            ["reassigned_to_id"], ["treatments.id"], name="fk_treatments_reassigned_to_id_treatments"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_treatments"),
    )
    op.create_index("ix_treatments_import_batch_id", "treatments", ["import_batch_id"], unique=False)
    op.create_index("ix_treatments_patient_id", "treatments", ["patient_id"], unique=False)
    op.create_table(
        "care_plans",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("treatment_id", sa.Uuid(), nullable=False),
        sa.Column("protocol_version_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("past_override", sa.String(length=40), nullable=True),
        sa.Column("keeps_earlier", sa.Boolean(), nullable=False),
        sa.Column("starts_held", sa.Boolean(), nullable=False),
        sa.Column("age_override_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("planned_with", sa.Text(), nullable=True),
        sa.Column("planned_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_care_plans_patient_id_patients"),
        sa.ForeignKeyConstraint(
            ["protocol_version_id"],
            ["protocol_versions.id"],
            name="fk_care_plans_protocol_version_id_protocol_versions",
        ),
        sa.ForeignKeyConstraint(["treatment_id"], ["treatments.id"], name="fk_care_plans_treatment_id_treatments"),
        sa.PrimaryKeyConstraint("id", name="pk_care_plans"),
        sa.UniqueConstraint("treatment_id", name="uq_care_plans_treatment_id"),
    )
    op.create_index("ix_care_plans_patient_id", "care_plans", ["patient_id"], unique=False)
    op.create_index("ix_care_plans_planned_with", "care_plans", ["planned_with"], unique=False)
    op.create_index("ix_care_plans_protocol_version_id", "care_plans", ["protocol_version_id"], unique=False)
    op.create_table(
        "clinical_notes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("treatment_id", sa.Uuid(), nullable=True),
        sa.Column("corrects_id", sa.Uuid(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("text_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["corrects_id"], ["clinical_notes.id"], name="fk_clinical_notes_corrects_id_clinical_notes"
        ),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_clinical_notes_patient_id_patients"),
        sa.ForeignKeyConstraint(["treatment_id"], ["treatments.id"], name="fk_clinical_notes_treatment_id_treatments"),
        sa.PrimaryKeyConstraint("id", name="pk_clinical_notes"),
    )
    op.create_index("ix_clinical_notes_patient_id", "clinical_notes", ["patient_id"], unique=False)
    op.create_table(
        "treatment_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("treatment_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("treated_at", sa.BigInteger(), nullable=False),
        sa.Column("treated_local", sa.Text(), nullable=False),
        sa.Column("treated_zone", sa.Text(), nullable=False),
        sa.Column("clinician", sa.Text(), nullable=True),
        sa.Column("lot_index", sa.LargeBinary(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("fields_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("correction_reason_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_treatment_versions_patient_id_patients"),
        sa.ForeignKeyConstraint(
            ["treatment_id"], ["treatments.id"], name="fk_treatment_versions_treatment_id_treatments"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_treatment_versions"),
        sa.UniqueConstraint("treatment_id", "number", name="uq_treatment_versions_treatment_id_number"),
    )
    op.create_index("ix_treatment_versions_lot_index", "treatment_versions", ["lot_index"], unique=False)
    op.create_table(
        "care_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("care_plan_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("review", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("occurred_local", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("fields_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["care_plan_id"], ["care_plans.id"], name="fk_care_events_care_plan_id_care_plans"),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_care_events_patient_id_patients"),
        sa.PrimaryKeyConstraint("id", name="pk_care_events"),
    )
    op.create_index("ix_care_events_care_plan_id", "care_events", ["care_plan_id"], unique=False)
    op.create_table(
        "plan_questions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("care_plan_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("occurrence", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("now_basis", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["care_plan_id"], ["care_plans.id"], name="fk_plan_questions_care_plan_id_care_plans"),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_plan_questions_patient_id_patients"),
        sa.PrimaryKeyConstraint("id", name="pk_plan_questions"),
    )
    op.create_index("ix_plan_questions_care_plan_id", "plan_questions", ["care_plan_id"], unique=False)
    op.create_index(
        "ix_plan_questions_open",
        "plan_questions",
        ["asked_at"],
        unique=False,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "reminder_decisions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("care_plan_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("occurrence", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("note_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["care_plan_id"], ["care_plans.id"], name="fk_reminder_decisions_care_plan_id_care_plans"
        ),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_reminder_decisions_patient_id_patients"),
        sa.PrimaryKeyConstraint("id", name="pk_reminder_decisions"),
    )
    op.create_index("ix_reminder_decisions_care_plan_id", "reminder_decisions", ["care_plan_id"], unique=False)
    op.create_table(
        "reminders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("care_plan_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("occurrence", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("audience", sa.String(length=40), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("on_unknown", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("due_local", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=True),
        sa.Column("ready_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("open_attempt", sa.Integer(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("unknowns", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('scheduled', 'sending', 'sent') OR reason IS NOT NULL", name=op.f("ck_reminders_has_reason")
        ),
        sa.ForeignKeyConstraint(["care_plan_id"], ["care_plans.id"], name="fk_reminders_care_plan_id_care_plans"),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_reminders_patient_id_patients"),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name="fk_reminders_worker_id_workers"),
        sa.PrimaryKeyConstraint("id", name="pk_reminders"),
        sa.UniqueConstraint(
            "care_plan_id",
            "step",
            "occurrence",
            "generation",
            name="uq_reminders_care_plan_id_step_occurrence_generation",
        ),
        sa.UniqueConstraint("message_id", name="uq_reminders_message_id"),
    )
    op.create_index(
        "ix_reminders_claimed",
        "reminders",
        ["worker_id"],
        unique=False,
        sqlite_where=sa.text("state = 'sending'"),
        postgresql_where=sa.text("state = 'sending'"),
    )
    op.create_index(
        "ix_reminders_expiring", "reminders", ["expires_at"], unique=False, sqlite_where=LIVE, postgresql_where=LIVE
    )
    op.create_index("ix_reminders_patient_id", "reminders", ["patient_id"], unique=False)
    op.create_index(
        "ix_reminders_ready", "reminders", ["ready_at"], unique=False, sqlite_where=WAITING, postgresql_where=WAITING
    )
    op.create_index("ix_reminders_state_changed", "reminders", ["state", "changed_at"], unique=False)
    op.create_index(
        "uq_reminders_live",
        "reminders",
        ["care_plan_id", "step", "occurrence"],
        unique=True,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
    op.create_table(
        "reviews",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("care_plan_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("latest_on", sa.Date(), nullable=False),
        sa.Column("visit_at", sa.BigInteger(), nullable=True),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["care_plan_id"], ["care_plans.id"], name="fk_reviews_care_plan_id_care_plans"),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_reviews_patient_id_patients"),
        sa.PrimaryKeyConstraint("id", name="pk_reviews"),
        sa.UniqueConstraint("care_plan_id", "key", name="uq_reviews_care_plan_id_key"),
    )
    op.create_index(
        "ix_reviews_open_due",
        "reviews",
        ["due_on"],
        unique=False,
        sqlite_where=sa.text("open"),
        postgresql_where=sa.text("open"),
    )
    op.create_index("ix_reviews_patient_id", "reviews", ["patient_id"], unique=False)
    op.create_table(
        "adverse_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("treatment_id", sa.Uuid(), nullable=False),
        sa.Column("reported_by_event_id", sa.Uuid(), nullable=False),
        sa.Column("resolved_by_event_id", sa.Uuid(), nullable=True),
        sa.Column("onset_at", sa.BigInteger(), nullable=False),
        sa.Column("lot_index", sa.LargeBinary(), nullable=True),
        sa.Column("fields_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_adverse_events_patient_id_patients"),
        sa.ForeignKeyConstraint(
            ["reported_by_event_id"], ["care_events.id"], name="fk_adverse_events_reported_by_event_id_care_events"
        ),
        sa.ForeignKeyConstraint(
            ["resolved_by_event_id"], ["care_events.id"], name="fk_adverse_events_resolved_by_event_id_care_events"
        ),
        sa.ForeignKeyConstraint(["treatment_id"], ["treatments.id"], name="fk_adverse_events_treatment_id_treatments"),
        sa.PrimaryKeyConstraint("id", name="pk_adverse_events"),
        sa.UniqueConstraint("reported_by_event_id", name="uq_adverse_events_reported_by_event_id"),
    )
    op.create_index("ix_adverse_events_patient_id", "adverse_events", ["patient_id"], unique=False)
    op.create_table(
        "care_event_retractions",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("reason_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"], ["care_events.id"], name="fk_care_event_retractions_event_id_care_events"
        ),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_care_event_retractions_patient_id_patients"),
        sa.PrimaryKeyConstraint("event_id", name="pk_care_event_retractions"),
    )
    op.create_table(
        "delivery_attempts",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("reminder_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("email_version", sa.Integer(), nullable=False),
        sa.Column("marked_at", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(length=40), nullable=False),
        sa.Column("phase", sa.Text(), nullable=True),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("enhanced", sa.Text(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=True),
        sa.Column("reply_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_delivery_attempts_patient_id_patients"),
        sa.ForeignKeyConstraint(["reminder_id"], ["reminders.id"], name="fk_delivery_attempts_reminder_id_reminders"),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name="fk_delivery_attempts_worker_id_workers"),
        sa.PrimaryKeyConstraint("number", name="pk_delivery_attempts"),
    )
    op.create_index("ix_delivery_attempts_reminder_id", "delivery_attempts", ["reminder_id"], unique=False)
    op.create_table(
        "sent_copies",
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("reminder_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("content_sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt"], ["delivery_attempts.number"], name="fk_sent_copies_attempt_delivery_attempts"
        ),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_sent_copies_patient_id_patients"),
        sa.ForeignKeyConstraint(["reminder_id"], ["reminders.id"], name="fk_sent_copies_reminder_id_reminders"),
        sa.PrimaryKeyConstraint("attempt", name="pk_sent_copies"),
    )
    op.create_index("ix_sent_copies_reminder_id", "sent_copies", ["reminder_id"], unique=False)

    head = sa.table("audit_head", sa.column("id"), sa.column("number"), sa.column("mac", sa.LargeBinary()))
    op.bulk_insert(head, [{"id": 1, "number": 0, "mac": bytes(32)}])
    gate = sa.table(
        "gate",
        *map(sa.column, ("id", "state", "reason", "changed_at", "changed_by")),
        sa.column("used_relay", sa.Boolean()),
        sa.column("last_attempt"),
    )
    first = {"id": 1, "state": "open", "reason": None, "changed_at": 0, "changed_by": "migration"}
    op.bulk_insert(gate, [{**first, "used_relay": False, "last_attempt": 0}])
