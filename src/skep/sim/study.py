"""A study: one trace on one pool under some policies, once for each seed."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skep.control.topology import Topology, topology
from skep.files.pool import resolve_chips
from skep.model.policy import Policy
from skep.model.site import Pool
from skep.model.snapshot import Floats
from skep.sim.conditions import Conditions
from skep.sim.figures import METRICS, Estimate, Figures, estimate, figures
from skep.sim.record import OUTCOMES, Record, Timeline
from skep.sim.replay import Replay
from skep.sim.trace import Trace
from skep.sim.wear import breakages

Told = Callable[[str, int, int, float], None]
"""Hears (policy, seed, jobs that ended, simulated s)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One policy. ``runs``: a line for each seed; the rest is of the first seed."""

    policy: str
    runs: tuple[Figures, ...]
    record: Record
    timeline: Timeline

    def estimate(self, of: Callable[[Figures], float]) -> Estimate:
        """Mean and confidence over the seeds."""
        return estimate([of(run) for run in self.runs])


@dataclass(frozen=True, slots=True)
class Study:
    """What was asked and what came of it; the first policy is what others are held against."""

    trace: Trace
    topology: Topology
    conditions: Conditions
    period: float
    outcomes: tuple[Outcome, ...]

    @property
    def chips(self) -> int:
        """Of the whole pool."""
        return int(self.topology.total.sum())

    def difference(self, outcome: Outcome, of: Callable[[Figures], float]) -> Estimate:
        """How much more than the first policy, seed by seed: what both met alike cancels."""
        first = self.outcomes[0]
        pairs = zip(outcome.runs, first.runs, strict=True)
        return estimate([of(ours) - of(theirs) for ours, theirs in pairs])


def study(
    pool: Pool,
    trace: Trace,
    policies: Sequence[tuple[str, Policy]],
    conditions: Conditions,
    *,
    seeds: Sequence[int] = (0,),
    traces: Callable[[int], Trace] | None = None,
    period: float = 0.0,
    by_node: bool = True,
    told: Told = lambda _policy, _seed, _done, _now: None,
) -> Study:
    """Replay the trace under each policy with each seed. Raises ``InputError``.

    ``traces`` makes the trace of a seed where scaling draws; all policies meet the same one.
    """
    columns = topology(pool, resolve_chips(pool))
    found = []
    for name, policy in policies:
        runs: list[Figures] = []
        kept: tuple[Record, Timeline] | None = None
        for seed in seeds:
            jobs = traces(seed) if traces is not None else trace
            replay, figured = _replayed(
                columns, name, policy, jobs, conditions, seed, period, by_node, told
            )
            runs.append(figured)
            kept = kept or (replay.record, replay.timeline)
        assert kept is not None  # there is a seed
        found.append(Outcome(name, tuple(runs), *kept))
    return Study(trace, columns, conditions, period, tuple(found))


def _replayed(
    columns: Topology,
    name: str,
    policy: Policy,
    trace: Trace,
    conditions: Conditions,
    seed: int,
    period: float,
    by_node: bool,
    told: Told,
) -> tuple[Replay, Figures]:
    broken = breakages(conditions, columns, seed, _horizon(trace, columns))
    replay = Replay(
        columns, policy, trace, conditions, broken, seed=seed, period=period, by_node=by_node
    )
    began = time.process_time()
    replay.run(lambda done, now: told(name, seed, done, now))
    return replay, figures(replay, name, seed, time.process_time() - began)


def _horizon(trace: Trace, columns: Topology) -> float:
    """Longer than a replay should take: failures are drawn so far ahead."""
    chips = max(1, int(columns.total.sum()))
    return float(trace.submit[-1] + 2.0 * trace.duration.max() + 2.0 * trace.work / chips)


def to_json(found: Study) -> dict[str, Any]:
    """All figures as plain data, with the timelines of the first seed."""
    return {
        "trace": found.trace.name,
        "jobs": len(found.trace),
        "left_out": found.trace.left_out,
        "sites": len(found.topology.names),
        "chips": found.chips,
        "period_s": found.period,
        "conditions": found.conditions.model_dump(mode="json", by_alias=True),
        "policies": [_policy_json(found, outcome) for outcome in found.outcomes],
    }


def _policy_json(found: Study, outcome: Outcome) -> dict[str, Any]:
    line = outcome.timeline
    return {
        "policy": outcome.policy,
        "summary": {
            metric.name: {
                "mean": estimated.mean,
                "confidence_95": estimated.half,
                "unit": metric.unit,
            }
            for metric in METRICS
            for estimated in [outcome.estimate(metric.of)]
        },
        "runs": [run.to_json() for run in outcome.runs],
        "timeline": {
            "at_s": line.times.tolist(),
            "chips_held": {
                name: line.held[:, row].round(3).tolist()
                for row, name in enumerate(found.topology.names)
            },
            "jobs_waiting": line.waiting[:, 0].round(3).tolist(),
            "fragmentation": part_in_fragments(line).round(4).tolist(),
        },
        "refused": _refused(outcome.record),
    }


def part_in_fragments(line: Timeline) -> Floats:
    """Per span, the part of the free chips that are fragments; 0 where none is free."""
    free, fragments = line.fragmented.T
    part: Floats = fragments / np.maximum(free, 1e-9)
    return part


def _refused(record: Record) -> dict[str, int]:
    """Why jobs were refused, and how many for that."""
    counts: dict[str, int] = {}
    for why in record.refused.values():
        counts[why] = counts.get(why, 0) + 1
    return counts


HEADER = (
    "policy", "seed", "job", "queue", "user", "chips", "submit_s", "start_s", "end_s", "wait_s",
    "completion_s", "outcome", "attempts", "preemptions", "lost_chip_s", "site",
)  # fmt: skip


def write_csv(found: Study, path: Path) -> None:
    """One line for each job and policy, of the first seed. Raises ``OSError``."""
    _write(path, HEADER, (line for outcome in found.outcomes for line in _lines(found, outcome)))


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as text:
        out = csv.writer(text)
        out.writerow(header)
        out.writerows(rows)


def _lines(found: Study, outcome: Outcome) -> Iterator[tuple[object, ...]]:
    record, names = outcome.record, found.topology.names
    trace = record.trace
    for row in range(len(trace)):
        start, end, submit = record.started[row], record.ended[row], trace.submit[row]
        site = int(record.site[row])
        yield (
            outcome.policy,
            outcome.runs[0].seed,
            trace.ids[row],
            trace.queues[trace.queue[row]],
            trace.users[trace.user[row]],
            int(trace.chips[row]),
            _shown(submit),
            _shown(start),
            _shown(end),
            _shown(start - submit),
            _shown(end - submit),
            OUTCOMES[record.outcome[row]],
            int(record.attempts[row]),
            int(record.preempted[row]),
            _shown(record.lost[row]),
            names[site] if site >= 0 else "",
        )


TIMES = (
    "policy", "seed", "at_s", "chips_held", "chips_free", "chips_in_fragments", "jobs_waiting",
    "chips_waiting",
)  # fmt: skip


def write_timeline(found: Study, path: Path) -> None:
    """One line for each span of time and policy, of the first seed. Raises ``OSError``."""
    _write(path, TIMES, (span for outcome in found.outcomes for span in _spans(outcome)))


def _spans(outcome: Outcome) -> Iterator[tuple[object, ...]]:
    line, first = outcome.timeline, outcome.runs[0]
    table = np.column_stack((line.times, line.held.sum(axis=1), line.fragmented, line.waiting))
    for row in table.tolist():
        yield first.policy, first.seed, *map(_shown, row)


def _shown(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}".rstrip("0").rstrip(".")


def waits(outcome: Outcome) -> Floats:
    """Waits of the jobs that started, in order, s."""
    found = outcome.record.started - outcome.record.trace.submit
    kept: Floats = np.sort(found[~np.isnan(found)])
    return kept
