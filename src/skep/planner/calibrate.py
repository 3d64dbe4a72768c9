"""Calibration: a chip's constants from a few measured runs of one's own, by least squares.

Four constants are moved, each by a factor: what products and attention reach of the peak, what
links reach of their bandwidth, and the time of a step that nothing explains. Minimised are the
squares of the runs' log errors over 5 %, and of the logarithms of the factors over how far they
may stray: three runs move little, ten runs what they must.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from skep.model.workload import Workload
from skep.planner.answer import Estimate
from skep.planner.chip import ChipFacts
from skep.planner.layout import Layout

NOISE = 0.05
STRAY = {"products": 0.25, "attention": 0.25, "links": 0.4, "overhead": 0.7}
FIELDS = {
    "products": ("gemm", "gemm_low"),
    "attention": ("attention",),
    "links": ("scale_up", "scale_out"),
    "overhead": ("step", "launch"),
}
SHARES = frozenset(("gemm", "gemm_low", "attention", "scale_up", "scale_out"))
ROUNDS, NUDGE = 12, 1e-3


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run: ``step`` in s."""

    work: Workload
    layout: Layout
    step: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Factors on the constants; per run predicted over measured before, after, and left out.

    ``left_out``: each run predicted with factors fitted to the others.
    """

    kind: str
    factors: dict[str, float]
    before: tuple[float, ...]
    after: tuple[float, ...]
    left_out: tuple[float, ...]


Predict = Callable[[Workload, ChipFacts, Layout], Estimate]


def calibrate(runs: Sequence[Run], facts: ChipFacts, predict: Predict) -> Calibrated:
    """The factors that fit ``runs`` best, and how well they do."""
    found = _fit(runs, facts, predict)
    others = [_fit([*runs[:n], *runs[n + 1 :]], facts, predict) for n in range(len(runs))]
    return Calibrated(
        kind=facts.kind,
        factors=dict(zip(STRAY, (exp(v) for v in found), strict=True)),
        before=_ratios(runs, facts, predict),
        after=_ratios(runs, apply(facts, _named(found)), predict),
        left_out=tuple(
            _ratios([run], apply(facts, _named(without)), predict)[0]
            for run, without in zip(runs, others, strict=True)
        ),
    )


def apply(facts: ChipFacts, factors: dict[str, float]) -> ChipFacts:
    """``facts`` with its constants times their factors; shares stay at or below 1."""
    old = facts.efficiency
    changed = {}
    for name, factor in factors.items():
        for field in FIELDS[name]:
            value = getattr(old, field) * factor
            changed[field] = min(value, 1.0) if field in SHARES else value
    return replace(facts, efficiency=replace(old, **changed))


def _named(values: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(STRAY, (exp(v) for v in values), strict=True))


def _ratios(runs: Sequence[Run], facts: ChipFacts, predict: Predict) -> tuple[float, ...]:
    return tuple(predict(run.work, facts, run.layout).step / run.step for run in runs)


def _errors(
    runs: Sequence[Run], facts: ChipFacts, predict: Predict, at: NDArray[np.float64]
) -> NDArray[np.float64]:
    ratios = _ratios(runs, apply(facts, _named(at)), predict)
    return np.array([log(ratio) for ratio in ratios])


def _fit(runs: Sequence[Run], facts: ChipFacts, predict: Predict) -> NDArray[np.float64]:
    """Gauss-Newton with half steps; derivatives by differences."""
    stray = np.array(list(STRAY.values()))
    at = np.zeros(len(stray))
    errors = _errors(runs, facts, predict, at)
    best = _loss(errors, at, stray)
    for _ in range(ROUNDS):
        slopes = np.stack(
            [
                (_errors(runs, facts, predict, at + NUDGE * unit) - errors) / NUDGE
                for unit in np.eye(len(stray))
            ],
            axis=1,
        )
        normal = slopes.T @ slopes / NOISE**2 + np.diag(stray**-2.0)
        move = np.linalg.solve(normal, slopes.T @ errors / NOISE**2 + at / stray**2)
        for scale in (1.0, 0.5, 0.25, 0.1):
            tried = at - scale * move
            now = _errors(runs, facts, predict, tried)
            if (loss := _loss(now, tried, stray)) < best:
                break
        else:
            return at
        gained = best - loss
        at, errors, best = tried, now, loss
        if gained < 1e-3 * best:
            break
    return at


def _loss(
    errors: NDArray[np.float64], at: NDArray[np.float64], stray: NDArray[np.float64]
) -> float:
    return float(np.sum((errors / NOISE) ** 2) + np.sum((at / stray) ** 2))
