"""What a store does. One contract suite runs over every implementation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from skep.errors import ConflictError
from skep.model.event import Event, Logged
from skep.model.state import JobState, SiteState

ENDED_KEPT = 1000
"""So many of the newest ended jobs ``load`` answers."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a control plane finds when it starts. ``seq`` is the number of the last event."""

    jobs: tuple[JobState, ...]
    sites: tuple[SiteState, ...]
    seq: int


class Store(Protocol):
    """The event log with the current state beside it.

    Every method raises ``StoreError`` where the state cannot be read or written; then nothing
    was changed.
    """

    def load(self) -> Loaded:
        """The current state: all jobs that have not ended, the newest ended ones, all sites."""
        ...

    def append(
        self,
        events: Sequence[Event],
        *,
        jobs: Iterable[JobState] = (),
        sites: Iterable[SiteState] = (),
        expect: Mapping[str, int] | None = None,
    ) -> tuple[Logged, ...]:
        """Write events and the states that they lead to, in one durable transaction.

        ``expect`` maps job ids to the versions that must still be the stored ones (0: no such job
        yet); else ``ConflictError`` and nothing is written. Returns the events with their numbers.
        """
        ...

    def events(
        self, *, job: str | None = None, after: int = 0, limit: int = 1000
    ) -> tuple[Logged, ...]:
        """Events with a number above ``after``, oldest first."""
        ...

    def job(self, job: str) -> JobState | None:
        """One job's state, also of those that ``load`` left out."""
        ...

    def find(self, prefix: str, limit: int = 20) -> tuple[str, ...]:
        """Ids of jobs whose id or name starts with ``prefix``, newest first."""
        ...

    def add_progress(
        self, job: str, run: str, offset: int, lines: Sequence[Mapping[str, Any]]
    ) -> int:
        """Keep lines of a run's progress from ``offset`` on; returns how many are kept now.

        Idempotent: lines that are already there are skipped; a gap is not accepted.
        """
        ...

    def progress(
        self, job: str, *, after: int = 0, limit: int = 1000
    ) -> tuple[tuple[int, str, dict[str, Any]], ...]:
        """(number, run, line) of a job's runs with a number above ``after``, oldest first."""
        ...

    def progress_offsets(self, runs: Iterable[str]) -> dict[str, int]:
        """How many lines are kept, per run."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


def refuse_moved(expect: Mapping[str, int], stored: Mapping[str, int]) -> None:
    """Raises ``ConflictError`` where a stored version is not the expected one."""
    for job, version in expect.items():
        found = stored.get(job, 0)
        if found != version:
            raise ConflictError(f"job {job} is at version {found}, not {version}: it has moved")
