"""Who asks for what and when: explicit jobs of a scenario, and generated ones."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from skep.model.job import ChipRequest, Job
from skep.sim.scenario import Arrivals, GivenJob


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job that is submitted ``at`` s after the start and works for ``duration`` s."""

    at: float
    id: str
    spec: Job
    duration: float
    user: str = ""
    exit_code: int = 0


def workload(
    given: tuple[GivenJob, ...], generated: tuple[Arrivals, ...], seed: int, until: float
) -> Iterator[Arrival]:
    """All arrivals before ``until`` s, in order of time. The same seed gives the same jobs."""
    streams = [_given(given), *(_stream(a, row, seed, until) for row, a in enumerate(generated))]
    return heapq.merge(*streams, key=lambda arrival: (arrival.at, arrival.id))


def _given(jobs: tuple[GivenJob, ...]) -> Iterator[Arrival]:
    for row, job in sorted(enumerate(jobs), key=lambda item: item[1].at):
        name = f"{job.job.name}-{row:04d}"
        yield Arrival(job.at, name, job.job, job.duration, job.user, job.exit_code)


def _stream(arrivals: Arrivals, row: int, seed: int, until: float) -> Iterator[Arrival]:
    """A Poisson process; sizes and durations are drawn for each job."""
    chance = np.random.default_rng([seed, row])
    sizes = tuple(arrivals.chips)
    weights = np.array([arrivals.chips[size] for size in sizes], dtype=np.float64)
    weights /= weights.sum()
    end = min(until, arrivals.until if arrivals.until is not None else until)
    at, number = arrivals.since, 0
    while True:
        at += float(chance.exponential(3600.0 / arrivals.per_hour))
        if at >= end:
            return
        chips = sizes[int(chance.choice(len(sizes), p=weights))]
        yield Arrival(
            at,
            f"{arrivals.name}-{number:06d}",
            _spec(arrivals, chips),
            _duration(arrivals, chance),
            arrivals.user,
        )
        number += 1


def _spec(arrivals: Arrivals, chips: int) -> Job:
    requests = tuple(ChipRequest(kind=kind, count=chips) for kind in arrivals.kinds or (None,))
    return arrivals.job.model_copy(update={"name": arrivals.name, "chips": requests})


def _duration(arrivals: Arrivals, chance: np.random.Generator) -> float:
    spread = arrivals.duration
    drawn = spread.median * float(chance.lognormal(0.0, spread.sigma))
    return min(max(drawn, spread.least), spread.most)
