"""Alembic's entry: runs the migrations on the connection `db.migrations.migrate` hands over."""

from alembic import context

import db.follow_up
import db.private_page
import db.records
import db.returned_mail
import db.staff
import db.turns  # noqa: F401  (together they make the metadata complete)
from db.base import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transaction_per_migration=False,
)
context.run_migrations()
