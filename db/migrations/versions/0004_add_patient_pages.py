"""Add what patients' pages need: links, codes, what was raised for staff, and when she likes to be written to."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and columns."""
    op.add_column("patients", sa.Column("email_given_at", sa.BigInteger(), nullable=True))
    op.add_column("patients", sa.Column("links_revoked_at", sa.BigInteger(), nullable=True))
    op.add_column("patients", sa.Column("preferred_time", sa.Text(), nullable=True))
    op.add_column("patients", sa.Column("preferred_weekday", sa.Integer(), nullable=True))
    op.create_table(
        "page_codes",
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_page_codes_patient_id_patients"),
        sa.PrimaryKeyConstraint("patient_id", name="pk_page_codes"),
    )
    op.create_table(
        "message_links",
        sa.Column("reminder_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("email_version", sa.Integer(), nullable=False),
        sa.Column("page_hash", sa.LargeBinary(), nullable=False),
        sa.Column("stop_hash", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_message_links_patient_id_patients"),
        sa.ForeignKeyConstraint(["reminder_id"], ["reminders.id"], name="fk_message_links_reminder_id_reminders"),
        sa.PrimaryKeyConstraint("reminder_id", name="pk_message_links"),
        sa.UniqueConstraint("page_hash", name="uq_message_links_page_hash"),
        sa.UniqueConstraint("stop_hash", name="uq_message_links_stop_hash"),
    )
    op.create_index("ix_message_links_patient_id", "message_links", ["patient_id"], unique=False)
    op.create_table(
        "raised_lines",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("care_plan_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("review", sa.Text(), nullable=True),
        sa.Column("raised_at", sa.BigInteger(), nullable=False),
        sa.Column("raised_by", sa.Text(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("said_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["care_plan_id"], ["care_plans.id"], name="fk_raised_lines_care_plan_id_care_plans"),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_raised_lines_patient_id_patients"),
        sa.PrimaryKeyConstraint("id", name="pk_raised_lines"),
    )
    op.create_index("ix_raised_lines_patient_id", "raised_lines", ["patient_id"], unique=False)
    still_open = sa.text("closed_at IS NULL")
    for name, columns, unique in (
        ("ix_raised_lines_open", ["kind", "raised_at"], False),
        ("uq_raised_lines_open", ["care_plan_id", "kind"], True),
    ):
        op.create_index(
            name, "raised_lines", columns, unique=unique, sqlite_where=still_open, postgresql_where=still_open
        )
