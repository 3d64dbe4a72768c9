"""The fold of a job's events: what is known of the job and its runs now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from skep.model.evolve import quick
from skep.model.job import Job
from skep.model.placement import Claim, Share

JobPhase = Literal["waiting", "starting", "running", "succeeded", "failed", "cancelled"]
RunPhase = Literal[
    "assigned", "ready", "running", "stopping", "succeeded", "failed", "stopped", "lost"
]
ENDED_JOB = frozenset({"succeeded", "failed", "cancelled"})
ENDED_RUN = frozenset({"succeeded", "failed", "stopped", "lost"})


@quick
@dataclass(frozen=True, slots=True)
class RunState:
    """One attempt at one site's share. ``go``: its processes may start."""

    run: str
    attempt: int
    share: Share
    phase: RunPhase = "assigned"
    go: bool = False
    address: str = ""
    placed_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    reason: str = ""
    grace: float | None = None  # s from the notice to the kill; None: the usual
    stopping_at: float | None = None
    nodes: tuple[str, ...] = ()  # of its site, on which it failed

    @property
    def ended(self) -> bool:
        return self.phase in ENDED_RUN


@quick
@dataclass(frozen=True, slots=True)
class JobState:
    """A job now. ``version`` counts its events: the token for commits.

    ``runs`` holds all runs ever placed, by id, in order. ``decision`` is the last reason given
    for placing or not placing; ``refusals`` counts sites per reason of the last refusal.
    ``gang`` is the attempt of the last whole placement: later attempts repaired shares of it.
    ``ending`` is set once it is decided how the job ends; it ends when its runs have stopped.

    ``expected`` is how long it was expected to work when it was placed, ``done`` the work (s) that
    its checkpoints keep. ``evicted``: what it held last was taken from it (or left, to migrate) and
    it has not been placed since; ``paused`` is how long that lasted in all (s), ``paused_at`` since
    when it does now. ``claim``: chips kept for it. ``dropped``: ranks given back by shrinking.
    """

    id: str
    spec: Job
    user: str
    submitted_at: float
    version: int = 1
    phase: JobPhase = "waiting"
    attempt: int = 0
    gang: int = 0
    failures: int = 0
    not_before: float = 0.0
    runs: dict[str, RunState] = field(default_factory=dict)
    decision: str = ""
    refusals: dict[str, int] = field(default_factory=dict)
    started_at: float | None = None
    ended_at: float | None = None
    ending: JobPhase | None = None
    reason: str = ""
    expected: float | None = None
    done: float = 0.0
    claim: Claim | None = None
    evicted: bool = False
    preemptions: int = 0
    migrations: int = 0
    moved_at: float | None = None
    resized_at: float | None = None
    dropped: tuple[int, ...] = ()
    paused: float = 0.0
    paused_at: float | None = None

    @property
    def ended(self) -> bool:
        return self.phase in ENDED_JOB

    def live(self) -> tuple[RunState, ...]:
        """Runs that hold chips: all that have not ended."""
        runs = self.runs
        if len(runs) == 1:  # as of most jobs
            (run,) = runs.values()
            return () if run.phase in ENDED_RUN else (run,)
        return tuple([r for r in runs.values() if r.phase not in ENDED_RUN])

    def shares(self) -> dict[int, RunState]:
        """The latest run of each share of the present gang, by rank; empty before placement."""
        gang, gone = self.gang, self.dropped
        if not gang:
            return {}
        return {
            r.share.rank: r
            for r in self.runs.values()
            if r.attempt >= gang and r.share.rank not in gone
        }

    def begun_at(self) -> float | None:
        """When the first run of the present gang started; None before."""
        starts = [
            r.started_at
            for r in self.runs.values()
            if r.attempt >= self.gang and r.started_at is not None
        ]
        return min(starts) if self.gang and starts else None


@dataclass(frozen=True, slots=True)
class SiteState:
    """A site now: whether its agent answers."""

    name: str
    phase: Literal["unknown", "up", "lost"] = "unknown"
    agent: str = ""
    since: float = 0.0
    reason: str = ""
