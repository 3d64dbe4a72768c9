"""The first tables: the log, the states beside it, progress, and who writes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _owner()
    _events()
    _states()
    _progress()


def _owner() -> None:
    table = op.create_table(
        "owner",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("epoch", Number, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("last_event", Number, nullable=False),
        sa.Column("last_progress", Number, nullable=False),
    )
    first = {"id": 1, "epoch": 0, "holder": "", "last_event": 0, "last_progress": 0}
    op.bulk_insert(table, [first])


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("seq", Number, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kind", Words, nullable=False),
        sa.Column("job", Words, nullable=False),
        sa.Column("site", Words, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("events_of_job", "events", ["job", "seq"])


def _states() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", Words, primary_key=True),
        sa.Column("name", Words, nullable=False),
        sa.Column("queue", Words, nullable=False),
        sa.Column("phase", Words, nullable=False),
        sa.Column("version", Number, nullable=False),
        sa.Column("submitted_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("body", sa.Text, nullable=False),
    )
    for name, column in (("name", "name"), ("phase", "phase"), ("end", "ended_at")):
        op.create_index(f"jobs_by_{name}", "jobs", [column])
    op.create_table(
        "sites",
        sa.Column("name", Words, primary_key=True),
        sa.Column("phase", Words, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )


def _progress() -> None:
    op.create_table(
        "progress",
        sa.Column("n", Number, primary_key=True, autoincrement=False),
        sa.Column("job", Words, nullable=False),
        sa.Column("run", Words, nullable=False),
        sa.Column("line", Number, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("progress_of_job", "progress", ["job", "n"])
    op.create_index("progress_of_run", "progress", ["run", "line"], unique=True)
