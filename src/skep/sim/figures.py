"""What a replay answers: figures of one run, and of several seeds and policies side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from skep.model.snapshot import Bools, Floats
from skep.sim.record import OUTCOMES, Timeline
from skep.sim.replay import Replay
from skep.sim.report import Spread

HOUR = 3600.0
TAU = 10.0
"""Seconds: the bound of the bounded slowdown, max(1, (wait + run) / max(run, tau)).

Source: Feitelson, "Metrics for parallel job scheduling and their convergence", JSSPP 2001.
"""
SIZES = (1, 8, 64, 512, 4096, 1 << 62)  # upper ends of the classes of size
# Two-sided 95 % quantiles of Student's t for 1 .. 10 degrees of freedom, then the normal's.
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


_UNKNOWN = Spread(math.nan, math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Group:
    """The jobs of one size class or queue; times in s over those that ended, nan for none."""

    name: str
    jobs: int
    wait: Spread
    slowdown: Spread
    completion: Spread
    chip_hours: float


@dataclass(frozen=True, slots=True)
class Figures:
    """One replay. Times in s. Waits to the first start; completion from submission to the end."""

    policy: str
    seed: int
    jobs: int
    succeeded: int
    failed: int
    refused: int
    unended: int
    simulated: float
    wait: Spread  # nan in these three where no job started or ended
    slowdown: Spread  # bounded, see TAU
    completion: Spread
    by_size: tuple[Group, ...]
    by_queue: tuple[Group, ...]
    utilisation: float  # chips held / chips, first submission to last end
    utilisation_arriving: float  # the same up to the last submission
    goodput: float  # chip-hours of work that counted / chip-hours held
    fragmentation: float  # part of the free chips that a job of the trace could not use
    partly_held: float  # part of the free chips in nodes that are held in part; nan: not bound
    scattered: int  # runs that no fewest nodes had room for
    longest_queue: int
    preemptions: int
    restarts: int  # starts after the first
    work_lost: float  # chip-hours done again
    fairness: float  # Jain's index over the queues of work time / completion time
    faults: dict[str, int]
    events: int
    cycles: int
    cpu: float  # s of this process

    def to_json(self) -> dict[str, Any]:
        """As plain data, equal for equal runs: without the time that it took."""
        return {name: value for name, value in asdict(self).items() if name != "cpu"}


def figures(replay: Replay, policy: str, seed: int, cpu: float) -> Figures:
    """The figures of a replay that has run; ``cpu`` is what it took."""
    trace, record, line = replay.trace, replay.record, replay.timeline
    done = ~np.isnan(record.ended)
    wait = record.started - trace.submit
    completion = record.ended - trace.submit
    slowdown = np.maximum(1.0, completion / np.maximum(trace.duration, TAU))
    held = line.held * line.seconds[:, None]
    chips = int(replay.topology.total.sum())
    useful = float((trace.duration * trace.chips)[record.outcome == 1].sum())
    arriving = line.times <= max(float(trace.submit[-1]), line.width)
    groups = _Groups(replay, wait, slowdown, completion, done)
    simulated = float(line.seconds.sum())
    return Figures(
        policy=policy,
        seed=seed,
        jobs=len(trace),
        **{name: int((record.outcome == row).sum()) for row, name in enumerate(OUTCOMES)
           if name not in ("cancelled",)},
        simulated=simulated,
        wait=_spread(wait[~np.isnan(wait)]),
        slowdown=_spread(slowdown[done]),
        completion=_spread(completion[done]),
        by_size=groups.by_size(),
        by_queue=groups.by_queue(),
        utilisation=_ratio(float(held.sum()), chips * simulated),
        utilisation_arriving=_ratio(
            float(held[arriving].sum()), chips * float(line.seconds[arriving].sum())
        ),
        goodput=_ratio(useful, float(held.sum())) if held.any() else math.nan,
        fragmentation=fragmentation(line),
        partly_held=_weighted(line.broken_up, line.seconds)
        if replay.machines.by_node
        else math.nan,
        scattered=replay.machines.scattered,
        longest_queue=line.longest,
        preemptions=int(record.preempted.sum()),
        restarts=int(np.maximum(record.attempts - 1, 0).sum()),
        work_lost=float(record.lost.sum()) / HOUR,
        fairness=groups.fairness(),
        faults=dict(record.faults),
        events=record.events.total(),
        cycles=replay.steps,
        cpu=cpu,
    )  # fmt: skip


class _Groups:
    def __init__(
        self, replay: Replay, wait: Floats, slowdown: Floats, completion: Floats, done: Bools
    ) -> None:
        self._trace = replay.trace
        self._wait, self._slowdown, self._completion = wait, slowdown, completion
        self._done = done

    def by_size(self) -> tuple[Group, ...]:
        chips, low, made = self._trace.chips, 0, []
        for high in SIZES:
            rows = (chips > low) & (chips <= high)
            if rows.any():
                made.append(self._group(_size_name(low + 1, high), rows))
            low = high
        return tuple(made)

    def by_queue(self) -> tuple[Group, ...]:
        names = self._trace.queues
        return tuple(self._group(name, self._trace.queue == row) for row, name in enumerate(names))

    def fairness(self) -> float:
        """Over the queues that had jobs; nan where no job ended."""
        served = [_served(group) for group in self.by_queue() if group.jobs]
        return jain(served) if any(served) else math.nan

    def _group(self, name: str, rows: Bools) -> Group:
        kept = rows & self._done
        if not kept.any():
            return Group(name, int(rows.sum()), _UNKNOWN, _UNKNOWN, _UNKNOWN, 0.0)
        return Group(
            name,
            int(rows.sum()),
            _spread(self._wait[kept]),
            _spread(self._slowdown[kept]),
            _spread(self._completion[kept]),
            float((self._trace.duration[kept] * self._trace.chips[kept]).sum()) / HOUR,
        )


def _served(group: Group) -> float:
    """1: its jobs never waited."""
    return 0.0 if math.isnan(group.slowdown.mean) else 1.0 / group.slowdown.mean


def _size_name(low: int, high: int) -> str:
    if low == high:
        return f"{low} chip"
    return f"{low:,}–{high:,}" if high < SIZES[-1] else f"more than {low - 1:,}"


def jain(values: Sequence[float]) -> float:
    """(Σx)² / (n Σx²): 1 where all get the same, 1/n where one gets all. 1 for no values.

    Source: Jain, Chiu, Hawe, DEC-TR-301, 1984.
    """
    squares = sum(x * x for x in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def _spread(values: Floats) -> Spread:
    if not len(values):
        return _UNKNOWN
    median, p95, p99 = (float(v) for v in np.percentile(values, (50, 95, 99)))
    return Spread(float(values.mean()), median, p95, p99, float(values.max()))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def fragmentation(line: Timeline) -> float:
    """Part of the free chip-time in which the chips were fragments (see ``skep.sim.fragments``)."""
    free, fragments = line.seconds @ line.fragmented
    return _ratio(float(fragments), float(free))


def _weighted(values: Floats, weights: Floats) -> float:
    total = float(weights.sum())
    return float(values @ weights) / total if total else math.nan


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds and half of its 95 % confidence interval (0 for one seed)."""

    mean: float
    half: float


