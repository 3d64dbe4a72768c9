"""The store on a SQL database: SQLite in the state folder, or PostgreSQL for many servers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from skep.errors import StoreError
from skep.model.event import Event, Logged
from skep.model.state import JobState, SiteState
from skep.store import codec, database, schema
from skep.store.base import ENDED_KEPT, Loaded, refuse_moved
from skep.store.faults import told
from skep.store.owner import FileLock, ServerLock, holder
from skep.store.rows import OPEN, event_row, job_row, progress_row, site_row

FILE = "control.db"
_LAST = "\U0010ffff"  # sorts after every character of a name
_AT_ONCE = 10_000  # SQLite takes 32,766 values in one statement, PostgreSQL 65,535
_KEYS: sa.BindParameter[Any] = sa.bindparam("keys", expanding=True)
_OWNER = sa.select(schema.owner).with_for_update()
_VERSIONS = sa.select(schema.jobs.c.id, schema.jobs.c.version).where(schema.jobs.c.id.in_(_KEYS))
_OFFSETS = (
    sa.select(schema.progress.c.run, sa.func.max(schema.progress.c.line) + 1)
    .where(schema.progress.c.run.in_(_KEYS))
    .group_by(schema.progress.c.run)
)
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def open_store(path_or_url: str | Path, *, read_only: bool = False) -> SqlStore:
    """The store in a state folder (made where it is missing), or at a database's address.

    Raises ``StoreError`` where it cannot be opened, and where another process writes it;
    ``read_only`` opens beside a writer, and makes nothing. ``InputError`` for a wrong address.
    """
    text = str(path_or_url)
    if "://" in text:
        return SqlStore(text, read_only=read_only)
    folder = Path(text)
    if not read_only:
        with told(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
    url = sa.URL.create("sqlite", database=str(folder / FILE))
    return SqlStore(url, read_only=read_only)


class SqlStore:
    """A ``Store``. Safe to use from many threads; writes of one process go one after another.

    Only one process at a time may hold a database open for writing.
    """

    def __init__(self, url: str | sa.URL, *, read_only: bool = False, wait: float = 5.0) -> None:
        """``url`` as SQLAlchemy writes it; ``wait``: seconds to wait for a lock."""
        where = database.parse_url(url)
        self._file = database.file_of(where)
        self.place = str(self._file or database.shown_url(where))
        self._read_only = read_only
        self._write = threading.Lock()
        self._epoch = 0
        self._opened: tuple[int, int] | None = None
        self._lock: FileLock | ServerLock | None = None
        if read_only and self._file and not self._file.exists():
            raise StoreError(f"{self.place}: there is no state yet: start a control plane first")
        self._engine = database.connect(where, read_only=read_only, wait=wait)
        self._writer = self._engine.execution_options(writes=True)
        self._reader = self._engine
        if self._file is None:
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ")
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def load(self) -> Loaded:
        jobs, sites = schema.jobs, schema.sites
        is_open = jobs.c.phase.in_(OPEN)
        order = (jobs.c.ended_at.desc(), jobs.c.submitted_at.desc(), jobs.c.id.desc())
        with self._reading() as db:
            bodies = list(db.scalars(sa.select(jobs.c.body).where(is_open)))
            ended = sa.select(jobs.c.body).where(~is_open).order_by(*order).limit(ENDED_KEPT)
            bodies.extend(db.scalars(ended))
            places = db.scalars(sa.select(sites.c.body).order_by(sites.c.name)).all()
            seq = db.scalar(sa.select(schema.owner.c.last_event)) or 0
        states = sorted(map(codec.decode_job, bodies), key=lambda j: (j.submitted_at, j.id))
        return Loaded(tuple(states), tuple(map(codec.decode_site, places)), seq)

    def append(
        self,
        events: Sequence[Event],
        *,
        jobs: Iterable[JobState] = (),
        sites: Iterable[SiteState] = (),
        expect: Mapping[str, int] | None = None,
    ) -> tuple[Logged, ...]:
        new_jobs = {job.id: job_row(job) for job in jobs}
        new_sites = {site.name: site_row(site) for site in sites}
        with self._writing() as (db, owner):
            _check(db, expect or {})
            first = _take(db, "last_event", owner.last_event, len(events))
            _insert(db, schema.events, [event_row(first + i, e) for i, e in enumerate(events)])
            _upsert(db, schema.jobs, list(new_jobs.values()))
            _upsert(db, schema.sites, list(new_sites.values()))
        return tuple(Logged(seq=first + i, event=event) for i, event in enumerate(events))

    def events(
        self, *, job: str | None = None, after: int = 0, limit: int = 1000
    ) -> tuple[Logged, ...]:
        table = schema.events
        query = sa.select(table.c.seq, table.c.body).where(table.c.seq > after)
        if job is not None:
            query = query.where(table.c.job == job)
        with self._reading() as db:
            rows = db.execute(query.order_by(table.c.seq).limit(limit)).all()
        return tuple(Logged(seq=seq, event=codec.decode_event(body)) for seq, body in rows)

    def job(self, job: str) -> JobState | None:
        with self._reading() as db:
            body = db.scalar(sa.select(schema.jobs.c.body).where(schema.jobs.c.id == job))
        return codec.decode_job(body) if body is not None else None

    def find(self, prefix: str, limit: int = 20) -> tuple[str, ...]:
        if not prefix.isprintable():
            return ()  # no name has such characters, and not every database takes them
        jobs = schema.jobs
        columns = (jobs.c.id, jobs.c.name)
        starts = sa.or_(*(sa.and_(c >= prefix, c < prefix + _LAST) for c in columns))
        order = (jobs.c.submitted_at.desc(), jobs.c.id.desc())
        with self._reading() as db:
            query = sa.select(jobs.c.id).where(starts).order_by(*order).limit(limit)
            return tuple(db.scalars(query))

    def add_progress(
        self, job: str, run: str, offset: int, lines: Sequence[Mapping[str, Any]]
    ) -> int:
        with self._writing() as (db, owner):
            kept = _offsets(db, [run]).get(run, 0)
            new = lines[kept - offset :] if offset <= kept else ()
            first = _take(db, "last_progress", owner.last_progress, len(new))
            rows = [progress_row(first + i, job, run, kept + i, x) for i, x in enumerate(new)]
            _insert(db, schema.progress, rows)
        return kept + len(new)

    def progress(
        self, job: str, *, after: int = 0, limit: int = 1000
    ) -> tuple[tuple[int, str, dict[str, Any]], ...]:
        table = schema.progress
        query = sa.select(table.c.n, table.c.run, table.c.body)
        query = query.where(table.c.job == job, table.c.n > after).order_by(table.c.n).limit(limit)
        with self._reading() as db:
            rows = db.execute(query).all()
        return tuple((n, run, codec.decode_line(body)) for n, run, body in rows)

    def progress_offsets(self, runs: Iterable[str]) -> dict[str, int]:
        with self._reading() as db:
            return _offsets(db, runs)

    def close(self) -> None:
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _open(self) -> None:
        if self._read_only:
            with self._reading() as db:
                database.migrate(db, self.place, read_only=True)
            return
        if self._file is not None:
            self._lock = FileLock(self._file.with_suffix(".lock"), self.place)
        else:
            self._lock = ServerLock(self._engine, self.place)
        with told(self.place), self._writer.begin() as db:
            database.migrate(db, self.place, read_only=False)
            self._epoch = _take_over(db)
        self._opened = _identity(self._file)

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with told(self.place), self._reader.begin() as db:
            yield db

    @contextmanager
    def _writing(self) -> Iterator[tuple[sa.Connection, sa.Row[Any]]]:
        """A transaction with the owner's row, which it locks: one at a time over all processes."""
        if self._read_only:
            raise StoreError(f"{self.place} is open for reading only")
        with self._write, told(self.place), self._writer.begin() as db:
            self._refuse_moved_file()
            owner = db.execute(_OWNER).one()
            if owner.epoch != self._epoch:
                raise StoreError(f"{self.place} was taken over by {owner.holder}: stop this one")
            yield db, owner

    def _refuse_moved_file(self) -> None:
        """SQLite goes on writing to a file that has been deleted: all of it would be lost."""
        if self._file and _identity(self._file) != self._opened:
            raise StoreError(f"{self.place} was moved or deleted: put it back, or start again")


