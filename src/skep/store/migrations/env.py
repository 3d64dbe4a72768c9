"""Where Alembic finds the database: the connection, and its transaction, of who opens it."""

from __future__ import annotations

from alembic import context

from skep.store.schema import VERSION_TABLE, metadata

# SQLite too takes changes of tables in a transaction: a step is done whole or not at all.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
