"""Fitting the constants to measured runs: damped Gauss-Newton with shrinkage, plain numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from skep.planner.chip import ChipFacts
from skep.planner.constants import (
    CONSTANTS,
    FRAMEWORKS,
    LEVELS,
    PIECES,
    UNFUSED,
    Kernel,
    Key,
    addresses,
    attention_of,
    kept_of,
    keys,
    prior_of,
)
from skep.planner.machine import Machine
from skep.planner.packing import Batch, Case, Values, pack, times

NOISE = 0.06  # relative error at which a run begins to count less (soft absolute loss)
NUDGE = 1e-4
LOW = ("fp8", "mxfp8", "nvfp4")


@dataclass(frozen=True, slots=True)
class Measured:
    """One measured run: what ran, under which stack, how products alone behave, s of a step."""

    case: Case
    stack: str
    kernel: Kernel
    step: float
    source: str = ""


class Problem:
    """Measured runs as arrays, and the derivatives of their predicted times."""

    def __init__(self, runs: Sequence[Measured]) -> None:
        self.runs = tuple(runs)
        self.batches = pack([run.case for run in runs])
        self.keys = keys({r.stack for r in runs}, {r.case.chip.kind for r in runs})
        self.place = {key: index for index, key in enumerate(self.keys)}
        self.steps = np.array([run.step for run in runs])
        self._columns = [self._columns_of(batch) for batch in self.batches]
        self._priors = [
            [np.array([prior_of(c, self.runs[of].stack) for of in batch.of]) for c in CONSTANTS]
            for batch in self.batches
        ]
        self._fixed = [_fixed(batch, self.runs) for batch in self.batches]
        self.sigmas = np.array([_sigma(key) for key in self.keys])
        self.last = len(self.keys)  # a column that is always 0, for keys that are not fitted

    def _columns_of(self, batch: Batch) -> list[NDArray[np.int64]]:
        """Per constant: the four columns of every line."""
        empty = len(self.keys)
        out = []
        for constant in CONSTANTS:
            lines = [
                [
                    self.place.get(key, empty)
                    for key in addresses(
                        constant.field, self.runs[of].stack, self.runs[of].case.chip.kind
                    )
                ]
                for of in batch.of
            ]
            out.append(np.array(lines))
        return out

    def scaled(self, theta: Values) -> list[list[Values]]:
        """Per batch and constant: its value of every line, in its own scale."""
        full = np.append(theta, 0.0)
        return [
            [first + full[where].sum(axis=1) for first, where in zip(priors, columns, strict=True)]
            for priors, columns in zip(self._priors, self._columns, strict=True)
        ]

    def predict(self, theta: Values) -> Values:
        """s of a step of every run."""
        return self._times(self.scaled(theta))

    def _times(self, scaled: Sequence[Sequence[Values]]) -> Values:
        machines = [
            _machine(fixed, values) for fixed, values in zip(self._fixed, scaled, strict=True)
        ]
        return times(self.batches, machines, len(self.runs))

    def jacobian(self, theta: Values) -> tuple[Values, NDArray[np.float64]]:
        """Logarithms of the times, and their derivatives by every key.

        A constant is nudged for all lines at once; the chain to the keys is a sum of its levels.
        """
        scaled = self.scaled(theta)
        base = np.log(self._times(scaled))
        rows = np.zeros((len(self.runs), len(self.keys) + 1))
        columns = self._run_columns()
        for index in range(len(CONSTANTS)):
            nudged = [
                [v + NUDGE if at == index else v for at, v in enumerate(values)]
                for values in scaled
            ]
            slope = (np.log(self._times(nudged)) - base) / NUDGE
            for level in range(len(LEVELS)):
                np.add.at(rows, (np.arange(len(slope)), columns[index][:, level]), slope)
        return base, rows[:, :-1]

    def _run_columns(self) -> list[NDArray[np.int64]]:
        """The columns by run instead of by line (all lines of a run share them)."""
        out = []
        for index in range(len(CONSTANTS)):
            table = np.zeros((len(self.runs), len(LEVELS)), dtype=np.int64)
            for batch, columns in zip(self.batches, self._columns, strict=True):
                table[batch.of] = columns[index]
            out.append(table)
        return out


def fit(runs: Sequence[Measured], steps: int = 30) -> dict[Key, float]:
    """What every level adds to every constant, so that the runs are met best.

    Minimises the sum over runs of a soft absolute log error, each weighted by its source's number
    of runs to the power -1/2 (large tables count more, but not in proportion), plus the squares of
    what levels add over their sigmas.
    """
    problem = Problem(runs)
    theta = np.zeros(len(problem.keys))
    weights = _weights(problem.runs)
    target = np.log(problem.steps)
    damping, best, found = 1e-3, _loss(problem, theta, weights, target), theta
    for _ in range(steps):
        base, slopes = problem.jacobian(found)
        error = base - target
        soft = weights / np.sqrt(1.0 + (error / NOISE) ** 2) / NOISE**2
        normal = (slopes * soft[:, None]).T @ slopes + np.diag(problem.sigmas**-2.0)
        gradient = slopes.T @ (soft * error) + found * problem.sigmas**-2.0
        improved = False
        for _ in range(6):
            damped = normal + damping * np.diag(np.diag(normal))
            tried = found - np.linalg.solve(damped, gradient)
            loss = _loss(problem, tried, weights, target)
            if loss < best:
                improved = best - loss > 1e-4 * best
                found, best, damping = tried, loss, damping / 4.0
                break
            damping *= 4.0
        if not improved:
            break
    return dict(zip(problem.keys, found.tolist(), strict=True))


def predict(table: Mapping[Key, float], runs: Sequence[Measured]) -> Values:
    """s of a step of ``runs`` by a fitted table; levels that it lacks add nothing."""
    problem = Problem(runs)
    return problem.predict(np.array([table.get(key, 0.0) for key in problem.keys]))


def _loss(problem: Problem, theta: Values, weights: Values, target: Values) -> float:
    error = (np.log(problem.predict(theta)) - target) / NOISE
    data = weights * (np.sqrt(1.0 + error**2) - 1.0)
    return float(data.sum() + 0.5 * np.sum((theta / problem.sigmas) ** 2))


def _weights(runs: Sequence[Measured]) -> Values:
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.source] = counts.get(run.source, 0) + 1
    weights = np.array([counts[run.source] ** -0.5 for run in runs])
    return np.asarray(weights / weights.mean())


def _sigma(key: Key) -> float:
    field, level, _ = key
    constant = next(one for one in CONSTANTS if one.field == field)
    return constant.sigmas[LEVELS.index(level)]


def _fixed(batch: Batch, runs: Sequence[Measured]) -> dict[str, Values]:
    """Of every line: what the catalogue and the kernel fits say, and which peak counts."""
    chips: list[ChipFacts] = list(batch.chips)
    low = np.array(
        [d in LOW and c.peak(d) > c.peak("bf16") for c, d in zip(chips, batch.dtypes, strict=True)]
    )
    mine = [runs[of] for of in batch.of]
    unfused = np.array([FRAMEWORKS.get(run.stack, "") in UNFUSED for run in mine])
    return {
        "peak": np.array([c.peak(d) for c, d in zip(chips, batch.dtypes, strict=True)]),
        "peak16": np.array([c.peak("bf16") for c in chips]),
        "low": low,
        "bandwidth": np.array([c.memory_bandwidth * c.efficiency.memory for c in chips]),
        "up": np.array([c.scale_up for c in chips]),
        "out": np.array([c.scale_out for c in chips]),
        "memory": np.array([c.memory for c in chips]),
        "domain": np.array([float(c.domain) for c in chips]),
        "latency_up": np.array([c.efficiency.latency_up for c in chips]),
        "latency_out": np.array([c.efficiency.latency_out for c in chips]),
        "share": np.array([run.kernel.share for run in mine]),
        "m": np.array([run.kernel.half_m for run in mine]),
        "n": np.array([run.kernel.half_n for run in mine]),
        "k": np.array([run.kernel.half_k for run in mine]),
        "attention": np.array([attention_of(run.kernel, run.stack) for run in mine]),
        "unfused": unfused,
        "logits": np.array([kept_of(run.stack).logits for run in mine]),
        "pieces": np.array([PIECES.get(run.stack, 1.0) for run in mine]),
    }


def _machine(fixed: Mapping[str, Values], scaled: Sequence[Values]) -> Machine:
    c = {
        constant.field: 1.0 / (1.0 + np.exp(-value)) if constant.share else np.exp(value)
        for constant, value in zip(CONSTANTS, scaled, strict=True)
    }
    half = c["half"] * np.where(fixed["low"], 2.0, 1.0)
    reached = np.where(fixed["low"], c["gemm_low"], c["gemm"])
    given = {f.name for f in fields(Machine)} & set(c)
    rest = {name: c[name] for name in given} | {
        "attention": fixed["peak16"] * fixed["attention"] * c["attention"],
        "score_passes": np.where(fixed["unfused"], c["score_passes"], 0.0),
        "logit_bytes": fixed["logits"] * c["logit_passes"],
        "pieces": fixed["pieces"],
        "cast": np.where(fixed["low"], c["cast"], 0.0),
        "scale_up": fixed["up"] * c["scale_up"],
        "scale_out": fixed["out"] * c["scale_out"],
        "exchange": fixed["out"] * c["exchange"],
    }
    return Machine(
        products=fixed["peak"] * fixed["share"] * reached,
        half_m=fixed["m"] * half,
        half_n=fixed["n"] * half,
        half_k=fixed["k"] * half,
        memory_bandwidth=fixed["bandwidth"],
        domain=fixed["domain"],
        memory=fixed["memory"],
        latency_up=fixed["latency_up"],
        latency_out=fixed["latency_out"],
        **rest,
    )
