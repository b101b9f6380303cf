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
