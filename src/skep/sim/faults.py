"""When what breaks: the scenario's list of faults, and those that come at random."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from skep.sim.scenario import Failures, Fault, FaultKind


@dataclass(frozen=True, slots=True)
class Break:
    """At ``at`` s after the start ``site`` breaks in the way of ``kind``, for ``lasts`` s."""

    at: float
    kind: FaultKind
    site: str
    lasts: float


def breaks(
    faults: Sequence[Fault],
    failures: Sequence[Failures],
    sites: Sequence[str],
    seed: int,
    until: float,
) -> Iterator[Break]:
    """All faults before ``until`` s, in order of time. The same seed gives the same faults."""
    streams = [_listed(faults, sites, seed)]
    for row, failure in enumerate(failures):
        streams.append(_random(failure, sites, np.random.default_rng([seed, 7, row]), until))
    return heapq.merge(*streams, key=lambda b: (b.at, b.site, b.kind))


def _listed(faults: Sequence[Fault], sites: Sequence[str], seed: int) -> Iterator[Break]:
    chance = np.random.default_rng([seed, 8])
    drawn = [sites[int(chance.integers(len(sites)))] for _ in faults]
    for fault, other in sorted(zip(faults, drawn, strict=True), key=lambda pair: pair[0].at):
        site = "" if fault.kind == "control_killed" else fault.site or other
        yield Break(fault.at, fault.kind, site, fault.lasts)


def _random(
    failure: Failures, sites: Sequence[str], chance: np.random.Generator, until: float
) -> Iterator[Break]:
    """Faults of all sites as one Poisson process; a fault at a broken site adds to it."""
    at = 0.0
    while True:
        at += float(chance.exponential(failure.every / len(sites)))
        if at >= until:
            return
        site = sites[int(chance.integers(len(sites)))]
        yield Break(at, failure.kind, site, float(chance.exponential(failure.repair)))
