"""Opening a database, SQLite or PostgreSQL, and bringing its tables up to date."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from skep.errors import InputError, StoreError
from skep.store.schema import REVISION, VERSION_TABLE

_FORMS = "allowed: sqlite:///FOLDER/control.db or postgresql://USER@HOST/DATABASE"
_NEWER = "was written by a newer skep (its tables are at {found}, this skep knows {known}): update"
_OLDER = "was written by an older skep: start the control plane once, to bring it up to date"


def parse_url(text: str | URL) -> URL:
    """The address of a database. Raises ``InputError``."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise InputError("store", str(text), _FORMS) from None
    backend = url.drivername.split("+")[0]
    if backend == "sqlite" and url.database:
        return url.set(drivername="sqlite")
    if backend in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    raise InputError("store", url.set(query={}).render_as_string(hide_password=True), _FORMS)


def shown_url(url: URL) -> str:
    """The address for messages: without password, and without options, which may hold one."""
    plain = url.set(drivername=url.get_backend_name(), query={})
    return plain.render_as_string(hide_password=True)


def file_of(url: URL) -> Path | None:
    """The file of a SQLite database, else None."""
    return Path(str(url.database)).absolute() if url.drivername == "sqlite" else None


def connect(url: URL, *, read_only: bool, wait: float) -> sa.Engine:
    """An engine whose connections wait ``wait`` seconds for a lock. Opens nothing yet.

    A connection with the option ``writes`` takes SQLite's lock for writing as it begins: whoever
    reads first and writes later in one transaction could be refused half-way.
    """
    file = file_of(url)
    if file is None:
        return _postgres(url, read_only, wait)
    return _sqlite(file, read_only, wait)


def _sqlite(file: Path, read_only: bool, wait: float) -> sa.Engine:
    def opened() -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{file.as_uri()}?{_mode(file) if read_only else 'mode=rwc'}",
            uri=True,
            timeout=wait,
            check_same_thread=False,
            isolation_level=None,
        )
        try:
            _prepare(connection, read_only)
        except BaseException:
            connection.close()
            raise
        return connection

    # A reader opens anew for each reading, since the mode may have to be another one by then.
    kind = sa.pool.NullPool if read_only else sa.pool.QueuePool
    engine = sa.create_engine("sqlite://", creator=opened, poolclass=kind)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _mode(file: Path) -> str:
    """How to open for reading only.

    In a folder where it may write nothing, SQLite needs to be told that there is no writer; its
    write-ahead log shows that there is one, or that the last one was killed.
    """
    alone = not os.access(file.parent, os.W_OK) and not Path(f"{file}-wal").exists()
    return "mode=ro&immutable=1" if alone else "mode=ro"


def _prepare(connection: sqlite3.Connection, read_only: bool) -> None:
    if not read_only:
        # FULL: in WAL mode, NORMAL would lose the last commits at a power cut.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgres(url: URL, read_only: bool, wait: float) -> sa.Engine:
    options = f"-c lock_timeout={int(wait * 1000)}"
    if read_only:
        options += " -c default_transaction_read_only=on"
    arguments: dict[str, Any] = {"options": options, "connect_timeout": 10}
    try:
        return sa.create_engine(url, pool_pre_ping=True, connect_args=arguments)
    except ModuleNotFoundError:
        need = "PostgreSQL needs a driver: pip install 'skep[postgres]'"
        raise InputError("store", shown_url(url), need) from None


def migrate(connection: sa.Connection, place: str, *, read_only: bool) -> None:
    """Bring the tables to ``REVISION``, inside the transaction of ``connection``.

    Raises ``StoreError`` for a database of a newer skep, and for an older one that may only be
    read.
    """
    found = _revision(connection)
    if found == REVISION:
        return
    if found is not None and found > REVISION:
        raise StoreError(f"{place} {_NEWER.format(found=found, known=REVISION)} skep")
    if read_only:
        raise StoreError(f"{place} {_OLDER}")
    _upgrade(connection)


def _revision(connection: sa.Connection) -> str | None:
    """The migration that the database is at; None for one without tables."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.scalar(
        sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))
    )
    return None if found is None else str(found)


def _upgrade(connection: sa.Connection) -> None:
    # Imported here: only a database that is not up to date needs it, and it is slow to load.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, REVISION)
