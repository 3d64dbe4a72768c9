"""``MemoryStore``: the store as a fake that keeps everything in memory; the simulator's.

It keeps the same contract as ``SqlStore``, except that nothing outlives the process.
"""

from __future__ import annotations

import heapq
import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from skep.model.event import Event, Logged
from skep.model.state import JobState, SiteState
from skep.store.base import ENDED_KEPT, Loaded, refuse_moved
from skep.store.rows import end_of


class MemoryStore:
    """A ``Store`` that forgets all at its end. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._log: list[Logged] = []
        self._log_of: defaultdict[str, list[int]] = defaultdict(list)
        self._jobs: dict[str, JobState] = {}
        self._sites: dict[str, SiteState] = {}
        self._lines: list[tuple[str, dict[str, Any]]] = []
        self._lines_of: defaultdict[str, list[int]] = defaultdict(list)
        self._kept: defaultdict[str, int] = defaultdict(int)

    def load(self) -> Loaded:
        with self._lock:
            states = list(self._jobs.values())
            sites = tuple(self._sites[name] for name in sorted(self._sites))
            seq = len(self._log)
        found = [job for job in states if not job.ended]
        found += heapq.nlargest(ENDED_KEPT, (job for job in states if job.ended), key=_ended_order)
        return Loaded(tuple(sorted(found, key=_order)), sites, seq)

    def append(
        self,
        events: Sequence[Event],
        *,
        jobs: Iterable[JobState] = (),
        sites: Iterable[SiteState] = (),
        expect: Mapping[str, int] | None = None,
    ) -> tuple[Logged, ...]:
        new_jobs = {job.id: job for job in jobs}
        new_sites = {site.name: site for site in sites}
        with self._lock:
            if expect:
                stored = {job: self._jobs[job].version for job in expect if job in self._jobs}
                refuse_moved(expect, stored)
            logged = tuple(self._logged(event) for event in events)
            self._jobs.update(new_jobs)
            self._sites.update(new_sites)
        return logged

    def events(
        self, *, job: str | None = None, after: int = 0, limit: int = 1000
    ) -> tuple[Logged, ...]:
        with self._lock:
            if job is None:
                start = max(after, 0)
                return tuple(self._log[start : start + limit])
            return tuple(self._log[seq - 1] for seq in _page(self._log_of, job, after, limit))

    def job(self, job: str) -> JobState | None:
        return self._jobs.get(job)

    def find(self, prefix: str, limit: int = 20) -> tuple[str, ...]:
        with self._lock:
            states = list(self._jobs.values())
        found = (j for j in states if j.id.startswith(prefix) or j.spec.name.startswith(prefix))
        return tuple(job.id for job in heapq.nlargest(limit, found, key=_order))

    def add_progress(
        self, job: str, run: str, offset: int, lines: Sequence[Mapping[str, Any]]
    ) -> int:
        with self._lock:
            kept = self._kept[run]
            for line in lines[kept - offset :] if offset <= kept else ():
                self._lines.append((run, dict(line)))
                self._lines_of[job].append(len(self._lines))
                self._kept[run] += 1
            return self._kept[run]

    def progress(
        self, job: str, *, after: int = 0, limit: int = 1000
    ) -> tuple[tuple[int, str, dict[str, Any]], ...]:
        with self._lock:
            numbers = _page(self._lines_of, job, after, limit)
            return tuple((n, *self._lines[n - 1]) for n in numbers)

    def progress_offsets(self, runs: Iterable[str]) -> dict[str, int]:
        with self._lock:
            return {run: self._kept[run] for run in runs if self._kept.get(run)}

    def close(self) -> None:
        """Nothing is held."""

    def _logged(self, event: Event) -> Logged:
        logged = Logged(seq=len(self._log) + 1, event=event)
        self._log.append(logged)
        if event.job:
            self._log_of[event.job].append(logged.seq)
        return logged


def _page(numbers: Mapping[str, list[int]], key: str, after: int, limit: int) -> list[int]:
    found = numbers.get(key, [])
    start = bisect_right(found, after)
    return found[start : start + limit]


def _order(job: JobState) -> tuple[float, str]:
    return job.submitted_at, job.id


def _ended_order(job: JobState) -> tuple[float, float, str]:
    return end_of(job) or 0.0, job.submitted_at, job.id
