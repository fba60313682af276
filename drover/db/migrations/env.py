"""What alembic runs: the revisions, in the transaction that drover.db.migration has opened."""

from alembic import context

# SQLite cannot alter most things in place; batch operations copy the table instead.
context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
context.run_migrations()
