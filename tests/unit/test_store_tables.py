"""The tables: the migrations build what the code uses; other versions are told apart."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import skep.store
from skep.errors import StoreError
from skep.store import schema
from skep.store.sql import FILE, open_store

MIGRATIONS = Path(skep.store.__file__).parent / "migrations"


def _table_names(file: Path) -> set[str]:
    with sqlite3.connect(file) as db:
        return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}


def test_the_migrations_build_what_the_code_uses(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / FILE}")
    with engine.connect() as db:
        options = {"compare_type": True, "version_table": schema.VERSION_TABLE}
        context = MigrationContext.configure(db, opts=options)
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_the_code_knows_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == schema.REVISION


@pytest.mark.parametrize("read_only", [False, True])
def test_a_database_of_a_newer_skep_is_refused(tmp_path: Path, read_only: bool) -> None:
    open_store(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StoreError, match=r"newer skep \(its tables are at 9999, .* update skep$"):
        open_store(tmp_path, read_only=read_only)
    assert (tmp_path / FILE).read_bytes() == before
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{schema.REVISION}'")
    open_store(tmp_path).close()  # the refusal has let go of the lock


def test_an_older_database_is_not_changed_by_a_reader(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / FILE).execute("VACUUM")
    with pytest.raises(StoreError, match="older skep: start the control plane once"):
        open_store(tmp_path, read_only=True)
    assert _table_names(tmp_path / FILE) == set()


def test_a_step_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("CREATE TABLE progress (theirs TEXT)")  # the last table that the step makes
    with pytest.raises(StoreError, match="progress already exists"):
        open_store(tmp_path)
    assert _table_names(tmp_path / FILE) == {"progress"}
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("DROP TABLE progress")
    open_store(tmp_path).close()


def test_what_is_written_is_on_the_disk_before_it_is_acknowledged(tmp_path: Path) -> None:
    said: list[tuple[object, ...]] = []

    @sa.event.listens_for(sa.Engine, "begin")
    def ask(connection: sa.Connection) -> None:
        names = ("journal_mode", "synchronous", "foreign_keys")
        said.extend((n, connection.exec_driver_sql(f"PRAGMA {n}").scalar()) for n in names)

    try:
        open_store(tmp_path).close()
    finally:
        sa.event.remove(sa.Engine, "begin", ask)
    assert set(said) == {("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)}
