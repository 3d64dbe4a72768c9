"""The tables. ``migrations/`` builds them; a test holds that both say the same.

``body`` is the whole record as JSON; the columns beside it are what is asked for.
"""

from __future__ import annotations

import sqlalchemy as sa

REVISION = "0001"
"""The newest migration: what a database must be at for this code."""

VERSION_TABLE = "skep_version"
"""Where the database says what it is at; not Alembic's own name, which others use too."""

# Compared by code point on every database, so that a range finds all that starts with a prefix.
Words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
# SQLite makes only INTEGER the row's own key.
Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

metadata = sa.MetaData()

owner = sa.Table(
    "owner",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("epoch", Number, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("last_event", Number, nullable=False),
    sa.Column("last_progress", Number, nullable=False),
)
"""One row: who writes, and the last numbers given. Locked first in each writing transaction."""

events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", Number, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", Words, nullable=False),
    sa.Column("job", Words, nullable=False),
    sa.Column("site", Words, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("events_of_job", "job", "seq"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", Words, primary_key=True),
    sa.Column("name", Words, nullable=False),
    sa.Column("queue", Words, nullable=False),
    sa.Column("phase", Words, nullable=False),
    sa.Column("version", Number, nullable=False),
    sa.Column("submitted_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("jobs_by_name", "name"),
    sa.Index("jobs_by_phase", "phase"),
    sa.Index("jobs_by_end", "ended_at"),
)

sites = sa.Table(
    "sites",
    metadata,
    sa.Column("name", Words, primary_key=True),
    sa.Column("phase", Words, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

progress = sa.Table(
    "progress",
    metadata,
    sa.Column("n", Number, primary_key=True, autoincrement=False),
    sa.Column("job", Words, nullable=False),
    sa.Column("run", Words, nullable=False),
    sa.Column("line", Number, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("progress_of_job", "job", "n"),
    sa.Index("progress_of_run", "run", "line", unique=True),
)