def _identity(file: Path | None) -> tuple[int, int] | None:
    try:
        found = os.stat(file) if file else None
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino) if found else None


def _take(db: sa.Connection, counter: str, last: int, count: int) -> int:
    """Take ``count`` numbers; answers the first. Without gaps: a missing one is a loss."""
    if count:
        db.execute(sa.update(schema.owner).values({counter: last + count}))
    return last + 1


def _take_over(db: sa.Connection) -> int:
    """Make this process the one that writes; a late write of an earlier one is refused."""
    epoch = int(db.execute(sa.select(schema.owner.c.epoch).with_for_update()).scalar_one()) + 1
    db.execute(sa.update(schema.owner).values(epoch=epoch, holder=holder()))
    return epoch


def _check(db: sa.Connection, expect: Mapping[str, int]) -> None:
    if expect:
        refuse_moved(expect, _by_key(db, _VERSIONS, expect))


def _offsets(db: sa.Connection, runs: Iterable[str]) -> dict[str, int]:
    return _by_key(db, _OFFSETS, runs)


def _by_key(db: sa.Connection, query: sa.Select[Any], keys: Iterable[str]) -> dict[str, int]:
    """(key, number) rows of all ``keys``; in parts, since databases take so many at once."""
    rest, found = list(keys), {}
    while rest:
        found.update({row[0]: row[1] for row in db.execute(query, {"keys": rest[:_AT_ONCE]})})
        rest = rest[_AT_ONCE:]
    return found


def _insert(db: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        db.execute(sa.insert(table), rows)


def _upsert(db: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        db.execute(_upsert_into(db.dialect.name, table), rows)


@cache
def _upsert_into(dialect: str, table: sa.Table) -> sa.Executable:
    query = _INSERT[dialect](table)
    changed = {c.name: query.excluded[c.name] for c in table.c if not c.primary_key}
    done: sa.Executable = query.on_conflict_do_update(
        index_elements=table.primary_key, set_=changed
    )
    return done
