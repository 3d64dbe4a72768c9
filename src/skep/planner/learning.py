"""Learning: what real jobs measured corrects the model's step times, by a plain, bounded rule.

For each measured run r = ln(measured / predicted), held to +-``BOUND``. Runs count on three levels,
each within the one before: the same kind of chip; and the same model; and the same layout. A level
with n runs moves the correction by n / (n + 1) of what is left of their mean: one run counts half,
three count three quarters. Nothing is learnt across kinds of chips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import exp, log

from skep.model.measured import Measured
from skep.model.workload import Workload

BOUND = log(4.0)
SAME = 0.5
"""FLOPs per token may differ so much (relative) between runs of one model name."""


@dataclass(frozen=True, slots=True)
class Correction:
    """``factor`` multiplies a predicted step; ``runs`` per level say where it is from."""

    factor: float = 1.0
    same_chip: int = 0
    same_model: int = 0
    same_layout: int = 0

    def __str__(self) -> str:
        if not self.same_chip:
            return "nothing measured on this kind of chip"
        return (
            f"step x {self.factor:.3g} ({self.factor - 1.0:+.1%}), from {self.same_chip} measured "
            f"runs on this kind of chip, {self.same_model} of this model, {self.same_layout} of "
            "them in this layout; --no-learned leaves it out"
        )


def learnt(
    runs: Iterable[Measured],
    chip: str,
    model: Workload,
    chips: int,
    predict: Callable[[Measured], float],
) -> Correction:
    """The correction for ``model`` on ``chips`` chips of kind ``chip`` at one site.

    ``predict`` says what the model without correction takes for the step of a run, s.
    """
    mine = [run for run in runs if run.chip == chip]
    rest = {run.run: _held(run.step, predict(run)) for run in mine}
    alike = [run for run in mine if same_model(run, model)]
    exact = [run for run in alike if run.chips == chips]
    moved = 0.0
    for level in (mine, alike, exact):
        if level:
            count = len(level)
            left = sum(rest[run.run] - moved for run in level) / count
            moved += left * count / (count + 1)
    moved = max(-BOUND, min(BOUND, moved))
    return Correction(exp(moved), len(mine), len(alike), len(exact))


def same_model(run: Measured, model: Workload) -> bool:
    """Whether a run was one of ``model``: the job has its name, and a token about its work."""
    work = model.flops_per_token()
    return run.name == model.name and abs(run.flops_per_token - work) <= SAME * work


def _held(measured: float, predicted: float) -> float:
    if not (measured > 0 and predicted > 0):
        return 0.0
    return max(-BOUND, min(BOUND, log(measured / predicted)))
