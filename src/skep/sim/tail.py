"""A store that keeps no past: events pass through it to whoever measures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from skep.model.event import Event, Logged
from skep.model.state import JobState, SiteState
from skep.store.base import Loaded


class Tail:
    """A ``Store`` for one writer that never restarts: it holds what was not drained yet.

    A million replayed jobs leave some seven million events; a log of them would be all that the
    memory holds. ``watch`` sees each batch before it is forgotten.
    """

    def __init__(self) -> None:
        self.seq = 0
        self._fresh: list[Event] = []

    def drain(self) -> list[Event]:
        """Events since the last call, oldest first."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def load(self) -> Loaded:
        return Loaded((), (), 0)

    def append(
        self,
        events: Sequence[Event],
        *,
        jobs: Iterable[JobState] = (),
        sites: Iterable[SiteState] = (),
        expect: Mapping[str, int] | None = None,
    ) -> tuple[Logged, ...]:
        """Only the last event is answered: with its number, which is all that is asked for."""
        del jobs, sites, expect
        self.seq += len(events)
        self._fresh += events
        return (Logged(seq=self.seq, event=events[-1]),)

    def events(
        self, *, job: str | None = None, after: int = 0, limit: int = 1000
    ) -> tuple[Logged, ...]:
        del job, after, limit
        return ()

    def job(self, job: str) -> JobState | None:
        del job
        return None

    def find(self, prefix: str, limit: int = 20) -> tuple[str, ...]:
        del prefix, limit
        return ()

    def add_progress(
        self, job: str, run: str, offset: int, lines: Sequence[Mapping[str, Any]]
    ) -> int:
        del job, run
        return offset + len(lines)

    def progress(
        self, job: str, *, after: int = 0, limit: int = 1000
    ) -> tuple[tuple[int, str, dict[str, Any]], ...]:
        del job, after, limit
        return ()

    def progress_offsets(self, runs: Iterable[str]) -> dict[str, int]:
        del runs
        return {}

    def close(self) -> None:
        """Nothing is held."""
