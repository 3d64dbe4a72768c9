"""What a simulation answers: figures that mean the same in every scenario."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from skep.sim.meter import HOUR
from skep.sim.twin import Twin


@dataclass(frozen=True, slots=True)
class Spread:
    """Of some values in seconds; all 0 where there are none."""

    mean: float
    median: float
    p95: float
    p99: float
    most: float


@dataclass(frozen=True, slots=True)
class SitePower:
    """The most that a site drew at the meter, against its cap (None: it has none), in W."""

    site: str
    peak: float
    cap: float | None


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """One simulation. Waits run from submission to the first process; wall times are noise."""

    scenario: str
    seed: int
    sites: int
    chips: int
    simulated: float  # s
    submitted: int
    refused: int  # what this pool could never run
    succeeded: int
    failed: int
    cancelled: int
    unended: int  # waiting or at work when the time was over
    never_started: int
    wait: Spread
    utilisation: float  # chips held / chips, over the simulated time
    chips_held: tuple[float, ...]  # mean of each hour
    placements: int
    runs: dict[str, int]  # outcome -> runs
    runs_lost: int  # attempts that a fault ended: failed, lost
    work_lost: float  # chip-hours done and done again
    faults: dict[str, int]
    power: tuple[SitePower, ...]  # the sites nearest to their caps first
    power_violations: int
    violations: tuple[str, ...]  # of what must always hold; empty in a right product
    events: int
    actions: int
    cycles: int
    cycle_wall: Spread
    wall: float  # s

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def summarize(twin: Twin, scenario: str, seed: int, wall: float) -> SimulationReport:
    """The report of a twin that has run; ``wall`` is how long that took in seconds."""
    meter, topology = twin.meter, twin.topology
    simulated = twin.agenda.now - twin.start
    chips = int(topology.total.sum())
    waits = [meter.started[job] - at for job, at in meter.submitted.items() if job in meter.started]
    ended = meter.outcomes.total()
    return SimulationReport(
        scenario=scenario,
        seed=seed,
        sites=len(topology.names),
        chips=chips,
        simulated=simulated,
        submitted=len(meter.submitted),
        refused=len(twin.refused),
        succeeded=meter.outcomes["succeeded"],
        failed=meter.outcomes["failed"],
        cancelled=meter.outcomes["cancelled"],
        unended=len(meter.submitted) - ended,
        never_started=len(meter.submitted) - len(waits),
        wait=spread(waits),
        utilisation=sum(meter.chip_hours) * HOUR / (chips * simulated) if simulated else 0.0,
        chips_held=tuple(meter.chip_hours),
        placements=meter.placements,
        runs=dict(meter.runs),
        runs_lost=meter.runs["failed"] + meter.runs["lost"],
        work_lost=twin.effort.lost_chip_seconds / HOUR,
        faults=dict(meter.faults),
        power=_power(twin),
        power_violations=sum(" draws " in text for text in twin.watch.violations),
        violations=tuple(twin.watch.violations),
        events=meter.events,
        actions=twin.agenda.done,
        cycles=len(meter.cycles),
        cycle_wall=spread(meter.cycles),
        wall=wall,
    )


def spread(values: list[float]) -> Spread:
    """Mean, median, 95th and 99th percentile and maximum."""
    if not values:
        return Spread(0.0, 0.0, 0.0, 0.0, 0.0)
    median, p95, p99 = (float(v) for v in np.percentile(values, (50, 95, 99)))
    return Spread(float(np.mean(values)), median, p95, p99, max(values))


def _power(twin: Twin) -> tuple[SitePower, ...]:
    topology = twin.topology
    share = np.divide(twin.meter.peak, topology.cap)
    order = np.argsort(-share, kind="stable")
    return tuple(
        SitePower(
            site=topology.names[row],
            peak=float(twin.meter.peak[row]),
            cap=float(topology.cap[row]) if np.isfinite(topology.cap[row]) else None,
        )
        for row in order
    )