def estimate(values: Sequence[float]) -> Estimate:
    """Student's t over independent seeds."""
    count = len(values)
    mean = math.fsum(values) / count if count else math.nan
    if count < 2 or math.isnan(mean):
        return Estimate(mean, 0.0)
    variance = math.fsum((v - mean) ** 2 for v in values) / (count - 1)
    factor = _T95[count - 2] if count - 2 < len(_T95) else 1.96
    return Estimate(mean, factor * math.sqrt(variance / count))


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of a comparison. ``better``: -1 less is better, 1 more is, 0 neither."""

    name: str
    unit: str  # s, %, x, n
    better: int
    of: Callable[[Figures], float]


METRICS: tuple[Metric, ...] = (
    Metric("mean wait", "s", -1, lambda f: f.wait.mean),
    Metric("median wait", "s", -1, lambda f: f.wait.median),
    Metric("95 % wait at most", "s", -1, lambda f: f.wait.p95),
    Metric("99 % wait at most", "s", -1, lambda f: f.wait.p99),
    Metric("mean bounded slowdown", "x", -1, lambda f: f.slowdown.mean),
    Metric("median slowdown", "x", -1, lambda f: f.slowdown.median),
    Metric("slowdown, 95th percentile", "x", -1, lambda f: f.slowdown.p95),
    Metric("slowdown, 99th percentile", "x", -1, lambda f: f.slowdown.p99),
    Metric("mean completion", "s", -1, lambda f: f.completion.mean),
    Metric("median completion", "s", -1, lambda f: f.completion.median),
    Metric("completion, 95th percentile", "s", -1, lambda f: f.completion.p95),
    Metric("completion, 99th percentile", "s", -1, lambda f: f.completion.p99),
    Metric("all done after", "s", -1, lambda f: f.simulated),
    Metric("chips in use while jobs come", "%", 1, lambda f: f.utilisation_arriving),
    Metric("chips in use over all", "%", 1, lambda f: f.utilisation),
    Metric("goodput", "%", 1, lambda f: f.goodput),
    Metric("fragmentation", "%", -1, lambda f: f.fragmentation),
    Metric("free chips in partly held nodes", "%", -1, lambda f: f.partly_held),
    Metric("fairness over queues (Jain)", "x", 1, lambda f: f.fairness),
    Metric("jobs waiting at once, most", "n", -1, lambda f: float(f.longest_queue)),
    Metric("jobs refused", "n", -1, lambda f: float(f.refused)),
    Metric("jobs failed or not ended", "n", -1, lambda f: float(f.failed + f.unended)),
    Metric("preemptions", "n", 0, lambda f: float(f.preemptions)),
    Metric("starts after the first", "n", 0, lambda f: float(f.restarts)),
    Metric("work done again, chip-hours", "n", -1, lambda f: f.work_lost),
)
