"""Add what guards the sending and what several processes share."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and columns."""
    op.create_table(
        "turns",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_turns"),
    )
    op.add_column("workers", sa.Column("alarm", sa.Text(), nullable=True))
    op.add_column("workers", sa.Column("loop_lag_ms", sa.Integer(), nullable=True))
    op.add_column("gate", sa.Column("cause", sa.String(length=40), nullable=True))
    op.add_column("gate", sa.Column("installation_id", sa.Uuid(), nullable=True))
    op.add_column("gate", sa.Column("restored_from", sa.BigInteger(), nullable=True))
    op.add_column("gate", sa.Column("restored_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "delivery_reports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reminder_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("waits_since", sa.BigInteger(), nullable=True),
        sa.Column("said_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["attempt"], ["delivery_attempts.number"], name="fk_delivery_reports_attempt_delivery_attempts"
        ),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_delivery_reports_patient_id_patients"),
        sa.ForeignKeyConstraint(["reminder_id"], ["reminders.id"], name="fk_delivery_reports_reminder_id_reminders"),
        sa.PrimaryKeyConstraint("id", name="pk_delivery_reports"),
        sa.UniqueConstraint("fingerprint", name="uq_delivery_reports_fingerprint"),
    )
    op.create_index("ix_delivery_reports_attempt", "delivery_reports", ["attempt"], unique=False)
    op.create_index("ix_delivery_reports_patient_id", "delivery_reports", ["patient_id"], unique=False)
    op.create_table(
        "mailbox_letters",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("mailbox", sa.BigInteger(), nullable=True),
        sa.Column("uid", sa.BigInteger(), nullable=True),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.Column("waits_since", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_mailbox_letters"),
        sa.UniqueConstraint("fingerprint", name="uq_mailbox_letters_fingerprint"),
    )
    op.create_index("ix_mailbox_letters_mailbox_uid", "mailbox_letters", ["mailbox", "uid"], unique=False)
    waits = sa.text("waits_since IS NOT NULL")
    for table in ("delivery_reports", "mailbox_letters"):
        name = f"ix_{table}_waiting"
        op.create_index(name, table, ["waits_since"], unique=False, sqlite_where=waits, postgresql_where=waits)
    unsettled = sa.text("state IN ('failed', 'missed') AND settled_at IS NULL")
    op.drop_index("ix_reminders_unsettled", "reminders")
    op.create_index(
        "ix_reminders_unsettled",
        "reminders",
        ["state", "changed_at"],
        unique=False,
        sqlite_where=unsettled,
        postgresql_where=unsettled,
    )
