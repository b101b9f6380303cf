"""Add staff accounts and sessions, signatures, and what the staff's lists are ordered by."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, add the columns, and say of what is there already whether it waits for a person."""
    op.create_table(
        "library_files",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("read_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("path", name="pk_library_files"),
    )
    op.create_table(
        "setup_marks",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("marked_at", sa.BigInteger(), nullable=False),
        sa.Column("marked_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_setup_marks"),
    )
    op.create_table(
        "staff_devices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_staff_devices"),
        sa.UniqueConstraint("token_hash", name="uq_staff_devices_token_hash"),
    )
    op.create_table(
        "staff_members",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("pin_hash", sa.Text(), nullable=True),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("totp_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("totp_confirmed", sa.Boolean(), nullable=False),
        sa.Column("totp_step", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_staff_members"),
        sa.UniqueConstraint("login", name="uq_staff_members_login"),
    )
    op.create_table(
        "account_links",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.String(length=40), nullable=False),
        sa.Column("staff_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["staff_id"], ["staff_members.id"], name="fk_account_links_staff_id_staff_members"),
        sa.PrimaryKeyConstraint("id", name="pk_account_links"),
        sa.UniqueConstraint("token_hash", name="uq_account_links_token_hash"),
    )
    op.create_table(
        "device_trusts",
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("staff_id", sa.Uuid(), nullable=False),
        sa.Column("second_factor_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["staff_devices.id"], name="fk_device_trusts_device_id_staff_devices"),
        sa.ForeignKeyConstraint(["staff_id"], ["staff_members.id"], name="fk_device_trusts_staff_id_staff_members"),
        sa.PrimaryKeyConstraint("device_id", "staff_id", name="pk_device_trusts"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("staff_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["staff_id"], ["staff_members.id"], name="fk_recovery_codes_staff_id_staff_members"),
        sa.PrimaryKeyConstraint("id", name="pk_recovery_codes"),
    )
    op.create_index("ix_recovery_codes_staff_id", "recovery_codes", ["staff_id"])
    op.create_table(
        "staff_sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("staff_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("pin_failures", sa.Integer(), nullable=False),
        sa.Column("remembered", sa.JSON(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["staff_devices.id"], name="fk_staff_sessions_device_id_staff_devices"),
        sa.ForeignKeyConstraint(["staff_id"], ["staff_members.id"], name="fk_staff_sessions_staff_id_staff_members"),
        sa.PrimaryKeyConstraint("id", name="pk_staff_sessions"),
        sa.UniqueConstraint("token_hash", name="uq_staff_sessions_token_hash"),
    )
    op.create_index("ix_staff_sessions_device_id", "staff_sessions", ["device_id"])
    op.create_index("ix_staff_sessions_staff_id_ended_at", "staff_sessions", ["staff_id", "ended_at"])
    op.create_table(
        "treatment_signatures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("treatment_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_mac", sa.LargeBinary(), nullable=False),
        sa.Column("signed_at", sa.BigInteger(), nullable=False),
        sa.Column("signed_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_treatment_signatures_patient_id_patients"),
        sa.ForeignKeyConstraint(
            ["treatment_id"], ["treatments.id"], name="fk_treatment_signatures_treatment_id_treatments"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_treatment_signatures"),
        sa.UniqueConstraint("treatment_id", "version", name="uq_treatment_signatures_treatment_id_version"),
    )
    op.create_index("ix_audit_events_action_number", "audit_events", ["action", "number"])
    op.create_index("ix_audit_events_actor_number", "audit_events", ["actor", "number"])
    op.create_index("ix_audit_events_at_number", "audit_events", ["at", "number"])
    op.create_index(
        "ix_adverse_events_open",
        "adverse_events",
        ["onset_at"],
        sqlite_where=sa.text("resolved_by_event_id IS NULL"),
        postgresql_where=sa.text("resolved_by_event_id IS NULL"),
    )
    op.add_column("approvals", sa.Column("alone_because", sa.Text(), nullable=True))
    op.add_column("care_plans", sa.Column("call_asked_at", sa.BigInteger(), nullable=True))
    op.add_column("care_plans", sa.Column("release_asked_at", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_care_plans_call_asked",
        "care_plans",
        ["call_asked_at"],
        sqlite_where=sa.text("call_asked_at IS NOT NULL"),
        postgresql_where=sa.text("call_asked_at IS NOT NULL"),
    )
    op.create_index(
        "ix_care_plans_release_asked",
        "care_plans",
        ["release_asked_at"],
        sqlite_where=sa.text("release_asked_at IS NOT NULL"),
        postgresql_where=sa.text("release_asked_at IS NOT NULL"),
    )
    op.add_column("protocol_versions", sa.Column("origin", sa.String(length=40), server_default="file", nullable=False))
    op.add_column("protocol_versions", sa.Column("written_by", sa.Text(), nullable=True))
    op.add_column("reminders", sa.Column("settled_at", sa.BigInteger(), nullable=True))
    op.drop_index("ix_reviews_open_due", "reviews")
    op.create_index(
        "ix_reviews_open_due",
        "reviews",
        ["status", "due_on"],
        sqlite_where=sa.text("open"),
        postgresql_where=sa.text("open"),
    )
    op.create_index(
        "ix_reviews_open_visit",
        "reviews",
        ["visit_at"],
        sqlite_where=sa.text("open AND visit_at IS NOT NULL"),
        postgresql_where=sa.text("open AND visit_at IS NOT NULL"),
    )
    op.create_index("ix_reminders_due_at", "reminders", ["due_at", "state", "reason"])
    op.create_index(
        "ix_reminders_held",
        "reminders",
        ["reason", "due_at"],
        sqlite_where=sa.text("state = 'held'"),
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index(
        "ix_reminders_unsettled",
        "reminders",
        ["changed_at"],
        sqlite_where=sa.text("state IN ('failed', 'missed') AND settled_at IS NULL"),
        postgresql_where=sa.text("state IN ('failed', 'missed') AND settled_at IS NULL"),
    )
    op.add_column("template_versions", sa.Column("origin", sa.String(length=40), server_default="file", nullable=False))
    op.add_column("template_versions", sa.Column("written_by", sa.Text(), nullable=True))
    op.add_column("treatments", sa.Column("unsigned_since", sa.BigInteger(), nullable=True))
    op.create_index("ix_treatments_entered_at", "treatments", ["entered_at"])
    op.create_index(
        "ix_treatments_unsigned",
        "treatments",
        ["unsigned_since"],
        sqlite_where=sa.text("unsigned_since IS NOT NULL"),
        postgresql_where=sa.text("unsigned_since IS NOT NULL"),
    )
    # What had passed when it was planned never waited for anyone; imported records came as they were.
    op.execute("UPDATE reminders SET settled_at = changed_at WHERE state = 'missed' AND reason = 'past_when_planned'")
    op.execute("UPDATE treatments SET unsigned_since = entered_at WHERE status = 'active' AND import_batch_id IS NULL")
