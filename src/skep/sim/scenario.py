"""The scenario file: what a simulation is made of. ``docs/guides/simulate.md`` explains it."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import Field, model_validator

from skep.model.base import Name, Seconds, Spec
from skep.model.job import Job
from skep.model.policy import Policy
from skep.model.site import Lease

FaultKind = Literal["site_lost", "site_cut", "agent_killed", "run_killed", "control_killed"]


class Chips(Spec):
    """Chips of one kind, spread over so many sites of a generated pool."""

    kind: Name
    chips: int = Field(ge=1, le=100_000_000)
    sites: int | None = Field(default=None, ge=1, description="default: all sites")
    chips_per_node: int = Field(default=8, ge=1)
    nodes_per_block: int | None = Field(default=32, ge=1)
    powered: float = Field(
        default=1.0, gt=0, le=1, description="part of them that the caps can feed at once"
    )


class Generated(Spec):
    """A pool made up for the scenario, its sites at real places of ``places.csv``."""

    sites: int = Field(ge=1, le=10_000)
    chips: tuple[Chips, ...] = Field(min_length=1)
    seed: int = Field(default=0, ge=0)
    pue: float = Field(default=1.2, ge=1)
    supply: bool = Field(default=True, description="describe wind and sun at the sites")
    lease: Lease = Lease(duration=600.0, grace=60.0, heartbeat=200.0)


class GivenJob(Spec):
    """One job, submitted ``at`` after the start, that works for ``duration`` once it runs."""

    at: Seconds = 0.0
    duration: Seconds
    exit_code: int = Field(default=0, ge=0, le=255, description="with which its work ends")
    user: str = ""
    job: Job


class Lognormal(Spec):
    """Durations: ``median`` times exp of a normal of ``sigma``, held between two bounds."""

    median: Seconds
    sigma: float = Field(default=1.0, ge=0)
    least: Seconds = 1.0
    most: Seconds = 7 * 86400.0


class Arrivals(Spec):
    """Jobs that arrive at random (a Poisson process)."""

    name: Name
    per_hour: float = Field(gt=0, le=1e7)
    since: Seconds = 0.0
    until: Seconds | None = Field(default=None, description="default: to the end")
    chips: dict[int, float] = Field(
        min_length=1, description="size of a job in chips -> its weight"
    )
    kinds: tuple[Name, ...] = Field(default=(), description="alternatives; empty: any kind")
    duration: Lognormal
    user: str = ""
    job: Job = Field(
        default=Job(name="generated", run="work"), description="all other fields of the jobs"
    )

    @model_validator(mode="after")
    def _sizes(self) -> Arrivals:
        for size, weight in self.chips.items():
            if size < 1 or weight < 0:
                raise ValueError("allowed: sizes of 1 or more, weights of 0 or more")
        if not sum(self.chips.values()):
            raise ValueError("allowed: at least one size with a weight above 0")
        return self


class Fault(Spec):
    """One fault. ``site_lost``: all that lives there dies; ``site_cut``: it cannot be reached;
    ``agent_killed``, ``run_killed`` (the newest run there), ``control_killed``."""

    at: Seconds
    kind: FaultKind
    site: str = Field(default="", description="empty: a site drawn at random")
    lasts: Seconds = Field(default=600.0, alias="for")


class Failures(Spec):
    """Faults that come at random: exponential times between, exponential times of repair."""

    kind: FaultKind = "site_lost"
    every: Seconds = Field(gt=0, description="mean time between failures of one site")
    repair: Seconds = Field(default=3600.0, gt=0, description="mean time until it is back")


class EngineTimes(Spec):
    """What the simulated engine takes for what a real one does."""

    setup: Seconds = Field(default=30.0, description="from the order until a run is ready")
    stop: Seconds = Field(default=2.0, description="from a stop until the run has ended")
    checkpoint: Seconds | None = Field(
        default=600.0, description="an interrupted share keeps its work up to the last one"
    )


class Scenario(Spec):
    """The scenario file."""

    name: Name
    seed: int = Field(default=0, ge=0)
    start: datetime.date = Field(default=datetime.date(2026, 1, 1), description="midnight UTC")
    duration: Seconds = Field(gt=0, description="simulated at most so long")
    pool: str | Generated = Field(description="path of a pool file, or a pool to make up")
    policy: str | Policy = Field(default=Policy(), description="path of a policy file, or inline")
    supply: bool = Field(default=False, description="compute wind and sun hour by hour")
    engine: EngineTimes = EngineTimes()
    jobs: tuple[GivenJob, ...] = ()
    arrivals: tuple[Arrivals, ...] = ()
    faults: tuple[Fault, ...] = ()
    failures: tuple[Failures, ...] = ()

    @model_validator(mode="after")
    def _something_to_do(self) -> Scenario:
        if not (self.jobs or self.arrivals):
            raise ValueError("allowed: a scenario with jobs or arrivals")
        return self

    @property
    def starts_at(self) -> float:
        """Seconds since the Unix epoch."""
        midnight = datetime.time(tzinfo=datetime.UTC)
        return datetime.datetime.combine(self.start, midnight).timestamp()
